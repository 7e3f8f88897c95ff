//! What a Redis says of itself.

use std::str::FromStr;

use redis::aio::MultiplexedConnection;

use crate::daemon::Daemon;

/// Reads a section of `INFO`.
pub async fn read_info(redis: &mut MultiplexedConnection, section: &str) -> String {
    redis::cmd("INFO")
        .arg(section)
        .query_async(redis)
        .await
        .expect("Redis answers")
}

/// Reads a figure of such a section.
pub fn read_figure<T: FromStr>(info: &str, name: &str) -> T {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or_else(|| panic!("Redis names no {name}"))
}

/// Bytes that it holds.
pub async fn used_memory(redis: &mut MultiplexedConnection) -> u64 {
    read_figure(&read_info(redis, "memory").await, "used_memory")
}

/// Seconds of processor time that it has used.
pub async fn processor_seconds(redis: &mut MultiplexedConnection) -> f64 {
    let info = read_info(redis, "cpu").await;
    read_figure::<f64>(&info, "used_cpu_user") + read_figure::<f64>(&info, "used_cpu_sys")
}

impl Daemon {
    /// Process id of the Redis it uses.
    pub async fn redis_pid(&self) -> i32 {
        read_figure(&read_info(&mut self.redis().await, "server").await, "process_id")
    }

    /// Bytes that the Redis it uses holds.
    pub async fn redis_memory(&self) -> u64 {
        used_memory(&mut self.redis().await).await
    }
}
