//! The daemon `onceoverd`: HTTP API, engine, executor and callbacks. `store` is the only door to Redis.

pub mod callbacks;
pub mod catalog;
pub mod data_dir;
pub mod executor;
pub mod logging;
pub mod nodes;
pub mod paths;
pub mod private_redis;
pub mod store;
