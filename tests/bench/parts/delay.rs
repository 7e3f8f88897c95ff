//! From before a submit is sent to the first instruction of its program, one at a time.

use std::time::Duration;

use serde_json::Value;

use crate::{
    http::{Connection, request},
    nanos,
    setup::{Bench, submit},
    table::{Goal, percentile, spread},
};

/// Submits of one turn.
const TURN: usize = 100;

pub fn measure(bench: &mut Bench) {
    let daemon = bench.daemon();
    let redis = bench.redis(&daemon);
    let mut client = Connection::open(daemon.port());
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for round in 0..=bench.options.rounds() {
        let mut delays = Vec::new();
        for task in 0..TURN {
            let name = format!("stamp-{round}-{task}");
            let stamp = submit(&name, "bench.stamp");
            let sent = nanos();
            client.send(&stamp);
            bench.wait_until_settled(&redis);
            let task = client.send(&request("GET", &format!("/v1/tasks/{name}"), ""));
            let task: Value = serde_json::from_str(task).expect("the daemon sends JSON");
            let executed = task["output"]["at"].as_u64().expect("the program prints the time");
            delays.push(Duration::from_nanos(executed.saturating_sub(sent)));
        }
        delays.sort_unstable();
        if round > 0 {
            p50.push(percentile(&delays, 50));
            p99.push(percentile(&delays, 99));
        }
    }
    let table = &mut bench.table;
    table.goal("submit to exec, p50", Goal::AtMost(5.0), "ms", spread(p50));
    table.goal("submit to exec, p99", Goal::AtMost(20.0), "ms", spread(p99));
}
