//! Work that blocks, on files for example: it is done by threads that answer nobody. A simulation does it at once, so that
//! the time that files take decides nothing.

use tokio::task::JoinError;

#[cfg(test)]
thread_local! {
    static IS_DONE_AT_ONCE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From here on this thread does such work itself.
#[cfg(test)]
pub(crate) fn do_at_once() {
    IS_DONE_AT_ONCE.set(true);
}

/// Does the work on another thread. An error: it has panicked, or the program ends.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    #[cfg(test)]
    if IS_DONE_AT_ONCE.get() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
