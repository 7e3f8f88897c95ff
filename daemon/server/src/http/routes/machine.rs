//! How busy the machine was, and what was counted in the last hour.

use std::sync::Arc;

use axum::{Json, extract::State};
use onceover_wire::{MachineLoad, SystemHistory};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{ApiError, AppState};
use crate::services::{History, MachineMonitor};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(get_machine))
        .routes(routes!(get_history))
}

/// How busy the machine was in the last ten minutes
#[utoipa::path(get, path = "/v1/system/machine", tag = "system",
    responses((status = 200, description = "Samples with the stages that ran then", body = MachineLoad)))]
async fn get_machine(State(machine): State<Arc<MachineMonitor>>) -> Json<MachineLoad> {
    Json(machine.read_machine().await)
}

/// What was counted in each minute of the last hour
#[utoipa::path(get, path = "/v1/system/history", tag = "system",
    responses((status = 200, description = "The figures of all daemons of this Redis", body = SystemHistory),
        (status = 503)))]
async fn get_history(State(history): State<Arc<History>>) -> Result<Json<SystemHistory>, ApiError> {
    Ok(Json(history.read_history().await?))
}
