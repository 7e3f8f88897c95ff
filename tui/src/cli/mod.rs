//! The command line: what the dashboard shows, for scripts and pipes.

pub mod args;
pub mod complete;
mod nodes;
mod register;
mod run;
mod snapshot;
mod submit;
mod tree;
mod videos;
mod watch;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use onceover_common::{
    Timestamp,
    client::{Client, ClientError, TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, token_from_environment},
};

use crate::{driver, log_file, model::Model, theme::Theme};
use args::{Args, Command};

/// Everything was done, but what was waited for did not succeed.
const NOT_SUCCESSFUL: u8 = 1;
/// What was asked for could not be done.
const FAILED: u8 = 2;

/// Why a command could not be done, for people.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self(match &error {
            ClientError::Unreachable { base, .. } => format!(
                "no answer from {base} ({}); start the daemon with 'onceoverd', or name it with --daemon",
                crate::feed::short_reason(&error)
            ),
            other if matches!(other.status(), Some(401 | 403)) => {
                format!("{other}; give one of the daemon's tokens with {TOKEN_VARIABLE} or {TOKEN_FILE_VARIABLE}")
            }
            other => other.to_string(),
        })
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// Ok holds whether it ended well.
type Outcome = Result<bool, Failure>;

/// Runs what the arguments ask for.
pub async fn run(args: Args) -> ExitCode {
    // Kept to the end: what is still in it is written when it goes.
    let _log = log_file::start(args.log_dir.as_deref());
    if let Some(Command::Completions(completions)) = &args.command {
        return finish(complete::print_script(completions.shell.as_str()));
    }
    let client = match client(&args.daemon) {
        Ok(client) => client,
        Err(Failure(text)) => return failed(&text),
    };
    let outcome = match args.command {
        Some(Command::Tree(tree)) => tree::run(&client, tree).await,
        Some(Command::Submit(submit)) => submit::run(&client, submit).await,
        Some(Command::Nodes(nodes)) => nodes::run(&client, nodes).await,
        Some(Command::Videos(videos)) => videos::run(&client, videos).await,
        Some(Command::Register(register)) => register::run(&client, register).await,
        Some(Command::Run(run)) => run::run(&client, run).await,
        Some(Command::Watch(watch)) => watch::run(&client, watch).await,
        // Printed before there is a client.
        Some(Command::Completions(_)) => Ok(true),
        Some(Command::Snapshot(mut frame)) => {
            frame.task = frame.task.or(args.task);
            snapshot::run(&client, frame).await
        }
        None if io::stdout().is_terminal() && io::stdin().is_terminal() => {
            let mut model = Model::new(client.base(), Timestamp::now(), (80, 24));
            model.theme = Theme::from_env();
            model.tz = jiff::tz::TimeZone::system();
            model.wanted = args.task;
            driver::run(model, client, args.redis)
                .await
                .map(|()| true)
                .map_err(|error| Failure(format!("{error:#}")))
        }
        None => {
            tree::run(
                &client,
                args::Tree {
                    task: args.task,
                    json: false,
                },
            )
            .await
        }
    };
    finish(outcome)
}

fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_SUCCESSFUL),
        Err(Failure(text)) => failed(&text),
    }
}

fn failed(text: &str) -> ExitCode {
    let lines: Vec<_> = text.lines().map(crate::view::text::harmless).collect();
    let _ = writeln!(io::stderr(), "onceover: {}", lines.join("\n"));
    ExitCode::from(FAILED)
}

/// The daemon's client, with the token of the environment.
fn client(daemon: &str) -> Result<Client, Failure> {
    let client = token_from_environment().and_then(|token| Client::with_token(daemon, token.as_deref()));
    // A person who mistypes a field wants to know before anything runs.
    client
        .map(Client::strict)
        .map_err(|error| Failure::new(error.to_string()))
}

/// Prints a warning to stderr, so that what stdout holds stays as it is.
fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "! {}", crate::view::text::harmless(text));
}

/// Prints a line. A reader that went away (`| head`) has had enough: that is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
    {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(Failure::from),
    }
}
