//! Whether the terminal is still there. One that goes away sends SIGHUP, but not to who ignores it or has another leader;
//! and what reads keys from it then reads nothing, over and over. So a thread of its own asks the kernel.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    thread,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;

/// A hang-up wakes the thread; where a driver of the kernel forgets to, it is noticed within this time.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 400_000_000,
};

/// Watches standard input and output for as long as somebody holds the answer, which is notified when one has hung up.
pub fn watch() -> Arc<Notify> {
    let heard = Arc::new(Notify::new());
    let tell = Arc::downgrade(&heard);
    let watching = thread::Builder::new().name("terminal".into()).spawn(move || {
        let (input, output) = (io::stdin(), io::stdout());
        while let Some(tell) = tell.upgrade() {
            if has_hung_up(&[input.as_fd(), output.as_fd()]) {
                tell.notify_one();
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
