//! The rules of the product, each proven against the real binaries and a real Redis.

mod access;
mod api;
mod callbacks;
mod catalog;
mod chains;
mod dashboard;
mod downloads;
mod drain;
mod faults;
mod hostile_media;
mod import;
mod input_paths;
mod llm;
mod model;
mod node_programs;
mod operation;
mod requirements;
mod restart;
mod reuse;
mod runs;
mod scenario;
mod state;
mod webhook_addresses;
mod webhook_names;
mod webhook_records;
mod webhooks;
