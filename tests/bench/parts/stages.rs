//! Stages that do nothing, submitted, run and recorded, beside a loop that only starts the same program.

use std::{process::Stdio, time::Instant};

use tokio::process::Command;

use crate::{
    http::Connection,
    setup::{self, Bench, STAGES, submit_all},
    table::{Goal, spread},
};

/// Stages or processes of one turn.
const TURN: usize = 600;

pub fn measure(bench: &mut Bench) {
    let daemon = bench.daemon();
    let program = PrintingProgram::of_node(STAGES[0]);
    let redis = bench.redis(&daemon);
    let mut client = Connection::open(daemon.port());
    let (mut spawns, mut stages) = (Vec::new(), Vec::new());
    for round in 0..=bench.options.rounds() {
        let start = Instant::now();
        bench.runtime.block_on(spawn_processes(&program));
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

/// The program of a node.
#[derive(Clone)]
struct PrintingProgram {
    words: Vec<String>,
}

impl PrintingProgram {
    fn of_node(name: &str) -> Self {
        let nodes: toml::Table = setup::NODES.parse().expect("the nodes of the bench are TOML");
        let nodes = nodes["nodes"].as_array().expect("a list of nodes");
        let node = nodes.iter().find(|node| node["name"].as_str() == Some(name));
        let words = node.expect("the node is there")["runner"]["command"].as_array();
        let words = words.expect("it is a program").iter().filter_map(|word| word.as_str());
        Self {
            words: words.map(str::to_owned).collect(),
        }
    }

    async fn run(&self) {
        let (program, arguments) = self.words.split_first().expect("a program has a name");
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        let output = child.wait_with_output().await.expect("it ends");
        assert!(output.status.success() && !output.stdout.is_empty());
    }
}

/// A turn of the program with three pipes, two at a time: nothing is made beside the processes, and nothing is recorded.
async fn spawn_processes(program: &PrintingProgram) {
    let halves = [program.clone(), program.clone()].map(|program| {
        tokio::spawn(async move {
            for _ in 0..TURN / 2 {
                program.run().await;
            }
        })
    });
    for half in halves {
        half.await.expect("it spawns");
    }
}
