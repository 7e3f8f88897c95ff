//! What is known of the row at the cursor beyond the tree: input, output, log, position in the queue.

use std::sync::Arc;

use onceover_types::{CallbackStatus, NodeName, RunId, StageState, TaskId, Timestamp};
use onceover_wire::{CallbackDelivery, LastAttempt, Queues, ResultWarning, ReuseExplanation, StageSummary, StageView};

use super::{json_tree::JsonTree, log::LogBuffer};

/// The tabs of the detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tab {
    #[default]
    Overview,
    Input,
    Output,
    Reuse,
    Log,
}

impl Tab {
    pub const ALL: [Self; 5] = [Self::Overview, Self::Input, Self::Output, Self::Reuse, Self::Log];

    pub fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Input => "Input",
            Self::Output => "Output",
            Self::Reuse => "Reuse",
            Self::Log => "Log",
        }
    }

    /// Returns the tab that is so many tabs further, after the last one the first.
    pub fn step(self, by: isize) -> Self {
        let at = Self::ALL.iter().position(|tab| *tab == self).unwrap_or(0) as isize;
        Self::ALL[(at + by).rem_euclid(Self::ALL.len() as isize) as usize]
    }
}

/// A text of a stage that is JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StagePart {
    Input,
    Output,
}

impl StagePart {
    pub const ALL: [Self; 2] = [Self::Input, Self::Output];

    /// Returns what a tab shows; `None` if that is no JSON.
    pub fn of_tab(tab: Tab) -> Option<Self> {
        match tab {
            Tab::Input => Some(Self::Input),
            Tab::Output => Some(Self::Output),
            Tab::Overview | Tab::Reuse | Tab::Log => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// A JSON text, and the tree that was read from it.
#[derive(Debug)]
pub struct ParsedText {
    pub raw: Arc<str>,
    /// `None` while it is read.
    pub tree: Option<JsonTree>,
    /// The reading of it beside the loop.
    pub request: Option<u64>,
}

impl ParsedText {
    fn new(raw: &str) -> Self {
        Self {
            raw: raw.into(),
            tree: None,
            request: None,
        }
    }
}

/// A stage in full.
#[derive(Debug)]
pub struct StageText {
    pub input: ParsedText,
    pub output: ParsedText,
    pub error: Option<String>,
    pub last_attempt: Option<LastAttempt>,
    /// What makes the result partial or doubtful.
    pub warnings: Vec<ResultWarning>,
    pub folder: String,
}

impl StageText {
    /// Takes the texts of a stage; their trees are read later.
    pub fn new(stage: &StageView, folder: &str) -> Self {
        Self {
            input: ParsedText::new(stage.input_params.get()),
            output: ParsedText::new(stage.output.get()),
            error: stage.error.clone(),
            last_attempt: stage.last_attempt.clone(),
            warnings: stage.result_warnings(),
            folder: folder.to_owned(),
        }
    }

    pub fn part(&self, part: StagePart) -> &ParsedText {
        match part {
            StagePart::Input => &self.input,
            StagePart::Output => &self.output,
        }
    }

    pub fn part_mut(&mut self, part: StagePart) -> &mut ParsedText {
        match part {
            StagePart::Input => &mut self.input,
            StagePart::Output => &mut self.output,
        }
    }

    /// Takes over the trees of a former text, with cursor and folds, where nothing has changed.
    pub fn keep_trees(&mut self, former: Self) {
        if self.input.raw == former.input.raw {
            self.input = former.input;
        }
        if self.output.raw == former.output.raw {
            self.output = former.output;
        }
    }
}

/// What an explanation of the reuse decision depends on, as far as the dashboard sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    state: StageState,
    run: Option<RunId>,
    attempt: u32,
}

impl Ground {
    /// Reads what the explanation of a stage depends on.
    pub fn new(stage: &StageSummary) -> Self {
        Self {
            state: stage.status,
            run: stage.run_id.clone(),
            attempt: stage.attempt,
        }
    }
}

/// What is known of the stage in the detail.
#[derive(Debug, Default)]
pub struct Detail {
    /// The stage shown; `None` on a task's row.
    pub stage: Option<(Arc<TaskId>, Arc<NodeName>)>,
    /// What the stage was when its text was fetched: a change fetches it again.
    pub seen: Option<(StageState, u32, Option<CallbackStatus>)>,
    pub fetch_at: Option<Timestamp>,
    /// Newest request for the text; answers to others are dropped.
    pub request: Option<u64>,
    pub text: Option<StageText>,
    pub failed: Option<String>,
    pub log: LogBuffer,
    pub log_request: Option<u64>,
    pub queues: Option<Queues>,
    pub queues_request: Option<u64>,
    /// What the daemon says a submit would do now, or why it does not.
    pub reuse: Option<Result<Box<ReuseExplanation>, String>>,
    pub reuse_request: Option<u64>,
    /// What the stage was when it was asked: a change asks again.
    pub reuse_ground: Option<Ground>,
    /// The stage's callbacks, newest first.
    pub deliveries: Vec<CallbackDelivery>,
    pub deliveries_request: Option<u64>,
    pub tab: Tab,
    /// What is searched in the tree of a JSON text, while it is typed.
    pub json_input: Option<tui_input::Input>,
    /// The request for the whole log, which the pager waits for.
    pub pager_request: Option<u64>,
    /// Lines that are scrolled from the top; where the log is scrolled to is in `LogView`.
    pub scroll: usize,
}

impl Detail {
    /// Returns the tree that the tab shows; `None` if there is none, or none yet.
    pub fn shown_json(&self) -> Option<&JsonTree> {
        let part = StagePart::of_tab(self.tab)?;
        self.text.as_ref()?.part(part).tree.as_ref()
    }

    pub fn shown_json_mut(&mut self) -> Option<&mut JsonTree> {
        let part = StagePart::of_tab(self.tab)?;
        self.text.as_mut()?.part_mut(part).tree.as_mut()
    }

    /// Points the detail at another stage, and keeps nothing but the tab.
    pub fn retarget(&mut self, stage: Option<(Arc<TaskId>, Arc<NodeName>)>) {
        *self = Self {
            stage,
            tab: self.tab,
            ..Self::default()
        };
    }
}
