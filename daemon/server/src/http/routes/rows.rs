//! All tasks in short, for a reader that keeps every one of them.

use std::sync::Arc;

use axum::{Json, extract::State};
use onceover_wire::RowPage;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{ApiError, AppState, page, query::Params};
use crate::services::TaskViews;

/// Tasks on a page where a request does not say.
const ROWS_ON_A_PAGE: u32 = 500;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_rows))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RowParams {
    /// Tasks on a page, 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 500, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(nullable = false)]
    cursor: Option<String>,
}

/// Read all tasks in short
///
/// What runs, what waits and what has failed come first, then every task, newest first; so a task can be on two pages.
/// A reader that follows the events from `seq` of its first page on knows every task after its last page.
#[utoipa::path(get, path = "/v1/rows", tag = "tasks", params(RowParams),
    responses((status = 200, description = "One page", body = RowPage), (status = 422), (status = 503)))]
async fn list_rows(
    State(views): State<Arc<TaskViews>>,
    Params(params): Params<RowParams>,
) -> Result<Json<RowPage>, ApiError> {
    let limit = page::limit(params.limit.or(Some(ROWS_ON_A_PAGE)))?;
    let range = page::range(limit, params.cursor.as_deref())?;
    let found = views.list_rows(&range).await?;
    Ok(Json(RowPage {
        rows: found.rows,
        next_cursor: found.next.as_ref().map(page::write_cursor),
        seq: found.seq,
    }))
}
