//! Starts programs and leaves nothing of them behind: each is a process group and has the mark of its run, by which
//! it is found wherever it went. This crate also has the reaper, which cleans up after a killed daemon; the parent that
//! process 1 of a container has to be; and the variables that the daemon was started with.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

pub mod environment;
mod guard;
pub mod init;
mod lines;
mod programs;
pub mod reaper;
mod served;
mod spawned;
mod sweep;
#[cfg(test)]
mod tests;

pub use programs::LocalPrograms;
pub use served::{ServedEvent, ServedProgram};
pub use sweep::{marked, sweep, sweep_until_gone};

#[cfg(test)]
mod fixture {
    pub(crate) type Fixture = onceover_run::fixture::Fixture<super::LocalPrograms>;
}
