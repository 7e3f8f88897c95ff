//! Who has to know of a change inside this daemon: the executor, the outbox, the pipelines. Fed by the events of Redis,
//! so it also hears what other daemons did; local changes wake directly as well. Joins, and hits without a callback,
//! are not among these events: nobody acts upon them, and open event streams, which show them, listen for themselves.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use onceover_types::{CallbackStatus, RunnerKind, TaskId, VideoId};
use onceover_wire::{Event, EventKind};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::Instant,
};

use onceover_store::{Notice, Store};

/// What has changed.
#[derive(Debug, Clone)]
pub enum Change {
    Event {
        seq: u64,
        json: Arc<str>,
    },
    /// Events before this one are missing and cannot be had: read again.
    Reset {
        seq: u64,
    },
}

/// Which videos' pipelines are to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recheck {
    One(VideoId),
    /// Something may have been missed.
    All,
}

/// Where a run waits or a slot is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedQueues {
    All,
    /// By name, with the number of the newest event that says so; where something else does, with one after all events.
    These(HashMap<String, u64>),
}

/// A number after those of all events.
const NO_EVENT: u64 = u64::MAX;

impl Default for WantedQueues {
    fn default() -> Self {
        Self::These(HashMap::new())
    }
}

impl WantedQueues {
    /// Whether the queue may have changed since it was found empty, when `seen` was the number of the last event.
    pub fn is_news(&self, queue: &str, seen: u64) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.get(queue).is_some_and(|event| *event > seen),
        }
    }

    /// Whether this queue was named, because a run waits in it.
    pub fn names(&self, queue: &str) -> bool {
        matches!(self, Self::These(names) if names.contains_key(queue))
    }

    fn add(&mut self, queue: Option<&str>, event: u64) {
        match (&mut *self, queue) {
            (Self::All, _) => {}
            (Self::These(_), None) => *self = Self::All,
            (Self::These(names), Some(queue)) => {
                if let Some(newest) = names.get_mut(queue) {
                    *newest = event.max(*newest);
                } else {
                    names.insert(queue.to_owned(), event);
                }
            }
        }
    }
}

#[derive(Clone)]
pub struct EventBus(Arc<Inner>);

struct Inner {
    changes: broadcast::Sender<Change>,
    rechecks: broadcast::Sender<TaskId>,
    videos: broadcast::Sender<Recheck>,
    /// Where to look for runs, and that there is somewhere to look.
    wanted: Mutex<WantedQueues>,
    runs: Notify,
    outbox: Notify,
    ends: Notify,
    uploads: Notify,
    messages: Notify,
    released: watch::Sender<u64>,
    connected: watch::Sender<Option<Instant>>,
    seq: AtomicU64,
}

/// Changes that a receiver may be behind before it has to read again.
const BEHIND: usize = 4096;

impl Default for EventBus {
    fn default() -> Self {
        Self(Arc::new(Inner {
            changes: broadcast::channel(BEHIND).0,
            rechecks: broadcast::channel(256).0,
            videos: broadcast::channel(1024).0,
            wanted: Mutex::default(),
            runs: Notify::new(),
            outbox: Notify::new(),
            ends: Notify::new(),
            uploads: Notify::new(),
            messages: Notify::new(),
            released: watch::channel(0).0,
            connected: watch::channel(None).0,
            seq: AtomicU64::new(0),
        }))
    }
}

impl EventBus {
    /// Changes that a daemon acts upon, from now on and in order.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }

    /// Sequence number of the last change seen.
    pub fn seq(&self) -> u64 {
        self.0.seq.load(Ordering::Acquire)
    }

    /// Tasks whose running stages should look whether they still own them.
    pub fn rechecks(&self) -> broadcast::Receiver<TaskId> {
        self.0.rechecks.subscribe()
    }

    pub fn recheck_task(&self, task: &TaskId) {
        // No receiver: nothing runs here.
        let _ = self.0.rechecks.send(task.clone());
    }

