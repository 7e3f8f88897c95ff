//! Work that blocks, on files for example: it is done by threads that answer nobody, but for what takes a few system calls.
//! A simulation does all of it at once, so that the time that files take decides nothing.

use tokio::{sync::Semaphore, task::JoinError};

#[cfg(test)]
thread_local! {
    static IS_DONE_AT_ONCE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From here on this thread does such work itself.
#[cfg(test)]
pub(crate) fn do_at_once() {
    IS_DONE_AT_ONCE.set(true);
}

/// The turn of work that is done on a thread which answers requests.
static TURN_HERE: Semaphore = Semaphore::const_new(1);

/// Does work of a few system calls on this thread: the way to another one and back takes longer. Returns `None` while such
/// work is done on another thread, so that a file system that does not answer holds no more than one that answers requests.
pub fn try_here<T>(work: impl FnOnce() -> T) -> Option<T> {
    let _turn = TURN_HERE.try_acquire().ok()?;
    Some(work())
}

/// Does the work on another thread. An error: it has panicked, or the program ends.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    #[cfg(test)]
    if IS_DONE_AT_ONCE.get() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
