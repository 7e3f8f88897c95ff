//! Hits of a result that was hit before: one call of Redis, never an answer of what stood before, and nothing to other
//! daemons.

use std::{fs, path::PathBuf};

use futures_util::future::join_all;
use onceover_tests::{
    Daemon, RedisServer,
    daemon::node_name,
    events::{Channel, Sse},
    eventually, until_equal,
};
use onceover_types::StageState;
use onceover_wire::{Event, EventKind, ReuseMode, StageView};
use serde_json::{Value, json};

const TASK: &str = "t1";
const ECHO: &str = "test.echo";
/// Leaves a file.
const FILE: &str = "test.file";

/// The file that the output of a stage names.
fn file_of(stage: &StageView) -> PathBuf {
    let output: Value = serde_json::from_str(stage.output.get()).expect("JSON");
    output["file"].as_str().expect("a path").into()
}

/// Submits the stage that leaves a file, which is a hit, and returns the file of the result.
async fn hit(daemon: &Daemon) -> PathBuf {
    let answer = daemon.submit(TASK, FILE, json!({})).await;
    assert!(answer.reuse_info.reuse_hit, "{answer:?}");
    file_of(&answer.result.expect("a hit has a result").stages[&node_name(FILE)])
}

/// Submits the same, which is a miss, and returns the reason of it once the run has ended.
async fn miss(daemon: &Daemon) -> String {
    let answer = daemon.submit(TASK, FILE, json!({})).await;
    assert!(!answer.reuse_info.reuse_hit, "{answer:?}");
    daemon.idle().await;
    answer.reuse_info.reason.expect("a miss has a reason")
}

#[tokio::test]
async fn r2_a_repeated_hit_of_a_result_with_files_is_one_call() {
    let daemon = Daemon::start().await;
    daemon.done(TASK, FILE, json!({})).await;
    // The first one asks which files the result has.
    hit(&daemon).await;
    // Of the script, and of the transaction with the commands that read the task.
    for command in ["evalsha:", "exec:"] {
        let some = async |_| {
            for _ in 0..10 {
                hit(&daemon).await;
            }
        };
        // The daemon's own reads of queues and leases come in between now and then.
        assert_eq!(daemon.fewest_calls(command, some).await, 10, "{command}");
    }
}

#[tokio::test]
async fn r2_hits_that_are_asked_at_the_same_time_are_each_answered_counted_and_published() {
    const HITS: u64 = 200;
    let daemon = Daemon::start().await;
    daemon.done(TASK, FILE, json!({})).await;
    let file = hit(&daemon).await;
    let before = daemon.client.system().await.unwrap().seq;
    let answers = join_all((0..HITS).map(|_| hit(&daemon))).await;
    assert!(answers.iter().all(|answered| *answered == file));
    let seq = daemon.client.system().await.unwrap().seq;
    assert_eq!(seq - before, HITS, "one event for each");
    let stage = daemon.stage(TASK, FILE).await.expect("the stage is there");
    assert_eq!(stage.reuse_hits, HITS + 1);
}

#[tokio::test]
async fn s2_readers_at_the_same_time_each_see_what_they_have_done_before() {
    let daemon = Daemon::start().await;
    daemon.done(TASK, ECHO, json!({})).await;
    let hits_then_read = async || {
        daemon.submit(TASK, ECHO, json!({})).await;
        let answered = daemon.submit(TASK, ECHO, json!({})).await;
        let answered = answered.result.expect("a hit has a result").stages[&node_name(ECHO)].reuse_hits;
        let read = daemon.stage(TASK, ECHO).await.expect("the stage is there").reuse_hits;
        assert!(
            answered <= read,
            "{answered} hits were answered, and {read} are read after that"
        );
    };
    join_all((0..64).map(|_| hits_then_read())).await;
}

#[tokio::test]
async fn r8_a_file_that_goes_or_changes_between_two_hits_is_seen() {
    let daemon = Daemon::start().await;
    daemon.done(TASK, FILE, json!({})).await;
    hit(&daemon).await;
    fs::remove_file(hit(&daemon).await).unwrap();
    assert_eq!(miss(&daemon).await, "artifact_missing");
    hit(&daemon).await;
    fs::write(hit(&daemon).await, "other words").unwrap();
    assert_eq!(miss(&daemon).await, "artifact_changed");
    assert_eq!(hit(&daemon).await, hit(&daemon).await);
}