    /// Videos whose pipelines may go on.
    pub fn videos(&self) -> broadcast::Receiver<Recheck> {
        self.0.videos.subscribe()
    }

    /// A video's pipeline was started.
    pub fn video_started(&self, video: &VideoId) {
        self.recheck_videos(Recheck::One(video.clone()));
    }

    fn recheck_videos(&self, wanted: Recheck) {
        // No receiver: the daemon is not that far, and looks at all when it is.
        let _ = self.0.videos.send(wanted);
    }

    /// A run waits.
    pub fn run_queued(&self, queue: &str) {
        self.want_runs(Some(queue), NO_EVENT);
    }

    fn want_runs(&self, queue: Option<&str>, event: u64) {
        self.0
            .wanted
            .lock()
            .expect("no thread panics with the queues to look at")
            .add(queue, event);
        self.0.runs.notify_one();
    }

    /// Waits until a run waits or a slot is free, and answers where that may be.
    pub async fn run_wanted(&self) -> WantedQueues {
        self.0.runs.notified().await;
        let mut wanted = self
            .0
            .wanted
            .lock()
            .expect("no thread panics with the queues to look at");
        std::mem::take(&mut *wanted)
    }

    pub fn outbox_grew(&self) {
        self.0.outbox.notify_one();
    }

    /// A run with callbacks may have ended: some may be due, and others still to be put into the outbox.
    fn callbacks_wanted(&self) {
        self.0.outbox.notify_one();
        self.0.ends.notify_one();
    }

    /// Waits until the callbacks of a run that has ended may have to be put into the outbox.
    pub async fn end_seen(&self) {
        self.0.ends.notified().await;
    }

    pub async fn delivery_wanted(&self) {
        self.0.outbox.notified().await;
    }

    /// A result may have files for the object store, or one that had some was deleted.
    pub async fn upload_wanted(&self) {
        self.0.uploads.notified().await;
    }

    /// Waits until a message to Celery workers may have lost its run, which was cancelled or deleted.
    pub async fn message_end_wanted(&self) {
        self.0.messages.notified().await;
    }

    /// The processes of a run have ended and its slot is free. A run may wait for it.
    pub fn slot_released(&self, queue: &str) {
        self.processes_ended();
        self.want_runs(Some(queue), NO_EVENT);
    }

    /// The processes of a run have ended. Its slot goes to another one, or no run waits for it.
    pub fn processes_ended(&self) {
        self.0.released.send_modify(|count| *count += 1);
    }

    pub fn released(&self) -> watch::Receiver<u64> {
        self.0.released.subscribe()
    }

    /// Since when Redis has been connected; None while it is not.
    pub fn connected(&self) -> watch::Receiver<Option<Instant>> {
        self.0.connected.subscribe()
    }

