//! Names of the Redis keys and channels. Used by the daemon's store and the dashboard's feed, nowhere else.
//!
//! `{task_id}:node:{task_name}` is the public projection (S1). Everything else lives under `onceover:`; the scripts
//! name those keys (`daemon/store/src/lua`).

/// Prefix of every key that Onceover keeps for itself.
pub const PREFIX: &str = "onceover:";
/// Key of the layout's version; a newer version than [`SCHEMA_VERSION`] is refused.
pub const SCHEMA: &str = "onceover:schema";
pub const SCHEMA_VERSION: u32 = 1;

/// Returns the pub/sub channel of one Redis database's events. All are published there. The number is in the name
/// because pub/sub ignores database numbers.
pub fn events_channel(database: i64) -> String {
    format!("onceover:{database}:events")
}

/// Returns the pub/sub channel of those events of a database that daemons act upon.
pub fn wake_channel(database: i64) -> String {
    format!("onceover:{database}:wake")
}
