//! The daemon.

pub mod catalog;
pub mod executor;
pub mod nodes;
pub mod paths;
