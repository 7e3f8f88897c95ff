//! In which order tasks are listed: by a column, one way or the other. Tasks that are equal in it are in the order of
//! their creation, the newest first, whichever way the column is sorted.

use std::{
    cmp::{Ordering, Reverse},
    sync::Arc,
};

use onceover_types::{StageState, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use super::task::Task;

/// A failed task counts as a recent one for so long after its last change.
const RECENT_MS: i64 = 3_600_000;
/// How often what depends on the time is sorted again.
pub const MINUTE_MS: i64 = 60_000;

/// The part of the list that a task is in, from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskSection {
    Running,
    Waiting,
    FailedLately,
    Rest,
}

impl TaskSection {
    /// Returns the section of a task at this time.
    pub fn of_task(task: &Task, now: Timestamp) -> Self {
        match task.state() {
            StageState::Running => Self::Running,
            StageState::Pending => Self::Waiting,
            StageState::Failed if now.as_millis() - task.updated_at.as_millis() <= RECENT_MS => Self::FailedLately,
            _ => Self::Rest,
        }
    }
}

/// What tasks are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SortColumn {
    /// What runs, what waits, what has failed lately, the rest.
    #[default]
    Active,
    Created,
    Updated,
    State,
    Id,
    Duration,
    Progress,
    Reuse,
}

impl SortColumn {
    pub const ALL: [Self; 8] = [
        Self::Active,
        Self::Created,
        Self::Updated,
        Self::State,
        Self::Id,
        Self::Duration,
        Self::Progress,
        Self::Reuse,
    ];

    /// Returns the word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Created => "created",
            Self::Updated => "updated",
            Self::State => "state",
            Self::Id => "id",
            Self::Duration => "duration",
            Self::Progress => "progress",
            Self::Reuse => "reuse",
        }
    }

    /// Returns the key that chooses it.
    pub fn key(self) -> char {
        match self {
            Self::Active => 'a',
            Self::Created => 'c',
            Self::Updated => 'u',
            Self::State => 's',
            Self::Id => 'i',
            Self::Duration => 'd',
            Self::Progress => 'p',
            Self::Reuse => 'r',
        }
    }

    /// Says what comes first.
    pub fn describe(self, is_reversed: bool) -> &'static str {
        match (self, is_reversed) {
            (Self::Active, false) => "what runs, waits or has failed lately first",
            (Self::Active, true) => "what has ended first",
            (Self::Created, false) => "the newest first",
            (Self::Created, true) => "the oldest first",
            (Self::Updated, false) => "what changed last first",
            (Self::Updated, true) => "what changed longest ago first",
            (Self::State, false) => "failed, running, pending, cancelled, done",
            (Self::State, true) => "done, cancelled, pending, running, failed",
            (Self::Id, false) => "from a to z",
            (Self::Id, true) => "from z to a",
            (Self::Duration, false) => "what ran longest first",
            (Self::Duration, true) => "what ran shortest first",
            (Self::Progress, false) => "the farthest first",
            (Self::Progress, true) => "the least far first",
            (Self::Reuse, false) => "the most reused first",
            (Self::Reuse, true) => "the least reused first",
        }
    }

    /// Whether a task can move in the order without a change, because time goes on.
    pub fn depends_on_time(self) -> bool {
        matches!(self, Self::Active | Self::Duration)
    }
}

/// The order of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskSort {
    pub column: SortColumn,
    pub is_reversed: bool,
}

impl TaskSort {
    /// Sorts by the column in its own direction.
    pub fn by(column: SortColumn) -> Self {
        Self {
            column,
            is_reversed: false,
        }
    }

    /// Returns the order after the column was chosen: reversed if it is sorted by it already.
    pub fn choose(self, column: SortColumn) -> Self {
        Self {
            column,
            is_reversed: self.column == column && !self.is_reversed,
        }
    }

    /// Says in a few words what comes first.
    pub fn describe(self) -> &'static str {
        self.column.describe(self.is_reversed)
    }

    /// Returns where a task stands at this time; the lowest key is the first.
    pub fn key_of(self, task: &Task, now: Timestamp) -> SortKey {
        let rank = match self.column {
            SortColumn::Active => TaskSection::of_task(task, now) as i64,
            SortColumn::Created => -task.created_at.as_millis(),
            SortColumn::Updated => -task.updated_at.as_millis(),
            SortColumn::State => rank_state(task.state()),
            SortColumn::Id => 0,
            SortColumn::Duration => -rank_figure(task.elapsed(start_of_minute(now))),
            SortColumn::Progress => -find_progress(task).map_or(-1, rank_figure),
            SortColumn::Reuse => -i64::try_from(task.reuse_hits()).unwrap_or(i64::MAX),
        };
        let is_by_id = self.column == SortColumn::Id;
        SortKey {
            rank: if self.is_reversed { rank.saturating_neg() } else { rank },
            newest: Reverse(if is_by_id { 0 } else { task.created_at.as_millis() }),
            id: task.id.clone(),
            is_id_reversed: is_by_id && self.is_reversed,
        }
    }
}

