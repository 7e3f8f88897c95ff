//! Extractors whose refusals are problem documents that name the field (O4).

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::PathRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use onceover_common::{NodeName, Problem, ProblemKind, TaskId, VideoId};
use serde::de::DeserializeOwned;

use super::ApiError;

/// A JSON body.
pub struct Body<T>(pub T);

/// A JSON body that may be left out.
pub struct OptionalBody<T>(pub T);

/// What a request says its body is, without parameters; empty where it does not.
pub fn declared_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// Whether a body of this type can only be meant as JSON.
pub fn is_json_type(kind: &str) -> bool {
    kind.is_empty() || kind == "application/json" || kind.ends_with("+json")
}

/// Reads a body by what it is, whatever it is sent as: curl calls JSON a form, and some clients do not say what they send.
fn parse_body<T: DeserializeOwned>(kind: &str, bytes: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value: serde_json::Value = serde::Deserialize::deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| not_json(kind, &error))?;
    parse_value(value).map_err(Into::into)
}

fn not_json(kind: &str, error: &serde_json::Error) -> Problem {
    if is_json_type(kind) {
        return Problem::new(ProblemKind::NotJson, format!("the body is not JSON: {error}"));
    }
    let kind: String = kind.chars().take(100).collect();
    let detail = format!("the body is sent as {kind} and is not JSON ({error}); send application/json");
    Problem::new(ProblemKind::MediaType, detail)
}

/// Reads a JSON value; the problem names the field that is wrong.
pub fn parse_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.inner().to_string();
        // A missing field is reported at its parent; its name is in the message.
        let field = match cause
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split('`').next())
        {
            Some(missing) if path == "." => missing.to_owned(),
            Some(missing) => format!("{path}.{missing}"),
            None if path == "." => "body".to_owned(),
            None => path,
        };
        Problem::invalid_field(field, cause)
    })
}

async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<bytes::Bytes, ApiError> {
    bytes::Bytes::from_request(request, state).await.map_err(|rejection| {
        let kind = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ProblemKind::TooLarge,
            _ => ProblemKind::BadBody,
        };
        ApiError(Problem::new(kind, rejection.body_text()))
    })
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = declared_type(request.headers());
        parse_body(&kind, &bytes(request, state).await?).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = declared_type(request.headers());
        let bytes = bytes(request, state).await?;
        if bytes.trim_ascii().is_empty() || bytes.trim_ascii() == b"null" {
            return Ok(Self(T::default()));
        }
        parse_body(&kind, &bytes).map(Self)
    }
}

/// The query string.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(Problem::invalid_field("query", rejection.body_text()).into()),
        }
    }
}

fn raw_path(path: Result<Path<Vec<(String, String)>>, PathRejection>) -> Result<Vec<(String, String)>, ApiError> {
    path.map(|Path(parts)| parts)
        .map_err(|rejection| Problem::invalid_field("path", rejection.body_text()).into())
}

fn part<'a>(parts: &'a [(String, String)], name: &str) -> &'a str {
    parts.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// `{task_id}` of the path.
pub struct TaskPath(pub TaskId);

impl<S: Send + Sync> FromRequestParts<S> for TaskPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let parts = raw_path(Path::from_request_parts(parts, state).await)?;
        let task = TaskId::parse(part(&parts, "task_id"));
        task.map(Self)
            .map_err(|error| Problem::invalid_field("task_id", error.to_string()).into())
    }
}

/// `{task_name}` of the path.
pub struct NodePath(pub NodeName);

impl<S: Send + Sync> FromRequestParts<S> for NodePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let parts = raw_path(Path::from_request_parts(parts, state).await)?;
        let node = NodeName::parse(part(&parts, "task_name"));
        node.map(Self)
            .map_err(|error| Problem::invalid_field("task_name", error.to_string()).into())
    }
}

/// `{task_id}` and `{task_name}` of the path.
pub struct StagePath(pub TaskId, pub NodeName);

impl<S: Send + Sync> FromRequestParts<S> for StagePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let parts = raw_path(Path::from_request_parts(parts, state).await)?;
        let task = TaskId::parse(part(&parts, "task_id"))
            .map_err(|error| Problem::invalid_field("task_id", error.to_string()))?;
        let node = NodeName::parse(part(&parts, "task_name"))
            .map_err(|error| Problem::invalid_field("task_name", error.to_string()))?;
        Ok(Self(task, node))
    }
}

/// `{id}` of the path. Any text: what is not an id is the id of nothing.
pub struct IdPath(pub String);

impl<S: Send + Sync> FromRequestParts<S> for IdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let parts = raw_path(Path::from_request_parts(parts, state).await)?;
        Ok(Self(part(&parts, "id").to_owned()))
    }
}

/// `{video_id}` of the path.
pub struct VideoPath(pub VideoId);

impl<S: Send + Sync> FromRequestParts<S> for VideoPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let parts = raw_path(Path::from_request_parts(parts, state).await)?;
        let video = VideoId::parse(part(&parts, "video_id"));
        video
            .map(Self)
            .map_err(|error| Problem::invalid_field("video_id", error.to_string()).into())
    }
}
