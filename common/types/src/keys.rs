//! Names of the Redis keys and channels. Used by the daemon's store and the dashboard's feed, nowhere else.
//!
//! `{task_id}:node:{task_name}` is the public projection (S1). Everything else lives under `onceover:`; how those keys are
//! named is the scripts' business (`daemon/store/src/lua`).

/// Prefix of everything Onceover keeps for itself.
pub const PREFIX: &str = "onceover:";
/// Version of the layout; a newer one than [`SCHEMA_VERSION`] is refused.
pub const SCHEMA: &str = "onceover:schema";
pub const SCHEMA_VERSION: u32 = 1;

/// Pub/sub channel of one Redis database's events; pub/sub itself ignores database numbers.
pub fn events_channel(database: i64) -> String {
    format!("onceover:{database}:events")
}
