//! Keeps tasks and stages by id, up to date from snapshots and change events. It knows the sequence of events: it drops
//! old ones, holds back early ones and notices missing ones. It does not know what is on the screen.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use indexmap::IndexSet;
use onceover_types::{NodeName, TaskId, TaskStatus, Timestamp};
use onceover_wire::{Event as Change, EventKind, StageSummary, TaskItem};

use super::{
    past::Past,
    row::RowId,
    stage::{KeptStage, StageList, StageNames},
    task::Task,
};
use changes::ChangeLog;
use loading::{Loading, RecentEvents, keep_newer};

mod changes;
mod history;
mod loading;
mod pipelines;

pub use loading::RowsEnd;

/// Events that come before their predecessors wait at most this long for them.
const GAP_PATIENCE_MS: i64 = 150;
/// Early events that are kept at most: reading everything again is cheaper than more.
const HELD_LIMIT: usize = 20_000;

/// What one applied event changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    pub change: Change,
    /// The stage before the change.
    pub before: Option<StageSummary>,
    /// The task's status before and after; `None` where the task does not exist.
    pub status_before: Option<TaskStatus>,
    pub status_after: Option<TaskStatus>,
}

#[derive(Debug, Default)]
pub struct TaskStore {
    tasks: HashMap<Arc<TaskId>, Task>,
    order: BTreeSet<(Reverse<i64>, Arc<TaskId>)>,
    names: StageNames,
    /// The last event in the state; `None` before the first snapshot.
    seq: Option<u64>,
    held: BTreeMap<u64, Change>,
    held_since: Option<Timestamp>,
    /// How often messages were missing and everything was read again.
    pub gaps: u64,
    /// Whether every task of the daemon is known: a load has ended, and not at a limit.
    pub complete: bool,
    /// Tasks of which only events are known: they may have other stages. In the order in which they became known.
    partial: IndexSet<Arc<TaskId>>,
    /// The number of the last load.
    load: u32,
    /// Everything is being read, in parts.
    loading: Option<Loading>,
    recent: RecentEvents,
    changes: ChangeLog,
    past: Past,
}

impl TaskStore {
    /// Returns the task as it is shown.
    pub fn get(&self, task: &TaskId) -> Option<&Task> {
        self.past.shown(task).unwrap_or_else(|| self.tasks.get(task))
    }

    /// Returns what is known of a stage, in full and as it is shown.
    pub fn stage(&self, task: &TaskId, node: &NodeName) -> Option<StageSummary> {
        self.kept_stage(task, node).map(KeptStage::summary)
    }

    /// Returns a stage as it is kept.
    pub fn kept_stage(&self, task: &TaskId, node: &NodeName) -> Option<&KeptStage> {
        self.get(task)?.stages.get(node)
    }

    pub fn contains(&self, row: &RowId) -> bool {
        match &row.node {
            None => self.get(&row.task).is_some(),
            Some(node) => self.get(&row.task).is_some_and(|task| task.has_row(node)),
        }
    }

