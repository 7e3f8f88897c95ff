//! Whose data directory this is: the id in its `instance` file belongs to the folder it was given to, and a copy of that
//! folder has the same file in it. By what is noted of the folder in `identity` one tells the two apart.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Where a data directory is, as one tells it from its copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryPlace {
    pub host: String,
    /// Identifies the running system, so that an entry from before its start can be recognized.
    pub boot: String,
    pub path: PathBuf,
    /// Device and inode of the lock file: a folder that is moved keeps them, a copy has others.
    pub lock: String,
}

/// What a folder is, by what was noted in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryOrigin {
    /// The folder its id was given to, wherever it is by now.
    Own,
    /// It came from elsewhere, and what it came from is not to be seen from here.
    Brought(DirectoryPlace),
    /// A copy of a folder of this machine that is still there.
    Copy(DirectoryPlace),
}

impl DirectoryPlace {
    /// The folder whose lock file this is.
    pub fn of(root: &Path, lock: &File) -> io::Result<Self> {
        let kernel = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
            text.trim().to_owned()
        };
        let found = lock.metadata()?;
        Ok(Self {
            host: kernel("hostname"),
            boot: kernel("random/boot_id"),
            path: root.to_owned(),
            lock: format!("{}:{}", found.dev(), found.ino()),
        })
    }

    /// Whether both are one folder: of two daemons only one can have its lock, so that the other has ended.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same_path = self.host == other.host && self.path == other.path;
        let is_same_file = self.boot == other.boot && self.lock == other.lock;
        is_same_path || is_same_file
    }

    /// For people.
    pub fn in_words(&self) -> String {
        format!("{} on {}", self.path.display(), self.host)
    }
}

fn file(root: &Path) -> PathBuf {
    root.join("identity")
}

/// What a folder at `here` is that holds the id `directory`.
pub fn origin(here: &DirectoryPlace, directory: &str) -> DirectoryOrigin {
    let noted = fs::read_to_string(file(&here.path)).ok();
    // Daemons of former versions noted nothing.
    let Some(noted) = noted.and_then(|text| serde_json::from_str::<DirectoryPlace>(&text).ok()) else {
        return DirectoryOrigin::Own;
    };
    let inode = |place: &DirectoryPlace| place.lock.split_once(':').map(|(_, inode)| inode.to_owned());
    if noted.is_same(here) || noted.path == here.path && inode(&noted) == inode(here) {
        return DirectoryOrigin::Own;
    }
    let is_there = super::directory(&noted.path).as_deref() == Some(directory);
    match is_there && noted.host == here.host {
        true => DirectoryOrigin::Copy(noted),
        // Moved within a file system: no copy of it exists.
        false if noted.lock == here.lock => DirectoryOrigin::Own,
        false => DirectoryOrigin::Brought(noted),
    }
}

/// Notes that this is the folder.
pub fn note(here: &DirectoryPlace) -> io::Result<()> {
    super::write_whole(&file(&here.path), &serde_json::to_string(here)?)
}
