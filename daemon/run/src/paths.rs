//! The folders from which inputs may be read. Paths of requests and of earlier stages are checked twice: as text when a
//! request arrives, and as the real file when a run opens it (a symbolic link may lead elsewhere).

mod beneath;
mod descent;
mod links;
pub mod share;
mod task_lock;
#[cfg(test)]
mod tests;
mod tree;
#[cfg(test)]
mod tree_tests;

use std::{
    borrow::Cow,
    fs,
    path::{Component, Path, PathBuf},
};

use onceover_types::TaskId;

pub use beneath::{DEFAULT_DOCUMENT, Opened, ReadLimit, leads_nowhere, open_regular};
pub use links::set_link;
pub use task_lock::{ClaimedFolder, FolderClaim, TaskLock};
pub use tree::{
    FolderContent, TAIL_MARK, files_below, is_file_or_tail, list_names, measure_folder, remove_beneath, remove_content,
    remove_folder, size_of_only_file,
};

use crate::RunError;
use onceover_limits::lack::Lack;

/// How often a path is opened again that changes while it is opened.
const TRIES: usize = 4;

/// The folders from which inputs are read: the share (the files of tasks) and the media roots.
#[derive(Debug, Clone)]
pub struct Roots {
    /// Real paths, the share first.
    real: Vec<PathBuf>,
    /// The same folders as the operator wrote them, which may go through symbolic links.
    given: Vec<PathBuf>,
    /// Bytes of a document that are read into memory.
    document: ReadLimit,
}

/// Why the configured folders cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {} as {role}: {why}", path.display())]
pub struct RootsError {
    role: &'static str,
    path: PathBuf,
    why: String,
}

/// Why an input was not opened, for people.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct OpenError {
    pub fault: OpenFault,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFault {
    /// The text is no path of an input.
    Malformed,
    /// The path is, or leads, outside of the folders that are read.
    NotAllowed,
    /// The file does not exist, or cannot be opened.
    Unreadable,
    /// The machine has nothing left of a resource now.
    Lacking(Lack),
}

impl OpenError {
    fn new(fault: OpenFault, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { fault, message }
    }

    fn before(self, what: &str) -> Self {
        let message = format!("{what}: {}", self.message);
        Self { message, ..self }
    }
}

impl From<OpenError> for RunError {
    fn from(OpenError { fault, message }: OpenError) -> Self {
        match fault {
            OpenFault::Lacking(lack) => Self::lacking(lack, message),
            OpenFault::Malformed | OpenFault::NotAllowed | OpenFault::Unreadable => Self::Failed(message),
        }
    }
}

/// What a path must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    FileOrFolder,
    File,
}

impl Roots {
    /// Opens the folders. All of them must exist.
    pub fn new(share: PathBuf, media: Vec<PathBuf>) -> Result<Self, RootsError> {
        let mut roots = Self {
            real: Vec::new(),
            given: Vec::new(),
            document: ReadLimit::default(),
        };
        roots.add("the share folder", share)?;
        for folder in media {
            roots.add("a media root", folder)?;
        }
        Ok(roots)
    }

