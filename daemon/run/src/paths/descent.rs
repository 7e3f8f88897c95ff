//! Walks into folders and out again, however deep they are: a walk holds a few descriptors and no stack frames.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{Mode, fstat, openat},
    io::Errno,
};

use super::beneath::{FOLDER, folder_in};

/// Levels that are open at a time. A walk opens at most two descriptors more, while it reads names and while it goes
/// up.
const OPEN: usize = 8;

/// How often a folder is opened again that is moved while it is opened.
const TRIES: usize = 4;

/// The way from one folder down to another, of which the deepest levels are open.
pub(super) struct Descent(Vec<Level>);

struct Level {
    /// `None` where the way is so far below it that it was closed.
    folder: Option<OwnedFd>,
    id: Id,
}

/// The device and inode by which a folder is recognized when it is opened again.
type Id = (u64, u64);

#[allow(clippy::unnecessary_cast, reason = "the width differs by system")]
fn id_of(folder: &OwnedFd) -> Result<Id, Errno> {
    let meta = fstat(folder)?;
    Ok((meta.st_dev as u64, meta.st_ino as u64))
}

impl Level {
    fn new(folder: OwnedFd) -> Result<Self, Errno> {
        let id = id_of(&folder)?;
        Ok(Self {
            folder: Some(folder),
            id,
        })
    }
}

impl Descent {
    pub(super) fn new(top: OwnedFd) -> Result<Self, Errno> {
        Ok(Self(vec![Level::new(top)?]))
    }

    /// Returns how many folders deep the way is.
    pub(super) fn depth(&self) -> usize {
        self.0.len() - 1
    }

    /// Returns the folder that the way has reached.
    pub(super) fn folder(&self) -> io::Result<&OwnedFd> {
        let deepest = self.0.last().and_then(|level| level.folder.as_ref());
        deepest.ok_or_else(|| io::Error::other("the walk has left its folder"))
    }

    /// Enters a folder, which must be no link and on the same file system.
    pub(super) fn enter(&mut self, name: &Path) -> Result<(), Errno> {
        let Some(Some(folder)) = self.0.last().map(|level| &level.folder) else {
            return Err(Errno::BADF);
        };
        let mut opened = folder_in(folder, name);
        for _ in 1..TRIES {
            // Something was renamed on this machine while the name was resolved.
            if !matches!(opened, Err(Errno::AGAIN)) {
                break;
            }
            opened = folder_in(folder, name);
        }
        self.0.push(Level::new(opened?)?);
        if let Some(above) = self.0.len().checked_sub(OPEN + 1) {
            self.0[above].folder = None;
        }
        Ok(())
    }

    /// Goes up one level. It is an error if the folder was moved, so that the folder above it is not the one that the
    /// way came from.
    pub(super) fn leave(&mut self) -> io::Result<()> {
        let left = self.0.pop();
        let Some(level) = self.0.last_mut().filter(|level| level.folder.is_none()) else {
            return Ok(());
        };
        let Some(below) = left.and_then(|left| left.folder) else {
            return Err(io::Error::other("the walk has left its folder"));
        };
        let above = openat(&below, "..", FOLDER, Mode::empty())?;
        if id_of(&above)? != level.id {
            return Err(io::Error::other("a folder in it was moved meanwhile"));
        }
        level.folder = Some(above);
        Ok(())
    }
}
