//! A GPU that existing workers use too: runs of this machine take the lock of these, and wait for it.

use std::time::Duration;

use onceover_tests::{
    Daemon, DaemonBuilder, RedisServer, daemon::task_id, eventually, redis_server::connect, until_equal,
};
use onceover_types::{StageState, Timestamp};
use redis::AsyncCommands;
use serde_json::json;

/// Runs in the class `gpu` until a file is there.
const NODE: &str = "test.wait";
const LOCK: &str = "gpu_lock:0";
/// The database that workers have their locks in.
const DATABASE: i64 = 2;

/// Between two checks of the lock.
const CHECK: Duration = Duration::from_millis(10);

/// The same node, ended at once, with a short time limit.
const BRIEF: &str = r#"
[[nodes]]
name = "test.wait"
queue = "gpu"
timeout_seconds = 1
runner = { command = ["sh", "-c", "cat > /dev/null; echo '{\"type\":\"output\",\"output\":{\"value\":1}}'"] }
"#;

fn builder(redis: &RedisServer, expires_after: &str) -> DaemonBuilder {
    let url = redis.url(DATABASE);
    Daemon::builder().config(&format!(
        "[gpu_lock]\nredis = '{url}'\nexpires_after = '{expires_after}'"
    ))
}

async fn holder(redis: &RedisServer) -> Option<String> {
    let mut connection = connect(&redis.url(DATABASE)).await;
    connection.get(LOCK).await.expect("Redis answers")
}

/// Takes the lock as a worker does, also from another holder.
async fn hold(redis: &RedisServer, name: &str) {
    let mut connection = connect(&redis.url(DATABASE)).await;
    connection
        .set_ex::<_, _, ()>(LOCK, name, 3600)
        .await
        .expect("Redis answers");
}

async fn free(redis: &RedisServer) {
    let mut connection = connect(&redis.url(DATABASE)).await;
    connection.del::<_, ()>(LOCK).await.expect("Redis answers");
}

/// Waits until the daemon holds the lock, and returns the name that it has there.
async fn held_by_daemon(redis: &RedisServer) -> String {
    eventually("the daemon has the lock", || async {
        holder(redis)
            .await
            .filter(|name| name.starts_with("locked_by_onceover:"))
    })
    .await
}

/// Waits until the stage says that it waits for the GPU.
async fn waits_for_gpu(daemon: &Daemon, task: &str, holder: &str) {
    eventually(&format!("{task} waits for the GPU"), || async {
        let stage = daemon.stage(task, NODE).await?;
        let message = stage.message.unwrap_or_default();
        let says = message.starts_with("waiting for the GPU") && message.contains(holder);
        (stage.status == StageState::Running && says).then_some(())
    })
    .await;
}

#[tokio::test]
async fn gpu_lock_a_run_waits_while_a_worker_has_it_and_holds_it_until_its_end() {
    let redis = RedisServer::start(&[]).await;
    hold(&redis, "locked_by_whisper").await;
    let daemon = builder(&redis, "1m").start().await;
    daemon
        .submit("film", NODE, json!({"until": "go", "trace": "film"}))
        .await;
    waits_for_gpu(&daemon, "film", "held by locked_by_whisper").await;
    assert!(!daemon.dir().join("trace.film").exists(), "its program has not begun");
    assert_eq!(holder(&redis).await.as_deref(), Some("locked_by_whisper"));
    // What uses no GPU does not wait.
    daemon.submit("film", "test.echo", json!({})).await;
    daemon.until("film", "test.echo", StageState::Success).await;
    free(&redis).await;
    held_by_daemon(&redis).await;
    daemon.release("go");
    let stage = daemon.until("film", NODE, StageState::Success).await;
    assert_eq!(stage.attempt, 1);
    until_equal("the holder of the lock", None, || holder(&redis)).await;
    let log = daemon.get(&format!("/v1/tasks/film/stages/{NODE}/log")).await.text;
    assert!(log.contains("waiting for the GPU"), "{log}");
}

