//! A submit that waits, with many queued before it and with none.

use std::time::{Duration, Instant};

use crate::{
    http::Connection,
    setup::{Bench, WAITS, submit, submit_all},
    table::{Goal, percentile, spread},
};

/// Stages that are queued before.
const QUEUED: usize = 100_000;
/// Submits of one turn.
const TURN: usize = 300;

pub fn measure(bench: &mut Bench) {
    let (empty, full) = (bench.daemon(), bench.daemon());
    let mut clients = [Connection::open(empty.port()), Connection::open(full.port())];
    for client in &mut clients {
        client.send(&submit("first", WAITS));
    }
    for chunk in 0..QUEUED / 1000 {
        let tasks = (0..1000).map(|task| format!("before-{chunk}-{task}"));
        clients[1].send(&submit_all(tasks, WAITS));
    }
    let mut medians = [Vec::new(), Vec::new()];
    let mut tails = [Vec::new(), Vec::new()];
    for round in 0..=bench.options.rounds() * 2 {
        for (at, client) in clients.iter_mut().enumerate() {
            let mut took: Vec<Duration> = (0..TURN)
                .map(|task| {
                    let request = submit(&format!("one-{round}-{task}"), WAITS);
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
    let (middle, tail) = (ratio(&medians), ratio(&tails));
    let [empty, full] = medians;
    let table = &mut bench.table;
    table.say("submit, queue empty, p50", "ms", spread(empty));
    table.say("submit, 100,000 queued, p50", "ms", spread(full));
    let name = "submit with 100,000 queued / empty";
    table.goal(&format!("{name}, p50"), Goal::AtMost(1.1), "x", middle);
    table.say(&format!("{name}, p99"), "x", tail);
}
