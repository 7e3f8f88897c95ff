//! What every request passes before its handler: its id, the count of requests under way, whom the daemon answers to,
//! and the scope it needs; and what its answer passes.
//!
//! All of it is one layer of the router, [`pass`]. Each layer would cost every request some boxes, and copies of all
//! layers below it.

pub(super) mod prefer;
pub(super) mod representation;

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use onceover_types::{Problem, ProblemKind, Timestamp};
use tokio::sync::Semaphore;
use tracing::Instrument;
use uuid::{Builder, Uuid};

use super::{
    ApiError, BODY_LIMIT,
    awaited::{RequestSlot, awaited},
    connection::Connection,
    problem::body_of,
};
use crate::http::routes::pages::is_open;
use crate::{
    access::{
        Hosts, Scope, Tokens,
        links::{LinkError, LinkProof, Links, without_proof},
    },
    metrics::Metrics,
};
use onceover_limits::Limit;
use prefer::Preference;
use representation::{KnownTags, compress, reduce_to_gzip};

/// Header of a request's id, taken from the caller or made here, and sent back.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken from a caller.
const LONGEST_ID: usize = 64;
/// Routes for probes: they are answered however busy the daemon is.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// Who may call, and how many at a time.
pub struct Admission {
    pub tokens: Tokens,
    pub links: Arc<Links>,
    pub hosts: Hosts,
    pub request_slots: Arc<Semaphore>,
    /// How long the body of a request may keep it waiting.
    pub body_timeout: Duration,
    pub metrics: Metrics,
}

/// The scope that a method needs.
pub fn scope_of(method: &Method) -> Scope {
    if matches!(*method, Method::GET | Method::HEAD) {
        Scope::Read
    } else {
        Scope::Admin
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Takes a request through everything, from the outermost step to its handler, and its answer back.
pub async fn pass(State(admission): State<Arc<Admission>>, mut request: Request, next: Next) -> Response {
    let takes_gzip = reduce_to_gzip(&mut request);
    let response = identify(&admission, request, next).await;
    compress(response, takes_gzip).await
}

/// Gives the request its id, and writes down how it was answered.
async fn identify(admission: &Admission, request: Request, next: Next) -> Response {
    let id = given_id(request.headers()).cloned().unwrap_or_else(make_id);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let start = Instant::now();
    let id_text = id.to_str().unwrap_or_default();
    let span = tracing::info_span!("request", id = id_text, %method, path = request.uri().path());
    let answered = async {
        let response = AssertUnwindSafe(admit(admission, request, next)).catch_unwind().await;
        let response = response.unwrap_or_else(panicked);
        let (status, took) = (response.status().as_u16(), start.elapsed());
        let pattern = route.as_ref().map(MatchedPath::as_str);
        admission.metrics.answered(pattern, &method, status, took);
        tracing::debug!(status, ?took, "answered");
        response
    };
    let mut response = answered.instrument(span).await;
    if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
        problem.instance = Some(format!("urn:request:{id_text}").into());
        *response.body_mut() = Body::from(body_of(&problem));
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The id that the caller has given, if it can be taken.
fn given_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(REQUEST_ID).filter(|id| acceptable(id.as_bytes()))
}

fn acceptable(id: &[u8]) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':'))
}

/// Makes an id, a UUID of version 7. Nothing depends on that nobody can guess it, so the system is not asked for random
/// bytes.
fn make_id() -> HeaderValue {
    let millis = Timestamp::now().as_millis().max(0).unsigned_abs();
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let id = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    let mut buffer = Uuid::encode_buffer();
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut buffer)).expect("a UUID is visible ASCII")
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    ApiError(Problem::new(
        ProblemKind::Internal,
        "a defect of onceoverd; its log tells more",
    ))
    .into_response()
}

/// Holds a slot while the handler works. The body of an event stream or a followed log needs none.
async fn admit(admission: &Admission, mut request: Request, next: Next) -> Response {
    let mut held = None;
    if !PROBES.contains(&request.uri().path()) {
        let Some(slot) = RequestSlot::take(&admission.request_slots) else {
            Limit::Requests.reached();
            return ApiError(Problem::new(
                ProblemKind::Busy,
                "as many requests as access.max_requests allows are under way; send it again in a moment",
            ))
            .into_response();
        };
        request = awaited(request, &slot, &admission.request_slots, admission.body_timeout);
        held = Some(slot);
    }
    let response = match authorize(admission, &mut request).await {
        Ok(()) => answer(request, next).await,
        Err(error) => error.into_response(),
    };
    drop(held);
    response
}

