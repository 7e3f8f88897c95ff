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
        assert!(disk.roots.lexically_allowed(&bad).is_err(), "{bad:?}");
        assert!(disk.roots.open_input(&bad).is_err(), "{bad:?}");
    }
    for good in [
        "share/a.mp4",
        "media//./a.mp4",
        "media/not yet there.mp4",
        "media/a://b",
    ] {
        assert_eq!(disk.roots.lexically_allowed(&disk.path(good)), Ok(()), "{good}");
    }
}

#[test]
fn a_refusal_says_which_folders_are_allowed() {
    let disk = disk();
    let why = disk.roots.lexically_allowed("/etc/passwd").unwrap_err();
    assert!(
        why.contains(&disk.path("share")) && why.contains(&disk.path("media")),
        "{why}"
    );
    let why = disk.roots.lexically_allowed("s3://bucket/key").unwrap_err();
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
