//! Many submits in one request, each with its own answer.

use std::sync::Arc;

use axum::{Json, extract::State};
use futures_util::{StreamExt, stream};
use indexmap::IndexMap;
use onceover_types::Problem;
use onceover_wire::{BatchRequest, BatchResponse, BatchResult, SubmitRequest, SubmitResponse};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    ApiError, AppState,
    body::{Body, submit_draft},
};
use crate::{
    config::UnknownFields,
    services::{Submissions, unread::WarningLog},
};
use onceover_limits::Limit;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(submit_batch))
}

/// [`BatchRequest`] with its submits unread: one that cannot be read stops none of the others.
#[derive(Deserialize, ToSchema)]
pub struct BatchTasks {
    #[schema(value_type = Vec<SubmitRequest>)]
    tasks: Vec<Value>,
}

/// Submits in one request.
pub(crate) const MOST: usize = 1000;
/// Submits that are decided at a time. They share one connection to Redis with the runs that are under way, whose calls
/// wait for as many: with more, the first stages of a large batch would hardly begin before its last submit is decided.
const AT_A_TIME: usize = 16;

/// Ask for many nodes to be run at once
///
/// Each of up to 1000 submits is decided as if it came alone, and `results` has its answer or its problem, in order. One
/// that is refused stops none of the others.
#[utoipa::path(post, path = "/v1/tasks/batch", tag = "tasks", request_body = BatchRequest,
    responses((status = 200, description = "An answer or a problem for each submit, in their order", body = BatchResponse),
        (status = 400), (status = 413), (status = 422), (status = 503)))]
async fn submit_batch(
    State(submissions): State<Arc<Submissions>>,
    State(warning_log): State<Arc<WarningLog>>,
    body: Body<BatchTasks>,
) -> Result<Json<BatchResponse>, ApiError> {
    let Body {
        value: request,
        warnings,
        unknown,
    } = body;
    warning_log.write("batch", "", &warnings);
    if !(1..=MOST).contains(&request.tasks.len()) {
        if request.tasks.len() > MOST {
            Limit::BatchItems.reached();
        }
        let detail = format!(
            "it must hold from 1 to {MOST} submits; it holds {}",
            request.tasks.len()
        );
        return Err(Problem::invalid_field("tasks", detail).into());
    }
    submissions.check_open()?;
    // Tasks side by side, the submits of one in their order: a stage may need what one before it gives.
    let mut by_task = IndexMap::<Result<String, usize>, Vec<(usize, Value)>>::new();
    for (at, task) in request.tasks.into_iter().enumerate() {
        let id = task.get("task_id").and_then(Value::as_str).map(str::to_owned);
        by_task.entry(id.ok_or(at)).or_default().push((at, task));
    }
    let decided: Vec<_> = stream::iter(by_task.into_values())
        .map(|tasks| async {
            let mut results = Vec::with_capacity(tasks.len());
            for (at, task) in tasks {
                let result = match submit_item(&submissions, task, unknown).await {
                    Ok(response) => BatchResult::accepted(response),
                    Err(ApiError(problem)) => BatchResult::refused(problem),
                };
                results.push((at, result));
            }
            results
        })
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    let mut results: Vec<_> = decided.into_iter().flatten().collect();
    results.sort_unstable_by_key(|(at, _)| *at);
    let results = results.into_iter().map(|(_, result)| result).collect();
    Ok(Json(BatchResponse { results, warnings }))
}

async fn submit_item(
    submissions: &Submissions,
    task: Value,
    unknown: UnknownFields,
) -> Result<SubmitResponse, ApiError> {
    let request = submissions.check_request(submit_draft(task)?, unknown)?;
    Ok(submissions.submit_request(&request).await?)
}
