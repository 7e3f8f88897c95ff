//! What is known of the row under the cursor beyond the tree: input, output, log, place in the queue.
//! Fetched when the cursor rests; an answer to an older question is dropped.

use std::sync::Arc;

use onceover_types::{CallbackStatus, NodeName, RunId, StageState, TaskId, Timestamp};
use onceover_wire::{CallbackDelivery, LastAttempt, Queues, ResultWarning, ReuseExplanation, StageSummary, StageView};

use super::log::LogBuffer;

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
    pub fn of(stage: &StageView, folder: &str) -> Self {
        Self {
            input: pretty(stage.input_params.get()),
            output: pretty(stage.output.get()),
            error: stage.error.clone(),
            last_attempt: stage.last_attempt.clone(),
            warnings: stage.result_warnings(),
            folder: folder.to_owned(),
        }
    }
}

/// Lines of a JSON text beyond this are not worth scrolling through; the API has them.
const MAX_JSON_LINES: usize = 5_000;

fn pretty(json: &str) -> Vec<String> {
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
    pub fn of(stage: &StageSummary) -> Self {
        Self {
            state: stage.status,
            run: stage.run_id.clone(),
            attempt: stage.attempt,
        }
    }
}

#[derive(Debug, Default)]
pub struct Detail {
    /// The stage shown; None on a task's row.
    pub stage: Option<(Arc<TaskId>, Arc<NodeName>)>,
    /// What the text was fetched for: a change of these fetches again.
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
    /// The daemon's word on what a submit would do now, or why there is none.
    pub reuse: Option<Result<Box<ReuseExplanation>, String>>,
    pub reuse_request: Option<u64>,
    /// What it was asked for: a change of this asks again.
    pub reuse_ground: Option<Ground>,
    /// The stage's callbacks, newest first.
    pub deliveries: Vec<CallbackDelivery>,
    pub deliveries_request: Option<u64>,
    pub tab: Tab,
    /// Lines scrolled: from the top, in the log from the end.
    pub scroll: usize,
}

impl Detail {
    /// Points at another stage; nothing of the former one is kept but the tab.
    pub fn retarget(&mut self, stage: Option<(Arc<TaskId>, Arc<NodeName>)>) {
        *self = Self {
            stage,
            tab: self.tab,
            ..Self::default()
        };
    }
}
