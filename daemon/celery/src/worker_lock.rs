//! The lock by which existing workers share a GPU. It is a key in Redis that holds a name, and it expires. Celery knows
//! nothing of it; it lies in a database of the same Redis, and is reached as brokers are.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Cmd;
use serde_json::json;

use super::{BrokerUrlError, CeleryError, redis_link::RedisLink, settings::RedisEndpoint};

/// What the name of a holder begins with, for all who use the lock.
const HOLDER: &str = "locked_by_";
/// Takes the lock or keeps it: KEYS the lock; ARGV the holder, milliseconds to live, what the names of earlier starts of the
/// same holder begin with or nothing. Answers whether it is held now, else also by whom and for how long.
const TAKE: &str = "local holder = redis.call('GET', KEYS[1])\n\
    local earlier = ARGV[3]\n\
    local is_ours = not holder or holder == ARGV[1]\n\
    if not is_ours and earlier ~= '' and string.sub(holder, 1, #earlier) == earlier then is_ours = true end\n\
    if is_ours then\n\
      redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n\
      return {1, '', 0}\n\
    end\n\
    return {0, holder, redis.call('PTTL', KEYS[1])}";
/// Gives the lock back: KEYS the lock; ARGV the holder, the channel of releases, the message for it. Answers whether it was
/// held.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n\
    redis.call('DEL', KEYS[1])\n\
    redis.call('PUBLISH', ARGV[2], ARGV[3])\n\
    return 1";

/// Who has the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockHolder {
    /// The caller, until it expires.
    Us,
    /// Another client, by the name that it has there.
    Other {
        name: String,
        /// When the lock is free unless it is renewed. None: never.
        expires_in: Option<Duration>,
    },
}

/// The lock as one program takes it. Its calls may be repeated: what it holds, it takes again.
#[derive(Clone)]
pub struct WorkerLock {
    link: RedisLink,
    key: String,
    holder: String,
    /// What the names of earlier starts begin with; empty where there are none.
    earlier: String,
    expiry: Duration,
}

impl WorkerLock {
    /// Makes the lock of a Redis; it connects at the first call. `setting` is what names the URL. The holder is a program
    /// and its start, `NAME#START`: a later start takes over what an earlier one has left.
    pub fn new(
        setting: &'static str,
        url: &str,
        key: &str,
        holder: &str,
        expiry: Duration,
    ) -> Result<Self, BrokerUrlError> {
        let endpoint = RedisEndpoint::parse(setting, url)?;
        let earlier = holder.rsplit_once('#');
        Ok(Self {
            link: RedisLink::new("the Redis of the GPU lock", endpoint),
            key: key.to_owned(),
            holder: format!("{HOLDER}{holder}"),
            earlier: earlier.map_or_else(String::new, |(name, _)| format!("{HOLDER}{name}#")),
            expiry,
        })
    }

    /// Takes the lock if it is free or held by this program, and renews it.
    pub async fn take(&self) -> Result<LockHolder, CeleryError> {
        let mut take = script(TAKE, &self.key);
        take.arg(&self.holder)
            .arg(u64::try_from(self.expiry.as_millis()).unwrap_or(u64::MAX))
            .arg(&self.earlier);
        let (is_ours, holder, left): (u8, Vec<u8>, i64) = self.link.call("EVAL", &take).await?;
        if is_ours == 1 {
            return Ok(LockHolder::Us);
        }
        Ok(LockHolder::Other {
            name: onceover_types::shortened(&String::from_utf8_lossy(&holder)),
            expires_in: u64::try_from(left).ok().map(Duration::from_millis),
        })
    }

    /// Gives the lock back if this program holds it, and says so to those who wait. Returns `false` if it was another's.
    pub async fn release(&self) -> Result<bool, CeleryError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let message = json!({
            "event_type": "lock_released",
            "lock_key": self.key,
            "task_name": self.holder.strip_prefix(HOLDER),
            "release_reason": "normal",
            "timestamp": now.as_secs_f64(),
        });
        let mut release = script(RELEASE, &self.key);
        // The workers name the channel after the key, which begins with the same word.
        release
            .arg(&self.holder)
            .arg(format!("gpu_lock:{}", self.key))
            .arg(message.to_string());
        let released: u8 = self.link.call("EVAL", &release).await?;
        Ok(released == 1)
    }
}

fn script(text: &str, key: &str) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(1).arg(key);
    command
}
