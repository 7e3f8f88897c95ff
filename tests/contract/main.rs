//! Plays the contract of the Python gateway that Onceover takes the place of, as its clients do: over plain HTTP, with
//! their fields, their words and their habits. Each check has the section of the contract that it comes from. What
//! differs stands in `differences.toml`, with what the older system did and why; nothing else may.

mod differences;
mod page;

use std::process::ExitCode;

use clap::Parser;

/// Play the contract of the older gateway against a daemon.
#[derive(Debug, Parser)]
struct Options {
    /// Write the tables of docs/migrating.md from the table of differences, and do nothing else.
    #[arg(long)]
    write_docs: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.write_docs {
        return write_docs();
    }
    for row in differences::load_differences().into_values().flatten() {
        let held = [row.checks(), row.tests(), std::slice::from_ref(&row.reason)]
            .concat()
            .join("; ");
        println!(
            "{} ({}): {} -> {} ({})\n    {held}",
            row.id, row.source, row.older, row.now, row.why
        );
    }
    ExitCode::SUCCESS
}

fn write_docs() -> ExitCode {
    match page::write_page(&differences::load_differences()) {
        Ok(changed) => {
            println!(
                "{}: {}",
                page::page_path().display(),
                if changed { "written" } else { "as it was" }
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("contract: {}: {error}", page::page_path().display());
            ExitCode::FAILURE
        }
    }
}
