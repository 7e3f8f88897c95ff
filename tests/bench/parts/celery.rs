//! Stages on a real Celery worker, beside what the plain client of Celery gets from the same worker; and what a stage
//! costs that waits for a worker.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use onceover_tests::{
    Daemon, DaemonBuilder,
    celery_workers::{CeleryBroker, PROBE_QUEUE, WorkerStart, celery_sources, install_celery},
    processes::CpuTime,
    redis_info,
};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use crate::{
    http::{Connection, request},
    nanos,
    setup::{ALONE, Bench, read_status},
    table::{Goal, percentile, spread},
};

/// Nodes that the tasks of `tests/celery/worker_app.py` are. None of these programs runs.
const NODES: &str = "[[nodes]]\nname = 'probe.noop'\nrunner = { command = ['false'] }\n\
                     [[nodes]]\nname = 'probe.wait'\nrunner = { command = ['false'] }\n\
                     [[nodes]]\nname = 'probe.stamp'\nrunner = { command = ['false'] }\n";
const NOOP: &str = "probe.noop";
const STAMP: &str = "probe.stamp";
/// Runs before each measurement, so that the daemon knows its worker.
const WARM: usize = 20;
/// Submits one after another.
const SINGLE: usize = 100;
/// Stages that wait for a worker.
const FEW: usize = 1_000;
const MANY: usize = 100_000;
/// Submits of a turn beside those that wait.
const TURN: usize = 300;

/// Tasks of one kind, which are sent all at once.
struct TaskKind {
    name: &'static str,
    node: &'static str,
    seconds: f64,
    turn: usize,
    goal: f64,
}

const KINDS: [TaskKind; 2] = [
    TaskKind {
        name: "no-op tasks",
        node: NOOP,
        seconds: 0.0,
        turn: 600,
        goal: 0.5,
    },
    TaskKind {
        name: "tasks of 20 ms",
        node: "probe.wait",
        seconds: 0.02,
        turn: 300,
        goal: 0.95,
    },
];

pub fn measure(bench: &mut Bench) {
    measure_rates(bench);
    measure_waiting(bench);
}

/// A daemon whose service `probe` is run by the workers of this broker.
fn builder(bench: &Bench, broker: &CeleryBroker) -> DaemonBuilder {
    bench.builder("").config(&broker.service("probe", "")).nodes(NODES)
}

fn measure_rates(bench: &mut Bench) {
    let broker = bench.runtime.block_on(CeleryBroker::start_measured());
    // A pool of two processes.
    let _worker = bench.runtime.block_on(WorkerStart::named("w1").start(&broker));
    let mut daemon = bench.runtime.block_on(builder(bench, &broker).start());
    let mut plain: [Vec<f64>; KINDS.len()] = Default::default();
    let mut ours: [Vec<f64>; KINDS.len()] = Default::default();
    let mut delays: [Vec<f64>; 2] = Default::default();
    for round in 0..=bench.options.rounds() {
        // The daemon would hear of the results of others.
        bench.runtime.block_on(daemon.stop());
        let rates = KINDS.map(|kind| rate_of_plain_client(&broker, &kind));
        let delay = delay_of_plain_client(&broker);
        bench.runtime.block_on(daemon.launch());
        let redis = bench.redis(&daemon);
        for (at, kind) in KINDS.iter().enumerate() {
            let rate = rate_of_stages(bench, &daemon, &redis, kind, round);
            // The first round warms up.
            if round > 0 {
                plain[at].push(rates[at]);
                ours[at].push(rate);
            }
        }
        let own_delay = delay_of_stages(bench, &daemon, &redis, round);
        if round > 0 {
            delays[0].push(delay);
            delays[1].push(own_delay);
        }
        bench.assert_none_failed(&redis);
    }
    let table = &mut bench.table;
    for (at, kind) in KINDS.iter().enumerate() {
        let name = kind.name;
        table.say(&format!("plain client, {name}"), "/s", spread(plain[at].clone()));
        table.say(
            &format!("stages on the same worker, {name}"),
            "/s",
            spread(ours[at].clone()),
        );
        let ratio = spread(ours[at].iter().zip(&plain[at]).map(|(ours, plain)| ours / plain));
        table.goal(
            &format!("stages / plain client, {name}"),
            Goal::AtLeast(kind.goal),
            "x",
            ratio,
        );
    }
    let [plain, ours] = delays;
    table.say("plain client, from send to exec, p50", "ms", spread(plain));
    table.say("submit to exec on a worker, p50", "ms", spread(ours));
}

