//! Rounds of a test that is short in `make test` and long in `make soak`, and what is counted of them.
//!
//! With `ONCEOVER_SOAK=<share>` a test runs that share of the rounds its requirement names, but no longer than the same
//! share of its time in [`LONGEST`]; without it a few. Each test appends its figures to the file `ONCEOVER_SOAK_REPORT`.

use std::{
    fs,
    io::Write,
    ops::Range,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// Seconds that the test of a requirement may take in a whole soak, by what its rounds cost: at most 55 minutes together.
const LONGEST: [(u32, u64); 19] = [
    (1, 190),
    (2, 240),
    (3, 400),
    (4, 40),
    (5, 80),
    (6, 40),
    (8, 160),
    (9, 160),
    (10, 200),
    (11, 40),
    (12, 110),
    (15, 100),
    (16, 40),
    (17, 110),
    (18, 100),
    (19, 100),
    (28, 140),
    (31, 80),
    (40, 900),
];
const _: () = {
    let (mut sum, mut at) = (0, 0);
    while at < LONGEST.len() {
        sum += LONGEST[at].1;
        at += 1;
    }
    assert!(sum <= 55 * 60);
};

/// Counts rounds and violations of one requirement. Tasks side by side may share one.
pub struct Tally {
    requirement: u32,
    what: &'static str,
    rounds: usize,
    longest: Option<Duration>,
    start: Instant,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    begun: usize,
    /// Of these, given out last.
    last: usize,
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
        let longest = LONGEST.iter().find(|(of, _)| *of == requirement);
        let longest = Duration::from_secs(longest.expect("the requirement is in the table").1);
        Self {
            requirement,
            what,
            rounds: share.map_or(short, |share| ((long as f64 * share) as usize).max(short)),
            longest: share.map(|share| longest.mul_f64(share)),
            start: Instant::now(),
            counts: Mutex::default(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A panic elsewhere has its own message.
        self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The number of the next round, unless there are enough.
    pub fn next_round(&self) -> Option<usize> {
        self.next_rounds(1).map(|rounds| rounds.start)
    }

    /// The numbers of the next rounds, which are done in one go: at most so many.
    pub fn next_rounds(&self, most: usize) -> Option<Range<usize>> {
        let late = self.longest.is_some_and(|longest| self.start.elapsed() > longest);
        let mut counts = self.counts();
        if counts.begun == self.rounds || late && counts.begun > 0 {
            return None;
        }
        let first = counts.begun;
        counts.begun = self.rounds.min(first + most);
        counts.last = counts.begun - first;
        Some(first..counts.begun)
    }

    /// Rounds that were asked for.
    pub fn rounds(&self) -> usize {
        self.rounds
    }

    /// Whether this is a soak, in which one test has the machine for itself.
    pub fn is_soak(&self) -> bool {
        self.longest.is_some()
    }

    /// How many separate daemons do rounds side by side: one where starting them would take longest.
    pub fn side_by_side(&self, soak: usize) -> Range<usize> {
        0..if self.is_soak() { soak } else { 1 }
    }

    /// Counts a violation unless it holds.
    pub fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        let mut counts = self.counts();
        counts.checks += 1;
        if !holds {
            let what = format!("after {} rounds: {}", counts.begun, what());
            eprintln!("requirement {}: {what}", self.requirement);
            counts.violations.push(what);
        }
    }

    /// There must have been none.
    pub fn finish(self) {
        let violations = self.counts().violations.clone();
        drop(self);
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let broken = std::thread::panicking();
        let counts = self.counts();
        let line = format!(
            "{}\t{}\t{}\t{}\t{}\t{}\t{:.0}",
            self.requirement,
            self.what,
            self.rounds,
            counts.begun - if broken { counts.last } else { 0 },
            counts.checks,
            counts.violations.len() + usize::from(broken),
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
