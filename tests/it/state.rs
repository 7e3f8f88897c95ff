//! State in Redis: S1 to S6.

use std::time::Duration;

use futures_util::StreamExt;
use onceover_tests::{
    Daemon, Proxy, RedisServer,
    daemon::{node_name, task_id},
    events::{Channel, Message, Sse},
    eventually,
    proxy::Mode,
    redis_calls::calls_of,
};
use onceover_types::StageState;
use onceover_wire::{DeletionStatus, Event, Heartbeat, ReuseMode, client::Feed};
use redis::AsyncCommands;
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

#[tokio::test]
async fn s1_each_stage_is_one_key_with_the_json_of_the_task_view_and_a_ttl() {
    let daemon = Daemon::start().await;
    let input = json!({"value": "字幕 \"q\" \u{1}", "token": "hush"});
    let stage = daemon.done("t1", ECHO, input.clone()).await;
    let mut redis = daemon.redis().await;
    let ttl: i64 = redis.ttl("t1:node:test.echo").await.unwrap();
    assert!((86_300..=86_400).contains(&ttl), "{ttl}");
    let json = daemon.projection("t1", ECHO).await;
    let shown = json!({"value": input["value"], "token": "***"});
    assert_eq!(json["workflow_id"], "t1");
    assert_eq!(json["task_id"], "t1");
    assert_eq!(json["status"], "completed");
    assert_eq!(json["error"], Value::Null);
    assert!(json["create_at"].is_string() && json["created_at"].is_string() && json["updated_at"].is_string());
    assert_eq!(
        json["shared_storage_path"],
        daemon.data.join("share/workflows/t1").display().to_string()
    );
    assert_eq!(
        json["input_params"],
        json!({"task_name": ECHO, "input_data": shown, "callback_url": null})
    );
    let stages = json["stages"].as_object().unwrap();
    assert_eq!(stages.keys().collect::<Vec<_>>(), [ECHO], "one node a key");
    let stored = &stages[ECHO];
    assert_eq!(stored["status"], "SUCCESS");
    assert_eq!(stored["input_params"], shown);
    assert_eq!(stored["output"], json!({"value": input["value"]}));
    assert_eq!(stored["error"], Value::Null);
    assert_eq!(stored["duration"], json!(stage.duration));
    // In flight and failed are written too.
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    let json = daemon.projection("t1", WAIT).await;
    assert_eq!(
        (&json["status"], &json["stages"][WAIT]["status"]),
        (&json!("running"), &json!("RUNNING"))
    );
    daemon.submit("t1", "test.fail", json!({"message": "oh \"no\""})).await;
    daemon.until("t1", "test.fail", StageState::Failed).await;
    let json = daemon.projection("t1", "test.fail").await;
    assert_eq!(json["stages"]["test.fail"]["error"], "oh \"no\"");
    // Nothing else is outside our own prefix.
    let outside: Vec<_> = daemon.keys().await;
    let outside: Vec<_> = outside.iter().filter(|key| !key.starts_with("onceover:")).collect();
    assert_eq!(outside, ["t1:node:test.echo", "t1:node:test.fail", "t1:node:test.wait"]);
}

#[tokio::test]
async fn s2_the_view_merges_every_stage_of_the_task() {
    let daemon = Daemon::start().await;
    daemon.done("t1", ECHO, json!({"value": 1})).await;
    daemon.submit("t1", "test.fail", json!({"message": "broken"})).await;
    daemon.until("t1", "test.fail", StageState::Failed).await;
    let view = daemon.client.task(&task_id("t1")).await.unwrap();
    assert_eq!(view.status.as_str(), "failed", "as the stage that ended last");
    assert!(view.error.unwrap().contains("broken"));
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    daemon.submit("other", ECHO, json!({})).await;
    let view = daemon.get("/v1/tasks/t1").await.json();
    let stages = view["stages"].as_object().unwrap();
    assert_eq!(stages.keys().collect::<Vec<_>>(), [ECHO, "test.fail", WAIT]);
    assert_eq!(view["status"], "running");
    assert_eq!(stages[ECHO]["output"], json!({"value": 1}));
    assert_eq!(stages["test.fail"]["status"], "FAILED");
    // Narrowed to one node; a node that is no stage of the task is not found.
    let status = daemon.get("/v1/tasks/t1/status?task_name=test.echo").await.json();
    assert_eq!(status["result"]["task_name"], ECHO);
    assert_eq!(status["result"]["output"], json!({"value": 1}));
    assert_eq!(
        (&status["task_name"], &status["output"]),
        (&json!(ECHO), &json!({"value": 1}))
    );
    assert_eq!(daemon.get("/v1/tasks/t1/status?task_name=test.file").await.status, 404);
    let result = daemon.get("/v1/tasks/t1/result").await.json();
    assert_eq!(result["result"]["task_name"], WAIT, "the newest request's node");
}

