//! Several daemons on one Redis, all of which serve hits: what a hit costs Redis must not grow with them. And what
//! the hits of one cost another that nobody asks for anything.

use std::path::PathBuf;

use onceover_tests::{Daemon, RedisServer, processes::CpuTime, redis_info::processor_seconds};
use redis::aio::MultiplexedConnection;

use crate::{
    http::Connection,
    setup::{Bench, SHARED_REDIS, STAGES, body, submit},
    table::{Goal, spread},
    wrk,
};

const SIZES: [usize; 3] = [1, 2, 4];

/// Daemons that share a Redis.
struct DaemonGroup {
    // End first: they need the server until then.
    daemons: Vec<Daemon>,
    redis: MultiplexedConnection,
    _server: RedisServer,
}

impl DaemonGroup {
    /// Starts so many, with a task of one stage that has succeeded for each.
    fn start(bench: &Bench, size: usize) -> Self {
        let group = bench.runtime.block_on(async {
            let server = RedisServer::start(&SHARED_REDIS).await;
            let mut daemons = Vec::new();
            for _ in 0..size {
                daemons.push(bench.builder("").redis(&server.url(0)).start().await);
            }
            Self {
                daemons,
                redis: server.connect().await,
                _server: server,
            }
        });
        for (number, daemon) in group.daemons.iter().enumerate() {
            Connection::open(daemon.port()).send(&submit(&task(number), STAGES[0]));
        }
        bench.wait_until_settled(&group.redis);
        bench.assert_none_failed(&group.redis);
        group
    }

    /// Loads the first so many at once. Returns their hits and the seconds of processor time that Redis used.
    fn load(&self, bench: &Bench, loaded: usize) -> (f64, f64) {
        let seconds = bench.options.seconds;
        let targets: Vec<(PathBuf, u16)> = self.daemons[..loaded]
            .iter()
            .map(|daemon| (daemon.dir().to_owned(), daemon.port()))
            .collect();
        let before = self.cpu_of_redis(bench);
        let hits: u64 = std::thread::scope(|scope| {
            let loads: Vec<_> = targets
                .iter()
                .enumerate()
                .map(|(number, (dir, port))| {
                    let body = body(&task(number), STAGES[0]);
                    scope.spawn(move || wrk::load(dir, *port, "/v1/tasks", Some(body.as_str()), seconds))
                })
                .collect();
            let hits = loads.into_iter().map(|load| load.join().expect("wrk ends").requests);
            hits.sum()
        });
        (hits as f64, self.cpu_of_redis(bench) - before)
    }

    fn cpu_of_redis(&self, bench: &Bench) -> f64 {
        bench.runtime.block_on(processor_seconds(&mut self.redis.clone()))
    }
}

fn task(number: usize) -> String {
    format!("one-{number}")
}

pub fn measure(bench: &mut Bench) {
    let groups = SIZES.map(|size| DaemonGroup::start(bench, size));
    let seconds = bench.options.seconds as f64;
    let mut each: [Vec<f64>; SIZES.len()] = Default::default();
    let mut by_cpu: [Vec<f64>; SIZES.len()] = Default::default();
    for round in 0..=bench.options.rounds() {
        for (at, group) in groups.iter().enumerate() {
            let (hits, cpu) = group.load(bench, SIZES[at]);
            // The first round warms up.
            if round > 0 {
                each[at].push(hits / seconds / SIZES[at] as f64);
                by_cpu[at].push(hits / cpu);
            }
        }
    }
    let table = &mut bench.table;
    for (at, size) in SIZES.iter().enumerate() {
        let name = format!("hits a second of each of {size} daemons");
        table.say(&name, "/s", spread(each[at].clone()));
        table.say(
            "  by a second of Redis's processor time",
            "",
            spread(by_cpu[at].clone()),
        );
    }
    for (at, size) in SIZES.iter().enumerate().skip(1) {
        let ratio = spread(by_cpu[at].iter().zip(&by_cpu[0]).map(|(many, one)| many / one));
        let name = format!("hits by Redis's processor time, {size} daemons / one");
        table.goal(&name, Goal::AtLeast(0.95), "x", ratio);
    }
    measure_neighbour(bench, &groups[1]);
}

/// Measures what a daemon uses that has neither requests nor subscribers, while another one serves hits.
fn measure_neighbour(bench: &mut Bench, pair: &DaemonGroup) {
    let neighbour = pair.daemons[1].pid();
    let time = std::time::Duration::from_secs(bench.options.seconds);
    let (mut idle, mut beside, mut hits) = (0.0, 0.0, 0.0);
    let used = |before: CpuTime| (CpuTime::of_process(neighbour).own - before.own).as_secs_f64();
    // Turns add up, since the clock of processor time ticks a hundred times a second.
    for _ in 0..bench.options.rounds() {
        let before = CpuTime::of_process(neighbour);
        std::thread::sleep(time);
        idle += used(before);
        let before = CpuTime::of_process(neighbour);
        hits += pair.load(bench, 1).0;
        beside += used(before);
    }
    let all = time.as_secs_f64() * bench.options.rounds() as f64;
    let table = &mut bench.table;
    let percent = |seconds: f64| spread([100.0 * seconds / all]);
    table.say("processor time of an idle daemon", "%", percent(idle));
    table.say("  while another one serves hits", "%", percent(beside));
    let micros = (beside - idle).max(0.0) * 1e6 / hits;
    let name = "processor time of an idle daemon for a hit of another";
    table.goal(name, Goal::AtMost(1.0), "us", spread([micros]));
}
