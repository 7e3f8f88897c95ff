//! Hits and status reads, beside the two ways of the probe: 64 at a time, one at a time, and at a rate that the
//! daemon and the bare probe both sustain.

use std::time::Duration;

use redis::{AsyncCommands, aio::MultiplexedConnection};

use crate::{
    http::{Connection, request, send_at_rate},
    probe::{Probe, ProbeOrders, ProbedRequest, SentCommands},
    setup::{ALONE, Bench, FILE, ObservedDaemon, STAGES, STATUS, body},
    table::{Goal, Spread, Table, percentile, spread},
    wrk,
};

/// Who answers.
const BARE: usize = 0;
const OWN: usize = 1;
const DAEMON: usize = 2;
const ANSWERERS: [&str; 3] = ["bare probe", "probe with own commands", "onceover"];

/// Of the lower of two throughputs: the rate at which waiting times are compared.
const SHARE_OF_RATE: f64 = 0.5;

/// One kind of request.
struct RequestKind {
    name: &'static str,
    path: &'static str,
    /// Of a POST.
    body: Option<String>,
}

impl RequestKind {
    fn all() -> [Self; 3] {
        let hit = |name, task, node| Self {
            name,
            path: "/v1/tasks",
            body: Some(body(task, node)),
        };
        [
            hit("hit", "one", STAGES[0]),
            hit("hit of a result with a file", "file", FILE),
            Self {
                name: "status of three stages",
                path: STATUS,
                body: None,
            },
        ]
    }

    fn request(&self, path: &str) -> Vec<u8> {
        let method = if self.body.is_some() { "POST" } else { "GET" };
        request(method, path, self.body.as_deref().unwrap_or_default())
    }
}

/// What was measured of one kind, by who answers.
#[derive(Default)]
struct Figures {
    loads: [Vec<wrk::Load>; 3],
    alone: [Vec<f64>; 3],
    /// 99th percentile at one rate.
    tails: [Vec<f64>; 3],
}

impl Figures {
    /// Turn by turn, one answerer's figure by another's.
    fn ratio(&self, other: usize, figure: impl Fn(&wrk::Load) -> f64) -> Spread {
        let turns = self.loads[DAEMON].iter().zip(&self.loads[other]);
        spread(turns.map(|(ours, others)| figure(ours) / figure(others)))
    }

    fn per_second(&self, answerer: usize) -> Spread {
        spread(self.loads[answerer].iter().map(|load| load.per_second))
    }
}

pub fn measure(bench: &mut Bench) {
    let mut observed = ObservedDaemon::start(bench, "", &[]);
    let redis = observed.redis(bench);
    bench.prepare(&observed.daemon, &redis);
    let kinds = RequestKind::all();
    let orders = ProbeOrders {
        redis: observed.server.url(0),
        requests: kinds.iter().map(|kind| observe(&observed, kind)).collect(),
    };
    observed.connect_directly(bench);
    let probe = Probe::start(observed.dir(), &orders);
    // Path and port by who answers, for each kind.
    let targets: Vec<[(String, u16); 3]> = kinds
        .iter()
        .enumerate()
        .map(|(number, kind)| {
            [
                (format!("/bare/{number}"), probe.port),
                (format!("/own/{number}"), probe.port),
                (kind.path.to_owned(), observed.port()),
            ]
        })
        .collect();
    let mut figures: [Figures; 3] = Default::default();
    let mut pings = Vec::new();
    for _ in 0..bench.options.rounds() {
        for ((kind, targets), figures) in kinds.iter().zip(&targets).zip(&mut figures) {
            for (answerer, (path, port)) in targets.iter().enumerate() {
                let seconds = bench.options.seconds;
                let load = wrk::load(observed.dir(), *port, path, kind.body.as_deref(), seconds);
                figures.loads[answerer].push(load);
                let took = Connection::open(*port).repeat(&kind.request(path), ALONE);
                figures.alone[answerer].push(percentile(&took, 50));
            }
        }
        pings.push(percentile(&ping(bench, &redis), 50));
    }
    for ((kind, targets), figures) in kinds.iter().zip(&targets).zip(&mut figures) {
        measure_tails(bench, kind, targets, figures);
    }
    for (kind, figures) in kinds.iter().zip(&figures) {
        print_figures(&mut bench.table, kind, figures);
    }
    bench.table.say("one Redis round trip (PING), p50", "ms", spread(pings));
    for (kind, figures) in kinds.iter().zip(&figures) {
        print_ratios(&mut bench.table, kind, figures);
    }
    assert_still_hits(&observed, &kinds);
}

