//! Stages that do nothing, submitted, run and recorded, beside a loop that only starts processes that do nothing.

use std::{process::Stdio, time::Instant};

use tokio::process::Command;

use crate::{
    http::Connection,
    setup::{Bench, STAGES, submit_all},
    table::{Goal, spread},
};

/// Stages or processes of one turn.
const TURN: usize = 600;

pub fn measure(bench: &mut Bench) {
    let daemon = bench.daemon();
    let redis = bench.redis(&daemon);
    let mut client = Connection::open(daemon.port());
    let (mut spawns, mut stages) = (Vec::new(), Vec::new());
    for round in 0..=bench.options.rounds() {
        let start = Instant::now();
        bench.runtime.block_on(spawn_processes());
        let spawned = TURN as f64 / start.elapsed().as_secs_f64();
        let request = submit_all((0..TURN).map(|task| format!("nothing-{round}-{task}")), STAGES[0]);
        let start = Instant::now();
        client.send(&request);
        bench.wait_until_settled(&redis);
        let done = TURN as f64 / start.elapsed().as_secs_f64();
        // The first round warms up.
        if round > 0 {
            spawns.push(spawned);
            stages.push(done);
        }
    }
    bench.assert_none_failed(&redis);
    let table = &mut bench.table;
    table.say("processes with pipes, two at a time", "/s", spread(spawns.clone()));
    table.say("stages that do nothing, two at a time", "/s", spread(stages.clone()));
    let ratio = spread(stages.iter().zip(&spawns).map(|(stages, spawns)| stages / spawns));
    table.goal("stages a second / processes", Goal::AtLeast(0.4), "x", ratio);
}

/// A turn of `/bin/true` with three pipes, two at a time: nothing is made beside the processes, and nothing is
/// recorded.
async fn spawn_processes() {
    let spawn_half = || async {
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
    let (first, second) = (tokio::spawn(spawn_half()), tokio::spawn(spawn_half()));
    first.await.expect("it spawns");
    second.await.expect("it spawns");
}
