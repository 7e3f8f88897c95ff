//! `onceover`: the dashboard and command line of Onceover.

use std::process::ExitCode;

use clap::Parser;
use onceover_tui::cli::{self, args::Args, complete};

fn main() -> ExitCode {
    complete::answer_shell();
    run(Args::parse())
}

#[tokio::main(worker_threads = 2)]
async fn run(args: Args) -> ExitCode {
    cli::run(args).await
}
