//! The daemon's data directory: who may use it (one daemon at a time, by a lock), where things lie in it, and
//! the daemon's name, which a copy of the directory has not. What is written into the folders is not decided here.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use uuid::Uuid;

mod identity;

pub use identity::{DirectoryOrigin, DirectoryPlace};

/// How long a lock that another process holds is waited for: the reaper of a daemon that just died may hold it while it
/// ends what that left behind.
const LOCK_WAIT: Duration = Duration::from_secs(6);
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("cannot use {} as the data directory: {what}: {source}; name another one with --data DIR", path.display())]
    Unusable {
        path: PathBuf,
        what: &'static str,
        source: io::Error,
    },
    #[error(
        "the data directory {} is in use by another onceoverd{}; end that one, or give this one its own directory with --data DIR",
        path.display(),
        holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse { path: PathBuf, holder: Option<u32> },
}

/// A data directory this process holds the lock of. The lock goes when this is dropped or the process dies.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    instance: String,
    place: DirectoryPlace,
    origin: DirectoryOrigin,
    /// The id that is in the folder, where that is a copy of another one.
    former: Option<String>,
    /// Never read: an open file is what holds the lock.
    _lock: File,
}

impl DataDir {
    /// Makes what is missing (the directory itself readable by its owner only), takes the lock and counts this start.
    /// Blocks up to six seconds where a dead daemon's reaper holds the lock.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |what: &'static str| {
            move |source: io::Error| DataDirError::Unusable {
                path: path.to_path_buf(),
                what,
                source,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable("cannot make it"))?;
        let root = path.canonicalize().map_err(unusable("cannot resolve it"))?;
        let lock = take_lock(&root)?;
        for folder in ["share/workflows", "share/videos", "logs", "redis"] {
            fs::create_dir_all(root.join(folder)).map_err(unusable("cannot make its folders"))?;
        }
        // A process that may open the socket may do anything to the state, also where the directory above was not made by us.
        fs::set_permissions(root.join("redis"), fs::Permissions::from_mode(0o700))
            .map_err(unusable("cannot close its redis folder to others"))?;
        let place = DirectoryPlace::of(&root, &lock).map_err(unusable("cannot look at its lock file"))?;
        let known = directory(&root);
        let origin = known
            .as_deref()
            .map_or(DirectoryOrigin::Own, |id| identity::origin(&place, id));
        let is_copy = matches!(origin, DirectoryOrigin::Copy(_));
        // A copy's own id is written once it is known that it may be used at all.
        let instance = match is_copy {
            true => format!("{}#1", Uuid::new_v4()),
            false => next_instance(&root.join("instance")).map_err(unusable("cannot write its instance file"))?,
        };
        Ok(Self {
            root,
            instance,
            place,
            origin,
            former: known.filter(|_| is_copy),
            _lock: lock,
        })
    }

    /// The directory itself, absolute and without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Below it every task has its folder, named by its id.
    pub fn workflows(&self) -> PathBuf {
        self.root.join("share/workflows")
    }

    /// Files of videos that were uploaded or fetched, a folder each.
    pub fn videos(&self) -> PathBuf {
        self.root.join("share/videos")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Where the shipped programs of nodes are unpacked to.
    pub fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    /// Where the private Redis keeps its data.
    pub fn redis(&self) -> PathBuf {
        self.root.join("redis")
    }

    /// The file whose lock says that a daemon lives here; it holds that daemon's process id.
    pub fn lock_file(&self) -> PathBuf {
        lock_file(&self.root)
    }

    /// `<uuid>#<n>`: the uuid is the directory's for ever, n counts the starts.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The uuid alone.
    pub fn directory(&self) -> &str {
        self.instance.split('#').next().unwrap_or_default()
    }

    pub fn place(&self) -> &DirectoryPlace {
        &self.place
    }

    pub fn origin(&self) -> &DirectoryOrigin {
        &self.origin
    }

    /// The uuid of the directory that this one is a copy of; its own is another.
    pub fn former(&self) -> Option<&str> {
        self.former.as_deref()
    }

    /// Notes whose this directory is, as it may be used.
    pub fn settle(&self) -> io::Result<()> {
        if self.former.is_some() {
            write_whole(&self.root.join("instance"), &format!("{}\n", self.instance))?;
        }
        identity::note(&self.place)
    }
}

/// The uuid of a data directory, its instances' first part; None where no daemon has ever used it.
pub fn directory(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join("instance")).ok()?;
    let (id, _) = text.trim().split_once('#')?;
    Some(id.to_owned())
}

fn lock_file(root: &Path) -> PathBuf {
    root.join("lock")
}

fn take_lock(root: &Path) -> Result<File, DataDirError> {
    let unusable = |source| DataDirError::Unusable {
        path: root.to_path_buf(),
        what: "cannot lock it",
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(lock_file(root))
        .map_err(unusable)?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
            Err(TryLockError::WouldBlock) => {
                let holder = noted_holder(&mut file);
                // A daemon that lives does not let go; only a dead one's reaper does.
                if holder.is_some_and(is_alive) || Instant::now() >= deadline {
                    let path = root.to_path_buf();
                    return Err(DataDirError::InUse { path, holder });
                }
                thread::sleep(LOCK_RETRY);
            }
        }
    }
    let note = |file: &mut File| {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())
    };
    note(&mut file).map_err(unusable)?;
    Ok(file)
}

