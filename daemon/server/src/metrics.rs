//! What the daemon counts about itself, for `GET /metrics`. Every label comes from a closed set (nodes of the catalog,
//! queues, route patterns), so no client can make the series grow.

mod answers;
mod hits;
mod known;
mod recent;
mod warm;
mod workers;

use std::{
    collections::BTreeSet,
    fmt::Write,
    sync::{Arc, LazyLock, atomic::AtomicU64},
    time::Duration,
};

use onceover_types::{CallbackStatus, Timestamp};
use onceover_wire::{ResultWarning, ReuseInfo, TaskCounts, WorkersReport};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};

use onceover_limits::Limit;
use onceover_store::{CallTimes, Gauges};

use crate::machine_load;
use answers::AnswerMetrics;
use hits::{HitMetric, HitMetrics};
use recent::RecentCounts;
use warm::WarmMetrics;
use workers::WorkerGauges;

pub use warm::WarmCounts;

/// Content type of what [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Seconds = Counter<f64, AtomicU64>;
type FloatGauge = Gauge<f64, AtomicU64>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Submit {
    node: String,
    outcome: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Node {
    node: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Run {
    node: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WarnedResult {
    node: String,
    code: &'static str,
}

/// The codes of warnings, as their table in docs/results.md has them: a program may write any other.
static WARNING_CODES: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let rows = include_str!("../../../docs/results.md").lines();
    rows.filter_map(|row| Some(row.strip_prefix("| `")?.split_once("` |")?.0))
        .collect()
});

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    queue: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

/// Cheap to clone; all clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    submits: Family<Submit, Counter>,
    saved: Family<Node, Seconds>,
    runs: Histograms<Run>,
    warned: Family<WarnedResult, Counter>,
    callbacks: Family<Outcome, Counter>,
    redis: Histogram,
    keys_dropped: Counter,
    redis_up: Gauge,
    redis_ping: FloatGauge,
    queue_slots: Family<Queue, Gauge>,
    queue_running: Family<Queue, Gauge>,
    queue_pending: Family<Queue, Gauge>,
    queue_oldest: Family<Queue, FloatGauge>,
    outbox: Gauge,
    disk: Gauge,
    task_memory: Gauge,
    tasks: Family<Status, Gauge>,
    hits: HitMetrics,
    answers: AnswerMetrics,
    memory: Gauge,
    recent: RecentCounts,
    workers: WorkerGauges,
    warm: WarmMetrics,
}

/// From a tenth of a second to four hours.
fn run_times() -> Histogram {
    Histogram::new([0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0])
}

/// From a twentieth of a millisecond to the limit of a call.
fn redis_times() -> Histogram {
    Histogram::new([
        0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 3.0,
    ])
}

/// Writes `onceover_limit_reached_total` of every limit.
#[derive(Debug)]
pub struct LimitCollector;

impl Collector for LimitCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let help = "How often something was refused, cut or put off because of a limit of docs/limits.md";
        let mut family = encoder.encode_descriptor("onceover_limit_reached", help, None, MetricType::Counter)?;
        for limit in Limit::ALL {
            let labels = [("limit", limit.row().name)];
            let metric = family.encode_family(&labels)?;
            ConstCounter::new(limit.times_reached()).encode(metric)?;
        }
        Ok(())
    }
}

/// How long calls of Redis took. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct RedisCalls(Histogram);

impl Default for RedisCalls {
    fn default() -> Self {
        Self(redis_times())
    }
}

