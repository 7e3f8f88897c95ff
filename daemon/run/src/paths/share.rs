//! Files of the share that clients write, list, read and remove, by their path below it. Everything is opened by
//! descriptor from the share's folder; nothing is written or removed through a link. All functions block.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Mode, Stat, mkdirat, renameat, statat, unlinkat},
    io::Errno,
};

use super::{
    beneath::{self, Opened},
    tree::{self, Met, Then, visit},
};

/// The folder of files that are being received. No task's folder can have that name.
pub const INCOMING: &str = ".incoming";

/// One file of the share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareEntry {
    /// Path below the share, `/` between its parts.
    pub key: String,
    pub size: u64,
    /// Milliseconds since 1970.
    pub changed: i64,
}

/// A file that is still being received. It is removed if it is dropped before [`Draft::place`].
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    placed: bool,
}

impl Draft {
    /// Makes a new empty file.
    pub fn new(root: &Path) -> io::Result<(Self, File)> {
        let folder = root.join(INCOMING);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = folder.join(uuid::Uuid::new_v4().to_string());
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok((Self { path, placed: false }, file))
    }

    /// Moves it to its path in one step, and replaces what was there.
    pub fn place(mut self, root: &Path, key: &str) -> io::Result<()> {
        let (folder, name) = parent(root, key, true)?;
        renameat(rustix::fs::CWD, &self.path, &folder, name)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens the folder of a file. Returns it with the file's name in it.
fn parent<'a>(root: &Path, key: &'a str, make: bool) -> io::Result<(OwnedFd, &'a str)> {
    let (parts, name) = key.rsplit_once('/').unwrap_or(("", key));
    let mut folder = beneath::folder_beneath(root, Path::new(""))?;
    for part in parts.split('/').filter(|part| !part.is_empty()) {
        let inner = match beneath::folder_in(&folder, Path::new(part)) {
            Err(Errno::NOENT) if make => {
                match mkdirat(&folder, part, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(why) => return Err(why.into()),
                }
                beneath::folder_in(&folder, Path::new(part))
            }
            inner => inner,
        };
        folder = inner.map_err(|why| match why {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => io::Error::new(
                ErrorKind::NotADirectory,
                format!("'{part}' in it is a file or a link, not a folder"),
            ),
            why => why.into(),
        })?;
    }
    Ok((folder, name))
}

/// Opens a file by its path below the share, links inside the share followed. Returns `None` if there is no such file.
pub fn open_file(root: &Path, key: &str) -> io::Result<Option<Opened>> {
    for _ in 0..super::TRIES {
        let real = match fs::canonicalize(root.join(key)) {
            Ok(real) => real,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !real.starts_with(root) {
            return Ok(None);
        }
        match Opened::beneath(root, &real) {
            Ok(opened) => return Ok((!opened.is_folder()).then_some(opened)),
            Err(why) if beneath::was_swapped(why) => {}
            Err(Errno::NXIO | Errno::OPNOTSUPP) => return Ok(None),
            Err(why) => return Err(why.into()),
        }
    }
    Ok(None)
}

/// Removes a file, or a link and not its target. Returns its bytes, or `None` if there was no file.
pub fn remove_file(root: &Path, key: &str) -> io::Result<Option<u64>> {
    let (folder, name) = match parent(root, key, false) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    let meta = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        meta => meta?,
    };
    if tree::is_folder(&meta) {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"));
    }
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) => Ok(Some(u64::try_from(meta.st_size).unwrap_or_default())),
        Err(Errno::NOENT) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// Removes a folder with everything in it. Returns the number of its files and bytes, or `None` if there was no folder.
pub fn remove_folder(root: &Path, key: &str) -> io::Result<Option<(u64, u64)>> {
    match parent(root, key, false) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok((folder, name)) => tree::remove_in(folder, Path::new(name)),
    }
}

/// Lists files below a folder of the share (all files if it is empty), in the order of their paths' bytes, after a key,
/// at most `limit`. Links are omitted. What is read is in proportion to the answer and to the folders on the way.
pub fn list(root: &Path, folder: &str, after: Option<&str>, limit: usize) -> io::Result<Vec<ShareEntry>> {
    let mut found = Vec::new();
    let opened = match beneath::folder_beneath(root, Path::new(folder)) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(found),
        opened => opened?,
    };
    visit(opened, Path::new(folder), |met| match met {
        _ if found.len() >= limit => Then::End,
        Met::File(path, meta) => {
            let key = path.to_str().filter(|key| after.is_none_or(|after| *key > after));
            found.extend(key.map(|key| entry(key, meta)));
            Then::GoOn
        }
        Met::Folder(path) => match path.to_str() {
            Some(key) if !key.starts_with('.') && !is_before(key, after) => Then::GoOn,
            _ => Then::Skip,
        },
    })?;
    Ok(found)
}

