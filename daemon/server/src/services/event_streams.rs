//! Every change, in order and without holes: what happened since a number is read from the store, what happens now comes
//! from the event bus. Where changes are missing and cannot be read any more, the follower has to read everything again.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use onceover_limits::Limit;
use onceover_store::Store;
use onceover_wire::Event;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::events::{Change, EventBus};

/// Events sent on at a time from the store.
const CATCH_UP: usize = 500;
/// Between two tries to read what was missed while Redis does not answer.
const RETRY: Duration = Duration::from_millis(500);

/// Opens streams of events.
pub struct EventStreams {
    store: Store,
    bus: EventBus,
    /// Ends open streams when the daemon stops.
    stop: CancellationToken,
}

impl EventStreams {
    pub fn new(store: Store, bus: EventBus, stop: CancellationToken) -> Self {
        Self { store, bus, stop }
    }

    /// Opens a stream of what happened after the event of number `last`; of what happens from now on without one.
    pub fn open_stream(&self, last: Option<u64>) -> EventStream {
        // Listen first, then read what was before: nothing falls between.
        let changes = self.bus.changes();
        EventStream {
            store: self.store.clone(),
            last: last.unwrap_or_else(|| self.bus.seq()),
            behind: last.is_some(),
            changes,
            ready: VecDeque::new(),
            stop: self.stop.clone(),
            ending: false,
        }
    }
}

/// A stream of events, as one reader follows it.
pub struct EventStream {
    store: Store,
    /// Sequence number of the last event given out.
    last: u64,
    /// There may be events in the store that were not given out.
    behind: bool,
    changes: Receiver<Change>,
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
                heard = self.changes.recv() => heard,
            };
            match heard {
                Ok(Change::Event { seq, json }) if seq == self.last + 1 => self.push(seq, json),
                Ok(Change::Event { seq, .. }) => self.behind = seq > self.last,
                Ok(Change::Reset { seq }) => self.reset(seq),
                Err(RecvError::Lagged(_)) => self.behind = true,
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
                    if let Ok(event) = serde_json::from_str::<Event>(&json) {
                        self.push(event.seq, json.into());
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
