//! How full Redis is. New work is refused before it is full, so that runs under way can end.

use std::sync::atomic::{AtomicU64, Ordering};

use onceover_types::humane;

use super::{RedisMode, Store, StoreError};

/// The part of its memory up to which new work is accepted, in percent.
const TAKEN_UP_TO: u64 = 90;

/// The memory as it was last read; both are 0 where there is no limit.
#[derive(Debug, Default)]
pub(super) struct Memory {
    used: AtomicU64,
    limit: AtomicU64,
}

impl Memory {
    fn is_nearly_full(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let used = self.used.load(Ordering::Relaxed);
        // A full Redis refuses every write itself.
        limit > 0 && used >= limit / 100 * TAKEN_UP_TO && used < limit
    }
}

impl Store {
    /// Reads how much memory Redis uses.
    pub async fn look_at_memory(&self) -> Result<(), StoreError> {
        let mut redis = self.redis.clone();
        let mut info = redis::cmd("INFO");
        let text: String = self.limited(info.arg("memory").query_async(&mut redis)).await?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse::<u64>().ok())
        };
        let (Some(used), Some(limit)) = (field("used_memory"), field("maxmemory")) else {
            return Ok(());
        };
        self.memory.used.store(used, Ordering::Relaxed);
        self.memory.limit.store(limit, Ordering::Relaxed);
        Ok(())
    }

    /// Whether Redis is so full that no new work is accepted.
    pub fn is_nearly_full(&self) -> bool {
        self.memory.is_nearly_full()
    }

    /// Says how full it is and what to do.
    pub fn fullness(&self) -> String {
        let (used, limit) = (&self.memory.used, &self.memory.limit);
        let bytes = |number: &AtomicU64| humane::bytes(number.load(Ordering::Relaxed));
        let setting = match self.mode() {
            RedisMode::Private => "redis.max_memory in the configuration",
            RedisMode::External => "maxmemory of the Redis server",
        };
        format!(
            "Redis takes {} of the {} it may; from {TAKEN_UP_TO} % on no new run or callback is accepted, so that those under \
             way can end; delete tasks, wait until some expire (retention.ttl), or raise {setting}",
            bytes(used),
            bytes(limit)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_work_is_taken_up_to_nine_tenths_of_a_limit() {
        let memory = |used, limit| Memory {
            used: AtomicU64::new(used),
            limit: AtomicU64::new(limit),
        };
        assert!(!memory(89, 100).is_nearly_full() && memory(90, 100).is_nearly_full());
        assert!(!memory(90, 0).is_nearly_full() && !memory(100, 100).is_nearly_full());
    }
}
