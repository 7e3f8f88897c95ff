//! Folders deeper than any path, stack or number of descriptors, and wide ones.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, mkdirat, open, openat},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::{share, tree::*};

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// Makes folders `d/d/d/...` in one that is there, a file in each hundredth.
fn make_deep(top: &Path, depth: u64) {
    let mut folder = open(top, FOLDER, Mode::empty()).unwrap();
    for level in 1..=depth {
        mkdirat(&folder, "d", Mode::from_raw_mode(0o755)).unwrap();
        folder = openat(&folder, "d", FOLDER, Mode::empty()).unwrap();
        if level % 100 == 0 {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
            openat(&folder, "file", flags, Mode::from_raw_mode(0o644)).unwrap();
        }
    }
}

/// Lets the process open so many more files than it has open, for as long as `work` takes.
fn with_descriptors<T>(more: u64, work: impl FnOnce() -> T) -> T {
    let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let before = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(open + more),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let done = work();
    setrlimit(Resource::Nofile, before).unwrap();
    done
}

#[test]
fn folders_12000_deep_are_measured_listed_and_removed_with_16_descriptors() {
    let temp = tempfile::tempdir().unwrap();
    let root = &fs::canonicalize(temp.path()).unwrap();
    fs::create_dir(root.join("t1")).unwrap();
    make_deep(&root.join("t1"), 12_000);
    let start = Instant::now();
    let (content, listed, files, removed) = with_descriptors(16, || {
        (
            measure_folder(root, Path::new("t1")).unwrap().unwrap(),
            share::list(root, "t1", None, 1000).unwrap(),
            files_below(root, &root.join("t1")).unwrap(),
            remove_folder(root, "t1").unwrap(),
        )
    });
    assert_eq!((content.depth, content.folders, content.files), (12_000, 12_000, 120));
    assert_eq!(removed, Some((120, 0)));
    // No path that can be opened leads to what is deeper.
    assert_eq!((listed.len(), files.len()), (20, 20));
    assert!(!root.join("t1").exists());
    // A walk that goes all the way from the top for each folder takes minutes.
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn a_folder_with_more_files_than_are_read_at_a_time_is_removed_whole() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    for folder in ["t1", "t1/in"] {
        fs::create_dir(root.join(folder)).unwrap();
        for file in 0..5000 {
            fs::write(root.join(folder).join(file.to_string()), "").unwrap();
        }
    }
    assert_eq!(remove_folder(root, "t1").unwrap(), Some((10_000, 0)));
    assert_eq!(fs::read_dir(root).unwrap().count(), 0);
}

#[test]
fn a_folder_is_emptied_but_for_one_file_and_those_that_continue_it() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    for file in ["run.log", "a/run.log", "x", "run.log.tail-7-1", "run.log.gz"] {
        fs::write(root.join(file), "").unwrap();
    }
    remove_content(root, "run.log").unwrap();
    let mut left: Vec<_> = fs::read_dir(root)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["run.log", "run.log.tail-7-1"]);
}

#[test]
fn only_a_file_that_is_alone_in_its_folder_has_its_size_returned() {
    let temp = tempfile::tempdir().unwrap();
    let (root, inside) = (temp.path(), Path::new("t1/runs"));
    let size = || size_of_only_file(root, inside, "run.log");
    assert!(size().is_err(), "there is no folder");
    fs::create_dir_all(root.join(inside)).unwrap();
    assert_eq!(size().unwrap(), None);
    let log = root.join(inside).join("run.log");
    fs::write(&log, "four").unwrap();
    assert_eq!(size().unwrap(), Some(4));
    let other = root.join(inside).join("other");
    fs::write(&other, "").unwrap();
    assert_eq!(size().unwrap(), None);
    fs::remove_file(&log).unwrap();
    assert_eq!(size().unwrap(), None, "it has another name");
    fs::rename(&other, root.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(root.join("elsewhere"), &log).unwrap();
    assert_eq!(size().unwrap(), None, "it is a link");
}
