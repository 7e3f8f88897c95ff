//! Hits of results with one file, with ten and with a thousand, all of which are compared before the result is
//! reused.

use serde_json::json;

use crate::{
    http::{Connection, request},
    setup::{ALONE, Bench},
    table::{percentile, spread},
    wrk,
};

const COUNTS: [usize; 3] = [1, 10, 1_000];

pub fn measure(bench: &mut Bench) {
    let daemon = bench.daemon();
    let redis = bench.redis(&daemon);
    let bodies = COUNTS.map(|count| {
        let task = format!("files-{count}");
        json!({"task_name": "bench.files", "task_id": task, "input_data": {"files": count}}).to_string()
    });
    let mut client = Connection::open(daemon.port());
    for body in &bodies {
        client.send(&request("POST", "/v1/tasks", body));
    }
    bench.wait_until_settled(&redis);
    bench.assert_none_failed(&redis);
    let mut per_second: [Vec<f64>; COUNTS.len()] = Default::default();
    let mut alone: [Vec<f64>; COUNTS.len()] = Default::default();
    for _ in 0..bench.options.rounds() {
        for (at, body) in bodies.iter().enumerate() {
            let seconds = bench.options.seconds;
            let load = wrk::load(daemon.dir(), daemon.port(), "/v1/tasks", Some(body.as_str()), seconds);
            per_second[at].push(load.per_second);
            let took = client.repeat(&request("POST", "/v1/tasks", body), ALONE);
            alone[at].push(percentile(&took, 50));
        }
    }
    for body in &bodies {
        let answer = client.send(&request("POST", "/v1/tasks", body));
        assert!(answer.contains("\"reuse_hit\":true"), "{answer:.300}");
    }
    let table = &mut bench.table;
    for (at, count) in COUNTS.iter().enumerate() {
        let name = format!("hit of a result with {count} files");
        table.say(&format!("{name}, 64 at a time"), "/s", spread(per_second[at].clone()));
        table.say(&format!("{name}, one at a time, p50"), "ms", spread(alone[at].clone()));
    }
    for (at, count) in COUNTS.iter().enumerate().skip(1) {
        let ratio = spread(per_second[at].iter().zip(&per_second[0]).map(|(many, one)| many / one));
        table.say(&format!("hits a second with {count} files / with one"), "x", ratio);
    }
}
