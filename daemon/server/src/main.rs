//! `onceoverd`: flags and subcommands. What the daemon is made of is in `app`.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

use std::{path::PathBuf, process::ExitCode};

use anyhow::anyhow;
use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};
use clap_complete::Shell;
use onceover_catalog::Profile;
use onceover_daemon::{
    app,
    commands::{check, gc, import, install, language_model, manual, nodes},
    config::{Config, ConfigError, LogFormat, LogToStderr},
    console, logging,
};
use onceover_process::{environment, init, reaper};
use onceover_types::causes;
use onceover_wire::command_line::{explain, unwritten, without_empty_variables};

const PROGRAM: &str = "onceoverd";
/// Variable that holds the URL of Redis, which the daemon does not keep in its environment.
const REDIS: &str = "ONCEOVER_REDIS";
/// Variable that holds the form of the log.
const LOG_FORMAT: &str = "ONCEOVER_LOG_FORMAT";
/// The exit code of wrong arguments, as clap has it.
const WRONG_USAGE: u8 = 2;

/// Runs media work one stage at a time and never does the same stage twice.
#[derive(Parser)]
#[command(name = PROGRAM, version, args_conflicts_with_subcommands = false)]
struct Args {
    /// Address of the HTTP API [default: 127.0.0.1:8788]
    #[arg(long, env = "ONCEOVER_LISTEN", value_name = "HOST:PORT", global = true)]
    listen: Option<String>,
    /// Folder of the private Redis, the logs and every task's files [default: onceover in the user's data folder]
    #[arg(long, env = "ONCEOVER_DATA", value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Redis to use, redis://... or redis+unix://... [default: a private one, started by the daemon]
    #[arg(
        long,
        env = REDIS,
        value_name = "URL",
        global = true,
        hide_env_values = true
    )]
    redis: Option<String>,
    /// Configuration file (TOML)
    #[arg(long, env = "ONCEOVER_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Folder that inputs may lie in, beside the tasks' own; can be repeated
    #[arg(
        long = "media-root",
        env = "ONCEOVER_MEDIA_ROOT",
        value_name = "DIR",
        value_delimiter = ':',
        value_parser = OsStringValueParser::new().map(PathBuf::from),
        global = true
    )]
    media_roots: Vec<PathBuf>,
    /// Folder of the environments of Python nodes, which daemons can share [default: nodes in the data folder]
    #[arg(long, env = "ONCEOVER_ENVIRONMENTS", value_name = "DIR", global = true)]
    environments: Option<PathBuf>,
    /// Machine that nodes' default models are for: cpu takes small ones, cuda large ones [default: large ones]
    #[arg(long, env = "ONCEOVER_PROFILE", value_name = "cpu|cuda", global = true)]
    profile: Option<Profile>,
    /// Form of the daemon's log: text, or json for an object a line [default: text]
    #[arg(long, env = LOG_FORMAT, value_name = "FORMAT", global = true, value_parser = set::<LogFormat>)]
    log_format: Option<Set<LogFormat>>,
    /// Whether the daemon logs to stderr beside its files: auto, always or never [default: auto]
    #[arg(long, env = "ONCEOVER_LOG_STDERR", value_name = "WHEN", global = true, value_parser = set::<LogToStderr>)]
    log_stderr: Option<Set<LogToStderr>>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Configured(ConfiguredCommand),
    /// Print the script that completes arguments in a shell
    Completions {
        /// Print it for this shell; for bash: `source <(onceoverd completions bash)`
        shell: Shell,
    },
    /// Write the manual pages to a folder
    #[command(hide = true)]
    Man {
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// The commands that read the configuration.
#[derive(Subcommand)]
enum ConfiguredCommand {
    /// Print the effective configuration and what is missing on this machine
    Check {
        /// Mend records in Redis that are damaged, or set them aside
        #[arg(long)]
        repair: bool,
        /// Ask a language model for one line: the configured one, or one that is found on this machine
        #[arg(long, value_name = "PROVIDER", num_args = 0..=1, conflicts_with = "repair")]
        llm: Option<Option<String>>,
        /// Ask this model instead of the provider's
        #[arg(long, value_name = "MODEL", requires = "llm")]
        model: Option<String>,
    },
    /// List the nodes with what is missing on this machine, show one, or install what is missing
    #[command(args_conflicts_with_subcommands = true)]
    Nodes {
        /// A node to show with all it takes and gives
        node: Option<String>,
        #[command(subcommand)]
        command: Option<NodesCommand>,
    },
    /// Enter tasks into the lists that are known only from what other workers wrote into Redis
    ///
    /// Walks over every key of the database once. Finished stages become stages of Onceover, their JSON stays as it is.
    Import {
        /// Only keys that begin with this
        #[arg(long = "match", value_name = "PREFIX", default_value = "")]
        prefix: String,
        /// Print what would be entered without entering it
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove the files of tasks that have expired or were deleted, and attempts that lost
    ///
    /// Checks every folder of the data directory once, beside a running daemon or without one. Files of tasks that Redis
    /// knows stay, and so does what was changed within retention.grace.
    Gc {
        /// Print what would be removed without removing it
        #[arg(long)]
        dry_run: bool,
        /// Also what was last changed before this Redis was first used with the data directory
        #[arg(long)]
        all: bool,
    },
}

#[derive(Subcommand)]
enum NodesCommand {
    // Its help is that of the options.
    Install(install::InstallOptions),
    /// Download a model of a node into the cache of its hub
    Fetch {
        node: String,
        /// Name at the hub [default: the models of the node's defaults]
        model: Option<String>,
    },
}

/// A choice; none where the variable that may hold it is empty.
#[derive(Debug, Clone, Copy)]
struct Set<T>(Option<T>);

fn set<T: ValueEnum>(text: &str) -> Result<Set<T>, String> {
    if text.is_empty() {
        return Ok(Set(None));
    }
    let choices = || T::value_variants().iter().filter_map(T::to_possible_value);
    T::from_str(text, false).map(|value| Set(Some(value))).map_err(|_| {
        let names: Vec<_> = choices().map(|choice| choice.get_name().to_owned()).collect();
        format!("it must be one of {}", names.join(", "))
    })
}

impl Args {
    fn read() -> Result<Self, clap::Error> {
        let matches = without_empty_variables(Self::command()).try_get_matches()?;
        Self::from_arg_matches(&matches)
    }

    /// The form in which a failure to start is reported: before the configuration has been read, as far as that is known.
    fn log_format(&self) -> LogFormat {
        let set = self.log_format.and_then(|format| format.0);
        let of_file = || self.config.as_deref().map(LogFormat::asked_for_by);
        set.or_else(of_file).unwrap_or_default()
    }

    fn config(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(listen) = &self.listen {
            config.listen.clone_from(listen);
        }
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        if let Some(environments) = &self.environments {
            config.environments = Some(environments.clone());
        }
        config.profile = self.profile.or(config.profile);
        let redis = || environment::var(REDIS).filter(|url| !url.trim().is_empty());
        if let Some(redis) = self.redis.clone().or_else(redis) {
            config.redis.url = Some(redis);
        }
        if let Some(format) = self.log_format.and_then(|format| format.0) {
            config.log.format = format;
        }
        if let Some(stderr) = self.log_stderr.and_then(|stderr| stderr.0) {
            config.log.stderr = stderr;
        }
        // `/srv/videos:` has an empty part.
        let roots = self.media_roots.iter().filter(|root| !root.as_os_str().is_empty());
        let roots: Vec<_> = roots.cloned().collect();
        if !roots.is_empty() {
            config.media_roots = roots;
        }
        config.check()?;
        Ok(config)
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == "reaper") {
        return match reaper::main(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                logging::report_failure(None, LogFormat::Text, &error.to_string());
                ExitCode::from(WRONG_USAGE)
            }
        };
    }
    if let Err(error) = environment::receive() {
        let text = format!("cannot read the variables that were handed over: {error}");
        logging::report_failure(None, LogFormat::Text, &text);
        return ExitCode::FAILURE;
    }
    let mut args = match Args::read() {
        Ok(args) => args,
        Err(error) if error.use_stderr() && std::env::var(LOG_FORMAT).is_ok_and(|format| format == "json") => {
            logging::report_failure(None, LogFormat::Json, error.to_string().trim_end());
            return ExitCode::from(WRONG_USAGE);
        }
        Err(error) => return explain(PROGRAM, &error),
    };
    let command = match args.command.take() {
        None => None,
        Some(Command::Configured(command)) => Some(command),
        Some(Command::Completions { shell }) => {
            manual::print_completions(Args::command(), shell);
            return report_command(Ok(()));
        }
        Some(Command::Man { folder }) => return report_command(manual::write_pages(Args::command(), &folder)),
    };
    let config = args.config();
    if command.is_none()
        && config.is_ok()
        && let Err(error) = environment::hide()
    {
        let text = format!("cannot keep the secrets of the environment from programs of nodes: {error}");
        logging::report_failure(None, args.log_format(), &text);
        return ExitCode::FAILURE;
    }
    if command.is_none() && init::is_needed() {
        return init::run().map_or_else(
            |error| {
                let text = format!("cannot start the daemon as a child of process 1: {error}");
                logging::report_failure(None, args.log_format(), &text);
                ExitCode::FAILURE
            },
            ExitCode::from,
        );
    }
    let Some(command) = command else {
        return match config {
            Ok(config) => app::main(config),
            Err(error) => {
                logging::report_failure(None, args.log_format(), &error.to_string());
                ExitCode::FAILURE
            }
        };
    };
    let ran = config
        .map_err(anyhow::Error::from)
        .and_then(|config| run(command, &config));
    report_command(ran)
}

/// Reports what came of a command: also that its output could not be written.
fn report_command(ran: anyhow::Result<()>) -> ExitCode {
    let printed = console::failure().map_or(Ok(()), |error| Err(anyhow!(unwritten(error))));
    match ran.and(printed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::report_failure(None, LogFormat::Text, &causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Runs one of the commands beside the daemon.
fn run(command: ConfiguredCommand, config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        ConfiguredCommand::Check { repair: true, .. } => runtime.block_on(check::repair(config)),
        ConfiguredCommand::Check {
            llm: Some(provider),
            model,
            ..
        } => runtime.block_on(language_model::check_model(
            config,
            provider.as_deref(),
            model.as_deref(),
        )),
        ConfiguredCommand::Check {
            repair: false,
            llm: None,
            ..
        } => runtime.block_on(check::check(config)),
        ConfiguredCommand::Nodes { node, command } => match (command, node) {
            (None, None) => nodes::list(config),
            (None, Some(node)) => nodes::show(config, &node),
            (Some(NodesCommand::Install(options)), _) => install::install(config, &options),
            (Some(NodesCommand::Fetch { node, model }), _) => nodes::fetch(config, &node, model.as_deref()),
        },
        ConfiguredCommand::Gc { dry_run, all } => runtime.block_on(gc::gc(config, dry_run, all)),
        ConfiguredCommand::Import { prefix, dry_run } => runtime.block_on(import::import(config, &prefix, dry_run)),
    }
}
