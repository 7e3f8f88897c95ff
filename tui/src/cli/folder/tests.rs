use std::{fs, path::Path};

use super::{
    entry::{EntryEnd, FileOutcome},
    find::{TooMany, find_videos},
    summary,
};

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn names(folder: &Path, but_not: &[&str]) -> Vec<String> {
    let but_not: Vec<_> = but_not.iter().map(|name| folder.join(name)).collect();
    let found = find_videos(folder, &but_not, 100).unwrap().unwrap();
    found.files.into_iter().map(|file| file.name).collect()
}

#[test]
fn videos_are_found_by_name_sorted_without_hidden_files_and_the_daemons_own() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    for name in [
        "b.MKV",
        "a/z.mp4",
        "a/.hidden.mp4",
        ".cache/c.mp4",
        "own/share/x.mp4",
        "notes.txt",
        "mp4",
    ] {
        write(&root.join(name), name);
    }
    std::os::unix::fs::symlink(root.join("a"), root.join("again")).unwrap();
    std::os::unix::fs::symlink(root.join("b.MKV"), root.join("link.mkv")).unwrap();
    std::os::unix::fs::symlink(root.join("gone"), root.join("broken.mp4")).unwrap();
    assert_eq!(names(&root, &["own"]), ["a/z.mp4", "b.MKV"]);
    let found = find_videos(&root, &[], 100).unwrap().unwrap();
    let [(file, why)] = found.unreadable.as_slice() else {
        panic!("{:?}", found.unreadable)
    };
    assert!(file.name == "broken.mp4" && why.contains("No such file"), "{why}");
    assert_eq!(find_videos(&root, &[], 2).unwrap(), Err(TooMany));
    assert!(find_videos(&root.join("none"), &[], 2).is_err());
}

#[test]
fn a_file_is_the_same_video_until_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    let id = |name: &str| {
        let found = find_videos(&root, &[], 10).unwrap().unwrap();
        let file = found.files.into_iter().find(|file| file.name == name);
        file.unwrap().video_id().unwrap().to_string()
    };
    write(&root.join("M\u{fc}ller & co..mp4"), "one");
    write(&root.join("\u{ac15}\u{c758}.mp4"), "one");
    let (first, other) = (id("M\u{fc}ller & co..mp4"), id("\u{ac15}\u{c758}.mp4"));
    assert!(first.starts_with("M-ller---co-"), "{first}");
    assert!(other.starts_with("video-"), "{other}");
    assert_eq!(id("\u{ac15}\u{c758}.mp4"), other);
    write(&root.join("\u{ac15}\u{c758}.mp4"), "longer");
    assert_ne!(id("\u{ac15}\u{c758}.mp4"), other);
}

#[test]
fn the_summary_counts_each_outcome() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.mp4"), "");
    let file = find_videos(folder.path(), &[], 10).unwrap().unwrap().files.remove(0);
    let ended = |outcome| (file.clone(), EntryEnd::refused(outcome, "why"));
    let entries = [
        ended(FileOutcome::Done),
        ended(FileOutcome::Done),
        ended(FileOutcome::Failed),
        ended(FileOutcome::NoVideo),
    ];
    assert_eq!(
        summary::count_outcomes(&entries),
        "3 videos: 2 done, 1 failed; 1 file is no video"
    );
    let entries = FileOutcome::NOT_REGISTERED.map(ended);
    assert_eq!(
        summary::count_outcomes(&entries),
        "0 videos; not registered: 1 not allowed, 1 unreadable, 1 damaged, 1 timed out"
    );
    assert!(entries.iter().all(|(_, ended)| !ended.outcome.is_good()));
    let entries = [ended(FileOutcome::Started), ended(FileOutcome::NotStarted)];
    assert!(
        summary::describe_interruption(&entries)
            .starts_with("stopped waiting: 1 goes on at the daemon (onceover videos), 1 was not"),
        "{}",
        summary::describe_interruption(&entries)
    );
}
