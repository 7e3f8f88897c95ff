//! What asks the daemon to stop: SIGTERM, SIGINT, and SIGHUP as a terminal sends it that goes away. Under `nohup` SIGHUP is
//! ignored from the start, and stays so.

use std::{fs, io};

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from when it is made.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// None where it is ignored.
    hang_up: Option<Signal>,
}

impl StopSignals {
    pub fn listen() -> io::Result<Self> {
        let hang_up = match is_ignored(Number::HUP) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up,
        })
    }

    /// Waits until one asks; answers its name.
    pub async fn asked(&mut self) -> &'static str {
        let hung_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hung_up => "SIGHUP",
        }
    }

    /// Waits until a second signal asks again. SIGHUP does not: of one terminal that went, kernel and shell both tell.
    pub async fn asked_again(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Whether this process was started with the signal ignored, or ignores it since.
fn is_ignored(signal: Number) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or_default() & (1 << (signal.as_raw() - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_kernel() {
        // Programs in Rust ignore SIGPIPE from their start.
        assert!(is_ignored(Number::PIPE));
        assert!(!is_ignored(Number::TERM));
    }
}
