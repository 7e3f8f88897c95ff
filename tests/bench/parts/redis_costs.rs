//! What a hit, a status read and a whole stage cost Redis, beside the bare probe's script on the same server.

use redis::AsyncCommands;

use crate::{
    costs::{CallCost, OperationCost, RedisMeter, SLOW_LOG},
    http::Connection,
    probe,
    setup::{Bench, FILE, ObservedDaemon, STAGES, STATUS, read_status, submit},
    table::{Goal, spread},
};

/// Operations of each kind, over all turns.
const CALLS: usize = 2_000;
/// Key that the bare script reads.
const KEY: &str = "probe:costs";

pub fn measure(bench: &mut Bench) {
    let observed = ObservedDaemon::start(bench, "", &SLOW_LOG);
    let redis = observed.redis(bench);
    bench.prepare(&observed.daemon, &redis);
    let mut client = Connection::open(observed.port());
    let status = client.send(&read_status(STATUS)).to_owned();
    let () = bench
        .runtime
        .block_on(redis.clone().set(KEY, status))
        .expect("Redis takes keys");
    let meter = RedisMeter::new(bench, &observed);
    let rounds = bench.options.rounds();
    let calls = CALLS / rounds;
    let repeated = [submit("one", STAGES[0]), submit("file", FILE), read_status(STATUS)];
    let mut bare = Vec::new();
    let mut costs: [Vec<OperationCost>; 4] = Default::default();
    // The first round warms up.
    for round in 0..=rounds {
        let script = meter.cost_of_script(calls, probe::BARE, KEY);
        let reads = repeated.iter().map(|request| {
            meter.cost(calls, || {
                for _ in 0..calls {
                    client.send(request);
                }
            })
        });
        let mut all: Vec<OperationCost> = reads.collect();
        all.push(meter.cost(calls, || {
            for task in 0..calls {
                client.send(&submit(&format!("run-{round}-{task}"), STAGES[0]));
            }
            bench.wait_until_settled(&redis);
        }));
        if round > 0 {
            bare.push(script);
            for (costs, cost) in costs.iter_mut().zip(all) {
                costs.push(cost);
            }
        }
    }
    bench.assert_none_failed(&redis);
    let names = [
        "hit",
        "hit of a result with a file",
        "status of three stages",
        "submit + claim + finish",
    ];
    println!(
        "  {:<28} {:<28} {:>8} {:>10}",
        "operation", "call", "calls", "us a call"
    );
    for (name, costs) in names.iter().zip(&costs) {
        if let Some(last) = costs.last() {
            print_calls(name, last);
        }
    }
    let table = &mut bench.table;
    table.say("Redis time of the bare probe's script", "us", spread(bare));
    for ((name, costs), most) in names.iter().zip(&costs).zip([40.0, 40.0, 25.0, 250.0]) {
        let micros = spread(costs.iter().map(|cost| cost.micros));
        table.goal(&format!("Redis time, {name}"), Goal::AtMost(most), "us", micros);
    }
}

/// Prints what an operation sends, of the last turn.
fn print_calls(operation: &str, cost: &OperationCost) {
    let print = |kind: &str, call: &CallCost| {
        let name = format!("{kind} {}", call.name);
        println!("  {operation:<28} {name:<28} {:>8.2} {:>10.1}", call.calls, call.micros);
    };
    // What the daemon sends on its own comes once in many operations.
    let is_of_operation = |call: &&CallCost| call.calls >= 0.05;
    cost.commands
        .iter()
        .filter(is_of_operation)
        .for_each(|call| print("command", call));
    cost.scripts
        .iter()
        .filter(is_of_operation)
        .for_each(|call| print("  script", call));
}