#[tokio::test]
async fn r8_a_result_that_another_daemon_replaces_is_not_hit_any_more() {
    let server = RedisServer::start(&[]).await;
    let [first, second] = [
        Daemon::builder().redis(&server.url(0)).start().await,
        Daemon::builder().redis(&server.url(0)).start().await,
    ];
    first.done(TASK, FILE, json!({})).await;
    hit(&first).await;
    // The files of the former result are there, and then they are not.
    for are_removed in [false, true] {
        let before = hit(&first).await;
        let forced = second
            .try_submit(TASK, FILE, json!({}), None, ReuseMode::Never)
            .await
            .expect("the submit is accepted");
        let run = forced.reuse_info.run_id;
        let is_done = |stage: &StageView| stage.status == StageState::Success && stage.run_id == run;
        let rerun = eventually("the rerun", || async { second.stage(TASK, FILE).await.filter(is_done) }).await;
        if are_removed {
            let _ = fs::remove_file(&before);
        }
        let now = file_of(&rerun);
        assert_ne!(now, before);
        assert_eq!([hit(&first).await, hit(&first).await], [now.clone(), now]);
    }
}

#[tokio::test]
async fn r3_a_rerun_that_begins_between_two_hits_is_joined() {
    let daemon = Daemon::start().await;
    let input = json!({"until": "go"});
    daemon.release("go");
    daemon.done(TASK, "test.wait", input.clone()).await;
    for _ in 0..2 {
        let answer = daemon.submit(TASK, "test.wait", input.clone()).await;
        assert!(answer.result.is_some(), "{answer:?}");
    }
    let forced = daemon
        .try_submit(TASK, "test.wait", json!({"until": "again"}), None, ReuseMode::Never)
        .await
        .expect("the submit is accepted");
    let answer = daemon.submit(TASK, "test.wait", input).await;
    assert!(answer.result.is_none() && answer.reuse_info.run_id == forced.reuse_info.run_id);
    daemon.release("again");
    daemon.until(TASK, "test.wait", StageState::Success).await;
}

/// How many subscribe to a channel of the database.
async fn count_listeners(daemon: &Daemon, channel: &str) -> u64 {
    let mut redis = daemon.redis().await;
    let mut question = redis::cmd("PUBSUB");
    question.arg("NUMSUB").arg(format!("onceover:0:{channel}"));
    let (_, count): (String, u64) = question.query_async(&mut redis).await.unwrap();
    count
}

#[tokio::test]
async fn s6_a_hit_reaches_those_who_follow_events_and_wakes_no_daemon() {
    let server = RedisServer::start(&[]).await;
    let daemon = Daemon::builder().redis(&server.url(0)).start().await;
    daemon.done(TASK, ECHO, json!({})).await;
    until_equal("the daemon listens", 1, || count_listeners(&daemon, "wake")).await;
    let mut wakes = Channel::open_wakes(&server.url(0), 0).await;
    for _ in 0..3 {
        daemon.submit(TASK, ECHO, json!({})).await;
    }
    assert_eq!(count_listeners(&daemon, "events").await, 0);

    let mut stream = Sse::open(&daemon, None).await;
    let before = daemon.client.system().await.unwrap().seq;
    let count_followers = || count_listeners(&daemon, "events");
    until_equal("the daemon listens for its reader", 1, count_followers).await;
    daemon.submit(TASK, ECHO, json!({})).await;
    let message = stream.next().await;
    let event: Event = serde_json::from_str(&message.data).unwrap();
    assert_eq!((event.seq, event.kind), (before + 1, EventKind::Hit));

    daemon.submit("t2", ECHO, json!({})).await;
    let woken: Event = serde_json::from_str(&wakes.next().await).unwrap();
    assert_eq!((woken.seq, woken.kind), (before + 2, EventKind::Queued));
    drop(stream);
    until_equal("the daemon listens no more", 0, count_followers).await;
}
