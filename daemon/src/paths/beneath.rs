//! Opening and removing what lies below a folder by descriptor, so that nothing that is swapped meanwhile leads out of it.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Seek},
    ops::Deref,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2, statat, unlinkat},
    io::Errno,
};

/// A file or folder that was opened below a root, and its real path.
#[derive(Debug, Clone)]
pub struct Opened {
    path: PathBuf,
    descriptor: Arc<File>,
    is_folder: bool,
    root: PathBuf,
}

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
/// A pipe or a device must not make opening wait.
const READ: OFlags = OFlags::CLOEXEC
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW);

fn within() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS
}

fn open_beneath(root: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    let inside = path.strip_prefix(root).map_err(|_| Errno::XDEV)?;
    let root = open(root, FOLDER | OFlags::PATH, Mode::empty())?;
    let inside = if inside.as_os_str().is_empty() {
        Path::new(".")
    } else {
        inside
    };
    openat2(&root, inside, READ, Mode::empty(), within())
}

/// The path has become a link, or a part of it has.
pub(super) fn was_swapped(why: Errno) -> bool {
    matches!(
        why,
        Errno::LOOP | Errno::XDEV | Errno::AGAIN | Errno::NOENT | Errno::NOTDIR
    )
}

pub(super) fn in_words(why: Errno) -> String {
    match why {
        Errno::NOSYS => "this system has no openat2; Linux 5.6 or newer is needed".into(),
        // Opening a socket.
        Errno::NXIO | Errno::OPNOTSUPP => "it is not a regular file".into(),
        _ => io::Error::from(why).to_string(),
    }
}

impl Opened {
    /// Opens a path that holds no links, from its root. The error is `ENXIO` for what is neither file nor folder.
    pub(super) fn beneath(root: &Path, path: &Path) -> Result<Self, Errno> {
        let descriptor = open_beneath(root, path)?;
        let kind = FileType::from_raw_mode(fstat(&descriptor)?.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Err(Errno::NXIO);
        }
        Ok(Self {
            path: path.to_owned(),
            descriptor: Arc::new(descriptor.into()),
            is_folder: kind == FileType::Directory,
            root: root.to_owned(),
        })
    }

    /// As [`Opened::beneath`], for a path below a real root.
    pub fn in_root(root: &Path, path: &Path) -> io::Result<Self> {
        Self::beneath(root, path).map_err(Into::into)
    }

    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// The content of the very file that was opened, whatever its path leads to by now.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut file: &File = &self.descriptor;
        file.rewind()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The very file that was opened, to be read from its beginning. All readers of it share one position.
    pub fn reader(&self) -> io::Result<File> {
        let mut file = self.descriptor.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// Whether its path still leads, without links, to what was opened. A program that was given the path has then read
    /// that, and nothing else that was put in its place before.
    pub fn is_in_place(&self) -> bool {
        let same = || {
            let (now, then) = (fstat(open_beneath(&self.root, &self.path)?)?, fstat(&self.descriptor)?);
            Ok::<_, Errno>((now.st_dev, now.st_ino) == (then.st_dev, then.st_ino))
        };
        same().unwrap_or(false)
    }
}

impl Deref for Opened {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for Opened {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// What is in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Content {
    pub files: u64,
    pub bytes: u64,
    /// When anything of it, or the folder itself, was last changed: milliseconds since 1970.
    pub newest: i64,
}

/// Measures the folder `inside` of `root` with everything in it; None where there is no such folder. Links count as files
/// and are not followed; other file systems are not entered. Blocks.
pub fn measure_folder(root: &Path, inside: &Path) -> io::Result<Option<Content>> {
    let root = open(root, FOLDER | OFlags::PATH, Mode::empty())?;
    let folder = match openat2(&root, inside, FOLDER, Mode::empty(), within() | ResolveFlags::NO_XDEV) {
        Err(Errno::NOENT) => return Ok(None),
        folder => folder?,
    };
    let mut content = Content {
        newest: newest(&fstat(&folder)?),
        ..Content::default()
    };
    measure_content(&folder, &mut content)?;
    Ok(Some(content))
}

fn measure_content(folder: &OwnedFd, content: &mut Content) -> io::Result<()> {
    for entry in names_in(folder)? {
        // Gone while it was looked at: no harm.
        let Ok(meta) = statat(folder, &entry, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        content.newest = content.newest.max(newest(&meta));
        if FileType::from_raw_mode(meta.st_mode) != FileType::Directory {
            content.files += 1;
            content.bytes += u64::try_from(meta.st_size).unwrap_or_default();
        } else if let Ok(inner) = openat2(folder, &entry, FOLDER, Mode::empty(), within() | ResolveFlags::NO_XDEV) {
            measure_content(&inner, content)?;
        }
    }
    Ok(())
}

/// Change of content or of the entry itself, which a file that was moved here keeps no older time of.
fn newest(meta: &rustix::fs::Stat) -> i64 {
    let changed = meta.st_mtime * 1000 + meta.st_mtime_nsec.cast_signed() / 1_000_000;
    let placed = meta.st_ctime * 1000 + meta.st_ctime_nsec.cast_signed() / 1_000_000;
    changed.max(placed)
}

pub(super) fn names_in(folder: &OwnedFd) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name).into());
        }
    }
    Ok(names)
}