    /// Listens for as long as the program runs.
    pub async fn listen(self, store: Store) {
        let mut subscription = match store.subscribe_to_wakes() {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::error!(%error, "cannot listen to events");
                return;
            }
        };
        while let Some(notice) = subscription.next().await {
            match notice {
                Notice::Connected => {
                    self.catch_up(&store).await;
                    self.0.connected.send_replace(Some(Instant::now()));
                    // Whatever happened meanwhile, everybody looks once.
                    self.want_runs(None, NO_EVENT);
                    self.callbacks_wanted();
                    self.recheck_videos(Recheck::All);
                    self.0.uploads.notify_one();
                    self.0.messages.notify_one();
                }
                Notice::Disconnected => {
                    tracing::warn!("the connection to Redis is lost");
                    self.0.connected.send_replace(None);
                }
                Notice::Event(json) => self.receive_event(json),
            }
        }
    }

    fn receive_event(&self, json: String) {
        match serde_json::from_str::<Event>(&json) {
            Ok(event) if event.seq > self.seq() => self.spread(&event, json),
            // It was caught up on.
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, json, "an event cannot be read"),
        }
    }

    fn spread(&self, event: &Event, json: String) {
        self.0.seq.store(event.seq, Ordering::Release);
        if !is_acted_upon(event) {
            return;
        }
        let stage = event.stage.as_ref();
        match event.kind {
            EventKind::Queued | EventKind::Reaped | EventKind::Succeeded | EventKind::Failed => {
                self.want_runs(stage.map(|stage| stage.queue.as_str()), event.seq);
            }
            EventKind::Cancelled | EventKind::Deleted => {
                if may_leave_message(event) {
                    self.0.messages.notify_one();
                }
                self.recheck_task(&event.task_id);
            }
            _ => {}
        }
        if matches!(event.kind, EventKind::Succeeded | EventKind::Deleted) {
            self.0.uploads.notify_one();
        }
        if lets_a_pipeline_go_on(event)
            && let Some(video) = VideoId::of_task(&event.task_id)
        {
            self.recheck_videos(Recheck::One(video));
        }
        // A request for a callback makes the stage say that one is pending: most changes put none into the outbox.
        let about_a_video = matches!(event.kind, EventKind::Pipeline | EventKind::Video);
        if !about_a_video && stage.is_none_or(|stage| stage.callback_status == Some(CallbackStatus::Pending)) {
            self.callbacks_wanted();
        }
        let _ = self.0.changes.send(Change::Event {
            seq: event.seq,
            json: json.into(),
        });
    }

    /// Sends events on. Returns `false` if one cannot be read: those after it are not sent.
    fn spread_all(&self, missed: Vec<String>) -> bool {
        for json in missed {
            match serde_json::from_str::<Event>(&json) {
                Ok(event) => self.spread(&event, json),
                Err(error) => {
                    tracing::warn!(%error, json, "an event cannot be read");
                    return false;
                }
            }
        }
        true
    }

    /// Sends on what was missed; where that is not whole, everybody reads again.
    async fn catch_up(&self, store: &Store) {
        loop {
            let last = self.seq();
            if last == 0 {
                // Nobody has read anything yet.
                match store.totals().await {
                    Ok(totals) => self.0.seq.store(totals.seq, Ordering::Release),
                    Err(error) => tracing::warn!(%error, "the last event is not known"),
                }
                return;
            }
            match store.events_after(last, 500).await {
                Ok(Some(missed)) if missed.is_empty() => return,
                Ok(Some(missed)) => {
                    if !self.spread_all(missed) {
                        return;
                    }
                }
                Ok(None) => {
                    let Ok(totals) = store.totals().await else { return };
                    tracing::info!(last, now = totals.seq, "events were missed that Redis no longer has");
                    self.0.seq.store(totals.seq, Ordering::Release);
                    let _ = self.0.changes.send(Change::Reset { seq: totals.seq });
                    self.recheck_videos(Recheck::All);
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "missed events cannot be read now");
                    return;
                }
            }
        }
    }
}

/// Whether a daemon acts upon an event. The others are not on its channel, but in the stream, from which it reads what it
/// has missed. Lua's `publish_event` says the same.
fn is_acted_upon(event: &Event) -> bool {
    match event.kind {
        EventKind::Joined => false,
        EventKind::Hit => {
            let stage = event.stage.as_ref();
            stage.is_some_and(|stage| stage.callback_status == Some(CallbackStatus::Pending))
        }
        _ => true,
    }
}

/// Whether a run that was cancelled or deleted may have left a message with Celery workers.
fn may_leave_message(event: &Event) -> bool {
    let runner = event.stage.as_ref().map(|stage| stage.runner.as_deref());
    runner.is_none_or(|runner| runner == Some(RunnerKind::Celery.as_str()))
}

/// Whether a change of a video's task may let its pipeline go on. What a driver itself wrote does not, unless it is the
/// beginning.
fn lets_a_pipeline_go_on(event: &Event) -> bool {
    match event.kind {
        EventKind::Started
        | EventKind::Progress
        | EventKind::Succeeded
        | EventKind::Failed
        | EventKind::Cancelled
        | EventKind::Reaped
        | EventKind::Deleted => true,
        EventKind::Pipeline => event.pipeline.as_ref().is_some_and(|change| change.revision == 1),
        _ => false,
    }
}
