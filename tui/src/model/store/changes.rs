//! Which tasks have changed, for what is derived from them: a reader remembers how far it has come, and takes up what
//! has changed since.

use std::{collections::VecDeque, sync::Arc};

use onceover_types::TaskId;

/// Changes that are kept; a reader that is farther behind goes through all tasks.
const MOST_CHANGES: usize = 16_384;

/// The last changes, in order. A task can be in it more than once.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    tasks: VecDeque<Arc<TaskId>>,
    /// The number of the first one that is kept.
    first: u64,
}

impl ChangeLog {
    /// Notes that the task has changed, was added or removed.
    pub(super) fn note(&mut self, task: &Arc<TaskId>) {
        self.tasks.push_back(task.clone());
        if self.tasks.len() > MOST_CHANGES {
            self.tasks.pop_front();
            self.first += 1;
        }
    }

    /// Notes that everything may have changed.
    pub(super) fn forget(&mut self) {
        self.first = self.end() + 1;
        self.tasks.clear();
    }

    /// Returns the number after the last change.
    pub(super) fn end(&self) -> u64 {
        self.first + self.tasks.len() as u64
    }

    /// Returns the tasks that have changed since; `None` if not all of that is kept.
    pub(super) fn since(&self, seen: u64) -> Option<impl Iterator<Item = &Arc<TaskId>>> {
        let skipped = usize::try_from(seen.checked_sub(self.first)?).ok()?;
        Some(self.tasks.iter().skip(skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_each_change_or_learns_that_it_is_too_late() {
        let task = |n: usize| Arc::new(TaskId::parse(&format!("t{n}")).unwrap());
        let mut log = ChangeLog::default();
        let seen = log.end();
        log.note(&task(1));
        log.note(&task(2));
        let changed: Vec<_> = log.since(seen).unwrap().map(ToString::to_string).collect();
        assert_eq!(changed, ["t1", "t2"]);
        assert_eq!(log.since(log.end()).unwrap().count(), 0);
        let end = log.end();
        for n in 0..=MOST_CHANGES {
            log.note(&task(n));
        }
        assert!(log.since(end).is_none(), "more than is kept");
        let end = log.end();
        log.forget();
        assert!(log.since(end).is_none());
    }
}
