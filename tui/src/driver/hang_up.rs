//! Notices that the terminal has hung up. A terminal that ends sends SIGHUP, but not to a process that ignores it or
//! has another session leader; and reading keys from it then returns nothing, over and over. So a thread asks the
//! kernel.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    thread,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;

/// A hang-up wakes the thread; where a driver of the kernel fails to, it is noticed within this time.
const CHECK_EVERY: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Watches standard input and output while the handle that it returns is held, and notifies it when one has hung up.
pub fn watch_terminal() -> Arc<Notify> {
    let heard = Arc::new(Notify::new());
    let handle = Arc::downgrade(&heard);
    let watching = thread::Builder::new().name("terminal".into()).spawn(move || {
        let (input, output) = (io::stdin(), io::stdout());
        while let Some(handle) = handle.upgrade() {
            if has_hung_up(&[input.as_fd(), output.as_fd()]) {
                handle.notify_one();
                return;
            }
        }
    });
    if let Err(error) = watching {
        tracing::warn!(%error, "cannot watch the terminal: its end will not be noticed");
    }
    heard
}

/// Waits a while for a hang-up of one of these files. Returns whether there was one.
fn has_hung_up(files: &[BorrowedFd<'_>]) -> bool {
    // Asked for no event, the kernel reports hang-ups and errors alone.
    let mut polled: Vec<_> = files.iter().map(|file| PollFd::new(file, PollFlags::empty())).collect();
    match poll(&mut polled, Some(&CHECK_EVERY)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => false,
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "cannot watch the terminal");
            thread::sleep(std::time::Duration::from_secs(1));
            false
        }
    }
}