/// As [`remove_folder`], of a folder deeper below a root; no part of the way to it may be a link.
pub fn remove_beneath(root: &Path, inside: &Path) -> io::Result<Option<(u64, u64)>> {
    let (Some(parent), Some(name)) = (inside.parent(), inside.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no folder"));
    };
    let root = open(root, FOLDER | OFlags::PATH, Mode::empty())?;
    match openat2(&root, parent, FOLDER, Mode::empty(), within() | ResolveFlags::NO_XDEV) {
        Err(Errno::NOENT) => Ok(None),
        parent => remove_in(&parent?, name.as_ref()),
    }
}

/// Removes the folder `name` of `parent` and everything in it, and answers how many files and bytes that were; None where
/// there is no such folder. Links are removed, not followed; other file systems are not entered. Blocks.
pub fn remove_folder(parent: &Path, name: &str) -> io::Result<Option<(u64, u64)>> {
    remove_in(&open(parent, FOLDER, Mode::empty())?, name.as_ref())
}

pub(super) fn remove_in(parent: &OwnedFd, name: &Path) -> io::Result<Option<(u64, u64)>> {
    let meta = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        meta => meta?,
    };
    if FileType::from_raw_mode(meta.st_mode) != FileType::Directory {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
    }
    let mut removed = (0, 0);
    remove_content(parent, name, &mut removed)?;
    unlinkat(parent, name, AtFlags::REMOVEDIR)?;
    Ok(Some(removed))
}

fn remove_content(parent: impl AsFd, name: &Path, removed: &mut (u64, u64)) -> io::Result<()> {
    let flags = within() | ResolveFlags::NO_XDEV;
    let folder = openat2(parent, name, FOLDER, Mode::empty(), flags).map_err(|why| match why {
        Errno::XDEV => io::Error::new(
            io::ErrorKind::CrossesDevices,
            format!("{} is on another file system", name.display()),
        ),
        why => why.into(),
    })?;
    // Read whole before anything is removed, since removing may move what comes next.
    for entry in names_in(&folder)? {
        let meta = match statat(&folder, &entry, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            meta => meta?,
        };
        let is_folder = FileType::from_raw_mode(meta.st_mode) == FileType::Directory;
        let flags = if is_folder {
            remove_content(&folder, &entry, removed)?;
            AtFlags::REMOVEDIR
        } else {
            removed.0 += 1;
            removed.1 += u64::try_from(meta.st_size).unwrap_or_default();
            AtFlags::empty()
        };
        match unlinkat(&folder, &entry, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}

/// A folder in another one, without following a link.
pub(super) fn folder_in(parent: impl AsFd, name: &Path) -> Result<OwnedFd, Errno> {
    openat2(parent, name, FOLDER, Mode::empty(), within() | ResolveFlags::NO_XDEV)
}

/// A folder that lies below a root by a path without links; an empty path is the root itself.
pub(super) fn folder_beneath(root: &Path, inside: &Path) -> Result<OwnedFd, Errno> {
    let root = open(root, FOLDER, Mode::empty())?;
    if inside.as_os_str().is_empty() {
        return Ok(root);
    }
    folder_in(&root, inside)
}

/// Every regular file below a folder of a root, by its path below the folder, in order, with its bytes. Links and other file
/// systems are left out. Blocks.
pub fn files_below(root: &Path, folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let inside = folder.strip_prefix(root).map_err(|_| Errno::XDEV)?;
    let mut files = Vec::new();
    collect(&folder_beneath(root, inside)?, Path::new(""), &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(folder: &OwnedFd, at: &Path, files: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for entry in names_in(folder)? {
        let meta = match statat(folder, &entry, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            meta => meta?,
        };
        match FileType::from_raw_mode(meta.st_mode) {
            FileType::RegularFile => files.push((at.join(&entry), u64::try_from(meta.st_size).unwrap_or_default())),
            FileType::Directory => match folder_in(folder, &entry) {
                Ok(inner) => collect(&inner, &at.join(&entry), files)?,
                Err(Errno::XDEV | Errno::LOOP | Errno::NOENT | Errno::NOTDIR) => {}
                Err(why) => return Err(why.into()),
            },
            _ => {}
        }
    }
    Ok(())
}