    /// Sets how large a document may be that is read into memory.
    pub fn with_document_limit(self, bytes: u64) -> Self {
        Self {
            document: ReadLimit::document(bytes),
            ..self
        }
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

    /// Returns the real path of the folder in which each task has its folder.
    pub fn tasks_dir(&self) -> &Path {
        &self.real[0]
    }

    /// Returns the real paths of the media roots.
    pub fn media(&self) -> &[PathBuf] {
        &self.real[1..]
    }

    /// Returns what a path of a request means for a task: a plain relative path is below the task's folder, one that
    /// begins with `share/` below the share. Any other path stays, and is checked as it is.
    pub fn under_task<'a>(&self, task: &TaskId, text: &'a str) -> Cow<'a, str> {
        let is_plain = !text.is_empty()
            && !text.starts_with(['-', '~', '$'])
            && !text.contains(['\\', ':', '\0'])
            && Path::new(text)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
        if !is_plain {
            return text.into();
        }
        let folder = match (text.strip_prefix("share/workflows/"), text.starts_with("share/")) {
            (Some(rest), _) => self.tasks_dir().join(rest),
            // The share has nothing else.
            (None, true) => return text.into(),
            (None, false) => self.tasks_dir().join(task.as_str()).join(text),
        };
        folder.display().to_string().into()
    }

    /// Checks by its text alone whether a path of a request may be an input. The error is for people.
    pub fn check_text(&self, text: &str) -> Result<(), String> {
        self.check_path(text).map_err(|error| error.message)
    }

    /// Checks a path by its text, as `check_text` does. The error has the kind of fault.
    pub fn check_path(&self, text: &str) -> Result<(), OpenError> {
        let malformed = |why: String| Err(OpenError::new(OpenFault::Malformed, why));
        if text.is_empty() {
            return malformed("it is empty; give the absolute path of a file".into());
        }
        if let Some((scheme, _)) = text.split_once("://").filter(|_| !text.starts_with('/')) {
            return malformed(format!(
                "{scheme}:// is not supported here; give an http:// or https:// URL, or put the file below {} and give its absolute path",
                self.in_words()
            ));
        }
        if text.contains('\0') {
            return malformed("it has a NUL character".into());
        }
        let path = Path::new(text);
        if !path.is_absolute() {
            return malformed(format!(
                "'{text}' is neither a plain name below the task's folder nor an absolute path; give one of these, absolute ones below {}",
                self.in_words()
            ));
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return malformed(format!("'{text}' has '..'; give the path without it"));
        }
        // `components` has dropped `.` and repeated slashes.
        let normal: PathBuf = path.components().collect();
        let below = |root: &PathBuf| normal.starts_with(root) && normal != *root;
        if self.given.iter().chain(&self.real).any(below) {
            return Ok(());
        }
        Err(OpenError::new(
            OpenFault::NotAllowed,
            format!(
                "'{text}' is not below {}; move the file there or start the daemon with --media-root",
                self.in_words()
            ),
        ))
    }

    /// Opens an input: a file or folder that exists below one of the roots, symbolic links followed.
    pub fn open_input(&self, text: &str) -> Result<Opened, RunError> {
        Ok(self.open(text, Wanted::FileOrFolder)?)
    }

    /// Opens an input that must be a regular file.
    pub fn open_file(&self, text: &str) -> Result<Opened, RunError> {
        Ok(self.try_open_file(text)?)
    }

    /// Opens an input that must be a regular file. The error has the kind of fault.
    pub fn try_open_file(&self, text: &str) -> Result<Opened, OpenError> {
        self.open(text, Wanted::File)
    }

    /// Follows links first, then opens the real path from its root without following any: a file that was swapped in
    /// between is not opened.
    fn open(&self, text: &str, wanted: Wanted) -> Result<Opened, OpenError> {
        let error = |fault: OpenFault, why: String| OpenError::new(fault, format!("cannot read '{text}': {why}"));
        let cannot = |why: String| error(OpenFault::Unreadable, why);
        let refused = |what: String, why: &std::io::Error| match Lack::in_use(why) {
            Some(lack) => error(OpenFault::Lacking(lack), what),
            None => cannot(what),
        };
        self.check_path(text)
            .map_err(|error| error.before("cannot read the input"))?;
        let mut last = None;
        for _ in 0..TRIES {
            let real = fs::canonicalize(text).map_err(|why| match why.kind() {
                std::io::ErrorKind::NotFound => cannot("there is no such file".into()),
                _ => refused(why.to_string(), &why),
            })?;
            let Some(root) = self.real.iter().find(|root| real.starts_with(root)) else {
                let why = format!("it leads to {}, which is not below {}", real.display(), self.in_words());
                return Err(error(OpenFault::NotAllowed, why));
            };
            let opened = match Opened::beneath(root, &real) {
                Ok(opened) => opened,
                Err(why) if beneath::was_swapped(why) => {
                    last = Some(why);
                    continue;
                }
                Err(why) => return Err(refused(beneath::in_words(why), &why.into())),
            };
            return match (wanted, opened.is_folder()) {
                (Wanted::File, true) => Err(cannot("it is a folder, a file is needed".into())),
                _ => Ok(opened.with_limit(self.document)),
            };
        }
        let why = last.map_or_else(String::new, |why| format!(" ({why})"));
        Err(cannot(format!("it was changed while it was opened{why}")))
    }

    fn in_words(&self) -> String {
        let names: Vec<_> = self.given.iter().map(|root| root.display().to_string()).collect();
        names.join(" or ")
    }
}

/// Bytes of the longest name of a file.
pub const LONGEST_NAME: usize = 180;

/// Makes a safe name of a file's name that another party chose: one part of a path, whatever it was; `otherwise` where
/// nothing is left.
pub fn harmless_name(name: &str, otherwise: &str) -> String {
    let mut name: String = name
        .chars()
        .map(|c| {
            if c.is_control() || matches!(c, '/' | '\\' | '\u{fffd}') {
                '_'
            } else {
                c
            }
        })
        .collect();
    let excess = name.len().saturating_sub(LONGEST_NAME);
    if excess > 0 {
        // The front is cut, since the suffix has the kind of file.
        name.drain(..name.ceil_char_boundary(excess));
    }
    match name.trim_matches(['.', ' ']) {
        "" => otherwise.into(),
        _ => name,
    }
}
