//! What the daemon holds in memory, idle and after many submits. Pages of files are left out of the goals: Linux
//! drops them when memory is short.

use std::time::Duration;

use onceover_tests::processes::ProcessMemory;

use crate::{
    http::Connection,
    setup::{Bench, FILE, STAGES, WAITS, submit},
    table::{Goal, spread},
};

const CONNECTIONS: usize = 8;

pub fn measure(bench: &mut Bench) {
    let daemon = bench.daemon();
    let redis = bench.redis(&daemon);
    std::thread::sleep(Duration::from_secs(1));
    let idle = ProcessMemory::of_process(daemon.pid());
    bench.prepare(&daemon, &redis);
    Connection::open(daemon.port()).send(&submit("first", WAITS));
    let send = |from: usize, to: usize| {
        std::thread::scope(|scope| {
            for first in from..from + CONNECTIONS {
                let port = daemon.port();
                scope.spawn(move || send_submits(port, (first..to).step_by(CONNECTIONS)));
            }
        });
        let loaded = ProcessMemory::of_process(daemon.pid());
        std::thread::sleep(Duration::from_secs(2));
        (loaded, ProcessMemory::of_process(daemon.pid()))
    };
    let submits = bench.options.submits;
    let (_, before) = send(0, submits / 10);
    let (loaded, after) = send(submits / 10, submits);
    let table = &mut bench.table;
    let name = "memory of an idle daemon without files";
    table.goal(name, Goal::AtMost(8.0), "MB", spread([idle.anonymous]));
    table.say("  with the pages of files", "MB", spread([idle.resident]));
    let name = format!("memory after {} submits", submits / 10);
    table.say(&name, "MB", spread([before.anonymous]));
    let name = format!("memory right after {submits} submits");
    table.say(&name, "MB", spread([loaded.anonymous]));
    let name = format!("memory 2 s after {submits} submits");
    table.say(&name, "MB", spread([after.anonymous]));
    table.say("  with the pages of files", "MB", spread([after.resident]));
    let name = format!("growth from {} to {submits} submits", submits / 10);
    let growth = spread([after.anonymous - before.anonymous]);
    table.goal(&name, Goal::AtMost(1.0), "MB", growth);
}

/// Sends submits of hits: one in ten has a file, and one in ten is new and queued instead.
fn send_submits(port: u16, numbers: impl Iterator<Item = usize>) {
    let mut client = Connection::open(port);
    let (hit, file) = (submit("one", STAGES[0]), submit("file", FILE));
    for number in numbers {
        match number / CONNECTIONS % 10 {
            0 => client.send(&submit(&format!("new-{number}"), WAITS)),
            1 => client.send(&file),
            _ => client.send(&hit),
        };
    }
}