    /// Returns the tasks, newest first.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        let frozen = self.is_frozen().then(|| self.list_frozen());
        let present = self.order.iter().filter_map(|(_, id)| self.tasks.get(id));
        let present = frozen.is_none().then_some(present);
        frozen.into_iter().flatten().chain(present.into_iter().flatten())
    }

    /// Returns the tasks in no order, which takes less time.
    pub fn tasks_unordered(&self) -> impl Iterator<Item = &Task> {
        let is_present = move |task: &&Task| self.past.shown(&task.id).is_none();
        self.tasks.values().filter(is_present).chain(self.past.shown_tasks())
    }

    pub fn len(&self) -> usize {
        match self.is_frozen() {
            true => self.count_frozen(),
            false => self.tasks.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// Whether only events are known of the task.
    pub fn is_partial(&self, task: &TaskId) -> bool {
        self.partial.contains(task)
    }

    /// Returns the tasks of which only events are known, those that became known last first.
    pub fn partial_tasks(&self) -> impl Iterator<Item = &Arc<TaskId>> {
        self.partial.iter().rev()
    }

    /// Notes that there is no more to read of a task than its events said.
    pub fn note_read(&mut self, task: &TaskId) {
        self.partial.swap_remove(task);
    }

    /// Returns the number after the last change of a task.
    pub fn changes_end(&self) -> u64 {
        self.changes.end()
    }

    /// Returns the tasks that were changed, added or removed since [`TaskStore::changes_end`] was that number; `None` if
    /// that is too long ago, so that every task counts as changed.
    pub fn changes_since(&self, seen: u64) -> Option<impl Iterator<Item = &Arc<TaskId>>> {
        self.changes.since(seen)
    }

    /// Returns when early events have waited long enough for what is missing before them.
    pub fn gap_deadline(&self) -> Option<Timestamp> {
        let since = self.held_since?;
        self.seq?;
        Some(Timestamp::from_millis(since.as_millis() + GAP_PATIENCE_MS))
    }

    /// Adds a task that was read on its own, because an event named a task that was not known.
    pub fn merge(&mut self, item: TaskItem) {
        self.past.note(&item.task_id, self.tasks.get(&item.task_id), None);
        let mut task = Task::keep(item, &mut self.names);
        task.load = self.load;
        if let Some(known) = self.tasks.get(&task.id) {
            task.id = known.id.clone();
            keep_newer(&mut task, known);
        } else {
            task.derive_status();
        }
        self.partial.swap_remove(&task.id);
        self.insert(task);
    }

    /// Takes one event in. Returns what was applied, in order: nothing for an old or early event.
    pub fn offer(&mut self, change: Change, now: Timestamp) -> Vec<Applied> {
        let Some(seq) = self.seq else {
            self.hold(change);
            return Vec::new();
        };
        if change.seq <= seq {
            return Vec::new();
        }
        if change.seq > seq + 1 {
            self.hold(change);
            self.held_since.get_or_insert(now);
            return Vec::new();
        }
        self.seq = Some(change.seq);
        let mut applied = vec![self.apply(change)];
        applied.extend(self.release(now));
        applied
    }

    /// Notes that messages are missing: what is here may be wrong until the end of the next load.
    pub fn note_gap(&mut self) {
        self.gaps += 1;
        self.held_since = None;
    }

    /// Keeps an event until those before it have come.
    fn hold(&mut self, change: Change) {
        self.held.insert(change.seq, change);
        if self.held.len() > HELD_LIMIT {
            self.held.pop_first();
        }
    }

    /// Applies the held events that are next.
    fn release(&mut self, now: Timestamp) -> Vec<Applied> {
        let mut applied = Vec::new();
        while let (Some(seq), Some((&first, _))) = (self.seq, self.held.first_key_value()) {
            if first > seq + 1 {
                break;
            }
            let Some((_, change)) = self.held.pop_first() else {
                break;
            };
            if first == seq + 1 {
                self.seq = Some(first);
                applied.push(self.apply(change));
            }
        }
        if self.held.is_empty() {
            self.held_since = None;
        } else if !applied.is_empty() || self.held_since.is_none() {
            self.held_since = Some(now);
        }
        applied
    }

    fn apply(&mut self, change: Change) -> Applied {
        let known = self.tasks.get_key_value(&change.task_id);
        let task = known.map(|(_, task)| task);
        self.past.note(&change.task_id, task, Some(change.ts));
        let status_before = task.map(|task| task.status);
        let before = task.zip(change.task_name.as_ref());
        let before = before.and_then(|(task, node)| task.stages.get(node));
        let before = before.map(KeptStage::summary);
        let id = match known {
            Some((id, _)) => id.clone(),
            None => Arc::new(change.task_id.clone()),
        };
        if change.kind == EventKind::Deleted {
            self.remove(&id);
        } else if let (EventKind::Removed, Some(node)) = (change.kind, &change.task_name) {
            self.remove_stage(&id, node, change.ts);
        } else if let (Some(node), Some(stage)) = (&change.task_name, &change.stage) {
            self.put_stage(&id, node, stage.clone(), change.ts);
        } else if let Some(pipeline) = &change.pipeline {
            self.follow_pipeline(&id, pipeline);
        }
        self.changes.note(&id);
        let node = change.task_name.as_ref().map(|node| self.names.keep_node(node));
        if let Some(loading) = &mut self.loading {
            loading.follow(&id, change.kind, node.as_deref());
        }
        self.recent.note(change.seq, &id, change.kind, node);
        let status_after = self.present(&change.task_id).map(|task| task.status);
        Applied {
            change,
            before,
            status_before,
            status_after,
        }
    }

    /// Makes a task of which nothing is known but when it was first heard of.
    fn make_task(&self, id: &Arc<TaskId>, at: Timestamp) -> Task {
        Task {
            id: id.clone(),
            created_at: at,
            updated_at: at,
            status: TaskStatus::Pending,
            callback_status: None,
            stages: StageList::default(),
            pipeline: None,
            load: self.load,
        }
    }

    fn put_stage(&mut self, id: &Arc<TaskId>, node: &NodeName, stage: StageSummary, ts: Timestamp) {
        let mut stage = self.names.keep(node, stage);
        if !self.tasks.contains_key(id) {
            if !self.complete {
                self.partial.insert(id.clone());
            }
            let task = self.make_task(id, ts);
            self.insert(task);
        }
        let load = self.load;
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.load = load;
        if let Some(mine) = task.stages.get(node) {
            if mine.revision > stage.revision {
                return;
            }
            // Progress never moves back within one attempt of a run. Of another worker's stage the run is not known.
            if mine.is_same_run(&stage) && mine.attempt == stage.attempt {
                stage.raise_progress(mine.progress());
            }
        }
        if stage.callback_status.is_some() {
            task.callback_status = stage.callback_status;
        }
        if let Some(pipeline) = &mut task.pipeline {
            pipeline.follow_stage(node, &stage);
        }
        task.stages.put(stage);
        task.updated_at = task.updated_at.max(ts);
        task.derive_status();
    }

    fn remove_stage(&mut self, id: &TaskId, node: &NodeName, ts: Timestamp) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        task.stages.remove(node);
        task.updated_at = task.updated_at.max(ts);
        task.derive_status();
    }

    fn remove(&mut self, id: &TaskId) {
        self.partial.swap_remove(id);
        if let Some(task) = self.tasks.remove(id) {
            self.changes.note(&task.id);
            self.order.remove(&(Reverse(task.created_at.as_millis()), task.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use onceover_types::{RunId, StageState};

    use super::*;

    const NODES: [&str; 8] = ["a.a", "a.b", "a.c", "a.d", "a.e", "a.f", "a.g", "a.h"];

    fn stage(status: StageState, revision: u64) -> StageSummary {
        StageSummary {
            status,
            run_id: Some(RunId::generate()),
            attempt: 1,
            revision,
            queue: "cpu".into(),
            runner: Some("builtin".into()),
            progress: None,
            message: None,
            reason: Some("absent".into()),
            forced: false,
            reuse_hits: 0,
            joins: 0,
            saved_seconds: 0.0,
            queued_at: Some(Timestamp::from_millis(1)),
            started_at: Some(Timestamp::from_millis(2)),
            ended_at: Some(Timestamp::from_millis(3)),
            duration: 1.0,
            error: None,
            callback_status: None,
            warnings: 0,
            warnings_retryable: false,
            damaged: None,
        }
    }

    fn item(id: &str, created: i64, stages: Vec<(&str, StageSummary)>) -> TaskItem {
        let stages = stages
            .into_iter()
            .map(|(node, stage)| (NodeName::parse(node).unwrap(), stage));
        TaskItem {
            task_id: TaskId::parse(id).unwrap(),
            status: TaskStatus::Completed,
            created_at: Timestamp::from_millis(created),
            updated_at: Timestamp::from_millis(created),
            task_name: None,
            callback_status: None,
            disk_bytes: 0,
            stages: stages.collect(),
            pipeline: None,
            damaged: None,
        }
    }

    fn event(seq: u64, id: &str, kind: EventKind, stage: Option<StageSummary>) -> Change {
        Change {
            v: 1,
            seq,
            ts: Timestamp::from_millis(9),
            task_id: TaskId::parse(id).unwrap(),
            task_name: stage.as_ref().map(|_| NodeName::parse(NODES[0]).unwrap()),
            kind,
            stage,
            pipeline: None,
        }
    }

    fn names(store: &TaskStore) -> Vec<String> {
        store.tasks().map(|task| task.id.to_string()).collect()
    }

    fn state_of(store: &TaskStore, id: &str) -> Option<StageState> {
        let (task, node) = (TaskId::parse(id).unwrap(), NodeName::parse(NODES[0]).unwrap());
        Some(store.get(&task)?.stages.get(&node)?.status)
    }

    /// What the tasks of a store take: the tables with their free room, ids, stages and the order.
    fn count_bytes(store: &TaskStore) -> usize {
        // A counted text: two counters and the text's head, and the text itself.
        let ids: usize = store.tasks.keys().map(|id| 40 + id.as_str().len()).sum();
        let stages: usize = store.tasks.values().map(|task| task.stages.count_bytes()).sum();
        let table = store.tasks.capacity() * 8 / 7 * (size_of::<(Arc<TaskId>, Task)>() + 1);
        let order = store.order.len() * size_of::<(Reverse<i64>, Arc<TaskId>)>() * 4 / 3;
        ids + stages + table + order
    }

    #[test]
    fn tui05_a_stage_of_many_tasks_takes_at_most_150_bytes() {
        const TASKS: usize = 10_000;
        let mut store = TaskStore::default();
        let now = Timestamp::from_millis(0);
        store.begin_load(1, true, now);
        for page in 0..TASKS / 500 {
            let items = (0..500).map(|n| {
                let stages = NODES.map(|node| (node, stage(StageState::Success, 3)));
                item(&format!("task-{page:03}-{n:03}"), n, stages.into())
            });
            store.take_rows(items.collect());
        }
        store.end_load(true);
        let each = count_bytes(&store) / (TASKS * NODES.len());
        assert_eq!(store.len(), TASKS);
        assert!(each <= 150, "{each} bytes");
    }

    #[test]
    fn what_events_have_done_during_a_load_is_not_undone_by_older_parts() {
        let now = Timestamp::from_millis(0);
        let mut store = TaskStore::default();
        store.begin_load(10, true, now);
        store.take_rows(vec![item("first", 30, vec![(NODES[0], stage(StageState::Success, 5))])]);
        assert!(!store.complete && store.is_loading());
        for (seq, id, kind, stage) in [
            (11, "late", EventKind::Started, Some(stage(StageState::Running, 8))),
            (12, "gone", EventKind::Deleted, None),
            (13, "new", EventKind::Queued, Some(stage(StageState::Pending, 1))),
        ] {
            assert_eq!(store.offer(event(seq, id, kind, stage), now).len(), 1);
        }
        let old = |id| {
            item(
                id,
                20,
                vec![
                    (NODES[0], stage(StageState::Success, 7)),
                    (NODES[1], stage(StageState::Success, 1)),
                ],
            )
        };
        store.take_rows(vec![old("late"), old("gone")]);
        store.end_load(true);
        assert_eq!(names(&store), ["first", "late", "new"]);
        assert_eq!(
            state_of(&store, "late"),
            Some(StageState::Running),
            "the event is newer"
        );
        assert_eq!(store.get(&TaskId::parse("late").unwrap()).unwrap().stages.len(), 2);
        assert!(store.partial_tasks().next().is_none(), "everything is known of each");
    }

    #[test]
    fn what_has_come_since_the_number_was_read_is_not_undone_by_the_first_part() {
        let now = Timestamp::from_millis(0);
        let mut store = TaskStore::default();
        let old = || vec![item("film", 2, vec![(NODES[0], stage(StageState::Success, 5))])];
        store.begin_load(10, true, now);
        store.take_rows(old());
        store.end_load(true);
        let running = stage(StageState::Running, 6);
        assert_eq!(
            store
                .offer(event(11, "film", EventKind::Started, Some(running)), now)
                .len(),
            1
        );
        let pending = stage(StageState::Pending, 1);
        assert_eq!(
            store
                .offer(event(12, "new", EventKind::Queued, Some(pending)), now)
                .len(),
            1
        );
        // The number was read before these events, and so was the part.
        store.begin_load(10, true, now);
        store.take_rows(old());
        store.end_load(true);
        assert_eq!(state_of(&store, "film"), Some(StageState::Running));
        assert_eq!(
            state_of(&store, "new"),
            Some(StageState::Pending),
            "no part can have it"
        );
        assert_eq!(store.seq(), Some(12), "nothing is waited for again");
    }

    #[test]
    fn a_second_load_removes_what_no_part_has_and_shows_the_rest_meanwhile() {
        let now = Timestamp::from_millis(0);
        let mut store = TaskStore::default();
        let both = || {
            vec![
                item("kept", 2, vec![(NODES[0], stage(StageState::Success, 9))]),
                item("gone", 1, vec![(NODES[0], stage(StageState::Success, 9))]),
            ]
        };
        store.begin_load(10, true, now);
        store.take_rows(both());
        store.end_load(true);
        store.begin_load(20, true, now);
        assert_eq!(store.len(), 2, "nothing disappears before it is known");
        // It was deleted and made again, and both messages were lost: its revision is lower than the known one.
        store.take_rows(vec![item("kept", 2, vec![(NODES[0], stage(StageState::Failed, 2))])]);
        store.end_load(true);
        assert_eq!(names(&store), ["kept"]);
        assert_eq!(state_of(&store, "kept"), Some(StageState::Failed));
        store.begin_load(3, false, now);
        assert!(store.is_empty(), "another database has other tasks");
        assert_eq!(store.seq(), Some(3));
    }
}
