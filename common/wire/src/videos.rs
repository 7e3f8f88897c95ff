//! Bodies of the API of videos: registering them, running their pipelines, telling how far those are.

use serde::{Deserialize, Serialize};

use super::{DeleteReport, Warning, is_false, is_zero};
use onceover_types::{NodeName, RunId, TaskId, Timestamp, VideoId};

/// `POST /api/v1/videos` as JSON: a file below an allowed root, or a URL to fetch it from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoRequest {
    /// Left out: a new UUID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<VideoId>)]
    pub video_id: Option<String>,
    /// A file below `share/workflows` or a media root. Either this or `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// http(s) URL, or one of the object storage; fetched before the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// At most 500 characters; left out: the name of the file.
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

/// What ffprobe says of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoProbe {
    /// Seconds; absent where the file does not say.
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
    /// The newest processing; absent where it was never processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing: Option<Box<Processing>>,
}

/// `GET /api/v1/videos`, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoPage {
    pub items: Vec<Video>,
    /// Give it back as `cursor` for what follows; absent at the end.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// `DELETE /api/v1/videos/{video_id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoDeletion {
    pub video_id: VideoId,
    pub message: String,
    /// Whether the file itself was removed: it is when it was uploaded or fetched, never when it was registered by path.
    pub file_removed: bool,
    /// What became of the task's data, where that was to be deleted too.
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

/// Body of `POST .../reprocess`. Everything left out: every step anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReprocessRequest {
    /// Names of steps, or of their nodes. They and what depends on them run anew; what is before them is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// Left out: the pipeline the video was last processed with, else the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// End what is under way first, instead of 409.
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

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn in_flight(self) -> bool {
        matches!(self, Self::Pending | Self::Processing)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// Waits for other steps, for a slot, or for its next try.
    Pending,
    Processing,
    Completed,
    Failed,
    Cancelled,
    /// An optional step that cannot run on this machine, or whose pipeline ended before it began.
    Skipped,
}

impl StepStatus {
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

    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing)
    }
}

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
    /// 0 to 100, weighted by step; never goes back; 100 only when completed.
    #[schema(maximum = 100)]
    pub progress: u8,
    /// Every planned step, in the order of the pipeline.
    pub tasks: Vec<ProcessingStep>,
    /// When the first step was begun.
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Names the step that failed, and why.
    pub error: Option<String>,
    /// The earlier processing is being ended; nothing starts before its processes are gone.
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
    /// 0 to 100; never goes back.
    #[schema(maximum = 100)]
    pub progress: u8,
    pub weight: u32,
    /// The pipeline goes on without it when it fails or cannot run.
    pub optional: bool,
    /// Steps that end before it begins.
    pub needs: Vec<String>,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub error: Option<String>,
    /// Whether an earlier result was reused; absent until that is decided.
    pub reuse_hit: Option<bool>,
    /// Runs anew, whatever is stored.
    pub fresh: bool,
    /// The run of the stage; absent until it was submitted, and for a reused result.
    pub run_id: Option<RunId>,
    /// Failed tries so far.
    pub failures: u32,
    /// When it is tried again after a failure.
    pub retry_at: Option<Timestamp>,
    /// How many warnings its result carries; absent: none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub warnings: u64,
    /// Whether one of these says that running it again could give a better result; absent: none does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub warnings_retryable: bool,
}

impl Processing {
    /// How many warnings the results of its steps carry.
    pub fn warnings(&self) -> u64 {
        self.tasks.iter().map(|step| step.warnings).sum()
    }

    /// The unfinished steps a step waits for.
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

/// How far a pipeline is, as events carry it. The whole is at `GET .../status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineChange {
    pub video_id: VideoId,
    pub run_id: RunId,
    pub revision: u64,
    pub status: ProcessingStatus,
    #[schema(maximum = 100)]
    pub progress: u8,
    /// The status of a step changed, too: read the whole.
    pub steps_changed: bool,
}

/// `GET /api/v1/pipelines`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineList {
    /// The one that `run_sync` uses when it names none.
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
    /// What the node lacks on this machine, for people; empty: it can run.
    pub missing: Vec<String>,
}
