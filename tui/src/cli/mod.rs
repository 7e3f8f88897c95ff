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
mod files;
mod folder;
mod follow;
mod keys;
mod log;
mod man;
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
mod workers;

use std::process::ExitCode;

use onceover_types::causes;
use onceover_wire::{
    client::{Client, TokenSource},
    command_line::variable,
};

use crate::{
    clipboard::Multiplexer,
    driver::{self, DashboardOptions},
    glyphs::Glyphs,
    images::{ImageProtocol, Images},
    log_file,
    model::{Model, access::Access, pointer::Pointer},
    record::SessionRecorder,
    settings::DashboardSettings,
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
    // These need neither a configuration nor a daemon.
    let command = match args.command.take() {
        Some(Command::Completions(completions)) => {
            return completions::print_script(completions.shell.as_str());
        }
        Some(Command::Man(man)) => return man::run(&man.folder),
        Some(Command::Replay(replay)) => return replay::run(replay).await,
        command => command,
    };
    let settings = DashboardSettings::load(args.config.as_deref()).map_err(|error| Failure::new(error.to_string()))?;
    if let Some(Command::Keys(keys)) = &command {
        return keys::run(keys, &settings.bindings);
    }
    if args.read_only
        && let Some(change) = command.as_ref().and_then(Command::find_change)
    {
        let text = format!("--read-only: '{change}' changes something in the daemon; leave --read-only out to run it");
        return Err(Failure::new(text));
    }
    let daemon = settings.url.clone().filter(|_| !args.has_daemon);
    let daemon = daemon.unwrap_or_else(|| args.daemon.clone());
    let client = connect(&daemon, TokenSource::new(settings.token_file.clone()))?;
    match command {
        Some(Command::Snapshot(mut frame)) => {
            frame.task = frame.task.or(args.task);
            snapshot::run(&client, frame, settings.bindings).await
        }
        Some(command) => ask_daemon(&client, command).await,
        None if has_screen() => open_dashboard(args, client, settings).await,
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
        Command::Workers(args) => workers::run(client, args).await,
        Command::Nodes(args) => nodes::run(client, args).await,
        Command::Videos(args) => videos::run(client, args).await,
        Command::Files(args) => files::run(client, args).await,
        Command::Register(args) => register::run(client, args).await,
        Command::Run(args) => run::run(client, args).await,
        Command::Watch(args) => watch::run(client, args).await,
        Command::Check(args) => check::run(client, args).await,
        // Done before.
        Command::Snapshot(_) | Command::Completions(_) | Command::Keys(_) | Command::Man(_) | Command::Replay(_) => {
            Ok(true)
        }
    }
}

/// Runs the dashboard.
async fn open_dashboard(args: Args, client: Client, settings: DashboardSettings) -> CommandResult {
    let mut model = Model::new(client.base(), client.clock().now(), (80, 24));
    model.glyphs = Glyphs::from_env();
    model.multiplexer = Multiplexer::from_env();
    model.images = Images::from_env(args.images.unwrap_or(settings.images));
    model.tz = jiff::tz::TimeZone::system();
    model.wanted = args.task;
    model.bindings = settings.bindings;
    model.pointer = Pointer::new(settings.mouse && !args.no_mouse);
    model.watched.failures = settings.notify.failures;
    if args.read_only {
        model.access = Access::ReadFlag;
    }
    let recorder = match &args.record {
        Some(path) => Some(SessionRecorder::create(path).map_err(|error| Failure::unwritten_file(path, &error))?),
        None => None,
    };
    if recorder.is_some() {
        // What a protocol of the terminal sends is not in the recording: half blocks replay to the same bytes.
        model.images.protocol = ImageProtocol::HalfBlocks;
    }
    let options = DashboardOptions {
        redis: args.redis,
        notify: settings.notify,
        theme: settings.theme,
        recorder,
    };
    driver::run(model, client, options)
        .await
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