/// Finds what the daemon sends to Redis for a request: the fewest commands of some tries, since those that it sends
/// on its own come in between.
fn observe(observed: &ObservedDaemon, kind: &RequestKind) -> ProbedRequest {
    let mut client = Connection::open(observed.port());
    let request = kind.request(kind.path);
    let answer = client.send(&request).to_owned();
    let recorded = (0..20).map(|_| {
        observed.proxy.record();
        client.send(&request);
        observed.proxy.recorded()
    });
    let fewest = recorded.min_by_key(|trips| trips.iter().map(Vec::len).sum::<usize>());
    let fewest = fewest.expect("it was tried");
    assert!(!fewest.is_empty(), "a {} asks Redis for nothing", kind.name);
    let text = |word: Vec<u8>| String::from_utf8(word).expect("the daemon sends text");
    let sent: SentCommands = fewest
        .into_iter()
        .map(|trip| {
            let requests = trip.into_iter().map(|words| words.into_iter().map(text).collect());
            requests.collect()
        })
        .collect();
    ProbedRequest { sent, answer }
}

/// Compares waiting times where nobody is at work throughout.
fn measure_tails(bench: &Bench, kind: &RequestKind, targets: &[(String, u16); 3], figures: &mut Figures) {
    let medians = [BARE, DAEMON].map(|answerer| figures.per_second(answerer).median);
    let rate = SHARE_OF_RATE * medians[0].min(medians[1]);
    println!("  {}: waiting times at {rate:.0} requests a second", kind.name);
    let time = Duration::from_secs(bench.options.seconds);
    for _ in 0..bench.options.rounds() {
        for answerer in [BARE, DAEMON] {
            let (path, port) = &targets[answerer];
            let took = send_at_rate(*port, &kind.request(path), rate, time);
            figures.tails[answerer].push(percentile(&took, 99));
        }
    }
}

fn ping(bench: &Bench, redis: &MultiplexedConnection) -> Vec<Duration> {
    let mut redis = redis.clone();
    bench.runtime.block_on(async {
        let start = std::time::Instant::now();
        let mut took = Vec::new();
        while start.elapsed() < ALONE {
            let sent = std::time::Instant::now();
            let _: String = redis.ping().await.expect("Redis answers");
            took.push(sent.elapsed());
        }
        took.sort_unstable();
        took
    })
}

fn print_figures(table: &mut Table, kind: &RequestKind, figures: &Figures) {
    for (answerer, name) in ANSWERERS.iter().enumerate() {
        let loads = &figures.loads[answerer];
        let name = format!("{name}, {}", kind.name);
        table.say(&format!("{name}, 64 at a time"), "/s", figures.per_second(answerer));
        table.say("  p50", "ms", spread(loads.iter().map(|load| load.p50)));
        table.say("  p99", "ms", spread(loads.iter().map(|load| load.p99)));
        let alone = spread(figures.alone[answerer].iter().copied());
        table.say(&format!("{name}, one at a time, p50"), "ms", alone);
        if !figures.tails[answerer].is_empty() {
            let tails = spread(figures.tails[answerer].iter().copied());
            table.say(&format!("{name}, at a fixed rate, p99"), "ms", tails);
        }
    }
}

fn print_ratios(table: &mut Table, kind: &RequestKind, figures: &Figures) {
    let name = kind.name;
    let per_second = |load: &wrk::Load| load.per_second;
    let bare = figures.ratio(BARE, per_second);
    table.goal(
        &format!("{name}, a second / bare probe's"),
        Goal::AtLeast(0.35),
        "x",
        bare,
    );
    let tails = figures.tails[DAEMON].iter().zip(&figures.tails[BARE]);
    let tails = spread(tails.map(|(ours, bare)| ours / bare));
    let what = format!("{name}, p99 at a fixed rate / bare probe's");
    table.goal(&what, Goal::AtMost(3.0), "x", tails);
    let own = figures.ratio(OWN, per_second);
    table.say(&format!("{name}, a second / own commands"), "x", own);
    let alone = figures.alone[DAEMON].iter().zip(&figures.alone[BARE]);
    let alone = spread(alone.map(|(ours, bare)| ours / bare));
    table.say(&format!("{name}, one at a time, p50 / bare probe's"), "x", alone);
}

/// Fails if what the probe sent changed what the daemon answers: then it would have measured something else.
fn assert_still_hits(observed: &ObservedDaemon, kinds: &[RequestKind]) {
    let mut client = Connection::open(observed.port());
    for kind in kinds.iter().filter(|kind| kind.body.is_some()) {
        let answer = client.send(&kind.request(kind.path));
        assert!(answer.contains("\"reuse_hit\":true"), "{answer}");
    }
}
