//! Runs that go to Celery workers: `registry` knows the workers (`known` judges what was heard of them), `watch` asks them.

mod known;
pub mod registry;
mod watch;

pub use registry::{Capacity, RunMark, WatchedBroker, WatchedQueue, WorkerRegistry};
pub use watch::watch_workers;
