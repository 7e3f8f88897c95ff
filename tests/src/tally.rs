//! Rounds of a test that is short in `make test` and long in `make soak`, and what is counted of them.
//!
//! With `ONCEOVER_SOAK=<share>` a test runs that share of the rounds its requirement names, but no longer than the same
//! share of [`LONGEST`]; without it a few. Each test appends its figures to the file `ONCEOVER_SOAK_REPORT`.

use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

/// Of one test in a whole soak.
const LONGEST: Duration = Duration::from_secs(140);

/// Counts rounds and violations of one requirement.
pub struct Tally {
    requirement: u32,
    what: &'static str,
    rounds: usize,
    longest: Option<Duration>,
    start: Instant,
    done: usize,
    checks: usize,
    violations: Vec<String>,
}

fn share() -> Option<f64> {
    let share = std::env::var("ONCEOVER_SOAK").ok()?;
    Some(share.parse().expect("ONCEOVER_SOAK is a number, 1 for a whole soak"))
}

impl Tally {
    /// `short` rounds in `make test`, `long` in a whole soak.
    pub fn new(requirement: u32, what: &'static str, short: usize, long: usize) -> Self {
        let share = share();
        Self {
            requirement,
            what,
            rounds: share.map_or(short, |share| ((long as f64 * share) as usize).max(short)),
            longest: share.map(|share| LONGEST.mul_f64(share)),
            start: Instant::now(),
            done: 0,
            checks: 0,
            violations: Vec::new(),
        }
    }

    /// The number of the next round, unless there are enough.
    pub fn next_round(&mut self) -> Option<usize> {
        let late = self.longest.is_some_and(|longest| self.start.elapsed() > longest);
        if self.done == self.rounds || late && self.done > 0 {
            return None;
        }
        self.done += 1;
        Some(self.done - 1)
    }

    /// Rounds that were asked for.
    pub fn rounds(&self) -> usize {
        self.rounds
    }

    /// Counts a violation unless it holds.
    pub fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds {
            let what = format!("round {}: {}", self.done, what());
            eprintln!("requirement {}: {what}", self.requirement);
            self.violations.push(what);
        }
    }

    /// There must have been none.
    pub fn finish(self) {
        let violations = self.violations.clone();
        drop(self);
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let broken = usize::from(std::thread::panicking());
        let line = format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{:.0}",
            self.requirement,
            self.what,
            self.rounds,
            self.done - broken.min(self.done),
            self.checks,
            self.violations.len() + broken,
            self.start.elapsed().as_secs_f64(),
        );
        println!("{line}");
        if let Ok(path) = std::env::var("ONCEOVER_SOAK_REPORT") {
            let file = fs::OpenOptions::new().create(true).append(true).open(path);
            if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
                eprintln!("the figures could not be kept: {error}");
            }
        }
    }
}
