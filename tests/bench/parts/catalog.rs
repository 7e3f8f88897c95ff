//! Hits and status reads with the catalog as it is shipped, and with one of ten times as many nodes: what a request
//! costs must not grow with nodes that it does not name.

use std::{fs, path::Path};

use crate::{
    costs::{RedisMeter, SLOW_LOG},
    http::Connection,
    setup::{Bench, ObservedDaemon, STAGES, STATUS, body, catalog_names, read_status, submit},
    table::{Goal, spread},
    wrk,
};

/// How many times as many nodes the larger catalog has.
const TIMES: usize = 10;
/// Operations of each kind and turn that Redis's time is measured over.
const CALLS: usize = 400;

pub fn measure(bench: &mut Bench) {
    let few = ObservedDaemon::start(bench, "", &SLOW_LOG);
    let shipped = catalog_names(few.port()).len();
    let folder = tempfile::tempdir().expect("a folder");
    generate_nodes(folder.path(), shipped * (TIMES - 1));
    let more = format!("node_dirs = ['{}']", folder.path().display());
    let many = ObservedDaemon::start(bench, &more, &SLOW_LOG);
    assert_eq!(catalog_names(many.port()).len(), shipped * TIMES);
    let mut daemons = [few, many];
    for observed in &daemons {
        let redis = observed.redis(bench);
        bench.prepare(&observed.daemon, &redis);
    }
    let names = ["hit", "status of three stages"];
    let micros = measure_redis(bench, &daemons);
    for observed in &mut daemons {
        observed.connect_directly(bench);
    }
    let per_second = measure_throughput(bench, &daemons);
    let counts = [shipped, shipped * TIMES].map(|count| format!("{count} nodes"));
    let table = &mut bench.table;
    for (name, [few, many]) in names.iter().zip(micros) {
        let ratio = spread(many.iter().zip(&few).map(|(many, few)| many / few));
        table.say(&format!("{name}, {}, Redis time", counts[0]), "us", spread(few));
        table.say(&format!("{name}, {}, Redis time", counts[1]), "us", spread(many));
        let what = format!("{name}, Redis time, {TIMES} times the nodes / shipped");
        table.goal(&what, Goal::AtMost(1.05), "x", ratio);
    }
    for (name, [few, many]) in names.iter().zip(per_second) {
        let ratio = spread(few.iter().zip(&many).map(|(few, many)| few / many));
        table.say(&format!("{name}, {}", counts[0]), "/s", spread(few));
        table.say(&format!("{name}, {}", counts[1]), "/s", spread(many));
        let what = format!("{name}, time, {TIMES} times the nodes / shipped");
        table.goal(&what, Goal::AtMost(1.05), "x", ratio);
    }
}

/// Writes node files that no request names.
fn generate_nodes(folder: &Path, count: usize) {
    for number in 0..count {
        let name = format!("generated.node_{number:03}");
        let node = format!("name = \"{name}\"\nqueue = \"cpu\"\nrunner = {{ command = [\"/bin/true\"] }}\n");
        fs::write(folder.join(format!("{name}.toml")), node).expect("the node file is written");
    }
}

/// Figures of hits and of status reads, each with few and with many nodes.
type ByCatalog = [[Vec<f64>; 2]; 2];

fn measure_redis(bench: &Bench, daemons: &[ObservedDaemon; 2]) -> ByCatalog {
    let requests = [submit("one", STAGES[0]), read_status(STATUS)];
    let meters = daemons.each_ref().map(|observed| RedisMeter::new(bench, observed));
    let mut clients = daemons.each_ref().map(|observed| Connection::open(observed.port()));
    let mut micros = ByCatalog::default();
    // The first round warms up.
    for round in 0..=bench.options.rounds() {
        for (request, micros) in requests.iter().zip(&mut micros) {
            for ((meter, client), micros) in meters.iter().zip(&mut clients).zip(micros) {
                let cost = meter.cost(CALLS, || {
                    for _ in 0..CALLS {
                        client.send(request);
                    }
                });
                if round > 0 {
                    micros.push(cost.micros);
                }
            }
        }
    }
    micros
}

fn measure_throughput(bench: &Bench, daemons: &[ObservedDaemon; 2]) -> ByCatalog {
    let hit = body("one", STAGES[0]);
    let requests = [("/v1/tasks", Some(hit.as_str())), (STATUS, None)];
    let mut per_second = ByCatalog::default();
    for _ in 0..bench.options.rounds() {
        for ((path, body), per_second) in requests.iter().zip(&mut per_second) {
            for (observed, per_second) in daemons.iter().zip(per_second) {
                let load = wrk::load(observed.dir(), observed.port(), path, *body, bench.options.seconds);
                per_second.push(load.per_second);
            }
        }
    }
    per_second
}
