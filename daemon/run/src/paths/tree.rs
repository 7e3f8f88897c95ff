//! Measures, removes and lists everything in a folder. No function follows a link or enters another file system, and
//! none needs more descriptors or stack where folders are deep ([`Descent`]). All functions block.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, Stat, fstat, open, statat, unlinkat},
    io::Errno,
};

use super::{
    beneath::{FOLDER, folder_beneath},
    descent::Descent,
};

/// Entries of a folder that are read before they are removed.
const BATCH: usize = 4096;

/// Bytes of the longest path that can be opened; a deeper file has no name that a program could use.
pub(super) const LONGEST_PATH: usize = 4096;

/// What is in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FolderContent {
    pub files: u64,
    pub bytes: u64,
    /// Folders in it.
    pub folders: u64,
    /// How deep the deepest of these is; one directly in it is 1 deep.
    pub depth: u64,
    /// When the folder or anything in it last changed: milliseconds since 1970.
    pub newest: i64,
}

/// Returns the names of a folder's entries, at most `most`.
fn names(folder: &OwnedFd, most: usize) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name).into());
            if names.len() >= most {
                break;
            }
        }
    }
    Ok(names)
}

pub(super) fn names_in(folder: &OwnedFd) -> io::Result<Vec<PathBuf>> {
    names(folder, usize::MAX)
}

pub(super) fn is_folder(meta: &Stat) -> bool {
    FileType::from_raw_mode(meta.st_mode) == FileType::Directory
}

fn size_of(meta: &Stat) -> u64 {
    u64::try_from(meta.st_size).unwrap_or_default()
}

/// Returns when the content or the entry itself changed. The latter is new also for an old file that was moved here.
fn newest(meta: &Stat) -> i64 {
    let changed = meta.st_mtime * 1000 + meta.st_mtime_nsec.cast_signed() / 1_000_000;
    let placed = meta.st_ctime * 1000 + meta.st_ctime_nsec.cast_signed() / 1_000_000;
    changed.max(placed)
}

/// Measures the folder `inside` of `root` with everything in it. Returns `None` if there is no such folder. Links count
/// as files.
pub fn measure_folder(root: &Path, inside: &Path) -> io::Result<Option<FolderContent>> {
    let folder = match folder_beneath(root, inside) {
        Err(Errno::NOENT) => return Ok(None),
        folder => folder?,
    };
    let mut content = FolderContent {
        newest: newest(&fstat(&folder)?),
        ..FolderContent::default()
    };
    let mut way = Descent::new(folder)?;
    let mut pending = vec![measure_entries(way.folder()?, &mut content)?];
    while let Some(folders) = pending.last_mut() {
        match folders.pop() {
            // It may have been removed or replaced meanwhile, which does no harm.
            Some(name) => {
                if way.enter(&name).is_ok() {
                    content.depth = content.depth.max(way.depth() as u64);
                    pending.push(measure_entries(way.folder()?, &mut content)?);
                }
            }
            None => {
                pending.pop();
                if !pending.is_empty() {
                    way.leave()?;
                }
            }
        }
    }
    Ok(Some(content))
}

/// Adds the entries of a folder. Returns the folders among them.
fn measure_entries(folder: &OwnedFd, content: &mut FolderContent) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(meta) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        content.newest = content.newest.max(newest(&meta));
        if is_folder(&meta) {
            content.folders += 1;
            folders.push(OsString::from_vec(name.to_bytes().to_vec()).into());
        } else {
            content.files += 1;
            content.bytes += size_of(&meta);
        }
    }
    Ok(folders)
}

/// Removes a folder deeper below a root, as [`remove_folder`] does; no part of the way to it may be a link.
pub fn remove_beneath(root: &Path, inside: &Path) -> io::Result<Option<(u64, u64)>> {
    let (Some(parent), Some(name)) = (inside.parent(), inside.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no folder"));
    };
    match folder_beneath(root, parent) {
        Err(Errno::NOENT) => Ok(None),
        parent => remove_in(parent?, name.as_ref()),
    }
}

