//! Actions and what became of them: requests in flight, deletes that can be taken back, sentences about both.

use onceover_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{dialog::Target, row::Subject};

/// How long a confirmed delete waits for an undo before it is sent.
pub const UNDO_MS: i64 = 5_000;

/// How a sentence is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    Good,
    Bad,
    /// It is done, and the daemon warned of something.
    Warned,
    Neutral,
}

/// A sentence in the footer.
#[derive(Debug, Clone, PartialEq)]
pub struct Toast {
    pub text: String,
    pub tone: Tone,
    pub until: Timestamp,
    /// A text to be selected with the mouse; it stands on separate lines above the sentence.
    pub selectable: Option<String>,
}

/// What an answer says of an action that has succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub text: String,
    /// The daemon's warnings, in one sentence.
    pub warning: Option<String>,
}

impl From<String> for Note {
    fn from(text: String) -> Self {
        Self { text, warning: None }
    }
}

/// A request in flight for one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    pub request: u64,
    pub batch: u64,
}

/// The requests of one key press, which are summed up in one sentence.
#[derive(Debug, Default)]
pub struct Batch {
    pub verb: &'static str,
    pub total: usize,
    pub done: usize,
    /// What the answers say.
    pub notes: Vec<String>,
    pub warned: Vec<(Subject, String)>,
    pub failed: Vec<(Subject, String)>,
}

/// A delete that is confirmed but can still be taken back.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingDelete {
    pub targets: Vec<Target>,
    /// Whether videos are deleted, and then whether the data of their tasks is; `None`: tasks are deleted.
    pub videos: Option<bool>,
    pub due: Timestamp,
}

impl PendingDelete {
    /// Returns the word for what is deleted.
    pub fn noun(&self) -> &'static str {
        if self.videos.is_some() { "video" } else { "task" }
    }
}
