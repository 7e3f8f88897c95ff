//! `[pipelines]`: which pipelines there are, and how often their steps are tried.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::duration;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelinesConfig {
    /// The pipeline of a video that names none.
    pub default: String,
    /// Folders of pipeline files, `*.toml`.
    pub dirs: Vec<PathBuf>,
    /// How often a step that failed is tried again, where its pipeline does not say.
    pub retries: u32,
    /// Wait before the first of these, doubled before each later one.
    #[serde(deserialize_with = "duration")]
    pub backoff: Duration,
}

impl Default for PipelinesConfig {
    fn default() -> Self {
        Self {
            default: "subtitles".into(),
            dirs: Vec::new(),
            retries: 0,
            backoff: Duration::from_secs(10),
        }
    }
}
