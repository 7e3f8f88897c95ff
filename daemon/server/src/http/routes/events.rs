//! Every change as server-sent events, resumable by `Last-Event-ID` (S6).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event as Sse, KeepAlive},
    },
};
use futures_util::StreamExt;
use onceover_types::Problem;
use onceover_wire::{Event, Heartbeat};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::events::Change;
use crate::http::{ApiError, AppState, UNBUFFERED, connection::Endless, query::Params};
use crate::services::EventStreams;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(follow_events))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventParams {
    /// Sequence number of the last event seen, where the header `Last-Event-ID` cannot be sent.
    #[param(nullable = false)]
    last_event_id: Option<u64>,
    /// Milliseconds between messages `heartbeat`, which say that the daemon lives and whether it reaches Redis. None are
    /// sent without it.
    #[param(minimum = 200, maximum = 60_000, nullable = false)]
    heartbeat_ms: Option<u64>,
}

/// What `heartbeat_ms` may be.
const HEARTBEATS: std::ops::RangeInclusive<u64> = 200..=60_000;

/// One message of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the stream in the API document")]
struct EventMessage {
    /// Sequence number.
    id: String,
    /// `change`; or `reset`: changes after the asked-for one are not kept any more, read everything again; or `heartbeat`,
    /// which has no `id`.
    event: String,
    /// The change, or what a heartbeat says, as JSON.
    data: MessageData,
}

/// What a message holds.
#[derive(ToSchema)]
#[schema(as = EventMessageData)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the stream in the API document")]
enum MessageData {
    Change(Box<Event>),
    Heartbeat(Heartbeat),
}

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
    State(events): State<Arc<EventStreams>>,
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
    if let Some(asked) = params.heartbeat_ms.filter(|asked| !HEARTBEATS.contains(asked)) {
        let (least, most) = HEARTBEATS.into_inner();
        let why = format!("it must be from {least} to {most}, and {asked} is not");
        return Err(Problem::invalid_field("heartbeat_ms", why).into());
    }
    let changes = futures_util::stream::unfold(events.open_stream(last).await, |mut events| async move {
        let change = events.next_change().await?;
        Some((message(&change), events))
    });
    // A proxy passes on a head whose body has begun.
    let begun = futures_util::stream::iter([Sse::default().comment("follows")]);
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(10));
    let heartbeats = match params.heartbeat_ms {
        Some(every) => events
            .open_heartbeat(Duration::from_millis(every))
            .map(|heartbeat| write_heartbeat(&heartbeat))
            .boxed(),
        None => futures_util::stream::empty().boxed(),
    };
    let messages = begun.chain(futures_util::stream::select(changes, heartbeats));
    let stream = axum::response::Sse::new(messages.map(Ok::<_, Infallible>)).keep_alive(keep_alive);
    Ok((UNBUFFERED, Extension(Endless), stream).into_response())
}

/// Writes a change as a message of the stream.
fn message(change: &Change) -> Sse {
    match change {
        Change::Event { seq, json } => Sse::default().id(seq.to_string()).event("change").data(json),
        Change::Reset { seq } => Sse::default().id(seq.to_string()).event("reset").data("{}"),
    }
}

fn write_heartbeat(heartbeat: &Heartbeat) -> Sse {
    let data = serde_json::to_string(heartbeat).unwrap_or_default();
    Sse::default().event("heartbeat").data(data)
}
