//! Opens files below a folder by descriptor, so that a part of the path that is swapped meanwhile leads nowhere else.

use std::{
    fs::File,
    io::{self, Read, Seek},
    ops::Deref,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use onceover_types::humane;
use rustix::{
    fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2},
    io::Errno,
};

use onceover_limits::Limit;

/// A file or folder that was opened below a root, and its real path.
#[derive(Debug, Clone)]
pub struct Opened {
    path: PathBuf,
    descriptor: Arc<File>,
    is_folder: bool,
    root: PathBuf,
    /// Bytes of it that may be read into memory.
    most: ReadLimit,
}

/// How many bytes of a file are read into memory, and which limit sets that.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    pub bytes: u64,
    pub limit: Limit,
}

impl ReadLimit {
    /// Returns the limit for transcripts, subtitles, prompts and other documents.
    pub const fn document(bytes: u64) -> Self {
        Self {
            bytes,
            limit: Limit::Document,
        }
    }

    /// The limit for one picture, before it is decoded.
    pub const PICTURE: Self = Self {
        bytes: 64 << 20,
        limit: Limit::Picture,
    };

    fn refuse(self, path: &Path, size: u64) -> io::Error {
        self.limit.reached();
        let row = self.limit.row();
        let by = row.setting.map_or_else(String::new, |setting| format!(" ({setting})"));
        let text = format!(
            "{} has {}, more than the {} that are read of {}{by}",
            path.display(),
            humane::bytes(size),
            humane::bytes(self.bytes),
            match self.limit {
                Limit::Picture => "a picture",
                _ => "a document",
            }
        );
        io::Error::new(io::ErrorKind::FileTooLarge, text)
    }
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self::document(DEFAULT_DOCUMENT)
    }
}

/// Default of `inputs.max_document`.
pub const DEFAULT_DOCUMENT: u64 = 64 << 20;

pub(super) const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
/// A pipe or a device must not make opening wait.
const READ: OFlags = OFlags::CLOEXEC
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW);

fn within() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS
}

/// Opens a file of any folder for reading. The error is `InvalidInput` for anything but a regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
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

/// Whether opening failed because the path, or a part of it, has become a link or does not exist any more.
pub(super) fn was_swapped(why: Errno) -> bool {
    matches!(
        why,
        Errno::LOOP | Errno::XDEV | Errno::AGAIN | Errno::NOENT | Errno::NOTDIR
    )
}

/// Whether opening a path failed because no file of ours is there: nothing at all, a link, or something that is no
/// file.
pub fn leads_nowhere(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|why| was_swapped(why) || matches!(why, Errno::NXIO | Errno::OPNOTSUPP))
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
            most: ReadLimit::default(),
        })
    }

    /// Opens a path below a real root.
    pub fn in_root(root: &Path, path: &Path) -> io::Result<Self> {
        Self::beneath(root, path).map_err(Into::into)
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    pub(super) fn with_limit(self, most: ReadLimit) -> Self {
        Self { most, ..self }
    }

    /// Reads the very file that was opened, whatever its path leads to by now. A file that is larger than a document
    /// may be is refused before any of it is read.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        self.read_at_most(self.most)
    }

    /// Reads the file, as [`Opened::read`] does, with the limit of another kind of file.
    pub fn read_at_most(&self, most: ReadLimit) -> io::Result<Vec<u8>> {
        let mut file: &File = &self.descriptor;
        let size = file.metadata()?.len();
        if size > most.bytes {
            return Err(most.refuse(&self.path, size));
        }
        file.rewind()?;
        let mut bytes = Vec::new();
        // The file may grow meanwhile.
        let read = file.take(most.bytes + 1).read_to_end(&mut bytes)? as u64;
        if read > most.bytes {
            return Err(most.refuse(&self.path, read));
        }
        Ok(bytes)
    }

    /// Returns the very file that was opened, to be read from its beginning. All readers of it share one position.
    pub fn reader(&self) -> io::Result<File> {
        let mut file = self.descriptor.try_clone()?;
        file.rewind()?;
        Ok(file)
    }

    /// Whether its path still leads, without links, to what was opened. If so, a program that was given the path has
    /// read this file and no other.
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

/// Opens a folder in another one, without following a link.
pub(super) fn folder_in(parent: impl AsFd, name: &Path) -> Result<OwnedFd, Errno> {
    openat2(parent, name, FOLDER, Mode::empty(), within() | ResolveFlags::NO_XDEV)
}

/// Opens a folder below a root by a path without links; an empty path is the root itself.
pub(super) fn folder_beneath(root: &Path, inside: &Path) -> Result<OwnedFd, Errno> {
    let root = open(root, FOLDER, Mode::empty())?;
    if inside.as_os_str().is_empty() {
        return Ok(root);
    }
    folder_in(&root, inside)
}
