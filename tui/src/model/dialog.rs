//! Dialogs: help, and the question before anything that destroys or acts on many rows. A confirmed
//! action touches exactly the targets its dialog listed.

use onceover_common::wire::{CallbackDelivery, ReuseMode};

use super::RowId;

#[derive(Debug)]
pub enum Dialog {
    Help { scroll: usize },
    Confirm(Confirm),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Delete,
    Cancel,
    Resubmit(ReuseMode),
    Redeliver,
}

/// One target, as it was when the question was put.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub row: RowId,
    pub stages: usize,
    /// Stages waiting, stages running.
    pub pending: usize,
    pub running: usize,
    /// The callback to be sent again; the row is the stage it tells of.
    pub delivery: Option<Box<CallbackDelivery>>,
}

#[derive(Debug)]
pub struct Confirm {
    pub question: Question,
    pub targets: Vec<Target>,
    /// Whether the button that acts has the focus; it never has at first.
    pub go: bool,
    /// The count typed so far, where it is asked for.
    pub typed: String,
    pub scroll: usize,
}

/// More targets than this need their count typed.
pub const COUNT_ABOVE: usize = 10;

impl Confirm {
    pub fn new(question: Question, targets: Vec<Target>) -> Self {
        Self {
            question,
            targets,
            go: false,
            typed: String::new(),
            scroll: 0,
        }
    }

    pub fn needs_count(&self) -> bool {
        self.targets.len() > COUNT_ABOVE
    }

    pub fn count_given(&self) -> bool {
        !self.needs_count() || self.typed == self.targets.len().to_string()
    }

    /// The button that acts.
    pub fn verb(&self) -> &'static str {
        match self.question {
            Question::Delete => "Delete",
            Question::Cancel => "Cancel runs",
            Question::Resubmit(ReuseMode::Never) => "Force rerun",
            Question::Resubmit(_) => "Resubmit",
            Question::Redeliver => "Redeliver",
        }
    }

    pub fn leave(&self) -> &'static str {
        match self.question {
            Question::Cancel => "Keep",
            _ => "Cancel",
        }
    }
}
