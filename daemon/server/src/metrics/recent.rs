//! What was counted since the figures of a minute were noted last: for the history, of which every daemon notes its share.

use std::sync::atomic::{AtomicU64, Ordering};

use onceover_store::MinuteCounts;

/// Counts that are taken again and again, each time what has come since.
#[derive(Debug, Default)]
pub struct RecentCounts {
    ended: AtomicU64,
    failed: AtomicU64,
    hits: AtomicU64,
    joins: AtomicU64,
    misses: AtomicU64,
    saved_ms: AtomicU64,
}

impl RecentCounts {
    /// Counts a run that ended with this outcome; one that was lost or handed back has not ended.
    pub(super) fn count_run(&self, outcome: &str) {
        let has_failed = outcome == "failed";
        if has_failed || outcome == "succeeded" {
            self.ended.fetch_add(1, Ordering::Relaxed);
            self.failed.fetch_add(u64::from(has_failed), Ordering::Relaxed);
        }
    }

    /// Counts a submit that was decided.
    pub(super) fn count_submit(&self, outcome: &str, saved_seconds: Option<f64>) {
        let counter = match outcome {
            "hit" => &self.hits,
            "join" => &self.joins,
            _ => &self.misses,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let saved_ms = saved_seconds.map_or(0, |seconds| (seconds.max(0.0) * 1000.0).round() as u64);
        self.saved_ms.fetch_add(saved_ms, Ordering::Relaxed);
    }

    /// Takes what was counted since the last call.
    pub fn take_counts(&self) -> MinuteCounts {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        MinuteCounts {
            ended: take(&self.ended),
            failed: take(&self.failed),
            hits: take(&self.hits),
            joins: take(&self.joins),
            misses: take(&self.misses),
            saved_ms: take(&self.saved_ms),
        }
    }

    /// Counts again what was taken and could not be noted.
    pub fn give_back(&self, counts: &MinuteCounts) {
        let add = |counter: &AtomicU64, count: u64| {
            counter.fetch_add(count, Ordering::Relaxed);
        };
        add(&self.ended, counts.ended);
        add(&self.failed, counts.failed);
        add(&self.hits, counts.hits);
        add(&self.joins, counts.joins);
        add(&self.misses, counts.misses);
        add(&self.saved_ms, counts.saved_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_noted_is_counted_with_the_next() {
        let counts = RecentCounts::default();
        counts.count_run("succeeded");
        counts.count_run("failed");
        counts.count_run("lost");
        counts.count_submit("hit", Some(2.5));
        counts.count_submit("miss", None);
        let taken = counts.take_counts();
        let expected = MinuteCounts {
            ended: 2,
            failed: 1,
            hits: 1,
            joins: 0,
            misses: 1,
            saved_ms: 2_500,
        };
        assert_eq!(taken, expected);
        assert_eq!(counts.take_counts(), MinuteCounts::default());
        counts.give_back(&taken);
        counts.count_submit("join", None);
        assert_eq!(counts.take_counts(), MinuteCounts { joins: 1, ..expected });
    }
}