/// Where a task stands in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    rank: i64,
    newest: Reverse<i64>,
    id: Arc<TaskId>,
    is_id_reversed: bool,
}

impl SortKey {
    /// Returns the task that stands there.
    pub fn id(&self) -> &Arc<TaskId> {
        &self.id
    }
}

impl Ord for SortKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_id = || {
            let order = self.id.cmp(&other.id);
            if self.is_id_reversed { order.reverse() } else { order }
        };
        let by_figures = self.rank.cmp(&other.rank).then(self.newest.cmp(&other.newest));
        by_figures.then_with(by_id)
    }
}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Returns the beginning of the minute: what runs is sorted again once a minute.
fn start_of_minute(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis().div_euclid(MINUTE_MS) * MINUTE_MS)
}

fn rank_state(state: StageState) -> i64 {
    match state {
        StageState::Failed => 0,
        StageState::Running => 1,
        StageState::Pending => 2,
        StageState::Cancelled => 3,
        StageState::Success => 4,
    }
}

/// Returns thousandths.
fn rank_figure(figure: f64) -> i64 {
    (figure * 1000.0) as i64
}

/// Returns how far the task is, 0 to 100; `None` where that says nothing.
fn find_progress(task: &Task) -> Option<f64> {
    if task.state() == StageState::Success {
        return Some(100.0);
    }
    if let Some(pipeline) = task.under_way() {
        return Some(f64::from(pipeline.processing.progress));
    }
    let running = task.stages.values().filter(|stage| stage.status == StageState::Running);
    running.filter_map(|stage| stage.progress()).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use onceover_types::TaskStatus;
    use onceover_wire::TaskItem;

    use super::*;

    fn task(id: &str, created: i64, updated: i64, status: TaskStatus) -> Task {
        Task::from_item(TaskItem {
            task_id: TaskId::parse(id).unwrap(),
            status,
            created_at: Timestamp::from_millis(created),
            updated_at: Timestamp::from_millis(updated),
            task_name: None,
            callback_status: None,
            disk_bytes: 0,
            stages: Default::default(),
            pipeline: None,
            damaged: None,
        })
    }

    fn order(tasks: &[Task], sort: TaskSort) -> Vec<&str> {
        let now = Timestamp::from_millis(10_000_000);
        let mut keyed: Vec<_> = tasks
            .iter()
            .map(|task| (sort.key_of(task, now), task.id.as_str()))
            .collect();
        keyed.sort();
        keyed.into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn tui18_every_column_sorts_both_ways_and_equal_tasks_stay_newest_first() {
        let tasks = [
            task("b", 1, 9, TaskStatus::Completed),
            task("c", 2, 8, TaskStatus::Failed),
            task("a", 3, 7, TaskStatus::Completed),
        ];
        let created = TaskSort::by(SortColumn::Created);
        assert_eq!(order(&tasks, created), ["a", "c", "b"]);
        assert_eq!(order(&tasks, created.choose(SortColumn::Created)), ["b", "c", "a"]);
        let updated = TaskSort::by(SortColumn::Updated);
        assert_eq!(order(&tasks, updated), ["b", "c", "a"]);
        let id = TaskSort::by(SortColumn::Id);
        assert_eq!(order(&tasks, id), ["a", "b", "c"]);
        assert_eq!(order(&tasks, id.choose(SortColumn::Id)), ["c", "b", "a"]);
        let state = TaskSort::by(SortColumn::State);
        assert_eq!(order(&tasks, state), ["c", "a", "b"]);
        assert_eq!(order(&tasks, state.choose(SortColumn::State)), ["a", "b", "c"]);
        for column in [SortColumn::Duration, SortColumn::Reuse] {
            let sort = TaskSort::by(column);
            assert_eq!(order(&tasks, sort), ["a", "c", "b"], "{column:?}");
            assert_eq!(order(&tasks, sort.choose(column)), ["a", "c", "b"], "{column:?}");
        }
        assert_eq!(created.choose(SortColumn::Created).choose(SortColumn::Created), created);
    }

    #[test]
    fn every_column_has_a_key_of_its_own() {
        let keys: std::collections::BTreeSet<_> = SortColumn::ALL.map(SortColumn::key).into();
        assert_eq!(keys.len(), SortColumn::ALL.len());
    }
}
