//! What the user wants to hear of: rows that are watched, and what has happened and is not announced yet.

use std::{collections::BTreeMap, mem};

use onceover_types::{StageState, TaskId, Timestamp};

use super::row::RowId;

/// Rows that are watched at most.
pub const MOST_WATCHED: usize = 200;
/// Announcements that are kept at most until they are sent.
const MOST_NOTICES: usize = 500;
/// Announcements come at most so often.
const INTERVAL_MS: i64 = 1_000;

/// The end of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndNotice {
    pub row: RowId,
    pub state: StageState,
    /// Why it failed.
    pub error: Option<String>,
}

/// The rows that are watched.
#[derive(Debug, Default)]
pub struct WatchList {
    /// Whether something waited or ran there when it was looked at last.
    rows: BTreeMap<RowId, bool>,
    /// Whether the failure of any stage is announced, too.
    pub failures: bool,
    waiting: Vec<EndNotice>,
    /// When the next announcement may be sent.
    next_at: Option<Timestamp>,
}

impl WatchList {
    /// Whether this row is watched.
    pub fn has(&self, row: &RowId) -> bool {
        !self.rows.is_empty() && self.rows.contains_key(row)
    }

    /// Watches the row. Returns `false` where too many are watched already.
    pub fn add(&mut self, row: RowId, is_in_flight: bool) -> bool {
        if self.rows.len() >= MOST_WATCHED && !self.rows.contains_key(&row) {
            return false;
        }
        self.rows.insert(row, is_in_flight);
        true
    }

    /// Watches the row no more.
    pub fn remove(&mut self, row: &RowId) {
        self.rows.remove(row);
    }

    /// Lists the rows that are watched, those of one task or all.
    pub fn list(&self, task: Option<&TaskId>) -> Vec<RowId> {
        let rows = self.rows.keys();
        rows.filter(|row| task.is_none_or(|task| *row.task == *task))
            .cloned()
            .collect()
    }

    /// Notes whether something waits or runs in the row. Returns whether it has ended since the last time.
    pub fn note(&mut self, row: &RowId, is_in_flight: bool) -> bool {
        let before = self.rows.get_mut(row).map(|before| mem::replace(before, is_in_flight));
        before == Some(true) && !is_in_flight
    }

    /// Announces an end, soon.
    pub fn announce(&mut self, notice: EndNotice) {
        if self.waiting.len() < MOST_NOTICES && !self.waiting.contains(&notice) {
            self.waiting.push(notice);
        }
    }

    /// Returns when something is to be announced; `None` if nothing waits.
    pub fn due_at(&self, now: Timestamp) -> Option<Timestamp> {
        (!self.waiting.is_empty()).then(|| self.next_at.unwrap_or(now))
    }

    /// Takes what is to be announced now, all of it at once, and lets nothing follow for a second.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<EndNotice> {
        if self.due_at(now).is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.next_at = Some(Timestamp::from_millis(now.as_millis() + INTERVAL_MS));
        mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn notice(task: &str) -> EndNotice {
        EndNotice {
            row: RowId::task(&Arc::new(TaskId::parse(task).unwrap())),
            state: StageState::Success,
            error: None,
        }
    }

    #[test]
    fn tui25_announcements_come_at_most_once_a_second_and_join_what_waits() {
        let at = Timestamp::from_millis;
        let mut watched = WatchList::default();
        assert_eq!(watched.due_at(at(0)), None);
        watched.announce(notice("a"));
        assert_eq!(watched.take_due(at(0)).len(), 1);
        watched.announce(notice("b"));
        watched.announce(notice("c"));
        watched.announce(notice("c"));
        assert_eq!(watched.due_at(at(10)), Some(at(1_000)));
        assert!(watched.take_due(at(999)).is_empty());
        assert_eq!(watched.take_due(at(1_000)).len(), 2);
    }

    #[test]
    fn tui25_a_row_has_ended_where_something_ran_and_nothing_does() {
        let mut watched = WatchList::default();
        let row = notice("a").row;
        assert!(watched.add(row.clone(), false));
        assert!(!watched.note(&row, false));
        assert!(!watched.note(&row, true));
        assert!(watched.note(&row, false));
        assert!(!watched.note(&row, false), "once");
    }
}