impl CallTimes for RedisCalls {
    fn observe(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

/// What Redis knew when it was asked for the gauges.
pub struct RedisReading {
    pub ping: Duration,
    pub gauges: Gauges,
    pub tasks: TaskCounts,
}

impl Metrics {
    /// `redis` is where the store records its calls, `keys_dropped` counts changes of other workers' keys that were not
    /// looked at.
    pub fn new(redis: RedisCalls, keys_dropped: Counter, started: Timestamp) -> Self {
        let mut inner = Inner {
            registry: Registry::default(),
            submits: Family::default(),
            saved: Family::default(),
            runs: Family::new_with_constructor(run_times),
            warned: Family::default(),
            callbacks: Family::default(),
            redis: redis.0,
            keys_dropped,
            redis_up: Gauge::default(),
            redis_ping: Gauge::default(),
            queue_slots: Family::default(),
            queue_running: Family::default(),
            queue_pending: Family::default(),
            queue_oldest: Family::default(),
            outbox: Gauge::default(),
            disk: Gauge::default(),
            task_memory: Gauge::default(),
            tasks: Family::default(),
            hits: HitMetrics::default(),
            answers: AnswerMetrics::default(),
            memory: Gauge::default(),
            recent: RecentCounts::default(),
            workers: WorkerGauges::default(),
            warm: WarmMetrics::default(),
        };
        inner.register(started);
        Self(Arc::new(inner))
    }

    /// A submit was decided; its node is one of the catalog.
    pub fn submitted(&self, info: &ReuseInfo) {
        let outcome = match (info.reuse_hit, &info.state) {
            (true, None) => "hit",
            (true, Some(_)) => "join",
            (false, _) => "miss",
        };
        self.0.recent.count_submit(outcome, info.saved_seconds);
        let saved = info.saved_seconds.filter(|seconds| *seconds > 0.0);
        if let ("hit", None, Some(seconds)) = (outcome, &info.reason, saved) {
            let make = || self.metric_of_hits(&info.task_name);
            return self.0.hits.observe(&info.task_name, seconds, make);
        }
        self.submit(&info.task_name, outcome, info.reason.as_deref().unwrap_or_default());
        if let Some(seconds) = saved {
            let node = Node {
                node: info.task_name.clone(),
            };
            self.0.saved.get_or_create(&node).inc_by(seconds);
        }
    }

    fn metric_of_hits(&self, node: &str) -> HitMetric {
        let submit = Submit {
            node: node.to_owned(),
            outcome: "hit",
            reason: String::new(),
        };
        let node = Node { node: node.to_owned() };
        HitMetric {
            count: self.0.submits.get_or_create_owned(&submit),
            saved: self.0.saved.get_or_create_owned(&node),
        }
    }

    /// A submit was refused although it can be read: by its node's policy, or because it could not be run.
    pub fn refused(&self, node: &str, reason: &str) {
        self.submit(node, "refused", reason);
    }

    /// A submit could not be decided.
    pub fn undecided(&self, node: &str) {
        self.submit(node, "error", "");
    }

    fn submit(&self, node: &str, outcome: &'static str, reason: &str) {
        let labels = Submit {
            node: node.to_owned(),
            outcome,
            reason: reason.to_owned(),
        };
        self.0.submits.get_or_create(&labels).inc();
    }

    /// A run ended here; `node` is None for one that the catalog no longer has.
    pub fn ran(&self, node: Option<&str>, outcome: &'static str, took: Duration) {
        let node = node.unwrap_or("other").to_owned();
        self.0.recent.count_run(outcome);
        self.0
            .runs
            .get_or_create(&Run { node, outcome })
            .observe(took.as_secs_f64());
    }

    /// What counts processes that keep their models.
    pub fn warm(&self) -> &WarmCounts {
        &self.0.warm.counts
    }

    /// What was counted since the figures of a minute were noted last.
    pub fn recent(&self) -> &RecentCounts {
        &self.0.recent
    }

    /// A result was recorded that says what makes it partial or doubtful: counted once for each kind of reason.
    pub fn warned(&self, node: &str, warnings: &[ResultWarning]) {
        let code = |warning: &ResultWarning| WARNING_CODES.get(warning.code.as_str()).copied().unwrap_or("other");
        for code in warnings.iter().map(code).collect::<BTreeSet<_>>() {
            let labels = WarnedResult {
                node: node.to_owned(),
                code,
            };
            self.0.warned.get_or_create(&labels).inc();
        }
    }

    /// A callback was tried.
    pub fn called_back(&self, state: CallbackStatus) {
        let outcome = match state {
            CallbackStatus::Sent => "sent",
            CallbackStatus::Pending => "retried",
            CallbackStatus::Failed => "failed",
        };
        self.0.callbacks.get_or_create(&Outcome { outcome }).inc();
    }

    /// A request was answered; `route` is the pattern it matched.
    pub fn answered(&self, route: Option<&str>, method: &axum::http::Method, status: u16, took: Duration) {
        self.0.answers.observe(route.unwrap_or("other"), method, status, took);
    }

    /// Everything as text. `reading` is None while Redis is unreachable; what it would tell is left out then.
    pub fn render(&self, reading: Option<&RedisReading>, workers: &WorkersReport) -> String {
        let inner = &self.0;
        inner.workers.set(workers);
        inner.warm.set(&workers.warm);
        inner.redis_up.set(i64::from(reading.is_some()));
        inner.queue_slots.clear();
        inner.queue_running.clear();
        inner.queue_pending.clear();
        inner.queue_oldest.clear();
        inner.tasks.clear();
        if let Some(reading) = reading {
            inner.redis_ping.set(reading.ping.as_secs_f64());
            inner.outbox.set(gauge(reading.gauges.outbox));
            inner.disk.set(gauge(reading.gauges.disk_bytes));
            inner.task_memory.set(gauge(reading.gauges.task_memory_bytes));
            for queue in &reading.gauges.queues {
                let labels = Queue {
                    queue: queue.name.clone(),
                };
                inner.queue_slots.get_or_create(&labels).set(i64::from(queue.slots));
                inner.queue_running.get_or_create(&labels).set(gauge(queue.running));
                inner.queue_pending.get_or_create(&labels).set(gauge(queue.pending));
                inner
                    .queue_oldest
                    .get_or_create(&labels)
                    .set(queue.oldest.as_secs_f64());
            }
            let tasks = &reading.tasks;
            for (status, count) in [
                ("pending", tasks.pending),
                ("running", tasks.running),
                ("completed", tasks.completed),
                ("failed", tasks.failed),
                ("cancelled", tasks.cancelled),
            ] {
                inner.tasks.get_or_create(&Status { status }).set(gauge(count));
            }
        }
        inner
            .memory
            .set(gauge(machine_load::read_resident_memory().unwrap_or_default()));
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &inner.registry) {
            let _ = writeln!(text, "# {error}");
        }
        text
    }
}

impl Inner {
    fn register(&mut self, started: Timestamp) {
        let mut all = std::mem::take(&mut self.registry);
        let process = all.sub_registry_with_prefix("process");
        process.register("resident_memory_bytes", "Resident memory", self.memory.clone());
        let start: FloatGauge = Gauge::default();
        start.set(started.as_millis() as f64 / 1000.0);
        process.register("start_time_seconds", "Start, seconds since 1970", start);
        all.register_collector(Box::new(LimitCollector));
        let own = all.sub_registry_with_prefix("onceover");
        own.register(
            "build",
            "This program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        self.register_work(own);
        self.register_redis(own);
        self.workers.register(own);
        self.warm.register(own);
        self.answers.register(own);
        self.registry = all;
    }

    /// Registers what counts the daemon's own work.
    fn register_work(&self, own: &mut Registry) {
        own.register(
            "submits",
            "Decisions by node: hit, join, miss (with its reason), refused, error",
            self.submits.clone(),
        );
        own.register(
            "saved_seconds",
            "Run time that hits did not spend again",
            self.saved.clone(),
        );
        own.register(
            "run_duration_seconds",
            "Runs that ended in this daemon",
            self.runs.clone(),
        );
        own.register(
            "results_with_warnings",
            "Results recorded by this daemon that say what makes them partial or doubtful, by kind of reason",
            self.warned.clone(),
        );
        own.register(
            "callbacks",
            "Tries of callbacks: sent, retried, failed",
            self.callbacks.clone(),
        );
    }

    /// Registers what is measured at Redis, and what Redis knows of all daemons.
    fn register_redis(&self, own: &mut Registry) {
        own.register(
            "redis_call_duration_seconds",
            "Calls of scripts and reads of tasks in Redis",
            self.redis.clone(),
        );
        own.register(
            "foreign_keys_dropped",
            "Changes of other workers' keys that were not looked at, because too many waited",
            self.keys_dropped.clone(),
        );
        own.register(
            "redis_up",
            "Whether Redis answered when this was asked",
            self.redis_up.clone(),
        );
        own.register(
            "redis_ping_seconds",
            "Round trip of a PING just now",
            self.redis_ping.clone(),
        );
        own.register("queue_slots", "Slots, over all daemons", self.queue_slots.clone());
        own.register("queue_running", "Runs that hold a slot", self.queue_running.clone());
        own.register("queue_pending", "Runs that wait", self.queue_pending.clone());
        own.register(
            "queue_oldest_seconds",
            "How long the run that is next has waited",
            self.queue_oldest.clone(),
        );
        own.register(
            "callbacks_pending",
            "Callbacks that wait for a try",
            self.outbox.clone(),
        );
        own.register(
            "task_files_bytes",
            "Files that runs left and nobody removed yet, also of expired tasks",
            self.disk.clone(),
        );
        own.register(
            "task_memory_bytes",
            "What this daemon remembers of tasks that it has read, 512 KiB at most",
            self.task_memory.clone(),
        );
        own.register("tasks", "Tasks by status", self.tasks.clone());
    }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn req30_what_was_counted_is_in_the_text() {
        let metrics = Metrics::new(RedisCalls::default(), Counter::default(), Timestamp::from_millis(1_500));
        for saved in [Some(2.5), Some(1.5), Some(0.0), None] {
            metrics.submitted(&ReuseInfo {
                reuse_hit: true,
                task_name: "a.b".into(),
                source: Some("redis".into()),
                saved_seconds: saved,
                ..ReuseInfo::default()
            });
        }
        metrics.submitted(&ReuseInfo {
            task_name: "a.b".into(),
            reason: Some("absent".into()),
            ..ReuseInfo::default()
        });
        metrics.ran(Some("a.b"), "succeeded", Duration::from_secs(2));
        let warning = |code: &str| ResultWarning {
            code: code.into(),
            text: "text".into(),
            numbers: serde_json::Map::new(),
            retryable: false,
        };
        metrics.warned("a.b", &["gap", "gap", "a_programs_own", "another"].map(warning));
        let method = axum::http::Method::from_bytes(b"BREW").unwrap();
        metrics.answered(None, &method, 404, Duration::ZERO);
        let text = metrics.render(None, &WorkersReport::default());
        for line in [
            r#"onceover_submits_total{node="a.b",outcome="hit",reason=""} 4"#,
            r#"onceover_submits_total{node="a.b",outcome="miss",reason="absent"} 1"#,
            r#"onceover_saved_seconds_total{node="a.b"} 4.0"#,
            r#"onceover_run_duration_seconds_bucket{le="5.0",node="a.b",outcome="succeeded"} 1"#,
            r#"onceover_results_with_warnings_total{node="a.b",code="gap"} 1"#,
            r#"onceover_results_with_warnings_total{node="a.b",code="other"} 1"#,
            r#"onceover_http_requests_total{route="other",method="other",status="404"} 1"#,
            "onceover_redis_up 0",
            "process_start_time_seconds 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
