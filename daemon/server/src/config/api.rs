//! `[api]`: how requests are read.

use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// What becomes of fields of a request that nothing reads.
    pub unknown_fields: UnknownFields,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// The answer has a warning for each.
    #[default]
    Warn,
    /// The request is refused with 422.
    Refuse,
}
