//! What a delete of a task removed, resource by resource.

use std::fmt;

use serde::{Deserialize, Serialize};

use onceover_types::Timestamp;

/// `POST /v1/tasks/{id}/delete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeleteRequest {
    /// Also delete a task with stages in flight; their runs are ended first.
    #[serde(default)]
    pub force: bool,
}

/// Where a task has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskResource {
    /// The task's folder, with its files and logs.
    LocalDirectory,
    /// The task's records.
    Redis,
    /// The task's objects in the object store.
    Minio,
}

impl TaskResource {
    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LocalDirectory => "local_directory",
            Self::Redis => "redis",
            Self::Minio => "minio",
        }
    }
}

impl fmt::Display for TaskResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResourceOutcome {
    Deleted,
    /// There was nothing to delete.
    Skipped,
    Failed,
}

/// What became of one resource of a deleted task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeletedResource {
    pub resource: TaskResource,
    pub status: ResourceOutcome,
    pub message: String,
    /// For `failed`: whether the same request can succeed later.
    pub retriable: Option<bool>,
    #[schema(value_type = Option<Object>)]
    pub details: Option<serde_json::Value>,
}

/// What became of all resources together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeletionStatus {
    Success,
    /// Something was deleted and something could not be.
    PartialFailed,
    Failed,
}

impl DeletionStatus {
    /// Returns the word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::PartialFailed => "partial_failed",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for DeletionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Answer of `POST /v1/tasks/{id}/delete`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeleteReport {
    pub status: DeletionStatus,
    pub results: Vec<DeletedResource>,
    pub warnings: Option<Vec<String>>,
    pub timestamp: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_report_are_those_of_its_json() {
        for status in [
            DeletionStatus::Success,
            DeletionStatus::PartialFailed,
            DeletionStatus::Failed,
        ] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for resource in [TaskResource::LocalDirectory, TaskResource::Redis, TaskResource::Minio] {
            assert_eq!(serde_json::to_value(resource).unwrap(), resource.as_str());
        }
    }
}
