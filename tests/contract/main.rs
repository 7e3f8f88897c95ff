//! Plays the contract of the Python gateway that Onceover takes the place of, as its clients do: over plain HTTP, with
//! their fields, their words and their habits. Each check has the section of the contract that it comes from. What
//! differs stands in `differences.toml`, with what the older system did and why; nothing else may.

mod check;
mod checks;
mod differences;
mod listener;
mod page;
mod pattern;
mod private;
mod world;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser;
use futures_util::{StreamExt, stream};

use crate::{
    check::{Check, Rows, Verdict},
    world::{GatewayTarget, World},
};

/// Checks under way at a time.
const AT_A_TIME: usize = 8;

/// Play the contract of the older gateway against a daemon.
#[derive(Debug, Parser)]
#[command(name = "contract")]
struct Options {
    /// URL of a daemon that runs; if omitted, one is started and stopped again.
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// Token of scope admin, where the daemon asks for one.
    #[arg(long, env = "ONCEOVER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Media file below one of the daemon's media roots; if omitted, a second of silence is uploaded.
    #[arg(long, value_name = "PATH", requires = "base")]
    media: Option<String>,
    /// Name or address by which the daemon reaches this machine; if omitted, the one that leads to it.
    #[arg(long, value_name = "HOST", requires = "base")]
    callback_host: Option<String>,
    /// The daemon's Redis; if omitted, what stands in it is not looked at.
    #[arg(long, value_name = "URL", requires = "base")]
    redis: Option<String>,
    /// Play only checks whose name contains this, or another such text.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Print what differs, with what holds each row, and do nothing else.
    #[arg(long)]
    differences: bool,
    /// Write the tables of docs/migrating.md from the table of differences, and do nothing else.
    #[arg(long)]
    write_docs: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if options.write_docs {
        return write_docs();
    }
    if options.differences {
        print_differences();
        return ExitCode::SUCCESS;
    }
    match play(options).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("contract: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Plays the checks. Returns whether none failed.
async fn play(options: Options) -> Result<bool> {
    let start = Instant::now();
    let only = options.only;
    let Some(base) = options.base else {
        let home = private::start_daemon().await?;
        // Everything is there, so nothing is skipped.
        return play_against(home.target(), &only, false, start).await;
    };
    let target = GatewayTarget {
        base: base.trim_end_matches('/').to_owned(),
        token: options.token.filter(|token| !token.is_empty()),
        media: options.media,
        callback_host: options.callback_host,
        redis: options.redis,
    };
    play_against(target, &only, true, start).await
}

async fn play_against(target: GatewayTarget, only: &[String], may_skip: bool, start: Instant) -> Result<bool> {
    println!("The contract of the older gateway, against {}", target.base);
    let world = Arc::new(World::open(target).await?);
    for limit in world.limits() {
        println!("Not all can be seen: {limit}");
    }
    let rows = Rows::index(&differences::load_differences());
    let checks: Vec<_> = checks::all_checks()
        .into_iter()
        .filter(|check| only.is_empty() || only.iter().any(|text| check.name.contains(text)))
        .collect();
    let (shared, rows) = (&world, &rows);
    let played = stream::iter(checks.iter().map(|check| async move {
        let played = (check.play)(Arc::clone(shared)).await;
        let verdict = match rows.judge(check.name, played) {
            Verdict::Skipped(why) if !may_skip => {
                Verdict::Failed(vec![format!("nothing is to be skipped here: {why}")])
            }
            verdict => verdict,
        };
        (check, verdict)
    }));
    let mut played = Box::pin(played.buffered(AT_A_TIME));
    let mut tally = Tally::default();
    while let Some((check, verdict)) = played.next().await {
        tally.count(check, &verdict);
    }
    drop(played);
    for left in world.clean_up().await {
        println!("left behind: {left}");
    }
    tally.print(start.elapsed());
    Ok(tally.failed == 0 && tally.same + tally.differ > 0)
}

/// How many checks ended how.
#[derive(Default)]
struct Tally {
    same: u32,
    differ: u32,
    skipped: u32,
    failed: u32,
}

impl Tally {
    /// Prints the line of a check.
    fn count(&mut self, check: &Check, verdict: &Verdict) {
        let name = check.name;
        match verdict {
            Verdict::Same => {
                self.same += 1;
                println!("ok    {name}");
            }
            Verdict::Differs(row) => {
                self.differ += 1;
                println!("diff  {name}  ({row})");
            }
            Verdict::Skipped(why) => {
                self.skipped += 1;
                println!("skip  {name}  ({why})");
            }
            Verdict::Failed(wrong) => {
                self.failed += 1;
                println!("FAIL  {name}");
                for line in wrong {
                    println!("        {line}");
                }
            }
        }
    }

    fn print(&self, time: Duration) {
        let Self {
            same,
            differ,
            skipped,
            failed,
        } = self;
        println!(
            "{} checks in {:.1} s: {same} as the gateway, {differ} differ as tests/contract/differences.toml tells, \
             {skipped} skipped, {failed} failed",
            same + differ + skipped + failed,
            time.as_secs_f64()
        );
    }
}

fn print_differences() {
    for row in differences::load_differences().values().flatten() {
        println!("{} ({}): {}", row.id, row.source, row.why);
        for check in row.checks() {
            println!("    check {check}");
        }
        for test in row.tests() {
            println!("    test {test}");
        }
        if !row.reason.is_empty() {
            println!("    none: {}", row.reason);
        }
    }
}

fn write_docs() -> ExitCode {
    let path = page::page_path();
    match page::write_page(&differences::load_differences()) {
        Ok(changed) => {
            println!("{}: {}", path.display(), if changed { "written" } else { "as it was" });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("contract: {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
