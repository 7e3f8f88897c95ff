//! How many commands Redis has run, by its own count.

use redis::aio::MultiplexedConnection;

use crate::{daemon::Daemon, redis_info::read_info};

/// Calls of the commands whose names, with a colon after them, are wanted; those of scripts included.
pub async fn calls_of(redis: &mut MultiplexedConnection, is_wanted: impl Fn(&str) -> bool) -> u64 {
    let info = read_info(redis, "commandstats").await;
    let calls = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
    let lines = info.lines().filter_map(|line| line.strip_prefix("cmdstat_"));
    lines.filter(|line| is_wanted(line)).filter_map(calls).sum()
}

impl Daemon {
    /// How many calls of Redis something takes, of the commands whose names begin so: the fewest of some tries, since the
    /// daemon's own come in between.
    pub async fn fewest_calls(&self, command: &str, what: impl AsyncFn(u32)) -> u64 {
        let mut redis = self.redis().await;
        let mut fewest = u64::MAX;
        for round in 0..20 {
            let before = calls_of(&mut redis, |name| name.starts_with(command)).await;
            what(round).await;
            fewest = fewest.min(calls_of(&mut redis, |name| name.starts_with(command)).await - before);
        }
        fewest
    }
}
