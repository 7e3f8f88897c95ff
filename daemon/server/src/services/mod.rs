//! What can be done with tasks and their stages: one service a use case, each holding only what it needs. A caller
//! hands it parsed arguments; it decides with the store and wakes who has to act. `app` builds each of them once.
//!
//! No service knows HTTP, the executor or a pipeline.

mod artifact_checks;
pub mod artifacts;
mod callbacks;
mod cancel;
mod decisions;
mod delete;
mod error;
mod event_streams;
mod evidence;
mod explain;
mod files_elsewhere;
mod folders;
pub mod foreign;
mod history;
mod hit_answers;
pub mod input;
mod input_files;
mod known_results;
pub mod lists;
mod machine;
mod node_catalog;
mod other_engine;
mod request;
mod sentences;
mod shared_reads;
mod stage_logs;
mod submissions;
mod system;
mod takeover;
mod task_views;
pub mod unread;
pub mod view;
mod workers;

pub use callbacks::{Callbacks, ListedCallbacks};
pub use cancel::Cancellations;
pub use decisions::Decisions;
pub use delete::Deletions;
pub use error::ServiceError;
pub use event_streams::{EventStream, EventStreams};
pub use evidence::InputEvidence;
pub use explain::Explanations;
pub use files_elsewhere::{FileScope, FilesElsewhere};
pub use folders::task_folder;
pub use history::{History, note_minutes};
pub use hit_answers::{HitResponse, SubmitAnswer};
pub use machine::{MachineMonitor, StagesNow, sample_machine};
pub use node_catalog::NodeCatalog;
pub use request::{CheckedRequest, RequestChecks, SubmitDraft};
pub use stage_logs::{FollowedLog, LogText, StageLogs};
pub use submissions::{Submissions, SubmitReports};
pub use system::{HealthChecks, Instance, Measurements, Slots, System};
pub use takeover::{ChangedStages, ForeignStages, MOST_CHANGED, TakenOver, follow as follow_other_workers};
pub use task_views::{ListedTasks, TaskViews, TasksPage};
pub(crate) use workers::MOST_STAGES;
pub use workers::{WorkerDirectory, Workers};