fn entry(key: &str, meta: &Stat) -> ShareEntry {
    ShareEntry {
        key: key.to_owned(),
        size: u64::try_from(meta.st_size).unwrap_or_default(),
        #[allow(clippy::unnecessary_cast, reason = "the width differs by system")]
        changed: meta.st_mtime as i64 * 1000 + meta.st_mtime_nsec as i64 / 1_000_000,
    }
}

/// Whether everything below a folder comes before a key.
fn is_before(folder: &str, after: Option<&str>) -> bool {
    let inside = format!("{folder}/");
    after.is_some_and(|after| inside.as_str() < after && !after.starts_with(&inside))
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::symlink};

    use super::*;

    fn put(root: &Path, key: &str, text: &str) -> io::Result<()> {
        let (draft, mut file) = Draft::new(root)?;
        file.write_all(text.as_bytes())?;
        draft.place(root, key)
    }

    fn keys(found: io::Result<Vec<ShareEntry>>) -> Vec<String> {
        found.unwrap().into_iter().map(|entry| entry.key).collect()
    }

    #[test]
    fn files_are_placed_whole_and_listed_in_order() {
        let temp = tempfile::tempdir().unwrap();
        let root = &fs::canonicalize(temp.path()).unwrap();
        let all = ["t1.txt", "t1/a.txt", "t1/a/1", "t1/a/2", "t1/a0", "t1/b/c/d", "t2/x"];
        for key in all {
            put(root, key, key).unwrap();
        }
        drop(Draft::new(root).unwrap());
        assert_eq!(keys(list(root, "", None, 100)), all);
        assert_eq!(keys(list(root, "t1", None, 100)), &all[1..6]);
        for (at, key) in all.iter().enumerate() {
            assert_eq!(
                keys(list(root, "", Some(key), 2)),
                all[at + 1..].iter().take(2).copied().collect::<Vec<_>>()
            );
        }
        assert!(list(root, "t9", None, 10).unwrap().is_empty());
        put(root, "t1/a0", "other").unwrap();
        assert_eq!(open_file(root, "t1/a0").unwrap().unwrap().read().unwrap(), b"other");
        assert!(put(root, "t1/a", "a folder is there").is_err() && put(root, "t2/x/y", "a file is there").is_err());
        assert_eq!(
            fs::read_dir(root.join(INCOMING)).unwrap().count(),
            0,
            "no draft is left"
        );
        assert_eq!(remove_file(root, "t1/a0").unwrap(), Some(5));
        assert_eq!(remove_file(root, "t1/a0").unwrap(), None);
        assert_eq!(remove_file(root, "t1/none/a0").unwrap(), None);
        assert!(remove_file(root, "t1/a").is_err());
        assert_eq!(remove_folder(root, "t1/a").unwrap(), Some((2, 12)));
        assert_eq!(remove_folder(root, "t1/a").unwrap(), None);
    }

    #[test]
    fn d30_no_link_leads_out_of_the_share() {
        let temp = tempfile::tempdir().unwrap();
        let root = &fs::canonicalize(temp.path()).unwrap().join("share");
        let outside = temp.path().join("outside");
        fs::create_dir_all(root.join("t1/runs")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "x").unwrap();
        symlink(&outside, root.join("t1/out")).unwrap();
        symlink(outside.join("secret"), root.join("t1/file")).unwrap();
        symlink("runs", root.join("t1/inside")).unwrap();
        put(root, "t1/runs/a", "a").unwrap();
        assert!(open_file(root, "t1/out/secret").unwrap().is_none());
        assert!(open_file(root, "t1/file").unwrap().is_none());
        assert!(
            open_file(root, "t1/inside/a").unwrap().is_some(),
            "a link inside is fine to read"
        );
        for through in ["t1/out/new", "t1/inside/new"] {
            assert_eq!(put(root, through, "x").unwrap_err().kind(), ErrorKind::NotADirectory);
        }
        assert!(remove_file(root, "t1/out/secret").is_err());
        assert!(remove_folder(root, "t1/out").is_err());
        put(root, "t1/file", "instead of the link").unwrap();
        assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "x");
        assert_eq!(keys(list(root, "", None, 10)), ["t1/file", "t1/runs/a"]);
        remove_folder(root, "t1/runs").unwrap();
        assert!(outside.join("secret").is_file());
    }
}
