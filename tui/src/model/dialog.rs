//! Dialogs: the help, the menu of ways to run again, the review of changes, and the question before anything that
//! destroys or acts on many rows. A confirmed action is about exactly the targets that its dialog has listed.

mod rerun;
mod review;
mod sort_menu;

use std::collections::BTreeSet;

use onceover_types::{StageState, VideoId};
use onceover_wire::{CallbackDelivery, Processing, ReuseMode, VideoSource};

use super::{copy_menu::CopyMenu, palette::Palette, pipeline::list_with_dependents, row::RowId, store::TaskStore};

pub use rerun::{Forecast, Rerun, RerunWay};
pub use review::{Review, ReviewTarget, ReviewedChange};
pub use sort_menu::SortMenu;

/// A dialog over the screen.
#[derive(Debug)]
pub enum Dialog {
    Help {
        scroll: usize,
    },
    Rerun(Rerun),
    Sort(SortMenu),
    Palette(Palette),
    /// What can be copied.
    Copy(CopyMenu),
    /// What a rerun with changes would change.
    Review(Review),
    Confirm(Confirm),
}

/// What a dialog asks before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Delete,
    Cancel,
    Resubmit(ReuseMode),
    Redeliver,
    /// Start a pipeline; forced: end what is under way, then run every step again.
    Start {
        force: bool,
    },
    Reprocess,
    DeleteVideo,
}

/// One target, as it was when the question was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub row: RowId,
    pub stages: usize,
    /// Stages waiting, stages running.
    pub pending: usize,
    pub running: usize,
    /// The callback to be sent again; the row is the stage that it reports.
    pub delivery: Option<Box<CallbackDelivery>>,
    /// The video; the row is its task.
    pub video: Option<Box<OfVideo>>,
}

impl Target {
    /// Describes a task or a stage as it is now; `None` if the store has no such task.
    pub fn for_row(store: &TaskStore, row: RowId) -> Option<Self> {
        let task = store.get(&row.task)?;
        let stages: Vec<_> = task
            .stages
            .iter()
            .filter(|(node, _)| row.node.as_ref().is_none_or(|wanted| wanted == *node))
            .map(|(_, stage)| stage.status)
            .collect();
        let count = |state| stages.iter().filter(|status| **status == state).count();
        Some(Self {
            stages: stages.len(),
            pending: count(StageState::Pending),
            running: count(StageState::Running),
            ..Self::without_stages(row)
        })
    }

    /// A row that has no stage.
    pub fn without_stages(row: RowId) -> Self {
        Self {
            row,
            stages: 0,
            pending: 0,
            running: 0,
            delivery: None,
            video: None,
        }
    }
}

/// A video, as it was when the question was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct OfVideo {
    pub id: VideoId,
    pub processing: Option<Processing>,
    /// The steps to be run again, without those that depend on them; empty: all.
    pub chosen: BTreeSet<String>,
    /// Where its file came from, and where it is; `None`: not known here.
    pub file: Option<(VideoSource, String)>,
}

impl OfVideo {
    /// Whether its pipeline is under way.
    pub fn in_flight(&self) -> bool {
        self.processing
            .as_ref()
            .is_some_and(|processing| processing.status.in_flight())
    }

    /// Lists the names of the steps that run again, in the pipeline's order.
    pub fn steps_to_run(&self) -> Vec<String> {
        let Some(processing) = &self.processing else {
            return Vec::new();
        };
        if self.chosen.is_empty() {
            return processing.tasks.iter().map(|step| step.name.clone()).collect();
        }
        list_with_dependents(processing, &self.chosen)
    }
}

/// A choice between several ways to do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What is chosen.
    pub label: &'static str,
    pub options: Vec<Way>,
    pub at: usize,
}

/// One way to do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The name; empty: the daemon chooses.
    pub name: String,
    pub about: String,
}

impl Choice {
    /// Returns the way that is chosen.
    pub fn chosen(&self) -> Option<&Way> {
        self.options.get(self.at)
    }

    /// Chooses the way that is so many ways further, after the last one the first.
    pub fn step(&mut self, by: isize) {
        let count = self.options.len().max(1) as isize;
        self.at = (self.at as isize + by).rem_euclid(count) as usize;
    }
}

/// A question, and what was answered so far.
#[derive(Debug)]
pub struct Confirm {
    pub question: Question,
    pub targets: Vec<Target>,
    pub choice: Option<Choice>,
    /// Whether the button that acts has the focus; where something is lost, it does not have it at first.
    pub go: bool,
    /// The count that is typed, where it is asked for.
    pub typed: String,
    pub scroll: usize,
    /// What has changed since the time that is shown, where that is not the present.
    pub since: Option<String>,
}

/// With more targets than this, their count has to be typed.
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
            since: None,
        }
    }

    /// Whether the count of targets has to be typed.
    pub fn needs_count(&self) -> bool {
        self.question != Question::Start { force: false } && self.targets.len() > COUNT_ABOVE
    }

    /// Whether the count of targets is typed, or need not be.
    pub fn is_count_given(&self) -> bool {
        !self.needs_count() || self.typed == self.targets.len().to_string()
    }

    /// Returns the text of the button that acts.
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

    /// Returns the text of the button that does not act.
    pub fn leave(&self) -> &'static str {
        match self.question {
            Question::Cancel => "Keep",
            _ => "Cancel",
        }
    }
}
