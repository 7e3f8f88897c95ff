//! Error answers: RFC 9457 problem documents, the same type in daemon, client and dashboard.

mod kind;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::TaskId;

pub use kind::{PROBLEMS, ProblemKind, ProblemPage, ProblemType};

/// One field of a request that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Path of the field, `input_data.video_path`.
    pub field: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl FieldError {
    /// Makes the error of one field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

/// Something that a node needs and that is missing on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Missing {
    /// `the Python environment of faster_whisper, which is not installed`.
    pub what: String,
    /// The command to get it, or what else to do.
    pub how: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.how)
    }
}

/// An error answer (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// A URI reference that names the kind of problem, `/problems/invalid-request`; a page there explains it.
    #[serde(rename = "type", default)]
    #[schema(value_type = String)]
    pub kind: ProblemType,
    /// The kind of problem in a few words.
    #[schema(value_type = String)]
    pub title: Box<str>,
    /// HTTP status code.
    pub status: u16,
    /// What went wrong this time, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub detail: Option<Box<str>>,
    /// This occurrence, `urn:request:<id>`: the header `x-request-id` and the daemon's log have the same id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub instance: Option<Box<str>>,
    /// The fields that were refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What is missing on the machine, where that is the reason.
    #[serde(default, skip_serializing_if = "<[Missing]>::is_empty")]
    #[schema(value_type = Vec<Missing>)]
    pub missing: Box<[Missing]>,
    /// The task that is under way, where that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TaskId>)]
    pub task_id: Option<Box<TaskId>>,
}

impl Problem {
    /// Makes a problem of this kind; `detail` says what went wrong this time and what to do.
    pub fn new(kind: ProblemKind, detail: impl Into<Box<str>>) -> Self {
        let page = kind.page();
        Self {
            kind: kind.into(),
            title: page.title.into(),
            status: page.status,
            detail: Some(detail.into()),
            instance: None,
            errors: Vec::new(),
            missing: Box::default(),
            task_id: None,
        }
    }

    /// Makes a 422: the request was understood, but these fields cannot be accepted (O4).
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let names: Vec<_> = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect();
        Self {
            errors,
            ..Self::new(ProblemKind::InvalidRequest, names.join("; ").as_str())
        }
    }

    /// Makes a 422 about one field.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldError::new(field, message)])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => f.write_str(detail),
            None => write!(f, "{} ({})", self.title, self.status),
        }
    }
}

impl std::error::Error for Problem {}
