//! Data directories: which daemon uses which, and since when.

use std::time::Duration;

use onceover_types::Timestamp;
use redis::AsyncCommands;

use super::{Store, StoreError, args::script_call, reply::reply_struct};

/// Data directories (by the uuid of their instance) and since when this Redis knows each, milliseconds since 1970.
const DIRECTORIES: &str = "onceover:directories";

script_call! {
    LeaseCall<'a>: DIRECTORY {
        directory: &'a str,
        place: &'a str,
        owner: &'a str,
        /// Changes with every renewal.
        beat: String,
        ms: Duration,
        /// The place of a holder whose lease is taken over.
        instead_of: Option<&'a str>,
    }
}

script_call! {
    LeaveCall<'a>: DIRECTORY_LEAVE {
        directory: &'a str,
        owner: &'a str,
    }
}

reply_struct! {
    HolderReply {
        place: String,
        beat: String,
    }
}

/// The daemon that has the lease on a directory's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Where the directory is, as the daemon said when it took the lease.
    pub place: String,
    /// Changes with every renewal.
    pub beat: String,
}

/// A request for a lease on a directory's id.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryLease<'a> {
    pub directory: &'a str,
    /// Where the directory is.
    pub place: &'a str,
    /// The daemon that asks.
    pub owner: &'a str,
    pub length: Duration,
}

impl Store {
    /// Takes or renews a lease. Returns its holder if that is another daemon, and not the one at the place `instead_of`.
    pub async fn hold_directory(
        &self,
        lease: DirectoryLease<'_>,
        instead_of: Option<&str>,
    ) -> Result<Option<Holder>, StoreError> {
        let call = LeaseCall {
            directory: lease.directory,
            place: lease.place,
            owner: lease.owner,
            beat: format!("{:016x}", fastrand::u64(..)),
            ms: lease.length,
            instead_of,
        };
        let held: Option<HolderReply> = self.call(call.prepare(self)).await?;
        Ok(held.map(|HolderReply { place, beat }| Holder { place, beat }))
    }

    /// Reads which daemon has the lease on a directory's id.
    pub async fn directory_holder(&self, directory: &str) -> Result<Option<Holder>, StoreError> {
        let mut redis = self.redis.clone();
        let key = format!("onceover:directory:{directory}");
        let (place, beat): (Option<String>, Option<String>) =
            self.limited(redis.hmget(key, &["place", "beat"])).await?;
        Ok(place.zip(beat).map(|(place, beat)| Holder { place, beat }))
    }

    /// Gives a lease back, as the daemon ends.
    pub async fn leave_directory(&self, directory: &str, owner: &str) -> Result<(), StoreError> {
        self.call(LeaveCall { directory, owner }.prepare(self)).await
    }

    /// Notes that a data directory is used with this Redis; answers since when it is. What belongs to the directory it is
    /// a copy of, `former`, is its own where Redis was copied with it.
    pub async fn enter_directory(&self, directory: &str, former: Option<&str>) -> Result<Timestamp, StoreError> {
        let mut redis = self.redis.clone();
        let mut since = self.now();
        if let Some(former) = former {
            since = self.directory_since(former).await?.unwrap_or(since);
            let uploads = |directory: &str| format!("onceover:uploads:{directory}");
            if self.limited(redis.exists::<_, bool>(uploads(former))).await? {
                self.limited(redis.rename_nx::<_, _, bool>(uploads(former), uploads(directory)))
                    .await?;
            }
        }
        self.limited(redis.hset_nx::<_, _, _, bool>(DIRECTORIES, directory, since.as_millis()))
            .await?;
        Ok(self.directory_since(directory).await?.unwrap_or(since))
    }

    /// Since when a data directory is used with this Redis; None when it never was.
    pub async fn directory_since(&self, directory: &str) -> Result<Option<Timestamp>, StoreError> {
        let mut redis = self.redis.clone();
        let since: Option<i64> = self.limited(redis.hget(DIRECTORIES, directory)).await?;
        Ok(since.map(Timestamp::from_millis))
    }
}
