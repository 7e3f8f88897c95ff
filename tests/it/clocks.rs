//! Clocks that are set (9): nothing is due later than the longest wait of its schedule, and nothing that goes on ends early.
//!
//! All times in Redis are by its clock, so a clock that is set back by two hours is the same as all times moved forward by
//! two hours: that is what these tests do.

use onceover_tests::{
    Daemon, DaemonBuilder, RedisServer, S3Server, eventually,
    hooks::{Hook, call},
    until_equal,
};
use onceover_types::{CallbackStatus, StageState};
use onceover_wire::client::CallbackQuery;
use redis::{AsyncCommands, aio::MultiplexedConnection};
use serde_json::json;

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";
const TWO_HOURS: i64 = 2 * 3600 * 1000;

fn builder(schedule: &str) -> DaemonBuilder {
    Daemon::builder().config(&format!(
        "[callbacks]\nallow = ['127.0.0.0/8']\nschedule = {schedule}\ntimeout = '5s'"
    ))
}

/// Moves every time that something is due at, as if the clock had been set the other way.
async fn shift(redis: &mut MultiplexedConnection, by: i64) {
    let keys: Vec<String> = redis.keys("onceover:*").await.unwrap();
    let due = |key: &str| {
        [
            "onceover:outbox",
            "onceover:outbox:hosts",
            "onceover:watches",
            "onceover:awaited",
            "onceover:foreign",
        ]
        .contains(&key)
            || ["onceover:outbox:host:", "onceover:held:", "onceover:uploads:"]
                .iter()
                .any(|prefix| key.starts_with(prefix))
    };
    let mut all = redis::pipe();
    all.atomic();
    for key in keys.iter().filter(|key| due(key)) {
        let kind: String = redis::cmd("TYPE").arg(key).query_async(redis).await.unwrap();
        if kind != "zset" {
            continue;
        }
        let members: Vec<String> = redis.zrange(key, 0, -1).await.unwrap();
        for member in members {
            all.zincr(key, member, by).ignore();
        }
    }
    for field in ["at", "since"] {
        all.hincr("onceover:reaper", field, by).ignore();
    }
    for key in keys.iter().filter(|key| key.starts_with("onceover:outbox:breaker:")) {
        let fields: Vec<String> = redis.hkeys(key).await.unwrap();
        for field in fields
            .iter()
            .filter(|field| ["until", "served"].contains(&field.as_str()))
        {
            all.hincr(key, field, by).ignore();
        }
    }
    all.exec_async(redis).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_waits_no_longer_than_its_schedule_whichever_way_the_clock_is_set() {
    for by in [TWO_HOURS, -TWO_HOURS] {
        let daemon = builder("['0s', '30m']").start().await;
        let hook = Hook::start(|count, _| if count == 1 { 500.into() } else { 200.into() }).await;
        daemon.done("t1", ECHO, json!({})).await;
        call(&daemon, "t1", hook.url("/")).await;
        let query = CallbackQuery::default();
        eventually("a first try", || async {
            let items = daemon.client.callbacks(&query).await.ok()?.items;
            (items.first()?.attempts == 1).then_some(())
        })
        .await;
        shift(&mut daemon.redis().await, by).await;
        // Something wakes the outbox, as something does every half a minute.
        call(&daemon, "t1", hook.url("/other")).await;
        daemon.delivered().await;
        let items = daemon.client.callbacks(&query).await.unwrap().items;
        assert!(items.iter().all(|one| one.state == CallbackStatus::Sent), "{items:?}");
        assert_eq!(hook.received().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stage_of_another_worker_is_looked_at_again_whichever_way_the_clock_is_set() {
    let daemon = builder("['0s']").start().await;
    let hook = Hook::start(|_, _| 200.into()).await;
    let mut redis = daemon.redis().await;
    // Only the checks show its end.
    let mut off = redis::cmd("CONFIG");
    let off = off.arg("SET").arg("notify-keyspace-events").arg("");
    off.query_async::<()>(&mut redis).await.unwrap();
    for (task, by) in [("back", TWO_HOURS), ("forward", -TWO_HOURS)] {
        let json = |status: &str| {
            let stage =
                json!({"status": status, "input_params": {}, "output": {"value": 1}, "error": null, "duration": 1.0});
            json!({"workflow_id": task, "stages": {ECHO: stage}}).to_string()
        };
        let key = format!("{task}:node:{ECHO}");
        let _: () = redis.set_ex(&key, json("IN_PROGRESS"), 86_400).await.unwrap();
        call(&daemon, task, hook.url(&format!("/{task}"))).await;
        shift(&mut redis, by).await;
        let _: () = redis.set_ex(&key, json("SUCCESS"), 86_400).await.unwrap();
        eventually("its callback", || async {
            let came = hook.received();
            came.iter().any(|one| one.path.ends_with(task)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_is_tried_again_in_its_time_whichever_way_the_clock_is_set() {
    let mut s3 = S3Server::start().await;
    s3.stop().await;
    let mut builder = Daemon::builder().config(&s3.config());
    for (name, value) in s3.keys() {
        builder = builder.env(name, value);
    }
    let daemon = builder.start().await;
    daemon.done("t1", "test.file", json!({})).await;
    eventually("a try", || async {
        daemon.logged().contains("files are not at the store yet").then_some(())
    })
    .await;
    let mut redis = daemon.redis().await;
    shift(&mut redis, -TWO_HOURS).await;
    shift(&mut redis, 2 * TWO_HOURS).await;
    s3.resume().await;
    eventually("its files at the store", || async {
        let stage = daemon.stage("t1", "test.file").await?;
        stage.output.get().contains("_minio_url").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_over_in_its_time_and_not_before_whichever_way_the_clock_is_set() {
    let server = RedisServer::start(&[]).await;
    let mut first = builder("['0s']").redis(&server.url(0)).start().await;
    first.submit("lives", WAIT, json!({"until": "go"})).await;
    first.until("lives", WAIT, StageState::Running).await;
    let mut redis = server.connect().await;
    for by in [TWO_HOURS, -TWO_HOURS] {
        shift(&mut redis, by).await;
        // Renewed within a heartbeat, so that the lease is as usual again.
        until_equal("a lease of a second", true, || async {
            let mut redis = redis.clone();
            let held: Vec<(String, f64)> = redis.zrange_withscores("onceover:held:cpu", 0, -1).await.unwrap();
            let held_io: Vec<(String, f64)> = redis.zrange_withscores("onceover:held:io", 0, -1).await.unwrap();
            let now: (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.unwrap();
            let mut all = held.iter().chain(&held_io);
            all.all(|(_, lease)| (lease - now.0 as f64 * 1000.0).abs() < 5000.0)
        })
        .await;
        assert_eq!(first.stage("lives", WAIT).await.unwrap().attempt, 1);
    }
    // The lease of a dead daemon ends, though it was given by a clock that was two hours ahead.
    let second = builder("['0s']").redis(&server.url(0)).start().await;
    first.kill();
    shift(&mut redis, TWO_HOURS).await;
    eventually("another attempt", || async {
        let stage = second.stage("lives", WAIT).await?;
        (stage.attempt == 2 && stage.status == StageState::Running).then_some(())
    })
    .await;
}
