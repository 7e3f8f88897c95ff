//! Queues, the state of the daemon, health.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use onceover_types::keys;
use onceover_wire::{Health, Queues, RedisInfo, SystemInfo};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{ApiError, AppState};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_queues))
        .routes(routes!(get_system))
        .routes(routes!(check_liveness))
        .routes(routes!(check_readiness))
        .routes(routes!(check_health))
}

/// What runs and what waits, by resource class
#[utoipa::path(get, path = "/v1/queues", tag = "system",
    responses((status = 200, description = "Every queue", body = Queues), (status = 503)))]
async fn list_queues(State(state): State<AppState>) -> Result<Json<Queues>, ApiError> {
    let mut queues = Vec::new();
    for (name, slots) in state.executor.slots() {
        queues.push(state.engine.store.queue(name, *slots).await?);
    }
    Ok(Json(Queues { queues }))
}

/// The daemon and its Redis, counts, what reuse saved
#[utoipa::path(get, path = "/v1/system", tag = "system",
    responses((status = 200, description = "The daemon as it is now", body = SystemInfo)))]
async fn get_system(State(state): State<AppState>) -> Json<SystemInfo> {
    let store = &state.engine.store;
    let ping = store.ping().await;
    let server = match &ping {
        Ok(_) => store.server().await.unwrap_or_default(),
        Err(_) => Default::default(),
    };
    // Redis away: what is left to say is said; `redis.up` tells.
    let totals = match &ping {
        Ok(_) => store.totals().await.unwrap_or_default(),
        Err(_) => Default::default(),
    };
    Json(SystemInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        instance: state.instance.to_string(),
        started_at: state.started_at,
        redis: RedisInfo {
            mode: store.mode().into(),
            url: store.public_url(),
            database: store.database(),
            up: ping.is_ok(),
            error: ping.as_ref().err().map(ToString::to_string),
            latency_ms: ping
                .ok()
                .map(|time| (time.as_secs_f64() * 1_000_000.0).round() / 1000.0),
            version: server.version,
            append_only: server.append_only,
        },
        events_channel: keys::events_channel(store.database()),
        seq: totals.seq,
        tasks: totals.tasks,
        reuse: totals.reuse,
        share: state.engine.roots.share().display().to_string(),
        media_roots: state
            .engine
            .roots
            .media()
            .iter()
            .map(|root| root.display().to_string())
            .collect(),
    })
}

fn answer(causes: Vec<String>) -> Response {
    let healthy = causes.is_empty();
    let health = Health {
        status: if healthy { "healthy" } else { "unhealthy" }.into(),
        service: "onceover".into(),
        causes,
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
    answer(Vec::new())
}

/// Submits can be decided now
#[utoipa::path(get, path = "/readyz", tag = "system",
    responses((status = 200, description = "Submits can be decided", body = Health),
        (status = 503, description = "Submits cannot be decided; `causes` tells why", body = Health)))]
async fn check_readiness(State(state): State<AppState>) -> Response {
    let mut causes = Vec::new();
    if state.engine.draining.is_cancelled() {
        causes.push("draining: the daemon is stopping and takes no new work".to_owned());
    }
    let preparing = state.preparing.borrow().clone();
    match preparing {
        Some(why) => causes.push(format!("still preparing: {why}")),
        None => causes.extend(
            state
                .engine
                .store
                .check_layout()
                .await
                .err()
                .map(|error| error.to_string()),
        ),
    }
    answer(causes)
}

/// The same as `/readyz`, where the older gateway had it
#[utoipa::path(get, path = "/v1/tasks/health", tag = "system",
    responses((status = 200, description = "Submits can be decided", body = Health),
        (status = 503, description = "Submits cannot be decided; `causes` tells why", body = Health)))]
async fn check_health(state: State<AppState>) -> Response {
    check_readiness(state).await
}
