//! The daemon `onceoverd`: HTTP API, engine, executor and callbacks. `store` is the only door to Redis.

// They panic where nobody reads; `console` and `logging` do not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod access;
pub mod api;
pub mod callbacks;
pub mod catalog;
pub mod check;
pub mod config;
pub mod console;
pub mod data_dir;
pub mod engine;
pub mod environment;
pub mod executor;
#[cfg(test)]
mod fuzz;
pub mod gc;
pub mod hub;
pub mod import;
pub mod init;
pub mod lack;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod nodes;
pub mod objects;
pub mod paths;
pub mod pipeline;
pub mod private_redis;
pub mod python;
pub mod readiness;
pub mod serve;
pub mod signals;
pub mod store;
pub mod tenure;
