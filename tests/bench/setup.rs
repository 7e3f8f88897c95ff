//! What all parts share: the options, daemons as nobody configured them, and the requests that are sent to them.

use std::{path::Path, time::Duration};

use onceover_tests::{Daemon, DaemonBuilder, Proxy, RedisServer};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    http::{Connection, request},
    table::Table,
};

/// Node files of the bench; `@BENCH@` stands for its program.
pub const NODES: &str = include_str!("nodes.toml");
/// Leases as of a daemon that nobody configured; two runs at a time.
const CONFIG: &str = "[slots]\ncpu = 2\nheld = 1\n[runs]\nlease = '15s'\n";
/// Settings of a Redis that daemons share, as a daemon sets its private one.
pub const SHARED_REDIS: [&str; 6] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--notify-keyspace-events",
    "E$gx",
];
/// Nodes whose programs only print their output.
pub const STAGES: [&str; 3] = ["bench.nothing", "bench.second", "bench.third"];
/// A node whose result is a file.
pub const FILE: &str = "bench.file";
/// A node whose first stage holds the only slot of its queue.
pub const WAITS: &str = "bench.waits";
/// Path of the status of the task of three stages.
pub const STATUS: &str = "/v1/tasks/three/status";
/// How long one connection repeats its request in a turn.
pub const ALONE: Duration = Duration::from_millis(400);

/// What the command line says.
pub struct Options {
    pub strict: bool,
    pub only: Vec<String>,
    /// Turns, where the command line names their number.
    pub rounds: Option<usize>,
    /// Seconds of one turn of load.
    pub seconds: u64,
    /// Submits over which memory is watched.
    pub submits: usize,
}

impl Options {
    pub fn parse(arguments: &[String]) -> Self {
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).cloned()
        };
        let number = |name: &str| value(name).map(|text| text.parse::<usize>().expect("a number"));
        let submits = std::env::var("ONCEOVER_BENCH_SUBMITS");
        Self {
            strict: arguments.iter().any(|argument| argument == "--strict"),
            only: value("--only").map_or_else(Vec::new, |text| text.split(',').map(str::to_owned).collect()),
            rounds: number("--rounds"),
            seconds: number("--seconds").unwrap_or(3) as u64,
            submits: submits.map_or(100_000, |text| text.parse().expect("a number of submits")),
        }
    }

    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(5)
    }
}

/// What a part measures with.
pub struct Bench {
    pub runtime: Runtime,
    pub options: Options,
    pub table: Table,
}

impl Bench {
    /// A daemon with the nodes of the bench. `more` is configuration (TOML) that comes before any table.
    pub fn builder(&self, more: &str) -> DaemonBuilder {
        let own = std::env::current_exe().expect("it knows its path");
        let nodes = NODES.replace("@BENCH@", &own.display().to_string());
        Daemon::builder().config(&format!("{more}\n{CONFIG}")).nodes(&nodes)
    }

    pub fn daemon(&self) -> Daemon {
        self.runtime.block_on(self.builder("").start())
    }

    pub fn redis(&self, daemon: &Daemon) -> MultiplexedConnection {
        self.runtime.block_on(daemon.redis())
    }

    /// Waits until no run waits or runs.
    pub fn wait_until_settled(&self, redis: &MultiplexedConnection) {
        self.wait_until_empty(redis, "cpu");
    }

    /// Waits until no run of a queue waits or runs.
    pub fn wait_until_empty(&self, redis: &MultiplexedConnection, queue: &str) {
        let mut redis = redis.clone();
        self.runtime.block_on(async {
            loop {
                let (waits, runs): (u64, u64) = redis::pipe()
                    .zcard(format!("onceover:queue:{queue}"))
                    .zcard(format!("onceover:held:{queue}"))
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

    /// Fails if a stage has failed.
    pub fn assert_none_failed(&self, redis: &MultiplexedConnection) {
        let mut redis = redis.clone();
        let failed: u64 = self
            .runtime
            .block_on(redis.zcard("onceover:tasks:status:failed"))
            .expect("Redis answers");
        assert_eq!(failed, 0, "stages failed");
    }

    /// Makes the task `three` of three stages that have succeeded, `one` of one stage, and `file`, whose result is a
    /// file.
    pub fn prepare(&self, daemon: &Daemon, redis: &MultiplexedConnection) {
        let mut client = Connection::open(daemon.port());
        for node in STAGES {
            client.send(&submit("three", node));
            self.wait_until_settled(redis);
        }
        client.send(&submit("one", STAGES[0]));
        client.send(&submit("file", FILE));
        self.wait_until_settled(redis);
        self.assert_none_failed(redis);
    }
}

/// A daemon whose requests to Redis pass a proxy that counts them.
pub struct ObservedDaemon {
    // Ends first: it needs the others until then.
    pub daemon: Daemon,
    pub proxy: Proxy,
    pub server: RedisServer,
}

impl ObservedDaemon {
    /// Starts it with more configuration and more settings of its Redis.
    pub fn start(bench: &Bench, more: &str, settings: &[&str]) -> Self {
        bench.runtime.block_on(async {
            let server = RedisServer::start(&[SHARED_REDIS.as_slice(), settings].concat()).await;
            let proxy = Proxy::unix(&server.url(0)).await;
            let daemon = bench.builder(more).redis(proxy.url()).start().await;
            Self { daemon, proxy, server }
        })
    }

    /// Starts the daemon again, which from now on reaches Redis itself.
    pub fn connect_directly(&mut self, bench: &Bench) {
        bench.runtime.block_on(async {
            self.daemon.stop().await;
            self.proxy.step_aside();
            self.daemon.launch().await;
        });
    }

    /// Returns a connection to its Redis that the proxy does not count.
    pub fn redis(&self, bench: &Bench) -> MultiplexedConnection {
        bench.runtime.block_on(self.server.connect())
    }

    pub fn port(&self) -> u16 {
        self.daemon.port()
    }

    pub fn dir(&self) -> &Path {
        self.daemon.dir()
    }
}

/// The body of a submit.
pub fn body(task: &str, node: &str) -> String {
    json!({"task_name": node, "task_id": task, "input_data": {"language": "ko", "quality": 5}}).to_string()
}

pub fn submit(task: &str, node: &str) -> Vec<u8> {
    request("POST", "/v1/tasks", &body(task, node))
}

pub fn submit_all(tasks: impl Iterator<Item = String>, node: &str) -> Vec<u8> {
    let tasks: Vec<Value> = tasks
        .map(|task| json!({"task_name": node, "task_id": task, "input_data": {}}))
        .collect();
    request("POST", "/v1/tasks/batch", &json!({ "tasks": tasks }).to_string())
}

pub fn read_status(path: &str) -> Vec<u8> {
    request("GET", path, "")
}

/// The names of the catalog's nodes.
pub fn catalog_names(port: u16) -> Vec<String> {
    let mut client = Connection::open(port);
    let answer = client.send(&request("GET", "/v1/tasks/supported-tasks", ""));
    let supported: Value = serde_json::from_str(answer).expect("the daemon sends JSON");
    let services = supported["supported_tasks"].as_object().expect("services");
    services
        .values()
        .flat_map(|names| names.as_array().expect("names"))
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}
