//! The daemon.

pub mod executor;
pub mod paths;