/// Refuses what a page in a browser was made to send, and what has not the scope it needs.
async fn authorize(admission: &Admission, request: &mut Request) -> Result<(), ApiError> {
    judge_origin(admission, request)?;
    let proof = LinkProof::of_uri(request.uri());
    let needs_token = !admission.tokens.is_empty() && !is_open(request.uri().path());
    if needs_token {
        // A request with a token is judged by that, also at a link.
        let has_token = request.headers().contains_key(header::AUTHORIZATION);
        match &proof {
            Some(proof) if !has_token => {
                let (method, uri) = (request.method().clone(), request.uri().clone());
                judge_link(admission, &method, &uri, proof).await?;
            }
            _ => judge_token(admission, request.method(), request.headers())?,
        }
    }
    if (needs_token || admission.tokens.is_empty())
        && let Some(connection) = request.extensions().get::<Arc<Connection>>()
    {
        connection.is_known();
    }
    if proof.is_some() {
        *request.uri_mut() = without_proof(request.uri());
    }
    Ok(())
}

/// Has the handler answer, as the request prefers; not at all where the client has the same answer already.
async fn answer(mut request: Request, next: Next) -> Response {
    let preference = Preference::read_from(&mut request);
    let known = KnownTags::of_request(&request);
    DefaultBodyLimit::max(BODY_LIMIT).apply(&mut request);
    let mut response = next.run(request).await;
    if let Some(known) = known {
        response = known.revalidate(response).await;
    }
    if let Some(preference) = preference {
        preference.report_in(&mut response);
    }
    response
}

/// Refuses what a page of another site has made a browser send.
fn judge_origin(admission: &Admission, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let host = host_of(request)?;
    // A request without any comes from no browser.
    if let Some(host) = host.filter(|host| !admission.hosts.answers_to(host)) {
        let host: String = host.chars().take(100).collect();
        return Err(Problem::new(
            ProblemKind::Host,
            format!(
                "this daemon does not answer to the host '{host}'; use localhost, or add the name to access.hosts in \
                 its configuration"
            ),
        ));
    }
    let needed = scope_of(request.method());
    if let Some(origin) = text(headers, header::ORIGIN)
        && needed == Scope::Admin
        && !admission.hosts.trusts(origin, host)
    {
        let origin: String = origin.chars().take(100).collect();
        return Err(Problem::new(
            ProblemKind::Origin,
            format!(
                "a page of '{origin}' may not change anything here; add its host to access.hosts in the configuration"
            ),
        ));
    }
    Ok(())
}

/// The host a request is for; none of HTTP/1.0 that names none. What two parts of a request may take for two hosts is refused.
fn host_of(request: &Request) -> Result<Option<&str>, Problem> {
    let refused = |detail: &str| Err(Problem::new(ProblemKind::BadRequest, detail));
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return refused("it has more than one header Host; send one"),
        (Some(host), None) => Some(host.to_str().unwrap_or("?")),
        (None, _) => None,
    };
    match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            refused("its header Host is another one than that of its URL; send the same")
        }
        (None, None) if request.version() == Version::HTTP_11 => refused("it has no header Host, which HTTP/1.1 needs"),
        (authority, host) => Ok(authority.or(host)),
    }
}

/// Lets a link read what it was made for.
async fn judge_link(admission: &Admission, method: &Method, uri: &Uri, proof: &LinkProof) -> Result<(), ApiError> {
    if scope_of(method) != Scope::Read {
        let detail = "a link only reads, by GET and HEAD; anything else needs 'Authorization: Bearer <token>'";
        return Err(Problem::new(ProblemKind::Unauthorized, detail).into());
    }
    match admission.links.check(uri, proof).await {
        Ok(()) => Ok(()),
        Err(LinkError::Refused(problem)) => Err(problem.into()),
        Err(LinkError::NoKey(error)) => Err(error.into()),
    }
}

fn judge_token(admission: &Admission, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let needed = scope_of(method);
    let unauthorized = |detail: &str| Problem::new(ProblemKind::Unauthorized, detail);
    let Some(given) = text(headers, header::AUTHORIZATION) else {
        return Err(unauthorized(
            "send a token of this daemon as 'Authorization: Bearer <token>'",
        ));
    };
    let token = match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => return Err(unauthorized("the header Authorization must be 'Bearer <token>'")),
    };
    match admission.tokens.scope(token) {
        Some(scope) if scope >= needed => Ok(()),
        Some(scope) => Err(Problem::new(
            ProblemKind::Scope,
            format!("this needs a token of scope {needed}; the one sent has scope {scope}"),
        )),
        None => Err(unauthorized("this token is not one of this daemon's")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_made_here_is_new_and_can_be_sent_again() {
        let ids = [make_id(), make_id()];
        assert_ne!(ids[0], ids[1]);
        for id in ids {
            let parsed = Uuid::parse_str(id.to_str().unwrap()).unwrap();
            assert_eq!(parsed.get_version_num(), 7);
            let headers = HeaderMap::from_iter([(REQUEST_ID, id.clone())]);
            assert_eq!(given_id(&headers), Some(&id));
        }
    }
}
