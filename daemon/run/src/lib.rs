//! What a run of a node is: the context it gets, how it reports progress, warnings and errors, the programs it may
//! start, its log, and the files it may open. Nothing in this crate knows the API, Redis or how a program is started,
//! so every runner and node can be tested with files alone.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

mod context;
mod error;
#[cfg(feature = "fixture")]
pub mod fixture;
pub mod log;
pub mod paths;
pub mod tool;
pub mod warnings;

pub use context::{OpenedInputs, Programs, Progress, ProgressSink, RunContext, Runner, check_in_place};
pub use error::RunError;
pub use onceover_types::Object;
