//! Runs that go to Celery workers: `registry` knows the workers, `watch` asks them.

pub mod registry;
mod watch;

pub use registry::{Capacity, RunMark, WatchedBroker, WatchedQueue, WorkerRegistry};
pub use watch::watch_workers;
