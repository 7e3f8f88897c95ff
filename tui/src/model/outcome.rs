//! What was asked for and what became of it: requests on their way, deletes that can be taken back, what is said of both.

use onceover_types::Timestamp;

use super::{Subject, dialog::Target};

/// How long a confirmed delete waits for an undo before it is sent.
pub const UNDO_MS: i64 = 5_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    Bad,
    /// Done, and something about it is not right.
    Warned,
    Neutral,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Toast {
    pub text: String,
    pub tone: Tone,
    pub until: Timestamp,
}

/// What an answer says of an action that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub text: String,
    /// What the daemon warned of, in one sentence.
    pub warning: Option<String>,
}

impl From<String> for Note {
    fn from(text: String) -> Self {
        Self { text, warning: None }
    }
}

/// A request on its way for one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    pub request: u64,
    pub batch: u64,
}

/// Requests made by one key press, to be summed up in one sentence.
#[derive(Debug, Default)]
pub struct Batch {
    pub verb: &'static str,
    pub total: usize,
    pub done: usize,
    /// What the answers said.
    pub notes: Vec<String>,
    pub warned: Vec<(Subject, String)>,
    pub failed: Vec<(Subject, String)>,
}

/// A delete that is confirmed but can still be taken back.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingDelete {
    pub targets: Vec<Target>,
    /// Videos are deleted, and whether the data of their tasks goes with them; None: tasks are.
    pub videos: Option<bool>,
    pub due: Timestamp,
}

impl PendingDelete {
    /// What goes, in a word.
    pub fn noun(&self) -> &'static str {
        if self.videos.is_some() { "video" } else { "task" }
    }
}
