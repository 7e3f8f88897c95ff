//! Workers that are killed: one result is committed, and no stage is stuck.

use onceover_tests::{
    Daemon,
    callbacks::Receiver,
    celery_workers::{CeleryBroker, WorkerStart},
};
use onceover_types::StageState;
use onceover_wire::ReuseMode;
use serde_json::json;

use super::{NOOP, WRITE, begun, builder};

/// Kills a worker in the middle of a stage, and starts another one.
async fn lose_worker(broker: &CeleryBroker, daemon: &Daemon, prepare: impl Fn(&str) -> WorkerStart) {
    let receiver = Receiver::start().await;
    let mut lost = prepare("w1").start(broker).await;
    let input = json!({"seconds": 1.5, "text": "once"});
    daemon
        .try_submit("film", WRITE, input, Some(receiver.url("/hook")), ReuseMode::Auto)
        .await
        .unwrap();
    begun(daemon, "film", WRITE).await;
    lost.kill();
    // What it holds was taken for longer than the broker waits, so that it is given out as the next worker starts.
    broker.until_held_for(2.5).await;
    let _worker = prepare("w2").start(broker).await;
    let stage = daemon.until_ended("film", WRITE).await;
    assert_eq!(stage.status, StageState::Success, "{stage:?}");
    receiver.wait_for(1).await;
    daemon.delivered().await;
    assert_eq!(receiver.received().len(), 1, "one end is reported");
    let runs = daemon.get(&format!("/v1/tasks/film/stages/{WRITE}/runs")).await.json();
    let runs = runs["runs"].as_array().cloned().unwrap_or_default();
    assert_eq!(runs.len(), 1, "one run, whatever its attempts: {runs:?}");
    // Nothing of it is left to hold up others.
    daemon.submit("film", NOOP, json!({})).await;
    daemon.until("film", NOOP, StageState::Success).await;
    daemon.idle().await;
}

#[tokio::test]
async fn celery_a_worker_that_acknowledges_early_and_is_killed_leaves_one_result() {
    let broker = CeleryBroker::start().await;
    let daemon = builder(&broker).start().await;
    lose_worker(&broker, &daemon, WorkerStart::named).await;
}

#[tokio::test]
async fn celery_a_worker_that_acknowledges_late_and_is_killed_leaves_one_result() {
    let broker = CeleryBroker::start().await;
    let daemon = builder(&broker).start().await;
    lose_worker(&broker, &daemon, |name| WorkerStart::named(name).acks_late()).await;
}
