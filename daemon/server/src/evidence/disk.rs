//! Looking at files: on separate threads, and only so many at a time.

use std::{fs::File, io};

use tokio::sync::Semaphore;

/// Looks under way at a time, so that a file system that does not answer holds few threads.
const LOOKS_AT_A_TIME: usize = 32;

static LOOKS: Semaphore = Semaphore::const_new(LOOKS_AT_A_TIME);

/// Does what blocks on the file system; None, and a line in the log, where that broke off. The caller limits the time.
pub(crate) async fn on_disk<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let turn = LOOKS.acquire().await.ok()?;
    let looked = crate::blocking::run(move || {
        let _turn = turn;
        look()
    });
    looked
        .await
        .inspect_err(|error| tracing::error!(%error, "the files of a request could not be looked at"))
        .ok()
}

/// BLAKE3 of a file's bytes, in hexadecimal digits.
pub(crate) fn hash_of(file: &File) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize().to_hex().to_string())
}
