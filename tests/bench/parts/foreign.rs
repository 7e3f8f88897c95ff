//! Hits and status reads of a task with stages of other workers and without any, and without any while such a worker
//! writes stages of other tasks.

use std::time::Duration;

use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    costs::{RedisMeter, SLOW_LOG},
    http::Connection,
    setup::{Bench, ObservedDaemon, STAGES, body, catalog_names, read_status, submit},
    table::spread,
    wrk,
};

/// Stages of other workers.
const FOREIGN: usize = 20;
/// Between two stages that the other worker writes: 500 a second.
const BETWEEN_WRITES: Duration = Duration::from_millis(2);
/// Operations of each kind and turn that Redis's time is measured over.
const CALLS: usize = 400;

/// What is compared.
struct ForeignCase {
    name: &'static str,
    task: &'static str,
    status: &'static str,
    /// Whether another worker writes stages of other tasks.
    is_written: bool,
}

/// The first is what the others are compared with.
const CASES: [ForeignCase; 3] = [
    ForeignCase {
        name: "no foreign stages",
        task: "none",
        status: "/v1/tasks/none/status",
        is_written: false,
    },
    ForeignCase {
        name: "20 foreign stages",
        task: "twenty",
        status: STATUS_OF_TWENTY,
        is_written: false,
    },
    ForeignCase {
        name: "500 stages of others a second",
        task: "none",
        status: "/v1/tasks/none/status",
        is_written: true,
    },
];
const STATUS_OF_TWENTY: &str = "/v1/tasks/twenty/status";

/// Figures by what is compared.
type ByCase = [Vec<f64>; CASES.len()];

/// What is measured of hits, and of status reads.
#[derive(Default)]
struct Figures {
    micros: ByCase,
    per_second: ByCase,
}

pub fn measure(bench: &mut Bench) {
    let mut observed = ObservedDaemon::start(bench, "", &SLOW_LOG);
    let redis = observed.redis(bench);
    prepare(bench, &observed, &redis);
    let mut figures: [Figures; 2] = Default::default();
    measure_redis(bench, &observed, &redis, &mut figures);
    observed.connect_directly(bench);
    measure_throughput(bench, &observed, &redis, &mut figures);
    print(bench, &figures);
}

fn measure_redis(bench: &Bench, observed: &ObservedDaemon, redis: &MultiplexedConnection, figures: &mut [Figures; 2]) {
    let meter = RedisMeter::new(bench, observed);
    let mut client = Connection::open(observed.port());
    for _ in 0..bench.options.rounds() {
        for (at, case) in CASES.iter().enumerate() {
            let _writer = case.is_written.then(|| OtherWriter::start(bench, redis));
            let requests = [submit(case.task, STAGES[0]), read_status(case.status)];
            for (request, figures) in requests.iter().zip(figures.iter_mut()) {
                let cost = meter.cost(CALLS, || {
                    for _ in 0..CALLS {
                        client.send(request);
                    }
                });
                figures.micros[at].push(cost.micros);
            }
        }
    }
}

fn measure_throughput(
    bench: &Bench,
    observed: &ObservedDaemon,
    redis: &MultiplexedConnection,
    figures: &mut [Figures; 2],
) {
    let (dir, port, seconds) = (observed.dir(), observed.port(), bench.options.seconds);
    for _ in 0..bench.options.rounds() {
        for (at, case) in CASES.iter().enumerate() {
            let _writer = case.is_written.then(|| OtherWriter::start(bench, redis));
            let hit = body(case.task, STAGES[0]);
            let requests = [("/v1/tasks", Some(hit.as_str())), (case.status, None)];
            for ((path, body), figures) in requests.into_iter().zip(figures.iter_mut()) {
                let load = wrk::load(dir, port, path, body, seconds);
                figures.per_second[at].push(load.per_second);
            }
        }
    }
}

/// Makes the tasks `none` and `twenty`, each of one stage that has succeeded, and the foreign stages of the second.
fn prepare(bench: &Bench, observed: &ObservedDaemon, redis: &MultiplexedConnection) {
    let mut client = Connection::open(observed.port());
    for task in ["none", "twenty"] {
        client.send(&submit(task, STAGES[0]));
    }
    bench.wait_until_settled(redis);
    bench.assert_none_failed(redis);
    let names = catalog_names(observed.port());
    let others = names.iter().filter(|name| !name.starts_with("bench."));
    let others: Vec<&String> = others.take(FOREIGN).collect();
    assert_eq!(others.len(), FOREIGN, "the catalog has so many nodes");
    bench.runtime.block_on(async {
        let mut redis = redis.clone();
        for name in &others {
            write_stage(&mut redis, "twenty", name).await;
        }
    });
    // The daemon may learn of them a little later.
    let start = std::time::Instant::now();
    loop {
        let status: Value =
            serde_json::from_str(client.send(&read_status(STATUS_OF_TWENTY))).expect("the daemon sends JSON");
        let shown = status["stages"].as_object().map_or(0, serde_json::Map::len);
        if shown == FOREIGN + 1 {
            return;
        }
        assert!(
            start.elapsed() < onceover_tests::PATIENCE,
            "{shown} stages are shown: {status}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes a stage as Python workers do.
async fn write_stage(redis: &mut MultiplexedConnection, task: &str, node: &str) {
    let stage = json!({
        "status": "SUCCESS", "input_params": {}, "output": {"value": 7}, "error": null, "duration": 12.5,
    });
    let context = json!({
        "workflow_id": task,
        "create_at": "2026-01-02T03:04:05.678901",
        "input_params": {"task_name": node, "input_data": {"video_path": "a.mp4"}, "callback_url": null},
        "shared_storage_path": format!("/share/workflows/{task}"),
        "stages": {node: stage},
        "error": null,
        "status": "running",
    });
    let () = redis
        .set_ex(format!("{task}:node:{node}"), context.to_string(), 86_400)
        .await
        .expect("Redis takes keys");
}

/// Another worker, which writes stages of other tasks until it is dropped.
struct OtherWriter(JoinHandle<()>);

impl OtherWriter {
    fn start(bench: &Bench, redis: &MultiplexedConnection) -> Self {
        let mut redis = redis.clone();
        Self(bench.runtime.spawn(async move {
            let mut ticks = tokio::time::interval(BETWEEN_WRITES);
            for task in 0_u64.. {
                ticks.tick().await;
                write_stage(&mut redis, &format!("other-{task}"), "ffmpeg.extract_audio").await;
            }
        }))
    }
}

impl Drop for OtherWriter {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn print(bench: &mut Bench, figures: &[Figures; 2]) {
    let table = &mut bench.table;
    for (operation, figures) in ["hits", "status reads"].iter().zip(figures) {
        for (at, case) in CASES.iter().enumerate() {
            let what = format!("{operation}, {}", case.name);
            table.say(&what, "/s", spread(figures.per_second[at].iter().copied()));
            table.say("  Redis time", "us", spread(figures.micros[at].iter().copied()));
        }
        for (at, case) in CASES.iter().enumerate().skip(1) {
            let ratio = |figures: &ByCase| {
                let turns = figures[at].iter().zip(&figures[0]);
                spread(turns.map(|(with, without)| with / without))
            };
            let what = format!("{operation} a second, {} / none", case.name);
            table.say(&what, "x", ratio(&figures.per_second));
            table.say("  Redis time", "x", ratio(&figures.micros));
        }
    }
}
