//! What a hit, a status read and a whole stage cost Redis, beside the bare probe's script on the same server: asked
//! for by 64 connections at a time, each operation about another task than the one before it, and one at a time.

use redis::AsyncCommands;

use crate::{
    costs::{CallCost, OperationCost, RedisMeter, SLOW_LOG},
    http::{Connection, send_together},
    probe,
    setup::{Bench, FILE, ObservedDaemon, STAGES, STATUS, read_status, submit},
    table::{Goal, spread},
};

/// Operations of each kind, over all turns.
const CALLS: usize = 2_000;
/// Connections of the load, and tasks among which it goes round.
const CONNECTIONS: usize = 64;
/// Operations of each kind in a turn of the load.
const LOAD: usize = 3_200;
/// Key that the bare script reads.
const KEY: &str = "probe:costs";

/// The operations that are measured, and what each of them may cost under load.
const OPERATIONS: [(&str, f64); 4] = [
    ("hit", 40.0),
    ("hit of a result with a file", 40.0),
    ("status of three stages", 25.0),
    ("submit + claim + finish", 250.0),
];

/// What each of [`OPERATIONS`] costs, turn by turn.
type Costs = [Vec<OperationCost>; OPERATIONS.len()];

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
    let repeated = prepare_load(bench, &observed);
    let rounds = bench.options.rounds();
    let mut bare = Vec::new();
    let (mut loaded, mut alone) = (Costs::default(), Costs::default());
    // The first round warms up.
    for round in 0..=rounds {
        let script = meter.cost_of_script(CALLS / rounds, probe::BARE, KEY);
        let under_load = cost_under_load(bench, &observed, &meter, &repeated, round);
        let one_at_a_time = cost_one_at_a_time(bench, &observed, &meter, &repeated, round);
        if round > 0 {
            bare.push(script);
            push_all(&mut loaded, under_load);
            push_all(&mut alone, one_at_a_time);
        }
    }
    bench.assert_none_failed(&redis);
    print_all_calls("64 at a time", &loaded);
    print_all_calls("one at a time", &alone);
    let table = &mut bench.table;
    table.say("Redis time of the bare probe's script", "us", spread(bare));
    let micros = |costs: &[OperationCost]| spread(costs.iter().map(|cost| cost.micros));
    for ((name, most), (loaded, alone)) in OPERATIONS.iter().zip(loaded.iter().zip(&alone)) {
        table.goal(
            &format!("Redis time, {name}"),
            Goal::AtMost(*most),
            "us",
            micros(loaded),
        );
        table.say("  one at a time", "us", micros(alone));
    }
}

/// Makes a task for each connection of the load. Returns the requests that repeat, for each kind those of all tasks.
fn prepare_load(bench: &Bench, observed: &ObservedDaemon) -> [Vec<Vec<u8>>; 3] {
    let mut client = Connection::open(observed.port());
    let redis = observed.redis(bench);
    let tasks = |kind: &str| -> Vec<String> { (0..CONNECTIONS).map(|task| format!("{kind}-{task}")).collect() };
    let submits = |kind: &str, node: &str| tasks(kind).iter().map(|task| submit(task, node)).collect::<Vec<_>>();
    let (hits, files) = (submits("hit", STAGES[0]), submits("file", FILE));
    let parts = STAGES.iter().flat_map(|node| submits("three", node));
    for request in hits.iter().chain(&files).cloned().chain(parts) {
        client.send(&request);
    }
    bench.wait_until_settled(&redis);
    let reads = tasks("three")
        .iter()
        .map(|task| read_status(&format!("/v1/tasks/{task}/status")))
        .collect();
    [hits, files, reads]
}

fn cost_under_load(
    bench: &Bench,
    observed: &ObservedDaemon,
    meter: &RedisMeter,
    repeated: &[Vec<Vec<u8>>; 3],
    round: usize,
) -> Vec<OperationCost> {
    let redis = observed.redis(bench);
    let mut costs: Vec<OperationCost> = repeated
        .iter()
        .map(|requests| {
            // One task more than there are connections in each lap, so that a connection does not ask for one alone.
            let load: Vec<Vec<u8>> = (0..LOAD)
                .map(|at| requests[(at + at / CONNECTIONS) % CONNECTIONS].clone())
                .collect();
            meter.cost(LOAD, || send_together(observed.port(), CONNECTIONS, &load))
        })
        .collect();
    let stages: Vec<Vec<u8>> = (0..LOAD / 4)
        .map(|task| submit(&format!("load-{round}-{task}"), STAGES[0]))
        .collect();
    costs.push(meter.cost(stages.len(), || {
        send_together(observed.port(), CONNECTIONS, &stages);
        bench.wait_until_settled(&redis);
    }));
    costs
}

fn cost_one_at_a_time(
    bench: &Bench,
    observed: &ObservedDaemon,
    meter: &RedisMeter,
    repeated: &[Vec<Vec<u8>>; 3],
    round: usize,
) -> Vec<OperationCost> {
    let calls = CALLS / bench.options.rounds();
    let redis = observed.redis(bench);
    let mut client = Connection::open(observed.port());
    let mut costs: Vec<OperationCost> = repeated
        .iter()
        .map(|requests| {
            meter.cost(calls, || {
                for request in requests.iter().cycle().take(calls) {
                    client.send(request);
                }
            })
        })
        .collect();
    costs.push(meter.cost(calls, || {
        for task in 0..calls {
            client.send(&submit(&format!("run-{round}-{task}"), STAGES[0]));
        }
        bench.wait_until_settled(&redis);
    }));
    costs
}

fn push_all(costs: &mut Costs, turn: Vec<OperationCost>) {
    for (costs, cost) in costs.iter_mut().zip(turn) {
        costs.push(cost);
    }
}

/// Prints what the operations of the last turn sent.
fn print_all_calls(how: &str, costs: &Costs) {
    println!("  {:<28} {:<28} {:>8} {:>10}", how, "call", "calls", "us a call");
    for ((name, _), costs) in OPERATIONS.iter().zip(costs) {
        if let Some(last) = costs.last() {
            print_calls(name, last);
        }
    }
}

/// Prints what an operation sends.
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
