//! Reads of a task that several clients ask for at the same time. Those that come while the task is read share the next
//! read, and the bodies that are written of it: never of a read that was sent before, so a client sees all that was
//! committed before it asked.

use std::sync::{Arc, Mutex};

use onceover_store::{StoreError, TaskRecords, TurnLimits, Turns};
use onceover_types::{NodeName, TaskId};

use super::ServiceError;
use crate::shared_body::SharedBody;

/// One read of a task at a time. Its size does not depend on who shares it.
const READ_TURNS: TurnLimits = TurnLimits {
    calls: 1,
    questions: 4096,
    bytes: 1,
};

/// What of a task a body says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskBody {
    /// The task with all its stages.
    View,
    /// What the addressed node did.
    Status,
}

/// A body, and what it says of which node.
struct KnownBody {
    kind: TaskBody,
    node: Option<NodeName>,
    body: SharedBody,
}

/// A task as it was read for all who asked for it then.
pub(super) struct SharedRead {
    pub(super) records: TaskRecords,
    bodies: Mutex<Vec<KnownBody>>,
}

impl SharedRead {
    pub(super) fn new(records: TaskRecords) -> Self {
        Self {
            records,
            bodies: Mutex::new(Vec::new()),
        }
    }

    /// Returns the body of this kind, addressed to `node` where one is named; the first that asks writes it.
    pub(super) fn body(
        &self,
        kind: TaskBody,
        node: Option<&NodeName>,
        write: impl FnOnce(&TaskRecords) -> Result<SharedBody, ServiceError>,
    ) -> Result<SharedBody, ServiceError> {
        let mut bodies = self.bodies.lock().expect("no thread panics with the bodies of a read");
        let known = bodies
            .iter()
            .find(|known| known.kind == kind && known.node.as_ref() == node);
        if let Some(known) = known {
            return Ok(known.body.clone());
        }
        let body = write(&self.records)?;
        bodies.push(KnownBody {
            kind,
            node: node.cloned(),
            body: body.clone(),
        });
        Ok(body)
    }
}

type ReadAnswer = Result<Arc<SharedRead>, StoreError>;

/// Reads tasks, each once for all who ask at the same time.
#[derive(Clone)]
pub(super) struct SharedReads(Turns<TaskId, (), ReadAnswer>);

impl SharedReads {
    /// Makes reads that are made by `read`.
    pub(super) fn new<R>(read: impl Fn(TaskId) -> R + Clone + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Result<TaskRecords, StoreError>> + Send + 'static,
    {
        Self(Turns::new(READ_TURNS, move |task, askers: Vec<()>| {
            let records = read(task);
            Box::pin(async move {
                let answer = records.await.map(|records| Arc::new(SharedRead::new(records)));
                vec![answer; askers.len()]
            })
        }))
    }

    /// Reads a task as it is after this was called.
    pub(super) async fn read(&self, task: &TaskId) -> Result<Arc<SharedRead>, ServiceError> {
        let answer = self.0.ask(task.clone(), (), 0).await;
        let answer = answer.ok_or_else(|| ServiceError::Unavailable(format!("the read of '{task}' was cut off")))?;
        Ok(answer?)
    }
}
