//! The arguments of `onceover`.

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint, parser::ValueSource};
use clap_complete::ArgValueCompleter;
use onceover_types::{NodeName, TaskId, VideoId};
use onceover_wire::{ReuseMode, address::base_url, command_line::without_empty_variables};

use super::{complete, connect::DEFAULT_DAEMON, failure::EXIT_CODES};
use crate::{
    images::ImageMode,
    key::{Key, parse_keys},
};

mod rows;

pub use rows::{
    CallbacksArgs, CancelArgs, CheckArgs, DeleteArgs, ExplainArgs, LogArgs, QueuesArgs, RedeliverArgs, ReplayArgs,
    ResubmitArgs, ShowArgs, StageSelection, TargetId, TargetSelection, TasksArgs, WorkersArgs,
};

/// Show tasks live, resubmit, cancel or delete them; print them without a terminal.
#[derive(Debug, Parser)]
#[command(name = "onceover", version, after_help = EXIT_CODES)]
pub struct Args {
    /// Connect to the daemon at this address: HOST:PORT or a URL.
    #[arg(
        long,
        global = true,
        env = "ONCEOVER_DAEMON",
        value_name = "ADDRESS",
        default_value = DEFAULT_DAEMON,
        value_parser = base_url
    )]
    pub daemon: String,
    /// Read this configuration file; onceover/onceover.toml in the user's configuration folder if omitted.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Refuse everything that would change something in the daemon.
    #[arg(long, global = true)]
    pub read_only: bool,
    /// Follow this Redis instead of the one that the daemon names.
    #[arg(
        long,
        global = true,
        env = "ONCEOVER_REDIS",
        value_name = "URL",
        hide_env_values = true
    )]
    pub redis: Option<String>,
    /// Write the log to this folder; below the user's state folder if omitted.
    #[arg(long, global = true, env = "ONCEOVER_LOG_DIR", value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Open with the cursor on this task.
    #[arg(long, value_name = "TASK", add = ArgValueCompleter::new(complete::complete_task))]
    pub task: Option<TaskId>,
    /// Show pictures of results in this way; by what the terminal can if omitted.
    #[arg(long, value_enum, env = "ONCEOVER_IMAGES", value_name = "HOW")]
    pub images: Option<ImageMode>,
    /// Leave the mouse to the terminal, which selects text with it.
    #[arg(long)]
    pub no_mouse: bool,
    /// Write the session to this file, which 'onceover replay FILE' plays; secrets are left out.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Whether the daemon's address was given, as an argument or in the environment.
    #[arg(skip)]
    pub has_daemon: bool,
}

