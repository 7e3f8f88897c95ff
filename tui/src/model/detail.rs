//! What is known of the row at the cursor beyond the tree: input, output, log, position in the queue.

use std::sync::Arc;

use onceover_types::{CallbackStatus, NodeName, RunId, StageState, TaskId, Timestamp};
use onceover_wire::{CallbackDelivery, LastAttempt, Queues, ResultWarning, ReuseExplanation, StageSummary, StageView};

use super::log::LogBuffer;

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

/// A stage in full, ready to be drawn line by line.
#[derive(Debug, Clone, Default)]
pub struct StageText {
    pub input: Vec<String>,
    pub output: Vec<String>,
    pub error: Option<String>,
    pub last_attempt: Option<LastAttempt>,
    /// What makes the result partial or doubtful.
    pub warnings: Vec<ResultWarning>,
    pub folder: String,
}

impl StageText {
    /// Formats a stage.
    pub fn new(stage: &StageView, folder: &str) -> Self {
        Self {
            input: format_json(stage.input_params.get()),
            output: format_json(stage.output.get()),
            error: stage.error.clone(),
            last_attempt: stage.last_attempt.clone(),
            warnings: stage.result_warnings(),
            folder: folder.to_owned(),
        }
    }
}

/// Lines of a JSON text that are shown; the API has the rest.
const MAX_JSON_LINES: usize = 5_000;

fn format_json(json: &str) -> Vec<String> {
    let text = serde_json::from_str::<serde_json::Value>(json)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| json.to_owned());
    let mut lines: Vec<String> = text.lines().take(MAX_JSON_LINES).map(str::to_owned).collect();
    if lines.len() == MAX_JSON_LINES {
        lines.push("… the rest is not shown".into());
    }
    lines
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
    /// Lines that are scrolled from the top; where the log is scrolled to is in `LogView`.
    pub scroll: usize,
}

impl Detail {
    /// Points the detail at another stage, and keeps nothing but the tab.
    pub fn retarget(&mut self, stage: Option<(Arc<TaskId>, Arc<NodeName>)>) {
        *self = Self {
            stage,
            tab: self.tab,
            ..Self::default()
        };
    }
}
