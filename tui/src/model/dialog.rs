//! Dialogs: help, and the question before anything that destroys or acts on many rows. A confirmed
//! action touches exactly the targets its dialog listed.

use std::collections::BTreeSet;

use onceover_types::VideoId;
use onceover_wire::{CallbackDelivery, Processing, ReuseMode, VideoSource};

use super::{RowId, pipeline::with_dependents};

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
    /// Start a pipeline; forced: end what is under way, then everything anew.
    Start {
        force: bool,
    },
    Reprocess,
    DeleteVideo,
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
    /// The video; the row is its task.
    pub video: Option<Box<OfVideo>>,
}

/// A video, as it was when the question was put.
#[derive(Debug, Clone, PartialEq)]
pub struct OfVideo {
    pub id: VideoId,
    pub processing: Option<Processing>,
    /// The steps to be run anew, without those that depend on them; empty: all.
    pub chosen: BTreeSet<String>,
    /// Where its file came from, and where it is; None: not known here.
    pub file: Option<(VideoSource, String)>,
}

impl OfVideo {
    pub fn in_flight(&self) -> bool {
        self.processing
            .as_ref()
            .is_some_and(|processing| processing.status.in_flight())
    }

    /// The names of the steps that run anew, in the pipeline's order.
    pub fn steps_to_run(&self) -> Vec<String> {
        let Some(processing) = &self.processing else {
            return Vec::new();
        };
        if self.chosen.is_empty() {
            return processing.tasks.iter().map(|step| step.name.clone()).collect();
        }
        with_dependents(processing, &self.chosen)
    }
}

/// One of several ways to do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What is chosen.
    pub label: &'static str,
    pub options: Vec<Way>,
    pub at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// What it is called; empty: the daemon chooses.
    pub name: String,
    pub about: String,
}

impl Choice {
    pub fn chosen(&self) -> Option<&Way> {
        self.options.get(self.at)
    }

    pub fn step(&mut self, by: isize) {
        let count = self.options.len().max(1) as isize;
        self.at = (self.at as isize + by).rem_euclid(count) as usize;
    }
}

#[derive(Debug)]
pub struct Confirm {
    pub question: Question,
    pub targets: Vec<Target>,
    pub choice: Option<Choice>,
    /// Whether the button that acts has the focus; where something is lost it never has at first.
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
            choice: None,
            // Nothing is lost by a start.
            go: question == Question::Start { force: false },
            typed: String::new(),
            scroll: 0,
        }
    }

    pub fn needs_count(&self) -> bool {
        self.question != Question::Start { force: false } && self.targets.len() > COUNT_ABOVE
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
            Question::Start { force: false } => "Start",
            Question::Start { force: true } => "Restart",
            Question::Reprocess => "Reprocess",
            Question::DeleteVideo => "Delete",
        }
    }

    pub fn leave(&self) -> &'static str {
        match self.question {
            Question::Cancel => "Keep",
            _ => "Cancel",
        }
    }
}
