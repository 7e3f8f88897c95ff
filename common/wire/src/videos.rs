//! Bodies of the API of videos: registering them, running their pipelines, and their progress.

use serde::{Deserialize, Serialize};

use super::{DeleteReport, Warning, is_false, is_zero};
use onceover_types::{NodeName, RunId, TaskId, Timestamp, VideoId};

/// `POST /api/v1/videos` as JSON: a file below an allowed root, or a URL to fetch it from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoRequest {
    /// A new UUID if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VideoId>)]
    pub video_id: Option<String>,
    /// A file below `share/workflows` or a media root. Either this or `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The http(s) URL, or a URL of the object store; the video is fetched before the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// At most 500 characters; the name of the file if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub title: Option<String>,
}

/// Where a video came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VideoSource {
    Path,
    Url,
    Upload,
}

/// What ffprobe reports about the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoProbe {
    /// Seconds; absent if the file does not say.
    pub duration: Option<f64>,
    /// Bytes.
    pub size: u64,
    /// Container, as ffprobe names it.
    pub format: String,
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// Frames a second.
    pub frame_rate: Option<f64>,
    pub video_codec: Option<String>,
    /// One for each audio stream.
    pub audio_codecs: Vec<String>,
}

/// A registered video. Kept until it is deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Video {
    pub video_id: VideoId,
    /// The task it is processed under: `video-<video_id>`.
    pub task_id: TaskId,
    pub title: String,
    pub source: VideoSource,
    /// The file on the daemon's machine.
    pub path: String,
    /// Where it was fetched from, without the query.
    #[serde(default)]
    pub url: Option<String>,
    pub probe: VideoProbe,
    pub created_at: Timestamp,
    /// The newest processing; absent if it was never processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing: Option<Box<Processing>>,
}

/// `GET /api/v1/videos`, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoPage {
    pub items: Vec<Video>,
    /// Send it as `cursor` for the next page; absent at the end.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// `DELETE /api/v1/videos/{video_id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoDeletion {
    pub video_id: VideoId,
    pub message: String,
    /// Whether the file itself was removed. It is removed if it was uploaded or fetched, never if it was registered by
    /// path.
    pub file_removed: bool,
    /// The outcome for the task's data, if that was to be deleted too.
    pub task: Option<DeleteReport>,
}

/// Answer of `POST /api/v1/videos`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoRegistered {
    #[serde(flatten)]
    pub video: Video,
    /// Fields of the request that nothing reads; absent when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// Body of `POST .../reprocess`. If everything is omitted, every step runs again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReprocessRequest {
    /// Names of steps, or of their nodes. They and what depends on them run again; the steps before them are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// If omitted, the pipeline that the video was last processed with, else the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// Ends the processing under way first, instead of answering 409.
    #[serde(default)]
    pub force: bool,
}

/// Answer of `POST .../run_sync` and `POST .../reprocess` (V1, V2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoStarted {
    pub message: String,
    pub video_id: VideoId,
    pub task_id: TaskId,
    /// `pending`.
    pub status: ProcessingStatus,
    pub pipeline: String,
    /// This processing; a later one has another.
    pub run_id: RunId,
}

/// Status of a processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProcessingStatus {
    /// Accepted; no step has begun.
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
}

impl ProcessingStatus {
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Processing,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it has not ended.
    pub fn in_flight(self) -> bool {
        matches!(self, Self::Pending | Self::Processing)
    }
}

/// Status of a step of a processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// It waits for other steps, for a slot, or for its next try.
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
    /// It is optional and cannot run on this machine, or its pipeline ended before it began.
    Skipped,
}

impl StepStatus {
    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// Whether the step has ended.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing)
    }
}

/// Which request started a processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProcessingKind {
    /// `run_sync`.
    First,
    Reprocess,
}

/// `GET .../reprocess`, `GET .../status`, and each message of `GET .../events` (V2, V3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Processing {
    pub video_id: VideoId,
    pub task_id: TaskId,
    pub pipeline: String,
    pub kind: ProcessingKind,
    pub run_id: RunId,
    /// Grows with every change of this processing.
    pub revision: u64,
    pub status: ProcessingStatus,
    /// 0 to 100, weighted by step; never decreases; 100 only when completed.
    #[schema(maximum = 100)]
    pub progress: u8,
    /// Every planned step, in the order of the pipeline.
    pub tasks: Vec<ProcessingStep>,
    /// When the first step began.
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// The step that failed, and why.
    pub error: Option<String>,
    /// The earlier processing is being ended; nothing starts before its processes have ended.
    #[serde(default)]
    pub clearing: bool,
}

/// One step of a processing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProcessingStep {
    pub name: String,
    /// The node it runs; also the stage of the task that holds its result.
    pub task_name: NodeName,
    pub status: StepStatus,
    /// 0 to 100; never decreases.
    #[schema(maximum = 100)]
    pub progress: u8,
    pub weight: u32,
    /// Whether the pipeline continues without it if it fails or cannot run.
    pub optional: bool,
    /// Steps that end before it begins.
    pub needs: Vec<String>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub error: Option<String>,
    /// Whether an earlier result was reused; null until that is decided.
    pub reuse_hit: Option<bool>,
    /// Whether it runs again, whatever is stored.
    pub fresh: bool,
    /// The run of the stage; null until it was submitted, and for a reused result.
    pub run_id: Option<RunId>,
    /// Failed tries so far.
    pub failures: u32,
    /// When it is tried again after a failure.
    pub retry_at: Option<Timestamp>,
    /// How many warnings its result has; absent if none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warnings: u64,
    /// Whether one of these says that running it again could give a better result; absent if none does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warnings_retryable: bool,
}

impl Processing {
    /// Returns how many warnings the results of its steps have.
    pub fn warnings(&self) -> u64 {
        self.tasks.iter().map(|step| step.warnings).sum()
    }

    /// Returns the unfinished steps that a step waits for.
    pub fn blocked_by<'a>(&self, step: &'a ProcessingStep) -> Vec<&'a str> {
        step.needs
            .iter()
            .filter(|name| {
                self.tasks
                    .iter()
                    .any(|other| other.name == **name && !other.status.has_ended())
            })
            .map(String::as_str)
            .collect()
    }
}

/// The progress of a pipeline, as events report it. `GET .../status` has all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineChange {
    pub video_id: VideoId,
    pub run_id: RunId,
    pub revision: u64,
    pub status: ProcessingStatus,
    #[schema(maximum = 100)]
    pub progress: u8,
    /// Whether the status of a step changed, too, so that `GET .../status` should be read.
    pub steps_changed: bool,
}

/// `GET /api/v1/pipelines`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineList {
    /// The pipeline that `run_sync` uses if it names none.
    pub default: String,
    pub pipelines: Vec<PipelineInfo>,
}

/// One pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineInfo {
    pub name: String,
    pub title: String,
    pub purpose: String,
    pub steps: Vec<PipelineStepInfo>,
}

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineStepInfo {
    pub name: String,
    pub task_name: NodeName,
    pub weight: u32,
    pub optional: bool,
    pub needs: Vec<String>,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// What the node is missing on this machine, for people; empty if it can run.
    pub missing: Vec<String>,
}
