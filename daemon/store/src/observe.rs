//! The health of Redis: whether it answers, takes writes and holds a layout that this program knows, what it says about
//! itself, and what can be measured of the queues.

use std::{fmt, time::Duration};

use onceover_types::keys;
use onceover_wire::{QueueInfo, QueuedRun, ReuseTotals, TaskCounts};
use redis::AsyncCommands;

use super::{
    Store, StoreError,
    args::{CatalogNames, Json, script_call},
    reply::{parse_text, reply_struct},
};

/// What the server says about itself.
#[derive(Debug, Clone, Default)]
pub struct ServerInfo {
    pub product: ServerProduct,
    pub version: Option<String>,
    /// The version of Redis whose commands it has; Valkey reports it too.
    pub compatible: Option<String>,
    pub append_only: Option<bool>,
    /// Eviction policy.
    pub policy: Option<String>,
    pub mode: ServerMode,
}

/// Which program a server is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServerProduct {
    #[default]
    Redis,
    Valkey,
}

impl fmt::Display for ServerProduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        })
    }
}

/// How a server runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServerMode {
    /// By itself, or in a way that it does not report.
    #[default]
    Standalone,
    Cluster,
    Sentinel,
}

impl ServerMode {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("cluster") => Self::Cluster,
            Some("sentinel") => Self::Sentinel,
            _ => Self::Standalone,
        }
    }
}

script_call! {
    TotalsCall<'a>: TOTALS {
        names: &'a CatalogNames,
    }
}

script_call! {
    QueueCall<'a>: QUEUE {
        queue: &'a str,
    }
}

script_call! {
    GaugesCall<'a>: GAUGES {
        queues: Json<'a, [&'a str]>,
    }
}

reply_struct! {
    TotalsReply {
        sequence: u64,
        pending: u64,
        running: u64,
        completed: u64,
        failed: u64,
        cancelled: u64,
        /// Hits, joins, misses and saved milliseconds.
        reuse: [Option<u64>; 4],
    }
}

reply_struct! {
    QueueReply {
        running: u64,
        pending: u64,
        /// The next runs, each as `task|name`.
        next: Vec<String>,
    }
}

/// The servers that can be used, in words.
pub const NEEDED: &str = "Redis 6.2 or Valkey";

/// The oldest server that has every command of the scripts.
pub const OLDEST: (u32, u32) = (6, 2);

impl ServerInfo {
    /// Whether it is older than [`OLDEST`]; a version that cannot be read is not.
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

    /// Whether it keeps data by itself: no Sentinel, no part of a cluster.
    pub fn keeps_data(&self) -> bool {
        self.mode == ServerMode::Standalone
    }

    /// Why this server cannot be used, if it cannot, and what to do.
    pub fn unusable(&self) -> Option<String> {
        let version = self.version.as_deref().unwrap_or("of an unknown version");
        match self.mode {
            ServerMode::Cluster => {
                return Some(
                    "it runs in cluster mode, which is not supported: scripts change keys of several slots at a time; name \
                     a server with 'cluster-enabled no' in redis.url"
                        .into(),
                );
            }
            ServerMode::Sentinel => {
                return Some(
                    "it is a Sentinel, and Sentinel is not supported yet: name the primary itself in redis.url, or an address \
                     that follows it (a proxy, a service)"
                        .into(),
                );
            }
            ServerMode::Standalone => {}
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
    /// Callbacks that are to be sent.
    pub outbox: u64,
    /// Bytes of the files that runs left, also of expired tasks.
    pub disk_bytes: u64,
    /// Bytes of what this daemon remembers of tasks that it has read.
    pub task_memory_bytes: u64,
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
    /// Reads the counts for the header.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        let names = &self.names;
        let reply: TotalsReply = self.call(TotalsCall { names }.prepare(self)).await?;
        let [hits, joins, misses, saved_ms] = reply.reuse.map(Option::unwrap_or_default);
        Ok(Totals {
            seq: reply.sequence,
            tasks: TaskCounts {
                pending: reply.pending,
                running: reply.running,
                completed: reply.completed,
                failed: reply.failed,
                cancelled: reply.cancelled,
            },
            reuse: ReuseTotals {
                hits,
                joins,
                misses,
                saved_seconds: saved_ms as f64 / 1000.0,
            },
        })
    }

    /// Reads one queue with its next runs.
    pub async fn queue(&self, name: &str, slots: u32) -> Result<QueueInfo, StoreError> {
        let reply: QueueReply = self.call(QueueCall { queue: name }.prepare(self)).await?;
        let next = reply
            .next
            .iter()
            .filter_map(|member| member.split_once('|'))
            .map(|(task, node)| {
                Ok(QueuedRun {
                    task_id: parse_text(task)?,
                    task_name: parse_text(node)?,
                })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(QueueInfo {
            name: name.to_owned(),
            slots,
            running: reply.running,
            pending: reply.pending,
            next,
            waiting: None,
        })
    }

    /// Checks that this program knows the layout in Redis, with a write that changes nothing once it is set: a server that is
    /// full or a replica refuses it.
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

    /// Measures the round trip of a PING; the error says why there is none.
    pub async fn ping(&self) -> Result<Duration, StoreError> {
        let mut redis = self.redis.clone();
        let start = std::time::Instant::now();
        self.reach.asked(redis.ping::<String>()).await?;
        Ok(start.elapsed())
    }

    /// Asks the server about itself.
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
            product: match valkey {
                Some(_) => ServerProduct::Valkey,
                None => ServerProduct::Redis,
            },
            version: valkey.or_else(|| compatible.clone()),
            compatible,
            append_only: field(&rest, "aof_enabled").map(|on| on == "1"),
            policy: field(&rest, "maxmemory_policy"),
            // Valkey reports it under another name.
            mode: ServerMode::parse(
                field(&server, "redis_mode")
                    .or_else(|| field(&server, "server_mode"))
                    .as_deref(),
            ),
        })
    }

    /// Reads the callbacks that are to be sent, the bytes of tasks' files, and the queues in numbers. `queues` are names with
    /// their slots.
    pub async fn gauges<'a>(
        &self,
        queues: impl Iterator<Item = (&'a String, &'a u32)> + Clone,
    ) -> Result<Gauges, StoreError> {
        let names: Vec<_> = queues.clone().map(|(name, _)| name.as_str()).collect();
        let call = GaugesCall {
            queues: Json(names.as_slice()),
        };
        let answer: Vec<u64> = self.call(call.prepare(self)).await?;
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
            task_memory_bytes: self.tasks.bytes() as u64,
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
