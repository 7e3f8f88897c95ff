//! Logs of stages: a range of bytes, or as they grow.

use std::{
    io::{self, SeekFrom},
    path::Path,
    sync::Arc,
};

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use onceover_types::{NodeName, Problem, ProblemKind, TaskId};
use serde::Deserialize;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::watch,
};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    ApiError, AppState, UNBUFFERED, connection::Endless, extract::StagePath, query::Params, range::byte_range,
};
use crate::{executor::supervise::Executor, services::StageLogs};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get_stage_log))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogParams {
    /// Send what is written from now on too, until the run ends.
    #[serde(default)]
    follow: bool,
    /// First byte to send, with `follow`; from the end on when the log is not that long.
    #[serde(default)]
    from: u64,
}

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// Read the log of a stage's newest run
///
/// Takes `Range: bytes=...`, also `bytes=-4096` for the end. With `follow=true` it goes on as the log grows, and ends
/// when the run does.
#[utoipa::path(get, path = "/v1/tasks/{task_id}/stages/{task_name}/log", tag = "tasks",
    params(("task_id" = TaskId, Path), ("task_name" = NodeName, Path), LogParams),
    responses((status = 200, description = "The log, or with `follow` what is written until the run ends",
        body = String, content_type = "text/plain"),
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
    if i64::try_from(params.from).is_err() {
        return Err(Problem::invalid_field("from", "no file has that many bytes").into());
    }
    // Before the file: a run that ends between the two is then read to its end.
    let growing = executor.live_log(&task, &node).map(|log| log.length());
    let path = logs.find_log(&task, &node).await?;
    let opened = logs.open_log(&path).await.map_err(|error| unreadable(&path, &error))?;
    let Some(mut file) = opened.map(File::from_std) else {
        return Err(Problem::new(
            ProblemKind::NoLog,
            format!("{node} of '{task}' has no log yet, or none any more"),
        )
        .into());
    };
    let length = file.metadata().await.map_err(|error| unreadable(&path, &error))?.len();
    if params.follow {
        // File systems refuse to go far beyond the end.
        file.seek(SeekFrom::Start(params.from.min(length)))
            .await
            .map_err(|error| unreadable(&path, &error))?;
        let body = Body::from_stream(follow(file, growing, stop));
        let head = [(header::CONTENT_TYPE, TEXT), (header::CACHE_CONTROL, "no-cache")];
        return Ok((UNBUFFERED, Extension(Endless), head, body).into_response());
    }
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) = range.map_or(Some((0, length)), |range| byte_range(range, length)) else {
        return Err(Problem::new(ProblemKind::Range, format!("the log has {length} bytes")).into());
    };
    file.seek(SeekFrom::Start(first))
        .await
        .map_err(|error| unreadable(&path, &error))?;
    let body = Body::from_stream(tokio_util::io::ReaderStream::with_capacity(
        file.take(last - first),
        CHUNK,
    ));
    let length_header = (header::CONTENT_LENGTH, (last - first).to_string());
    let text = (header::CONTENT_TYPE, TEXT.to_owned());
    if range.is_none() {
        return Ok(([text, length_header, (header::ACCEPT_RANGES, "bytes".into())], body).into_response());
    }
    let span = (header::CONTENT_RANGE, format!("bytes {first}-{}/{length}", last - 1));
    Ok((StatusCode::PARTIAL_CONTENT, [text, length_header, span], body).into_response())
}

const TEXT: &str = "text/plain; charset=utf-8";

fn unreadable(path: &Path, error: &io::Error) -> ApiError {
    tracing::error!(%error, path = %path.display(), "a log cannot be read");
    Problem::new(ProblemKind::Internal, format!("the log cannot be read: {error}")).into()
}

/// Reads on as the log grows; ends when the run has ended and all is read, or when the daemon stops.
fn follow(
    file: File,
    growing: Option<watch::Receiver<u64>>,
    stop: CancellationToken,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::try_unfold((file, growing, stop), |(mut file, mut growing, stop)| async move {
        loop {
            let mut buffer = vec![0; CHUNK];
            if let Some(growing) = &mut growing {
                growing.borrow_and_update();
            }
            let read = file.read(&mut buffer).await?;
            if read > 0 {
                buffer.truncate(read);
                return Ok(Some((Bytes::from(buffer), (file, growing, stop))));
            }
            let Some(growth) = &mut growing else { return Ok(None) };
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                // The writer has ended: what is left is read once more, then it is over.
                changed = growth.changed() => if changed.is_err() { growing = None },
            }
        }
    })
}
