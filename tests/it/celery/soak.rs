//! Many stages while workers are killed again and again: short in `make test`, 500 stages and 20 kills in
//! `make soak-celery`, which prints the figures.

use std::{collections::BTreeMap, time::Instant};

use onceover_tests::{
    callbacks::Receiver,
    celery_workers::{CeleryBroker, CeleryWorker, WorkerStart},
    eventually,
};
use onceover_types::StageState;
use onceover_wire::ReuseMode;
use serde_json::json;

use super::{WRITE, builder_with, wanted};

/// Every second worker acknowledges late, so that what it held is also delivered again.
async fn start_worker(broker: &CeleryBroker, number: usize) -> CeleryWorker {
    let start = WorkerStart::named(&format!("w{number}"));
    let start = if number.is_multiple_of(2) {
        start
    } else {
        start.acks_late()
    };
    start.start(broker).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celery_each_stage_ends_once_however_many_workers_are_killed() {
    let stages = wanted("ONCEOVER_CELERY_STAGES", 16);
    let kills = wanted("ONCEOVER_CELERY_KILLS", 1);
    let broker = CeleryBroker::start().await;
    let receiver = Receiver::start().await;
    let daemon = builder_with(&broker, "max_attempts = 20").start().await;
    let mut workers = vec![start_worker(&broker, 0).await, start_worker(&broker, 1).await];
    let start = Instant::now();
    for task in 0..stages {
        let input = json!({"seconds": fastrand::f64() * 0.4, "text": task.to_string()});
        let callback = Some(receiver.url("/hook"));
        daemon
            .try_submit(&format!("t{task}"), WRITE, input, callback, ReuseMode::Auto)
            .await
            .expect("it is accepted");
    }
    for kill in 0..kills {
        // Spread over the stages, and while something runs.
        let ended = stages * (kill + 1) / (kills + 2);
        eventually("stages that have ended", || async {
            (receiver.received().len() >= ended).then_some(())
        })
        .await;
        workers.remove(fastrand::usize(..workers.len())).kill();
        workers.push(start_worker(&broker, kill + 2).await);
    }
    let mut attempts = 0;
    for task in 0..stages {
        let stage = daemon.until_ended(&format!("t{task}"), WRITE).await;
        assert_eq!(stage.status, StageState::Success, "t{task}: {stage:?}");
        attempts += stage.attempt;
    }
    daemon.delivered().await;
    daemon.idle().await;
    let mut ends = BTreeMap::<String, usize>::new();
    for callback in receiver.received() {
        let task = callback.body["task_id"].as_str().unwrap_or_default().to_owned();
        *ends.entry(task).or_default() += 1;
    }
    assert_eq!(ends.len(), stages);
    assert!(
        ends.values().all(|count| *count == 1),
        "an end was committed twice: {ends:?}"
    );
    println!(
        "{stages} stages, {kills} workers killed: all succeeded once, in {attempts} attempts and {:.0} s",
        start.elapsed().as_secs_f64()
    );
}
