//! Workers over HTTP: the brokers of Celery that the daemon sends runs to, their queues, who listens, and which stage runs
//! where; and the processes that the daemon keeps with their models.

use serde::{Deserialize, Serialize};

use onceover_types::{NodeName, RunId, TaskId, Timestamp};

/// `GET /v1/workers`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkersReport {
    /// Brokers of the configuration. Empty where no service is run by Celery workers.
    pub brokers: Vec<BrokerSeen>,
    /// Celery queues that stages are sent to, by broker and name.
    pub queues: Vec<WorkerQueue>,
    /// Workers that were seen in the last ten minutes, by broker and host name.
    pub workers: Vec<WorkerSeen>,
    /// Processes that this daemon keeps with their models, oldest first.
    #[serde(default)]
    pub warm: Vec<WarmProcess>,
}

/// A process that takes runs of one node one after another and keeps its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WarmProcess {
    pub task_name: NodeName,
    /// The device that its requests name; null where they name none.
    pub device: Option<String>,
    pub state: WarmState,
    /// Its process id; 0 before it is started.
    pub pid: u32,
    /// Runs that it has ended.
    pub runs: u64,
    /// Bytes of memory that it had after its newest run; null where it does not say.
    pub memory: Option<u64>,
    /// Bytes of the GPU's memory that it held then; null where it does not say.
    pub gpu_memory: Option<u64>,
    pub started_at: Timestamp,
    /// Since when it is in this state.
    pub since: Timestamp,
}

/// How a process is that keeps its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WarmState {
    /// It does not take runs yet.
    Starting,
    /// It does a run.
    Busy,
    /// It waits for a run.
    Idle,
    /// It takes no more runs, and has not ended yet.
    Ending,
}

impl WarmState {
    pub const ALL: [Self; 4] = [Self::Starting, Self::Busy, Self::Idle, Self::Ending];

    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Ending => "ending",
        }
    }
}

/// A broker of Celery workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BrokerSeen {
    /// URL without user or password.
    pub broker: String,
    /// Whether the last question to its workers could be asked.
    pub up: bool,
    /// Why it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When its workers were asked last; null before the first time.
    pub asked_at: Option<Timestamp>,
    /// Workers that are connected to it and did not answer: a pool `solo` is silent while it runs a task.
    pub mute: u32,
}

/// A Celery queue, and what of it is this daemon's business.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerQueue {
    /// The name that workers listen by.
    pub name: String,
    pub broker: String,
    /// The daemon's queue, in which stages wait until a worker is free.
    pub queue: String,
    /// Messages that no worker has taken, those of other senders included; null while the broker does not answer.
    pub depth: Option<u64>,
    /// Stages that wait here for a worker.
    pub waiting: u64,
    /// Stages that were sent to a worker and have not ended, of all daemons of this Redis.
    pub in_flight: u64,
    /// Stages that may be in flight at a time: what the workers that listen can run, and one more. 0 while none listens.
    pub slots: u32,
    /// Host names of the workers that listen.
    pub listeners: Vec<String>,
    /// Why nothing is sent; absent while a worker listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Stages that were sent and have not ended, of all daemons of this Redis; at most 1,000 are named.
    pub stages: Vec<StageOnWorker>,
}

/// A stage that was sent to the workers of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StageOnWorker {
    pub task_id: TaskId,
    pub task_name: NodeName,
    pub run_id: RunId,
    pub attempt: u32,
    /// Id of the Celery message.
    pub message_id: String,
    /// Host name of the worker that runs it; null until one has begun, and for some seconds more where another daemon
    /// has sent it.
    pub hostname: Option<String>,
    pub sent_at: Timestamp,
}

/// How a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// It answers.
    Online,
    /// It does not answer and has not said that it stops: a pool `solo` is silent while it runs a task.
    Mute,
    /// It does not answer and sends no heartbeat any more.
    Lost,
    /// It has said that it stops.
    Offline,
}

impl WorkerState {
    pub const ALL: [Self; 4] = [Self::Online, Self::Mute, Self::Lost, Self::Offline];

    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Mute => "mute",
            Self::Lost => "lost",
            Self::Offline => "offline",
        }
    }

    /// Whether it takes messages of its queues, sooner or later.
    pub fn is_listening(self) -> bool {
        matches!(self, Self::Online | Self::Mute)
    }
}

/// A Celery worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WorkerSeen {
    /// Its name, such as `celery@gpu-1`.
    pub hostname: String,
    pub broker: String,
    pub state: WorkerState,
    /// Celery queues that it listens to.
    pub queues: Vec<String>,
    /// Kind of its pool: `prefork`, `solo`, `threads`; null where it does not say.
    pub pool: Option<String>,
    /// Tasks that it runs at a time.
    pub concurrency: u32,
    /// Tasks that it runs now, of all senders; null before its first heartbeat.
    pub active: Option<u64>,
    /// Tasks that it has run since its start.
    pub processed: Option<u64>,
    /// Version of Celery.
    pub version: Option<String>,
    /// When its last heartbeat or answer came.
    pub heard_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_state_is_that_of_the_json() {
        for state in WorkerState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for state in WarmState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