/// The process id in the lock file: of the daemon that took the lock last.
fn noted_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn is_alive(pid: u32) -> bool {
    // A process that has ended and was not yet waited for has no command line any more.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// Reads `<uuid>#<n>`, counts one on and writes it back. An unreadable file starts over with a new uuid, so that two
/// starts never share a name.
fn next_instance(path: &Path) -> io::Result<String> {
    let former = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let (id, starts) = former
        .trim()
        .split_once('#')
        .and_then(|(id, starts)| Some((Uuid::parse_str(id).ok()?, starts.parse::<u64>().ok()?)))
        .unwrap_or_else(|| (Uuid::new_v4(), 0));
    let instance = format!("{id}#{}", starts.saturating_add(1));
    write_whole(path, &format!("{instance}\n"))?;
    Ok(instance)
}

/// Writes a small file so that a reader sees the former text or the new one.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_new_directory_is_closed_to_others_and_has_its_folders() {
        let base = tempfile::tempdir().unwrap();
        let data = DataDir::open(&base.path().join("deep/data")).unwrap();
        assert_eq!(fs::metadata(data.root()).unwrap().mode() & 0o777, 0o700);
        for folder in [data.workflows(), data.logs(), data.redis()] {
            assert!(folder.is_dir(), "{}", folder.display());
        }
    }

    #[test]
    fn the_second_daemon_is_told_who_has_the_directory_and_what_to_do() {
        let base = tempfile::tempdir().unwrap();
        let first = DataDir::open(base.path()).unwrap();
        let error = DataDir::open(base.path()).unwrap_err();
        assert!(matches!(&error, DataDirError::InUse { holder: Some(pid), .. } if *pid == std::process::id()));
        let text = error.to_string();
        assert!(
            text.contains(&first.root().display().to_string()) && text.contains("--data"),
            "{text}"
        );
    }

    #[test]
    fn a_dead_daemons_lock_that_its_reaper_lets_go_in_time_is_taken() {
        let base = tempfile::tempdir().unwrap();
        drop(DataDir::open(base.path()).unwrap());
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        fs::write(lock_file(base.path()), format!("{}\n", gone.id())).unwrap();
        let reaper = File::open(lock_file(base.path())).unwrap();
        reaper.try_lock().unwrap();
        let path = base.path().to_path_buf();
        let second = thread::spawn(move || DataDir::open(&path));
        drop(reaper);
        second.join().unwrap().unwrap();
    }

    #[test]
    fn a_copy_of_a_directory_gets_a_name_of_its_own_and_a_moved_one_keeps_it() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let first = DataDir::open(&at("first")).unwrap();
        first.settle().unwrap();
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(at("first"))
            .arg(at("copy"))
            .status();
        assert!(copied.unwrap().success());
        let copy = DataDir::open(&at("copy")).unwrap();
        assert_eq!(copy.former(), Some(first.directory()));
        assert_ne!(copy.directory(), first.directory());
        // Not before it may be used.
        assert_eq!(directory(&at("copy")).as_deref(), Some(first.directory()));
        let id = copy.directory().to_owned();
        copy.settle().unwrap();
        drop(copy);
        let copy = DataDir::open(&at("copy")).unwrap();
        assert_eq!((copy.directory(), copy.origin()), (id.as_str(), &DirectoryOrigin::Own));
        // Moved, or in place of one that was removed, it is the same.
        let id = first.directory().to_owned();
        drop(first);
        fs::rename(at("first"), at("moved")).unwrap();
        let moved = DataDir::open(&at("moved")).unwrap();
        assert_eq!(
            (moved.directory(), moved.origin()),
            (id.as_str(), &DirectoryOrigin::Own)
        );
        moved.settle().unwrap();
        drop(moved);
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(at("moved"))
            .arg(at("restored"))
            .status();
        assert!(copied.unwrap().success());
        fs::remove_dir_all(at("moved")).unwrap();
        let restored = DataDir::open(&at("restored")).unwrap();
        assert!(matches!(restored.origin(), DirectoryOrigin::Brought(_)));
        assert_eq!((restored.directory(), restored.former()), (id.as_str(), None));
    }

    #[test]
    fn each_start_has_a_name_of_its_own_under_one_uuid() {
        let base = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..3)
            .map(|_| DataDir::open(base.path()).unwrap().instance().to_string())
            .collect();
        let parts: Vec<_> = names.iter().map(|name| name.split_once('#').unwrap()).collect();
        assert!(
            parts
                .iter()
                .all(|(id, _)| *id == parts[0].0 && Uuid::parse_str(id).is_ok())
        );
        assert_eq!(parts.iter().map(|(_, n)| *n).collect::<Vec<_>>(), ["1", "2", "3"]);
        fs::write(base.path().join("instance"), "garbage").unwrap();
        let anew = DataDir::open(base.path()).unwrap().instance().to_string();
        assert!(anew.ends_with("#1") && !anew.starts_with(parts[0].0));
    }
}
