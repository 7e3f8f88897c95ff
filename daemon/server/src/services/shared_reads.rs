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
                match records.await {
                    Ok(records) => Ok(vec![Ok(Arc::new(SharedRead::new(records))); askers.len()]),
                    Err(error) => Err(Err(error)),
                }
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::FutureExt;
    use tokio::sync::{Semaphore, mpsc};

    use super::*;

    /// Readers of one task that ask at the same time.
    const READERS: usize = 64;

    /// A task that a test commits stages to, and whose reads wait until they are let go.
    #[derive(Clone)]
    struct ReadTask {
        committed: Arc<Mutex<Vec<NodeName>>>,
        gate: Arc<Semaphore>,
        /// Hears of each read that is sent.
        sent: mpsc::UnboundedSender<()>,
    }

    impl ReadTask {
        fn new() -> (Self, mpsc::UnboundedReceiver<()>) {
            let (sent, reads) = mpsc::unbounded_channel();
            let task = Self {
                committed: Arc::default(),
                gate: Arc::new(Semaphore::new(0)),
                sent,
            };
            (task, reads)
        }

        fn commit(&self, node: &str) {
            self.committed.lock().unwrap().push(NodeName::parse(node).unwrap());
        }

        /// Reads what is committed as it is sent.
        async fn read(self) -> Result<TaskRecords, StoreError> {
            let mut records = TaskRecords::default();
            records.order.clone_from(&self.committed.lock().unwrap());
            self.sent.send(()).unwrap();
            self.gate.acquire().await.unwrap().forget();
            match records.order.is_empty() {
                true => Err(StoreError::Unavailable("there is nothing".into())),
                false => Ok(records),
            }
        }

        fn reads(&self) -> SharedReads {
            let task = self.clone();
            SharedReads::new(move |_| task.clone().read())
        }
    }

    type Reader<'a> = Pin<Box<dyn Future<Output = Result<Arc<SharedRead>, ServiceError>> + 'a>>;

    /// Begins to read.
    fn ask<'a>(reads: &'a SharedReads, task: &'a TaskId) -> Reader<'a> {
        let mut reader: Reader<'a> = Box::pin(reads.read(task));
        assert!(reader.as_mut().now_or_never().is_none(), "a read takes a while");
        reader
    }

    #[tokio::test]
    async fn a_reader_sees_what_was_committed_before_it_asked_also_while_a_read_is_under_way() {
        let (task, mut sent) = ReadTask::new();
        let (reads, id) = (task.reads(), TaskId::parse("t").unwrap());
        task.commit("a.one");
        let first = ask(&reads, &id);
        sent.recv().await.unwrap();
        task.commit("a.two");
        let later: Vec<_> = (0..READERS).map(|_| ask(&reads, &id)).collect();
        task.gate.add_permits(READERS);
        assert_eq!(first.await.unwrap().records.order.len(), 1);
        let mut shared = Vec::new();
        for reader in later {
            shared.push(reader.await.unwrap());
        }
        assert!(shared.iter().all(|read| read.records.order.len() == 2));
        assert!(
            shared.iter().all(|read| Arc::ptr_eq(read, &shared[0])),
            "one read for all of them"
        );
        sent.recv().await.unwrap();
        assert!(sent.try_recv().is_err(), "no third read was sent");
    }

    #[test]
    fn a_body_is_written_once_for_all_who_address_the_same_node() {
        let node = NodeName::parse("a.one").unwrap();
        let read = SharedRead::new(TaskRecords::default());
        let mut written = 0;
        let mut ask = |kind, node| {
            let body = read.body(kind, node, |_| {
                written += 1;
                Ok(SharedBody::write(&written))
            });
            body.unwrap().bytes()
        };
        for (kind, node, body) in [
            (TaskBody::View, None, "1"),
            (TaskBody::View, Some(&node), "2"),
            (TaskBody::Status, None, "3"),
            (TaskBody::View, None, "1"),
            (TaskBody::View, Some(&node), "2"),
            (TaskBody::Status, None, "3"),
        ] {
            assert_eq!(ask(kind, node), body.as_bytes(), "{kind:?} of {node:?}");
        }
        let refused = read.body(TaskBody::Status, Some(&node), |_| {
            Err(ServiceError::UnknownCallback("no".into()))
        });
        assert!(refused.is_err());
        let again = read.body(TaskBody::Status, Some(&node), |_| Ok(SharedBody::write(&"now")));
        assert_eq!(again.unwrap().bytes(), "\"now\"".as_bytes(), "an error is not kept");
    }

    #[tokio::test]
    async fn an_error_of_a_read_is_that_of_all_who_shared_it() {
        let (task, mut sent) = ReadTask::new();
        let (reads, id) = (task.reads(), TaskId::parse("t").unwrap());
        let mut readers = vec![ask(&reads, &id)];
        sent.recv().await.unwrap();
        readers.extend((0..3).map(|_| ask(&reads, &id)));
        task.gate.add_permits(4);
        for reader in readers {
            let answer = reader.await;
            assert!(matches!(answer, Err(ServiceError::Unavailable(why)) if why == "there is nothing"));
        }
    }
}
