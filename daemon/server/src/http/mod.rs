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

use std::sync::Arc;

use axum::{
    Router,
    extract::FromRef,
    http::{Method, Uri},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
};
use onceover_types::{Problem, ProblemKind};
use tokio_util::sync::CancellationToken;
use utoipa_swagger_ui::{self as swagger, SwaggerUi};

use routes::pages::{self, DESCRIPTION, DOCS, KnownPaths};

pub use connection::ConnectionTimeouts;
pub use middleware::Admission;
pub use problem::ApiError;
pub use routes::files::Files;

use crate::{
    access::links::Links,
    config::UnknownFields,
    executor::supervise::Executor,
    pipelines::{Registrations, Videos},
    services::{
        Callbacks, Cancellations, Deletions, EventStreams, Explanations, HealthChecks, History, MachineMonitor,
        Measurements, NodeCatalog, StageLogs, Submissions, System, TaskViews, Workers, unread::WarningLog,
    },
};

/// Of an answer that goes on and on: a proxy before us is to pass on each piece as it comes (nginx keeps them otherwise).
const UNBUFFERED: [(&str, &str); 1] = [("x-accel-buffering", "no")];

/// What answers requests. The router takes it; a handler is handed only what it names in its arguments.
pub struct HttpServices {
    pub submissions: Arc<Submissions>,
    pub views: Arc<TaskViews>,
    pub explanations: Arc<Explanations>,
    pub cancellations: Arc<Cancellations>,
    pub deletions: Arc<Deletions>,
    pub callbacks: Arc<Callbacks>,
    pub logs: Arc<StageLogs>,
    pub events: Arc<EventStreams>,
    pub system: Arc<System>,
    pub machine: Arc<MachineMonitor>,
    pub workers: Arc<Workers>,
    pub history: Arc<History>,
    pub health: Arc<HealthChecks>,
    pub measurements: Arc<Measurements>,
    pub nodes: Arc<NodeCatalog>,
    pub videos: Arc<Videos>,
    pub registrations: Arc<Registrations>,
    pub files: Arc<Files>,
    pub links: Arc<Links>,
    /// What knows which logs still grow.
    pub executor: Executor,
    pub warning_log: Arc<WarningLog>,
    /// What becomes of fields of requests that nothing reads.
    pub unknown_fields: UnknownFields,
    /// Ends open streams when the daemon stops.
    pub stop: CancellationToken,
}

/// What handlers are handed their parts from. Each request clones it several times, so it is behind one pointer.
#[derive(Clone)]
pub struct AppState(Arc<Handed>);

struct Handed {
    services: HttpServices,
    known_paths: KnownPaths,
}

/// Lets a handler name a part as `State<...>`.
macro_rules! hand_out {
    ($($field:ident: $part:ty),+ $(,)?) => {
        $(impl FromRef<AppState> for $part {
            fn from_ref(state: &AppState) -> Self {
                state.0.services.$field.clone()
            }
        })+
    };
}

hand_out!(
    submissions: Arc<Submissions>,
    views: Arc<TaskViews>,
    explanations: Arc<Explanations>,
    cancellations: Arc<Cancellations>,
    deletions: Arc<Deletions>,
    callbacks: Arc<Callbacks>,
    logs: Arc<StageLogs>,
    events: Arc<EventStreams>,
    system: Arc<System>,
    machine: Arc<MachineMonitor>,
    workers: Arc<Workers>,
    history: Arc<History>,
    health: Arc<HealthChecks>,
    measurements: Arc<Measurements>,
    nodes: Arc<NodeCatalog>,
    videos: Arc<Videos>,
    registrations: Arc<Registrations>,
    files: Arc<Files>,
    links: Arc<Links>,
    executor: Executor,
    warning_log: Arc<WarningLog>,
    stop: CancellationToken,
);

impl FromRef<AppState> for KnownPaths {
    fn from_ref(state: &AppState) -> Self {
        state.0.known_paths.clone()
    }
}

/// Largest request body.
pub(crate) const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// The whole API with its description and its browser page.
pub fn router(services: HttpServices, admission: Admission) -> Router {
    let (router, document) = routes::all().split_for_parts();
    let known = KnownPaths::of_document(&document);
    let description = document::complete(document, services.nodes.specs());
    // The token that "Authorize" was given is kept by the browser, for the next time the page is opened.
    let swagger = swagger::Config::default().persist_authorization(true);
    let state = AppState(Arc::new(Handed {
        services,
        known_paths: known.clone(),
    }));
    router
        .merge(pages::unlisted())
        .merge(
            SwaggerUi::new(DOCS)
                .external_url_unchecked(DESCRIPTION, description)
                .config(swagger),
        )
        .fallback(async move |uri: Uri| known.fall_back(&uri))
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::new(admission), middleware::pass))
        .with_state(state)
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let detail = format!("{method} is not for {}; /docs shows what is", uri.path());
    ApiError(Problem::new(ProblemKind::MethodNotAllowed, detail)).into_response()
}
