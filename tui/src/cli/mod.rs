//! The command line: prints for scripts and pipes what the dashboard shows.

pub mod args;
mod complete;
pub mod completions;
mod connect;
mod failure;
mod files;
mod folder;
mod follow;
mod keys;
mod man;
mod nodes;
mod out;
mod register;
mod run;
mod snapshot;
mod submit;
mod terminal;
mod tree;
mod videos;
mod waits;
mod watch;

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
    images::Images,
    log_file,
    model::{Model, access::Access, pointer::Pointer},
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
    match &args.command {
        Some(Command::Completions(completions)) => {
            return finish(completions::print_script(completions.shell.as_str()), false);
        }
        Some(Command::Man(man)) => return finish(man::run(&man.folder), false),
        _ => {}
    }
    let settings = match DashboardSettings::load(args.config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return print_failure(&Failure::new(error.to_string()), json),
    };
    if let Some(Command::Keys(keys)) = &args.command {
        return finish(keys::run(keys, &settings.bindings), json);
    }
    if args.read_only
        && let Some(command) = args.command.as_ref().and_then(Command::find_change)
    {
        let text = format!("--read-only: '{command}' changes something in the daemon; leave --read-only out to run it");
        return print_failure(&Failure::new(text), json);
    }
    let daemon = settings.url.clone().filter(|_| !args.has_daemon);
    let daemon = daemon.unwrap_or_else(|| args.daemon.clone());
    let client = match connect(&daemon, TokenSource::new(settings.token_file.clone())) {
        Ok(client) => client,
        Err(failure) => return print_failure(&failure, json),
    };
    finish(run_command(args, &client, settings).await, json)
}

/// Runs a command that asks the daemon, or the dashboard.
async fn run_command(mut args: Args, client: &Client, settings: DashboardSettings) -> CommandResult {
    match args.command.take() {
        Some(Command::Tree(tree)) => tree::run(client, tree).await,
        Some(Command::Submit(submit)) => submit::run(client, submit).await,
        Some(Command::Nodes(nodes)) => nodes::run(client, nodes).await,
        Some(Command::Videos(videos)) => videos::run(client, videos).await,
        Some(Command::Files(files)) => files::run(client, files).await,
        Some(Command::Register(register)) => register::run(client, register).await,
        Some(Command::Run(run)) => run::run(client, run).await,
        Some(Command::Watch(watch)) => watch::run(client, watch).await,
        // Done before there is a client.
        Some(Command::Completions(_) | Command::Keys(_) | Command::Man(_)) => Ok(true),
        Some(Command::Snapshot(mut frame)) => {
            frame.task = frame.task.or(args.task);
            snapshot::run(client, frame, settings.bindings).await
        }
        None if has_screen() => open_dashboard(args, client, settings).await,
        None => {
            if is_at_terminal() {
                let term = variable("TERM").map_or("is not set".to_owned(), |term| format!("is {term}"));
                out::print_note(&format!(
                    "TERM {term}: such a terminal cannot show the dashboard; these are the tasks"
                ));
            }
            tree::run(
                client,
                args::TreeArgs {
                    task: args.task,
                    json: false,
                },
            )
            .await
        }
    }
}

/// Runs the dashboard.
async fn open_dashboard(args: Args, client: &Client, settings: DashboardSettings) -> CommandResult {
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
    let options = DashboardOptions {
        redis: args.redis,
        notify: settings.notify,
        theme: settings.theme,
    };
    driver::run(model, client.clone(), options)
        .await
        .map(|()| true)
        .map_err(|error| Failure::new(causes(error.as_ref())))
}

fn finish(outcome: CommandResult, json: bool) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_SUCCESSFUL),
        Err(failure) => print_failure(&failure, json),
    }
}