impl Args {
    /// Reads the arguments and the environment.
    pub fn read() -> Result<Self, clap::Error> {
        let matches = without_empty_variables(Self::command()).try_get_matches()?;
        let has_daemon = matches
            .value_source("daemon")
            .is_some_and(|source| source != ValueSource::DefaultValue);
        Ok(Self {
            has_daemon,
            ..Self::from_arg_matches(&matches)?
        })
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the tasks, a line each.
    Tasks(TasksArgs),
    /// Print the tasks and their stages, or those of one task.
    Tree(TreeArgs),
    /// Print all about one task or stage.
    Show(ShowArgs),
    /// Print the log of a stage, or follow it.
    Log(LogArgs),
    /// Submit a node: run it, or get its finished result.
    #[command(after_help = EXIT_CODES)]
    Submit(SubmitArgs),
    /// Run stages again with their stored requests.
    #[command(after_help = EXIT_CODES)]
    Resubmit(ResubmitArgs),
    /// Cancel what waits or runs, after asking.
    #[command(after_help = EXIT_CODES)]
    Cancel(CancelArgs),
    /// Delete tasks with their records and files, after asking.
    #[command(after_help = EXIT_CODES)]
    Delete(DeleteArgs),
    /// Print callbacks: where they go, and what became of them.
    Callbacks(CallbacksArgs),
    /// Send callbacks again.
    #[command(after_help = EXIT_CODES)]
    Redeliver(RedeliverArgs),
    /// Print what a submit of a stored request would do now, and why.
    Explain(ExplainArgs),
    /// Print the queues: what runs, what waits, what is next.
    Queues(QueuesArgs),
    /// Print Celery workers, their queues and stages, and processes that stay warm.
    Workers(WorkersArgs),
    /// Print the nodes and whether each can run, or all about one node.
    Nodes(NodesArgs),
    /// Print the registered videos and how far their pipelines are.
    Videos(VideosArgs),
    /// Print the files of results and where they are, or download one.
    #[command(after_help = EXIT_CODES)]
    Files(FilesArgs),
    /// Register a video with the daemon, which checks it with ffprobe first.
    Register(RegisterArgs),
    /// Start a pipeline of a registered video, or of every video below a folder.
    #[command(after_help = EXIT_CODES)]
    Run(RunArgs),
    /// Print events as JSON lines, of everything or of one task until it ends.
    #[command(after_help = EXIT_CODES)]
    Watch(Watch),
    /// Print one frame of the dashboard as text.
    Snapshot(FrameArgs),
    /// Print every action of the dashboard with its keys.
    Keys(KeysArgs),
    /// Play a recorded session, and compare its frames with those that were drawn.
    #[command(after_help = EXIT_CODES)]
    Replay(ReplayArgs),
    /// Check whether everything that this program needs is all right.
    #[command(after_help = EXIT_CODES)]
    Check(CheckArgs),
    /// Print the script that completes commands, nodes and parameters in a shell.
    Completions(Completions),
    /// Write the manual pages to a folder.
    #[command(hide = true)]
    Man(ManArgs),
}

impl Command {
    /// Returns its name where it changes something in the daemon.
    pub fn find_change(&self) -> Option<&'static str> {
        match self {
            Self::Submit(_) => Some("submit"),
            Self::Resubmit(_) => Some("resubmit"),
            Self::Cancel(_) => Some("cancel"),
            Self::Delete(_) => Some("delete"),
            Self::Redeliver(_) => Some("redeliver"),
            Self::Register(_) => Some("register"),
            Self::Run(_) => Some("run"),
            Self::Tasks(_)
            | Self::Tree(_)
            | Self::Show(_)
            | Self::Log(_)
            | Self::Callbacks(_)
            | Self::Explain(_)
            | Self::Queues(_)
            | Self::Workers(_)
            | Self::Nodes(_)
            | Self::Videos(_)
            | Self::Files(_)
            | Self::Watch(_)
            | Self::Snapshot(_)
            | Self::Keys(_)
            | Self::Replay(_)
            | Self::Check(_)
            | Self::Completions(_)
            | Self::Man(_) => None,
        }
    }

