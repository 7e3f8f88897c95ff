//! Running nodes: `supervise` takes runs as `slots` allow, `watch` watches over one, `work` is what one does,
//! `command` and `warm_run` are how programs do it.

pub mod builtin;
pub mod command;
pub mod folder;
mod give_back;
mod gpu_turn;
mod life;
pub(crate) mod program_lines;
mod slots;
pub mod supervise;
mod warm_run;
mod watch;
mod work;
