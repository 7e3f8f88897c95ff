//! Every change, in order and without holes: what happened since a number is read from the store, what happens now is
//! heard from Redis. Where changes are missing and cannot be read any more, the follower has to read everything again.
//! A daemon listens to all events only while a stream is open.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use onceover_limits::Limit;
use onceover_store::{Notice, Store};
use onceover_wire::Heartbeat;
use serde::Deserialize;
use tokio::{
    sync::broadcast::{Receiver, Sender, error::RecvError},
    task::JoinHandle,
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use crate::events::{Change, EventBus};

/// Events sent on at a time from the store.
const CATCH_UP: usize = 500;
/// Between two tries to read what was missed while Redis does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// How long a stream that opens waits for the number of the last event.
const READ_PATIENCE: Duration = Duration::from_secs(1);
/// Events that a stream may be behind before it has to read from the store.
const BEHIND: usize = 4096;

/// Opens streams of events.
pub struct EventStreams {
    store: Store,
    bus: EventBus,
    /// What the open streams have in common, while there is one.
    feed: Mutex<Weak<PublicFeed>>,
    /// Ends open streams when the daemon stops.
    stop: CancellationToken,
}

impl EventStreams {
    pub fn new(store: Store, bus: EventBus, stop: CancellationToken) -> Self {
        Self {
            store,
            bus,
            feed: Mutex::default(),
            stop,
        }
    }

    /// Opens a stream of what happened after the event of number `last`; of what happens from now on without one.
    pub async fn open_stream(&self, last: Option<u64>) -> EventStream {
        // Listen first, then read what was before: nothing falls between.
        let feed = self.join_feed();
        let heard = feed.heard.subscribe();
        EventStream {
            store: self.store.clone(),
            last: match last {
                Some(last) => last,
                None => self.read_last_number().await,
            },
            behind: last.is_some(),
            heard,
            _feed: feed,
            ready: VecDeque::new(),
            stop: self.stop.clone(),
            ending: false,
        }
    }

    /// Says again and again, until the daemon stops, whether Redis answers. A daemon that hangs says nothing.
    pub fn open_heartbeat(&self, every: Duration) -> impl Stream<Item = Heartbeat> + Send + use<> {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let beats = futures_util::stream::unfold((self.store.clone(), ticks), |(store, mut ticks)| async move {
            ticks.tick().await;
            let answer = store.ping().await;
            let heartbeat = Heartbeat {
                redis_up: answer.is_ok(),
                error: answer.err().map(|error| error.to_string()),
            };
            Some((heartbeat, (store, ticks)))
        });
        beats.take_until(self.stop.clone().cancelled_owned())
    }

    /// Reads the number of the last event. While Redis does not answer it is that of the last one which this daemon
    /// acted upon, so that a stream opens at once and tells what was missed when Redis is back.
    async fn read_last_number(&self) -> u64 {
        if self.bus.connected().borrow().is_none() {
            return self.bus.seq();
        }
        match tokio::time::timeout(READ_PATIENCE, self.store.last_event()).await {
            Ok(Ok(last)) => last,
            Ok(Err(_)) | Err(_) => self.bus.seq(),
        }
    }

    fn join_feed(&self) -> Arc<PublicFeed> {
        let mut shared = self.feed.lock().expect("no thread panics with the feed of events");
        if let Some(feed) = shared.upgrade() {
            return feed;
        }
        let feed = Arc::new(PublicFeed::open(self.store.clone()));
        *shared = Arc::downgrade(&feed);
        feed
    }
}

/// Listens to all events for the open streams of this daemon. It ends with the last of them.
struct PublicFeed {
    heard: Sender<Heard>,
    listening: JoinHandle<()>,
}

/// What the open streams hear.
#[derive(Debug, Clone)]
enum Heard {
    Event {
        seq: u64,
        json: Arc<str>,
    },
    /// The connection stands (again): events may have been missed before.
    Connected,
}

impl PublicFeed {
    fn open(store: Store) -> Self {
        let heard = Sender::new(BEHIND);
        let listening = tokio::spawn(listen(store, heard.clone()));
        Self { heard, listening }
    }
}

impl Drop for PublicFeed {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(store: Store, heard: Sender<Heard>) {
    let mut subscription = match store.subscribe_to_events() {
        Ok(subscription) => subscription,
        Err(error) => {
            tracing::error!(%error, "cannot listen to events");
            return;
        }
    };
    while let Some(notice) = subscription.next().await {
        let news = match notice {
            Notice::Event(json) => match read_number(&json) {
                Some(seq) => Heard::Event { seq, json: json.into() },
                None => continue,
            },
            Notice::Connected => Heard::Connected,
            Notice::Disconnected => continue,
        };
        // No receiver: the last stream is closing.
        let _ = heard.send(news);
    }
}

/// Reads the sequence number of an event. Returns `None`, and says so in the log, for what is none.
fn read_number(json: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        seq: u64,
    }
    serde_json::from_str::<Numbered>(json)
        .inspect_err(|error| tracing::warn!(%error, json, "an event cannot be read"))
        .ok()
        .map(|event| event.seq)
}

/// A stream of events, as one reader follows it.
pub struct EventStream {
    store: Store,
    /// Sequence number of the last event given out.
    last: u64,
    /// There may be events in the store that were not given out.
    behind: bool,
    heard: Receiver<Heard>,
    _feed: Arc<PublicFeed>,
    ready: VecDeque<Change>,
    stop: CancellationToken,
    /// The daemon stops: this is the last look at what was missed.
    ending: bool,
}

impl EventStream {
    /// Waits for the next change. Returns `None` once the daemon stops.
    pub async fn next_change(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(change);
            }
            if self.behind {
                self.catch_up().await;
                continue;
            }
            if self.ending {
                return None;
            }
            let heard = tokio::select! {
                () = self.stop.cancelled() => {
                    // What has happened up to now is still sent.
                    self.ending = true;
                    self.behind = true;
                    continue;
                }
                heard = self.heard.recv() => heard,
            };
            match heard {
                Ok(Heard::Event { seq, json }) if seq == self.last + 1 => self.push(seq, json),
                Ok(Heard::Event { seq, .. }) => self.behind = seq > self.last,
                Ok(Heard::Connected) | Err(RecvError::Lagged(_)) => self.behind = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn push(&mut self, seq: u64, json: Arc<str>) {
        self.last = seq;
        self.ready.push_back(Change::Event { seq, json });
    }

    fn reset(&mut self, seq: u64) {
        self.last = seq;
        self.behind = false;
        self.ready.push_back(Change::Reset { seq });
    }

    async fn catch_up(&mut self) {
        match self.store.events_after(self.last, CATCH_UP).await {
            Ok(Some(missed)) => {
                self.behind = missed.len() == CATCH_UP;
                for json in missed {
                    if let Some(seq) = read_number(&json) {
                        self.push(seq, json.into());
                    }
                }
            }
            Ok(None) => self.skip_what_is_missing().await,
            // Redis does not answer; the client waits with us.
            Err(_) => {
                tokio::select! {
                    () = self.stop.cancelled() => self.behind = false,
                    () = tokio::time::sleep(RETRY) => {}
                }
            }
        }
    }

    /// Goes on with what happens now: the store keeps no events from so long ago.
    async fn skip_what_is_missing(&mut self) {
        match self.store.totals().await {
            Ok(totals) => {
                Limit::KeptEvents.reached();
                self.reset(totals.seq);
            }
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}
