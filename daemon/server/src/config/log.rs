//! `[log]`: which events the daemon logs, in which form, and where to beside the files of the data directory.

use std::path::Path;

use clap::ValueEnum;
use onceover_types::read_toml;
use serde::Deserialize;

/// What is logged where neither the environment nor the configuration says so.
pub const DEFAULT_FILTER: &str = "info";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A level or a filter by target, where neither `ONCEOVER_LOG` nor `RUST_LOG` is set.
    pub filter: String,
    pub format: LogFormat,
    pub stderr: LogToStderr,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            filter: DEFAULT_FILTER.into(),
            format: LogFormat::default(),
            stderr: LogToStderr::default(),
        }
    }
}

/// The form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line an event; later lines of a text are indented.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// Whether events go to stderr as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogToStderr {
    /// Unless that leads nowhere (`/dev/null`).
    #[default]
    Auto,
    Always,
    Never,
}

impl LogFormat {
    /// The form that a configuration file asks for, however wrong the rest of it is; text where that cannot be read.
    pub fn asked_for_by(file: &Path) -> Self {
        #[derive(Deserialize)]
        struct Log {
            format: LogFormat,
        }
        let table = std::fs::read_to_string(file)
            .ok()
            .and_then(|text| read_toml::<toml::Table>(&text).ok());
        let log = table.and_then(|mut table| table.remove("log")?.try_into::<Log>().ok());
        log.map_or(Self::Text, |log| log.format)
    }
}
