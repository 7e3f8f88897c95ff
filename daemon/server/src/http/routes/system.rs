//! Queues, the state of the daemon, health.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use onceover_wire::{Health, HealthStatus, Queues, SystemInfo};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{ApiError, AppState};
use crate::services::{HealthChecks, System};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_queues))
        .routes(routes!(get_system))
        .routes(routes!(check_liveness))
        .routes(routes!(check_readiness))
        .routes(routes!(check_health))
}

/// What runs and what waits, by resource class and by queue of Celery workers
#[utoipa::path(get, path = "/v1/queues", tag = "system",
    responses((status = 200, description = "Every queue", body = Queues), (status = 503)))]
async fn list_queues(State(system): State<Arc<System>>) -> Result<Json<Queues>, ApiError> {
    let queues = system.read_queues().await?;
    Ok(Json(Queues { queues }))
}

/// The daemon and its Redis, counts, what reuse saved
#[utoipa::path(get, path = "/v1/system", tag = "system",
    responses((status = 200, description = "The daemon as it is now", body = SystemInfo)))]
async fn get_system(State(system): State<Arc<System>>) -> Json<SystemInfo> {
    Json(system.read_system().await)
}

fn answer(causes: Vec<String>, warnings: Vec<String>) -> Response {
    let healthy = causes.is_empty();
    let health = Health {
        status: if healthy {
            HealthStatus::Healthy
        } else {
            HealthStatus::Unhealthy
        },
        service: "onceover".into(),
        causes,
        warnings,
    };
    (
        if healthy {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        },
        Json(health),
    )
        .into_response()
}

/// The process is alive
#[utoipa::path(get, path = "/livez", tag = "system",
    responses((status = 200, description = "The process answers", body = Health)))]
async fn check_liveness() -> Response {
    answer(Vec::new(), Vec::new())
}

/// Submits can be decided now
#[utoipa::path(get, path = "/readyz", tag = "system",
    responses((status = 200, description = "Submits can be decided; `warnings` tells what waits all the same",
            body = Health),
        (status = 503, description = "Submits cannot be decided; `causes` tells why", body = Health)))]
async fn check_readiness(State(health): State<Arc<HealthChecks>>) -> Response {
    let causes = health.find_causes().await;
    let warnings = match causes.as_slice() {
        [] => health.find_warnings().await,
        _ => Vec::new(),
    };
    answer(causes, warnings)
}

/// The same as `/readyz`, where the older gateway had it
#[utoipa::path(get, path = "/v1/tasks/health", tag = "system",
    responses((status = 200, description = "Submits can be decided", body = Health),
        (status = 503, description = "Submits cannot be decided; `causes` tells why", body = Health)))]
async fn check_health(health: State<Arc<HealthChecks>>) -> Response {
    check_readiness(health).await
}