#[tokio::test]
async fn s3_a_task_without_a_task_name_is_refused_and_nothing_is_written() {
    let daemon = Daemon::start().await;
    let before = daemon.content().await;
    for body in [
        json!({"task_id": "t1", "input_data": {}}),
        json!({"task_id": "t1", "task_name": "", "input_data": {}}),
        json!({"task_id": "t1", "task_name": null, "input_data": {}}),
        json!({"task_id": "t1", "task_name": "test", "input_data": {}}),
        json!({"task_id": "t1", "task_name": "test.", "input_data": {}}),
        json!({"task_id": "t1", "task_name": "test.echo ", "input_data": {}}),
    ] {
        let answer = daemon.post("/v1/tasks", body.clone()).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["task_name".to_owned()]),
            "{body}"
        );
    }
    assert_eq!(daemon.content().await, before);
    assert!(!daemon.data.join("share/workflows/t1").exists());
}

#[tokio::test]
async fn s4_delete_removes_every_key_of_the_task_and_nothing_of_any_other() {
    let daemon = Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.0/8']")
        .start()
        .await;
    let ids = ["t1", "t", "t10", "t1.x", "t1-node", "T1", "x.t1", "t1_"];
    for id in ids {
        daemon.done(id, ECHO, json!({"value": id})).await;
    }
    let mut redis = daemon.redis().await;
    let foreign = |id: &str| {
        [
            format!("{id}:node:test.fields"),
            format!("{id}:test:fields"),
            format!("{id}:test:echo"),
        ]
    };
    for key in ids.iter().flat_map(|id| foreign(id)) {
        let _: () = redis.set_ex(key, "{\"stages\":{}}", 80_000).await.unwrap();
    }
    let (running, waiting) = (json!({"until": "never"}), json!({"until": "never"}));
    daemon.submit("t10", WAIT, running).await;
    daemon.submit("t1", WAIT, waiting).await;
    // A delivery that waits in the outbox.
    let nobody = Some("http://127.0.0.1:9/".to_owned());
    let hit = daemon.try_submit("t1", ECHO, json!({}), nobody, ReuseMode::Auto).await;
    assert!(hit.unwrap().reuse_info.reuse_hit);
    eventually("a try", || async {
        let keys: Vec<String> = daemon.redis().await.zrange("onceover:outbox", 0, -1).await.unwrap();
        (!keys.is_empty()).then_some(())
    })
    .await;

    let others = async || {
        let mut content = daemon.content().await;
        let shared = ["onceover:seq", "onceover:events", "onceover:stats"];
        content.retain(|(key, _)| {
            !shared.contains(&key.as_str()) && ids.iter().any(|id| *id != "t1" && mentions(key, id))
        });
        // What a run that goes on renews.
        content.retain(|(key, _)| key != "onceover:stage:t10:test.wait");
        content
    };
    let before = others().await;
    assert!(before.len() > 7 * 5);
    let report = daemon.client.delete(&task_id("t1"), true).await.unwrap();
    assert_eq!(report.status, DeletionStatus::Success);
    let kinds: Vec<_> = report.results.iter().map(|result| result.resource.as_str()).collect();
    assert_eq!(kinds, ["local_directory", "redis", "minio"]);
    assert_eq!(others().await, before);
    for id in ids.iter().filter(|id| **id != "t1") {
        assert!(daemon.stage(id, ECHO).await.is_some(), "{id}");
        assert!(daemon.data.join("share/workflows").join(id).is_dir(), "{id}");
    }
    assert!(!daemon.data.join("share/workflows/t1").exists());

    let keys = daemon.keys().await;
    let left: Vec<_> = keys.iter().filter(|key| mentions(key, "t1")).collect();
    assert!(left.is_empty(), "{left:?}");
    // Nor is it a member of an index, a queue or the outbox.
    for key in &keys {
        let kind: String = redis::cmd("TYPE").arg(key).query_async(&mut redis).await.unwrap();
        if kind == "zset" {
            let members: Vec<String> = redis.zrange(key, 0, -1).await.unwrap();
            let left: Vec<_> = members.iter().filter(|member| mentions(member, "t1")).collect();
            assert!(left.is_empty(), "{key}: {left:?}");
        }
    }
    let outbox: u64 = redis.zcard("onceover:outbox").await.unwrap();
    assert_eq!(outbox, 0);
    assert_eq!(daemon.get("/v1/tasks/t1").await.status, 404);
    assert_eq!(daemon.post("/v1/tasks/t1/delete", json!({})).await.status, 404);
    let answer = daemon.submit("t1", ECHO, json!({})).await;
    assert_eq!(answer.reuse_info.reason.as_deref(), Some("absent"));
}

