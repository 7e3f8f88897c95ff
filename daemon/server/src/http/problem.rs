//! The API's one error type, and which HTTP status each error is.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use onceover_types::{FieldError, Problem, ProblemKind};

use super::body::IDEMPOTENCY_KEY;
use crate::{
    pipelines::{FileFault, VideoError},
    services::EngineError,
};
use onceover_store::StoreError;

/// An error answer: `application/problem+json` (RFC 9457).
#[derive(Debug)]
pub struct ApiError(pub Problem);

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self(match error {
            // Never fail open: no decision is better than a wrong one, and every call can be repeated.
            StoreError::Unavailable(_) => Problem::new(
                ProblemKind::RedisUnavailable,
                format!("{error}; nothing was decided, the request can be repeated as it is"),
            ),
            StoreError::Unexpected(_) | StoreError::Unusable(_) | StoreError::Url(_) => {
                tracing::error!(%error, "store");
                Problem::new(ProblemKind::Internal, error.to_string())
            }
        })
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let detail = error.to_string();
        match error {
            EngineError::UnknownTask(_) => Self(Problem::new(ProblemKind::UnknownTask, detail)),
            EngineError::UnknownStage { .. } => Self(Problem::new(ProblemKind::UnknownStage, detail)),
            EngineError::UnknownCallback(_) => Self(Problem::new(ProblemKind::UnknownCallback, detail)),
            EngineError::OtherInput { .. } => Self(Problem::new(ProblemKind::InputChanged, detail)),
            EngineError::NotReady { missing, .. } => Self(Problem {
                missing: missing.into(),
                ..Problem::new(ProblemKind::NodeNotReady, detail)
            }),
            EngineError::KeyReused => Self(Problem {
                errors: vec![FieldError::new(IDEMPOTENCY_KEY, detail.clone())],
                ..Problem::new(ProblemKind::IdempotencyKeyReused, detail)
            }),
            EngineError::TooManyCallbacks { .. } => Self(Problem::new(ProblemKind::TooManyCallbacks, detail)),
            EngineError::Damaged { .. } => Self(Problem::new(ProblemKind::DamagedRecord, detail)),
            EngineError::TooLarge(error) => Self(Problem {
                errors: vec![error],
                ..Problem::new(ProblemKind::TooLarge, detail)
            }),
            EngineError::Full(_) => Self(Problem::new(ProblemKind::RedisFull, detail)),
            EngineError::Refused(_) => Self(Problem::new(ProblemKind::Refused, detail)),
            // Only a pipeline hears these.
            EngineError::Superseded | EngineError::AlreadyAsked => Self(Problem::new(ProblemKind::Superseded, detail)),
            EngineError::Draining => Self(Problem::new(ProblemKind::Draining, detail)),
            EngineError::Invalid(errors) => Self(Problem::invalid_fields(errors)),
            EngineError::Store(error) => error.into(),
        }
    }
}

impl From<VideoError> for ApiError {
    fn from(error: VideoError) -> Self {
        let detail = error.to_string();
        Self(match error {
            VideoError::Unknown(_) => Problem::new(ProblemKind::UnknownVideo, detail),
            VideoError::NeverProcessed(_) => Problem::new(ProblemKind::NeverProcessed, detail),
            VideoError::Taken(_) => Problem::new(ProblemKind::VideoExists, detail),
            VideoError::File { fault, field } => {
                let kind = problem_of(fault);
                Problem {
                    kind: kind.into(),
                    title: kind.page().title.into(),
                    ..Problem::invalid_fields(vec![field])
                }
            }
            VideoError::Busy { video, .. } => Problem {
                task_id: Some(Box::new(video.task())),
                ..Problem::new(ProblemKind::AlreadyProcessing, detail)
            },
            VideoError::Storage(_) => Problem::new(ProblemKind::Storage, detail),
            VideoError::Engine(error) => return error.into(),
        })
    }
}

fn problem_of(fault: FileFault) -> ProblemKind {
    match fault {
        FileFault::NotAllowed => ProblemKind::OutsideRoots,
        FileFault::Unreadable => ProblemKind::UnreadableFile,
        FileFault::Damaged => ProblemKind::DamagedMedia,
        FileFault::TimedOut => ProblemKind::ProbeTimeout,
        FileFault::NoVideo => ProblemKind::NotAVideo,
    }
}

/// The problem document.
pub fn body_of(problem: &Problem) -> Vec<u8> {
    serde_json::to_vec(problem).expect("a problem can be written as JSON")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, body_of(&self.0)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer realm=\"onceover\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // Who knows the request's id completes it.
        response.extensions_mut().insert(self.0);
        response
    }
}
