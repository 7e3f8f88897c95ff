//! Running nodes: what a run sees, the runners, and the processes they start.

pub mod builtin;
pub mod command;
pub mod download;
#[cfg(test)]
pub(crate) mod fixture;
pub mod folder;
pub mod keeper;
mod life;
pub mod log;
pub mod process;
pub mod run;
pub mod supervise;
pub mod warnings;
mod work;