/// Runs `plain_client.py` and returns the figures that it prints.
fn run_plain_client(broker: &CeleryBroker, arguments: &[&str]) -> Vec<f64> {
    let output = Command::new(install_celery())
        .arg("plain_client.py")
        .args(arguments)
        .current_dir(celery_sources())
        .env("CELERY_BROKER_URL", broker.message_url())
        .env("CELERY_RESULT_BACKEND", broker.result_url())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stderr(Stdio::inherit())
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "the plain client fails, see above");
    let printed = String::from_utf8(output.stdout).expect("text");
    let figures = printed.lines().map(|line| line.parse().expect("a figure"));
    figures.collect()
}

/// Tasks a second of the plain client.
fn rate_of_plain_client(broker: &CeleryBroker, kind: &TaskKind) -> f64 {
    let input = json!({"seconds": kind.seconds}).to_string();
    let seconds = run_plain_client(broker, &[kind.node, &kind.turn.to_string(), &input]);
    kind.turn as f64 / seconds[0]
}

/// Milliseconds from sending one task to its begin, of the plain client.
fn delay_of_plain_client(broker: &CeleryBroker) -> f64 {
    let mut delays = run_plain_client(broker, &[STAMP, &SINGLE.to_string(), "{}", "--single"]);
    delays.sort_by(f64::total_cmp);
    delays[delays.len() / 2]
}

/// Submits so many stages at once, and waits until all have ended.
fn run_stages(bench: &Bench, daemon: &Daemon, redis: &MultiplexedConnection, request: &[u8]) -> Duration {
    let mut client = Connection::open(daemon.port());
    let start = Instant::now();
    client.send(request);
    wait_until_ended(bench, redis);
    start.elapsed()
}

/// Stages a second.
fn rate_of_stages(bench: &Bench, daemon: &Daemon, redis: &MultiplexedConnection, kind: &TaskKind, round: usize) -> f64 {
    let node = kind.node;
    let name = |which: &str, number: usize| format!("{node}-{which}-{round}-{number}");
    let warm = batch((0..WARM).map(|number| name("warm", number)), node, kind.seconds);
    run_stages(bench, daemon, redis, &warm);
    let turn = batch((0..kind.turn).map(|number| name("turn", number)), node, kind.seconds);
    kind.turn as f64 / run_stages(bench, daemon, redis, &turn).as_secs_f64()
}

/// Milliseconds from before a submit is sent to the begin of its task on the worker.
fn delay_of_stages(bench: &Bench, daemon: &Daemon, redis: &MultiplexedConnection, round: usize) -> f64 {
    let mut client = Connection::open(daemon.port());
    let mut delays = Vec::new();
    for number in 0..SINGLE {
        let name = format!("stamp-{round}-{number}");
        let submit = request("POST", "/v1/tasks", &item(&name, STAMP, 0.0).to_string());
        let sent = nanos();
        client.send(&submit);
        wait_until_ended(bench, redis);
        let task = client.send(&request("GET", &format!("/v1/tasks/{name}"), ""));
        let task: Value = serde_json::from_str(task).expect("the daemon sends JSON");
        let began = task["output"]["at"].as_u64().expect("the task returns the time");
        delays.push(Duration::from_nanos(began.saturating_sub(sent)));
    }
    delays.sort_unstable();
    percentile(&delays, 50)
}

/// One submit.
fn item(task: &str, node: &str, seconds: f64) -> Value {
    json!({"task_name": node, "task_id": task, "input_data": {"seconds": seconds}})
}

/// A request with many submits.
fn batch(tasks: impl Iterator<Item = String>, node: &str, seconds: f64) -> Vec<u8> {
    let tasks: Vec<Value> = tasks.map(|task| item(&task, node, seconds)).collect();
    request("POST", "/v1/tasks/batch", &json!({ "tasks": tasks }).to_string())
}

