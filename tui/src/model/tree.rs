//! What of the store is on the screen: order, expansion, filter, marks, cursor, scroll, and the flat list of visible
//! rows. The list is kept: a change of one task replaces the rows of that task, and no other is looked at.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use onceover_types::{StageState, TaskId, Timestamp};

use super::{
    filter::Filter,
    row::RowId,
    sort::{MINUTE_MS, SortColumn, SortKey, TaskSort},
    store::TaskStore,
    task::Task,
};

mod splice;

use splice::{Edit, apply_edits};

/// Tasks that were removed and still count as expanded, at most.
const MOST_GONE: usize = 1_000;
/// Rows beside the cursor that it can go to when its own is removed.
const NEIGHBOURS: usize = 256;

/// The one-key filters: what they are called, and the states of the stages that they show.
pub const PENDING_ONLY: QuickFilter = QuickFilter {
    name: "pending only",
    states: &[StageState::Pending],
};
pub const ACTIVE_ONLY: QuickFilter = QuickFilter {
    name: "active only",
    states: &[StageState::Pending, StageState::Running],
};

/// A filter that one key sets and drops.
#[derive(Debug)]
pub struct QuickFilter {
    pub name: &'static str,
    states: &'static [StageState],
}

/// Up to what the visible rows are right.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct BuiltFrom {
    changed: u64,
    /// How far the changes of the store are taken in.
    seen: u64,
    minute: i64,
}

/// The rows of one task, where the task is to stand.
type PlacedRows = (SortKey, Vec<RowId>);

/// The tree as it is shown.
#[derive(Debug, Default)]
pub struct Tree {
    /// The visible rows, top to bottom.
    pub rows: Vec<RowId>,
    pub cursor: Option<RowId>,
    /// Where the cursor is in `rows`.
    pub index: usize,
    /// First row on screen.
    pub top: usize,
    pub marks: BTreeSet<RowId>,
    /// The row marked last, where a range begins.
    pub mark_anchor: Option<RowId>,
    pub expanded: HashSet<Arc<TaskId>>,
    pub sort: TaskSort,
    pub filter: Option<Filter>,
    /// The one-key filter (pending only, active only), beside the typed one.
    pub quick: Option<Filter>,
    /// Whether a key has moved the cursor: until then it stays on the first row.
    pub touched: bool,
    /// Tasks among the rows.
    pub shown: usize,
    /// The tasks among the rows, each with the key by which it was placed.
    placed: HashMap<Arc<TaskId>, SortKey>,
    /// Tasks that were expanded or collapsed.
    turned: HashSet<Arc<TaskId>>,
    changed: u64,
    built: Option<BuiltFrom>,
}

impl Tree {
    /// Shows the stages of the task. Returns `false` if they are shown already.
    pub fn expand(&mut self, task: &Arc<TaskId>) -> bool {
        let is_new = self.expanded.insert(task.clone());
        if is_new {
            self.turned.insert(task.clone());
        }
        is_new
    }

    /// Hides the stages of the task. Returns `false` if they are hidden already.
    pub fn collapse(&mut self, task: &Arc<TaskId>) -> bool {
        let was_shown = self.expanded.remove(task);
        if was_shown {
            self.turned.insert(task.clone());
        }
        was_shown
    }

    /// Notes that order, filter or the expansion of many tasks have changed, so that all rows are built again.
    pub fn changed(&mut self) {
        self.changed += 1;
    }

    /// Sorts by the column; the other way round if it is sorted by that already.
    pub fn sort_by(&mut self, column: SortColumn) {
        self.sort = self.sort.choose(column);
        self.changed();
    }

    /// Whether a filter hides rows.
    pub fn is_narrowed(&self) -> bool {
        self.filter.is_some() || self.quick.is_some()
    }

    /// Drops the filters.
    pub fn show_all(&mut self) {
        self.filter = None;
        self.quick = None;
        self.changed();
    }

    /// Shows only stages that this filter finds; if it does already, everything.
    pub fn toggle_quick(&mut self, filter: &QuickFilter) {
        self.quick = match &self.quick {
            Some(quick) if quick.text == filter.name => None,
            _ => Some(Filter::for_states(filter.name, filter.states)),
        };
        self.changed();
    }

    /// Whether the stages of the task are shown.
    pub fn is_expanded(&self, task: &TaskId) -> bool {
        self.expanded.contains(task)
    }

    /// Brings the rows up to date, keeps the cursor on its id or moves it to the nearest row that is left, and keeps it in
    /// view.
    pub fn settle(&mut self, store: &TaskStore, now: Timestamp, height: usize) {
        let from = BuiltFrom {
            changed: self.changed,
            seen: store.changes_end(),
            minute: now.as_millis().div_euclid(MINUTE_MS),
        };
        let is_current = match self.built.replace(from) {
            Some(former) if former == from && self.turned.is_empty() => true,
            Some(former) if former.changed == from.changed => {
                self.take_changes(store, now, former.seen, former.minute != from.minute)
            }
            _ => false,
        };
        if !is_current {
            self.turned.clear();
            self.rebuild(store, now);
        }
        // Those that were removed may be stepped back to: they are dropped once they are many.
        if !store.is_frozen() && self.expanded.len() > store.len() + MOST_GONE {
            self.expanded.retain(|task| store.get(task).is_some());
        }
        self.scroll(height);
    }

