//! The daemon `onceoverd`: HTTP API, engine, executor and callbacks. `store` is the only door to Redis.

pub mod catalog;
pub mod executor;
pub mod nodes;
pub mod paths;
pub mod store;
