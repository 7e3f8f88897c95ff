//! The page of callbacks: the deliveries of the rows it was opened on, or of all tasks. Read anew when one
//! of them may have changed.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use onceover_types::{CallbackStatus, NodeName, TaskId, Timestamp};
use onceover_wire::CallbackDelivery;

use super::{RowId, list::List};

/// More tasks than this are not asked for one by one: the newest callbacks of all are, and theirs shown.
pub const ASKED_ONE_BY_ONE: usize = 20;

#[derive(Debug, Default)]
pub struct Deliveries {
    /// The rows they belong to.
    pub of: BTreeSet<RowId>,
    /// Those of every task are shown, whatever rows it was opened on.
    pub all: bool,
    /// Newest first.
    pub items: Vec<CallbackDelivery>,
    /// Whether these are all there are.
    pub complete: bool,
    /// By id.
    pub list: List<String>,
    pub marks: BTreeSet<String>,
    /// The one marked last, where a range begins.
    pub mark_anchor: Option<String>,
    /// What is being read, instead of `items` once everything is in.
    reading: Option<Reading>,
    /// The answers were read at least once since the page was opened.
    pub read: bool,
    pub failed: Option<String>,
    /// When to read again.
    pub fetch_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Reading {
    requests: HashSet<u64>,
    items: Vec<CallbackDelivery>,
    complete: bool,
}

impl Deliveries {
    /// Opened on these rows.
    pub fn open(rows: BTreeSet<RowId>) -> Self {
        Self {
            of: rows,
            ..Self::default()
        }
    }

    /// Whether a change of this stage can have changed what is shown.
    pub fn concerns(&self, task: &TaskId, node: Option<&NodeName>) -> bool {
        self.all
            || self.of.iter().any(|row| {
                *row.task == *task
                    && match (&row.node, node) {
                        (Some(mine), Some(node)) => **mine == *node,
                        _ => true,
                    }
            })
    }

    /// Whether everything shown is of one task.
    pub fn one_task(&self) -> bool {
        let tasks: BTreeSet<_> = self.of.iter().map(|row| &row.task).collect();
        !self.all && tasks.len() == 1
    }

    /// What to ask the daemon for: each task, or all (None).
    pub fn questions(&self) -> Vec<Option<Arc<TaskId>>> {
        let tasks: BTreeSet<_> = self.of.iter().map(|row| row.task.clone()).collect();
        if self.all || tasks.len() > ASKED_ONE_BY_ONE {
            return vec![None];
        }
        tasks.into_iter().map(Some).collect()
    }

    /// These requests are on their way; answers to older ones are dropped.
    pub fn asked(&mut self, requests: HashSet<u64>) {
        self.fetch_at = None;
        self.reading = Some(Reading {
            requests,
            items: Vec::new(),
            complete: true,
        });
    }

    /// An answer came in. False when nobody waits for it.
    pub fn answered(&mut self, request: u64, answer: Result<(Vec<CallbackDelivery>, bool), String>) -> bool {
        let Some(reading) = &mut self.reading else {
            return false;
        };
        if !reading.requests.remove(&request) {
            return false;
        }
        match answer {
            Err(why) => {
                self.failed = Some(why);
                self.reading = None;
            }
            Ok((items, complete)) => {
                reading.items.extend(items);
                reading.complete &= complete;
                if reading.requests.is_empty()
                    && let Some(reading) = self.reading.take()
                {
                    self.failed = None;
                    self.read = true;
                    self.complete = reading.complete;
                    self.take(reading.items);
                }
            }
        }
        true
    }

    fn take(&mut self, mut items: Vec<CallbackDelivery>) {
        items.retain(|item| self.concerns(&item.task_id, Some(&item.task_name)));
        items.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| b.id.cmp(&a.id)));
        self.list.set(items.iter().map(|item| item.id.clone()).collect());
        self.items = items;
        let there: HashSet<_> = self.items.iter().map(|item| &item.id).collect();
        self.marks.retain(|id| there.contains(id));
    }

    pub fn get(&self, id: &str) -> Option<&CallbackDelivery> {
        self.items.iter().find(|item| item.id == id)
    }

    pub fn at_cursor(&self) -> Option<&CallbackDelivery> {
        self.items.get(self.list.index())
    }

    /// What an action is about: the marked ones, else the cursor's.
    pub fn subjects(&self) -> Vec<&CallbackDelivery> {
        if self.marks.is_empty() {
            return self.at_cursor().into_iter().collect();
        }
        self.items.iter().filter(|item| self.marks.contains(&item.id)).collect()
    }

    pub fn pending(&self) -> bool {
        self.items.iter().any(|item| item.state == CallbackStatus::Pending)
    }
}