    /// Puts the cursor on the row. Returns `false` if the row is not visible.
    pub fn go_to(&mut self, row: &RowId) -> bool {
        let Some(index) = self.position_of(row) else {
            return false;
        };
        self.go(index);
        true
    }

    /// Puts the cursor on the row with this index, or on the last one.
    pub fn go(&mut self, index: usize) {
        self.touched = true;
        self.index = index.min(self.rows.len().saturating_sub(1));
        self.cursor = self.rows.get(self.index).cloned();
    }

    fn filters(&self) -> impl Iterator<Item = &Filter> {
        self.filter.iter().chain(&self.quick)
    }

    /// Lists all rows again.
    fn rebuild(&mut self, store: &TaskStore, now: Timestamp) {
        let before = std::mem::take(&mut self.rows);
        let blocks = store.tasks_unordered().filter_map(|task| self.build_block(task, now));
        let mut blocks: Vec<PlacedRows> = blocks.collect();
        blocks.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        self.placed.clear();
        for (key, rows) in blocks {
            self.placed.insert(key.id().clone(), key);
            self.rows.extend(rows);
        }
        self.shown = self.placed.len();
        self.marks.retain(|row| store.contains(row));
        if self.mark_anchor.as_ref().is_some_and(|row| !store.contains(row)) {
            self.mark_anchor = None;
        }
        self.find_cursor(|tree| tree.find_nearest(&before));
    }

    /// Takes in what has changed in the store, and what has moved with the time. Returns `false` if all tasks have to be
    /// gone through.
    fn take_changes(&mut self, store: &TaskStore, now: Timestamp, seen: u64, is_new_minute: bool) -> bool {
        if is_new_minute && self.filters().any(Filter::depends_on_time) {
            return false;
        }
        let Some(changed) = store.changes_since(seen) else {
            return false;
        };
        let mut tasks: HashSet<Arc<TaskId>> = changed.cloned().collect();
        tasks.extend(self.turned.drain());
        if is_new_minute && self.sort.column.depends_on_time() {
            let has_moved = |(id, key): &(&Arc<TaskId>, &SortKey)| {
                let task = store.get(id);
                task.is_some_and(|task| self.sort.key_of(task, now) != **key)
            };
            tasks.extend(self.placed.iter().filter(has_moved).map(|(id, _)| id.clone()));
        }
        self.replace_tasks(&tasks, store, now);
        true
    }

    /// Replaces the rows of tasks.
    fn replace_tasks(&mut self, tasks: &HashSet<Arc<TaskId>>, store: &TaskStore, now: Timestamp) {
        let mut edits = Vec::new();
        let mut moved = Vec::new();
        for id in tasks {
            let task = store.get(id);
            self.prune_marks(id, store);
            let block = task.and_then(|task| self.build_block(task, now));
            if self.is_in_place(id, block.as_ref()) {
                continue;
            }
            if let Some(former) = self.placed.get(id) {
                let at = self.find_place(former);
                let rows = self.count_rows_at(at);
                edits.push(Edit::Cut { at, rows });
            }
            moved.push((id.clone(), block.as_ref().map(|(key, _)| key.clone())));
            if let Some((key, rows)) = block {
                let at = self.find_place(&key);
                edits.push(Edit::Add { at, key, rows });
            }
        }
        if edits.is_empty() {
            return;
        }
        let has_cursor = self.cursor.as_ref().is_some_and(|row| tasks.contains(&row.task));
        let neighbours = if has_cursor { self.list_neighbours() } else { Vec::new() };
        self.rows = apply_edits(std::mem::take(&mut self.rows), edits);
        for (id, key) in moved {
            match key {
                Some(key) => self.placed.insert(id, key),
                None => self.placed.remove(&id),
            };
        }
        self.shown = self.placed.len();
        self.find_cursor(|tree| neighbours.iter().find_map(|row| tree.position_of(row)));
    }

    /// Builds the rows that expansion and filters leave of a task; `None` if that is nothing.
    fn build_block(&self, task: &Task, now: Timestamp) -> Option<PlacedRows> {
        let rows = self.list_rows(task, now)?;
        Some((self.sort.key_of(task, now), rows))
    }

