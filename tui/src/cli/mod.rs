//! The command line: prints for scripts and pipes what the dashboard shows.

pub mod args;
mod bulk;
mod callbacks;
mod cancel;
mod check;
mod complete;
pub mod completions;
mod connect;
mod delete;
mod explain;
mod failure;
mod folder;
mod follow;
mod log;
mod nodes;
mod out;
mod queues;
mod register;
mod replay;
mod resubmit;
mod run;
mod select;
mod show;
mod snapshot;
mod submit;
mod table;
mod tasks;
mod terminal;
mod tree;
mod videos;
mod waits;
mod watch;

use std::process::ExitCode;

use onceover_types::causes;
use onceover_wire::{client::Client, command_line::variable};

use crate::{
    clipboard::Multiplexer, driver, glyphs::Glyphs, log_file, model::Model, record::SessionRecorder, theme::Theme,
};
use args::{Args, Command};
use connect::connect;
use failure::{CommandResult, Failure, NOT_SUCCESSFUL};
use out::print_failure;
use terminal::{has_screen, is_at_terminal};

/// Runs what the arguments ask for.
pub async fn run(args: Args) -> ExitCode {
    // Kept to the end: what the log still holds is written when the guard is dropped.
    let _log = log_file::start(args.log_dir.as_deref());
    let json = args.command.as_ref().is_some_and(Command::wants_json);
    finish(run_command(args).await, json)
}

async fn run_command(mut args: Args) -> CommandResult {
    // These need no daemon.
    let command = match args.command.take() {
        Some(Command::Completions(completions)) => {
            return completions::print_script(completions.shell.as_str());
        }
        Some(Command::Replay(replay)) => return replay::run(replay).await,
        command => command,
    };
    let client = connect(&args.daemon)?;
    match command {
        Some(Command::Snapshot(mut frame)) => {
            frame.task = frame.task.or(args.task);
            snapshot::run(&client, frame).await
        }
        Some(command) => ask_daemon(&client, command).await,
        None if has_screen() => show_dashboard(client, args).await,
        None => print_tasks(&client, args).await,
    }
}

/// Runs a command that asks the daemon.
async fn ask_daemon(client: &Client, command: Command) -> CommandResult {
    match command {
        Command::Tasks(args) => tasks::run(client, args).await,
        Command::Tree(args) => tree::run(client, args).await,
        Command::Show(args) => show::run(client, args).await,
        Command::Log(args) => log::run(client, args).await,
        Command::Submit(args) => submit::run(client, args).await,
        Command::Resubmit(args) => resubmit::run(client, args).await,
        Command::Cancel(args) => cancel::run(client, args).await,
        Command::Delete(args) => delete::run(client, args).await,
        Command::Callbacks(args) => callbacks::run(client, args).await,
        Command::Redeliver(args) => callbacks::redeliver(client, args).await,
        Command::Explain(args) => explain::run(client, args).await,
        Command::Queues(args) => queues::run(client, args).await,
        Command::Nodes(args) => nodes::run(client, args).await,
        Command::Videos(args) => videos::run(client, args).await,
        Command::Register(args) => register::run(client, args).await,
        Command::Run(args) => run::run(client, args).await,
        Command::Watch(args) => watch::run(client, args).await,
        Command::Check(args) => check::run(client, args).await,
        // Done before.
        Command::Snapshot(_) | Command::Completions(_) | Command::Replay(_) => Ok(true),
    }
}

/// Runs the dashboard.
async fn show_dashboard(client: Client, args: Args) -> CommandResult {
    let mut model = Model::new(client.base(), client.clock().now(), (80, 24));
    model.theme = Theme::from_env();
    model.glyphs = Glyphs::from_env();
    model.multiplexer = Multiplexer::from_env();
    model.tz = jiff::tz::TimeZone::system();
    model.wanted = args.task;
    let recorder = match &args.record {
        Some(path) => Some(
            SessionRecorder::create(path)
                .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?,
        ),
        None => None,
    };
    let ended = driver::run(model, client, args.redis, recorder).await;
    ended
        .map(|()| true)
        .map_err(|error| Failure::new(causes(error.as_ref())))
}

/// Prints the tasks where the dashboard cannot be shown.
async fn print_tasks(client: &Client, args: Args) -> CommandResult {
    if args.record.is_some() {
        return Err(Failure::new("--record needs a terminal that can show the dashboard"));
    }
    if is_at_terminal() {
        let term = variable("TERM").map_or("is not set".to_owned(), |term| format!("is {term}"));
        out::print_note(&format!(
            "TERM {term}: such a terminal cannot show the dashboard; these are the tasks"
        ));
    }
    let args = args::TreeArgs {
        task: args.task,
        json: false,
    };
    tree::run(client, args).await
}

fn finish(outcome: CommandResult, json: bool) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_SUCCESSFUL),
        Err(failure) => print_failure(&failure, json),
    }
}
