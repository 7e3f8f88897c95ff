//! The page of callbacks: the deliveries of the rows it was opened on, or of all tasks. They are read again when one of
//! them may have changed.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use onceover_types::{CallbackStatus, NodeName, TaskId, Timestamp};
use onceover_wire::CallbackDelivery;

use super::{list::List, row::RowId};

/// The callbacks of more tasks than this are not read one task at a time, but with the newest ones of all tasks.
pub const ASKED_ONE_BY_ONE: usize = 20;

/// What the page knows.
#[derive(Debug, Default)]
pub struct Deliveries {
    /// The rows they belong to.
    pub rows: BTreeSet<RowId>,
    /// Whether those of every task are shown instead.
    pub shows_all: bool,
    /// Newest first.
    pub items: Vec<CallbackDelivery>,
    /// Whether there are no others.
    pub complete: bool,
    /// By id.
    pub list: List<String>,
    pub marks: BTreeSet<String>,
    /// The one marked last, where a range begins.
    pub mark_anchor: Option<String>,
    /// What is being read; it replaces `items` when everything is in.
    reading: Option<Reading>,
    /// Whether everything was read at least once since the page was opened.
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
    /// A page that is opened on these rows.
    pub fn open(rows: BTreeSet<RowId>) -> Self {
        Self {
            rows,
            ..Self::default()
        }
    }

    /// Whether a change of this stage can have changed what is shown.
    pub fn concerns(&self, task: &TaskId, node: Option<&NodeName>) -> bool {
        self.shows_all
            || self.rows.iter().any(|row| {
                *row.task == *task
                    && match (&row.node, node) {
                        (Some(mine), Some(node)) => **mine == *node,
                        _ => true,
                    }
            })
    }

    /// Whether everything shown is of one task.
    pub fn has_one_task(&self) -> bool {
        let tasks: BTreeSet<_> = self.rows.iter().map(|row| &row.task).collect();
        !self.shows_all && tasks.len() == 1
    }

    /// Lists what to ask the daemon for: each task, or all (`None`).
    pub fn list_questions(&self) -> Vec<Option<Arc<TaskId>>> {
        let tasks: BTreeSet<_> = self.rows.iter().map(|row| row.task.clone()).collect();
        if self.shows_all || tasks.len() > ASKED_ONE_BY_ONE {
            return vec![None];
        }
        tasks.into_iter().map(Some).collect()
    }

    /// Waits for the answers to these requests; answers to older ones are dropped.
    pub fn await_answers(&mut self, requests: HashSet<u64>) {
        self.fetch_at = None;
        self.reading = Some(Reading {
            requests,
            items: Vec::new(),
            complete: true,
        });
    }

    /// Takes an answer. Returns `false` if it is not waited for.
    pub fn take_answer(&mut self, request: u64, answer: Result<(Vec<CallbackDelivery>, bool), String>) -> bool {
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
                    self.replace_items(reading.items);
                }
            }
        }
        true
    }

    /// Shows these callbacks from now on.
    fn replace_items(&mut self, mut items: Vec<CallbackDelivery>) {
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

    /// Returns what an action is about: the marked ones, else the cursor's.
    pub fn subjects(&self) -> Vec<&CallbackDelivery> {
        if self.marks.is_empty() {
            return self.at_cursor().into_iter().collect();
        }
        self.items.iter().filter(|item| self.marks.contains(&item.id)).collect()
    }

    /// Whether a callback is still to be sent.
    pub fn has_pending(&self) -> bool {
        self.items.iter().any(|item| item.state == CallbackStatus::Pending)
    }
}
