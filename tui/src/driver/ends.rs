//! Waits for what ends the dashboard from outside: signals, and the end of its terminal.

use std::sync::Arc;

use anyhow::Context;
use futures_util::FutureExt;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

use super::hang_up;

/// Listens from when it is made.
pub struct Ends {
    terminate: Signal,
    interrupt: Signal,
    /// Caught because a core dump would be of no use, and would leave the terminal as the dashboard has set it.
    quit: Signal,
    hang_up: Signal,
    terminal: Arc<Notify>,
}

impl Ends {
    pub fn listen() -> anyhow::Result<Self> {
        let catch = |kind, name: &str| signal(kind).with_context(|| format!("cannot catch {name}"));
        Ok(Self {
            terminate: catch(SignalKind::terminate(), "SIGTERM")?,
            interrupt: catch(SignalKind::interrupt(), "SIGINT")?,
            quit: catch(SignalKind::quit(), "SIGQUIT")?,
            hang_up: catch(SignalKind::hangup(), "SIGHUP")?,
            terminal: hang_up::watch_terminal(),
        })
    }

    /// Waits until one has come that does not come from the keyboard: another program has that.
    pub async fn come_from_outside(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            () = self.terminal.notified() => {}
        }
    }

    /// Forgets what came from the keyboard while another program had it.
    pub fn forget_keyboard(&mut self) {
        let _ = self.interrupt.recv().now_or_never();
        let _ = self.quit.recv().now_or_never();
    }

    /// Waits until one of them has come.
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
