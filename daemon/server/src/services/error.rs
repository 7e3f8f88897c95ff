//! Why a service does not do what it is asked for. Who asked decides what follows from it.

use onceover_store::StoreError;
use onceover_types::{FieldError, Missing, NodeName, Problem, TaskId};

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error("there is no task '{0}'; it was never submitted, was deleted, or has expired")]
    UnknownTask(TaskId),
    #[error("task '{task}' has no stage '{node}'")]
    UnknownStage { task: TaskId, node: NodeName },
    #[error("there is no callback '{0}'; it has expired, its task was deleted, or it never was")]
    UnknownCallback(String),
    #[error(
        "{node} has already succeeded under task '{task}' with other input, and this node refuses to answer with that or to replace it; use another task_id, or ask with \"reuse\": \"never\" to replace it"
    )]
    OtherInput { task: TaskId, node: NodeName },
    #[error("{node} cannot run on this machine, which lacks {}", in_words(.missing))]
    NotReady { node: NodeName, missing: Vec<Missing> },
    #[error(
        "this Idempotency-Key was sent with another request within the last day; send a request with the key that it was first sent with, and each other one with a new key"
    )]
    KeyReused,
    #[error("another processing of the video has taken its place")]
    Superseded,
    #[error("the pipeline has asked for this run before")]
    AlreadyAsked,
    #[error(
        "as many callbacks wait for {node} under task '{task}' as may: {most} (callbacks.max_per_run); ask again without one, or once the run has ended"
    )]
    TooManyCallbacks { task: TaskId, node: NodeName, most: u64 },
    #[error(
        "the record of {node} under task '{task}' is damaged ({what}), so nothing can be decided by it; `onceoverd check --repair` mends it or sets it aside, or delete the task"
    )]
    Damaged { task: TaskId, node: NodeName, what: String },
    #[error("{}", fields(std::slice::from_ref(.0)))]
    TooLarge(FieldError),
    #[error("{0}")]
    Full(String),
    #[error("{0}")]
    Refused(String),
    #[error("the daemon is stopping and takes no new work; send it again to another daemon, or later")]
    Draining,
    #[error("{}", fields(.0))]
    Invalid(Vec<FieldError>),
    /// Redis could not be asked or did not answer. Whether the call took effect is not known; it can be repeated.
    #[error("Redis is not available: {0}")]
    Unavailable(String),
    /// Redis holds something unexpected, or cannot be used.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => Self::Unavailable(why),
            StoreError::Url(_) | StoreError::Unusable(_) | StoreError::Unexpected(_) => Self::Store(error),
        }
    }
}

fn fields(errors: &[FieldError]) -> String {
    Problem::invalid_fields(errors.to_vec()).to_string()
}

fn in_words(missing: &[Missing]) -> String {
    let each: Vec<_> = missing.iter().map(Missing::to_string).collect();
    each.join("; ")
}
