//! Tasks as a whole: listed, cancelled, deleted.

use onceover_types::{NodeName, TaskId, TaskStatus};
use redis::Value;

use super::{
    Store, StoreError,
    args::{CatalogNames, OneOrZero, script_call},
    reply::{TaggedReply, convert_value, parse_cursor, parse_text, reply_struct, unexpected},
};

/// How many tasks one page may read: a filter that matches nothing must not walk the whole index.
const LIST_SCAN: u32 = 2000;

script_call! {
    ListCall<'a>: LIST {
        limit: u32,
        /// How many tasks may be read.
        scan: u32,
        status: Option<TaskStatus>,
        node: Option<&'a NodeName>,
        /// In lower case.
        search: Option<String>,
        before_score: Option<i64>,
        before_id: Option<&'a TaskId>,
    }
}

script_call! {
    CancelCall<'a>: CANCEL {
        task: &'a TaskId,
        name: Option<&'a NodeName>,
        keep_runs: u64,
    }
}

script_call! {
    DeleteCall<'a>: DELETE {
        task: &'a TaskId,
        force: OneOrZero,
        names: &'a CatalogNames,
    }
}

reply_struct! {
    CancelReply {
        is_known: bool,
        cancelled: Vec<String>,
    }
}

/// What a delete removed from Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    pub records: u64,
    pub projections: u64,
    pub queued: u64,
    pub deliveries: u64,
    pub known: bool,
}

/// How a request to delete a task was answered.
pub enum Deletion {
    Removed(Removed),
    /// Refused: these stages are in flight.
    InFlight(Vec<String>),
}

/// What one step of a deletion came to.
enum DeletionStep {
    /// So many deliveries are deleted, and nothing else yet.
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
    /// Reads one page of tasks, newest first, from `after` on. It is not empty while there are more.
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

    /// Reads as much of a page as one call may.
    async fn list_some(
        &self,
        filter: &TaskFilter,
        limit: u32,
        after: Option<&(i64, TaskId)>,
    ) -> Result<TaskListPage, StoreError> {
        let call = ListCall {
            limit,
            scan: LIST_SCAN,
            status: filter.status,
            node: filter.node.as_ref(),
            search: filter.search.as_ref().map(|text| text.to_lowercase()),
            before_score: after.map(|(score, _)| *score),
            before_id: after.map(|(_, task)| task),
        };
        parse_task_page(self.call(call.prepare(self)).await?)
    }

    /// Cancels what is in flight, and returns these stages; None for an unknown task.
    pub async fn cancel(&self, task: &TaskId, node: Option<&NodeName>) -> Result<Option<Vec<NodeName>>, StoreError> {
        let call = CancelCall {
            task,
            name: node,
            keep_runs: self.options.keep_runs,
        };
        let reply: CancelReply = self.call(call.prepare(self)).await?;
        let names = reply.cancelled.iter().map(|name| parse_text(name));
        let cancelled = names.collect::<Result<_, _>>()?;
        Ok(reply.is_known.then_some(cancelled))
    }

    /// Deletes every key of the task and nothing else (S4).
    pub async fn delete(&self, task: &TaskId, force: bool) -> Result<Deletion, StoreError> {
        let mut before = 0;
        loop {
            let call = DeleteCall {
                task,
                force: OneOrZero(force),
                names: &self.names,
            };
            let reply: Vec<Value> = self.call(call.prepare(self)).await?;
            match parse_deletion(TaggedReply::new("delete", reply)?)? {
                DeletionStep::More(deliveries) => before += deliveries,
                DeletionStep::Ended(Deletion::Removed(removed)) => {
                    self.tasks.forget(task);
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

fn parse_deletion(mut reply: TaggedReply) -> Result<DeletionStep, StoreError> {
    match reply.kind.as_str() {
        "in_flight" => Ok(DeletionStep::Ended(Deletion::InFlight(reply.rest()?))),
        "more" => Ok(DeletionStep::More(reply.next_value()?)),
        "deleted" => Ok(DeletionStep::Ended(Deletion::Removed(Removed {
            records: reply.next_value()?,
            projections: reply.next_value()?,
            queued: reply.next_value()?,
            deliveries: reply.next_value()?,
            known: reply.next_value()?,
        }))),
        _ => Err(reply.unknown_kind()),
    }
}

/// Reads a page: where the next one begins, the last sequence number, and the items.
fn parse_task_page(reply: Vec<Value>) -> Result<TaskListPage, StoreError> {
    let mut values = reply.into_iter();
    let (Some(cursor), Some(sequence)) = (values.next(), values.next()) else {
        return Err(unexpected("the list script answered no page"));
    };
    let cursor: String = convert_value(cursor)?;
    Ok(TaskListPage {
        next: parse_cursor(&cursor)?,
        seq: convert_value(sequence)?,
        items: values.map(convert_value).collect::<Result<_, _>>()?,
    })
}
