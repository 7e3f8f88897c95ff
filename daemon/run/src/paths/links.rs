//! Links in a task's folder by which the files of its results are found. They are set by descriptor, so that a link
//! that a program put there instead of their folder is not followed.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{AtFlags, FileType, Mode, Stat, mkdirat, open, renameat, statat, symlinkat, unlinkat},
    io::Errno,
};

use super::beneath::{FOLDER, folder_in};

/// Points the link `name` in the folder `links` of `root` to `target`, in one step; `None` removes the link.
pub fn set_link(root: &Path, links: &str, name: &str, target: Option<&Path>) -> io::Result<()> {
    let root = open(root, FOLDER, Mode::empty())?;
    let Some(target) = target else {
        return match folder_in(&root, Path::new(links)) {
            // Then it has no link of ours.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(()),
            folder => remove_link(&folder?, name),
        };
    };
    let folder = links_folder(&root, links)?;
    let fresh = format!(".{name}.new");
    remove_link(&folder, &fresh)?;
    symlinkat(target, &folder, &fresh)?;
    renameat(&folder, &fresh, &folder, name)?;
    Ok(())
}

/// Opens the folder of links. Makes it where it is missing, and removes a link that has its name.
fn links_folder(root: &OwnedFd, links: &str) -> io::Result<OwnedFd> {
    let is_link = |meta: Stat| FileType::from_raw_mode(meta.st_mode) == FileType::Symlink;
    if statat(root, links, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(is_link) {
        unlinkat(root, links, AtFlags::empty())?;
    }
    match mkdirat(root, links, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => Ok(folder_in(root, Path::new(links))?),
        Err(why) => Err(why.into()),
    }
}

fn remove_link(folder: &OwnedFd, name: &str) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(why) => Err(why.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_link_in_the_place_of_the_folder_of_links_is_replaced_and_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let (task, outside) = (temp.path().join("t1"), temp.path().join("outside"));
        for folder in [&task, &outside] {
            fs::create_dir(folder).unwrap();
        }
        symlink(&outside, task.join("nodes")).unwrap();
        set_link(&task, "nodes", "a.b", None).unwrap();
        set_link(&task, "nodes", "a.b", Some(Path::new("../runs/1"))).unwrap();
        set_link(&task, "nodes", "a.b", Some(Path::new("../runs/2"))).unwrap();
        assert_eq!(fs::read_link(task.join("nodes/a.b")).unwrap(), Path::new("../runs/2"));
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        set_link(&task, "nodes", "a.b", None).unwrap();
        assert_eq!(fs::read_dir(task.join("nodes")).unwrap().count(), 0);
    }
}
