//! `onceover`: the dashboard and command line of Onceover.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

use std::process::ExitCode;

use onceover_tui::cli::{self, args::Args, completions};
use onceover_wire::command_line::explain;

fn main() -> ExitCode {
    if let Some(code) = completions::answer_shell() {
        return code;
    }
    match Args::read() {
        Ok(args) => run(args),
        Err(error) => explain(completions::PROGRAM, &error),
    }
}

#[tokio::main(worker_threads = 2)]
async fn run(args: Args) -> ExitCode {
    cli::run(args).await
}
