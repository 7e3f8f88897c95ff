//! The arguments of commands about tasks, stages and callbacks.

use std::{fmt, path::PathBuf, str::FromStr};

use clap_complete::ArgValueCompleter;
use onceover_types::{CallbackStatus, InvalidId, NodeName, TaskId};

use super::{Reuse, complete};
use crate::model::filter::Filter;

/// A task, or one of its stages: `TASK` or `TASK/NODE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetId {
    pub task: TaskId,
    pub node: Option<NodeName>,
}

impl FromStr for TargetId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (task, node) = match text.split_once('/') {
            Some((task, node)) => (task, Some(NodeName::parse(node)?)),
            None => (text, None),
        };
        Ok(Self {
            task: TaskId::parse(task)?,
            node,
        })
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{}/{node}", self.task),
            None => self.task.fmt(f),
        }
    }
}

// A stage: `TASK/NODE`, or the newest one of `TASK`. No doc comment: clap would take it for the command's help.
#[derive(Debug, clap::Args)]
pub struct StageSelection {
    /// Name the stage, such as film/ffmpeg.extract_audio; of a task its newest stage.
    #[arg(value_name = "TASK[/NODE]")]
    pub target: TargetId,
}

// What a command acts on. No doc comment, as above.
#[derive(Debug, clap::Args)]
pub struct TargetSelection {
    /// Name tasks, or stages such as film/ffmpeg.extract_audio.
    #[arg(value_name = "TASK[/NODE]", required_unless_present = "filter")]
    pub targets: Vec<TargetId>,
    /// Select what the dashboard's query finds, such as "state:failed age<1h".
    #[arg(long, value_name = "QUERY", conflicts_with = "targets", value_parser = read_filter)]
    pub filter: Option<Filter>,
    /// Refuse a query that finds more than this.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub most: usize,
}

/// Reads a query; the error has the column.
fn read_filter(text: &str) -> Result<Filter, String> {
    match Filter::parse(text) {
        Ok(Some(filter)) => Ok(filter),
        Ok(None) => Err("it is empty; write for example state:failed".into()),
        Err(error) => Err(format!("column {}: {}", error.position, error.message)),
    }
}

/// Reads how many are printed at most.
fn read_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..) => Ok(limit),
        _ => Err("write a number from 1 on".into()),
    }
}

#[derive(Debug, clap::Args)]
pub struct TasksArgs {
    /// Print only what the dashboard's query finds, such as "state:failed age<1h".
    #[arg(long, value_name = "QUERY", value_parser = read_filter)]
    pub filter: Option<Filter>,
    /// Print at most this many, the newest.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = read_limit)]
    pub limit: usize,
    /// Print JSON: a page of the list of tasks.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Show this task, or one stage of it, such as film/ffmpeg.extract_audio.
    #[arg(value_name = "TASK[/NODE]")]
    pub target: TargetId,
    /// Print JSON: the view of the task, or of the stage.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct LogArgs {
    #[command(flatten)]
    pub stage: StageSelection,
    /// Follow the log until the run ends.
    #[arg(short, long, conflicts_with_all = ["lines", "search", "json"])]
    pub follow: bool,
    /// Print only the last lines; all if omitted.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub lines: Option<u64>,
    /// Print only lines with this text; case does not matter.
    #[arg(long, value_name = "TEXT", conflicts_with = "lines")]
    pub search: Option<String>,
    /// Print JSON: a page with the lines and their numbers.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct ResubmitArgs {
    #[command(flatten)]
    pub selection: TargetSelection,
    /// Decide whether a finished result may be reused.
    #[arg(long, value_enum, default_value = "auto")]
    pub reuse: Reuse,
    /// Wait for the end of each; exit 1 unless all succeed.
    #[arg(long)]
    pub wait: bool,
    /// Print JSON: the answer, or of several targets a list with an entry for each.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    #[command(flatten)]
    pub selection: TargetSelection,
    /// Do it without being asked; needed where there is no terminal.
    #[arg(short, long)]
    pub yes: bool,
    /// Print JSON: the answer, or of several targets a list with an entry for each.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    pub selection: TargetSelection,
    /// End runs that are under way first; without it such a task is refused.
    #[arg(long)]
    pub force: bool,
    /// Do it without being asked; needed where there is no terminal.
    #[arg(short, long)]
    pub yes: bool,
    /// Print JSON: the answer, or of several targets a list with an entry for each.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum DeliveryState {
    Pending,
    Sent,
    /// Given up.
    Failed,
}

impl From<DeliveryState> for CallbackStatus {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Pending => Self::Pending,
            DeliveryState::Sent => Self::Sent,
            DeliveryState::Failed => Self::Failed,
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct CallbacksArgs {
    /// Print only those of this task.
    #[arg(add = ArgValueCompleter::new(complete::complete_task))]
    pub task: Option<TaskId>,
    /// Print only those in this state.
    #[arg(long, value_enum)]
    pub state: Option<DeliveryState>,
    /// Print at most this many, the newest.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = read_limit)]
    pub limit: usize,
    /// Print JSON: a page of the list of callbacks.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct RedeliverArgs {
    /// Send the callbacks with these ids again; 'onceover callbacks' prints them.
    #[arg(value_name = "ID", required_unless_present = "failed")]
    pub ids: Vec<String>,
    /// Send every callback again that was given up.
    #[arg(long, conflicts_with = "ids")]
    pub failed: bool,
    /// Print JSON: the answer, or of several targets a list with an entry for each.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub stage: StageSelection,
    /// Decide as with this mode; as the node has it if omitted.
    #[arg(long, value_enum)]
    pub reuse: Option<Reuse>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct QueuesArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct WorkersArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Print JSON: what was checked, and what came out.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// Play this recording, which 'onceover --record FILE' has made.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Play it this many times faster.
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = read_speed)]
    pub speed: f64,
    /// Write each frame as text into this folder instead of showing it.
    #[arg(long, value_name = "DIR")]
    pub to_frames: Option<PathBuf>,
    /// Print JSON: how many frames there are, and how many differ from what was drawn.
    #[arg(long)]
    pub json: bool,
}

fn read_speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if (0.01..=1_000.0).contains(&speed) => Ok(speed),
        _ => Err("write a number from 0.01 to 1000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_task_or_a_stage() {
        for text in ["film", "film/ffmpeg.extract_audio"] {
            assert_eq!(text.parse::<TargetId>().unwrap().to_string(), text);
        }
        for wrong in ["", "film/", "/a.b", "film/x", "film/a.b/c.d", "fi lm"] {
            assert!(wrong.parse::<TargetId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_limit_is_one_at_least() {
        assert_eq!(read_limit("1"), Ok(1));
        for wrong in ["0", "-1", "x", ""] {
            assert!(read_limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_query_is_refused_with_its_column() {
        assert!(read_filter("state:failed").is_ok());
        assert!(read_filter("state:").unwrap_err().starts_with("column "));
        assert!(read_filter(" ").unwrap_err().contains("empty"));
    }
}
