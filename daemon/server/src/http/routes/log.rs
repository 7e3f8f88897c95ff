//! Logs of stages: a range of bytes, lines by number and by search, or as they grow.

use std::{
    io::{self, SeekFrom},
    path::Path,
    sync::Arc,
};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use onceover_run::log::LineQuery;
use onceover_types::{NodeName, Problem, ProblemKind, TaskId};
use onceover_wire::LogPage;
use serde::Deserialize;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    ApiError, AppState, UNBUFFERED, connection::Endless, extract::StagePath, query::Params, range::byte_range,
};
use crate::{
    executor::supervise::Executor,
    services::{FollowedLog, LogText, StageLogs},
};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_stage_log))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogParams {
    /// Send what is written from now on too, until the run ends.
    #[serde(default)]
    follow: bool,
    /// With `follow`, how many bytes to leave out; from the end on when the log is not that long. With `lines` or
    /// `search`, the number of the first line, from 1; left out: the last lines, or with `search` those from the first
    /// one on.
    #[param(nullable = false)]
    from: Option<u64>,
    /// Answer with at most this many lines, 1 to 5000, as JSON; 500 where only `search` is given.
    #[param(minimum = 1, maximum = 5000, nullable = false)]
    lines: Option<u64>,
    /// Answer with the lines that have this text, as JSON; case does not matter.
    #[param(nullable = false)]
    search: Option<String>,
}

/// Lines of an answer where no number is given.
const DEFAULT_LINES: u64 = 500;
/// Lines of an answer at most.
const MOST_LINES: u64 = 5_000;
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

impl LogParams {
    /// Checks the parameters. Returns the lines that are asked for, if any are.
    fn check(&self) -> Result<Option<LineQuery>, Problem> {
        let from = self.from.unwrap_or_default();
        if i64::try_from(from).is_err() {
            return Err(Problem::invalid_field("from", "no file has that many bytes"));
        }
        if self.lines.is_none() && self.search.is_none() {
            return Ok(None);
        }
        if self.follow {
            let why = "a log is followed as a text; leave out lines and search";
            return Err(Problem::invalid_field("follow", why));
        }
        let lines = self.lines.unwrap_or(DEFAULT_LINES);
        if !(1..=MOST_LINES).contains(&lines) {
            return Err(Problem::invalid_field("lines", format!("give 1 to {MOST_LINES}")));
        }
        if self.from == Some(0) {
            return Err(Problem::invalid_field("from", "the first line has the number 1"));
        }
        Ok(Some(LineQuery {
            from: self.from,
            lines: lines as usize,
            search: self.search.clone().filter(|text| !text.is_empty()),
        }))
    }
}

/// Read the log of a stage's newest run
///
/// Takes `Range: bytes=...`, also `bytes=-4096` for the end. With `follow=true` it goes on as the log grows, and ends
/// when the run does. With `lines` or `search` it answers with lines and their numbers. Of a log that grew over its
/// limit the beginning and the end are kept, and a line between them says how much is left out.
#[utoipa::path(get, path = "/v1/tasks/{task_id}/stages/{task_name}/log", tag = "tasks",
    params(("task_id" = TaskId, Path), ("task_name" = NodeName, Path), LogParams),
    responses((status = 200, description = "The log; with `follow` what is written until the run ends; with `lines` or `search` lines of it",
        content((String = "text/plain"), (LogPage = "application/json"))),
        (status = 206, description = "The range of the log", body = String, content_type = "text/plain"),
        (status = 404), (status = 416), (status = 422), (status = 503)))]
async fn get_stage_log(
    State(logs): State<Arc<StageLogs>>,
    State(executor): State<Executor>,
    State(stop): State<CancellationToken>,
    StagePath(task, node): StagePath,
    Params(params): Params<LogParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let lines = params.check()?;
    // Before the file: a run that ends between the two is then read to its end.
    let find_length = || executor.live_log(&task, &node).map(|log| log.length());
    let growing = find_length();
    let dir = logs.find_log(&task, &node).await?;
    let no_log = || {
        let text = format!("{node} of '{task}' has no log yet, or none any more");
        ApiError::from(Problem::new(ProblemKind::NoLog, text))
    };
    let unreadable = |error| describe_unreadable(&dir, &error);
    if let Some(query) = lines {
        let page = logs.read_lines(&dir, query).await.map_err(unreadable)?;
        return Ok(Json(page.ok_or_else(no_log)?).into_response());
    }
    if params.follow {
        let from = params.from.unwrap_or_default();
        let followed = logs.follow_log(&dir, from, growing, stop).await.map_err(unreadable)?;
        let mut followed = followed.ok_or_else(no_log)?;
        followed.grow_with(find_length);
        return Ok(answer_followed(followed));
    }
    let text = logs.open_text(&dir).await.map_err(unreadable)?.ok_or_else(no_log)?;
    answer_range(text, &headers).await.map_err(|error| match error {
        RangeFault::Outside(length) => Problem::new(ProblemKind::Range, format!("the log has {length} bytes")).into(),
        RangeFault::Unreadable(error) => unreadable(error),
    })
}

const TEXT: &str = "text/plain; charset=utf-8";

fn describe_unreadable(dir: &Path, error: &io::Error) -> ApiError {
    tracing::error!(%error, path = %dir.display(), "a log cannot be read");
    Problem::new(ProblemKind::Internal, format!("the log cannot be read: {error}")).into()
}

/// Answers with the log as it grows.
fn answer_followed(followed: FollowedLog) -> Response {
    let chunks = futures_util::stream::try_unfold(followed, |mut followed| async move {
        Ok::<_, io::Error>(followed.next().await?.map(|chunk| (chunk, followed)))
    });
    let head = [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, "no-cache")];
    (UNBUFFERED, Extension(Endless), head, Body::from_stream(chunks)).into_response()
}

/// Why a range was not answered.
enum RangeFault {
    /// It lies outside of the log, which has so many bytes.
    Outside(u64),
    Unreadable(io::Error),
}

/// Answers with the text, or the range of it that the request names.
async fn answer_range(text: LogText, headers: &HeaderMap) -> Result<Response, RangeFault> {
    let length = match &text {
        LogText::File(_, length) => *length,
        LogText::Kept(bytes) => bytes.len() as u64,
    };
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) = range.map_or(Some((0, length)), |range| byte_range(range, length)) else {
        return Err(RangeFault::Outside(length));
    };
    let body = match text {
        LogText::Kept(bytes) => Body::from(bytes.slice(first as usize..last as usize)),
        LogText::File(file, _) => {
            let mut file = File::from_std(file);
            file.seek(SeekFrom::Start(first))
                .await
                .map_err(RangeFault::Unreadable)?;
            let part = file.take(last - first);
            Body::from_stream(tokio_util::io::ReaderStream::with_capacity(part, CHUNK))
        }
    };
    let length_header = (header::CONTENT_LENGTH, (last - first).to_string());
    let text = (header::CONTENT_TYPE, TEXT.to_owned());
    if range.is_none() {
        return Ok(([text, length_header, (header::ACCEPT_RANGES, "bytes".into())], body).into_response());
    }
    let span = (header::CONTENT_RANGE, format!("bytes {first}-{}/{length}", last - 1));
    Ok((StatusCode::PARTIAL_CONTENT, [text, length_header, span], body).into_response())
}