#[tokio::test]
async fn gpu_lock_the_wait_is_no_part_of_the_time_limit_and_a_cancel_ends_it() {
    let redis = RedisServer::start(&[]).await;
    hold(&redis, "locked_by_whisper").await;
    let daemon = builder(&redis, "1m")
        .config("[slots]\ngpu = 2")
        .nodes(BRIEF)
        .start()
        .await;
    for task in ["waits", "cancelled"] {
        daemon.submit(task, NODE, json!({})).await;
        waits_for_gpu(&daemon, task, "locked_by_whisper").await;
    }
    daemon
        .client
        .cancel(&task_id("cancelled"))
        .await
        .expect("it is cancelled");
    daemon.until("cancelled", NODE, StageState::Cancelled).await;
    let begun = daemon.stage("waits", NODE).await.expect("the stage").started_at;
    eventually("more than the time limit has passed", || async {
        (Timestamp::now().as_millis() - begun?.as_millis() > 1500).then_some(())
    })
    .await;
    free(&redis).await;
    daemon.until("waits", NODE, StageState::Success).await;
}

#[tokio::test]
async fn gpu_lock_runs_of_one_daemon_hold_it_together_and_another_holder_keeps_it() {
    let redis = RedisServer::start(&[]).await;
    let daemon = builder(&redis, "1m").config("[slots]\ngpu = 2").start().await;
    for task in ["first", "second"] {
        daemon.submit(task, NODE, json!({"until": task, "trace": task})).await;
    }
    for task in ["first", "second"] {
        let trace = daemon.dir().join(format!("trace.{task}"));
        until_equal("the program has begun", true, || async { trace.exists() }).await;
    }
    let name = held_by_daemon(&redis).await;
    daemon.release("first");
    daemon.until("first", NODE, StageState::Success).await;
    assert_eq!(holder(&redis).await, Some(name), "the second one uses the GPU");
    // A worker that found its lock deleted takes it all the same.
    hold(&redis, "locked_by_whisper").await;
    daemon.release("second");
    daemon.until("second", NODE, StageState::Success).await;
    assert_eq!(holder(&redis).await.as_deref(), Some("locked_by_whisper"));
}

#[tokio::test]
async fn gpu_lock_it_is_renewed_while_a_run_goes_on_and_expires_with_its_daemon() {
    let redis = RedisServer::start(&[]).await;
    let mut daemon = builder(&redis, "2s").start().await;
    daemon.submit("film", NODE, json!({"until": "go"})).await;
    held_by_daemon(&redis).await;
    let mut connection = connect(&redis.url(DATABASE)).await;
    // Four renewals are more than it lives without one.
    let (mut renewals, mut before) = (0, i64::MAX);
    while renewals < 4 {
        let left: i64 = connection.pttl(LOCK).await.expect("Redis answers");
        assert!(left >= 0, "the lock was lost");
        renewals += u32::from(left > before);
        before = left;
        tokio::time::sleep(CHECK).await;
    }
    daemon.kill();
    until_equal("the holder of the lock", None, || holder(&redis)).await;
}

#[tokio::test]
async fn gpu_lock_a_daemon_that_is_started_again_takes_over_what_it_held() {
    let redis = RedisServer::start(&[]).await;
    let mut daemon = builder(&redis, "1h").start().await;
    daemon.submit("film", NODE, json!({"until": "go"})).await;
    let before = held_by_daemon(&redis).await;
    daemon.kill();
    assert_eq!(holder(&redis).await.as_ref(), Some(&before));
    daemon.launch().await;
    eventually("the next start has the lock", || async {
        let name = holder(&redis).await?;
        (name != before).then_some(())
    })
    .await;
    daemon.release("go");
    daemon.until("film", NODE, StageState::Success).await;
    until_equal("the holder of the lock", None, || holder(&redis)).await;
}
