//! Celery workers, and processes that keep their models.

use std::sync::Arc;

use axum::{Json, extract::State};
use onceover_wire::WorkersReport;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{ApiError, AppState};
use crate::services::Workers;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_workers))
}

/// Celery workers, the queues that they listen to, and which stage runs where; processes that keep their models
#[utoipa::path(get, path = "/v1/workers", tag = "system",
    responses((status = 200, description = "Brokers, queues and workers of Celery; processes that this daemon keeps",
        body = WorkersReport), (status = 503)))]
async fn list_workers(State(workers): State<Arc<Workers>>) -> Result<Json<WorkersReport>, ApiError> {
    Ok(Json(workers.read_workers().await?))
}
