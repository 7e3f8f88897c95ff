//! The daemon `onceoverd`: its HTTP API, what it does with tasks, its executor and its callbacks.

// They panic where nobody reads; `console` and `logging` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

pub mod access;
pub mod app;
pub mod blocking;
pub mod catalog;
pub mod commands;
pub mod config;
pub mod console;
pub mod data_dir;
pub mod dispatch;
pub mod downloads;
pub mod events;
pub mod evidence;
pub mod executor;
#[cfg(test)]
mod fuzz;
pub mod gc;
pub mod gpu_lock;
pub mod http;
pub mod logging;
pub mod machine_load;
pub mod metrics;
pub mod objects;
pub mod pipelines;
pub mod private_redis;
pub mod python;
pub mod readiness;
mod run_wait;
pub mod services;
pub mod shared_body;
#[cfg(test)]
mod simulation;
pub mod ssrf_guard;
pub mod tenure;
pub mod uploads;
pub mod warm;
pub mod webhooks;

#[cfg(test)]
mod fixture {
    //! Runs of nodes for tests, with the programs of this machine.

    pub(crate) use onceover_run::fixture::object;

    pub(crate) type Fixture = onceover_run::fixture::Fixture<onceover_process::LocalPrograms>;
}