    /// Whether it prints JSON, its failure included.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Tasks(args) => args.json,
            Self::Tree(args) => args.json,
            Self::Show(args) => args.json,
            Self::Log(args) => args.json,
            Self::Submit(args) => args.json,
            Self::Resubmit(args) => args.json,
            Self::Cancel(args) => args.json,
            Self::Delete(args) => args.json,
            Self::Callbacks(args) => args.json,
            Self::Redeliver(args) => args.json,
            Self::Explain(args) => args.json,
            Self::Queues(args) => args.json,
            Self::Workers(args) => args.json,
            Self::Nodes(args) => args.json,
            Self::Videos(args) => args.json,
            Self::Files(args) => args.json,
            Self::Register(args) => args.json,
            Self::Run(args) => args.json,
            Self::Keys(args) => args.json,
            Self::Replay(args) => args.json,
            Self::Check(args) => args.json,
            Self::Watch(args) => args.json,
            Self::Snapshot(_) | Self::Completions(_) | Self::Man(_) => false,
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct TreeArgs {
    /// Print only this task.
    #[arg(add = ArgValueCompleter::new(complete::complete_task))]
    pub task: Option<TaskId>,
    /// Print JSON: the list of tasks, or the view of the one task.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct NodesArgs {
    /// Print all about this node: parameters, outputs, what is missing.
    #[arg(add = ArgValueCompleter::new(complete::complete_node))]
    pub node: Option<NodeName>,
    /// Print JSON: the list of nodes, or the one node.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct SubmitArgs {
    /// Submit this node, such as ffmpeg.extract_audio.
    #[arg(add = ArgValueCompleter::new(complete::complete_node))]
    pub node: NodeName,
    /// Submit to this task; to a new one if omitted.
    #[arg(long, value_name = "ID", add = ArgValueCompleter::new(complete::complete_task))]
    pub task: Option<TaskId>,
    /// Pass the whole input as a JSON object; '-' reads it from standard input.
    #[arg(long, value_name = "JSON", conflicts_with = "set")]
    pub input: Option<String>,
    /// Pass one field; its value is JSON if it can be read as JSON, else text.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., action = clap::ArgAction::Append,
        add = ArgValueCompleter::new(complete::complete_assignment))]
    pub set: Vec<String>,
    /// Send the result to this URL.
    #[arg(long, value_name = "URL")]
    pub callback: Option<String>,
    /// Decide whether a finished result may be reused.
    #[arg(long, value_enum)]
    pub reuse: Option<Reuse>,
    /// Wait for the end; exit 1 unless it is a success.
    #[arg(long)]
    pub wait: bool,
    /// Print the answer as JSON; with --wait, as it is when the run has ended.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct VideosArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct FilesArgs {
    /// Print the files of this task's results.
    #[arg(required = true, add = ArgValueCompleter::new(complete::complete_task))]
    pub task: Option<TaskId>,
    /// Print only those of this node's result.
    #[arg(add = ArgValueCompleter::new(complete::complete_node))]
    pub node: Option<NodeName>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub action: Option<FilesAction>,
}

#[derive(Debug, Subcommand)]
pub enum FilesAction {
    /// Download one file of a result.
    Get(GetFileArgs),
}

#[derive(Debug, clap::Args)]
pub struct GetFileArgs {
    /// Download from a result of this task.
    #[arg(add = ArgValueCompleter::new(complete::complete_task))]
    pub task: TaskId,
    /// Download from the result of this node.
    #[arg(add = ArgValueCompleter::new(complete::complete_node))]
    pub node: NodeName,
    /// Download the file with this name, as `onceover files` prints it.
    pub name: String,
    /// Write to this file, - for standard output; in the current folder under its name if omitted.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Refuse a file of more bytes than this.
    #[arg(long, value_name = "BYTES", default_value_t = 20 << 30)]
    pub max_bytes: u64,
}

#[derive(Debug, clap::Args)]
pub struct RegisterArgs {
    /// Register this file below a media root of the daemon, or fetch this URL.
    #[arg(value_name = "PATH|URL")]
    pub source: String,
    /// Use this id; a new one if omitted.
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Use this title; the name of the file if omitted.
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// Print the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Process the video with this id.
    #[arg(
        required_unless_present = "folder",
        value_parser = |text: &str| VideoId::parse(text).map_err(|error| error.to_string()),
        add = ArgValueCompleter::new(complete::complete_video)
    )]
    pub video: Option<VideoId>,
    /// Process every video below this folder; register each once.
    #[arg(long, value_name = "DIR", conflicts_with = "video")]
    pub folder: Option<PathBuf>,
    /// Run at most this many pipelines at a time (with --folder).
    #[arg(long, value_name = "N", conflicts_with = "video", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// Refuse a folder with more videos than this (with --folder).
    #[arg(long, value_name = "N", conflicts_with = "video", default_value_t = 10_000)]
    pub most: usize,
    /// Run this pipeline; the daemon's default if omitted.
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::complete_pipeline))]
    pub pipeline: Option<String>,
    /// End what is under way first, and run every step again.
    #[arg(long)]
    pub force: bool,
    /// Wait for the end, with --folder of every video; exit 1 unless it is a success.
    #[arg(long)]
    pub wait: bool,
    /// Print JSON: the answer, or with --wait or --folder how the pipelines ended.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Reuse {
    /// Reuse a finished result, also if its input differs.
    Auto,
    /// Run again, whatever is stored.
    Never,
    /// Reuse only a result of the same input.
    Strict,
}

