//! The command line: prints for scripts and pipes what the dashboard shows.

pub mod args;
mod complete;
pub mod completions;
mod connect;
mod failure;
mod files;
mod folder;
mod follow;
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
use onceover_wire::command_line::variable;

use crate::{clipboard::Multiplexer, driver, glyphs::Glyphs, images::Images, log_file, model::Model, theme::Theme};
use args::{Args, Command};
use connect::connect;
use failure::{CommandResult, Failure, NOT_SUCCESSFUL};
use out::print_failure;
use terminal::{has_screen, is_at_terminal};

/// Runs what the arguments ask for.
pub async fn run(args: Args) -> ExitCode {
    // Kept to the end: what the log still holds is written when the guard is dropped.
    let _log = log_file::start(args.log_dir.as_deref());
    if let Some(Command::Completions(completions)) = &args.command {
        return finish(completions::print_script(completions.shell.as_str()), false);
    }
    let json = args.command.as_ref().is_some_and(Command::wants_json);
    let client = match connect(&args.daemon) {
        Ok(client) => client,
        Err(failure) => return print_failure(&failure, json),
    };
    let outcome = match args.command {
        Some(Command::Tree(tree)) => tree::run(&client, tree).await,
        Some(Command::Submit(submit)) => submit::run(&client, submit).await,
        Some(Command::Nodes(nodes)) => nodes::run(&client, nodes).await,
        Some(Command::Videos(videos)) => videos::run(&client, videos).await,
        Some(Command::Files(files)) => files::run(&client, files).await,
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
            model.multiplexer = Multiplexer::from_env();
            model.images = Images::from_env(args.images);
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
                out::print_note(&format!(
                    "TERM {term}: such a terminal cannot show the dashboard; these are the tasks"
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
    finish(outcome, json)
}

fn finish(outcome: CommandResult, json: bool) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_SUCCESSFUL),
        Err(failure) => print_failure(&failure, json),
    }
}
