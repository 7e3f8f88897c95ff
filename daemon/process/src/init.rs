//! The parent of the daemon in a container where the daemon would be process 1. Orphans become children of process 1,
//! and only process 1 can wait for them: so it is this small parent, which passes signals on, waits for every child
//! that ends, and ends as the daemon does, which is its child. If the daemon waited for every child itself, its own
//! waits for its programs would miss their ends.

use std::{io, os::unix::process::CommandExt, process::Command};

use crate::environment;
use rustix::process::{Pid, Signal as Number, WaitOptions, getpid, kill_process, wait};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Signals that are passed on to the daemon. Process 1 gets no signal that it does not listen to.
const PASSED_ON: [Number; 6] = [
    Number::TERM,
    Number::INT,
    Number::HUP,
    Number::QUIT,
    Number::USR1,
    Number::USR2,
];

/// Whether this is the first process of a container.
pub fn is_needed() -> bool {
    getpid().is_init()
}

/// Starts this program again with the same arguments, and supervises it to its end. Returns its exit code.
pub fn run() -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(supervise_daemon())
}

async fn supervise_daemon() -> io::Result<u8> {
    // The handler is set before there is a child that could end.
    let mut ended = signal(SignalKind::child())?;
    let (pass_on, mut passed_on) = mpsc::unbounded_channel();
    for number in PASSED_ON {
        let signals = signal(SignalKind::from_raw(number.as_raw()))?;
        tokio::spawn(listen(signals, number, pass_on.clone()));
    }
    // This path works also right after the file on disk was replaced. The daemon gets its own group, so that a signal
    // of a terminal reaches it through us alone, once.
    let mut daemon = Command::new("/proc/self/exe");
    daemon
        .arg0("onceoverd")
        .args(std::env::args_os().skip(1))
        .process_group(0);
    environment::hand_over(&mut daemon)?;
    let daemon = daemon.spawn()?;
    let daemon = Pid::from_child(&daemon);
    loop {
        tokio::select! {
            _ = ended.recv() => if let Some(code) = reap(daemon)? {
                return Ok(code);
            },
            Some(number) = passed_on.recv() => {
                // An error means that the daemon has ended, which we are about to see.
                let _ = kill_process(daemon, number);
            }
        }
    }
}

async fn listen(mut signals: Signal, number: Number, pass_on: mpsc::UnboundedSender<Number>) {
    while signals.recv().await.is_some() && pass_on.send(number).is_ok() {}
}

/// Waits for every child that has ended. Returns the daemon's exit code once the daemon is among them.
fn reap(daemon: Pid) -> io::Result<Option<u8>> {
    let mut code = None;
    while let Some((pid, status)) = wait(WaitOptions::NOHANG)? {
        if pid == daemon {
            let exited = status.exit_status().and_then(|code| u8::try_from(code).ok());
            // As shells report it.
            let killed = status.terminating_signal().map(|number| 128 + number as u8);
            code = exited.or(killed).or(Some(1));
            // No other child is waited for: they all end with process 1.
            break;
        }
    }
    Ok(code)
}
