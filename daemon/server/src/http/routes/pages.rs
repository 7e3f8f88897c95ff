//! What is open to everybody who reaches the daemon: where things are, and what each kind of problem means. No answer here
//! holds data of a task.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use onceover_types::{
    Problem, ProblemKind,
    problem::{PROBLEMS, ProblemType},
};
use serde::Serialize;
use utoipa::{ToSchema, openapi::OpenApi as Document};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{ApiError, AppState};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(root))
        .routes(routes!(list_problems))
        .routes(routes!(explain_problem))
}

/// Where the description and its page are.
pub const DESCRIPTION: &str = "/openapi.json";
pub const DOCS: &str = "/docs";
/// Where the older gateway's framework had a second page.
const REDOC: &str = "/redoc";

/// Pages that are no part of the description.
pub fn unlisted() -> Router<AppState> {
    Router::new().route(REDOC, get(async || moved(DOCS.to_owned())))
}

/// Whether a path can be read without a token: it holds no data.
pub fn is_open(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let below = |start: &str| path.strip_prefix(start).is_some_and(|rest| rest.starts_with('/'));
    matches!(path, "" | "/livez" | "/readyz" | DESCRIPTION | DOCS | REDOC | PROBLEMS) || below(DOCS) || below(PROBLEMS)
}

/// What `GET /` answers.
#[derive(Serialize, ToSchema)]
struct Welcome {
    /// Says that Onceover answers.
    message: String,
    /// Version of the daemon.
    version: String,
    /// Paths of what can be read first.
    links: WelcomeLinks,
}

#[derive(Serialize, ToSchema)]
struct WelcomeLinks {
    /// The browser page of the description.
    docs: String,
    /// The description, OpenAPI 3.1.
    openapi: String,
    /// Whether submits can be decided now.
    readyz: String,
    /// Whether the process is alive.
    livez: String,
    /// Every kind of problem.
    problems: String,
    /// The tasks, newest first.
    tasks: String,
    /// Names of the nodes that can be submitted.
    supported_tasks: String,
}

/// Say that this is Onceover, and where things are
///
/// Needs no token. `message` is what the older gateway answered here.
#[utoipa::path(get, path = "/", tag = "system", operation_id = "get_root",
    responses((status = 200, body = Welcome, description = "The daemon, its version and where things are")))]
async fn root() -> Json<Welcome> {
    Json(Welcome {
        message: "Onceover runs media work one stage at a time and never does the same stage twice".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        links: WelcomeLinks {
            docs: DOCS.into(),
            openapi: DESCRIPTION.into(),
            readyz: "/readyz".into(),
            livez: "/livez".into(),
            problems: PROBLEMS.into(),
            tasks: "/v1/tasks".into(),
            supported_tasks: "/v1/tasks/supported-tasks".into(),
        },
    })
}

/// A kind of problem, explained.
#[derive(Serialize, ToSchema)]
struct ProblemExplained {
    /// `type` of the problem documents of this kind, and path of this page.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: ProblemType,
    /// HTTP status of the answer.
    status: u16,
    /// The kind in a few words.
    #[schema(value_type = String)]
    title: &'static str,
    /// What it means.
    #[schema(value_type = String)]
    meaning: &'static str,
    /// What the caller can do.
    #[schema(value_type = String)]
    remedy: &'static str,
}

impl From<ProblemKind> for ProblemExplained {
    fn from(kind: ProblemKind) -> Self {
        let page = kind.page();
        Self {
            kind: kind.into(),
            status: page.status,
            title: page.title,
            meaning: page.meaning,
            remedy: page.remedy,
        }
    }
}

/// Every kind of problem there is.
#[derive(Serialize, ToSchema)]
struct ProblemCatalog {
    problems: Vec<ProblemExplained>,
}

/// List every kind of problem that answers can have
///
/// Needs no token. A page for browsers, which ask for `text/html`; JSON for others.
#[utoipa::path(get, path = "/problems", tag = "system", operation_id = "list_problems",
    responses((status = 200, description = "Every kind, with its status and meaning",
        content((ProblemCatalog = "application/json"), (String = "text/html")))))]
async fn list_problems(headers: HeaderMap) -> Response {
    let problems: Vec<_> = ProblemKind::ALL.iter().copied().map(ProblemExplained::from).collect();
    if !wants_html(&headers) {
        return negotiated(Json(ProblemCatalog { problems }).into_response());
    }
    let mut rows = String::new();
    for problem in &problems {
        rows.push_str(&format!(
            "<tr><td>{}<td><a href=\"{}\">{}</a><td>{}\n",
            problem.status,
            problem.kind,
            escaped(problem.title),
            marked_up(problem.meaning)
        ));
    }
    let table = format!("<table>\n<tr><th>Status<th>Problem<th>Meaning\n{rows}</table>");
    html_page("Problems", &table)
}

