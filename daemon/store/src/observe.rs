//! How Redis does: whether it answers, takes writes and holds a layout we know, what it says about itself, and what
//! can be measured of the queues.

use std::time::Duration;

use onceover_types::keys;
use onceover_wire::{QueueInfo, QueuedRun, ReuseTotals, TaskCounts};
use redis::AsyncCommands;

use super::{Store, StoreError, list, record, scripts};

/// What the server lets us know of itself.
#[derive(Debug, Clone, Default)]
pub struct ServerInfo {
    /// `redis` or `valkey`.
    pub product: String,
    pub version: Option<String>,
    /// Commands as Redis of this version has them; Valkey tells it too.
    pub compatible: Option<String>,
    pub append_only: Option<bool>,
    /// Eviction policy.
    pub policy: Option<String>,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: Option<String>,
}

/// What a Redis must be, for people.
pub const NEEDED: &str = "Redis 6.2 or Valkey";

/// Oldest server that has every command of our scripts.
pub const OLDEST: (u32, u32) = (6, 2);

impl ServerInfo {
    /// Whether it is older than what we need; a version that cannot be read is not.
    pub fn too_old(&self) -> bool {
        let number = |text: &str| {
            let mut parts = text.split('.').map(|part| part.parse::<u32>().ok());
            Some((parts.next()??, parts.next()??))
        };
        self.compatible
            .as_deref()
            .and_then(number)
            .is_some_and(|version| version < OLDEST)
    }

    /// Whether it is a server of one's own that keeps data: no Sentinel, no part of a cluster.
    pub fn keeps_data(&self) -> bool {
        !matches!(self.mode.as_deref(), Some("cluster" | "sentinel"))
    }

    /// Why this server cannot be used, if it cannot, and what to do.
    pub fn unusable(&self) -> Option<String> {
        let version = self.version.as_deref().unwrap_or("of an unknown version");
        match self.mode.as_deref() {
            Some("cluster") => {
                return Some(
                    "it runs in cluster mode, which is not supported: scripts change keys of several slots at a time; name \
                     a server with 'cluster-enabled no' in redis.url"
                        .into(),
                );
            }
            Some("sentinel") => {
                return Some(
                    "it is a Sentinel, and Sentinel is not supported yet: name the primary itself in redis.url, or an address \
                     that follows it (a proxy, a service)"
                        .into(),
                );
            }
            _ => {}
        }
        if self.too_old() {
            return Some(format!("it is {} {version}; {NEEDED} is needed", self.product));
        }
        let policy = self.policy.as_deref().filter(|policy| *policy != "noeviction")?;
        Some(format!(
            "its maxmemory-policy is '{policy}', so it may drop records at any time; set it to noeviction (CONFIG SET \
             maxmemory-policy noeviction)"
        ))
    }
}

/// One queue in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueGauge {
    pub name: String,
    pub slots: u32,
    pub running: u64,
    pub pending: u64,
    /// How long the run that is next has waited.
    pub oldest: Duration,
}

/// What is measured of the whole database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauges {
    /// Callbacks that wait.
    pub outbox: u64,
    /// Bytes of the files that runs left, also of expired tasks.
    pub disk_bytes: u64,
    pub queues: Vec<QueueGauge>,
}

/// Counts for the header.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub seq: u64,
    pub tasks: TaskCounts,
    pub reuse: ReuseTotals,
}

