//! The parts of `make bench`, each of which measures one thing.

pub mod catalog;
pub mod celery;
pub mod delay;
pub mod files;
pub mod foreign;
pub mod keys;
pub mod media;
pub mod memory;
pub mod queued;
pub mod redis_costs;
pub mod requests;
pub mod scale;
pub mod stages;
pub mod videos;
