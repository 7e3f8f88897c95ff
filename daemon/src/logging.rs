//! Where the daemon's own words go: a file a day below the data directory, and the terminal that started it. The logs
//! of runs are the executor's.

use std::{
    io::{self, IsTerminal},
    path::Path,
};

use tracing_appender::{
    non_blocking::{NonBlockingBuilder, WorkerGuard},
    rolling::{InitError, RollingFileAppender, Rotation},
};
use tracing_subscriber::{
    EnvFilter, Layer, filter::ParseError, fmt, layer::SubscriberExt, util::SubscriberInitExt, util::TryInitError,
};

/// Days.
const KEPT: usize = 7;
/// Lines that wait for the disk; more are dropped. Room for all of them is taken at the start.
const BUFFERED: usize = 8192;
const FILTER: &str = "ONCEOVER_LOG";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("{FILTER}={value:?} is not a log filter ({source}); examples: info, debug, warn,onceover_daemon=trace")]
    Filter { value: String, source: ParseError },
    #[error("cannot write a log below {dir}: {source}")]
    File { dir: String, source: InitError },
    #[error(transparent)]
    Twice(#[from] TryInitError),
}

/// Starts logging to `onceoverd.<date>.log` in `logs`, to which `onceoverd.log` links, and to stderr where that is a
/// terminal or `to_stderr` says so. `ONCEOVER_LOG` filters both (default `info`). What is not written yet is written
/// when the returned guard is dropped, so it has to live to the end of `main`.
pub fn start(logs: &Path, to_stderr: bool) -> Result<WorkerGuard, LoggingError> {
    let value = std::env::var(FILTER).ok().filter(|value| !value.trim().is_empty());
    let filter = parse_filter(value.as_deref().unwrap_or("info"))?;
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(BUFFERED)
        .finish(appender(logs)?);
    let file = fmt::layer().with_ansi(false).with_writer(writer);
    let terminal = io::stderr().is_terminal();
    let lines = (terminal || to_stderr).then(|| {
        fmt::layer()
            .compact()
            .with_target(false)
            .with_ansi(terminal)
            .with_writer(io::stderr)
            .boxed()
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(file)
        .with(lines)
        .try_init()?;
    Ok(guard)
}

fn parse_filter(value: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::try_new(value).map_err(|source| LoggingError::Filter {
        value: value.to_string(),
        source,
    })
}

fn appender(logs: &Path) -> Result<RollingFileAppender, LoggingError> {
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("onceoverd")
        .filename_suffix("log")
        .latest_symlink("onceoverd.log")
        .max_log_files(KEPT)
        .build(logs)
        .map_err(|source| LoggingError::File {
            dir: logs.display().to_string(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_log_is_found_under_one_name_whatever_the_day() {
        let logs = tempfile::tempdir().unwrap();
        let mut writer = appender(logs.path()).unwrap();
        writer.write_all(b"a line\n").unwrap();
        writer.flush().unwrap();
        assert_eq!(
            std::fs::read_to_string(logs.path().join("onceoverd.log")).unwrap(),
            "a line\n"
        );
    }

    #[test]
    fn what_cannot_be_is_said_and_no_panic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(appender(file.path()), Err(LoggingError::File { .. })));
        let error = parse_filter("onceover=loud").unwrap_err().to_string();
        assert!(error.contains("ONCEOVER_LOG") && error.contains("loud"), "{error}");
    }
}
