//! Paths that leave their root, as text and through links.

use std::os::unix::fs::symlink;

use super::*;

struct Disk {
    dir: tempfile::TempDir,
    roots: Roots,
}

impl Disk {
    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

fn disk() -> Disk {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["share", "media", "outside"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        fs::write(dir.path().join(folder).join("a.mp4"), "x").unwrap();
    }
    let roots = Roots::new(dir.path().join("share"), vec![dir.path().join("media")]).unwrap();
    Disk { dir, roots }
}

#[test]
fn a_relative_path_is_below_the_folder_of_its_task_and_nowhere_else() {
    let disk = disk();
    let task = TaskId::parse("t1").unwrap();
    let share = disk.roots.tasks_dir().display().to_string();
    for (text, below) in [
        ("a.json", "t1/a.json"),
        ("nodes/x.y/data/a b.json", "t1/nodes/x.y/data/a b.json"),
        ("share/workflows/t2/a.json", "t2/a.json"),
    ] {
        let path = disk.roots.under_task(&task, text);
        assert_eq!(path, format!("{share}/{below}"));
        assert_eq!(disk.roots.check_text(&path), Ok(()), "{text}");
    }
    for text in [
        "",
        ".",
        "..",
        "./a",
        "../t2/a",
        "a/../../t2/a",
        "share/workflows/../x",
        "share/x",
        "~/a",
        "-i",
        "--",
        "$HOME/a",
        "file:a",
        "C:\\a",
        "\\\\host\\a",
        "a\0",
        "/etc/passwd",
        "s3://bucket/a",
        "https://example.org/a",
    ] {
        assert_eq!(disk.roots.under_task(&task, text), text);
    }
}

#[test]
fn o4_paths_that_leave_the_roots_are_refused_as_text() {
    let disk = disk();
    for bad in [
        String::new(),
        "a.mp4".into(),
        "share/a.mp4".into(),
        "-i".into(),
        "/etc/passwd".into(),
        "/".into(),
        "http://example.org/a.mp4".into(),
        "s3://bucket/a.mp4".into(),
        "minio://bucket/a.mp4".into(),
        "file:///etc/passwd".into(),
        disk.path("share"),
        disk.path("share/../outside/a.mp4"),
        disk.path("share/a\0.mp4"),
        disk.path("shared/a.mp4"),
        disk.path("outside/a.mp4"),
    ] {
        assert!(disk.roots.check_text(&bad).is_err(), "{bad:?}");
        assert!(disk.roots.open_input(&bad).is_err(), "{bad:?}");
    }
    for good in [
        "share/a.mp4",
        "media//./a.mp4",
        "media/not yet there.mp4",
        "media/a://b",
    ] {
        assert_eq!(disk.roots.check_text(&disk.path(good)), Ok(()), "{good}");
    }
}

#[test]
fn a_refusal_says_which_folders_are_allowed() {
    let disk = disk();
    let why = disk.roots.check_text("/etc/passwd").unwrap_err();
    assert!(
        why.contains(&disk.path("share")) && why.contains(&disk.path("media")),
        "{why}"
    );
    let why = disk.roots.check_text("s3://bucket/key").unwrap_err();
    assert!(why.contains("s3:// is not supported"), "{why}");
}

#[test]
fn a_link_that_leads_out_of_the_roots_is_not_followed() {
    let disk = disk();
    symlink(disk.path("outside/a.mp4"), disk.path("media/link.mp4")).unwrap();
    symlink(disk.path("outside"), disk.path("media/folder")).unwrap();
    symlink(disk.path("share/a.mp4"), disk.path("media/inside.mp4")).unwrap();
    for bad in ["media/link.mp4", "media/folder/a.mp4"] {
        let error = disk.roots.open_input(&disk.path(bad)).unwrap_err().to_string();
        assert!(error.contains("not below"), "{error}");
    }
    let real = disk.roots.open_input(&disk.path("media/inside.mp4")).unwrap();
    assert_eq!(*real, *fs::canonicalize(disk.path("share/a.mp4")).unwrap());
}

#[test]
fn a_root_may_be_named_through_a_link() {
    let disk = disk();
    symlink(disk.path("media"), disk.path("films")).unwrap();
    let roots = Roots::new(disk.path("share").into(), vec![disk.path("films").into()]).unwrap();
    assert!(roots.open_input(&disk.path("films/a.mp4")).is_ok());
    assert!(roots.open_input(&disk.path("media/a.mp4")).is_ok());
}

#[test]
fn only_regular_files_are_files() {
    let disk = disk();
    fs::create_dir(disk.path("media/folder")).unwrap();
    let folder = disk.path("media/folder");
    assert!(disk.roots.open_input(&folder).is_ok());
    assert!(
        disk.roots
            .open_file(&folder)
            .unwrap_err()
            .to_string()
            .contains("folder")
    );
    let gone = disk.roots.open_file(&disk.path("media/gone")).unwrap_err();
    assert!(gone.to_string().contains("no such file"), "{gone}");
    let socket = disk.path("media/socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(disk.roots.open_input(&socket).is_err());
}

#[test]
fn roots_must_exist_and_not_be_everything() {
    let disk = disk();
    let new = |share: &str, media: &str| Roots::new(share.into(), vec![media.into()]);
    assert!(new(&disk.path("share"), &disk.path("gone")).is_err());
    assert!(new(&disk.path("share"), &disk.path("media/a.mp4")).is_err());
    assert!(new(&disk.path("share"), "/").is_err());
}

/// Swaps two entries of a folder again and again while `look` runs.
fn while_swapping(one: &str, other: &str, look: impl FnOnce()) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
            }
        });
        look();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn req25_a_link_swapped_while_a_file_is_opened_leads_nowhere() {
    let disk = disk();
    fs::create_dir(disk.path("media/folder")).unwrap();
    fs::write(disk.path("media/folder/a.mp4"), "inside").unwrap();
    fs::write(disk.path("outside/a.mp4"), "secret").unwrap();
    symlink(disk.path("outside"), disk.path("media/link")).unwrap();
    let (mut opened, mut refused) = (0, 0);
    while_swapping(&disk.path("media/folder"), &disk.path("media/link"), || {
        while opened < 300 || refused < 300 {
            match disk.roots.open_file(&disk.path("media/folder/a.mp4")) {
                Ok(file) => {
                    assert_eq!(file.read().unwrap(), b"inside");
                    opened += 1;
                }
                Err(_) => refused += 1,
            }
        }
    });
}

