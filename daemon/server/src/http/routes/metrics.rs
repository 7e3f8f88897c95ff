//! Measurements, for Prometheus.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::AppState;
use crate::{metrics::CONTENT_TYPE, services::Measurements};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_metrics))
}

/// Measurements for Prometheus
///
/// Counters are of this daemon since its start; queues, tasks and waiting callbacks are of the whole Redis database.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, description = "Measurements in the OpenMetrics format",
        body = String, content_type = "application/openmetrics-text")))]
async fn get_metrics(State(measurements): State<Arc<Measurements>>) -> Response {
    let text = measurements.write_measurements().await;
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response()
}
