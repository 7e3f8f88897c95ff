//! What every request passes before its handler: its id, the count of requests under way, whom the daemon answers to,
//! and the scope it needs.

pub(super) mod prefer;
pub(super) mod representation;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, Uri, Version, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use onceover_types::{Problem, ProblemKind};
use tokio::sync::Semaphore;
use tracing::Instrument;

use super::{
    ApiError,
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

/// Header of a request's id, taken from the caller or made here, and sent back.
const REQUEST_ID: &str = "x-request-id";
/// Longest id that is taken from a caller.
const LONGEST_ID: usize = 64;
/// Routes for probes: they are answered however busy the daemon is.
const PROBES: [&str; 2] = ["/livez", "/readyz"];

/// Who may call, and how many at a time. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    pub tokens: Arc<Tokens>,
    pub links: Links,
    pub hosts: Arc<Hosts>,
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

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// Gives the request its id, and writes down how it was answered. It is the outermost middleware.
pub async fn identify(State(admission): State<Admission>, request: Request, next: Next) -> Response {
    let given = text(request.headers(), REQUEST_ID).filter(|id| acceptable(id));
    let id = given.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = tracing::info_span!("request", id, %method, path = request.uri().path());
    let start = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let took = start.elapsed();
    let status = response.status().as_u16();
    let pattern = route.as_ref().map(MatchedPath::as_str);
    admission.metrics.answered(pattern, &method, status, took);
    span.in_scope(|| tracing::debug!(status, ?took, "answered"));
    if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
        problem.instance = Some(format!("urn:request:{id}").into());
        *response.body_mut() = Body::from(body_of(&problem));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn acceptable(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':'))
}

/// Holds a slot while the handler works. The body of an event stream or a followed log needs none.
pub async fn admit(State(admission): State<Admission>, request: Request, next: Next) -> Response {
    if PROBES.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let Some(slot) = RequestSlot::take(&admission.request_slots) else {
        Limit::Requests.reached();
        return ApiError(Problem::new(
            ProblemKind::Busy,
            "as many requests as access.max_requests allows are under way; send it again in a moment",
        ))
        .into_response();
    };
    let request = awaited(request, &slot, &admission.request_slots, admission.body_timeout);
    next.run(request).await
}

/// Refuses what a page in a browser was made to send, and what has not the scope it needs.
pub async fn authorize(State(admission): State<Admission>, mut request: Request, next: Next) -> Response {
    if let Err(problem) = judge_origin(&admission, &request) {
        return ApiError(problem).into_response();
    }
    let proof = LinkProof::of_uri(request.uri());
    if !admission.tokens.is_empty() && !is_open(request.uri().path()) {
        let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers());
        // A request with a token is judged by that, also at a link.
        let judged = match &proof {
            Some(proof) if !headers.contains_key(header::AUTHORIZATION) => {
                judge_link(&admission, &method, &uri, proof).await
            }
            _ => judge_token(&admission, &method, headers).map_err(ApiError),
        };
        if let Err(error) = judged {
            return error.into_response();
        }
    }
    if (admission.tokens.is_empty() || !is_open(request.uri().path()))
        && let Some(connection) = request.extensions().get::<Arc<Connection>>()
    {
        connection.is_known();
    }
    if proof.is_some() {
        *request.uri_mut() = without_proof(request.uri());
    }
    next.run(request).await
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
    if let Some(origin) = text(headers, header::ORIGIN.as_str())
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
    let Some(given) = text(headers, header::AUTHORIZATION.as_str()) else {
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
