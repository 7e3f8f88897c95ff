//! Links for what cannot send a token, and URLs of this daemon in answers.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
};
use onceover_types::Problem;
use onceover_wire::SignedLink;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::pages::KnownPaths;
use crate::access::links::{Links, has_proof};
use crate::http::{ApiError, AppState, query::Params};

const LINKS: &str = "/v1/links";

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(make_link))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LinkParams {
    /// Path with its query, as it would be asked for with a token and percent-encoded once more as a parameter:
    /// `/v1/events`, `/v1/tasks/lecture-07/stages/ffmpeg.extract_audio/log?follow=true`.
    path: String,
}

/// Make a link that needs no token
///
/// For what cannot send a header: `EventSource`, `<a href>`, a player. The link opens exactly this path with this query, by GET
/// and HEAD alone, until `expires_at` (`access.link_lifetime`); only `last_event_id` and `from` may be added or changed. An
/// answer that has begun goes on after that. Any token suffices.
#[utoipa::path(get, path = "/v1/links", tag = "system", operation_id = "make_link", params(LinkParams),
    responses((status = 200, body = SignedLink, description = "The link and until when it is good"),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "The path is none of the API's, cannot be read by GET, or has a signature")))]
async fn make_link(
    State(links): State<Arc<Links>>,
    State(known): State<KnownPaths>,
    Params(params): Params<LinkParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    check_target(&params.path, &known).map_err(|why| Problem::invalid_field("path", why))?;
    let (link, expires_at) = links.make(&params.path, links.lifetime).await?;
    let url = absolute(&headers, &link);
    // It is good for a while and for everybody: nothing in between keeps it.
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    Ok((no_store, Json(SignedLink { url, expires_at })).into_response())
}

/// The error says why there is no link to this.
fn check_target(target: &str, known: &KnownPaths) -> Result<(), String> {
    if !target.starts_with('/') || target.contains(['#', '\\']) {
        return Err("it must be a path of this API with its query, such as /v1/events".into());
    }
    let uri: Uri = target
        .parse()
        .map_err(|error| format!("it is no path of a URL ({error}); percent-encode what cannot stand in one"))?;
    if has_proof(uri.query().unwrap_or_default()) {
        return Err("it is a signed link already; give the path without expires and signature".into());
    }
    if uri.path() == LINKS {
        return Err("a link does not make links".into());
    }
    if !known.can_be_read(uri.path()) {
        return Err(format!(
            "nothing can be read at {}; /docs shows what there is",
            uri.path()
        ));
    }
    Ok(())
}

/// A path as a URL, by the address that the request was sent to.
pub fn absolute(headers: &HeaderMap, path: &str) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A proxy in front that speaks TLS says so.
    let scheme = match text("x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    };
    match text(header::HOST.as_str()) {
        Some(host) => format!("{scheme}://{host}{path}"),
        None => path.to_owned(),
    }
}
