//! The HTTP API: `routes` next to their handlers, one file a resource; `middleware` is what each request passes first;
//! errors are problem documents.

mod awaited;
mod body;
mod connection;
mod document;
mod extract;
#[cfg(test)]
mod fuzz;
mod middleware;
mod paced;
mod page;
mod problem;
mod query;
mod range;
pub(crate) mod routes;
pub mod server;

use std::{ops::Deref, sync::Arc};

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    http::{Method, Uri},
    middleware::{from_fn, from_fn_with_state, map_request},
    response::{IntoResponse, Response},
};
use onceover_types::{Problem, ProblemKind};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_swagger_ui::{self as swagger, SwaggerUi};

use routes::pages::{self, DESCRIPTION, DOCS, KnownPaths};

pub use connection::ConnectionTimeouts;
pub use middleware::Doors;
pub use problem::ApiError;

use crate::{
    access::links::Links, config::UnknownFields, executor::supervise::Executor, pipelines::Videos, services::Engine,
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
    pub started_at: onceover_types::Timestamp,
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

/// The whole API with its description and its browser page.
pub fn router(state: AppState, doors: Doors) -> Router {
    let (router, document) = routes::all().split_for_parts();
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
        .layer(from_fn(middleware::representation::revalidate))
        .layer(from_fn(middleware::prefer::prefer))
        .layer(from_fn_with_state(doors.clone(), middleware::authorize))
        .layer(from_fn_with_state(doors.clone(), middleware::admit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(doors, middleware::identify))
        .layer(middleware::representation::compression())
        .layer(map_request(middleware::representation::only_gzip))
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
