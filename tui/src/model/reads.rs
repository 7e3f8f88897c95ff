//! Bounds the reads that changes cause: however many changes come, the daemon answers a few requests a second for them.

use std::collections::VecDeque;

use onceover_types::Timestamp;

/// Reads that changes may cause within a second.
pub const READS_PER_SECOND: usize = 4;

const SECOND_MS: i64 = 1_000;

/// The reads of the last second.
#[derive(Debug, Default)]
pub struct ReadBudget {
    sent: VecDeque<Timestamp>,
}

impl ReadBudget {
    /// Takes one read from the budget. Returns `false` if none is left now.
    pub fn take(&mut self, now: Timestamp) -> bool {
        self.sent.retain(|sent| Self::counts(*sent, now));
        if self.sent.len() >= READS_PER_SECOND {
            return false;
        }
        self.sent.push_back(now);
        true
    }

    /// Returns when the next read may be sent: `now`, or later if none is left.
    pub fn next_at(&self, now: Timestamp) -> Timestamp {
        let mut counted = self.sent.iter().filter(|sent| Self::counts(**sent, now));
        match counted.next() {
            Some(oldest) if counted.count() + 1 >= READS_PER_SECOND => {
                Timestamp::from_millis(oldest.as_millis() + SECOND_MS)
            }
            _ => now,
        }
    }

    /// Whether a read that was sent then counts now. A clock that was set back frees the budget.
    fn counts(sent: Timestamp, now: Timestamp) -> bool {
        let age = now.as_millis() - sent.as_millis();
        (0..SECOND_MS).contains(&age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_reads_than_the_budget() {
        let at = Timestamp::from_millis;
        let mut budget = ReadBudget::default();
        let sent: Vec<i64> = (0..10_000).step_by(7).filter(|ms| budget.take(at(*ms))).collect();
        for window in sent.windows(READS_PER_SECOND + 1) {
            assert!(window[READS_PER_SECOND] - window[0] >= SECOND_MS, "{window:?}");
        }
        assert!(sent.len() >= 9 * READS_PER_SECOND, "it is used up: {}", sent.len());
    }

    #[test]
    fn it_says_when_the_next_read_may_be_sent() {
        let at = Timestamp::from_millis;
        let mut budget = ReadBudget::default();
        assert_eq!(budget.next_at(at(5)), at(5));
        for ms in 0..READS_PER_SECOND {
            assert!(budget.take(at(ms as i64)));
        }
        assert!(!budget.take(at(10)));
        assert_eq!(budget.next_at(at(10)), at(SECOND_MS));
        assert!(budget.take(at(SECOND_MS)));
    }
}
