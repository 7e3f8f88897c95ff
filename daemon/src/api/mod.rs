//! The HTTP API: routes next to their handlers, one file a resource; errors are problem documents.

mod awaited;
pub(crate) mod batch;
mod body;
mod callbacks;
mod connection;
mod document;
mod doors;
mod events;
mod extract;
pub(crate) mod files;
#[cfg(test)]
mod fuzz;
mod lifecycle;
mod links;
mod log;
mod metrics;
mod nodes;
mod paced;
mod page;
mod pages;
mod prefer;
mod problem;
mod query;
mod range;
mod representation;
pub mod server;
mod system;
mod tasks;
mod videos;

use std::{ops::Deref, sync::Arc};

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    http::{Method, Uri},
    middleware::{from_fn, from_fn_with_state, map_request},
    response::{IntoResponse, Response},
};
use onceover_common::{Problem, ProblemKind};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{self as swagger, SwaggerUi};

use pages::{DESCRIPTION, DOCS, KnownPaths};

pub use connection::Patience;
pub use doors::Doors;
pub use problem::ApiError;

use crate::{
    access::links::Links, config::UnknownFields, engine::Engine, executor::supervise::Executor, pipeline::Videos,
};

/// Of an answer that goes on and on: a proxy before us is to pass on each piece as it comes (nginx keeps them otherwise).
const UNBUFFERED: [(&str, &str); 1] = [("x-accel-buffering", "no")];

/// What handlers share. Each request clones it several times, so it is behind one pointer.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

impl From<Shared> for AppState {
    fn from(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The parts of [`AppState`].
pub struct Shared {
    pub engine: Engine,
    pub executor: Executor,
    pub videos: Videos,
    /// This daemon: `<id of the data directory>#<number of the start>`.
    pub instance: Arc<str>,
    pub started_at: onceover_common::Timestamp,
    /// Largest file that can be uploaded, in bytes.
    pub largest_file: u64,
    /// What the bucket is called that files are in, also where there is no object store.
    pub bucket: Arc<str>,
    pub links: Links,
    /// What becomes of fields of requests that nothing reads.
    pub unknown_fields: UnknownFields,
    /// Why submits cannot be decided yet; None once the daemon is prepared.
    pub preparing: watch::Receiver<Option<String>>,
    /// Ends open streams when the daemon stops.
    pub stop: CancellationToken,
}

/// Largest request body.
pub(crate) const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// Every route that the description has.
fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(document::head())
        .merge(tasks::routes())
        .merge(batch::routes())
        .merge(nodes::routes())
        .merge(lifecycle::routes())
        .merge(log::routes())
        .merge(files::routes())
        .merge(events::routes())
        .merge(callbacks::routes())
        .merge(videos::routes())
        .merge(system::routes())
        .merge(metrics::routes())
        .merge(pages::routes())
        .merge(links::routes())
}

/// The whole API with its description and its browser page.
pub fn router(state: AppState, doors: Doors) -> Router {
    let (router, document) = routes().split_for_parts();
    let known = KnownPaths::of_document(&document);
    let paths = Extension(known.clone());
    let description = document::complete(document, &state.engine.catalog);
    // The token that "Authorize" was given is kept by the browser, for the next time the page is opened.
    let swagger = swagger::Config::default().persist_authorization(true);
    router
        .merge(pages::unlisted())
        .merge(
            SwaggerUi::new(DOCS)
                .external_url_unchecked(DESCRIPTION, description)
                .config(swagger),
        )
        .fallback(async move |uri: Uri| known.fall_back(&uri))
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(paths)
        .layer(from_fn(representation::revalidate))
        .layer(from_fn(prefer::prefer))
        .layer(from_fn_with_state(doors.clone(), doors::authorize))
        .layer(from_fn_with_state(doors.clone(), doors::admit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(doors, doors::identify))
        .layer(representation::compression())
        .layer(map_request(representation::only_gzip))
        .with_state(state)
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let detail = format!("{method} is not for {}; /docs shows what is", uri.path());
    ApiError(Problem::new(ProblemKind::MethodNotAllowed, detail)).into_response()
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    ApiError(Problem::new(
        ProblemKind::Internal,
        "a defect of onceoverd; its log tells more",
    ))
    .into_response()
}
