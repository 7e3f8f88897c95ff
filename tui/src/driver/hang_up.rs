//! Whether the terminal is still there. One that goes away sends SIGHUP, but not to who ignores it or has another leader;
//! and what reads keys from it then reads nothing, over and over. So a thread of its own asks the kernel.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    thread,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

/// A hang-up wakes the thread; where a driver of the kernel forgets to, it is noticed within this time.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 300_000_000,
};

/// Watches standard input and output. The receiver hears once, when one of them has hung up; it goes on when there is no
/// thread to be had.
pub fn watch() -> oneshot::Receiver<()> {
    let (tell, heard) = oneshot::channel();
    let watching = thread::Builder::new().name("terminal".into()).spawn(move || {
        let (input, output) = (io::stdin(), io::stdout());
        while !tell.is_closed() {
            if has_hung_up(&[input.as_fd(), output.as_fd()]) {
                let _ = tell.send(());
                return;
            }
        }
    });
    if let Err(error) = watching {
        tracing::warn!(%error, "nobody watches whether the terminal goes away");
    }
    heard
}

/// Waits a while for a hang-up of one of them.
fn has_hung_up(files: &[BorrowedFd<'_>]) -> bool {
    // Asked for nothing, the kernel tells of hang-ups and errors alone.
    let mut looked_at: Vec<_> = files.iter().map(|file| PollFd::new(file, PollFlags::empty())).collect();
    match poll(&mut looked_at, Some(&LOOK_EVERY)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => false,
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "the terminal cannot be watched");
            thread::sleep(std::time::Duration::from_secs(1));
            false
        }
    }
}
