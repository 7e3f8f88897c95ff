//! Tasks as a whole: read, listed, cancelled, deleted.

use onceover_types::{NodeName, TaskId, TaskStatus};

use super::{Store, StoreError, TaskRecords, record, scripts};

/// How many tasks one page may look at: a filter that matches nothing must not walk the whole index.
const LIST_SCAN: u32 = 2000;

/// What a delete removed from Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    pub records: u64,
    pub projections: u64,
    pub queued: u64,
    pub deliveries: u64,
    pub known: bool,
}

pub enum Deletion {
    Removed(Removed),
    /// Refused: these stages are in flight.
    InFlight(Vec<String>),
}

/// What one step of a deletion came to.
pub(super) enum DeletionStep {
    /// So many deliveries are gone, and nothing else yet.
    More(u64),
    Ended(Deletion),
}

/// Filters of a task list.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    pub status: Option<TaskStatus>,
    pub node: Option<NodeName>,
    pub search: Option<String>,
}

/// A page of a task list; the items are JSON already.
pub struct TaskListPage {
    pub items: Vec<String>,
    pub next: Option<(i64, TaskId)>,
    pub seq: u64,
}

impl Store {
    /// One task: its own stages and what foreign workers wrote (S2), with the last sequence number.
    pub async fn read(&self, task: &TaskId) -> Result<(TaskRecords, u64), StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with("names", self.names.as_str());
        let (records, seq): (redis::Value, u64) = self.run(&scripts::READ, args).await?;
        Ok((record::task_records(records)?, seq))
    }

    /// One page of tasks, newest first, from `after` on. It is not empty while there is more.
    pub async fn list(
        &self,
        filter: &TaskFilter,
        limit: u32,
        after: Option<&(i64, TaskId)>,
    ) -> Result<TaskListPage, StoreError> {
        let mut page = self.list_some(filter, limit, after).await?;
        while page.items.is_empty()
            && let Some(next) = page.next.take()
        {
            page = self.list_some(filter, limit, Some(&next)).await?;
        }
        Ok(page)
    }

    /// As far as one call looks.
    async fn list_some(
        &self,
        filter: &TaskFilter,
        limit: u32,
        after: Option<&(i64, TaskId)>,
    ) -> Result<TaskListPage, StoreError> {
        let args = self
            .args()
            .with("limit", limit.to_string())
            .with("scan", LIST_SCAN.to_string())
            .with_some("status", filter.status.map(TaskStatus::as_str))
            .with_some("node", filter.node.as_ref().map(NodeName::as_str))
            .with_some("search", filter.search.as_ref().map(|text| text.to_lowercase()))
            .with_some("before_score", after.map(|(score, _)| score.to_string()))
            .with_some("before_id", after.map(|(_, task)| task.as_str()));
        let answer: Vec<redis::Value> = self.run(&scripts::LIST, args).await?;
        record::page(answer)
    }

    /// Cancels what is in flight; None for an unknown task.
    pub async fn cancel(&self, task: &TaskId, node: Option<&NodeName>) -> Result<Option<Vec<NodeName>>, StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with_some("name", node.map(NodeName::as_str));
        let (known, cancelled): (bool, Vec<String>) = self.run(&scripts::CANCEL, args).await?;
        let cancelled = cancelled
            .iter()
            .map(|name| record::parse(name))
            .collect::<Result<_, _>>()?;
        Ok(known.then_some(cancelled))
    }

    /// Removes every key of the task and nothing else (S4).
    pub async fn delete(&self, task: &TaskId, force: bool) -> Result<Deletion, StoreError> {
        let mut before = 0;
        loop {
            let args = self
                .args()
                .with("task", task.as_str())
                .with("force", if force { "1" } else { "0" })
                .with("names", self.names.as_str());
            let answer: Vec<redis::Value> = self.run(&scripts::DELETE, args).await?;
            match record::deletion(answer)? {
                DeletionStep::More(deliveries) => before += deliveries,
                DeletionStep::Ended(Deletion::Removed(removed)) => {
                    return Ok(Deletion::Removed(Removed {
                        deliveries: removed.deliveries + before,
                        ..removed
                    }));
                }
                DeletionStep::Ended(refused) => return Ok(refused),
            }
        }
    }
}
