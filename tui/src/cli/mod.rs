//! The command line: what the dashboard shows, for scripts and pipes.

pub mod args;
pub mod complete;
mod folder;
mod follow;
mod nodes;
mod out;
mod register;
mod run;
mod snapshot;
mod submit;
mod tree;
mod videos;
mod waits;
mod watch;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use onceover_types::causes;
use onceover_wire::{
    client::{Client, ClientError, TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, token_from_environment},
    command_line::variable,
};

use crate::{driver, glyphs::Glyphs, log_file, model::Model, theme::Theme};
use args::{Args, Command};
use out::failed;

/// Everything was done, but what was waited for did not succeed.
const NOT_SUCCESSFUL: u8 = 1;
/// What was asked for could not be done.
const FAILED: u8 = 2;

/// Why a command could not be done, for people.
#[derive(Debug)]
pub struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: FAILED,
        }
    }
}

/// That nobody is there, and what to do.
fn no_answer(base: &str, why: &str) -> Failure {
    Failure::new(format!(
        "no answer from {base} ({why}); start the daemon with 'onceoverd', or name it with --daemon"
    ))
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Unreachable { base, .. } => no_answer(base, &crate::feed::short_reason(&error)),
            other if matches!(other.status(), Some(401 | 403)) => Self::new(format!(
                "{other}; give one of the daemon's tokens with {TOKEN_VARIABLE} or {TOKEN_FILE_VARIABLE}"
            )),
            other => Self::new(other.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
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
        Err(failure) => return failed(&failure),
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
        None if has_screen() => {
            let mut model = Model::new(client.base(), client.clock().now(), (80, 24));
            model.theme = Theme::from_env();
            model.glyphs = Glyphs::from_env();
            model.tz = jiff::tz::TimeZone::system();
            model.wanted = args.task;
            driver::run(model, client, args.redis)
                .await
                .map(|()| true)
                .map_err(|error| Failure::new(causes(error.as_ref())))
        }
        None => {
            if is_at_terminal() {
                let term = variable("TERM").map_or("is not set".to_owned(), |term| format!("is {term}"));
                out::tell(&format!(
                    "TERM {term}: such a terminal shows no dashboard; these are the tasks"
                ));
            }
            tree::run(
                &client,
                args::TreeArgs {
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
        Err(failure) => failed(&failure),
    }
}

/// Whether there is a terminal that can place a cursor. A dumb one (a shell in Emacs, many a CI) gets the tree.
fn has_screen() -> bool {
    is_at_terminal() && has_cursor()
}

/// Whether the terminal can place a cursor.
fn has_cursor() -> bool {
    variable("TERM").is_some_and(|term| term != "dumb")
}

fn is_at_terminal() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// The daemon's client, with the token of the environment.
fn client(daemon: &str) -> Result<Client, Failure> {
    let client = token_from_environment().and_then(|token| Client::with_token(daemon, token.as_deref()));
    // A person who mistypes a field wants to know before anything runs.
    client
        .map(Client::strict)
        .map_err(|error| Failure::new(error.to_string()))
}
