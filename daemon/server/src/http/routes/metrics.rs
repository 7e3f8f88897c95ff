//! Measurements, for Prometheus.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::AppState;
use crate::metrics::{CONTENT_TYPE, RedisReading};
use onceover_store::StoreError;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_metrics))
}

/// Measurements for Prometheus
///
/// Counters are of this daemon since its start; queues, tasks and waiting callbacks are of the whole Redis database.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, description = "Measurements in the OpenMetrics format",
        body = String, content_type = "application/openmetrics-text")))]
async fn get_metrics(State(state): State<AppState>) -> Response {
    let reading = match read(&state).await {
        Ok(reading) => Some(reading),
        Err(error) => {
            tracing::debug!(%error, "measured without Redis");
            None
        }
    };
    let text = state.engine.metrics.render(reading.as_ref());
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}

async fn read(state: &AppState) -> Result<RedisReading, StoreError> {
    let store = &state.engine.store;
    let ping = store.ping().await?;
    Ok(RedisReading {
        ping,
        gauges: store.gauges(state.executor.slots().iter()).await?,
        tasks: store.totals().await?.tasks,
    })
}
