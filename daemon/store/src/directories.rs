//! Data directories: who uses which, and since when.

use std::time::Duration;

use onceover_types::Timestamp;
use redis::AsyncCommands;

use super::{Store, StoreError, scripts};

/// Data directories (by the uuid of their instance) and since when this Redis knows each, milliseconds since 1970.
const DIRECTORIES: &str = "onceover:directories";

/// Who has the lease on a directory's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// As it was given with the lease.
    pub place: String,
    /// Changes with every renewal.
    pub beat: String,
}

/// What is asked for with a lease on a directory's id.
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
    /// Takes or renews a lease. Answers who has it, when that is somebody else and not the `instead_of` one.
    pub async fn hold_directory(
        &self,
        lease: DirectoryLease<'_>,
        instead_of: Option<&str>,
    ) -> Result<Option<Holder>, StoreError> {
        let beat = format!("{:016x}", fastrand::u64(..));
        let args = self
            .args()
            .with("directory", lease.directory)
            .with("place", lease.place)
            .with("owner", lease.owner)
            .with("beat", beat)
            .with("ms", lease.length.as_millis().to_string())
            .with_some("instead_of", instead_of);
        let held: Option<(String, String)> = self.run(&scripts::DIRECTORY, args).await?;
        Ok(held.map(|(place, beat)| Holder { place, beat }))
    }

    /// Who has the lease on a directory's id.
    pub async fn directory_holder(&self, directory: &str) -> Result<Option<Holder>, StoreError> {
        let mut redis = self.redis.clone();
        let key = format!("onceover:directory:{directory}");
        let (place, beat): (Option<String>, Option<String>) =
            self.limited(redis.hmget(key, &["place", "beat"])).await?;
        Ok(place.zip(beat).map(|(place, beat)| Holder { place, beat }))
    }

    /// Gives a lease back, as the daemon ends.
    pub async fn leave_directory(&self, directory: &str, owner: &str) -> Result<(), StoreError> {
        let args = self.args().with("directory", directory).with("owner", owner);
        self.run(&scripts::DIRECTORY_LEAVE, args).await
    }

    /// Notes that a data directory is used with this Redis; answers since when it is. What belongs to the directory it is
    /// a copy of, `former`, is its own where Redis was copied with it.
    pub async fn enter_directory(&self, directory: &str, former: Option<&str>) -> Result<Timestamp, StoreError> {
        let mut redis = self.redis.clone();
        let mut since = Timestamp::now();
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
