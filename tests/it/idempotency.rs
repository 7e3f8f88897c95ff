//! `Idempotency-Key`: a submit without a task id that is sent again is the same task.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use onceover_tests::{Daemon, HttpAnswer, RedisServer};
use onceover_types::StageState;
use serde_json::{Value, json};

const ECHO: &str = "test.echo";

async fn send(daemon: &Daemon, keys: &[&[u8]], body: &Value) -> HttpAnswer {
    let mut request = reqwest::Client::new()
        .post(format!("{}/v1/tasks", daemon.url()))
        .json(body);
    for key in keys {
        request = request.header("Idempotency-Key", *key);
    }
    HttpAnswer::of(request.send().await.expect("the daemon answers")).await
}

fn task_of(answer: &HttpAnswer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["task_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_same_key_is_the_same_task_and_with_another_body_a_422() {
    let daemon = Daemon::start().await;
    let body = |value: u32| json!({"task_name": ECHO, "input_data": {"value": value, "trace": "runs"}});
    let first = send(&daemon, &[b"order-1"], &body(1)).await;
    let task = task_of(&first);
    daemon.until(&task, ECHO, StageState::Success).await;
    let second = send(&daemon, &[b"order-1"], &body(1)).await;
    assert_eq!(task_of(&second), task);
    assert_eq!(second.json()["status"], "completed", "a hit like any other");
    // Written otherwise, and the same.
    let same = json!({"input_data": {"trace": "runs", "value": 1.0, "x": null}, "task_name": ECHO});
    assert_eq!(task_of(&send(&daemon, &[b"order-1"], &same).await), task);

    let before = daemon.content().await;
    let mut forced = body(1);
    forced["reuse"] = json!("never");
    for other in [
        body(2),
        forced,
        json!({"task_name": "test.quick", "input_data": {"value": 1, "trace": "runs"}}),
    ] {
        let answer = send(&daemon, &[b"order-1"], &other).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (422, "idempotency-key-reused")
        );
        assert_eq!(answer.fields(), ["Idempotency-Key"]);
    }
    assert_eq!(daemon.content().await, before);
    // Another key, and none, are other tasks.
    assert_ne!(task_of(&send(&daemon, &[b"order-2"], &body(1)).await), task);
    assert_ne!(task_of(&send(&daemon, &[], &body(1)).await), task);
    daemon.idle().await;
    assert_eq!(daemon.traces("runs"), 3);
    // A day, and the key itself is not kept.
    let keys: Vec<_> = daemon
        .keys()
        .await
        .into_iter()
        .filter(|key| key.contains("idempotency"))
        .collect();
    assert_eq!(keys.len(), 2);
    let mut redis = daemon.redis().await;
    for key in keys {
        assert!(!key.contains("order"), "{key}");
        let ttl: i64 = redis::cmd("TTL").arg(&key).query_async(&mut redis).await.unwrap();
        assert!((86_000..=86_400).contains(&ttl), "{ttl}");
    }
}

#[tokio::test]
async fn a_forced_run_that_is_sent_again_with_its_key_is_not_forced_again() {
    let daemon = Daemon::start().await;
    let body = json!({"task_name": ECHO, "input_data": {"trace": "once"}, "reuse": "never"});
    let task = task_of(&send(&daemon, &[b"k"], &body).await);
    daemon.until(&task, ECHO, StageState::Success).await;
    let again = send(&daemon, &[b"k"], &body).await;
    assert_eq!(task_of(&again), task);
    assert_eq!(again.json()["reuse_info"]["reuse_hit"], true);
    assert_eq!(daemon.traces("once"), 1);
}

#[tokio::test]
async fn r5_a_key_is_one_task_through_however_many_daemons_at_once() {
    let redis = RedisServer::start(&[]).await;
    let (one, two) = tokio::join!(
        Daemon::builder().redis(&redis.url(0)).start(),
        Daemon::builder().redis(&redis.url(0)).start()
    );
    for round in 0..3 {
        let key = format!("key-{round}");
        let trace = format!("round-{round}");
        let body = json!({"task_name": ECHO, "input_data": {"trace": trace}});
        let daemons = [&one, &two];
        let keys = [key.as_bytes()];
        let asked = (0..20).map(|n| send(daemons[n % 2], &keys, &body));
        let tasks: BTreeSet<_> = join_all(asked).await.iter().map(task_of).collect();
        assert_eq!(tasks.len(), 1, "{tasks:?}");
        one.until(tasks.first().unwrap(), ECHO, StageState::Success).await;
        assert_eq!(one.traces(&trace) + two.traces(&trace), 1);
    }
}

#[tokio::test]
async fn a_request_that_was_refused_has_not_used_its_key_up() {
    let daemon = Daemon::start().await;
    let file = daemon.dir().join("later.txt");
    let body = json!({"task_name": "test.request", "input_data": {"path": file}});
    for _ in 0..2 {
        assert_eq!(send(&daemon, &[b"k"], &body).await.fields(), ["input_data.path"]);
    }
    assert!(daemon.keys().await.iter().all(|key| !key.contains("idempotency")));
    // Another request may have it.
    let other = json!({"task_name": ECHO, "input_data": {}});
    task_of(&send(&daemon, &[b"k"], &other).await);
}

#[tokio::test]
async fn o4_a_key_that_is_none_is_refused_and_with_a_task_id_it_means_nothing() {
    let daemon = Daemon::start().await;
    let body = json!({"task_name": ECHO, "input_data": {}});
    let long = [b'x'; 256];
    let wrong: [&[&[u8]]; 6] = [&[b""], &[b"a b"], &[b"\xc3\xa4"], &[b"a\tb"], &[&long], &[b"a", b"b"]];
    for keys in wrong {
        let answer = send(&daemon, keys, &body).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["Idempotency-Key".to_owned()]),
            "{keys:?}"
        );
    }
    task_of(&send(&daemon, &[&long[1..]], &body).await);
    for value in [1, 2] {
        let body = json!({"task_name": ECHO, "task_id": "t1", "input_data": {"value": value}});
        assert_eq!(task_of(&send(&daemon, &[b"k k"], &body).await), "t1");
    }
}
