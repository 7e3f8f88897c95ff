//! How callbacks are made.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{ConfigError, duration, durations};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallbacksConfig {
    /// Addresses, networks (CIDR) and host names that may be called although they are not public.
    pub allow: Vec<String>,
    /// Waits before each try; their number is the number of tries (C4).
    #[serde(deserialize_with = "durations")]
    pub schedule: Vec<Duration>,
    /// Limit of one try.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// File with the secrets that callbacks are signed with, one a line; two while they are being changed.
    pub secrets_file: Option<PathBuf>,
    /// How many callbacks that were sent are kept, to be seen and sent again.
    pub keep: u64,
    /// Distinct URLs that may wait for one run.
    pub max_per_run: u64,
    /// Tries under way at a time; at most half of them are second ones to a host or go to hosts that did not answer.
    pub max_at_once: usize,
    /// Tries under way to one host.
    pub max_per_host: usize,
    /// After so many tries in a row without any answer a host is left alone.
    pub breaker_after: u32,
    /// How long it is, at first; up to 16 times as long while it stays silent.
    #[serde(deserialize_with = "duration")]
    pub breaker_wait: Duration,
}

impl Default for CallbacksConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            schedule: [0, 5, 60, 300, 1800].map(Duration::from_secs).to_vec(),
            timeout: Duration::from_secs(30),
            secrets_file: None,
            keep: 10_000,
            max_per_run: 10_000,
            max_at_once: 32,
            max_per_host: 4,
            breaker_after: 5,
            breaker_wait: Duration::from_secs(30),
        }
    }
}

impl CallbacksConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refuse = |why: &str| Err(ConfigError::Value(why.into()));
        if self.schedule.first() != Some(&Duration::ZERO) {
            return refuse(
                "callbacks.schedule must begin with 0s, since the first try is at once; [\"0s\"] is a single try",
            );
        }
        if self.timeout.is_zero() || self.breaker_wait.is_zero() {
            return refuse("callbacks.timeout and callbacks.breaker_wait must be above zero");
        }
        if self.max_at_once == 0 || self.max_per_host == 0 || self.breaker_after == 0 {
            return refuse(
                "callbacks.max_at_once, callbacks.max_per_host and callbacks.breaker_after must be above zero",
            );
        }
        if self.breaker_wait > Duration::from_secs(3600) {
            return refuse("callbacks.breaker_wait must be at most 1h");
        }
        Ok(())
    }
}
