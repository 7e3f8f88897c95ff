//! `[warm]`: programs that keep their model between runs.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, duration};

/// How long processes are kept between runs, and how many.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmConfig {
    /// Whether processes are kept between runs; if not, each run has its own.
    pub enabled: bool,
    /// How long a process is kept that does nothing.
    #[serde(deserialize_with = "duration")]
    pub idle: Duration,
    /// How many processes are kept at a time.
    pub max_processes: usize,
    /// How many runs a process takes before another one takes its place.
    pub max_runs: u64,
    /// Bytes by which the memory of a process may grow after its first run.
    pub max_growth: u64,
    /// Bytes of memory that all of them may have together; left out, half of the machine's.
    pub max_memory: Option<u64>,
    /// Bytes of the GPU's memory that runs may use; left out, what the machine has.
    pub gpu_memory: Option<u64>,
}

impl Default for WarmConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            idle: Duration::from_secs(300),
            max_processes: 8,
            max_runs: 100,
            max_growth: 2 << 30,
            max_memory: None,
            gpu_memory: None,
        }
    }
}

impl WarmConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.max_processes == 0 || self.max_runs == 0 || self.idle.is_zero() {
            return Err(ConfigError::Value(
                "warm.max_processes, warm.max_runs and warm.idle must be above zero; warm.enabled = false keeps no process"
                    .into(),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let config: WarmConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())
    }

    #[test]
    fn what_keeps_nothing_is_refused_and_the_error_says_how_to_keep_nothing() {
        check("").expect("it is left out");
        check("enabled = false\nidle = '90s'\nmax_memory = 1073741824").expect("a table");
        for text in ["max_processes = 0", "max_runs = 0", "idle = '0s'"] {
            let error = check(text).expect_err(text);
            assert!(error.contains("warm.enabled = false"), "{text}: {error}");
        }
    }
}
