//! Running nodes: `supervise` takes runs as `slots` allow, `watch` watches over one, `work` is what one does.

pub mod builtin;
pub mod command;
pub mod folder;
mod give_back;
mod gpu_turn;
mod life;
mod slots;
pub mod supervise;
mod watch;
mod work;
