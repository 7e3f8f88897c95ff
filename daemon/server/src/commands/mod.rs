//! What `onceoverd` does beside running: its subcommands.

pub mod check;
pub mod gc;
pub mod import;
pub mod install;
pub mod language_model;
pub mod manual;
mod models;
pub mod nodes;
