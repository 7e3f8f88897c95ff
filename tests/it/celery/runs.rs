//! What a worker is sent, and what becomes of what it returns.

use onceover_tests::{
    callbacks::Receiver,
    celery_workers::{CeleryBroker, PROBE_QUEUE, WorkerStart},
    eventually, until_equal,
};
use onceover_types::StageState;
use onceover_wire::ReuseMode;
use serde_json::json;

use super::{NOOP, SLEEP, WRITE, begun, builder, single};

#[tokio::test]
async fn c3_a_stage_on_a_worker_is_reported_once_and_not_by_the_worker() {
    let broker = CeleryBroker::start().await;
    let _worker = WorkerStart::named("w1").start(&broker).await;
    let receiver = Receiver::start().await;
    let daemon = builder(&broker).start().await;
    let input = json!({"seconds": 1, "steps": 4});
    daemon
        .try_submit("film", SLEEP, input, Some(receiver.url("/hook")), ReuseMode::Auto)
        .await
        .unwrap();
    let halfway = eventually("progress", || async {
        let stage = daemon.stage("film", SLEEP).await?;
        let percent = stage.progress.filter(|_| stage.status == StageState::Running)?;
        (percent >= 25.0).then_some(percent)
    })
    .await;
    assert!(halfway < 100.0, "{halfway}");
    let stage = daemon.until("film", SLEEP, StageState::Success).await;
    assert_eq!(stage.runner.as_deref(), Some("celery"));
    let output: serde_json::Value = serde_json::from_str(stage.output.get()).unwrap();
    assert_eq!(output["value"], 4);
    let received = receiver.wait_for(1).await;
    assert_eq!(received[0].body["status"], "completed");
    daemon.delivered().await;
    assert_eq!(receiver.received().len(), 1, "the worker sends none (C3)");
    // The second time it is a hit, and nothing is sent.
    let again = daemon.submit("film", SLEEP, json!({"seconds": 1, "steps": 4})).await;
    assert!(again.reuse_info.reuse_hit);
    assert_eq!(broker.message_ids(PROBE_QUEUE).await.len(), 1);
}

#[tokio::test]
async fn r3_identical_submits_to_a_worker_while_it_is_queued_and_while_it_runs_are_one_message() {
    let broker = CeleryBroker::start().await;
    let _worker = single("w1").acks_late().start(&broker).await;
    let daemon = builder(&broker).start().await;
    daemon.submit("busy", WRITE, json!({"seconds": 1})).await;
    begun(&daemon, "busy", WRITE).await;
    let input = json!({"seconds": 1, "text": "once"});
    daemon.submit("film", WRITE, input.clone()).await;
    // It lies in the queue of the broker, since one more than the worker can run is sent.
    until_equal("messages that wait", 1, || broker.depth(PROBE_QUEUE)).await;
    for _ in 0..3 {
        let joined = daemon.submit("film", WRITE, input.clone()).await;
        assert_eq!(joined.reuse_info.state.as_deref(), Some("pending"));
    }
    assert_eq!(broker.depth(PROBE_QUEUE).await, 1);
    daemon.until("busy", WRITE, StageState::Success).await;
    begun(&daemon, "film", WRITE).await;
    let joined = daemon.submit("film", WRITE, input).await;
    assert!(joined.reuse_info.reuse_hit && joined.reuse_info.state.is_some());
    let stage = daemon.until("film", WRITE, StageState::Success).await;
    assert_eq!((stage.joins, stage.attempt), (4, 1));
    assert_eq!(broker.message_ids(PROBE_QUEUE).await.len(), 2, "one for each task");
}

#[tokio::test]
async fn celery_no_more_is_sent_than_the_workers_can_run_and_one() {
    let broker = CeleryBroker::start().await;
    let _worker = single("w1").start(&broker).await;
    let daemon = builder(&broker).start().await;
    for task in 0..8 {
        daemon.submit(&format!("t{task}"), NOOP, json!({"value": task})).await;
    }
    daemon.submit("first", WRITE, json!({"seconds": 1})).await;
    for task in 8..12 {
        daemon.submit(&format!("t{task}"), NOOP, json!({"value": task})).await;
    }
    begun(&daemon, "first", WRITE).await;
    assert!(broker.depth(PROBE_QUEUE).await <= 1);
    daemon.idle().await;
    for task in 0..12 {
        let stage = daemon.stage(&format!("t{task}"), NOOP).await.unwrap();
        assert_eq!(stage.status, StageState::Success, "t{task}");
    }
    assert_eq!(broker.message_ids(PROBE_QUEUE).await.len(), 13);
}

#[tokio::test]
async fn celery_a_failure_that_a_worker_handles_and_one_that_it_raises_are_failed_with_their_reason() {
    let broker = CeleryBroker::start().await;
    let worker = WorkerStart::named("w1").start(&broker).await;
    let daemon = builder(&broker).start().await;
    // The node says so in its context; Celery's state is SUCCESS.
    daemon
        .submit("film", "probe.fail", json!({"error": "no such codec"}))
        .await;
    let stage = daemon.until("film", "probe.fail", StageState::Failed).await;
    assert!(
        stage
            .error
            .as_deref()
            .is_some_and(|error| error.contains("no such codec")),
        "{stage:?}"
    );
    daemon
        .submit("film", "probe.raise", json!({"error": "out of tape"}))
        .await;
    let stage = daemon.until("film", "probe.raise", StageState::Failed).await;
    let error = stage.error.unwrap_or_default();
    assert!(error.contains("ValueError") && error.contains("out of tape"), "{error}");
    let log = daemon.get("/v1/tasks/film/stages/probe.raise/log").await.text;
    assert!(log.contains("Traceback"), "the log has where it was raised: {log}");
    // A task that returns no context has not done the stage.
    daemon.submit("film", "probe.plain", json!({})).await;
    let stage = daemon.until("film", "probe.plain", StageState::Failed).await;
    assert!(stage.error.is_some());
    assert!(worker.logged().contains("probe.plain"));
}

#[tokio::test]
async fn celery_pools_that_are_silent_while_they_run_do_the_same_runs() {
    for kind in ["solo", "threads"] {
        let broker = CeleryBroker::start().await;
        let _worker = single("w1").pool(kind).start(&broker).await;
        let daemon = builder(&broker).start().await;
        daemon.submit("film", SLEEP, json!({"seconds": 1.5, "steps": 3})).await;
        daemon.submit("film", WRITE, json!({"text": "written"})).await;
        daemon.until("film", SLEEP, StageState::Success).await;
        daemon.until("film", WRITE, StageState::Success).await;
        assert_eq!(broker.message_ids(PROBE_QUEUE).await.len(), 2, "{kind}");
    }
}