impl Store {
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        type Answer = (u64, u64, u64, u64, u64, u64, [Option<u64>; 4]);
        let (seq, pending, running, completed, failed, cancelled, stats): Answer = self
            .run(&scripts::TOTALS, self.args().with("names", self.names.as_str()))
            .await?;
        let [hits, joins, misses, saved_ms] = stats.map(Option::unwrap_or_default);
        Ok(Totals {
            seq,
            tasks: TaskCounts {
                pending,
                running,
                completed,
                failed,
                cancelled,
            },
            reuse: ReuseTotals {
                hits,
                joins,
                misses,
                saved_seconds: saved_ms as f64 / 1000.0,
            },
        })
    }

    pub async fn queue(&self, name: &str, slots: u32) -> Result<QueueInfo, StoreError> {
        let args = self.args().with("queue", name);
        let (running, pending, next): (u64, u64, Vec<String>) = self.run(&scripts::QUEUE, args).await?;
        let next = next
            .iter()
            .filter_map(|member| member.split_once('|'))
            .map(|(task, node)| {
                Ok(QueuedRun {
                    task_id: record::parse(task)?,
                    task_name: record::parse(node)?,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(QueueInfo {
            name: name.to_owned(),
            slots,
            running,
            pending,
            next,
        })
    }

    /// Checks that the layout in Redis is one this program knows, with a write that changes nothing once it is set: a
    /// server that is full or a replica refuses it.
    pub async fn check_layout(&self) -> Result<(), StoreError> {
        let mut redis = self.redis.clone();
        self.reach
            .asked(redis.set_nx::<_, _, bool>(keys::SCHEMA, keys::SCHEMA_VERSION))
            .await?;
        let found: String = self.limited(redis.get(keys::SCHEMA)).await?;
        match found.parse::<u32>() {
            Ok(version) if version <= keys::SCHEMA_VERSION => Ok(()),
            _ => Err(StoreError::Unexpected(format!(
                "{} is '{found}', and this program knows versions up to {}; use a newer onceoverd or another database",
                keys::SCHEMA,
                keys::SCHEMA_VERSION
            ))),
        }
    }

    /// Round trip of a PING; the error tells why there is none.
    pub async fn ping(&self) -> Result<Duration, StoreError> {
        let mut redis = self.redis.clone();
        let start = std::time::Instant::now();
        self.reach.asked(redis.ping::<String>()).await?;
        Ok(start.elapsed())
    }

    /// What the server says about itself.
    pub async fn server(&self) -> Result<ServerInfo, StoreError> {
        let mut redis = self.redis.clone();
        let mut info = redis::cmd("INFO");
        info.arg("server");
        let server: String = self.limited(info.query_async(&mut redis)).await?;
        info.arg("persistence").arg("memory");
        let rest: String = self.limited(info.query_async(&mut redis)).await.unwrap_or_default();
        let field = |text: &str, name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned))
        };
        let (valkey, compatible) = (field(&server, "valkey_version"), field(&server, "redis_version"));
        Ok(ServerInfo {
            product: if valkey.is_some() { "valkey" } else { "redis" }.into(),
            version: valkey.or_else(|| compatible.clone()),
            compatible,
            append_only: field(&rest, "aof_enabled").map(|on| on == "1"),
            policy: field(&rest, "maxmemory_policy"),
            // Valkey tells it under a name of its own, too.
            mode: field(&server, "redis_mode").or_else(|| field(&server, "server_mode")),
        })
    }

    /// Callbacks that wait, bytes of tasks' files, and the queues in numbers. `queues` are names with their slots.
    pub async fn gauges<'a>(
        &self,
        queues: impl Iterator<Item = (&'a String, &'a u32)> + Clone,
    ) -> Result<Gauges, StoreError> {
        let names: Vec<_> = queues.clone().map(|(name, _)| name.as_str()).collect();
        let args = self.args().with("queues", list(&names));
        let answer: Vec<u64> = self.run(&scripts::GAUGES, args).await?;
        let [outbox, disk_bytes, numbers @ ..] = answer.as_slice() else {
            return Err(StoreError::Unexpected("the gauges script answered nothing".into()));
        };
        let gauges = queues
            .zip(numbers.chunks_exact(3))
            .map(|((name, slots), numbers)| QueueGauge {
                name: name.clone(),
                slots: *slots,
                running: numbers[0],
                pending: numbers[1],
                oldest: Duration::from_millis(numbers[2]),
            });
        Ok(Gauges {
            outbox: *outbox,
            disk_bytes: *disk_bytes,
            queues: gauges.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req30_versions_below_the_floor_are_told() {
        let too_old = |version: &str| {
            let info = ServerInfo {
                compatible: Some(version.into()),
                ..ServerInfo::default()
            };
            info.too_old()
        };
        assert!(too_old("6.0.16") && too_old("5.0.7"));
        assert!(!too_old("6.2.0") && !too_old("7.0.15") && !too_old("10.1") && !too_old("unstable"));
        assert!(!ServerInfo::default().too_old());
    }
}
