//! What ends the dashboard from outside: signals, and the end of its terminal.

use std::sync::Arc;

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

use super::hang_up;

/// Listens from when it is made.
pub struct Ends {
    terminate: Signal,
    interrupt: Signal,
    /// Its core would be of no use, and the terminal would stay as the dashboard has it.
    quit: Signal,
    hang_up: Signal,
    terminal: Arc<Notify>,
}

impl Ends {
    pub fn listen() -> anyhow::Result<Self> {
        let of = |kind, name: &str| signal(kind).with_context(|| format!("{name} cannot be caught"));
        Ok(Self {
            terminate: of(SignalKind::terminate(), "SIGTERM")?,
            interrupt: of(SignalKind::interrupt(), "SIGINT")?,
            quit: of(SignalKind::quit(), "SIGQUIT")?,
            hang_up: of(SignalKind::hangup(), "SIGHUP")?,
            terminal: hang_up::watch(),
        })
    }

    pub async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
            _ = self.hang_up.recv() => {}
            () = self.terminal.notified() => {}
        }
    }
}
