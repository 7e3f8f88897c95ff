//! The routes of the API, one file a resource.

pub(crate) mod batch;
mod callbacks;
mod events;
pub(crate) mod files;
mod lifecycle;
mod links;
mod log;
mod machine;
mod metrics;
mod nodes;
pub(super) mod pages;
mod rows;
mod system;
mod tasks;
mod videos;
mod workers;

use utoipa_axum::router::OpenApiRouter;

use super::{AppState, document};

/// Every route that the description has.
pub(super) fn all() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(document::head())
        .merge(tasks::routes())
        .merge(rows::routes())
        .merge(batch::routes())
        .merge(nodes::routes())
        .merge(lifecycle::routes())
        .merge(log::routes())
        .merge(files::routes())
        .merge(events::routes())
        .merge(callbacks::routes())
        .merge(videos::routes())
        .merge(system::routes())
        .merge(machine::routes())
        .merge(workers::routes())
        .merge(metrics::routes())
        .merge(pages::routes())
        .merge(links::routes())
}
