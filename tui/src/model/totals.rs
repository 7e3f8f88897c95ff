//! The header's figures: tasks by status and what reuse did. Each snapshot sets them, and events change them.

use onceover_types::TaskStatus;
use onceover_wire::{EventKind, ReuseTotals, SystemInfo, TaskCounts};

use super::store::Applied;

/// The figures in the header.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShownTotals {
    pub tasks: TaskCounts,
    pub reuse: ReuseTotals,
}

impl ShownTotals {
    /// Takes the figures of the daemon.
    pub fn from_system(system: &SystemInfo) -> Self {
        Self {
            tasks: system.tasks.clone(),
            reuse: system.reuse.clone(),
        }
    }

    /// Changes the counts of tasks by one applied event.
    pub fn follow_tasks(&mut self, applied: &Applied) {
        if applied.status_before != applied.status_after {
            if let Some(before) = applied.status_before {
                let count = self.count_mut(before);
                *count = count.saturating_sub(1);
            }
            if let Some(after) = applied.status_after {
                *self.count_mut(after) += 1;
            }
        }
    }

    /// Changes what reuse did by one applied event.
    pub fn follow_reuse(&mut self, applied: &Applied) {
        let Some(stage) = &applied.change.stage else {
            return;
        };
        match applied.change.kind {
            EventKind::Hit => {
                self.reuse.hits += 1;
                let before = applied.before.as_ref().map_or(0.0, |old| old.saved_seconds);
                self.reuse.saved_seconds += (stage.saved_seconds - before).max(0.0);
            }
            EventKind::Joined => self.reuse.joins += 1,
            // Without a run it is another worker's, and was not asked for here.
            EventKind::Queued if stage.attempt <= 1 && stage.run_id.is_some() => self.reuse.misses += 1,
            _ => {}
        }
    }

    fn count_mut(&mut self, status: TaskStatus) -> &mut u64 {
        match status {
            TaskStatus::Pending => &mut self.tasks.pending,
            TaskStatus::Running => &mut self.tasks.running,
            TaskStatus::Completed => &mut self.tasks.completed,
            TaskStatus::Failed => &mut self.tasks.failed,
            TaskStatus::Cancelled => &mut self.tasks.cancelled,
        }
    }
}