/// Removes the folder `name` of `parent` and everything in it. Returns how many files and bytes that were, or `None` if
/// there is no such folder. Links are removed, not followed.
pub fn remove_folder(parent: &Path, name: &str) -> io::Result<Option<(u64, u64)>> {
    remove_in(open(parent, FOLDER, Mode::empty())?, name.as_ref())
}

/// What follows the name of a file in the names of the files that continue it.
pub const TAIL_MARK: &str = ".tail-";

/// Whether a name is the file's, or that of a file that continues it.
pub fn is_file_or_tail(name: &OsStr, file: &str) -> bool {
    let rest = name.as_bytes().strip_prefix(file.as_bytes());
    let is_its = |rest: &[u8]| rest.is_empty() || rest.starts_with(TAIL_MARK.as_bytes());
    !file.is_empty() && rest.is_some_and(is_its)
}

/// Lists the names of what is in the folder `inside` of `root`.
pub fn list_names(root: &Path, inside: &Path) -> io::Result<Vec<PathBuf>> {
    names_in(&folder_beneath(root, inside)?)
}

/// Returns the bytes of the file `name` in the folder `inside` of `root`, if nothing else is in there. Where more is, no more
/// than a part of it is read.
pub fn size_of_only_file(root: &Path, inside: &Path, name: &str) -> io::Result<Option<u64>> {
    let folder = folder_beneath(root, inside)?;
    let found = names(&folder, 2)?;
    if found != [Path::new(name)] {
        return Ok(None);
    }
    let meta = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let is_file = FileType::from_raw_mode(meta.st_mode) == FileType::RegularFile;
    Ok(is_file.then(|| size_of(&meta)))
}

/// Removes everything in a folder except one file and those that continue it.
pub fn remove_content(folder: &Path, except: &str) -> io::Result<()> {
    let folder = open(folder, FOLDER, Mode::empty())?;
    for name in names_in(&folder)? {
        if is_file_or_tail(name.as_os_str(), except) {
            continue;
        }
        match statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            meta if is_folder(&meta?) => {
                remove_in(folder.try_clone()?, &name)?;
            }
            _ => unlink(&folder, &name, AtFlags::empty())?,
        }
    }
    Ok(())
}

pub(super) fn remove_in(parent: OwnedFd, name: &Path) -> io::Result<Option<(u64, u64)>> {
    match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        meta if !is_folder(&meta?) => {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder"));
        }
        _ => {}
    }
    let mut removed = (0, 0);
    let mut way = Descent::new(parent)?;
    // The folders on the way, each with those of its folders that are still to be emptied.
    let mut pending = vec![Removal::named(name.to_owned())];
    enter(&mut way, name)?;
    while let Some(level) = pending.last_mut() {
        if let Some(name) = level.folders.pop() {
            match enter(&mut way, &name) {
                Ok(()) => pending.push(Removal::named(name)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        } else if level.is_read {
            let name = std::mem::take(&mut level.name);
            pending.pop();
            way.leave()?;
            unlink(way.folder()?, &name, AtFlags::REMOVEDIR)?;
        } else {
            level.read(way.folder()?, &mut removed)?;
        }
    }
    Ok(Some(removed))
}

/// A folder that is being emptied.
struct Removal {
    name: PathBuf,
    /// Folders in it that are to be removed first.
    folders: Vec<PathBuf>,
    /// Whether nothing else was in it when it was last read.
    is_read: bool,
}

impl Removal {
    fn named(name: PathBuf) -> Self {
        Self {
            name,
            folders: Vec::new(),
            is_read: false,
        }
    }

    /// Removes the next files and notes the next folders. Names are read before anything is removed, since removing may
    /// move what comes next.
    fn read(&mut self, folder: &OwnedFd, removed: &mut (u64, u64)) -> io::Result<()> {
        let names = names(folder, BATCH)?;
        self.is_read = names.len() < BATCH;
        for name in names {
            let meta = match statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                meta => meta?,
            };
            if is_folder(&meta) {
                self.folders.push(name);
                continue;
            }
            removed.0 += 1;
            removed.1 += size_of(&meta);
            unlink(folder, &name, AtFlags::empty())?;
        }
        Ok(())
    }
}

