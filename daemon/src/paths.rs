//! Where inputs may lie. Paths of requests and of earlier stages are checked twice: as text when a
//! request comes in, and as the real file when a run opens it (a symbolic link may lead elsewhere).

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use crate::executor::run::RunError;

/// The folders inputs are read from: the share (every task's own files) and the media roots.
#[derive(Debug, Clone)]
pub struct Roots {
    /// Real paths, the share first.
    real: Vec<PathBuf>,
    /// The same folders as the operator wrote them, which may go through symbolic links.
    given: Vec<PathBuf>,
}

/// Why the configured folders cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} as {role}: {why}", path.display())]
pub struct RootsError {
    role: &'static str,
    path: PathBuf,
    why: String,
}

/// What a path must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    FileOrFolder,
    File,
}

impl Roots {
    /// Both kinds of folder must exist.
    pub fn new(share: PathBuf, media: Vec<PathBuf>) -> Result<Self, RootsError> {
        let mut roots = Self {
            real: Vec::new(),
            given: Vec::new(),
        };
        roots.add("the share folder", share)?;
        for folder in media {
            roots.add("a media root", folder)?;
        }
        Ok(roots)
    }

    fn add(&mut self, role: &'static str, path: PathBuf) -> Result<(), RootsError> {
        let error = |why: String| RootsError {
            role,
            path: path.clone(),
            why,
        };
        let real = fs::canonicalize(&path).map_err(|why| error(why.to_string()))?;
        if !real.is_dir() {
            return Err(error("it is not a folder".into()));
        }
        if real.parent().is_none() {
            return Err(error("that would allow every file of the machine".into()));
        }
        let given = std::path::absolute(&path).map_err(|why| error(why.to_string()))?;
        self.real.push(real);
        self.given.push(given);
        Ok(())
    }

    /// The real path of the share folder.
    pub fn share(&self) -> &Path {
        &self.real[0]
    }

    /// The real paths of the media roots.
    pub fn media(&self) -> &[PathBuf] {
        &self.real[1..]
    }

    /// Whether a path of a request may be an input, judged by its text alone. The error is for people.
    pub fn lexically_allowed(&self, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Err("it is empty; give the absolute path of a file".into());
        }
        if let Some((scheme, _)) = text.split_once("://").filter(|_| !text.starts_with('/')) {
            return Err(format!(
                "URLs ({scheme}://) are not supported here yet; put the file below {} and give its absolute path",
                self.in_words()
            ));
        }
        if text.contains('\0') {
            return Err("it has a NUL character".into());
        }
        let path = Path::new(text);
        if !path.is_absolute() {
            return Err(format!(
                "'{text}' is a relative path; give an absolute one below {}",
                self.in_words()
            ));
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(format!("'{text}' has '..'; give the path without it"));
        }
        // `components` has dropped `.` and repeated slashes.
        let normal: PathBuf = path.components().collect();
        let below = |root: &PathBuf| normal.starts_with(root) && normal != *root;
        if self.given.iter().chain(&self.real).any(below) {
            return Ok(());
        }
        Err(format!(
            "'{text}' is not below {}; move the file there or start the daemon with --media-root",
            self.in_words()
        ))
    }

    /// The real path of an input: a file or folder that exists below one of the roots, symbolic links followed.
    pub fn open_input(&self, text: &str) -> Result<PathBuf, RunError> {
        self.open(text, Wanted::FileOrFolder)
    }

    /// As `open_input`, and it is a regular file.
    pub fn open_file(&self, text: &str) -> Result<PathBuf, RunError> {
        self.open(text, Wanted::File)
    }

    fn open(&self, text: &str, wanted: Wanted) -> Result<PathBuf, RunError> {
        self.lexically_allowed(text)
            .map_err(|why| RunError::failed(format!("cannot read the input: {why}")))?;
        let real = fs::canonicalize(text).map_err(|why| {
            RunError::failed(match why.kind() {
                std::io::ErrorKind::NotFound => {
                    format!("cannot read '{text}': there is no such file")
                }
                _ => format!("cannot read '{text}': {why}"),
            })
        })?;
        if !self.real.iter().any(|root| real.starts_with(root)) {
            return Err(RunError::failed(format!(
                "cannot read '{text}': it leads to {}, which is not below {}",
                real.display(),
                self.in_words()
            )));
        }
        let kind = fs::metadata(&real)
            .map_err(|why| RunError::failed(format!("cannot read '{text}': {why}")))?
            .file_type();
        match wanted {
            _ if kind.is_file() => Ok(real),
            Wanted::FileOrFolder if kind.is_dir() => Ok(real),
            Wanted::File if kind.is_dir() => Err(RunError::failed(format!(
                "cannot read '{text}': it is a folder, a file is needed"
            ))),
            _ => Err(RunError::failed(format!(
                "cannot read '{text}': it is not a regular file"
            ))),
        }
    }

    fn in_words(&self) -> String {
        let names: Vec<_> = self.given.iter().map(|root| root.display().to_string()).collect();
        names.join(" or ")
    }
}

#[cfg(test)]
mod tests {
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
        assert!(why.contains("not supported here yet"), "{why}");
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
        assert_eq!(real, fs::canonicalize(disk.path("share/a.mp4")).unwrap());
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
}
