//! Giving out one file, as it is read: whole, or a range of its bytes.

use std::{io::SeekFrom, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use onceover_types::{Problem, ProblemKind, shortened};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Files, blocking, bucket_of, cues::read_cues, file_error, kind_of, no_file, rest_of};
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

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DownloadParams {
    /// Bucket of the object store: `storage.bucket`, which it is if left out, or one of `storage.buckets`.
    #[param(nullable = false, pattern = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    bucket: Option<String>,
    /// Read the file on the daemon's disk, also where an object store is configured.
    #[serde(default)]
    disk: bool,
    /// Answer with what the file says, as JSON, and not with its bytes. `cues`: subtitles of any format, or a
    /// transcript, as `{cues: [{start, end, text, characters_per_second, gap}], overlaps, too_fast, left_out,
    /// max_characters_per_second}`.
    #[serde(rename = "as")]
    #[param(nullable = false, pattern = "^cues$")]
    form: Option<String>,
}

/// A file that is there.
pub(super) struct Found {
    pub(super) source: FileSource,
    pub(super) length: u64,
    etag: Option<String>,
}

/// Where the bytes come from.
pub(super) enum FileSource {
    Disk(tokio::fs::File),
    Store(Arc<ObjectStorage>, Location),
}

/// Download a file
///
/// Takes `Range: bytes=...` of one range, `If-Range` and `If-None-Match`; `HEAD` gives the headers alone. With
/// `as=cues` it answers with the cues of subtitles or of a transcript of at most 8 MiB, as nodes read them.
#[utoipa::path(get, path = "/v1/files/download/{*file_path}", tag = "files",
    params(("file_path" = String, Path), DownloadParams),
    responses((status = 200, description = "The file, its type guessed by its suffix; with `as` what it says, as JSON",
            content_type = "*/*"),
        (status = 206, description = "The range of it", content_type = "*/*"),
        (status = 304, description = "It is still what `If-None-Match` names"), (status = 403), (status = 404),
        (status = 413), (status = 416), (status = 422)))]
async fn download_file(
    State(files): State<Arc<Files>>,
    method: Method,
    path: Result<Path<String>, PathRejection>,
    Params(params): Params<DownloadParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let bucket = bucket_of(&files, params.bucket.as_deref())?;
    let store = files.store(params.disk);
    let key = rest_of(path, store)?;
    if let Some(other) = params.form.as_deref().filter(|form| *form != "cues") {
        let why = format!("'{}' is no form of a file; there is cues", shortened(other));
        return Err(Problem::invalid_field("as", why).into());
    }
    let found = find(&files, store, bucket, &key).await?;
    if params.form.is_some() {
        return Ok(Json(read_cues(found, &key).await?).into_response());
    }
    send_file(found, &key, &method, &headers).await
}

/// Answers with the bytes of a file, or with those that the request asks for.
async fn send_file(found: Found, key: &str, method: &Method, headers: &HeaderMap) -> Result<Response, ApiError> {
    let Found { source, length, etag } = found;
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
        .header(header::CONTENT_TYPE, kind_of(key))
        .header(header::CONTENT_LENGTH, end - first)
        .header(header::CONTENT_DISPOSITION, attachment(key))
        // What a task wrote is not for a browser to run as a page of this daemon's.
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if *method == Method::HEAD || first == end {
        return Ok(finished(answer, Body::empty()));
    }
    let body = match source {
        FileSource::Store(objects, location) => {
            let (_, stream) = objects.read(&location, range.map(|_| first..end)).await?;
            Body::from_stream(stream)
        }
        FileSource::Disk(mut file) => {
            let sought = file.seek(SeekFrom::Start(first)).await;
            sought.map_err(|error| file_error(&error, "file_path", key))?;
            let part = file.take(end - first);
            Body::from_stream(tokio_util::io::ReaderStream::with_capacity(part, CHUNK))
        }
    };
    Ok(finished(answer, body))
}

async fn find(files: &Files, store: Option<&Arc<ObjectStorage>>, bucket: String, key: &str) -> Result<Found, ApiError> {
    let Some(objects) = store else {
        return find_in_share(files, key).await;
    };
    let location = Location {
        bucket,
        key: key.to_owned(),
    };
    let object = objects.find(&location).await?.ok_or_else(|| no_file(key))?;
    Ok(Found {
        source: FileSource::Store(Arc::clone(objects), location),
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
        source: FileSource::Disk(tokio::fs::File::from_std(file)),
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
