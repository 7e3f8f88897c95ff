//! What passes between the state machine and the rest of the program: events come in, effects go out. Data alone; what
//! an event does to the model is decided by the modules above. Events can be written to a recording and read again.

use bytes::Bytes;
use onceover_types::{FieldError, NodeName, TaskId, Timestamp, VideoId};
use onceover_wire::{
    CallbackDelivery, CallbackPage, CancelResponse, DeleteReport, Event as Change, LogPage, NodeList, PipelineList,
    Processing, Queues, ReprocessRequest, ReuseExplanation, ReuseMode, SubmitRequest, SubmitResponse, SystemInfo,
    TaskItem, TaskView, Video, VideoDeletion, VideoPage, VideoRequest, VideoStarted, client::LogQuery,
};
use serde::{Deserialize, Serialize};

use crate::{
    key::Key,
    model::{MissingPart, Source, Tone},
};

/// Everything that was read at one time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// It was read first: the items include at least all events up to its `seq`.
    pub system: SystemInfo,
    pub items: Vec<TaskItem>,
    /// Whether there are no other tasks.
    pub complete: bool,
}

/// Everything that can happen to the dashboard.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UiEvent {
    Time(Timestamp),
    Key(Key),
    Paste(String),
    Resize(u16, u16),
    Change(Box<Change>),
    Snapshot(Box<Snapshot>),
    /// The answer to the regular check of the daemon.
    System(Box<SystemInfo>),
    /// Events were lost: everything has to be read again.
    Reset,
    Source(Source),
    /// Whether the daemon has given no sign of life for a while; the connection is not lost yet.
    Slow(bool),
    Lost {
        missing: MissingPart,
        reason: String,
        retry_in_ms: i64,
    },
    Reply {
        id: u64,
        reply: Reply,
    },
    LogChunk {
        id: u64,
        #[serde(with = "text_bytes")]
        bytes: Bytes,
    },
    LogEnd {
        id: u64,
        error: Option<String>,
    },
    /// The driver has something to say.
    Say {
        tone: Tone,
        text: String,
    },
}

/// Why a call had no result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The HTTP status, if the daemon answered.
    pub status: Option<u16>,
    pub text: String,
    /// The fields that were refused.
    pub errors: Vec<FieldError>,
}

pub type CallAnswer<T> = Result<T, Refusal>;

/// The answer to a call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Stage(CallAnswer<Box<TaskView>>),
    Task(CallAnswer<Box<TaskView>>),
    Log(CallAnswer<LogPage>),
    Queues(CallAnswer<Queues>),
    Submitted(CallAnswer<Box<SubmitResponse>>),
    Cancelled(CallAnswer<CancelResponse>),
    Deleted(CallAnswer<DeleteReport>),
    Reuse(CallAnswer<Box<ReuseExplanation>>),
    Callbacks(CallAnswer<CallbackPage>),
    Redelivered(CallAnswer<Box<CallbackDelivery>>),
    Nodes(CallAnswer<NodeList>),
    Videos(CallAnswer<VideoPage>),
    Pipelines(CallAnswer<PipelineList>),
    Processing(CallAnswer<Box<Processing>>),
    /// The answer to a start and to a reprocess.
    Started(CallAnswer<Box<VideoStarted>>),
    Registered(CallAnswer<Box<Video>>),
    VideoDeleted(CallAnswer<Box<VideoDeletion>>),
}

/// Something that the driver has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Quit,
    /// Read the snapshot again.
    Reread,
    Call {
        id: u64,
        call: Call,
    },
    /// Follow this log instead of any other.
    FollowLog {
        id: u64,
        task: TaskId,
        node: NodeName,
    },
    StopLog,
    Copy(String),
    /// Draw every cell again.
    Redraw,
    Suspend,
}

/// A call to the daemon.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Stage {
        task: TaskId,
    },
    Task {
        task: TaskId,
    },
    /// Lines of the stage's log.
    Log {
        task: TaskId,
        node: NodeName,
        query: LogQuery,
    },
    Queues,
    Resubmit {
        task: TaskId,
        node: NodeName,
        reuse: ReuseMode,
    },
    Cancel {
        task: TaskId,
        node: Option<NodeName>,
    },
    Delete {
        task: TaskId,
        force: bool,
    },
    /// What a submit of the stored request would do now; `None`: with the reuse mode of the node.
    Reuse {
        task: TaskId,
        node: NodeName,
        reuse: Option<ReuseMode>,
    },
    /// The newest callbacks, of one task or of all.
    Callbacks {
        task: Option<TaskId>,
    },
    Redeliver {
        id: String,
    },
    Nodes,
    Submit {
        request: Box<SubmitRequest>,
    },
    /// Registered videos, newest first.
    Videos,
    Pipelines,
    /// How far the video's pipeline is.
    Processing {
        video: VideoId,
    },
    /// Start a pipeline of a video; the default one if none is named.
    RunVideo {
        video: VideoId,
        pipeline: Option<String>,
        force: bool,
    },
    Reprocess {
        video: VideoId,
        request: ReprocessRequest,
    },
    RegisterVideo {
        request: Box<VideoRequest>,
    },
    DeleteVideo {
        video: VideoId,
        with_task: bool,
        force: bool,
    },
}

impl Call {
    /// Whether it changes something in the daemon.
    pub fn changes(&self) -> bool {
        match self {
            Self::Resubmit { .. }
            | Self::Cancel { .. }
            | Self::Delete { .. }
            | Self::Redeliver { .. }
            | Self::Submit { .. }
            | Self::RunVideo { .. }
            | Self::Reprocess { .. }
            | Self::RegisterVideo { .. }
            | Self::DeleteVideo { .. } => true,
            Self::Stage { .. }
            | Self::Task { .. }
            | Self::Log { .. }
            | Self::Queues
            | Self::Reuse { .. }
            | Self::Callbacks { .. }
            | Self::Nodes
            | Self::Videos
            | Self::Pipelines
            | Self::Processing { .. } => false,
        }
    }
}

/// Writes bytes as a text where they are one, else as numbers.
mod text_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TextOrNumbers {
        Text(String),
        Numbers(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.serialize(serializer),
            Err(_) => bytes[..].serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        Ok(match TextOrNumbers::deserialize(deserializer)? {
            TextOrNumbers::Text(text) => Bytes::from(text),
            TextOrNumbers::Numbers(numbers) => Bytes::from(numbers),
        })
    }
}
