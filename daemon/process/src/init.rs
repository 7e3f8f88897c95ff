//! The daemon as process 1 of a container. Orphans become children of process 1, and nobody else waits for them: so
//! process 1 is this small parent, which passes signals on, waits for whatever ends, and ends as the daemon does, which is
//! its child. A daemon that waited for every child itself would take the ends of its own programs away from itself.

use std::{io, os::unix::process::CommandExt, process::Command};

use crate::environment;
use rustix::process::{Pid, Signal as Number, WaitOptions, getpid, kill_process, wait};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Passed on to the daemon. Process 1 gets no signal that it does not listen to.
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

/// Starts this program again with the same arguments, and looks after it to its end; answers its exit code.
pub fn run() -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(look_after())
}

async fn look_after() -> io::Result<u8> {
    // Before there is a child that could end.
    let mut ended = signal(SignalKind::child())?;
    let (pass_on, mut passed_on) = mpsc::unbounded_channel();
    for number in PASSED_ON {
        let signals = signal(SignalKind::from_raw(number.as_raw()))?;
        tokio::spawn(listen(signals, number, pass_on.clone()));
    }
    // Also right after the file on disk was replaced. In a group of its own: what a terminal sends comes through us, once.
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
                // Gone already: its end is on its way to us.
                let _ = kill_process(daemon, number);
            }
        }
    }
}

async fn listen(mut signals: Signal, number: Number, pass_on: mpsc::UnboundedSender<Number>) {
    while signals.recv().await.is_some() && pass_on.send(number).is_ok() {}
}

/// Waits for everything that has ended; answers the daemon's exit code once it is among that.
fn reap(daemon: Pid) -> io::Result<Option<u8>> {
    let mut code = None;
    while let Some((pid, status)) = wait(WaitOptions::NOHANG)? {
        if pid == daemon {
            let exited = status.exit_status().and_then(|code| u8::try_from(code).ok());
            // As shells have it.
            let killed = status.terminating_signal().map(|number| 128 + number as u8);
            code = exited.or(killed).or(Some(1));
            // Nothing else is waited for: without process 1 there is nothing.
            break;
        }
    }
    Ok(code)
}
