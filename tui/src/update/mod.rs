//! The state machine: `update(&mut Model, Event) -> Vec<Effect>`. No IO, no clock, no terminal; the time
//! comes in as an event and everything to be done goes out as data.

mod callbacks;
mod dialog;
mod feed;
mod filter_line;
mod keys;
mod line;
mod nodes;
mod pipelines;
mod register;
pub(crate) mod replies;
pub(crate) mod rows;
mod time;
pub(crate) mod video_actions;
mod videos;

use bytes::Bytes;
use onceover_types::{FieldError, NodeName, TaskId, Timestamp, VideoId};
use onceover_wire::{
    CallbackDelivery, CallbackPage, CancelResponse, DeleteReport, Event as Change, NodeList, PipelineList, Processing,
    Queues, ReprocessRequest, ReuseExplanation, ReuseMode, SubmitRequest, SubmitResponse, SystemInfo, TaskItem,
    TaskView, Video, VideoDeletion, VideoPage, VideoRequest, VideoStarted,
};

use crate::{
    key::Key,
    model::{MissingPart, Model, Page, Source},
};

/// Everything read at one time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Read first: the items know at least all events up to its `seq`.
    pub system: SystemInfo,
    pub items: Vec<TaskItem>,
    /// Whether these are all the tasks there are.
    pub complete: bool,
}

/// Everything that can happen to the dashboard.
#[derive(Debug)]
pub enum UiEvent {
    Time(Timestamp),
    Key(Key),
    Paste(String),
    Resize(u16, u16),
    Change(Box<Change>),
    Snapshot(Box<Snapshot>),
    /// The regular look at the daemon.
    System(Box<SystemInfo>),
    /// Events were lost on the way: only a snapshot helps.
    Reset,
    Source(Source),
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
        bytes: Bytes,
    },
    LogEnd {
        id: u64,
        error: Option<String>,
    },
}

/// Why a call had no result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status, when the daemon answered.
    pub status: Option<u16>,
    pub text: String,
    /// The fields that were refused.
    pub errors: Vec<FieldError>,
}

pub type CallAnswer<T> = Result<T, Refusal>;

#[derive(Debug)]
pub enum Reply {
    Stage(CallAnswer<Box<TaskView>>),
    Task(CallAnswer<Box<TaskView>>),
    Log(CallAnswer<Bytes>),
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
    /// To a start and to a reprocess.
    Started(CallAnswer<Box<VideoStarted>>),
    Registered(CallAnswer<Box<Video>>),
    VideoDeleted(CallAnswer<Box<VideoDeletion>>),
}

/// Something the driver has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Quit,
    /// Read the snapshot again.
    Reread,
    Call {
        id: u64,
        call: Call,
    },
    /// Follow this log, instead of any other.
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

#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Stage {
        task: TaskId,
    },
    Task {
        task: TaskId,
    },
    Log {
        task: TaskId,
        node: NodeName,
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
    /// What a submit of the stored request would do now.
    Reuse {
        task: TaskId,
        node: NodeName,
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
    /// Start a pipeline of a video; the default one where none is named.
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

/// Takes one event in; what it asks for comes back as effects.
pub fn update(model: &mut Model, event: UiEvent) -> Vec<Effect> {
    let mut effects = Vec::new();
    match event {
        UiEvent::Time(now) => time::advance(model, now, &mut effects),
        UiEvent::Key(key) => {
            model.settle();
            keys::press(model, key, &mut effects);
            model.redraw = true;
        }
        UiEvent::Paste(text) => {
            if model.dialog.is_none() {
                if model.filter_input.is_some() {
                    filter_line::paste(model, &text);
                } else if model.page == Page::Register {
                    register::paste(model, &text);
                } else {
                    nodes::paste(model, &text);
                }
            }
            model.redraw = true;
        }
        UiEvent::Resize(columns, rows) => {
            model.size = (columns, rows);
            model.redraw = true;
        }
        UiEvent::Change(change) => feed::change(model, *change, &mut effects),
        UiEvent::Snapshot(snapshot) => feed::snapshot(model, *snapshot, &mut effects),
        UiEvent::System(system) => feed::system(model, *system, &mut effects),
        UiEvent::Reset => feed::reread(model, &mut effects),
        UiEvent::Source(source) => {
            model.redraw |= model.source != source;
            model.source = source;
        }
        UiEvent::Lost {
            missing,
            reason,
            retry_in_ms,
        } => {
            feed::lost(model, missing, reason, retry_in_ms, &mut effects);
        }
        UiEvent::Reply { id, reply } => {
            replies::reply(model, id, reply, &mut effects);
            model.redraw = true;
        }
        UiEvent::LogChunk { id, bytes } => replies::log_chunk(model, id, &bytes),
        UiEvent::LogEnd { id, error } => replies::log_end(model, id, error),
    }
    effects
}
