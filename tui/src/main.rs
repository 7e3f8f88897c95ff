//! `onceover`: the dashboard and command line of Onceover.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    onceover_tui::cli::run(onceover_tui::cli::args::Args::parse()).await
}
