//! The language both Onceover programs speak: domain types, wire types, events, key names, the node
//! catalog, pipelines and the typed HTTP client. No decisions live here: who may run what is decided in the
//! daemon's store, and what a key press does in the dashboard's state machine.

pub mod catalog;
pub mod client;
pub mod event;
pub mod humane;
pub mod ids;
pub mod keys;
pub mod pipeline;
pub mod problem;
pub mod status;
pub mod suggest;
pub mod time;
pub mod wire;

pub use event::{Event, EventKind};
pub use ids::{NodeName, RunId, TaskId, VideoId};
pub use problem::{FieldError, Missing, Problem, ProblemKind};
pub use status::{CallbackStatus, StageState, TaskStatus};
pub use time::Timestamp;
