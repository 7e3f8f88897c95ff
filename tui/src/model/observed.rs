//! What the pages of the machine and of the queues show: samples of the machine, queues, what was counted in each minute,
//! how long nodes take. It is read while one of these pages is open, and not otherwise.

use std::sync::Arc;

use onceover_types::{NodeName, TaskId, Timestamp};
use onceover_wire::{MachineLoad, MachineSample, NodeStatistics, QueueInfo, Queues, SystemHistory};

use super::{list::List, row::RowId};

/// Between two reads of an open page.
pub const READ_EVERY_MS: i64 = 5_000;

/// The newest answer of its kind, and the question that is under way.
#[derive(Debug)]
pub struct LatestAnswer<T> {
    pub value: Option<T>,
    /// Why there is no newer one.
    pub failed: Option<String>,
    request: Option<u64>,
}

impl<T> Default for LatestAnswer<T> {
    fn default() -> Self {
        Self {
            value: None,
            failed: None,
            request: None,
        }
    }
}

impl<T> LatestAnswer<T> {
    /// Waits for the answer to this request; answers to older ones are dropped.
    pub fn ask(&mut self, id: u64) {
        self.request = Some(id);
    }

    /// Whether this request is the newest one.
    pub fn has_asked(&self, id: u64) -> bool {
        self.request == Some(id)
    }

    /// Takes an answer. Returns `false` if it is not waited for.
    pub fn take_answer(&mut self, id: u64, answer: Result<T, String>) -> bool {
        if !self.has_asked(id) {
            return false;
        }
        self.request = None;
        match answer {
            Ok(value) => {
                self.value = Some(value);
                self.failed = None;
            }
            Err(why) => self.failed = Some(why),
        }
        true
    }
}

/// A row of the page of queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueRow {
    /// A resource class.
    Class(String),
    /// A run that waits in the queue of a class.
    Run { class: String, row: RowId },
}

/// What is known of the machine and of the queues.
#[derive(Debug, Default)]
pub struct Observed {
    pub machine: LatestAnswer<MachineLoad>,
    pub queues: LatestAnswer<Queues>,
    pub history: LatestAnswer<SystemHistory>,
    pub statistics: LatestAnswer<NodeStatistics>,
    /// Rows of the page of queues.
    pub rows: List<QueueRow>,
    /// The time whose sample is described; `None`: the newest one.
    pub cursor: Option<Timestamp>,
    /// When the open page is read again.
    pub fetch_at: Option<Timestamp>,
}

impl Observed {
    /// Lists the classes and what waits in each, in order.
    pub fn set_rows(&mut self) {
        let queues = self.queues.value.iter().flat_map(|queues| &queues.queues);
        let rows = queues.flat_map(|queue| {
            let class = queue.name.clone();
            let waiting = queue.next.iter().map(move |run| {
                let (task, node): (Arc<TaskId>, Arc<NodeName>) =
                    (run.task_id.clone().into(), run.task_name.clone().into());
                QueueRow::Run {
                    class: class.clone(),
                    row: RowId::stage(&task, &node),
                }
            });
            std::iter::once(QueueRow::Class(queue.name.clone())).chain(waiting)
        });
        let rows = rows.collect();
        self.rows.set(rows);
    }

    /// Returns the class with this name.
    pub fn class(&self, name: &str) -> Option<&QueueInfo> {
        let queues = self.queues.value.as_ref()?;
        queues.queues.iter().find(|queue| queue.name == name)
    }

    /// Returns the samples, oldest first.
    pub fn samples(&self) -> &[MachineSample] {
        self.machine.value.as_ref().map_or(&[], |load| load.samples.as_slice())
    }

    /// Returns the index of the sample that is described: the one at the cursor's time, or the next one.
    pub fn sample_index(&self) -> Option<usize> {
        let samples = self.samples();
        let last = samples.len().checked_sub(1)?;
        let Some(cursor) = self.cursor else { return Some(last) };
        Some(samples.partition_point(|sample| sample.at < cursor).min(last))
    }

    /// Moves the cursor by so many samples; on the newest one it stays with the newest.
    pub fn move_cursor(&mut self, by: isize) {
        let Some(index) = self.sample_index() else { return };
        let last = self.samples().len() - 1;
        let index = index.saturating_add_signed(by).min(last);
        self.cursor = (index < last).then(|| self.samples()[index].at);
    }
}

#[cfg(test)]
mod tests {
    use onceover_wire::{CapacityUse, ProcessLoad};

    use super::*;

    fn sample(seconds: i64) -> MachineSample {
        MachineSample {
            at: Timestamp::from_millis(seconds * 1000),
            cpu_percent: 1.0,
            memory: CapacityUse::default(),
            disk: None,
            daemon: ProcessLoad::default(),
            gpus: Vec::new(),
            stages: Vec::new(),
            more_stages: 0,
        }
    }

    fn observe(seconds: &[i64]) -> MachineLoad {
        MachineLoad {
            interval_ms: 5_000,
            cpus: 2,
            samples: seconds.iter().copied().map(sample).collect(),
        }
    }

    #[test]
    fn the_cursor_belongs_to_a_time_and_the_newest_sample_is_followed() {
        let mut observed = Observed::default();
        observed.move_cursor(1);
        assert_eq!(observed.sample_index(), None);
        observed.machine.value = Some(observe(&[0, 5, 10]));
        assert_eq!(observed.sample_index(), Some(2));
        observed.move_cursor(-1);
        assert_eq!(observed.sample_index(), Some(1));
        observed.machine.value = Some(observe(&[5, 10, 15]));
        assert_eq!(observed.sample_index(), Some(0), "the same time");
        observed.move_cursor(9);
        assert_eq!((observed.sample_index(), observed.cursor), (Some(2), None));
        observed.move_cursor(-9);
        observed.machine.value = Some(observe(&[20, 25]));
        assert_eq!(observed.sample_index(), Some(0), "its time is too long ago");
    }

    #[test]
    fn an_answer_to_an_older_question_is_dropped() {
        let mut latest = LatestAnswer::default();
        latest.ask(1);
        latest.ask(2);
        assert!(!latest.take_answer(1, Ok("old")));
        assert!(latest.take_answer(2, Ok("new")));
        latest.ask(3);
        assert!(latest.take_answer(3, Err("no answer".into())));
        assert_eq!(
            (latest.value, latest.failed.as_deref()),
            (Some("new"), Some("no answer"))
        );
    }
}
