//! The lock of a task's folder. A run holds it for as long as it writes there, and a remover claims the folder first.
//! The two exclude each other by a lock on the folder itself, which ends with the process that has it.
//!
//! The claimed folder is renamed before it is removed. A run that comes meanwhile gets the lock, sees that the path
//! leads to another folder or to none, and makes a new folder; so a run never gets a folder that is being removed.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode, OFlags, RenameFlags, open, renameat_with},
    io::Errno,
};
use uuid::Uuid;

use super::tree::remove_folder;

/// How long a run waits for a claimed folder. The time from the claim to the renaming, with a call of Redis in it, is
/// shorter.
const HOLD_WAIT: Duration = Duration::from_secs(5);
const HOLD_RETRY: Duration = Duration::from_millis(5);
/// The beginning of the names of folders that are being removed. No task id begins with a dot.
const ASIDE: &str = ".collected-";

fn open_folder(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?.into())
}

/// Whether the path leads to this very folder.
fn leads_to(path: &Path, folder: &File) -> io::Result<bool> {
    let (there, here) = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        there => (there?, folder.metadata()?),
    };
    Ok((there.dev(), there.ino()) == (here.dev(), here.ino()))
}

/// A run's lock on its task's folder. Other runs of the task may hold it too.
#[derive(Debug)]
pub struct TaskLock(#[expect(dead_code, reason = "an open file is what holds the lock")] File);

impl TaskLock {
    /// Makes the folder where it is missing and locks it. Blocks while a remover claims it.
    pub fn acquire(folder: &Path) -> io::Result<Self> {
        let deadline = Instant::now() + HOLD_WAIT;
        loop {
            fs::create_dir_all(folder)?;
            let held = match open_folder(folder) {
                Err(Errno::NOENT) => continue,
                held => held?,
            };
            match held.try_lock_shared() {
                Ok(()) if leads_to(folder, &held)? => return Ok(Self(held)),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(HOLD_RETRY),
                Err(TryLockError::WouldBlock) => {
                    return Err(io::Error::new(
                        io::ErrorKind::WouldBlock,
                        format!("it is still being removed after {} s", HOLD_WAIT.as_secs()),
                    ));
                }
                // On a file system without locks, no remover can claim it either.
                Err(TryLockError::Error(_)) => return Ok(Self(held)),
            }
        }
    }
}

/// The right to remove a folder: no run holds the lock, and none can get it before this is dropped.
#[derive(Debug)]
pub struct FolderClaim {
    parent: PathBuf,
    name: String,
    folder: File,
}

/// The answer to a request for a claim.
#[derive(Debug)]
pub enum ClaimedFolder {
    Mine(FolderClaim),
    /// A run holds the lock, or another process removes the folder.
    Busy,
    /// There is no such folder.
    Absent,
}

impl FolderClaim {
    /// Claims the folder `name` of `parent`, without waiting.
    pub fn acquire(parent: &Path, name: &str) -> io::Result<ClaimedFolder> {
        let path = parent.join(name);
        let folder = match open_folder(&path) {
            Err(Errno::NOENT) => return Ok(ClaimedFolder::Absent),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
            }
            folder => folder?,
        };
        match folder.try_lock() {
            Ok(()) if leads_to(&path, &folder)? => Ok(ClaimedFolder::Mine(Self {
                parent: parent.to_owned(),
                name: name.to_owned(),
                folder,
            })),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(ClaimedFolder::Busy),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether the folder's list of entries has changed since this time (milliseconds since 1970).
    pub fn changed_since(&self, millis: i64) -> io::Result<bool> {
        let meta = self.folder.metadata()?;
        let changed = |seconds: i64, nanos: i64| seconds * 1000 + nanos / 1_000_000;
        let newest = changed(meta.mtime(), meta.mtime_nsec()).max(changed(meta.ctime(), meta.ctime_nsec()));
        Ok(newest > millis)
    }

    /// Renames the folder and removes it with everything in it. Returns how many files and bytes that were, or `None`
    /// if the folder did not exist any more. A folder that cannot be removed gets its name back, unless another one has
    /// it by then.
    pub fn remove(self) -> io::Result<Option<(u64, u64)>> {
        let (path, aside) = (
            self.parent.join(&self.name),
            format!("{ASIDE}{}-{}", self.name, Uuid::new_v4()),
        );
        let away = self.parent.join(&aside);
        match renameat_with(CWD, &path, CWD, &away, RenameFlags::NOREPLACE) {
            Err(Errno::NOENT) => return Ok(None),
            renamed => renamed?,
        }
        let back = || renameat_with(CWD, &away, CWD, &path, RenameFlags::NOREPLACE);
        // The folder was removed without a claim and made again since the lock was checked.
        if !leads_to(&away, &self.folder)? {
            back()?;
            return Ok(None);
        }
        let removed = remove_folder(&self.parent, &aside);
        if removed.is_err() {
            let _ = back();
        }
        removed
    }

    /// Removes folders that were renamed by a process that ended before it had removed them.
    pub fn remove_left(parent: &Path) -> io::Result<(u64, u64)> {
        let mut removed = (0, 0);
        for entry in fs::read_dir(parent)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(ASIDE)) else {
                continue;
            };
            if let ClaimedFolder::Mine(claim) = Self::acquire(parent, name)?
                && let Some((files, bytes)) = remove_folder(&claim.parent, &claim.name)?
            {
                removed.0 += files;
                removed.1 += bytes;
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(parent: &Path) -> FolderClaim {
        match FolderClaim::acquire(parent, "t1").unwrap() {
            ClaimedFolder::Mine(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_that_a_run_holds_cannot_be_claimed() {
        let temp = tempfile::tempdir().unwrap();
        assert!(matches!(
            FolderClaim::acquire(temp.path(), "t1").unwrap(),
            ClaimedFolder::Absent
        ));
        let path = temp.path().join("t1");
        let (one, other) = (TaskLock::acquire(&path).unwrap(), TaskLock::acquire(&path).unwrap());
        drop(one);
        assert!(matches!(
            FolderClaim::acquire(temp.path(), "t1").unwrap(),
            ClaimedFolder::Busy
        ));
        drop(other);
        fs::write(path.join("file"), "four").unwrap();
        assert_eq!(claim(temp.path()).remove().unwrap(), Some((1, 4)));
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_run_that_comes_while_the_folder_is_claimed_gets_a_new_one() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("t1");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("old"), "").unwrap();
        let claim = claim(temp.path());
        let run = {
            let path = path.clone();
            thread::spawn(move || {
                let hold = TaskLock::acquire(&path).unwrap();
                fs::write(path.join("new"), "").unwrap();
                hold
            })
        };
        assert!(!run.is_finished());
        claim.remove().unwrap();
        let hold = run.join().unwrap();
        assert!(path.join("new").exists() && !path.join("old").exists());
        drop(hold);
    }

    #[test]
    fn what_takes_the_folders_place_without_a_claim_is_not_removed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("t1");
        fs::create_dir(&path).unwrap();
        let claim = claim(temp.path());
        fs::rename(&path, temp.path().join("t2")).unwrap();
        fs::create_dir(&path).unwrap();
        fs::write(path.join("new"), "").unwrap();
        assert_eq!(claim.remove().unwrap(), None);
        assert!(path.join("new").exists());
    }

    #[test]
    fn what_was_put_aside_and_left_is_removed_later() {
        let temp = tempfile::tempdir().unwrap();
        let left = temp.path().join(format!("{ASIDE}t1-x"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("file"), "four").unwrap();
        fs::create_dir(temp.path().join("t2")).unwrap();
        assert_eq!(FolderClaim::remove_left(temp.path()).unwrap(), (1, 4));
        assert!(!left.exists() && temp.path().join("t2").exists());
    }
}
