//! What a run of a node is: the context it gets, how it reports progress, warnings and errors, the programs it may start, its
//! log, and the files it may open. Nothing here knows the API, Redis or how a program is started, so every runner and node
//! is testable with files alone.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod context;
#[cfg(feature = "fixture")]
pub mod fixture;
pub mod log;
pub mod paths;
pub mod tool;
pub mod warnings;

pub use context::{OpenedInputs, Progress, ProgressSink, RunContext, RunError, Runner, check_in_place};
pub use onceover_types::Object;
