//! `make bench`: what Onceover costs beside what the machine can do at all, both measured in turns in one run and put
//! into ratios, because absolute figures of a machine that others use as well say little.
//!
//! Arguments: `--strict` fails when a goal is missed, `--only A,B` measures some parts, `--rounds N` and `--seconds N` set
//! how many turns there are and how long one is. `ONCEOVER_BENCH_SUBMITS` is the number of submits memory is watched over.

mod http;
mod probe;
mod table;
mod wrk;

use std::{
    fs,
    process::{ExitCode, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use onceover_tests::{Daemon, media};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio::{process::Command, runtime::Runtime};

use http::{Connection, request};
use probe::{Orders, Probe};
use table::{Goal, Table, spread};

const NODES: &str = include_str!("nodes.toml");
/// Leases as of a daemon that nobody configured; two runs at a time.
const CONFIG: &str = "[slots]\ncpu = 2\nheld = 1\n[runs]\nlease = '15s'\n";
const STAGES: [&str; 3] = ["bench.nothing", "bench.second", "bench.third"];
/// Stages or processes of one turn.
const TURN: usize = 600;
/// Stages queued, and keys of others, where the cost with many is compared.
const QUEUED: usize = 100_000;
const KEYS: usize = 1_000_000;

struct Options {
    strict: bool,
    only: Vec<String>,
    rounds: usize,
    seconds: u64,
    submits: usize,
}

fn nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
    u64::try_from(now.as_nanos()).expect("it is not so late")
}

fn main() -> ExitCode {
    let now = nanos();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("threads can be started")
    };
    match arguments.first().map(String::as_str) {
        Some("stamp") => {
            println!(r#"{{"type":"output","output":{{"at":{now}}}}}"#);
            return ExitCode::SUCCESS;
        }
        Some("probe") => {
            runtime().block_on(probe::serve(&arguments[1]));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str, usual: usize| value(name).map_or(usual, |text| text.parse().expect("a number"));
    let submits = std::env::var("ONCEOVER_BENCH_SUBMITS");
    let options = Options {
        strict: arguments.iter().any(|argument| argument == "--strict"),
        only: value("--only").map_or_else(Vec::new, |text| text.split(',').map(str::to_owned).collect()),
        rounds: number("--rounds", 5),
        seconds: number("--seconds", 3) as u64,
        submits: submits.map_or(100_000, |text| text.parse().expect("a number of submits")),
    };
    let mut bench = Bench {
        runtime: runtime(),
        options,
        table: Table::default(),
    };
    println!("{}", machine());
    type Part = fn(&mut Bench);
    let parts: [(&str, Part); 7] = [
        ("requests", Bench::requests),
        ("stages", Bench::stages),
        ("delay", Bench::delay),
        ("queued", Bench::queued),
        ("keys", Bench::keys),
        ("videos", Bench::videos),
        ("memory", Bench::memory),
    ];
    for (name, part) in parts {
        if bench.options.only.is_empty() || bench.options.only.iter().any(|only| only == name) {
            println!("\n{name}");
            part(&mut bench);
        }
    }
    match bench.table.print() || !bench.options.strict {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{} x {}, Linux {}, load {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        model.map_or("CPU", |model| model.trim_start_matches([' ', '\t', ':'])),
        kernel.trim(),
        load.split(' ').next().unwrap_or_default(),
    )
}

struct Bench {
    runtime: Runtime,
    options: Options,
    table: Table,
}

fn submit(task: &str, node: &str) -> Vec<u8> {
    request("POST", "/v1/tasks", &body(task, node))
}

/// Sends submits of hits: one in ten has a file, and one in ten is new and queued instead.
fn send_submits(port: u16, numbers: impl Iterator<Item = usize>) {
    let mut client = Connection::open(port);
    let (hit, file) = (submit("one", STAGES[0]), submit("file", "bench.file"));
    for number in numbers {
        match number / 8 % 10 {
            0 => client.send(&submit(&format!("new-{number}"), "bench.waits")),
            1 => client.send(&file),
            _ => client.send(&hit),
        };
    }
}

fn body(task: &str, node: &str) -> String {
    json!({"task_name": node, "task_id": task, "input_data": {"language": "ko", "quality": 5}}).to_string()
}

fn batch(tasks: impl Iterator<Item = String>, node: &str) -> Vec<u8> {
    let tasks: Vec<Value> = tasks
        .map(|task| json!({"task_name": node, "task_id": task, "input_data": {}}))
        .collect();
    request("POST", "/v1/tasks/batch", &json!({ "tasks": tasks }).to_string())
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)].as_secs_f64() * 1000.0
}

/// Megabytes a process holds in memory.
fn rss(pid: i32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    kilobytes.expect("Linux tells") / 1024.0
}

impl Bench {
    fn daemon(&self) -> Daemon {
        let own = std::env::current_exe().expect("it knows its path");
        let nodes = NODES.replace("@BENCH@", &own.display().to_string());
        self.runtime
            .block_on(Daemon::builder().config(CONFIG).nodes(&nodes).start())
    }

    fn redis(&self, daemon: &Daemon) -> MultiplexedConnection {
        self.runtime.block_on(daemon.redis())
    }

    /// Waits until no run waits or runs.
    fn settled(&self, redis: &MultiplexedConnection) {
        let mut redis = redis.clone();
        self.runtime.block_on(async {
            loop {
                let (waits, runs): (u64, u64) = redis::pipe()
                    .zcard("onceover:queue:cpu")
                    .zcard("onceover:held:cpu")
                    .query_async(&mut redis)
                    .await
                    .expect("Redis answers");
                if waits + runs == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        });
    }

    /// A task of three stages that have succeeded, and the same with one whose result is a file.
    fn prepare(&self, daemon: &Daemon, redis: &MultiplexedConnection) {
        let mut client = Connection::open(daemon.port());
        for node in STAGES {
            client.send(&submit("three", node));
            self.settled(redis);
        }
        client.send(&submit("one", STAGES[0]));
        client.send(&submit("file", "bench.file"));
        self.settled(redis);
    }

    /// What the daemon sends to the scripts, for the probe.
    fn orders(&self, daemon: &Daemon) -> Orders {
        let mut client = Connection::open(daemon.port());
        let supported: Value = serde_json::from_str(client.send(&request("GET", "/v1/tasks/supported-tasks", "")))
            .expect("the daemon sends JSON");
        let services = supported["supported_tasks"].as_object().expect("services");
        let names: Vec<&str> = services
            .values()
            .flat_map(|names| names.as_array().expect("names").iter().filter_map(Value::as_str))
            .collect();
        let names = names.join(" ");
        let folder = daemon.data.join("workflows/one").display().to_string();
        let input = r#"{"language":"ko","quality":5}"#;
        let fingerprint = "5".repeat(64);
        let common = |task| [("db", "0"), ("ttl", "86400"), ("keep_events", "10000"), ("task", task)];
        let hit = [
            ("name", STAGES[0]),
            ("mode", "auto"),
            ("fp", &fingerprint),
            ("run", "018f0000-0000-7000-8000-000000000000"),
            ("queue", "cpu"),
            ("runner", "command"),
            ("input", input),
            ("input_pub", input),
            ("path", &json!(folder).to_string()),
            ("callback", "null"),
            ("hit_delivery", "hit-018f0000-0000-7000-8000-000000000000"),
            ("names", &names),
        ];
        let flat = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
                .collect::<Vec<_>>()
        };
        let status = [("names", names.as_str())];
        Orders {
            redis: self
                .runtime
                .block_on(daemon.client.system())
                .expect("the daemon answers")
                .redis
                .url,
            hit: (
                flat(&[common("one").as_slice(), &hit].concat()),
                client.send(&submit("one", STAGES[0])).to_owned(),
            ),
            status: (
                flat(&[common("three").as_slice(), &status].concat()),
                client.send(&request("GET", "/v1/tasks/three/status", "")).to_owned(),
            ),
        }
    }

    /// Reuse hits and status reads, beside the probe's.
    fn requests(&mut self) {
        let daemon = self.daemon();
        let redis = self.redis(&daemon);
        self.prepare(&daemon, &redis);
        let probe = Probe::start(&self.orders(&daemon));
        let (hit, file) = (body("one", STAGES[0]), body("file", "bench.file"));
        let (ours, theirs, seconds) = (daemon.port(), probe.port, self.options.seconds);
        let turn = Duration::from_millis(400);
        let mut loads: [Vec<wrk::Load>; 5] = Default::default();
        let mut alone: [Vec<Vec<Duration>>; 5] = Default::default();
        let mut pings = Vec::new();
        let status = "/v1/tasks/three/status";
        for _ in 0..self.options.rounds {
            for (at, (port, path, body)) in [
                (theirs, "/hit", Some(&hit)),
                (ours, "/v1/tasks", Some(&hit)),
                (theirs, "/status", None),
                (ours, status, None),
                (ours, "/v1/tasks", Some(&file)),
            ]
            .into_iter()
            .enumerate()
            {
                loads[at].push(wrk::load(daemon.dir(), port, path, body.map(String::as_str), seconds));
                let method = if body.is_some() { "POST" } else { "GET" };
                let request = request(method, path, body.map_or("", String::as_str));
                alone[at].push(Connection::open(port).repeat(&request, turn));
            }
            pings.push(self.pings(&redis, turn));
        }
        let names = [
            "probe, hit",
            "onceover, hit",
            "probe, status of three stages",
            "onceover, status of three stages",
            "onceover, hit of a result with a file",
        ];
        for (name, (loads, alone)) in names.iter().zip(loads.iter().zip(&alone)) {
            self.table.say(
                &format!("{name}, 64 at a time"),
                "/s",
                spread(loads.iter().map(|load| load.per_second)),
            );
            self.table.say("  p50", "ms", spread(loads.iter().map(|load| load.p50)));
            self.table.say("  p99", "ms", spread(loads.iter().map(|load| load.p99)));
            self.table.say(
                &format!("{name}, one at a time, p50"),
                "ms",
                spread(alone.iter().map(|took| percentile(took, 50))),
            );
            self.table
                .say("  p99", "ms", spread(alone.iter().map(|took| percentile(took, 99))));
        }
        self.table.say(
            "one Redis round trip (PING), p50",
            "ms",
            spread(pings.iter().map(|took| percentile(took, 50))),
        );
        self.table
            .say("  p99", "ms", spread(pings.iter().map(|took| percentile(took, 99))));
        let ratio = |of: usize, to: usize, figure: fn(&wrk::Load) -> f64| {
            spread(loads[of].iter().zip(&loads[to]).map(|(of, to)| figure(of) / figure(to)))
        };
        let alone_ratio = |of: usize, to: usize| {
            spread(
                alone[of]
                    .iter()
                    .zip(&alone[to])
                    .map(|(of, to)| percentile(of, 50) / percentile(to, 50)),
            )
        };
        self.table.goal(
            "hits a second / probe's",
            Goal::AtLeast(0.6),
            "x",
            ratio(1, 0, |load| load.per_second),
        );
        self.table.goal(
            "p99 of a hit / probe's",
            Goal::AtMost(2.0),
            "x",
            ratio(1, 0, |load| load.p99),
        );
        self.table.goal(
            "status reads a second / probe's",
            Goal::AtLeast(0.7),
            "x",
            ratio(3, 2, |load| load.per_second),
        );
        self.table
            .say("p99 of a status read / probe's", "x", ratio(3, 2, |load| load.p99));
        self.table
            .say("one hit at a time, p50 / probe's", "x", alone_ratio(1, 0));
        self.table
            .say("one status read at a time, p50 / probe's", "x", alone_ratio(3, 2));
        self.table.say(
            "hits with a file a second / without",
            "x",
            ratio(4, 1, |load| load.per_second),
        );
    }

    fn pings(&self, redis: &MultiplexedConnection, time: Duration) -> Vec<Duration> {
        let mut redis = redis.clone();
        self.runtime.block_on(async {
            let start = Instant::now();
            let mut took = Vec::new();
            while start.elapsed() < time {
                let sent = Instant::now();
                let _: String = redis.ping().await.expect("Redis answers");
                took.push(sent.elapsed());
            }
            took.sort_unstable();
            took
        })
    }

    /// Stages that do nothing, submitted, run and recorded, beside processes that do nothing.
    fn stages(&mut self) {
        let daemon = self.daemon();
        let redis = self.redis(&daemon);
        let mut client = Connection::open(daemon.port());
        let (mut spawns, mut stages) = (Vec::new(), Vec::new());
        for round in 0..=self.options.rounds {
            let start = Instant::now();
            self.runtime.block_on(spawn_loop());
            let spawned = TURN as f64 / start.elapsed().as_secs_f64();
            let request = batch((0..TURN).map(|task| format!("nothing-{round}-{task}")), STAGES[0]);
            let start = Instant::now();
            client.send(&request);
            self.settled(&redis);
            let done = TURN as f64 / start.elapsed().as_secs_f64();
            // The first round warms up.
            if round > 0 {
                spawns.push(spawned);
                stages.push(done);
            }
        }
        let failed: u64 = self
            .runtime
            .block_on(redis.clone().zcard("onceover:tasks:status:failed"))
            .expect("Redis answers");
        assert_eq!(failed, 0, "stages failed");
        self.table
            .say("processes with pipes, two at a time", "/s", spread(spawns.clone()));
        self.table
            .say("stages that do nothing, two at a time", "/s", spread(stages.clone()));
        let ratio = spread(stages.iter().zip(&spawns).map(|(stages, spawns)| stages / spawns));
        self.table
            .goal("stages a second / processes", Goal::AtLeast(0.4), "x", ratio);
    }

    /// From sending a submit to the first instruction of its program.
    fn delay(&mut self) {
        let daemon = self.daemon();
        let redis = self.redis(&daemon);
        let mut client = Connection::open(daemon.port());
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for round in 0..=self.options.rounds {
            let mut delays = Vec::new();
            for task in 0..100 {
                let name = format!("stamp-{round}-{task}");
                let request = submit(&name, "bench.stamp");
                let sent = nanos();
                client.send(&request);
                self.settled(&redis);
                let status = client.send(&http::request("GET", &format!("/v1/tasks/{name}"), ""));
                let status: Value = serde_json::from_str(status).expect("the daemon sends JSON");
                let executed = status["output"]["at"].as_u64().expect("the node says when");
                delays.push(Duration::from_nanos(executed.saturating_sub(sent)));
            }
            delays.sort_unstable();
            if round > 0 {
                p50.push(percentile(&delays, 50));
                p99.push(percentile(&delays, 99));
            }
        }
        self.table
            .goal("submit to exec, p50", Goal::AtMost(5.0), "ms", spread(p50));
        self.table
            .goal("submit to exec, p99", Goal::AtMost(20.0), "ms", spread(p99));
    }

    /// What a submit costs with many queued before it.
    fn queued(&mut self) {
        let (empty, full) = (self.daemon(), self.daemon());
        let mut clients = [Connection::open(empty.port()), Connection::open(full.port())];
        for client in &mut clients {
            client.send(&submit("first", "bench.waits"));
        }
        for chunk in 0..QUEUED / 1000 {
            let tasks = (0..1000).map(|task| format!("before-{chunk}-{task}"));
            clients[1].send(&batch(tasks, "bench.waits"));
        }
        let mut medians = [Vec::new(), Vec::new()];
        let mut tails = [Vec::new(), Vec::new()];
        for round in 0..=self.options.rounds * 2 {
            for (at, client) in clients.iter_mut().enumerate() {
                let mut took: Vec<Duration> = (0..300)
                    .map(|task| {
                        let request = submit(&format!("one-{round}-{task}"), "bench.waits");
                        let sent = Instant::now();
                        client.send(&request);
                        sent.elapsed()
                    })
                    .collect();
                took.sort_unstable();
                if round > 0 {
                    medians[at].push(percentile(&took, 50));
                    tails[at].push(percentile(&took, 99));
                }
            }
        }
        let ratio = |of: &[Vec<f64>; 2]| spread(of[1].iter().zip(&of[0]).map(|(full, empty)| full / empty));
        self.table
            .say("submit, queue empty, p50", "ms", spread(medians[0].clone()));
        self.table
            .say("submit, 100,000 queued, p50", "ms", spread(medians[1].clone()));
        self.table.goal(
            "submit with 100,000 queued / empty, p50",
            Goal::AtMost(1.1),
            "x",
            ratio(&medians),
        );
        self.table
            .say("submit with 100,000 queued / empty, p99", "x", ratio(&tails));
    }

    /// What a status read costs with many keys of others in Redis.
    fn keys(&mut self) {
        let daemons = [self.daemon(), self.daemon()];
        for (daemon, keys) in daemons.iter().zip([1_000, KEYS]) {
            let redis = self.redis(daemon);
            self.prepare(daemon, &redis);
            self.runtime.block_on(fill(redis, keys));
        }
        let request = request("GET", "/v1/tasks/three/status", "");
        let mut medians = [Vec::new(), Vec::new()];
        for round in 0..=self.options.rounds * 2 {
            for (at, daemon) in daemons.iter().enumerate() {
                let took = Connection::open(daemon.port()).repeat(&request, Duration::from_millis(400));
                if round > 0 {
                    medians[at].push(percentile(&took, 50));
                }
            }
        }
        let ratio = spread(medians[1].iter().zip(&medians[0]).map(|(many, few)| many / few));
        let [few, many] = medians;
        self.table
            .say("status of three stages, 1,000 other keys, p50", "ms", spread(few));
        self.table
            .say("status of three stages, 1,000,000 other keys, p50", "ms", spread(many));
        self.table
            .goal("status with 1,000,000 keys / 1,000, p50", Goal::AtMost(1.2), "x", ratio);
    }

    /// From asking for a video's pipeline to the 202, of a clip of a second and of one of an hour.
    fn videos(&mut self) {
        let folder = tempfile::tempdir().expect("a folder");
        let (short, long) = (folder.path().join("short.mp4"), folder.path().join("long.mp4"));
        media::clip(&short, 1);
        media::repeated(&short, 3600, &long);
        let builder = Daemon::builder().config(CONFIG).media_root(folder.path());
        let daemon = self.runtime.block_on(builder.start());
        let mut client = Connection::open(daemon.port());
        let mut all = Vec::new();
        for (video, file) in [("short", &short), ("long", &long)] {
            let body = json!({"video_id": video, "path": file}).to_string();
            client.send(&request("POST", "/api/v1/videos", &body));
        }
        // A processing under way is ended by the next.
        let mut took: [Vec<Duration>; 2] = Default::default();
        for _ in 0..self.options.rounds * 10 {
            for (at, video) in ["short", "long"].iter().enumerate() {
                let path = format!("/api/v1/videos/{video}/run_sync?pipeline=sample&force=true");
                let asked = Instant::now();
                let answer = client.send(&request("POST", &path, ""));
                took[at].push(asked.elapsed());
                assert!(answer.contains("\"status\":\"pending\""), "{answer}");
            }
        }
        for (name, took) in ["of a second", "of an hour"].iter().zip(&mut took) {
            took.sort();
            let figure = spread([percentile(took, 50)]);
            self.table
                .say(&format!("run_sync of a video {name}, p50"), "ms", figure);
            self.table.say("  p99", "ms", spread([percentile(took, 99)]));
            all.extend(took.iter().copied());
        }
        all.sort();
        let slowest = spread([percentile(&all, 100)]);
        self.table
            .goal("run_sync, the slowest answer", Goal::AtMost(50.0), "ms", slowest);
    }

    /// What the daemon holds in memory, idle and after many submits.
    fn memory(&mut self) {
        let daemon = self.daemon();
        let redis = self.redis(&daemon);
        std::thread::sleep(Duration::from_secs(1));
        let idle = rss(daemon.pid());
        self.table
            .goal("memory of an idle daemon", Goal::AtMost(20.0), "MB", spread([idle]));
        self.prepare(&daemon, &redis);
        Connection::open(daemon.port()).send(&submit("first", "bench.waits"));
        let work = |from: usize, to: usize| {
            std::thread::scope(|scope| {
                for part in 0..8 {
                    let port = daemon.port();
                    scope.spawn(move || send_submits(port, (from + part..to).step_by(8)));
                }
            });
            let loaded = rss(daemon.pid());
            std::thread::sleep(Duration::from_secs(2));
            (loaded, rss(daemon.pid()))
        };
        let submits = self.options.submits;
        let (_, before) = work(0, submits / 10);
        let (loaded, after) = work(submits / 10, submits);
        self.table.say(
            &format!("memory after {} submits", submits / 10),
            "MB",
            spread([before]),
        );
        self.table
            .say(&format!("memory right after {submits} submits"), "MB", spread([loaded]));
        self.table
            .say(&format!("memory 2 s after {submits} submits"), "MB", spread([after]));
        self.table.goal(
            &format!("growth from {} to {submits} submits", submits / 10),
            Goal::AtMost(5.0),
            "%",
            spread([(after / before - 1.0) * 100.0]),
        );
    }
}

/// A turn of `/bin/true` with pipes, two at a time.
async fn spawn_loop() {
    let one = || async {
        for _ in 0..TURN / 2 {
            let mut command = Command::new("/bin/true");
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let child = command.spawn().expect("/bin/true starts");
            let output = child.wait_with_output().await.expect("it ends");
            assert!(output.status.success());
        }
    };
    let (first, second) = (tokio::spawn(one()), tokio::spawn(one()));
    first.await.expect("it spawns");
    second.await.expect("it spawns");
}

/// Keys as other workers leave them.
async fn fill(mut redis: MultiplexedConnection, keys: usize) {
    // No notification is sent for them, as for keys from before the daemon started: only their number is measured.
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "notify-keyspace-events", ""])
        .query_async(&mut redis)
        .await
        .expect("Redis takes settings");
    for start in (0..keys).step_by(1000) {
        let mut pipe = redis::pipe();
        for key in start..start + 1000 {
            let json = format!(
                r#"{{"workflow_id":"other-{key}","stages":{{"ffmpeg.extract_audio":{{"status":"SUCCESS"}}}}}}"#
            );
            pipe.set_ex(format!("other-{key}:node:ffmpeg.extract_audio"), json, 86_400)
                .ignore();
        }
        let () = pipe.query_async(&mut redis).await.expect("Redis takes keys");
    }
}
