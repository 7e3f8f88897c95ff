//! The daemon.
pub mod callbacks;
pub mod data_dir;
pub mod logging;
pub mod private_redis;
