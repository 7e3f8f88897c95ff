//! The daemon's machine over HTTP: how busy it was in the last minutes, and what was counted in each minute of the last
//! hour.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use onceover_types::{NodeName, TaskId, Timestamp};

/// `GET /v1/system/machine`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MachineLoad {
    /// Milliseconds between two samples.
    pub interval_ms: u64,
    /// Processors that the machine has.
    pub cpus: u32,
    /// Samples of the last ten minutes, oldest first. None is taken while nothing runs and nobody asks.
    pub samples: Vec<MachineSample>,
}

/// How busy the machine was at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MachineSample {
    pub at: Timestamp,
    /// Percent of all processors since the sample before.
    pub cpu_percent: f32,
    /// Memory of the machine, or of the container that the daemon runs in.
    pub memory: CapacityUse,
    /// The disk that the data directory is on; absent where it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<CapacityUse>,
    /// The daemon's own process, without the programs of its runs.
    pub daemon: ProcessLoad,
    /// Empty where NVML finds no GPU.
    pub gpus: Vec<GpuLoad>,
    /// Stages that ran on this daemon, at most 8.
    pub stages: Vec<SampledStage>,
    /// How many more ran.
    pub more_stages: u32,
}

/// How much of something is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CapacityUse {
    pub used_bytes: u64,
    pub total_bytes: u64,
}

impl CapacityUse {
    /// Returns the used share, 0 to 100.
    pub fn percent(self) -> f64 {
        if self.total_bytes == 0 {
            return 0.0;
        }
        (self.used_bytes as f64 / self.total_bytes as f64 * 100.0).min(100.0)
    }
}

/// The load of one process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProcessLoad {
    /// Percent of one processor since the sample before: 200 are two processors.
    pub cpu_percent: f32,
    pub resident_bytes: u64,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GpuLoad {
    pub name: String,
    /// Percent of the time in which it computed.
    pub use_percent: f32,
    pub memory: CapacityUse,
    /// Degrees Celsius; absent where the GPU does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<u32>,
}

/// A stage that ran when a sample was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SampledStage {
    pub task_id: TaskId,
    pub task_name: NodeName,
}

/// `GET /v1/system/history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SystemHistory {
    /// The last 60 minutes, oldest first; the last one is not over yet. The figures are of all daemons of this Redis.
    pub minutes: Vec<HistoryMinute>,
}

/// What was counted in one minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HistoryMinute {
    /// When the minute began.
    pub at: Timestamp,
    /// Runs that ended, those that failed included.
    pub ended: u64,
    pub failed: u64,
    /// Submits that were answered with a finished result.
    pub hits: u64,
    /// Submits that joined a run in flight.
    pub joins: u64,
    /// Submits that made a run.
    pub misses: u64,
    /// Run time that hits did not spend again.
    pub saved_seconds: f64,
    /// Queues in which something waited or ran, by resource class.
    pub queues: IndexMap<String, QueueMinute>,
}

impl HistoryMinute {
    /// Returns a minute in which nothing was counted.
    pub fn empty(at: Timestamp) -> Self {
        Self {
            at,
            ended: 0,
            failed: 0,
            hits: 0,
            joins: 0,
            misses: 0,
            saved_seconds: 0.0,
            queues: IndexMap::new(),
        }
    }
}

/// A queue in one minute: the most that was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueMinute {
    pub pending: u64,
    pub running: u64,
    /// How long the run that was next had waited.
    pub oldest_seconds: f64,
}
