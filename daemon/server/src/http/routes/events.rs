//! Every change as server-sent events, resumable by `Last-Event-ID` (S6).

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    Extension,
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event as Sse, KeepAlive},
    },
};
use futures_util::Stream;
use onceover_types::Problem;
use onceover_wire::Event;
use serde::Deserialize;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::events::Change;
use crate::http::{ApiError, AppState, UNBUFFERED, connection::Endless, query::Params};
use onceover_limits::Limit;
use onceover_store::Store;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(follow_events))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventParams {
    /// Sequence number of the last event seen, where the header `Last-Event-ID` cannot be sent.
    #[param(nullable = false)]
    last_event_id: Option<u64>,
}

/// One message of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the stream in the API document")]
struct EventMessage {
    /// Sequence number.
    id: String,
    /// `change`, or `reset`: changes after the asked-for one are gone, read everything again.
    event: String,
    /// The change, as JSON.
    data: Event,
}

/// Events sent on at a time from the store.
const CATCH_UP: usize = 500;

/// Follow every change
///
/// `id` is the sequence number, `event` is `change` (the data is the event) or `reset`. Without `Last-Event-ID` it
/// begins with what happens next.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(EventParams, ("Last-Event-ID" = Option<u64>, Header, description = "Sequence number of the last event seen")),
    responses((status = 200, description = "The stream; it ends when the client leaves or the daemon stops",
        body = EventMessage, content_type = "text/event-stream"),
        (status = 422)))]
async fn follow_events(
    State(state): State<AppState>,
    Params(params): Params<EventParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let last = match header.filter(|text| !text.is_empty()) {
        Some(text) => Some(
            text.parse::<u64>()
                .map_err(|_| Problem::invalid_field("Last-Event-ID", "it must be the sequence number of an event"))?,
        ),
        None => params.last_event_id,
    };
    // Listen first, then read what was before: nothing falls between.
    let changes = state.engine.hub.changes();
    let reader = Reader {
        store: state.engine.store.clone(),
        last: last.unwrap_or_else(|| state.engine.hub.seq()),
        behind: last.is_some(),
        changes,
        // A proxy passes on a head whose body has begun.
        ready: VecDeque::from([Sse::default().comment("follows")]),
        stop: state.stop.clone(),
        ending: false,
    };
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(10));
    let stream = axum::response::Sse::new(reader.stream()).keep_alive(keep_alive);
    Ok((UNBUFFERED, Extension(Endless), stream).into_response())
}

struct Reader {
    store: Store,
    /// Sequence number of the last event sent.
    last: u64,
    /// There may be events in the store that were not sent.
    behind: bool,
    changes: Receiver<Change>,
    ready: VecDeque<Sse>,
    stop: CancellationToken,
    /// The daemon stops: this is the last look at what was missed.
    ending: bool,
}

impl Reader {
    fn stream(self) -> impl Stream<Item = Result<Sse, Infallible>> {
        futures_util::stream::unfold(self, |mut reader| async move {
            loop {
                if let Some(event) = reader.ready.pop_front() {
                    return Some((Ok(event), reader));
                }
                if reader.behind {
                    reader.catch_up().await;
                    continue;
                }
                if reader.ending {
                    return None;
                }
                let change = tokio::select! {
                    () = reader.stop.cancelled() => {
                        // What has happened up to now is still told.
                        reader.ending = true;
                        reader.behind = true;
                        continue;
                    }
                    change = reader.changes.recv() => change,
                };
                match change {
                    Ok(Change::Event { seq, json }) if seq > reader.last => {
                        if seq == reader.last + 1 {
                            reader.push(seq, &json);
                        } else {
                            reader.behind = true;
                        }
                    }
                    Ok(Change::Event { .. }) => {}
                    Ok(Change::Reset { seq }) => reader.reset(seq),
                    Err(RecvError::Lagged(_)) => reader.behind = true,
                    Err(RecvError::Closed) => return None,
                }
            }
        })
    }

    fn push(&mut self, seq: u64, json: &str) {
        self.last = seq;
        self.ready
            .push_back(Sse::default().id(seq.to_string()).event("change").data(json));
    }

    fn reset(&mut self, seq: u64) {
        self.last = seq;
        self.behind = false;
        self.ready
            .push_back(Sse::default().id(seq.to_string()).event("reset").data("{}"));
    }

    async fn catch_up(&mut self) {
        match self.store.events_after(self.last, CATCH_UP).await {
            Ok(Some(missed)) => {
                self.behind = missed.len() == CATCH_UP;
                for json in missed {
                    if let Ok(event) = serde_json::from_str::<Event>(&json) {
                        self.push(event.seq, &json);
                    }
                }
            }
            Ok(None) => match self.store.totals().await {
                Ok(totals) => {
                    Limit::KeptEvents.reached();
                    self.reset(totals.seq);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            },
            // Redis is away; the client waits with us.
            Err(_) => {
                tokio::select! {
                    () = self.stop.cancelled() => self.behind = false,
                    () = tokio::time::sleep(Duration::from_millis(500)) => {}
                }
            }
        }
    }
}