    fn list_rows(&self, task: &Task, now: Timestamp) -> Option<Vec<RowId>> {
        let is_open = self.is_expanded(&task.id);
        let is_bare = task.rows().next().is_none();
        if !self.is_narrowed() || is_bare {
            if !self.filters().all(|filter| filter.matches_bare(task, now)) {
                return None;
            }
            let stages = task
                .rows()
                .filter(|_| is_open)
                .map(|(node, _)| RowId::stage(&task.id, node));
            return Some(std::iter::once(RowId::task(&task.id)).chain(stages).collect());
        }
        let mut rows = Vec::new();
        for (node, stage) in task.rows() {
            if !self.filters().all(|filter| filter.matches(task, node, stage, now)) {
                continue;
            }
            if rows.is_empty() {
                rows.push(RowId::task(&task.id));
            }
            if !is_open {
                break;
            }
            rows.push(RowId::stage(&task.id, node));
        }
        (!rows.is_empty()).then_some(rows)
    }

    /// Removes the marks of a task on what does not exist any more.
    fn prune_marks(&mut self, id: &Arc<TaskId>, store: &TaskStore) {
        if self
            .mark_anchor
            .as_ref()
            .is_some_and(|row| row.task == *id && !store.contains(row))
        {
            self.mark_anchor = None;
        }
        if self.marks.is_empty() {
            return;
        }
        let of_task = self.marks.range(RowId::task(id)..).take_while(|row| row.task == *id);
        let gone: Vec<_> = of_task.filter(|row| !store.contains(row)).cloned().collect();
        for row in gone {
            self.marks.remove(&row);
        }
    }

    /// Whether the rows of the task are these already.
    fn is_in_place(&self, id: &Arc<TaskId>, block: Option<&PlacedRows>) -> bool {
        match (self.placed.get(id), block) {
            (None, None) => true,
            (Some(former), Some((key, rows))) if former == key => {
                let at = self.find_place(key);
                self.rows.get(at..at + self.count_rows_at(at)) == Some(rows.as_slice())
            }
            _ => false,
        }
    }

    /// Finds the first row of the task with this key, or where it would be.
    fn find_place(&self, key: &SortKey) -> usize {
        let is_before = |row: &RowId| self.placed.get(&row.task).is_some_and(|other| other < key);
        self.rows.partition_point(is_before)
    }

    /// Counts the rows of the task that begins there.
    fn count_rows_at(&self, at: usize) -> usize {
        let Some(first) = self.rows.get(at) else {
            return 0;
        };
        let rows = self.rows.iter().skip(at);
        rows.take_while(|row| row.task == first.task).count()
    }

    /// Finds a row.
    pub fn position_of(&self, row: &RowId) -> Option<usize> {
        let at = self.find_place(self.placed.get(&row.task)?);
        let mut of_task = self.rows.iter().skip(at).take_while(|other| other.task == row.task);
        Some(at + of_task.position(|other| other == row)?)
    }

    /// Finds the cursor among the new rows; if its row was removed, `nearest` finds another one.
    fn find_cursor(&mut self, nearest: impl FnOnce(&Self) -> Option<usize>) {
        if !self.touched {
            self.index = 0;
            self.top = 0;
            self.cursor = self.rows.first().cloned();
            return;
        }
        let offset = self.index.saturating_sub(self.top);
        let found = self.cursor.as_ref().and_then(|cursor| self.position_of(cursor));
        self.index = found
            .or_else(|| nearest(self))
            .unwrap_or(self.index)
            .min(self.rows.len().saturating_sub(1));
        self.cursor = self.rows.get(self.index).cloned();
        // Rows may have been added above the cursor: its line on the screen stays.
        self.top = self.index.saturating_sub(offset);
    }

    /// Lists rows that the cursor goes to if its own is removed: its task, then outwards.
    fn list_neighbours(&self) -> Vec<RowId> {
        let mut rows: Vec<_> = self.cursor.iter().map(|cursor| RowId::task(&cursor.task)).collect();
        for distance in 1..=NEIGHBOURS {
            let below = self.rows.get(self.index + distance);
            let above = self.index.checked_sub(distance).and_then(|index| self.rows.get(index));
            rows.extend([below, above].into_iter().flatten().cloned());
        }
        rows
    }

    /// Finds the row that was closest to the cursor and is left: its task first, then outwards.
    fn find_nearest(&self, before: &[RowId]) -> Option<usize> {
        let cursor = self.cursor.as_ref()?;
        if let Some(index) = self.position_of(&RowId::task(&cursor.task)) {
            return Some(index);
        }
        for distance in 1..=before.len() {
            let below = before.get(self.index + distance);
            let above = self.index.checked_sub(distance).and_then(|index| before.get(index));
            if let Some(index) = [below, above]
                .into_iter()
                .flatten()
                .find_map(|row| self.position_of(row))
            {
                return Some(index);
            }
        }
        None
    }

    /// Keeps the cursor on the screen.
    fn scroll(&mut self, height: usize) {
        let height = height.max(1);
        if self.index < self.top {
            self.top = self.index;
        } else if self.index >= self.top + height {
            self.top = self.index + 1 - height;
        }
        self.top = self.top.min(self.rows.len().saturating_sub(height));
    }
}
