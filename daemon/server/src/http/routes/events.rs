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
use onceover_wire::Event;
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
}

/// One message of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the stream in the API document")]
struct EventMessage {
    /// Sequence number.
    id: String,
    /// `change`, or `reset`: changes after the asked-for one are not kept any more, read everything again.
    event: String,
    /// The change, as JSON.
    data: Event,
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
    let changes = futures_util::stream::unfold(events.open_stream(last).await, |mut events| async move {
        let change = events.next_change().await?;
        Some((message(&change), events))
    });
    // A proxy passes on a head whose body has begun.
    let begun = futures_util::stream::iter([Sse::default().comment("follows")]);
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(10));
    let stream = axum::response::Sse::new(begun.chain(changes).map(Ok::<_, Infallible>)).keep_alive(keep_alive);
    Ok((UNBUFFERED, Extension(Endless), stream).into_response())
}

/// Writes a change as a message of the stream.
fn message(change: &Change) -> Sse {
    match change {
        Change::Event { seq, json } => Sse::default().id(seq.to_string()).event("change").data(json),
        Change::Reset { seq } => Sse::default().id(seq.to_string()).event("reset").data("{}"),
    }
}
