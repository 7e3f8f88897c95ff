//! What an operation costs Redis: the microseconds of the calls that a daemon sends for it, by Redis's own count.
//!
//! `INFO commandstats` counts a command wherever it is executed: as a client sent it, in an `EXEC` or in a script.
//! `call` of `server.c` (read in Redis 7.2, tried with 7.0) measures a command from its begin to its end, so the
//! microseconds of an `EXEC` contain those of the commands it executes, and those of an `EVALSHA` contain those of
//! the script's. The sum of all lines would count them twice. So a proxy counts what is sent by itself, and only that
//! is added up: of a command that scripts execute as well the share of its calls. Reading requests and writing
//! replies is in no line.
//!
//! Which script an `EVALSHA` called is in the slow log alone. It takes all calls above [`SLOW`], so that a script has
//! a mean of all its calls but the shortest; the log is written after a call was measured.

use std::collections::{BTreeMap, HashMap};

use onceover_tests::Proxy;
use redis::{Value, aio::MultiplexedConnection};
use tokio::runtime::Handle;

use crate::setup::{Bench, ObservedDaemon};

/// Microseconds from which on a call is in the slow log: more than nearly every command takes, less than a script
/// does.
const SLOW: &str = "5";
/// Settings of a Redis whose costs are measured.
pub const SLOW_LOG: [&str; 4] = ["--slowlog-log-slower-than", SLOW, "--slowlog-max-len", "1000000"];

/// Calls and microseconds.
#[derive(Debug, Clone, Copy, Default)]
struct CallTotals {
    calls: f64,
    micros: f64,
}

/// What one operation costs, as a mean of many.
pub struct OperationCost {
    /// Of all that is sent.
    pub micros: f64,
    /// By command, without those that an `EXEC` or a script executes.
    pub commands: Vec<CallCost>,
    /// By the file name of the script; those in an `EXEC` too.
    pub scripts: Vec<CallCost>,
}

/// One command or script.
pub struct CallCost {
    pub name: String,
    /// How often an operation calls it.
    pub calls: f64,
    /// Of one call.
    pub micros: f64,
}

/// Measures what a daemon's requests cost its Redis.
pub struct RedisMeter<'a> {
    runtime: Handle,
    proxy: &'a Proxy,
    redis: MultiplexedConnection,
}

struct Counts {
    stats: HashMap<String, CallTotals>,
    sent: HashMap<String, usize>,
    scripts: HashMap<String, usize>,
}

/// How much more often each was counted after than before.
fn growth(after: &HashMap<String, usize>, before: &HashMap<String, usize>) -> BTreeMap<String, f64> {
    after
        .iter()
        .map(|(name, count)| (name.clone(), count - before.get(name).unwrap_or(&0)))
        .filter(|(_, calls)| *calls > 0)
        .map(|(name, calls)| (name, calls as f64))
        .collect()
}

impl<'a> RedisMeter<'a> {
    /// The daemon's Redis has the settings [`SLOW_LOG`].
    pub fn new(bench: &Bench, observed: &'a ObservedDaemon) -> Self {
        Self {
            runtime: bench.runtime.handle().clone(),
            proxy: &observed.proxy,
            redis: observed.redis(bench),
        }
    }

    /// Measures what so many operations cost.
    pub fn cost(&self, operations: usize, operate: impl FnOnce()) -> OperationCost {
        let _: Value = self.query(redis::cmd("SLOWLOG").arg("RESET"));
        let before = self.counts();
        operate();
        let after = self.counts();
        let operations = operations as f64;
        let mut commands = Vec::new();
        for (name, sent) in growth(&after.sent, &before.sent) {
            let all = after.stats.get(&name).copied().unwrap_or_default();
            let former = before.stats.get(&name).copied().unwrap_or_default();
            let counted = all.calls - former.calls;
            // A command that Redis refuses or does not list is executed no time.
            if counted > 0.0 {
                commands.push(CallCost {
                    name,
                    calls: sent / operations,
                    micros: (all.micros - former.micros) / counted,
                });
            }
        }
        let means = self.means_of_scripts();
        let scripts = growth(&after.scripts, &before.scripts)
            .into_iter()
            .map(|(name, calls)| CallCost {
                calls: calls / operations,
                micros: means.get(&name).copied().unwrap_or_default(),
                name,
            })
            .collect();
        OperationCost {
            micros: commands.iter().map(|command| command.calls * command.micros).sum(),
            commands,
            scripts,
        }
    }

    /// Measures one script of the probe, called so often alone: microseconds a call. As `EVALSHA_RO`, which the
    /// daemon does not send, so that what it does on its own is not counted.
    pub fn cost_of_script(&self, calls: usize, script: &str, key: &str) -> f64 {
        let hash: String = self.query(redis::cmd("SCRIPT").arg("LOAD").arg(script));
        let before = self.stats().remove("evalsha_ro").unwrap_or_default();
        for _ in 0..calls {
            let _: Value = self.query(redis::cmd("EVALSHA_RO").arg(&hash).arg(1).arg(key));
        }
        let after = self.stats().remove("evalsha_ro").expect("the script was called");
        (after.micros - before.micros) / (after.calls - before.calls)
    }

    fn query<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let mut redis = self.redis.clone();
        self.runtime
            .block_on(command.query_async(&mut redis))
            .expect("Redis answers")
    }

    fn counts(&self) -> Counts {
        Counts {
            stats: self.stats(),
            sent: self.proxy.sent(),
            scripts: self.proxy.scripts_called(),
        }
    }

    /// Calls and microseconds by command, those in scripts and in `EXEC` included.
    fn stats(&self) -> HashMap<String, CallTotals> {
        let info: String = self.query(redis::cmd("INFO").arg("commandstats"));
        info.lines().filter_map(parse_stats).collect()
    }

    /// Mean microseconds of the calls of each script that are in the slow log.
    fn means_of_scripts(&self) -> HashMap<String, f64> {
        let entries: Vec<Vec<Value>> = self.query(redis::cmd("SLOWLOG").arg("GET").arg(-1));
        let mut totals: HashMap<String, CallTotals> = HashMap::new();
        for entry in entries {
            // Its number, the time, microseconds, the words of the request, and whose it was.
            let micros: f64 = redis::from_redis_value(entry[2].clone()).expect("microseconds");
            let words: Vec<Vec<u8>> = redis::from_redis_value(entry[3].clone()).expect("words");
            let word = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word));
            if word(0).is_some_and(|command| command.eq_ignore_ascii_case("evalsha"))
                && let Some(name) = word(1).and_then(|hash| self.proxy.name_of_script(&hash))
            {
                let total = totals.entry(name).or_default();
                total.calls += 1.0;
                total.micros += micros;
            }
        }
        totals
            .into_iter()
            .map(|(name, total)| (name, total.micros / total.calls))
            .collect()
    }
}

/// Reads `cmdstat_get:calls=3,usec=5,...`.
fn parse_stats(line: &str) -> Option<(String, CallTotals)> {
    let (name, fields) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    let field = |wanted: &str| {
        let mut fields = fields.split(',').filter_map(|field| field.split_once('='));
        fields.find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    let totals = CallTotals {
        calls: field("calls")?,
        micros: field("usec")?,
    };
    Some((name.to_owned(), totals))
}
