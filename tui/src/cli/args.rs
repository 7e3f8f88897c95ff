//! The arguments of `onceover`.

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;
use onceover_types::{NodeName, TaskId, VideoId};
use onceover_wire::{ReuseMode, address::base_url, command_line::without_empty_variables};

use super::complete;
use crate::key::{Key, parse_keys};

/// Where the daemon listens unless it is named.
pub const DEFAULT_DAEMON: &str = "http://127.0.0.1:8788";

/// Every task's stages live, what waits and why, what reuse saved; resubmit, cancel and delete from the
/// keyboard. Without a terminal it prints the tree.
#[derive(Debug, Parser)]
#[command(name = "onceover", version)]
pub struct Args {
    /// Where the daemon listens: HOST:PORT, or a URL.
    #[arg(
        long,
        global = true,
        env = "ONCEOVER_DAEMON",
        value_name = "ADDRESS",
        default_value = DEFAULT_DAEMON,
        value_parser = base_url
    )]
    pub daemon: String,
    /// The Redis to follow, instead of the one the daemon names.
    #[arg(
        long,
        global = true,
        env = "ONCEOVER_REDIS",
        value_name = "URL",
        hide_env_values = true
    )]
    pub redis: Option<String>,
    /// Folder for the program's own log [default: onceover below the user's state folder].
    #[arg(long, global = true, env = "ONCEOVER_LOG_DIR", value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Open with the cursor on this task.
    #[arg(long, value_name = "TASK")]
    pub task: Option<TaskId>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Args {
    /// Reads the arguments and the environment.
    pub fn read() -> Result<Self, clap::Error> {
        let matches = without_empty_variables(Self::command()).try_get_matches()?;
        Self::from_arg_matches(&matches)
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the tasks and their stages, or those of one task.
    Tree(TreeArgs),
    /// Ask for a node to be run, or its finished result.
    Submit(SubmitArgs),
    /// Print what nodes there are and whether each can run, or all about one: parameters, outputs, what is missing.
    Nodes(NodesArgs),
    /// Print registered videos, a line each: how far their pipelines are.
    Videos(VideosArgs),
    /// Register a video with the daemon, which checks it with ffprobe first.
    Register(RegisterArgs),
    /// Start a pipeline of a registered video in the background, or of every video below a folder.
    Run(RunArgs),
    /// Print events as JSON lines, of everything or of one task until it ends.
    Watch(Watch),
    /// Print one frame of the dashboard as text.
    Snapshot(FrameArgs),
    /// Print the script that completes lines in a shell, nodes and parameters included.
    Completions(Completions),
}

#[derive(Debug, clap::Args)]
pub struct TreeArgs {
    /// Only this task.
    pub task: Option<TaskId>,
    /// As JSON: the list of tasks, or the view of the one.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct NodesArgs {
    /// All about this one.
    #[arg(add = ArgValueCompleter::new(complete::node_names))]
    pub node: Option<NodeName>,
    /// As JSON: the list of nodes, or the one.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct SubmitArgs {
    /// The node, such as ffmpeg.extract_audio.
    #[arg(add = ArgValueCompleter::new(complete::node_names))]
    pub node: NodeName,
    /// The task it belongs to [default: a new one].
    #[arg(long, value_name = "ID")]
    pub task: Option<TaskId>,
    /// All of the input: a JSON object.
    #[arg(long, value_name = "JSON", conflicts_with = "set")]
    pub input: Option<String>,
    /// One field of the input; the value is JSON where it reads as JSON, else text.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., action = clap::ArgAction::Append,
        add = ArgValueCompleter::new(complete::assignments))]
    pub set: Vec<String>,
    /// URL that gets the result.
    #[arg(long, value_name = "URL")]
    pub callback: Option<String>,
    /// What an earlier result is worth.
    #[arg(long, value_enum)]
    pub reuse: Option<Reuse>,
    /// Wait for the end; exit 1 when it was no success.
    #[arg(long)]
    pub wait: bool,
    /// Print the answer as JSON; with --wait as it is when the run has ended.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct VideosArgs {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct RegisterArgs {
    /// A file on the daemon's machine, below one of its media roots, or a URL to fetch it from.
    #[arg(value_name = "PATH|URL")]
    pub source: String,
    /// Its id [default: a new one].
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Its title [default: the name of the file].
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// Print the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The video's id.
    #[arg(
        required_unless_present = "folder",
        value_parser = |text: &str| VideoId::parse(text).map_err(|error| error.to_string())
    )]
    pub video: Option<VideoId>,
    /// Run on every video below this folder; each is registered once.
    #[arg(long, value_name = "DIR", conflicts_with = "video")]
    pub folder: Option<PathBuf>,
    /// With --folder: pipelines under way at a time.
    #[arg(long, value_name = "N", conflicts_with = "video", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: u16,
    /// With --folder: refuse a folder with more videos.
    #[arg(long, value_name = "N", conflicts_with = "video", default_value_t = 10_000)]
    pub most: usize,
    /// Which pipeline [default: the daemon's default].
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// End what is under way first, and run every step again.
    #[arg(long)]
    pub force: bool,
    /// Wait for the end; exit 1 when it was no success. With --folder of every video.
    #[arg(long)]
    pub wait: bool,
    /// Print the answer as JSON; with --wait how the pipeline ended, with --folder how each file did.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Reuse {
    /// Take a finished result, also when its input differs.
    Auto,
    /// Run, whatever is stored.
    Never,
    /// Take only a result of the same input.
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
    /// Only this task, and only until nothing of it waits or runs; exit 1 when that was no success.
    pub task: Option<TaskId>,
}

#[derive(Debug, clap::Args)]
pub struct FrameArgs {
    /// Columns and rows.
    #[arg(long, value_name = "WxH", default_value = "120x36", value_parser = size)]
    pub size: (u16, u16),
    /// Keys to press first, such as "jj<enter>": <enter> <esc> <tab> <space> <up> <down> <c-d> <lt> ...
    #[arg(long, value_name = "KEYS", default_value = "", value_parser = keys)]
    pub keys: Keys,
    /// Put the cursor on this task first.
    #[arg(long, value_name = "TASK")]
    pub task: Option<TaskId>,
}

#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell; for bash, `source <(onceover completions bash)`.
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

fn keys(text: &str) -> Result<Keys, String> {
    parse_keys(text).map(Keys)
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let parsed = text
        .split_once('x')
        .and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
    match parsed {
        Some((columns @ 1..=500, rows @ 1..=500)) => Ok((columns, rows)),
        _ => Err("a size is COLUMNSxROWS, each from 1 to 500, such as 120x36".into()),
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
    }
}
