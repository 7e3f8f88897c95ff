//! Stopping without losing work: requirement 30.

use std::time::{Duration, Instant};

use onceover_tests::{Daemon, events::Sse, eventually};
use onceover_types::StageState;
use rustix::process::Signal;
use serde_json::json;

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

const DRAIN: &str = "[runs]\nlease = '2s'\nheartbeat = '200ms'\ngrace = '500ms'\ndrain = ";

/// SIGTERM, and waits until it is noticed.
async fn terminate(daemon: &Daemon) {
    daemon.signal(Signal::TERM);
    eventually("draining", || async {
        (daemon.get("/readyz").await.status == 503).then_some(())
    })
    .await;
}

#[tokio::test]
async fn req30_drain_lets_runs_end_and_takes_nothing_new() {
    let mut daemon = Daemon::builder().config(&format!("{DRAIN}'20s'")).start().await;
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    daemon.submit("t2", WAIT, json!({"until": "go"})).await;
    let mut stream = Sse::open(&daemon, None).await;
    terminate(&daemon).await;
    let answer = daemon.get("/readyz").await;
    assert!(answer.text.contains("draining"), "{answer:?}");
    let body = json!({"task_name": ECHO, "task_id": "t3", "input_data": {}});
    for (path, body) in [
        ("/v1/tasks", body.clone()),
        ("/v1/tasks/batch", json!({"tasks": [body]})),
        ("/v1/tasks/t1/retry", json!({})),
    ] {
        let answer = daemon.post(path, body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (503, "draining"), "{path}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(daemon.get("/v1/tasks/t1").await.json()["status"], "running");
    let start = Instant::now();
    daemon.release("go");
    assert!(stream.next().await.data.contains("t1"), "open streams tell how it ends");
    assert!(daemon.ended().await.success());
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "it does not wait longer than its runs"
    );
    let begun = daemon.logged().matches("run started").count();
    assert_eq!(begun, 1, "no run is taken with the last end");
    daemon.launch().await;
    assert_eq!(
        daemon.until_ended("t1", WAIT).await.attempt,
        1,
        "it ended in the daemon that began it"
    );
    daemon.until("t2", WAIT, StageState::Success).await;
    assert_eq!(daemon.get("/v1/tasks/t3").await.status, 404);
}

#[tokio::test]
async fn req30_what_does_not_end_in_time_is_handed_back() {
    let mut daemon = Daemon::builder().config(&format!("{DRAIN}'1s'")).start().await;
    daemon.submit("t1", WAIT, json!({"until": "go", "deaf": true})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    let _stream = Sse::open(&daemon, None).await;
    let start = Instant::now();
    assert!(daemon.stop().await.success());
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1), "it waited {took:?}");
    assert!(
        took <= Duration::from_millis(1000 + 500 + 2000),
        "drain + grace + 2 s, but {took:?}"
    );
    assert!(daemon.children().is_empty());
    daemon.release("go");
    daemon.launch().await;
    assert_eq!(daemon.until("t1", WAIT, StageState::Success).await.attempt, 2);
}

#[tokio::test]
async fn req30_a_second_signal_hands_back_at_once() {
    let mut daemon = Daemon::builder().config(&format!("{DRAIN}'60s'")).start().await;
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    terminate(&daemon).await;
    let start = Instant::now();
    assert!(daemon.stop().await.success());
    assert!(
        start.elapsed() <= Duration::from_millis(500 + 2000),
        "{:?}",
        start.elapsed()
    );
    daemon.release("go");
    daemon.launch().await;
    assert_eq!(daemon.until("t1", WAIT, StageState::Success).await.attempt, 2);
}