/// Waits until no stage waits for the worker or is with it.
fn wait_until_ended(bench: &Bench, redis: &MultiplexedConnection) {
    bench.wait_until_empty(redis, &format!("celery:{PROBE_QUEUE}"));
}

/// A daemon with stages that wait for a worker which never comes.
struct WaitingDaemon {
    daemon: Daemon,
    /// Bytes of Redis that each of the stages takes.
    memory: f64,
}

impl WaitingDaemon {
    fn start(bench: &Bench, broker: &CeleryBroker, stages: usize) -> Self {
        let daemon = bench.runtime.block_on(builder(bench, broker).start());
        let redis = bench.redis(&daemon);
        let mut client = Connection::open(daemon.port());
        let before = used_memory(bench, &redis);
        for first in (0..stages).step_by(1_000) {
            let tasks = (first..first + 1_000).map(|number| format!("before-{number}"));
            client.send(&batch(tasks, NOOP, 0.0));
        }
        let memory = (used_memory(bench, &redis) - before) / stages as f64;
        Self { daemon, memory }
    }

    /// Milliseconds of a submit of one more.
    fn submit(&self, round: usize) -> f64 {
        let mut client = Connection::open(self.daemon.port());
        let mut took: Vec<Duration> = (0..TURN)
            .map(|number| {
                let submit = item(&format!("one-{round}-{number}"), NOOP, 0.0).to_string();
                let submit = request("POST", "/v1/tasks", &submit);
                let sent = Instant::now();
                client.send(&submit);
                sent.elapsed()
            })
            .collect();
        took.sort_unstable();
        percentile(&took, 50)
    }

    /// Milliseconds of a read of the status of one that waits.
    fn read_status(&self) -> f64 {
        let status = read_status("/v1/tasks/before-7/status");
        percentile(&Connection::open(self.daemon.port()).repeat(&status, ALONE), 50)
    }

    /// Seconds of processor time.
    fn used(&self) -> f64 {
        CpuTime::of_process(self.daemon.pid()).own.as_secs_f64()
    }
}

fn used_memory(bench: &Bench, redis: &MultiplexedConnection) -> f64 {
    bench.runtime.block_on(redis_info::used_memory(&mut redis.clone())) as f64
}

fn measure_waiting(bench: &mut Bench) {
    let broker = bench.runtime.block_on(CeleryBroker::start_measured());
    let daemons = [FEW, MANY].map(|stages| WaitingDaemon::start(bench, &broker, stages));
    let mut submits: [Vec<f64>; 2] = Default::default();
    let mut reads: [Vec<f64>; 2] = Default::default();
    for round in 0..=bench.options.rounds() {
        for (at, daemon) in daemons.iter().enumerate() {
            let (submit, read) = (daemon.submit(round), daemon.read_status());
            if round > 0 {
                submits[at].push(submit);
                reads[at].push(read);
            }
        }
    }
    let before = [daemons[0].used(), daemons[1].used()];
    let seconds = bench.options.seconds * bench.options.rounds() as u64;
    std::thread::sleep(Duration::from_secs(seconds));
    let idle = [0, 1].map(|at| 100.0 * (daemons[at].used() - before[at]) / seconds as f64);
    let table = &mut bench.table;
    let ratio = |of: &[Vec<f64>; 2]| spread(of[1].iter().zip(&of[0]).map(|(many, few)| many / few));
    let (submit, read) = (ratio(&submits), ratio(&reads));
    for (at, count) in ["1,000", "100,000"].into_iter().enumerate() {
        let name = format!("{count} wait for a worker");
        table.say(&format!("submit, {name}, p50"), "ms", spread(submits[at].clone()));
        table.say(&format!("status, {name}, p50"), "ms", spread(reads[at].clone()));
        table.say(
            &format!("Redis memory a stage, {name}"),
            "B",
            spread([daemons[at].memory]),
        );
        table.say(&format!("processor time, {name}"), "%", spread([idle[at]]));
    }
    let name = "100,000 wait for a worker / 1,000";
    table.goal(&format!("submit, {name}, p50"), Goal::AtMost(1.1), "x", submit);
    table.goal(&format!("status, {name}, p50"), Goal::AtMost(1.1), "x", read);
}
