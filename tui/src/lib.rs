//! Onceover's dashboard and command line. The dashboard is a state machine (`update`), a pure `view` of
//! its `model`, and a `driver` that does all IO; `feed` keeps it in step with the daemon.

// They panic where nobody reads; `cli` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod actions;
pub mod cli;
pub mod driver;
pub mod feed;
pub mod glyphs;
pub mod key;
pub mod log_file;
pub mod model;
pub mod theme;
pub mod update;
pub mod view;
