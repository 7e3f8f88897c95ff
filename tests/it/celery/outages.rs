//! The broker or the daemon restarts while a worker runs a stage, and workers that are not there yet.

use std::time::{Duration, Instant};

use onceover_tests::{
    celery_workers::{CeleryBroker, PROBE_QUEUE, WorkerStart},
    eventually, onceover_at, until_equal,
};
use onceover_types::StageState;
use redis::AsyncCommands;
use serde_json::json;

use super::{NOOP, WRITE, begun, builder, single};

#[tokio::test]
async fn celery_a_broker_that_restarts_while_a_stage_runs_loses_nothing() {
    let mut broker = CeleryBroker::start().await;
    let _worker = WorkerStart::named("w1").start(&broker).await;
    let daemon = builder(&broker).start().await;
    daemon.submit("film", WRITE, json!({"seconds": 2})).await;
    begun(&daemon, "film", WRITE).await;
    broker.restart().await;
    daemon.until("film", WRITE, StageState::Success).await;
    // The worker and the daemon are connected again.
    daemon.submit("film", NOOP, json!({})).await;
    daemon.until("film", NOOP, StageState::Success).await;
    assert_eq!(broker.message_ids(PROBE_QUEUE).await.len(), 2);
}

#[tokio::test]
async fn celery_a_daemon_that_is_killed_and_started_joins_what_runs_and_sends_nothing_again() {
    let broker = CeleryBroker::start().await;
    let _worker = WorkerStart::named("w1").start(&broker).await;
    let mut daemon = builder(&broker).start().await;
    daemon.submit("film", WRITE, json!({"seconds": 2})).await;
    begun(&daemon, "film", WRITE).await;
    daemon.kill();
    daemon.launch().await;
    let stage = daemon.until("film", WRITE, StageState::Success).await;
    assert_eq!(stage.attempt, 1, "the same attempt goes on");
    assert_eq!(broker.message_ids(PROBE_QUEUE).await.len(), 1);
}

#[tokio::test]
async fn celery_a_message_that_was_journalled_and_not_sent_is_sent_by_the_next_owner_as_the_same_attempt() {
    let broker = CeleryBroker::start().await;
    let _worker = single("w1").env("WORKER_ACKS", "late").start(&broker).await;
    let mut daemon = builder(&broker).start().await;
    daemon.submit("busy", WRITE, json!({"seconds": 2})).await;
    begun(&daemon, "busy", WRITE).await;
    daemon.submit("film", NOOP, json!({})).await;
    until_equal("messages that wait", 1, || broker.depth(PROBE_QUEUE)).await;
    // What Redis and the broker have where the daemon ends between the journal and the push.
    let redis = daemon.redis().await;
    eventually("the note that it was sent", || async {
        let mut redis = redis.clone();
        let removed: u64 = redis.hdel("onceover:stage:film:probe.noop", "pushed").await.ok()?;
        (removed == 1).then_some(())
    })
    .await;
    daemon.kill();
    broker.drop_messages(PROBE_QUEUE).await;
    daemon.launch().await;
    let stage = daemon.until("film", NOOP, StageState::Success).await;
    assert_eq!(stage.attempt, 1, "nothing was lost");
    daemon.until("busy", WRITE, StageState::Success).await;
}

#[tokio::test]
async fn celery_a_result_that_came_while_the_daemon_was_down_is_taken_at_its_start() {
    let broker = CeleryBroker::start().await;
    let _worker = WorkerStart::named("w1").start(&broker).await;
    let mut daemon = builder(&broker).start().await;
    daemon.submit("film", WRITE, json!({"seconds": 0.5})).await;
    begun(&daemon, "film", WRITE).await;
    daemon.kill();
    until_equal("results of the worker", vec!["SUCCESS".to_owned()], || {
        broker.result_states()
    })
    .await;
    daemon.launch().await;
    let stage = daemon.until("film", WRITE, StageState::Success).await;
    assert_eq!(stage.attempt, 1);
    assert_eq!(broker.message_ids(PROBE_QUEUE).await.len(), 1);
}

#[tokio::test]
async fn celery_nobody_listening_is_said_within_two_seconds_and_the_stage_begins_when_a_worker_appears() {
    let broker = CeleryBroker::start().await;
    let daemon = builder(&broker).start().await;
    let start = Instant::now();
    daemon.submit("film", NOOP, json!({})).await;
    let reason = eventually("the reason", || async {
        let reason = daemon.stage("film", NOOP).await?.waiting?;
        // Before the workers are asked for the first time, it says that.
        reason.starts_with("no worker").then_some(reason)
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(
        reason.starts_with("no worker is listening on probe_queue (1 waiting; workers seen: "),
        "{reason}"
    );
    let ready = daemon.get("/readyz").await;
    assert_eq!(ready.status, 200, "submits can be decided");
    assert_eq!(ready.json()["warnings"], json!([reason]));
    let view = daemon.get("/v1/tasks/film/status").await.json();
    assert!(
        view["message"]
            .as_str()
            .is_some_and(|message| message.contains(&reason)),
        "{view}"
    );
    let queues = daemon.get("/v1/queues").await.json();
    let queues = queues["queues"].as_array().cloned().unwrap_or_default();
    let queue = queues.iter().find(|queue| queue["name"] == "celery:probe_queue");
    assert_eq!(queue.map(|queue| &queue["waiting"]), Some(&json!(reason)));
    let printed = onceover_at(&daemon).arg("workers").output().await.unwrap();
    assert!(
        String::from_utf8_lossy(&printed.stdout).contains(&reason),
        "{printed:?}"
    );
    assert_eq!(broker.depth(PROBE_QUEUE).await, 0, "nothing is sent to nobody");
    let _worker = WorkerStart::named("w1").start(&broker).await;
    let stage = daemon.until("film", NOOP, StageState::Success).await;
    assert_eq!((stage.waiting, stage.attempt), (None, 1));
    assert_eq!(daemon.get("/readyz").await.json().get("warnings"), None);
}
