//! Lines of a stage's log, by number and by search.

use serde::{Deserialize, Serialize};

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogLine {
    /// Its number among all lines that were written, from 1.
    pub number: u64,
    /// The line without its end; it begins with the time at which it was written.
    pub text: String,
}

/// What of a long log is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogGap {
    /// The number of the first line that is left out.
    pub first: u64,
    /// Lines that are left out.
    pub lines: u64,
    /// Bytes that are left out.
    pub bytes: u64,
}

/// `GET /v1/tasks/{id}/stages/{task_name}/log` with `lines` or `search`: lines of the log, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogPage {
    /// The lines; of a page that would be too large, the first ones, or of the end the last ones.
    pub lines: Vec<LogLine>,
    /// Lines that were written so far, those that are left out included.
    pub total: u64,
    /// What of the log is not kept. Absent if all is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<LogGap>,
    /// With `search`: how many lines of the whole log have the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
}
