//! The daemon.
pub mod data_dir;
pub mod private_redis;
