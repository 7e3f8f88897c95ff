//! Giving out one file, as it is read: whole, or a range of its bytes.

use std::{io::SeekFrom, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use onceover_types::{Problem, ProblemKind};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{BucketParams, Files, blocking, bucket_of, file_error, kind_of, no_file, rest_of};
use crate::{
    http::{ApiError, AppState, middleware::representation::names_tag, query::Params, range::byte_range},
    objects::{ObjectStorage, location::Location},
};
use onceover_run::paths::share;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(download_file))
}

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// A file that is there.
struct Found {
    source: Source,
    length: u64,
    etag: Option<String>,
}

/// Where the bytes come from.
enum Source {
    Disk(tokio::fs::File),
    Store(Arc<ObjectStorage>, Location),
}

/// Download a file
///
/// Takes `Range: bytes=...` of one range, `If-Range` and `If-None-Match`; `HEAD` gives the headers alone.
#[utoipa::path(get, path = "/v1/files/download/{*file_path}", tag = "files",
    params(("file_path" = String, Path), BucketParams),
    responses((status = 200, description = "The file; its type is guessed by its suffix", content_type = "*/*"),
        (status = 206, description = "The range of it", content_type = "*/*"),
        (status = 304, description = "It is still what `If-None-Match` names"), (status = 403), (status = 404),
        (status = 416), (status = 422)))]
async fn download_file(
    State(files): State<Arc<Files>>,
    method: Method,
    path: Result<Path<String>, PathRejection>,
    Params(params): Params<BucketParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let bucket = bucket_of(&files, params.bucket.as_deref())?;
    let key = rest_of(path, &files)?;
    let Found { source, length, etag } = find(&files, bucket, &key).await?;
    let asked = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let known = asked(header::IF_NONE_MATCH).is_some_and(|tags| names_tag(tags, etag.as_deref()));
    let mut answer = Response::builder().header(header::ACCEPT_RANGES, "bytes");
    if let Some(etag) = etag.as_deref().and_then(|etag| HeaderValue::from_str(etag).ok()) {
        answer = answer.header(header::ETAG, etag);
    }
    if known {
        return Ok(finished(answer.status(StatusCode::NOT_MODIFIED), Body::empty()));
    }
    // A range of what the client has a part of; of something else it gets the whole.
    let range = asked(header::RANGE)
        .filter(|_| asked(header::IF_RANGE).is_none_or(|tag| Some(tag) == etag.as_deref()))
        .filter(|range| range.starts_with("bytes="));
    let Some((first, end)) = range.map_or(Some((0, length)), |range| byte_range(range, length)) else {
        return Ok(no_such_range(length));
    };
    if range.is_some() {
        answer = answer
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, format!("bytes {first}-{}/{length}", end - 1));
    }
    let answer = answer
        .header(header::CONTENT_TYPE, kind_of(&key))
        .header(header::CONTENT_LENGTH, end - first)
        .header(header::CONTENT_DISPOSITION, attachment(&key))
        // What a task wrote is not for a browser to run as a page of this daemon's.
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if method == Method::HEAD || first == end {
        return Ok(finished(answer, Body::empty()));
    }
    let body = match source {
        Source::Store(objects, location) => {
            let (_, stream) = objects.read(&location, range.map(|_| first..end)).await?;
            Body::from_stream(stream)
        }
        Source::Disk(mut file) => {
            let sought = file.seek(SeekFrom::Start(first)).await;
            sought.map_err(|error| file_error(&error, "file_path", &key))?;
            let part = file.take(end - first);
            Body::from_stream(tokio_util::io::ReaderStream::with_capacity(part, CHUNK))
        }
    };
    Ok(finished(answer, body))
}

async fn find(files: &Files, bucket: String, key: &str) -> Result<Found, ApiError> {
    let Some(objects) = &files.objects else {
        return find_in_share(files, key).await;
    };
    let location = Location {
        bucket,
        key: key.to_owned(),
    };
    let object = objects.find(&location).await?.ok_or_else(|| no_file(key))?;
    Ok(Found {
        source: Source::Store(Arc::clone(objects), location),
        length: object.size,
        etag: object.etag.map(|etag| format!("\"{}\"", etag.trim_matches('"'))),
    })
}

async fn find_in_share(files: &Files, key: &str) -> Result<Found, ApiError> {
    let (root, path) = (files.roots.tasks_dir().to_owned(), key.to_owned());
    let opened = blocking("file_path", key, move || {
        let Some(opened) = share::open_file(&root, &path)? else {
            return Ok(None);
        };
        let file = opened.reader()?;
        let meta = file.metadata()?;
        Ok(Some((file, meta)))
    });
    let (file, meta) = opened.await?.ok_or_else(|| no_file(key))?;
    let changed = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(Found {
        source: Source::Disk(tokio::fs::File::from_std(file)),
        length: meta.len(),
        etag: changed.map(|changed| format!("\"{:x}-{:x}\"", changed.as_nanos(), meta.len())),
    })
}

fn no_such_range(length: u64) -> Response {
    let detail = format!("the file has {length} bytes");
    let mut refused = ApiError(Problem::new(ProblemKind::Range, detail)).into_response();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
        refused.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    refused
}

fn finished(answer: axum::http::response::Builder, body: Body) -> Response {
    let answer = answer.body(body);
    answer.unwrap_or_else(|error| {
        tracing::error!(%error, "an answer cannot be made");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}

/// To be saved under its own name (RFC 6266): in full for those who read UTF-8, else what ASCII has of it.
fn attachment(key: &str) -> String {
    let name = key.rsplit('/').next().unwrap_or(key);
    let plain = |c: char| {
        if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' {
            c
        } else {
            '_'
        }
    };
    let ascii: String = name.chars().map(plain).collect();
    let full = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{full}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_saved_under_its_own_name() {
        assert_eq!(
            attachment("t1/a b.wav"),
            "attachment; filename=\"a b.wav\"; filename*=UTF-8''a%20b%2Ewav"
        );
        assert_eq!(
            attachment("x/\"字\".srt"),
            "attachment; filename=\"___.srt\"; filename*=UTF-8''%22%E5%AD%97%22%2Esrt"
        );
    }
}
