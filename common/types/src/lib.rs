//! The vocabulary that every part of Onceover uses: ids, states, times, problems, key names, JSON objects, and how
//! texts of operators and of others are read and shown. This crate decides nothing.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

pub mod causes;
#[cfg(test)]
mod fuzz;
pub mod humane;
pub mod ids;
pub mod keys;
mod object;
pub mod problem;
mod runner;
mod shorten;
pub mod spans;
pub mod status;
pub mod suggest;
pub mod text_file;
pub mod time;
pub mod toml_text;
pub mod url_path;

pub use causes::causes;
pub use ids::{InvalidId, NodeName, RunId, TaskId, VideoId};
pub use object::Object;
pub use problem::{FieldError, Missing, Problem, ProblemKind};
pub use runner::RunnerKind;
pub use shorten::shortened;
pub use status::{CallbackStatus, StageState, TaskStatus};
pub use time::Timestamp;
pub use toml_text::read_toml;