fn enter(way: &mut Descent, name: &Path) -> io::Result<()> {
    way.enter(name).map_err(|why| match why {
        Errno::XDEV => io::Error::new(
            io::ErrorKind::CrossesDevices,
            format!("{} is on another file system", name.display()),
        ),
        why => why.into(),
    })
}

fn unlink(folder: &OwnedFd, name: &Path, flags: AtFlags) -> io::Result<()> {
    match unlinkat(folder, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(why) => Err(why.into()),
    }
}

/// An entry that a walk over files in the order of their paths reaches.
pub(super) enum Met<'a> {
    File(&'a Path, &'a Stat),
    /// A folder, before what is in it.
    Folder(&'a Path),
}

/// How the walk continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    /// Does not enter the folder.
    Skip,
    End,
}

/// Calls `see` with every regular file and folder below a folder, in the order of their paths as bytes, a folder where
/// its files are (`a.txt` before what is in `a/`). The paths are below the folder, with `prefix` before them. An entry
/// that is too deep to be named is omitted.
pub(super) fn visit(folder: OwnedFd, prefix: &Path, mut see: impl FnMut(Met<'_>) -> Then) -> io::Result<()> {
    let mut way = Descent::new(folder)?;
    let mut at = prefix.to_owned();
    let mut pending = vec![entries(way.folder()?)?];
    while let Some(level) = pending.last_mut() {
        let Some((name, meta)) = level.pop() else {
            pending.pop();
            if !pending.is_empty() {
                way.leave()?;
                at.pop();
            }
            continue;
        };
        at.push(&name);
        let fits = at.as_os_str().len() < LONGEST_PATH;
        let then = match &meta {
            _ if !fits => Then::Skip,
            Some(meta) => see(Met::File(&at, meta)),
            None => see(Met::Folder(&at)),
        };
        if then == Then::End {
            return Ok(());
        }
        if meta.is_none() && then == Then::GoOn {
            match way.enter(&name) {
                Ok(()) => {
                    pending.push(entries(way.folder()?)?);
                    continue;
                }
                Err(Errno::XDEV | Errno::LOOP | Errno::NOENT | Errno::NOTDIR) => {}
                Err(why) => return Err(why.into()),
            }
        }
        at.pop();
    }
    Ok(())
}

/// Returns the regular files (with their metadata) and folders directly in a folder, the first one last.
fn entries(folder: &OwnedFd) -> io::Result<Vec<(PathBuf, Option<Stat>)>> {
    let mut entries = Vec::new();
    for name in names_in(folder)? {
        let meta = match statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            meta => meta?,
        };
        match FileType::from_raw_mode(meta.st_mode) {
            FileType::RegularFile => entries.push((name, Some(meta))),
            FileType::Directory => entries.push((name, None)),
            _ => {}
        }
    }
    // As if a folder's name ended with the slash that its files have after it.
    let order = |(name, meta): &(PathBuf, Option<Stat>)| {
        let slash: &[u8] = if meta.is_none() { b"/" } else { b"" };
        [name.as_os_str().as_bytes(), slash].concat()
    };
    entries.sort_by_cached_key(|entry| std::cmp::Reverse(order(entry)));
    Ok(entries)
}

/// Lists every regular file below a folder of a root, by its path below the folder, in order, with its bytes.
pub fn files_below(root: &Path, folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let inside = folder.strip_prefix(root).map_err(|_| Errno::XDEV)?;
    let mut files = Vec::new();
    visit(folder_beneath(root, inside)?, Path::new(""), |met| {
        if let Met::File(path, meta) = met {
            files.push((path.to_owned(), size_of(meta)));
        }
        Then::GoOn
    })?;
    files.sort();
    Ok(files)
}
