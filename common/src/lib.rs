//! The language both Onceover programs speak: domain types, wire types, events, key names, the node
//! catalog, pipelines, the typed HTTP client, and what their command lines have in common. No decisions live here:
//! who may run what is decided in the daemon's store, and what a key press does in the dashboard's state machine.

pub mod address;
pub mod catalog;
pub mod causes;
pub mod client;
pub mod clock;
pub mod command_line;
pub mod event;
#[cfg(test)]
mod fuzz;
pub mod humane;
pub mod ids;
pub mod keys;
pub mod pipeline;
pub mod problem;
pub mod status;
pub mod suggest;
pub mod text_file;
pub mod time;
pub mod toml_text;
pub mod wire;

pub use causes::causes;
pub use event::{Event, EventKind};
pub use ids::{NodeName, RunId, TaskId, VideoId};
pub use problem::{FieldError, Missing, Problem, ProblemKind};
pub use status::{CallbackStatus, StageState, TaskStatus};
pub use time::Timestamp;
pub use toml_text::read_toml;
