//! Starts programs and leaves nothing of them behind: each is its own process group and carries the mark of its run, by which
//! it is found wherever it went. Here are also the second process that cleans up after a killed daemon, the parent that
//! process 1 of a container has to be, and the variables that the daemon was started with.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod environment;
mod guard;
pub mod init;
pub mod keeper;
mod lines;
mod programs;
mod sweep;
#[cfg(test)]
mod tests;

pub use programs::LocalPrograms;
pub use sweep::{marked, sweep, sweep_until_gone};

#[cfg(test)]
mod fixture {
    pub(crate) type Fixture = onceover_run::fixture::Fixture<super::LocalPrograms>;
}
