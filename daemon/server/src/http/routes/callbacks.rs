//! Callbacks: what was delivered, what waits, what was given up; and sending one again.

use std::sync::Arc;

use axum::{Json, extract::State};
use onceover_types::{CallbackStatus, Problem, TaskId};
use onceover_wire::{CallbackDelivery, CallbackPage};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{ApiError, AppState, extract::IdPath, page, query::Params};
use crate::services::{Callbacks, ListedCallbacks};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_callbacks))
        .routes(routes!(get_callback))
        .routes(routes!(redeliver_callback))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Only those that are this.
    #[param(value_type = CallbackStatus, required = false)]
    state: Option<String>,
    /// Only those of this task.
    #[param(value_type = TaskId, required = false)]
    task_id: Option<String>,
    /// Callbacks on a page, 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 50, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(nullable = false)]
    cursor: Option<String>,
}

/// List callbacks, newest first
///
/// One that was given up (`state=failed`) is listed until its record expires.
#[utoipa::path(get, path = "/v1/callbacks", tag = "callbacks", params(ListParams),
    responses((status = 200, description = "One page", body = CallbackPage), (status = 422), (status = 503)))]
async fn list_callbacks(
    State(callbacks): State<Arc<Callbacks>>,
    Params(params): Params<ListParams>,
) -> Result<Json<CallbackPage>, ApiError> {
    let limit = page::limit(params.limit)?;
    let wanted = params.state.map(|text| text.parse()).transpose();
    let task = params.task_id.map(|text| TaskId::parse(&text)).transpose();
    let listed = ListedCallbacks {
        state: wanted.map_err(|_| Problem::invalid_field("state", "it is one of pending, sent, failed"))?,
        task: task.map_err(|error| Problem::invalid_field("task_id", error.to_string()))?,
    };
    let range = page::range(limit, params.cursor.as_deref())?;
    let found = callbacks.list_callbacks(listed, &range).await?;
    Ok(Json(CallbackPage {
        items: found.items,
        next_cursor: found.next.as_ref().map(page::write_cursor),
    }))
}

/// One callback
#[utoipa::path(get, path = "/v1/callbacks/{id}", tag = "callbacks", params(("id" = String, Path)),
    responses((status = 200, description = "The callback", body = CallbackDelivery), (status = 404), (status = 422),
        (status = 503)))]
async fn get_callback(
    State(callbacks): State<Arc<Callbacks>>,
    IdPath(id): IdPath,
) -> Result<Json<CallbackDelivery>, ApiError> {
    Ok(Json(callbacks.read_callback(&id).await?))
}

/// Send a callback again
///
/// Whether it was sent, given up or is still pending: the same `webhook-id` and body, its schedule from the beginning.
#[utoipa::path(post, path = "/v1/callbacks/{id}/redeliver", tag = "callbacks", params(("id" = String, Path)),
    responses((status = 200, description = "The callback, pending again", body = CallbackDelivery), (status = 404),
        (status = 422), (status = 503)))]
async fn redeliver_callback(
    State(callbacks): State<Arc<Callbacks>>,
    IdPath(id): IdPath,
) -> Result<Json<CallbackDelivery>, ApiError> {
    Ok(Json(callbacks.redeliver_callback(&id).await?))
}