/// Explain a kind of problem
///
/// The `type` of a problem document is the path of this page. Needs no token. A page for browsers, which ask for
/// `text/html`; JSON for others.
#[utoipa::path(get, path = "/problems/{slug}", tag = "system", operation_id = "explain_problem",
    params(("slug" = String, Path, description = "Last part of the problem's `type`")),
    responses((status = 200, description = "What it means and what to do",
            content((ProblemExplained = "application/json"), (String = "text/html"))),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no such kind of problem")))]
async fn explain_problem(Path(slug): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let kind = ProblemKind::find(&slug).ok_or_else(|| {
        let slug: String = slug.chars().take(100).collect();
        let detail = format!("there is no kind of problem '{slug}'; {PROBLEMS} lists them");
        Problem::new(ProblemKind::NotFound, detail)
    })?;
    let problem = ProblemExplained::from(kind);
    if !wants_html(&headers) {
        return Ok(negotiated(Json(problem).into_response()));
    }
    let body = format!(
        "<p><code>{}</code>, HTTP status {}</p>\n<h2>What it means</h2>\n<p>{}</p>\n<h2>What to do</h2>\n<p>{}</p>\n\
         <p><a href=\"{PROBLEMS}\">All kinds of problems</a></p>",
        problem.kind,
        problem.status,
        marked_up(problem.meaning),
        marked_up(problem.remedy)
    );
    Ok(html_page(problem.title, &body))
}

fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Marks an answer as one of several, by `Accept`.
fn negotiated(mut answer: Response) -> Response {
    let accept = HeaderValue::from_static("accept");
    answer.headers_mut().insert(header::VARY, accept);
    answer
}

fn html_page(title: &str, body: &str) -> Response {
    let title = escaped(title);
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title} - Onceover</title>\n<style>body {{ font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; \
         padding: 0 1rem }} td, th {{ text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0 }}</style>\n\
         <h1>{title}</h1>\n{body}\n</html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'",
        ),
    ];
    negotiated((headers, text).into_response())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Text for HTML; what stands between backticks becomes code.
fn marked_up(text: &str) -> String {
    let part = |(index, part): (usize, &str)| match index % 2 {
        0 => escaped(part),
        _ => format!("<code>{}</code>", escaped(part)),
    };
    text.split('`').enumerate().map(part).collect()
}

/// Paths of the API, to tell a known path with a slash too many from an unknown one.
#[derive(Clone)]
pub struct KnownPaths(Arc<matchit::Router<IsRead>>);

/// Whether a path has a GET.
#[derive(Clone, Copy, PartialEq, Eq)]
struct IsRead(bool);

impl KnownPaths {
    /// The paths of the description, as the router has them.
    pub fn of_document(document: &Document) -> Self {
        let mut router = matchit::Router::new();
        let listed = document.paths.paths.iter();
        let listed = listed.map(|(path, item)| (path.as_str(), item.get.is_some()));
        for (path, has_get) in listed.chain([(DESCRIPTION, true), (REDOC, true)]) {
            let inserted = router.insert(path, IsRead(has_get));
            inserted.expect("the API's own router has taken this path");
        }
        Self(Arc::new(router))
    }

    /// Whether there is something to GET at a path.
    pub fn can_be_read(&self, path: &str) -> bool {
        self.0.at(path).is_ok_and(|found| found.value.0)
    }

    /// Answers what no route matches: 308 to the same path without the slash at its end if there is something, else 404.
    pub fn fall_back(&self, uri: &Uri) -> Response {
        match self.without_slash(uri) {
            Some(right) => moved(right),
            None => not_found(uri),
        }
    }

    fn without_slash(&self, uri: &Uri) -> Option<String> {
        let path = uri.path();
        let right = path.trim_end_matches('/');
        // A path of two slashes would name another host.
        if right.len() == path.len() || right.starts_with("//") || self.0.at(right).is_err() {
            return None;
        }
        Some(match uri.query() {
            Some(query) => format!("{right}?{query}"),
            None => right.to_owned(),
        })
    }
}

/// 308: the same method and body, at another path.
fn moved(path: String) -> Response {
    match HeaderValue::from_str(&path) {
        Ok(path) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, path)]).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn not_found(uri: &Uri) -> Response {
    let detail = format!("there is nothing at {}; {DOCS} shows what there is", uri.path());
    ApiError(Problem::new(ProblemKind::NotFound, detail)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(uri: &str) -> Option<String> {
        let mut document = Document::default();
        for path in [
            "/",
            "/v1/tasks",
            "/v1/tasks/{task_id}",
            "/v1/files/download/{*file_path}",
        ] {
            document.paths.paths.insert(path.into(), Default::default());
        }
        KnownPaths::of_document(&document).without_slash(&uri.parse().unwrap())
    }

    #[test]
    fn only_a_known_path_loses_its_slash_and_none_leads_to_another_host() {
        assert_eq!(right("/v1/tasks/").as_deref(), Some("/v1/tasks"));
        assert_eq!(right("/v1/tasks//").as_deref(), Some("/v1/tasks"));
        assert_eq!(
            right("/v1/tasks/t%201/?a=1&b=%2F").as_deref(),
            Some("/v1/tasks/t%201?a=1&b=%2F")
        );
        assert_eq!(right("/redoc/").as_deref(), Some("/redoc"));
        for wrong in [
            "/v1/tasks",
            "/v1/nothing/",
            "/v1/",
            "/",
            "//",
            "//evil.example/",
            "//evil.example/v1/tasks/",
            "//v1/tasks/",
            "/%2F/evil.example/",
            "/v1/tasks/a/b/",
        ] {
            assert_eq!(right(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_open_is_named_whole() {
        for open in [
            "/",
            "/livez",
            "/docs",
            "/docs/",
            "/docs/a.js",
            "/openapi.json",
            "/problems/busy",
            "/redoc/",
        ] {
            assert!(is_open(open), "{open}");
        }
        for closed in [
            "/docsx",
            "/v1/tasks",
            "/problemsx",
            "/metrics",
            "/openapi.jsonx",
            "/v1/tasks/docs/",
            "/livez/x",
        ] {
            assert!(!is_open(closed), "{closed}");
        }
    }

    #[test]
    fn a_page_shows_its_words_as_they_are() {
        assert_eq!(
            marked_up("Send `Bearer <token>` & more"),
            "Send <code>Bearer &lt;token&gt;</code> &amp; more"
        );
    }
}
