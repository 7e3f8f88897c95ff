//! The API's one error type, and which HTTP status each error is.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use onceover_types::{FieldError, Problem, ProblemKind};

use super::body::IDEMPOTENCY_KEY;
use crate::{
    pipelines::{FileFault, VideoError},
    services::ServiceError,
};

/// An error answer: `application/problem+json` (RFC 9457).
#[derive(Debug)]
pub struct ApiError(pub Problem);

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        let detail = error.to_string();
        match error {
            ServiceError::UnknownTask(_) => Self(Problem::new(ProblemKind::UnknownTask, detail)),
            ServiceError::UnknownStage { .. } => Self(Problem::new(ProblemKind::UnknownStage, detail)),
            ServiceError::UnknownCallback(_) => Self(Problem::new(ProblemKind::UnknownCallback, detail)),
            ServiceError::OtherInput { .. } => Self(Problem::new(ProblemKind::InputChanged, detail)),
            ServiceError::NotReady { missing, .. } => Self(Problem {
                missing: missing.into(),
                ..Problem::new(ProblemKind::NodeNotReady, detail)
            }),
            ServiceError::KeyReused => Self(Problem {
                errors: vec![FieldError::new(IDEMPOTENCY_KEY, detail.clone())],
                ..Problem::new(ProblemKind::IdempotencyKeyReused, detail)
            }),
            ServiceError::TooManyCallbacks { .. } => Self(Problem::new(ProblemKind::TooManyCallbacks, detail)),
            ServiceError::Damaged { .. } => Self(Problem::new(ProblemKind::DamagedRecord, detail)),
            ServiceError::TooLarge(error) => Self(Problem {
                errors: vec![error],
                ..Problem::new(ProblemKind::TooLarge, detail)
            }),
            ServiceError::Full(_) => Self(Problem::new(ProblemKind::RedisFull, detail)),
            ServiceError::Refused(_) => Self(Problem::new(ProblemKind::Refused, detail)),
            // Only a pipeline hears these.
            ServiceError::Superseded | ServiceError::AlreadyAsked => {
                Self(Problem::new(ProblemKind::Superseded, detail))
            }
            ServiceError::Draining => Self(Problem::new(ProblemKind::Draining, detail)),
            ServiceError::Invalid(errors) => Self(Problem::invalid_fields(errors)),
            // Never fail open: no decision is better than a wrong one, and every call can be repeated.
            ServiceError::Unavailable(_) => Self(Problem::new(
                ProblemKind::RedisUnavailable,
                format!("{detail}; nothing was decided, the request can be repeated as it is"),
            )),
            ServiceError::Store(error) => {
                tracing::error!(%error, "store");
                Self(Problem::new(ProblemKind::Internal, detail))
            }
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
            VideoError::Service(error) => return error.into(),
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
