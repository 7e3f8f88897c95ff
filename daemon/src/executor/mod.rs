//! Running nodes: what a run sees, the runners, and the processes they start.

pub mod log;
pub mod run;