impl From<Reuse> for ReuseMode {
    fn from(reuse: Reuse) -> Self {
        match reuse {
            Reuse::Auto => Self::Auto,
            Reuse::Never => Self::Never,
            Reuse::Strict => Self::Strict,
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Print only this task, until it has ended; exit 1 unless it is a success.
    #[arg(add = ArgValueCompleter::new(complete::complete_task))]
    pub task: Option<TaskId>,
    /// Print a failure as JSON, too.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct FrameArgs {
    /// Draw this many columns and rows.
    #[arg(long, value_name = "WxH", default_value = "120x36", value_parser = parse_size)]
    pub size: (u16, u16),
    /// Press these keys first, such as "jj<enter>": <esc> <tab> <up> <c-d> <lt> ...
    #[arg(long, value_name = "KEYS", default_value = "", value_parser = read_keys)]
    pub keys: Keys,
    /// Put the cursor on this task first.
    #[arg(long, value_name = "TASK", add = ArgValueCompleter::new(complete::complete_task))]
    pub task: Option<TaskId>,
}

#[derive(Debug, clap::Args)]
pub struct KeysArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Print the tables of a Markdown document.
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Write onceover.1 and a page for each command to this folder.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct Completions {
    /// Print it for this shell; for bash: `source <(onceover completions bash)`.
    pub shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shell {
    Bash,
    Fish,
    Zsh,
}

impl Shell {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Fish => "fish",
            Self::Zsh => "zsh",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Keys(pub Vec<Key>);

fn read_keys(text: &str) -> Result<Keys, String> {
    parse_keys(text).map(Keys)
}

fn parse_size(text: &str) -> Result<(u16, u16), String> {
    let parsed = text
        .split_once('x')
        .and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
    match parsed {
        Some((columns @ 1..=500, rows @ 1..=500)) => Ok((columns, rows)),
        _ => Err("write COLUMNSxROWS, each from 1 to 500, such as 120x36".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_hold_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        let args = Args::parse_from(["onceover", "tree", "demo", "--daemon", "http://h:1"]);
        assert_eq!(args.daemon, "http://h:1");
        let args = Args::parse_from(["onceover", "--task", "demo"]);
        assert_eq!(args.task.unwrap().as_str(), "demo");
        let run = |args: &[&str]| Args::try_parse_from([&["onceover", "run"], args].concat());
        assert!(run(&["film"]).is_ok() && run(&["--folder", "d", "--jobs", "2"]).is_ok());
        for wrong in [
            &[][..],
            &["film", "--folder", "d"],
            &["film", "--jobs", "2"],
            &["--folder", "d", "--jobs", "0"],
        ] {
            assert!(run(wrong).is_err(), "{wrong:?}");
        }
        let args = Args::parse_from(["onceover", "submit", "a.b", "--set", "x=1", "y=two", "--set", "z=3"]);
        assert!(matches!(args.command, Some(Command::Submit(submit)) if submit.set.len() == 3));
        assert!(Args::try_parse_from(["onceover", "snapshot", "--size", "0x5"]).is_err());
        let files = |args: &[&str]| Args::try_parse_from([&["onceover", "files"], args].concat());
        assert!(files(&["film"]).is_ok() && files(&["film", "a.b", "--json"]).is_ok());
        assert!(files(&["get", "film", "a.b", "a.wav", "-o", "-"]).is_ok());
        assert!(files(&[]).is_err() && files(&["get", "film"]).is_err());
    }
}
