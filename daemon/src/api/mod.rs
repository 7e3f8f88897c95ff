//! The HTTP API: routes next to their handlers, one file a resource; errors are problem documents.

mod callbacks;
mod events;
mod extract;
mod lifecycle;
mod log;
mod problem;
mod system;
mod tasks;

use std::sync::{Arc, atomic::AtomicBool};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use onceover_common::Problem;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

pub use problem::ApiError;

use crate::{engine::Engine, executor::supervise::Executor};

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    pub engine: Engine,
    pub executor: Executor,
    /// The layout in Redis is known, and what an earlier daemon held is taken back.
    pub prepared: Arc<AtomicBool>,
    /// This daemon: `<id of the data directory>#<number of the start>`.
    pub instance: Arc<str>,
    pub started_at: onceover_common::Timestamp,
    /// Ends open streams when the daemon stops.
    pub stop: CancellationToken,
}

/// Largest request body.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Onceover",
        description = "Runs media work one stage at a time and never does the same stage twice.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "tasks", description = "Submit stages, read tasks, cancel, delete, run again"),
        (name = "events", description = "Every change, as it happens"),
        (name = "callbacks", description = "What was told to clients' URLs, and sending it again"),
        (name = "system", description = "Queues, state of the daemon, health")
    )
)]
struct Document;

/// The whole API with its description and its browser page.
pub fn router(state: AppState) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Document::openapi())
        .merge(tasks::routes())
        .merge(lifecycle::routes())
        .merge(log::routes())
        .merge(events::routes())
        .merge(callbacks::routes())
        .merge(system::routes())
        .split_for_parts();
    router
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(state)
}

async fn not_found(uri: Uri) -> Response {
    ApiError(Problem::new(
        404,
        "not-found",
        "Not found",
        format!("there is nothing at {}; /docs shows what there is", uri.path()),
    ))
    .into_response()
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let detail = format!("{method} is not for {}; /docs shows what is", uri.path());
    ApiError(Problem::new(405, "method-not-allowed", "Method not allowed", detail)).into_response()
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    let status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
    ApiError(Problem::new(
        status,
        "internal",
        "Internal error",
        "a defect of onceoverd; its log tells more",
    ))
    .into_response()
}
