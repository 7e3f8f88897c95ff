//! `[gpu_lock]`: the lock by which existing workers share this machine's GPU.

use std::time::Duration;

use onceover_celery::{BrokerUrlError, WorkerLock};
use serde::Deserialize;

use super::{ConfigError, duration};

/// The setting that names its Redis, as errors say it.
const REDIS: &str = "gpu_lock.redis";

/// Whether runs of the class `gpu` take the lock of existing workers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GpuLockConfig {
    /// The Redis that has the lock; left out, no lock is taken.
    pub redis: Option<String>,
    /// The key of the lock.
    pub key: String,
    /// After how long the lock of a daemon that is not heard of is free; it is renewed three times in that.
    #[serde(deserialize_with = "duration")]
    pub expires_after: Duration,
}

impl Default for GpuLockConfig {
    fn default() -> Self {
        Self {
            redis: None,
            key: "gpu_lock:0".into(),
            expires_after: Duration::from_secs(60),
        }
    }
}

impl GpuLockConfig {
    /// Makes the lock as this daemon takes it; none where it is not configured.
    pub fn lock(&self, owner: &str) -> Result<Option<WorkerLock>, BrokerUrlError> {
        let holder = format!("onceover:{owner}");
        self.redis
            .as_deref()
            .map(|url| WorkerLock::new(REDIS, url, &self.key, &holder, self.expires_after))
            .transpose()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.key.is_empty() {
            return Err(ConfigError::Value(
                "gpu_lock.key must not be empty; the workers use \"gpu_lock:0\"".into(),
            ));
        }
        if self.expires_after < Duration::from_secs(1) {
            return Err(ConfigError::Value("gpu_lock.expires_after must be at least 1s".into()));
        }
        self.lock("")
            .map(drop)
            .map_err(|error| ConfigError::Value(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let config: GpuLockConfig = toml::from_str(text).expect("a table");
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn no_lock_is_taken_unless_its_redis_is_named_and_what_is_wrong_is_named() {
        assert!(GpuLockConfig::default().lock("box#1").expect("no URL").is_none());
        check("").expect("it is left out");
        check("redis = 'redis://:secret@box/2'").expect("a Redis");
        for (text, named) in [
            (
                "redis = 'amqp://:secret@box'",
                "`gpu_lock.redis` cannot be used: RabbitMQ",
            ),
            ("redis = 'sentinel://box'", "master_name"),
            ("key = ''", "gpu_lock.key"),
            ("expires_after = '200ms'", "gpu_lock.expires_after"),
        ] {
            let error = check(text).expect_err(text);
            assert!(error.contains(named) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
