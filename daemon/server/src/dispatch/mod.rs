//! Runs that go to Celery workers: `services` knows where the workers of a service are, `registry` knows the workers and
//! `known` judges what was heard of them, `watch` asks them. `context` and `paths` say what a worker gets, `outcome` what
//! its answer means; `runner` sends the message of a run and follows it to its end, `broker` hands it the news of its
//! message, `reconcile` ends the messages that no run has any more, `inventory` is what `onceoverd check` says of all
//! that. Workers of Onceover get the node as well (`definition`) and, where they share no folder with this machine, its
//! files (`stored_files`). Celery's states are advice: what counts is the journal in Redis, and the record that it belongs
//! to.

mod broker;
mod context;
mod definition;
mod dispatcher;
mod inventory;
mod known;
mod outcome;
mod paths;
pub mod reconcile;
pub mod registry;
mod runner;
mod services;
mod stored_files;
mod watch;

pub use context::TaskSoFar;
pub use dispatcher::Dispatcher;
pub use inventory::describe_services;
pub(crate) use known::MOST_WORKERS;
pub use registry::{Capacity, RunMark, WatchedBroker, WatchedQueue, WorkerRegistry};
pub(crate) use runner::MOST_PROCESSES;
pub use runner::{CeleryRunner, SentBefore};
pub use watch::watch_workers;
