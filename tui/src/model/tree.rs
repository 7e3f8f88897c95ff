//! What of the store is on the screen: order, expansion, filter, marks, cursor, scroll, and the flat list of visible
//! rows, which is built again only when something it depends on has changed.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use onceover_types::{StageState, TaskId, Timestamp};

use super::{filter::Filter, row::RowId, store::TaskStore, task::Task};

/// A failed task counts as a recent one for so long after its last change.
const RECENT_MS: i64 = 3_600_000;
/// Tasks that were removed and still count as expanded, at most.
const MOST_GONE: usize = 1_000;
/// How often tasks can stop to be recent.
const MINUTE_MS: i64 = 60_000;

/// Which tasks come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaskOrder {
    /// What runs, what waits, what has failed lately, the rest; the newest first in each.
    #[default]
    ActiveFirst,
    NewestFirst,
}

/// The part of the list that a task is in, from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskSection {
    Running,
    Waiting,
    FailedLately,
    Rest,
}

impl TaskSection {
    const ALL: [Self; 4] = [Self::Running, Self::Waiting, Self::FailedLately, Self::Rest];

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

/// What the visible rows were built from.
#[derive(Debug, PartialEq, Eq)]
struct BuiltFrom {
    membership: u64,
    content: u64,
    state_changes: u64,
    minute: i64,
    changed: u64,
}

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
    pub order: TaskOrder,
    pub filter: Option<Filter>,
    /// The one-key filter (pending only, active only), beside the typed one.
    pub quick: Option<Filter>,
    /// Whether a key has moved the cursor: until then it stays on the first row.
    pub touched: bool,
    /// Tasks among the rows.
    pub shown: usize,
    changed: u64,
    built: Option<BuiltFrom>,
}

impl Tree {
    /// Notes that order, expansion or filter have changed, so that the rows are built again.
    pub fn changed(&mut self) {
        self.changed += 1;
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

    /// Shows only stages in these states; if it does already, everything.
    pub fn toggle_quick(&mut self, name: &str, states: &[StageState]) {
        self.quick = match &self.quick {
            Some(quick) if quick.text == name => None,
            _ => Some(Filter::for_states(name, states)),
        };
        self.changed();
    }

    /// Whether the stages of the task are shown.
    pub fn is_expanded(&self, task: &TaskId) -> bool {
        self.expanded.contains(task)
    }

    /// Builds the rows again if needed, keeps the cursor on its id or moves it to the nearest row that is left, and
    /// keeps it in view.
    pub fn settle(&mut self, store: &TaskStore, now: Timestamp, height: usize) {
        let is_ordered = self.order == TaskOrder::ActiveFirst;
        let from = BuiltFrom {
            membership: store.membership(),
            content: if self.is_narrowed() { store.content() } else { 0 },
            state_changes: if is_ordered { store.state_changes() } else { 0 },
            minute: if is_ordered {
                now.as_millis().div_euclid(MINUTE_MS)
            } else {
                0
            },
            changed: self.changed,
        };
        if self.built.as_ref() != Some(&from) {
            self.built = Some(from);
            let before = std::mem::take(&mut self.rows);
            self.shown = self.fill(store, now);
            self.marks.retain(|row| store.contains(row));
            if self.mark_anchor.as_ref().is_some_and(|row| !store.contains(row)) {
                self.mark_anchor = None;
            }
            // Those that were removed may be stepped back to: they are dropped once they are many.
            if self.expanded.len() > store.len() + MOST_GONE && !store.is_frozen() {
                self.expanded.retain(|task| store.get(task).is_some());
            }
            self.find_cursor(&before);
        }
        self.scroll(height);
    }

    /// Puts the cursor on the row. Returns `false` if the row is not visible.
    pub fn go_to(&mut self, row: &RowId) -> bool {
        let Some(index) = self.rows.iter().position(|other| other == row) else {
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

    /// Lists the rows that expansion and filters leave. Returns how many tasks are among them.
    fn fill(&mut self, store: &TaskStore, now: Timestamp) -> usize {
        let mut shown = 0;
        let filters: Vec<_> = self.filter.iter().chain(&self.quick).collect();
        for task in list_in_order(store, self.order, now) {
            let open = self.expanded.contains(&task.id);
            if filters.is_empty() {
                shown += 1;
                self.rows.push(RowId::task(&task.id));
                if open {
                    let rows = task.rows().map(|(node, _)| RowId::stage(&task.id, node));
                    self.rows.extend(rows);
                }
                continue;
            }
            let at = self.rows.len();
            self.rows.push(RowId::task(&task.id));
            let bare = task.rows().next().is_none();
            let mut any = bare && filters.iter().all(|filter| filter.matches_bare(task, now));
            for (node, stage) in task.rows() {
                if filters.iter().all(|filter| filter.matches(task, node, stage, now)) {
                    any = true;
                    if !open {
                        break;
                    }
                    self.rows.push(RowId::stage(&task.id, node));
                }
            }
            if any {
                shown += 1;
            } else {
                self.rows.truncate(at);
            }
        }
        shown
    }

    /// Finds the cursor among the new rows.
    fn find_cursor(&mut self, before: &[RowId]) {
        if !self.touched {
            self.index = 0;
            self.top = 0;
            self.cursor = self.rows.first().cloned();
            return;
        }
        let offset = self.index.saturating_sub(self.top);
        let found = self
            .cursor
            .as_ref()
            .and_then(|cursor| self.rows.iter().position(|row| row == cursor));
        self.index = found
            .or_else(|| self.find_nearest(before))
            .unwrap_or(self.index)
            .min(self.rows.len().saturating_sub(1));
        self.cursor = self.rows.get(self.index).cloned();
        // Rows may have been added above the cursor: its line on the screen stays.
        self.top = self.index.saturating_sub(offset);
    }

    /// Finds the row that was closest to the cursor and is left: its task first, then outwards.
    fn find_nearest(&self, before: &[RowId]) -> Option<usize> {
        let cursor = self.cursor.as_ref()?;
        let at: std::collections::HashMap<&RowId, usize> =
            self.rows.iter().enumerate().map(|(index, row)| (row, index)).collect();
        if let Some(index) = at.get(&RowId::task(&cursor.task)) {
            return Some(*index);
        }
        for distance in 1..=before.len() {
            let below = before.get(self.index + distance);
            let above = self.index.checked_sub(distance).and_then(|index| before.get(index));
            if let Some(index) = [below, above].into_iter().flatten().find_map(|row| at.get(row)) {
                return Some(*index);
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

/// Lists the tasks in this order.
fn list_in_order(store: &TaskStore, order: TaskOrder, now: Timestamp) -> Vec<&Task> {
    if order == TaskOrder::NewestFirst {
        return store.tasks().collect();
    }
    let mut sections = TaskSection::ALL.map(|_| Vec::new());
    for task in store.tasks() {
        sections[TaskSection::of_task(task, now) as usize].push(task);
    }
    sections.into_iter().flatten().collect()
}
