//! What passes between the state machine and the rest of the program: events come in, effects go out. Data alone; what
//! an event does to the model is decided by the modules above. Events can be written to a recording and read again.

use std::sync::Arc;

use bytes::Bytes;
use onceover_types::{FieldError, NodeName, TaskId, Timestamp, VideoId};
use onceover_wire::{
    CallbackDelivery, CallbackPage, CancelResponse, DeleteReport, Event as Change, ExplainRequest, LogPage,
    MachineLoad, NodeList, NodeStatistics, PipelineList, Processing, Queues, ReprocessRequest, ReuseExplanation,
    ReuseMode, StageRuns, SubmitRequest, SubmitResponse, SystemHistory, SystemInfo, TaskItem, TaskView, Video,
    VideoDeletion, VideoPage, VideoRequest, VideoStarted, WorkersReport, client::LogQuery,
};
use serde::{Deserialize, Serialize};

use crate::{
    figures,
    key::Key,
    model::{
        MissingPart, Source, Tone,
        json_tree::JsonTree,
        preview::{FileContent, ResultFile, ResultFiles},
        store::RowsEnd,
    },
    pointer::PointerEvent,
};

/// The first part of everything that is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// It was read first: all parts include at least all events up to its `seq`.
    pub system: SystemInfo,
    pub items: Vec<TaskItem>,
    pub end: RowsEnd,
}

/// A later part of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MoreRows {
    pub items: Vec<TaskItem>,
    pub end: RowsEnd,
}

/// Everything that can happen to the dashboard.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UiEvent {
    Time(Timestamp),
    Key(Key),
    Pointer(PointerEvent),
    Paste(String),
    Resize(u16, u16),
    Change(Box<Change>),
    Snapshot(Box<Snapshot>),
    Rows(Box<MoreRows>),
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
    /// A JSON text was read.
    JsonParsed {
        id: u64,
        tree: Box<JsonTree>,
    },
    /// The pager has ended, and why it has failed.
    Paged(Result<(), String>),
    /// The text editor has ended: the text as it was left, or why there is none.
    Edited {
        id: u64,
        result: Result<String, String>,
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
    /// Whether the daemon's token is not one for changes.
    pub lacks_scope: bool,
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
    WholeLog(CallAnswer<String>),
    ResultFiles(CallAnswer<Box<ResultFiles>>),
    Preview(CallAnswer<Box<FileContent>>),
    Queues(CallAnswer<Queues>),
    Statistics(CallAnswer<NodeStatistics>),
    StageRuns(CallAnswer<Box<StageRuns>>),
    Machine(CallAnswer<MachineLoad>),
    Workers(CallAnswer<WorkersReport>),
    History(CallAnswer<SystemHistory>),
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
    /// Follow this log beside others.
    FollowTaskLog {
        id: u64,
        task: TaskId,
        node: NodeName,
    },
    /// Follow no log beside others any more.
    StopTaskLog,
    Copy(String),
    /// Open a text in the user's editor, which has the terminal meanwhile.
    EditText {
        id: u64,
        text: String,
    },
    /// Read a long JSON text beside the loop.
    ParseJson {
        id: u64,
        json: Arc<str>,
    },
    /// Show a text in the user's pager, which has the terminal meanwhile.
    ShowText(PagerText),
    /// Use the mouse, or leave it to the terminal.
    UseMouse(bool),
    /// Announce in the way that is configured.
    Announce(Announcement),
    /// Draw every cell again.
    Redraw,
    Suspend,
}

/// A text for the pager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PagerText {
    Plain(String),
    /// JSON, which gets a line for each value.
    Json(Arc<str>),
}

impl PagerText {
    /// Writes the text out. Takes a while where it is long.
    pub fn into_text(self) -> String {
        let json = match self {
            Self::Plain(text) => return text,
            Self::Json(json) => json,
        };
        figures::format_json(&json).map_or_else(|| json.to_string(), |text| text + "\n")
    }
}

/// What the user is to hear of, though the terminal is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub title: String,
    pub body: String,
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
    /// Every line of the stage's log that is kept.
    WholeLog {
        task: TaskId,
        node: NodeName,
    },
    /// The files that the output of the stage names.
    ResultFiles {
        task: TaskId,
        node: NodeName,
    },
    /// What a file of a result says; a picture is scaled to a room of so many columns and rows.
    Preview {
        file: ResultFile,
        room: (u16, u16),
    },
    Queues,
    /// How long the runs of each node take.
    Statistics,
    /// The runs of a stage, the newest first.
    StageRuns {
        task: TaskId,
        node: NodeName,
    },
    /// How busy the daemon's machine was in the last minutes.
    Machine,
    /// Celery workers, their queues and what they run.
    Workers,
    /// What was counted in each minute of the last hour.
    History,
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
    /// What a submit with another input would do now.
    Forecast {
        task: TaskId,
        node: NodeName,
        request: ExplainRequest,
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
        /// The form that it was typed into: the same request from the same form is one request, however often it is
        /// sent.
        form: u64,
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
            | Self::WholeLog { .. }
            | Self::ResultFiles { .. }
            | Self::Preview { .. }
            | Self::Queues
            | Self::Statistics
            | Self::StageRuns { .. }
            | Self::Machine
            | Self::Workers
            | Self::History
            | Self::Reuse { .. }
            | Self::Forecast { .. }
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