/// Whether a key or a member of an index is about this task, and not about one whose id contains it.
fn mentions(text: &str, id: &str) -> bool {
    text.split([':', '|']).any(|part| part == id)
}

fn python(task: &str, node: &str, status: &str, output: Value, input: Value) -> String {
    json!({
        "workflow_id": task, "create_at": "2026-11-22T01:22:46.600303",
        "input_params": {"task_name": node, "input_data": input, "callback_url": null},
        "shared_storage_path": format!("/share/workflows/{task}"),
        "stages": {node: {"status": status, "input_params": {}, "output": output,
            "error": if status == "FAILED" { json!("it broke") } else { Value::Null }, "duration": 12.5}},
        "error": null, "status": "pending", "celery_task_id": "7bd1254a",
    })
    .to_string()
}

#[tokio::test]
async fn s5_a_finished_stage_of_a_python_worker_is_a_hit_under_both_spellings() {
    let daemon = Daemon::start().await;
    let mut redis = daemon.redis().await;
    for (task, key, status) in [
        ("new", "new:node:test.fields", "SUCCESS"),
        ("old", "old:test:fields", "completed"),
    ] {
        let json = python(
            task,
            "test.fields",
            status,
            json!({"value": "foreign"}),
            json!({"a": 1}),
        );
        let _: () = redis.set_ex(key, &json, 80_000).await.unwrap();
        let seen = daemon
            .stage(task, "test.fields")
            .await
            .expect("it is shown before anybody asked for it");
        assert_eq!(seen.status, StageState::Success);
        assert_eq!(seen.output.get(), r#"{"value":"foreign"}"#);
        assert_eq!(seen.input_params.get(), r#"{"a":1}"#);
        let answer = daemon.submit(task, "test.fields", json!({"trace": task})).await;
        assert!(answer.reuse_info.reuse_hit, "{answer:?}");
        assert_eq!(answer.reuse_info.saved_seconds, Some(12.5));
        let ended = answer.reuse_info.cached_at.flatten().expect("when it was written");
        let age = onceover_types::Timestamp::now().seconds_since(ended);
        assert!((6399.0..6500.0).contains(&age), "{age}");
        let result = answer.result.unwrap();
        assert_eq!(result.output.get(), r#"{"value":"foreign"}"#);
        let stored: String = redis.get(key).await.unwrap();
        assert_eq!(stored, json, "a hit does not rewrite it");
        let ttl: i64 = redis.ttl(key).await.unwrap();
        assert!(ttl <= 80_000);
        daemon.idle().await;
        assert_eq!(daemon.traces(task), 0);
        // Deleted with the task.
        daemon.client.delete(&task_id(task), false).await.unwrap();
        let exists: bool = redis.exists(key).await.unwrap();
        assert!(!exists);
    }
}

#[tokio::test]
async fn s5_a_python_workers_stage_in_flight_is_joined_until_it_counts_as_lost() {
    let daemon = Daemon::start().await;
    let mut redis = daemon.redis().await;
    for (task, key) in [("new", "new:node:test.echo"), ("old", "old:test:echo")] {
        for status in ["pending", "IN_PROGRESS", "RUNNING"] {
            let json = python(task, ECHO, status, json!({}), json!({}));
            let _: () = redis.set_ex(key, &json, 86_400 - 7000).await.unwrap();
            let answer = daemon.submit(task, ECHO, json!({"trace": task})).await;
            assert!(answer.reuse_info.reuse_hit, "{status}");
            assert_eq!(answer.reuse_info.state.as_deref(), Some("pending"));
            daemon.idle().await;
            assert_eq!(daemon.traces(task), 0);
            let stored: String = redis.get(key).await.unwrap();
            assert_eq!(stored, json);
        }
        let _: bool = redis.expire(key, 86_400 - 7201).await.unwrap();
        let answer = daemon.submit(task, ECHO, json!({"trace": task, "value": "ours"})).await;
        assert_eq!(answer.reuse_info.reason.as_deref(), Some("lost"));
        let stage = daemon.until(task, ECHO, StageState::Success).await;
        assert_eq!(stage.output.get(), r#"{"value":"ours"}"#);
        assert!(daemon.submit(task, ECHO, json!({})).await.reuse_info.reuse_hit);
        daemon.idle().await;
        assert_eq!(daemon.traces(task), 1);
    }
}

#[tokio::test]
async fn s5_a_python_workers_failure_or_empty_result_runs_and_a_broken_json_stands_in_nobodys_way() {
    let daemon = Daemon::start().await;
    let mut redis = daemon.redis().await;
    let cases = [
        (
            "failed",
            python("failed", "test.fields", "FAILED", json!({}), json!({})),
            "failed",
        ),
        (
            "empty",
            python("empty", "test.fields", "SUCCESS", json!({"value": null}), json!({})),
            "empty_output",
        ),
        ("broken", "{\"stages\": ".to_owned(), "lost"),
        ("strange", "[1, 2]".to_owned(), "lost"),
    ];
    for (task, json, reason) in cases {
        // Under both spellings, and not the same.
        let _: () = redis
            .set_ex(format!("{task}:node:test.fields"), &json, 80_000)
            .await
            .unwrap();
        let _: () = redis
            .set_ex(format!("{task}:test:fields"), format!("{json} "), 80_000)
            .await
            .unwrap();
        let answer = daemon
            .submit(task, "test.fields", json!({"output": {"value": "ours"}}))
            .await;
        // The reason of a JSON nobody can read is not promised.
        if !matches!(task, "broken" | "strange") {
            assert_eq!(answer.reuse_info.reason.as_deref(), Some(reason), "{task}");
        }
        let stage = daemon.until(task, "test.fields", StageState::Success).await;
        assert_eq!(stage.output.get(), r#"{"value":"ours"}"#, "{task}");
        assert!(
            daemon.submit(task, "test.fields", json!({})).await.reuse_info.reuse_hit,
            "{task}"
        );
    }
}

#[tokio::test]
async fn s5_a_later_run_of_ours_wins_over_the_older_spelling() {
    let daemon = Daemon::start().await;
    let mut redis = daemon.redis().await;
    for spellings in [&["old:test:echo"][..], &["both:node:test.echo", "both:test:echo"][..]] {
        let task = spellings[0].split(':').next().unwrap();
        for (n, key) in spellings.iter().enumerate() {
            let json = python(
                task,
                ECHO,
                "SUCCESS",
                json!({"value": format!("foreign {n}")}),
                json!({}),
            );
            let _: () = redis.set_ex(*key, json, 80_000).await.unwrap();
        }
        let hit = daemon.submit(task, ECHO, json!({})).await;
        assert_eq!(hit.result.expect("a hit").output.get(), r#"{"value":"foreign 0"}"#);
        assert_eq!(
            daemon.stage(task, ECHO).await.unwrap().output.get(),
            r#"{"value":"foreign 0"}"#
        );
        let input = json!({"value": "ours"});
        let answer = daemon
            .try_submit(task, ECHO, input, None, ReuseMode::Never)
            .await
            .unwrap();
        assert_eq!(answer.reuse_info.reason.as_deref(), Some("forced"));
        daemon.idle().await;
        for _ in 0..2 {
            assert_eq!(
                daemon.stage(task, ECHO).await.unwrap().output.get(),
                r#"{"value":"ours"}"#
            );
            let hit = daemon.submit(task, ECHO, json!({})).await;
            assert_eq!(hit.result.expect("a hit").output.get(), r#"{"value":"ours"}"#);
        }
        // Written by a worker after ours: that one is newer.
        let json = python(task, ECHO, "SUCCESS", json!({"value": "newer"}), json!({}));
        let _: () = redis.set_ex(format!("{task}:test:echo"), json, 86_400).await.unwrap();
        let hit = daemon.submit(task, ECHO, json!({})).await;
        assert_eq!(hit.result.expect("a hit").output.get(), r#"{"value":"newer"}"#);
    }
}

#[tokio::test]
async fn s5_nothing_is_scanned() {
    let redis = RedisServer::start(&["--rename-command", "KEYS", "", "--rename-command", "SCAN", ""]).await;
    let daemon = Daemon::builder().redis(&redis.url(3)).start().await;
    daemon.done("t1", ECHO, json!({"value": 1})).await;
    assert!(daemon.submit("t1", ECHO, json!({})).await.reuse_info.reuse_hit);
    assert_eq!(daemon.get("/v1/tasks/t1/status").await.status, 200);
    assert_eq!(daemon.get("/v1/tasks/t1/result").await.status, 200);
    let list = daemon.get("/v1/tasks?search=t1").await.json();
    assert_eq!(list["items"][0]["task_id"], "t1");
    daemon.submit("t1", WAIT, json!({"until": "never"})).await;
    daemon
        .client
        .cancel_stage(&task_id("t1"), &node_name(WAIT))
        .await
        .unwrap();
    assert_eq!(
        daemon.client.delete(&task_id("t1"), false).await.unwrap().status,
        DeletionStatus::Success
    );
    assert_eq!(daemon.get("/v1/tasks/t1").await.status, 404);
    let mut connection = daemon.redis().await;
    let refused: redis::RedisResult<Vec<String>> = connection.keys("*").await;
    assert!(refused.is_err(), "the server refuses KEYS");
    let mut calls: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut connection)
        .await
        .unwrap();
    calls.make_ascii_lowercase();
    for command in ["cmdstat_scan", "cmdstat_keys", "cmdstat_hscan", "cmdstat_sscan"] {
        assert!(!calls.contains(command), "{calls}");
    }
}

#[tokio::test]
async fn s5_reading_costs_the_tasks_own_stages_not_the_keyspace() {
    let daemon = Daemon::start().await;
    daemon.done("t1", ECHO, json!({})).await;
    let mut redis = daemon.redis().await;
    // Of what scripts call; the daemon's own heartbeats and reads of queues are left out.
    let commands = async |redis: &mut redis::aio::MultiplexedConnection| {
        calls_of(redis, |name| name.starts_with("mget") || name.starts_with("hgetall")).await
    };
    // The fewest of some tries: the first read of a task has to learn which stages it has.
    let mut cost = async || {
        let mut fewest = u64::MAX;
        for _ in 0..5 {
            let before = commands(&mut redis).await;
            assert_eq!(daemon.get("/v1/tasks/t1/status").await.status, 200);
            fewest = fewest.min(commands(&mut redis).await - before);
        }
        fewest
    };
    let small = cost().await;
    for thousand in 0..20 {
        let mut filler = redis::pipe();
        for n in 0..1000 {
            filler
                .set(format!("x{}:node:test.echo", thousand * 1000 + n), "{}")
                .ignore();
        }
        let _: () = filler.query_async(&mut daemon.redis().await).await.unwrap();
    }
    assert_eq!(cost().await, small);
    assert!(small > 0 && small < 10, "{small}");
}

#[tokio::test]
async fn s6_every_change_is_published_with_consecutive_numbers_the_same_on_redis_and_http() {
    let server = RedisServer::start(&[]).await;
    let daemon = Daemon::builder().redis(&server.url(3)).start().await;
    daemon.done("before", ECHO, json!({})).await;
    let mut channel = Channel::open(&server.url(3), 3).await;
    let mut sse = Sse::open(&daemon, None).await;
    let first = daemon.client.system().await.unwrap();
    assert_eq!(first.events_channel, "onceover:3:events");

    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.release("go");
    daemon.until("t1", WAIT, StageState::Success).await;
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon
        .submit("t1", "test.fail", json!({"message": "字幕".repeat(2000)}))
        .await;
    daemon.until("t1", "test.fail", StageState::Failed).await;
    daemon.submit("t2", WAIT, json!({"until": "never"})).await;
    daemon.until("t2", WAIT, StageState::Running).await;
    daemon.client.cancel(&task_id("t2")).await.unwrap();
    daemon.idle().await;
    daemon.client.delete(&task_id("t1"), false).await.unwrap();

    let last = daemon.client.system().await.unwrap().seq;
    let (mut kinds, mut seq, mut seen) = (Vec::new(), first.seq, Vec::<Message>::new());
    while seq < last {
        let published = channel.next().await;
        let event: Event = serde_json::from_str(&published).unwrap();
        assert_eq!((event.v, event.seq), (1, seq + 1));
        let message = sse.next().await;
        assert_eq!((message.id, message.event.as_str()), (event.seq, "change"));
        assert_eq!(message.data, published, "the same JSON");
        if let Some(stage) = &event.stage {
            let raw: Value = serde_json::from_str(&published).unwrap();
            let summary = raw["stage"].to_string();
            assert!(summary.len() <= 1024, "{} bytes: {summary}", summary.len());
            if stage.status == StageState::Failed {
                assert!(stage.error.as_deref().unwrap().starts_with("字幕字幕"));
            }
        }
        let kind = serde_json::to_value(event.kind).unwrap();
        kinds.push(format!("{} {}", event.task_id, kind.as_str().unwrap()));
        seq = event.seq;
        seen.push(message);
    }
    kinds.retain(|kind| !kind.ends_with("progress"));
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "t1 queued",
            "t1 started",
            "t1 joined",
            "t1 succeeded",
            "t1 hit",
            "t1 queued",
            "t1 started",
            "t1 failed",
            "t2 queued",
            "t2 started",
            "t2 cancelled",
            "t1 deleted"
        ]
    );
    // Resumed in the middle: exactly what came after.
    let middle = seen.len() / 2;
    let mut resumed = Sse::open(&daemon, Some(seen[middle].id)).await;
    for message in &seen[middle + 1..] {
        assert_eq!(&resumed.next().await, message);
    }
    daemon.submit("t3", ECHO, json!({})).await;
    assert_eq!(resumed.next().await.id, last + 1, "and goes on live");
    let answer = daemon.get("/v1/events?last_event_id=x").await;
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec!["last_event_id".to_owned()])
    );
}

#[tokio::test]
async fn s6_a_stream_says_that_the_daemon_lives_and_whether_redis_answers_to_those_who_ask_for_it() {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::unix(&server.url(0)).await;
    let daemon = Daemon::builder().redis(proxy.url()).start().await;
    let every = Some(Duration::from_millis(200));
    let stream = daemon.client.events(None, every).await.expect("a stream");
    let mut stream = std::pin::pin!(stream);
    let mut next_heartbeat = async || {
        loop {
            match stream.next().await.expect("it goes on").expect("it can be read") {
                Feed::Heartbeat(heartbeat) => return heartbeat,
                Feed::Event(_) | Feed::Reset(_) => {}
            }
        }
    };
    let lives = Heartbeat {
        redis_up: true,
        error: None,
    };
    assert_eq!(next_heartbeat().await, lives);
    assert_eq!(next_heartbeat().await, lives, "and again");
    proxy.mode(Mode::Refuse);
    let why = loop {
        let heartbeat = next_heartbeat().await;
        if !heartbeat.redis_up {
            break heartbeat.error;
        }
    };
    assert!(why.is_some_and(|why| !why.is_empty()));
    proxy.mode(Mode::Pass);
    while next_heartbeat().await != lives {}
    for bad in ["0", "199", "60001", "x"] {
        let answer = daemon.get(&format!("/v1/events?heartbeat_ms={bad}")).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["heartbeat_ms".to_owned()]),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn s6_a_reader_that_is_too_far_behind_is_told_to_read_again() {
    let daemon = Daemon::builder().config("[retention]\nevents = 20").start().await;
    daemon.done("t1", ECHO, json!({})).await;
    let length = async || {
        let length: u64 = daemon.redis().await.xlen("onceover:events").await.unwrap();
        length
    };
    // Redis drops the oldest in blocks.
    let mut before = 0;
    while length().await >= before {
        before = length().await;
        assert!(before < 500, "never trimmed");
        for _ in 0..20 {
            daemon.submit("t1", ECHO, json!({})).await;
        }
    }
    let seq = daemon.client.system().await.unwrap().seq;
    for last in [1, seq + 1000] {
        let mut sse = Sse::open(&daemon, Some(last)).await;
        let message = sse.next().await;
        assert_eq!((message.event.as_str(), message.id), ("reset", seq), "after {last}");
        if last != 1 {
            daemon.submit("t1", ECHO, json!({})).await;
            let message = sse.next().await;
            assert_eq!((message.event.as_str(), message.id), ("change", seq + 1));
        }
    }
    let mut sse = Sse::open(&daemon, Some(seq)).await;
    assert_eq!(sse.next().await.id, seq + 1, "what is still there is sent");
    assert_eq!(daemon.times_reached("kept_events").await, 2);
}

#[tokio::test]
async fn s6_an_event_is_short_whatever_a_node_says() {
    let daemon = Daemon::start().await;
    let mut channel = Channel::open(&daemon.client.system().await.unwrap().redis.url, 0).await;
    let texts = [
        "字".repeat(5000),
        "\u{1}".repeat(5000),
        "\"\\".repeat(3000),
        "é\u{1f600}".repeat(900),
    ];
    for (n, text) in texts.iter().enumerate() {
        daemon
            .submit(&"x".repeat(100 + n), "test.fail", json!({"message": text}))
            .await;
        loop {
            let event = channel.next().await;
            let value: Value = serde_json::from_str(&event).unwrap();
            let size = value["stage"].to_string().len();
            assert!(size <= 1024, "{size} bytes");
            if value["kind"] == "failed" {
                assert!(value["stage"]["error"].as_str().unwrap().ends_with('…'));
                break;
            }
        }
        let stage = daemon.stage(&"x".repeat(100 + n), "test.fail").await.unwrap();
        assert_eq!(stage.error.as_deref(), Some(text.as_str()), "the stage has it whole");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s4_deletes_among_submits_leave_whole_tasks_or_nothing() {
    let daemon = Daemon::builder().config("[slots]\nio = 8").start().await;
    let id = task_id("t1");
    for round in 0..30 {
        let submits = async {
            for n in 0..4 {
                let input = json!({"message": format!("{round} {n}")});
                daemon.submit("t1", "test.fail", input.clone()).await;
                daemon.submit("t1", "test.garbage", input).await;
            }
        };
        let deletes = async {
            for _ in 0..3 {
                let _ = daemon.client.delete(&id, true).await;
            }
        };
        tokio::join!(submits, deletes);
        let last = daemon.client.delete(&id, true).await;
        assert!(last.is_ok() || last.unwrap_err().status() == Some(404));
        daemon.idle().await;
        assert!(
            !daemon.data.join("share/workflows/t1").exists(),
            "round {round}: files grew back"
        );
        let keys = daemon.keys().await;
        let left: Vec<_> = keys.iter().filter(|key| mentions(key, "t1")).collect();
        assert!(left.is_empty(), "round {round}: {left:?}");
        assert!(daemon.children().is_empty());
    }
}
