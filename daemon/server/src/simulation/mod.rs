//! Deterministic simulation. Several daemons and clients work on a real Redis with the real scripts, in one thread and on one
//! clock that the simulation owns. A seeded scheduler decides the order of all calls and what becomes of each: answered, lost
//! before or after Redis has carried it out, or carried out late. It kills daemons, cuts them off, breaks subscriptions, sets
//! the clock and starts daemons on copied folders. After each step the invariants of `docs/architecture.md` are checked, and
//! in the end that every promise was kept.
//!
//! `make simulate SEED=... STEPS=...` plays one simulation; without a seed, new ones for a minute.

mod clients;
mod command;
mod daemon;
mod invariants;
mod plan;
mod programs;
mod receivers;
mod scheduler;
mod world;

use std::time::{Duration, Instant};

use scheduler::{Failure, Summary, simulate};

/// Steps of a simulation that is given no number.
const STEPS: usize = 1_500;

/// Prints a line for who plays a simulation.
#[expect(clippy::print_stdout, reason = "`make simulate` shows what was played")]
fn print(line: &str) {
    println!("{line}");
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not '{text}'")),
    )
}

fn play(seed: u64, steps: usize) -> Result<Summary, Failure> {
    crate::blocking::do_at_once();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(1)
        .build()
        .expect("a runtime can be made");
    runtime.block_on(simulate(seed, steps))
}

fn play_well(seed: u64, steps: usize) -> Summary {
    play(seed, steps).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn the_invariants_hold_whatever_is_lost_late_killed_or_set() {
    let steps = number("ONCEOVER_SIMULATE_STEPS").map_or(STEPS, |steps| usize::try_from(steps).expect("a count"));
    if let Some(seed) = number("ONCEOVER_SIMULATE_SEED") {
        let Summary {
            callbacks, simulated, ..
        } = play_well(seed, steps);
        let seconds = simulated.as_secs();
        print(&format!("seed {seed}: {callbacks} callbacks received in {seconds} s"));
        return;
    }
    let limit = Duration::from_secs(number("ONCEOVER_SIMULATE_SECONDS").unwrap_or(60));
    let (begun, mut count, mut simulated) = (Instant::now(), 0, Duration::ZERO);
    // The same seeds each time, so that what fails in one place fails in another: `make soak` goes further.
    while begun.elapsed() < limit {
        count += 1;
        simulated += play_well(count, steps).simulated;
    }
    let hours = simulated.as_secs() / 3600;
    print(&format!(
        "{count} simulations of {steps} steps, {hours} h of simulated time"
    ));
}

#[test]
fn a_seed_is_played_the_same_way_again() {
    let [first, second] = [(), ()].map(|()| play_well(7, 300));
    assert_eq!(first.trace_hash, second.trace_hash);
}
