//! A daemon's hold on the id of its data directory: one daemon at a time takes back what was begun under that id, uploads
//! its files and ends its left-over processes. The lock does for one folder; a copy of it elsewhere is kept out by a lease
//! in Redis.

use std::time::Duration;

use onceover_types::Timestamp;
use tokio::time::{Instant, sleep};

use crate::data_dir::{DataDir, DirectoryOrigin, DirectoryPlace};
use onceover_store::{DirectoryLease, Holder, Store, StoreError};

/// How long a lease is; one that is not renewed is over after that.
const LEASE: Duration = Duration::from_secs(10);
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long another holder is watched: one that lives renews its lease meanwhile, one that has ended loses it.
const WATCH: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Why a directory's id cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TenureError {
    #[error(
        "the data directory {} is a copy of {}, which another onceoverd uses with this Redis now; end that one, or start \
         this one on another folder with --data DIR", here.in_words(), other.in_words()
    )]
    InUse {
        here: Box<DirectoryPlace>,
        other: Box<DirectoryPlace>,
    },
    #[error("the data directory's identity was taken over by {}; this daemon ends, so that only one works under it", other.in_words())]
    Lost { other: Box<DirectoryPlace> },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write the identity of the data directory {}: {source}", path.display())]
    Note {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
}

/// Takes the id for this daemon. Nothing may be taken back, swept or written under it before.
pub async fn begin(store: &Store, data: &DataDir) -> Result<(), TenureError> {
    // Nobody else uses a private one.
    if !store.is_private() {
        take(store, data).await?;
    }
    match data.origin() {
        DirectoryOrigin::Own => {}
        DirectoryOrigin::Brought(from) => tracing::warn!(
            from = from.in_words(),
            here = data.place().in_words(),
            "this data folder was brought from elsewhere; it goes on under the same identity"
        ),
        DirectoryOrigin::Copy(from) => tracing::warn!(
            from = from.in_words(),
            here = data.place().in_words(),
            instance = data.instance(),
            "this data folder is a copy of one that is still there; it has its own identity from now on"
        ),
    }
    data.settle().map_err(|source| TenureError::Note {
        path: data.root().to_owned(),
        source,
    })
}

async fn take(store: &Store, data: &DataDir) -> Result<(), TenureError> {
    // A daemon that uses what this is a copy of goes first, on the same Redis.
    for directory in [data.former(), Some(data.directory())].into_iter().flatten() {
        wait_for(store, data, directory).await?;
    }
    Ok(())
}

/// Waits until nobody else uses the id of a directory, and takes it if it is this one's.
async fn wait_for(store: &Store, data: &DataDir, directory: &str) -> Result<(), TenureError> {
    let is_own = directory == data.directory();
    let mut seen: Option<(Holder, Instant)> = None;
    loop {
        let held = match is_own {
            true => hold(store, data, None).await?,
            false => store.directory_holder(directory).await?,
        };
        let Some(holder) = held else { return Ok(()) };
        let other: Option<DirectoryPlace> = serde_json::from_str(&holder.place).ok();
        // Its lock is ours, so that it has ended.
        if is_own && other.as_ref().is_none_or(|other| other.is_same(data.place())) {
            hold(store, data, Some(&holder.place)).await?;
            return Ok(());
        }
        match &seen {
            Some((before, _)) if before.beat != holder.beat => return Err(in_use(data, other)),
            // It stands still: the clock of Redis was set back, and nobody renews it.
            Some((_, since)) if since.elapsed() > WATCH => {
                if is_own {
                    hold(store, data, Some(&holder.place)).await?;
                }
                return Ok(());
            }
            Some(_) => {}
            None => seen = Some((holder, Instant::now())),
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Notes in Redis that the directory is used with it; answers since when it is.
pub async fn enter(store: &Store, data: &DataDir) -> Result<Timestamp, StoreError> {
    // A private Redis was copied with the folder, and what it holds of the folder is this one's.
    let former = data.former().filter(|_| store.is_private());
    store.enter_directory(data.directory(), former).await
}

/// Lets the next one have it at once.
pub async fn end(store: &Store, data: &DataDir) {
    if !store.is_private()
        && let Err(error) = store.leave_directory(data.directory(), data.instance()).await
    {
        tracing::debug!(%error, "the identity of the data folder is held until its lease ends");
    }
}

/// Keeps it; an error when another daemon has it.
pub async fn keep(store: &Store, data: &DataDir) -> Result<std::convert::Infallible, TenureError> {
    loop {
        sleep(RENEW_EVERY).await;
        if store.is_private() {
            continue;
        }
        match hold(store, data, None).await {
            Ok(None) | Err(TenureError::Store(_)) => {}
            Ok(Some(holder)) => {
                let other = serde_json::from_str(&holder.place).unwrap_or_else(|_| data.place().clone());
                return Err(TenureError::Lost { other: Box::new(other) });
            }
            Err(error) => return Err(error),
        }
    }
}

fn in_use(data: &DataDir, other: Option<DirectoryPlace>) -> TenureError {
    let here = data.place().clone();
    TenureError::InUse {
        other: Box::new(other.unwrap_or_else(|| here.clone())),
        here: Box::new(here),
    }
}

async fn hold(store: &Store, data: &DataDir, instead_of: Option<&str>) -> Result<Option<Holder>, TenureError> {
    let place = serde_json::to_string(data.place()).expect("a place can be written as JSON");
    let lease = DirectoryLease {
        directory: data.directory(),
        place: &place,
        owner: data.instance(),
        length: LEASE,
    };
    Ok(store.hold_directory(lease, instead_of).await?)
}
