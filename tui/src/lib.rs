//! Onceover's dashboard and command line. The dashboard is a state machine (`update`), a pure `view` of its `model`,
//! and a `driver` that does all IO; `feed` keeps the model in step with the daemon.

// These macros panic where the reader of the output has ended; what `cli` prints with does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

pub mod actions;
pub mod cli;
pub mod clipboard;
pub mod driver;
pub mod feed;
pub mod figures;
pub mod glyphs;
pub mod images;
pub mod kept_view;
pub mod key;
pub mod layout;
pub mod log_file;
pub mod model;
pub mod notify;
pub mod paint;
pub mod pointer;
pub mod record;
pub mod settings;
pub mod theme;
pub mod update;
pub mod view;
