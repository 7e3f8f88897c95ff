//! How runs of a queue follow each other: the next one is taken with the end of the last, and one that was taken by a call
//! whose reply was lost is taken again.

use onceover_tests::{Daemon, Proxy, RedisServer, daemon::begun, eventually, proxy::Fault, until_equal};
use onceover_types::StageState;
use onceover_wire::ReuseMode;
use serde_json::json;

const QUICK: &str = "test.quick";
const TOLD: &str = "test.told";

/// One run of a queue at a time, and leases that last longer than any test waits.
const CONFIG: &str = "[slots]\ncpu = 1\nio = 1\n[runs]\nlease = '10m'\nheartbeat = '200ms'\ngrace = '500ms'";

/// Runs that wait in one queue.
const RUNS: usize = 100;

/// Waits until the run of a task is under way, and lets it end.
async fn let_end(daemon: &Daemon, run: &str) {
    until_equal("begun", 1, || async { daemon.traces(run) }).await;
    daemon.tell(run, &json!({"output": {"value": 1}}));
}

/// Fails unless the run of a task has succeeded, as its first attempt, and was begun once.
async fn assert_done_once(daemon: &Daemon, task: &str, run: &str) {
    let stage = daemon.until_ended(task, TOLD).await;
    assert_eq!((stage.status, stage.attempt), (StageState::Success, 1), "{task}");
    assert_eq!(stage.run_id.map(|id| id.to_string()).as_deref(), Some(run), "{task}");
    assert_eq!(daemon.traces(run), 1, "{task}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_run_that_was_taken_with_an_end_begins_although_the_reply_was_lost() {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::unix(&server.url(0)).await;
    let daemon = Daemon::builder().redis(proxy.url()).config(CONFIG).start().await;
    let first = begun(&[&daemon], "t1").await;
    let second = daemon.submit("t2", TOLD, json!({})).await;
    let second = second.reuse_info.run_id.expect("a run").to_string();
    proxy.fail_next("finish", Fault::LoseReply);
    daemon.tell(&first, &json!({"output": {"value": 1}}));
    let_end(&daemon, &second).await;
    assert_done_once(&daemon, "t1", &first).await;
    assert_done_once(&daemon, "t2", &second).await;
    assert_eq!(proxy.struck(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_taken_begins_although_the_reply_was_lost() {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::unix(&server.url(0)).await;
    let daemon = Daemon::builder().redis(proxy.url()).config(CONFIG).start().await;
    // The first that comes may be one that looks at another queue.
    for _ in 0..2 {
        proxy.fail_next("claim", Fault::LoseReply);
    }
    let run = eventually("the submit is accepted", || async {
        let answer = daemon.try_submit("t1", TOLD, json!({}), None, ReuseMode::Auto).await;
        answer.ok()?.reuse_info.run_id
    })
    .await
    .to_string();
    let_end(&daemon, &run).await;
    assert_done_once(&daemon, "t1", &run).await;
    assert_eq!(proxy.struck(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_with_work_to_do_makes_two_calls_a_stage() {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::unix(&server.url(0)).await;
    let daemon = Daemon::builder().redis(proxy.url()).config(CONFIG).start().await;
    let tasks: Vec<_> = (0..RUNS).map(|number| format!("t{number}")).collect();
    let (mut claims, mut ends) = (proxy.seen("claim"), proxy.seen("finish"));
    let requests = tasks
        .iter()
        .map(|task| json!({"task_name": QUICK, "task_id": task, "input_data": {"trace": task}}));
    let answer = daemon
        .post("/v1/tasks/batch", json!({"tasks": requests.collect::<Vec<_>>()}))
        .await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    for task in &tasks {
        let stage = daemon.until_ended(task, QUICK).await;
        assert_eq!((stage.status, daemon.traces(task)), (StageState::Success, 1), "{task}");
    }
    claims = proxy.seen("claim") - claims;
    ends = proxy.seen("finish") - ends;
    assert_eq!(ends, RUNS);
    // While the queue is not empty each end takes the next run; other queues are looked at once a second.
    assert!(claims < RUNS / 2, "{claims} claims for {RUNS} runs");
}