#[test]
fn req25_what_was_put_in_the_place_of_an_input_is_noticed() {
    let disk = disk();
    let path = disk.path("media/a.mp4");
    let file = disk.roots.open_file(&path).unwrap();
    assert!(file.is_in_place());
    fs::rename(&path, disk.path("media/moved")).unwrap();
    assert!(!file.is_in_place());
    symlink(disk.path("media/moved"), &path).unwrap();
    assert!(!file.is_in_place(), "a link to the same file");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "x").unwrap();
    assert!(!file.is_in_place());
    assert_eq!(file.read().unwrap(), b"x");
}

#[test]
fn req25_a_link_swapped_while_a_task_is_removed_is_not_followed() {
    let disk = disk();
    for index in 0..200 {
        fs::write(disk.path(&format!("outside/{index}")), "kept").unwrap();
    }
    for _ in 0..20 {
        for folder in 0..20 {
            let folder = disk.path(&format!("share/t1/{folder}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(format!("{folder}/file"), "x").unwrap();
        }
        fs::create_dir(disk.path("share/t1/swapped")).unwrap();
        fs::create_dir_all(disk.path("share/swap")).unwrap();
        symlink(disk.path("outside"), disk.path("share/swap/link")).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use rustix::fs::{CWD, RenameFlags, renameat_with};
                let (one, other) = (disk.path("share/t1/swapped"), disk.path("share/swap/link"));
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    // Until it does not exist any more.
                    let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                }
            });
            // It may fail: a folder that others change meanwhile has to be removed again.
            while disk.dir.path().join("share/t1").exists() {
                let _ = remove_folder(&disk.dir.path().join("share"), "t1");
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        fs::remove_dir_all(disk.path("share/swap")).unwrap();
    }
    assert_eq!(fs::read_dir(disk.path("outside")).unwrap().count(), 201);
}
