//! What stands in paths. Refusals are problem documents that name the field (O4); those of bodies are in `body`, those of
//! queries in `query`.

use axum::{
    extract::{FromRequestParts, Path, rejection::PathRejection},
    http::request::Parts,
};
use onceover_types::{NodeName, Problem, TaskId, VideoId};

use super::ApiError;

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
