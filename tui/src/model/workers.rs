//! The page of workers: what is known of Celery workers and of processes that keep their models, and the rows that it is
//! shown in.

use std::sync::Arc;

use onceover_types::{NodeName, TaskId, Timestamp};
use onceover_wire::{StageOnWorker, WarmProcess, WorkerQueue, WorkerSeen, WorkersReport};

use super::{list::List, observed::LatestAnswer, row::RowId};

/// A row of the page of workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerRow {
    /// A Celery queue.
    Queue { broker: String, name: String },
    /// A stage that was sent to a queue, by its message.
    Stage { message: String, row: RowId },
    /// A worker.
    Worker { broker: String, hostname: String },
    /// A process that keeps its model.
    Process { node: NodeName, started_at: Timestamp },
}

/// What is known of workers.
#[derive(Debug, Default)]
pub struct WorkersPage {
    pub report: LatestAnswer<WorkersReport>,
    pub list: List<WorkerRow>,
}

impl WorkersPage {
    /// Lists each queue with the stages that were sent to it, then the workers, then the processes of the daemon.
    pub fn set_rows(&mut self) {
        let mut rows = Vec::new();
        if let Some(report) = &self.report.value {
            for queue in &report.queues {
                rows.push(WorkerRow::Queue {
                    broker: queue.broker.clone(),
                    name: queue.name.clone(),
                });
                rows.extend(queue.stages.iter().map(make_stage_row));
            }
            rows.extend(report.workers.iter().map(|worker| WorkerRow::Worker {
                broker: worker.broker.clone(),
                hostname: worker.hostname.clone(),
            }));
            rows.extend(report.warm.iter().map(|process| WorkerRow::Process {
                node: process.task_name.clone(),
                started_at: process.started_at,
            }));
        }
        self.list.set(rows);
    }

    /// Returns the queue of a row.
    pub fn queue(&self, broker: &str, name: &str) -> Option<&WorkerQueue> {
        let queues = &self.report.value.as_ref()?.queues;
        queues.iter().find(|queue| queue.broker == broker && queue.name == name)
    }

    /// Returns the stage of a row, and the queue that it was sent to.
    pub fn stage(&self, message: &str) -> Option<(&WorkerQueue, &StageOnWorker)> {
        let queues = &self.report.value.as_ref()?.queues;
        queues.iter().find_map(|queue| {
            let stage = queue.stages.iter().find(|stage| stage.message_id == message)?;
            Some((queue, stage))
        })
    }

    /// Returns the worker of a row.
    pub fn worker(&self, broker: &str, hostname: &str) -> Option<&WorkerSeen> {
        let workers = &self.report.value.as_ref()?.workers;
        workers
            .iter()
            .find(|worker| worker.broker == broker && worker.hostname == hostname)
    }

    /// Returns the process of a row.
    pub fn process(&self, node: &NodeName, started_at: Timestamp) -> Option<&WarmProcess> {
        let processes = &self.report.value.as_ref()?.warm;
        processes
            .iter()
            .find(|process| process.task_name == *node && process.started_at == started_at)
    }

    /// Lists the stages that a worker runs.
    pub fn stages_on(&self, worker: &WorkerSeen) -> Vec<&StageOnWorker> {
        let queues = self.report.value.iter().flat_map(|report| &report.queues);
        queues
            .filter(|queue| queue.broker == worker.broker)
            .flat_map(|queue| &queue.stages)
            .filter(|stage| stage.hostname.as_ref() == Some(&worker.hostname))
            .collect()
    }
}

fn make_stage_row(stage: &StageOnWorker) -> WorkerRow {
    let (task, node): (Arc<TaskId>, Arc<NodeName>) = (stage.task_id.clone().into(), stage.task_name.clone().into());
    WorkerRow::Stage {
        message: stage.message_id.clone(),
        row: RowId::stage(&task, &node),
    }
}
