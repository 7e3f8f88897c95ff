//! Cancelling what waits for a worker, and what a worker runs.

use std::path::PathBuf;

use onceover_tests::{
    celery_workers::{CeleryBroker, PROBE_QUEUE, WorkerStart},
    daemon::task_id,
    eventually, until_equal,
};
use onceover_types::StageState;
use serde_json::json;

use super::{NOOP, WRITE, begun, builder, single};

#[tokio::test]
async fn celery_a_message_that_no_worker_has_taken_is_taken_back_when_its_stage_is_cancelled() {
    let broker = CeleryBroker::start().await;
    let _worker = single("w1").acks_late().start(&broker).await;
    let daemon = builder(&broker).start().await;
    daemon.submit("busy", WRITE, json!({"seconds": 1})).await;
    begun(&daemon, "busy", WRITE).await;
    daemon.submit("film", NOOP, json!({})).await;
    until_equal("messages that wait", 1, || broker.depth(PROBE_QUEUE)).await;
    // This one waits here: the worker has one, and one more was sent.
    daemon.submit("late", NOOP, json!({})).await;
    for task in ["film", "late"] {
        let answer = daemon.client.cancel(&task_id(task)).await.unwrap();
        assert_eq!(answer.cancelled.len(), 1, "{task}");
        daemon.until(task, NOOP, StageState::Cancelled).await;
    }
    until_equal("messages that wait", 0, || broker.depth(PROBE_QUEUE)).await;
    daemon.until("busy", WRITE, StageState::Success).await;
    assert_eq!(broker.result_ids().await.len(), 1, "no worker has seen the others");
}

#[tokio::test]
async fn celery_a_task_that_runs_is_ended_when_its_stage_is_cancelled_and_its_process_is_ended() {
    let broker = CeleryBroker::start().await;
    let _worker = WorkerStart::named("w1").start(&broker).await;
    let daemon = builder(&broker).start().await;
    daemon.submit("film", WRITE, json!({"seconds": 60})).await;
    begun(&daemon, "film", WRITE).await;
    let process = PathBuf::from(format!("/proc/{}", broker.running_process().await));
    assert!(process.exists());
    daemon.client.cancel(&task_id("film")).await.unwrap();
    daemon.until("film", WRITE, StageState::Cancelled).await;
    until_equal("the process of the task", false, || async { process.exists() }).await;
    // The worker goes on.
    daemon.submit("film", NOOP, json!({})).await;
    daemon.until("film", NOOP, StageState::Success).await;
    assert_eq!(daemon.stage("film", WRITE).await.unwrap().status, StageState::Cancelled);
}

#[tokio::test]
async fn r7_a_task_that_a_worker_cannot_end_changes_nothing_when_it_ends_late() {
    let broker = CeleryBroker::start().await;
    let worker = single("w1").pool("threads").start(&broker).await;
    let daemon = builder(&broker).start().await;
    daemon.submit("film", WRITE, json!({"seconds": 2})).await;
    begun(&daemon, "film", WRITE).await;
    daemon.client.cancel(&task_id("film")).await.unwrap();
    daemon.until("film", WRITE, StageState::Cancelled).await;
    let stage = eventually("who goes on with it", || async {
        let stage = daemon.stage("film", WRITE).await?;
        stage.message.is_some().then_some(stage)
    })
    .await;
    let said = format!("{} goes on with it: its pool cannot end a task", worker.hostname());
    assert_eq!((stage.status, stage.message), (StageState::Cancelled, Some(said)));
    // The only thread is free once the task has ended, as it would have anyway.
    daemon.submit("film", NOOP, json!({})).await;
    daemon.until("film", NOOP, StageState::Success).await;
    let stage = daemon.stage("film", WRITE).await.unwrap();
    assert_eq!((stage.status, stage.output.get()), (StageState::Cancelled, "{}"));
}
