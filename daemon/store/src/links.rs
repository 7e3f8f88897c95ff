//! The secret that links are signed with.

use redis::AsyncCommands;
use uuid::Uuid;

use super::{Store, StoreError};

const LINK_SECRET: &str = "onceover:link_secret";

impl Store {
    /// Returns the secret of this Redis, and makes one if there is none. Deleting it ends every link.
    pub async fn link_secret(&self) -> Result<String, StoreError> {
        let mut redis = self.redis.clone();
        let known: Option<String> = self.limited(redis.get(LINK_SECRET)).await?;
        if let Some(secret) = known {
            return Ok(secret);
        }
        // Each part has 122 random bits. Of two daemons that make a secret, the first wins.
        let fresh = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let _: bool = self.limited(redis.set_nx(LINK_SECRET, &fresh)).await?;
        let kept: Option<String> = self.limited(redis.get(LINK_SECRET)).await?;
        Ok(kept.unwrap_or(fresh))
    }
}
