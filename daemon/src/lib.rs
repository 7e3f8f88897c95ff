//! The daemon `onceoverd`: HTTP API, engine, executor and callbacks. `store` is the only door to Redis.

pub mod store;
