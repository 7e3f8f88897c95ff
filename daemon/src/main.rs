//! `onceoverd`: flags and subcommands. What the daemon is made of is in `serve`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use onceover_daemon::{
    catalog::command,
    check,
    config::{Config, ConfigError},
    executor::keeper,
    gc, import, serve,
};

/// Runs media work one stage at a time and never does the same stage twice.
#[derive(Parser)]
#[command(name = "onceoverd", version, args_conflicts_with_subcommands = false)]
struct Args {
    /// Address of the HTTP API [default: 127.0.0.1:8788]
    #[arg(long, env = "ONCEOVER_LISTEN", value_name = "HOST:PORT", global = true)]
    listen: Option<String>,
    /// Folder of the private Redis, the logs and every task's files [default: onceover in the user's data folder]
    #[arg(long, env = "ONCEOVER_DATA", value_name = "DIR", global = true)]
    data: Option<PathBuf>,
    /// Redis to use, redis://... or redis+unix://...; left out, the daemon starts a private one
    #[arg(
        long,
        env = "ONCEOVER_REDIS",
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
        global = true
    )]
    media_roots: Vec<PathBuf>,
    /// Folder of the environments of Python nodes, which daemons can share [default: nodes in the data folder]
    #[arg(long, env = "ONCEOVER_ENVIRONMENTS", value_name = "DIR", global = true)]
    environments: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print the effective configuration and what is missing on this machine
    Check,
    /// List the nodes with what each lacks on this machine, show one, or get what is missing
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
        /// Only tell what would be entered
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove the files of tasks that have expired or were deleted, and attempts that lost
    ///
    /// Looks at every folder of the data directory once, beside a running daemon or without one. Files of tasks that Redis
    /// knows stay, and so does what was changed within retention.grace.
    Gc {
        /// Only tell what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Also what was last changed before this Redis was first used with the data directory
        #[arg(long)]
        all: bool,
    },
}

#[derive(Subcommand)]
enum NodesCommand {
    /// Make the Python environment of a service with the packages its nodes need
    Install {
        /// The service, or `all`
        service: String,
        /// Make it anew, also where it is there
        #[arg(long)]
        reinstall: bool,
        /// Interpreter to make it with
        #[arg(long, value_name = "PROGRAM", default_value = "python3")]
        python: String,
    },
    /// Download a model of a node into the cache of its hub
    Fetch {
        node: String,
        /// Name at the hub; left out, those of the node's defaults
        model: Option<String>,
    },
}

impl Args {
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
        if let Some(redis) = &self.redis {
            config.redis.url = Some(redis.clone());
        }
        if !self.media_roots.is_empty() {
            config.media_roots.clone_from(&self.media_roots);
        }
        config.check()?;
        Ok(config)
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == "keeper") {
        return keeper::main(arguments);
    }
    let args = Args::parse();
    let result = args.config().map_err(anyhow::Error::from).and_then(|config| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        match args.command {
            None => runtime.block_on(serve::serve(config)),
            Some(Command::Check) => runtime.block_on(check::check(&config)),
            Some(Command::Nodes { node, command }) => match (command, node) {
                (None, None) => command::list(&config),
                (None, Some(node)) => command::show(&config, &node),
                (
                    Some(NodesCommand::Install {
                        service,
                        reinstall,
                        python,
                    }),
                    _,
                ) => command::install(&config, &service, &python, reinstall),
                (Some(NodesCommand::Fetch { node, model }), _) => command::fetch(&config, &node, model.as_deref()),
            },
            Some(Command::Gc { dry_run, all }) => runtime.block_on(gc::command::gc(&config, dry_run, all)),
            Some(Command::Import { prefix, dry_run }) => runtime.block_on(import::import(&config, &prefix, dry_run)),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("onceoverd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
