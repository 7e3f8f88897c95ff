//! The daemon's clock, as its answers show it. Without it, a dashboard on a machine whose clock is wrong would show
//! wrong ages.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::fmt::rfc2822;

use onceover_types::Timestamp;

/// The largest difference that counts as none: an answer has whole seconds, and takes a while to arrive.
const SLACK_MS: i64 = 2_000;

/// This machine's clock, corrected by what is known of the daemon's. It is cheap to clone, and all clones share what is
/// known.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Milliseconds by which the daemon's clock is ahead.
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// Returns the daemon's time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(Timestamp::now().as_millis().saturating_add(self.ahead_ms()))
    }

    /// Returns the milliseconds by which the daemon's clock is ahead of this machine's, negative where it is behind; 0
    /// while they agree.
    pub fn ahead_ms(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    /// Reads the `Date` of an answer that was requested and arrived at these times of this machine's clock.
    pub(crate) fn learn(&self, date: &str, asked: Timestamp, came: Timestamp) {
        let took = came.as_millis() - asked.as_millis();
        let Ok(date) = rfc2822::parse(date) else { return };
        if !(0..=SLACK_MS).contains(&took) {
            return;
        }
        // The middle of the second that it names is compared with the middle of the time between request and answer.
        let ahead = date.timestamp().as_millisecond() + 500 - (asked.as_millis() + took / 2);
        let known = self.ahead_ms();
        if (ahead - known).abs() >= SLACK_MS {
            let ahead = if ahead.abs() < SLACK_MS { 0 } else { ahead };
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Fri, 27 Nov 2026 11:03:23 GMT";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_clock_that_is_off_is_corrected_and_one_that_is_not_is_left_alone() {
        let clock = Clock::default();
        let learn = |asked: &str| {
            let asked = time(asked);
            clock.learn(DATE, asked, Timestamp::from_millis(asked.as_millis() + 100));
            clock.ahead_ms()
        };
        assert_eq!(learn("2026-11-27T11:03:23.900Z"), 0);
        assert_eq!(learn("2026-11-27T11:03:22.000Z"), 0);
        assert_eq!(learn("2026-11-27T09:03:23.450Z"), 7_200_000);
        assert_eq!(learn("2026-11-27T09:03:24.100Z"), 7_200_000, "it does not jitter");
        assert_eq!(learn("2026-11-27T13:03:23.450Z"), -7_200_000);
        assert_eq!(learn("2026-11-27T11:03:23.100Z"), 0, "it was set right");
    }

    #[test]
    fn an_answer_that_took_long_or_has_no_date_tells_nothing() {
        let clock = Clock::default();
        clock.learn(DATE, time("2026-11-27T09:03:00.000Z"), time("2026-11-27T09:03:23.000Z"));
        clock.learn(
            "today",
            time("2026-11-27T09:03:23.000Z"),
            time("2026-11-27T09:03:23.000Z"),
        );
        assert_eq!(clock.ahead_ms(), 0);
    }
}
