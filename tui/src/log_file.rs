//! The program's own log: a file a day, of which a few are kept. The screen belongs to the dashboard, so the log is
//! never written to the terminal; where the file cannot be written, there is no log.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use onceover_wire::command_line::variable;
use tracing_appender::{
    non_blocking::WorkerGuard,
    rolling::{RollingFileAppender, Rotation},
};
use tracing_subscriber::EnvFilter;

/// Days that are kept.
const KEEP: usize = 5;

/// Starts the log. What it still holds is written when the guard is dropped.
#[must_use]
pub fn start(folder: Option<&Path>) -> Option<WorkerGuard> {
    let folder = folder.map(Path::to_owned).or_else(find_state_folder)?;
    std::fs::create_dir_all(&folder).ok()?;
    let file = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("onceover")
        .filename_suffix("log")
        .max_log_files(KEEP)
        .build(&folder)
        .ok()?;
    let (writer, guard) = tracing_appender::non_blocking(file);
    let wanted = variable("ONCEOVER_LOG").and_then(|filter| EnvFilter::try_new(filter).ok());
    let filter = wanted.unwrap_or_else(|| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(false)
        .with_env_filter(filter)
        .try_init()
        .ok()?;
    Some(guard)
}

/// Finds the program's folder below the user's state folder.
pub fn find_state_folder() -> Option<PathBuf> {
    let strategy = etcetera::choose_base_strategy().ok()?;
    let state = strategy.state_dir().unwrap_or_else(|| strategy.cache_dir());
    Some(state.join("onceover"))
}
