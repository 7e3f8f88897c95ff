//! Stages that Python workers of an existing system write under a task (S5): the same on every view, live, without
//! import. The worker is a real one, with redis-py.

use std::time::{Duration, Instant};

use onceover_tests::{
    Daemon, PythonWorker, RedisServer,
    daemon::{node_name, task_id},
    events::Channel,
    eventually,
    screen::{Dashboard, row_with},
    until_equal,
};
use onceover_types::StageState;
use onceover_wire::{DeletionStatus, Event, EventKind, ReuseDecision, TaskItem, client::TaskQuery};
use redis::AsyncCommands;
use serde_json::json;

const ECHO: &str = "test.echo";
const AUDIO: &str = "ffmpeg.extract_audio";
const SPEECH: &str = "faster_whisper.transcribe_audio";
/// Of no catalog.
const CUSTOM: &str = "myservice.custom";
/// What a Redis needs for telling of keys.
const EVENTS_ON: [&str; 2] = ["--notify-keyspace-events", "E$gx"];

/// Stages and their states, by name.
type States = Vec<(String, String)>;

fn states(expected: &[(&str, &str)]) -> States {
    let mut states: States = expected
        .iter()
        .map(|(node, state)| ((*node).to_owned(), (*state).to_owned()))
        .collect();
    states.sort();
    states
}

async fn item(daemon: &Daemon, task: &str) -> Option<TaskItem> {
    let page = daemon.client.tasks(&TaskQuery::default()).await.expect("a list");
    page.items.into_iter().find(|item| item.task_id.as_str() == task)
}

/// The status and stages that the list has.
async fn listed(daemon: &Daemon, task: &str) -> Option<(String, States)> {
    let item = item(daemon, task).await?;
    let stages = item.stages.iter();
    let mut states: States = stages
        .map(|(node, stage)| (node.to_string(), stage.status.to_string()))
        .collect();
    states.sort();
    Some((item.status.to_string(), states))
}

/// The same of `GET /v1/tasks/{id}/status`; its task status is the whole task's.
async fn viewed(daemon: &Daemon, task: &str) -> Option<(String, States)> {
    let view = daemon.client.task(&task_id(task)).await.ok()?;
    let stages = view.stages.iter();
    let mut states: States = stages
        .map(|(node, stage)| (node.to_string(), stage.status.to_string()))
        .collect();
    states.sort();
    Some((view.status.to_string(), states))
}

/// The stages that `onceover tree` prints, of one task or of all.
async fn printed(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = onceover_tests::onceover_at(daemon)
        .arg("tree")
        .args(arguments)
        .output()
        .await
        .expect("onceover runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the rows of a tree say of a state.
fn word(state: &str) -> &'static str {
    match state {
        "PENDING" => "pending",
        "RUNNING" => "running",
        "SUCCESS" => "done",
        "FAILED" => "failed",
        other => panic!("{other}"),
    }
}

/// Whether a tree, printed or drawn, shows exactly these stages. A drawn one has a running stage's bar in the place of a
/// word.
fn shows(text: &str, expected: &States) -> bool {
    let row = |node: &str| text.lines().find(|line| line.contains(node));
    [ECHO, AUDIO, SPEECH, CUSTOM].iter().all(|node| {
        let state = expected.iter().find(|(name, _)| name == node);
        match (row(node), state) {
            (None, None) => true,
            (Some(row), Some((_, state))) => row.contains(word(state)) || state == "RUNNING" && !row.contains("done"),
            _ => false,
        }
    })
}

/// Waits until every view has these stages and this status; answers how long that took.
async fn agree(
    daemon: &Daemon,
    dashboard: &mut Dashboard,
    task: &str,
    status: &str,
    stages: &[(&str, &str)],
) -> Duration {
    let begun = Instant::now();
    let expected = states(stages);
    let whole = Some((status.to_owned(), expected.clone()));
    until_equal("the list", whole.clone(), || listed(daemon, task)).await;
    dashboard.until(|screen| shows(&screen.text(), &expected));
    let took = begun.elapsed();
    assert_eq!(viewed(daemon, task).await, whole);
    for arguments in [&[task][..], &[]] {
        let tree = printed(daemon, arguments).await;
        assert!(shows(&tree, &expected), "{expected:?} in {tree}");
    }
    took
}

/// A worker runs one stage to its end and has two in flight, one under the older spelling and one of no catalog.
async fn every_view_agrees(is_known: bool) {
    let daemon = Daemon::start().await;
    let own: &[(&str, &str)] = match is_known {
        true => &[(ECHO, "SUCCESS")],
        false => &[],
    };
    if is_known {
        daemon.done("film", ECHO, json!({})).await;
    }
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("live");
    let url = daemon.client.system().await.unwrap().redis.url;
    let mut worker = PythonWorker::start(&url);
    let with = |stages: &[(&'static str, &'static str)]| [own, stages].concat();
    let mut took = Vec::new();
    for (state, status) in [("PENDING", "pending"), ("RUNNING", "running"), ("SUCCESS", "completed")] {
        worker.write("film", AUDIO, state);
        took.push(agree(&daemon, &mut dashboard, "film", status, &with(&[(AUDIO, state)])).await);
    }
    worker.write_older("film", SPEECH, "RUNNING");
    let stages = with(&[(AUDIO, "SUCCESS"), (SPEECH, "RUNNING")]);
    took.push(agree(&daemon, &mut dashboard, "film", "running", &stages).await);
    worker.write("film", CUSTOM, "PENDING");
    let stages = with(&[(AUDIO, "SUCCESS"), (SPEECH, "RUNNING"), (CUSTOM, "PENDING")]);
    took.push(agree(&daemon, &mut dashboard, "film", "running", &stages).await);
    took.sort();
    assert!(took[took.len() / 2] < Duration::from_secs(1), "{took:?}");

    // Their nodes' list has the task, and the answer of one node is that node's.
    let query = TaskQuery {
        node: Some(CUSTOM.to_owned()),
        ..TaskQuery::default()
    };
    assert_eq!(daemon.client.tasks(&query).await.unwrap().items.len(), 1);
    let status = daemon
        .get(&format!("/v1/tasks/film/status?task_name={CUSTOM}"))
        .await
        .json();
    assert_eq!(status["stages"][CUSTOM]["runner"], "foreign");

    // Deleted as a whole: refused while something is in flight, then every key of it and nothing of any other.
    let others: Vec<_> = ["film2", "film.x", "x-film"]
        .iter()
        .flat_map(|task| {
            [
                worker.write(task, AUDIO, "RUNNING"),
                worker.write_older(task, SPEECH, "SUCCESS"),
            ]
        })
        .collect();
    worker.write_older("film", AUDIO, "SUCCESS");
    let refused = daemon.post("/v1/tasks/film/delete", json!({})).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains(SPEECH) && refused.text.contains(CUSTOM),
        "{}",
        refused.text
    );
    let report = daemon.client.delete(&task_id("film"), true).await.unwrap();
    assert_eq!(report.status, DeletionStatus::Success);
    dashboard.until(|screen| row_with(screen, CUSTOM).is_none());
    assert_eq!(daemon.get("/v1/tasks/film").await.status, 404);
    let keys = daemon.keys().await;
    let left: Vec<_> = keys
        .iter()
        .filter(|key| key.split([':', '|']).any(|part| part == "film"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(others.iter().all(|key| keys.contains(key)), "{keys:?}");
    for task in ["film2", "film.x", "x-film"] {
        until_equal(task, states(&[(AUDIO, "RUNNING"), (SPEECH, "SUCCESS")]), || async {
            listed(&daemon, task).await.unwrap_or_default().1
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s5_what_a_worker_writes_into_a_known_task_is_on_every_view_at_once() {
    every_view_agrees(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s5_what_a_worker_writes_into_an_unknown_task_is_on_every_view_at_once() {
    every_view_agrees(false).await;
}

#[tokio::test]
async fn s5_where_redis_does_not_tell_of_keys_a_read_brings_the_lists_in_step() {
    let server = RedisServer::start(&[]).await;
    let daemon = Daemon::builder().redis(&server.url(3)).start().await;
    let mut worker = PythonWorker::start(&server.url(3));
    worker.write("film", AUDIO, "SUCCESS");
    worker.write_older("film", SPEECH, "RUNNING");
    let both = states(&[(AUDIO, "SUCCESS"), (SPEECH, "RUNNING")]);
    let whole = Some(("running".to_owned(), both));
    assert_eq!(listed(&daemon, "film").await, None, "no notification was sent");
    assert_eq!(viewed(&daemon, "film").await, whole);
    until_equal("the list", whole, || listed(&daemon, "film")).await;
    // And on: what was noted has ended, and another is not there any more.
    worker.write_older("film", SPEECH, "FAILED");
    worker.write("gone", SPEECH, "RUNNING");
    viewed(&daemon, "gone").await.expect("it is there");
    eventually("noted", || listed(&daemon, "gone")).await;
    worker.remove("gone", SPEECH);
    let whole = Some(("failed".to_owned(), states(&[(AUDIO, "SUCCESS"), (SPEECH, "FAILED")])));
    assert_eq!(
        (viewed(&daemon, "film").await, viewed(&daemon, "gone").await),
        (whole.clone(), None)
    );
    until_equal("the list", whole, || listed(&daemon, "film")).await;
    until_equal("the list", None, || listed(&daemon, "gone")).await;

    let check = || {
        let output = daemon.command().arg("check").output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = check();
    assert!(said.contains("CONFIG SET notify-keyspace-events E$gx"), "{said}");
    eventually("a warning", || async {
        daemon
            .logged()
            .contains("does not tell what other workers write")
            .then_some(())
    })
    .await;
    // It was not turned on for anybody.
    let mut redis = daemon.redis().await;
    let setting = async |redis: &mut redis::aio::MultiplexedConnection, arguments: &[&str]| -> Vec<String> {
        redis::cmd("CONFIG")
            .arg(arguments)
            .query_async(redis)
            .await
            .expect("Redis answers")
    };
    assert_eq!(setting(&mut redis, &["GET", "notify-keyspace-events"]).await[1], "");
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "notify-keyspace-events", "Ex"])
        .query_async(&mut redis)
        .await
        .unwrap();
    let said = check();
    let advice = said.split("notify-keyspace-events ").nth(1).expect(&said);
    let wanted = advice.split(',').next().unwrap();
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "notify-keyspace-events", wanted])
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!(check().contains("keyspace events on"), "after {wanted}");
    worker.write("live", AUDIO, "RUNNING");
    eventually("it tells now", || listed(&daemon, "live")).await;
}

/// Events about one task until one is of this kind, as kinds.
async fn kinds_until(channel: &mut Channel, task: &str, last: EventKind) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    loop {
        let event: Event = serde_json::from_str(&channel.next().await).expect("an event");
        if event.task_id.as_str() == task {
            kinds.push(event.kind);
            if event.kind == last {
                return kinds;
            }
        }
    }
}

#[tokio::test]
async fn s6_two_daemons_publish_one_event_for_each_change_of_a_worker() {
    let server = RedisServer::start(&EVENTS_ON).await;
    let mut first = Daemon::builder().redis(&server.url(0)).start().await;
    let _second = Daemon::builder().redis(&server.url(0)).start().await;
    let mut channel = Channel::open(&server.url(0), 0).await;
    let mut worker = PythonWorker::start(&server.url(0));
    for (write, kind) in [
        (json!({"status": "PENDING"}), EventKind::Queued),
        (json!({"status": "RUNNING"}), EventKind::Started),
        (json!({"status": "RUNNING", "progress": 40.0}), EventKind::Progress),
        (json!({"status": "SUCCESS"}), EventKind::Succeeded),
        (json!({"status": "RUNNING"}), EventKind::Started),
        (json!({"status": "FAILED", "error": "no sound"}), EventKind::Failed),
        (json!({"status": null}), EventKind::Deleted),
    ] {
        worker.write_more("film", AUDIO, write.clone());
        let kinds = kinds_until(&mut channel, "film", kind).await;
        assert_eq!(kinds, [kind], "{write}");
    }
    // Each compares in order, so a remaining daemon has compared all of it once it reports something later.
    first.kill();
    worker.write("later", AUDIO, "RUNNING");
    loop {
        let event: Event = serde_json::from_str(&channel.next().await).expect("an event");
        assert_ne!(event.task_id.as_str(), "film", "{event:?}");
        if event.task_id.as_str() == "later" {
            break;
        }
    }
}

#[tokio::test]
async fn s5_what_a_worker_removes_is_forgotten_and_what_is_silent_for_two_hours_has_failed() {
    let daemon = Daemon::start().await;
    let url = daemon.client.system().await.unwrap().redis.url;
    let mut worker = PythonWorker::start(&url);
    daemon.done("film", ECHO, json!({})).await;
    let mut channel = Channel::open(&url, 0).await;
    worker.write("film", AUDIO, "SUCCESS");
    kinds_until(&mut channel, "film", EventKind::Succeeded).await;
    worker.write("film", SPEECH, "RUNNING");
    kinds_until(&mut channel, "film", EventKind::Started).await;
    for node in [AUDIO, SPEECH] {
        worker.remove("film", node);
        kinds_until(&mut channel, "film", EventKind::Removed).await;
    }
    let own = Some(("completed".to_owned(), states(&[(ECHO, "SUCCESS")])));
    assert_eq!(
        (listed(&daemon, "film").await, viewed(&daemon, "film").await),
        (own.clone(), own)
    );

    // A worker runs what we have done again: that shows, until it is silent for too long, and then ours stands again.
    worker.write_older("film", ECHO, "RUNNING");
    kinds_until(&mut channel, "film", EventKind::Started).await;
    let running = Some(("running".to_owned(), states(&[(ECHO, "RUNNING")])));
    assert_eq!(
        (listed(&daemon, "film").await, viewed(&daemon, "film").await),
        (running.clone(), running)
    );
    let silent = json!({"status": "RUNNING", "spelling": "older", "ttl": 86_400 - 7_201});
    worker.write_more("film", ECHO, silent.clone());
    kinds_until(&mut channel, "film", EventKind::Reaped).await;
    let own = Some(("completed".to_owned(), states(&[(ECHO, "SUCCESS")])));
    assert_eq!(
        (listed(&daemon, "film").await, viewed(&daemon, "film").await),
        (own.clone(), own)
    );
    assert!(daemon.submit("film", ECHO, json!({})).await.reuse_info.reuse_hit);

    // One that we have nothing of has failed; what comes after all counts.
    worker.write_more("lost", AUDIO, silent);
    kinds_until(&mut channel, "lost", EventKind::Failed).await;
    let failed = Some(("failed".to_owned(), states(&[(AUDIO, "FAILED")])));
    assert_eq!(
        (listed(&daemon, "lost").await, viewed(&daemon, "lost").await),
        (failed.clone(), failed)
    );
    let error = daemon.stage("lost", AUDIO).await.unwrap().error.unwrap();
    assert!(error.contains("not heard of"), "{error}");
    let explained = daemon
        .client
        .explain(&task_id("lost"), &node_name(AUDIO), None)
        .await
        .unwrap();
    assert_eq!(explained.reason, "lost");
    worker.write_older("lost", AUDIO, "completed");
    kinds_until(&mut channel, "lost", EventKind::Succeeded).await;
    let done = Some(("completed".to_owned(), states(&[(AUDIO, "SUCCESS")])));
    assert_eq!(
        (listed(&daemon, "lost").await, viewed(&daemon, "lost").await),
        (done.clone(), done)
    );
}

#[tokio::test]
async fn s5_what_happened_while_no_daemon_listened_is_found_at_the_start_or_on_a_read() {
    let server = RedisServer::start(&EVENTS_ON).await;
    let mut daemon = Daemon::builder().redis(&server.url(0)).start().await;
    let mut worker = PythonWorker::start(&server.url(0));
    for task in ["ends", "vanishes"] {
        worker.write(task, AUDIO, "RUNNING");
        eventually("noted", || listed(&daemon, task)).await;
    }
    daemon.kill();
    worker.write("ends", AUDIO, "SUCCESS");
    worker.remove("vanishes", AUDIO);
    worker.write("unheard", AUDIO, "SUCCESS");
    daemon.launch().await;
    let done = Some(("completed".to_owned(), states(&[(AUDIO, "SUCCESS")])));
    until_equal("what was in flight", done.clone(), || listed(&daemon, "ends")).await;
    until_equal("what was in flight", None, || listed(&daemon, "vanishes")).await;
    assert_eq!(listed(&daemon, "unheard").await, None);
    assert_eq!(viewed(&daemon, "unheard").await, done);
    until_equal("what was read", done, || listed(&daemon, "unheard")).await;
}

#[tokio::test]
async fn s5_a_worker_that_writes_without_end_costs_ten_events_a_second_and_its_last_word_counts() {
    let daemon = Daemon::start().await;
    let url = daemon.client.system().await.unwrap().redis.url;
    let mut worker = PythonWorker::start(&url);
    let mut channel = Channel::open(&url, 0).await;
    let mut redis = daemon.redis().await;
    // Nothing of these is a stage, and none is in the way of one.
    for (key, value) in [
        ("hot:node:test.fields", "{\"stages\": {\"test.fields\": "),
        ("hot:node:test.echo", "[1, 2]"),
        ("hot:session:token", "abc"),
        (
            "hot:node:test.fail",
            "{\"stages\": {\"test.fail\": {\"status\": \"ODD\"}}}",
        ),
    ] {
        let _: () = redis.set_ex(key, value, 86_400).await.unwrap();
    }
    let _: () = redis.lpush("hot:node:test.wait", "a list").await.unwrap();
    worker.write("hot", SPEECH, "RUNNING");
    let begun = Instant::now();
    let mut writes = 0;
    while writes < 100 || begun.elapsed() < Duration::from_millis(1500) {
        writes += 1;
        let progress = f64::from(writes % 100);
        worker.write_more("hot", SPEECH, json!({"status": "RUNNING", "progress": progress}));
    }
    let took = begun.elapsed();
    worker.write_more("hot", SPEECH, json!({"status": "RUNNING", "progress": 99.5}));
    let mut events = 0;
    loop {
        let event: Event = serde_json::from_str(&channel.next().await).expect("an event");
        events += 1;
        if event.stage.is_some_and(|stage| stage.progress == Some(99.5)) {
            break;
        }
    }
    let most = took.as_millis() / 100 + 3;
    assert!(events <= most, "{writes} writes, {events} events in {took:?}");
    let running = Some(("running".to_owned(), states(&[(SPEECH, "RUNNING")])));
    assert_eq!(
        (listed(&daemon, "hot").await, viewed(&daemon, "hot").await),
        (running.clone(), running)
    );
    assert!(!daemon.logged().contains("ERROR"), "{}", daemon.logged());
}

#[tokio::test]
async fn s5_what_can_be_done_with_another_workers_stage_is_said() {
    let daemon = Daemon::start().await;
    let url = daemon.client.system().await.unwrap().redis.url;
    let mut worker = PythonWorker::start(&url);
    worker.write("film", CUSTOM, "SUCCESS");
    worker.write("film", ECHO, "RUNNING");
    until_equal("noted", 2, || async {
        listed(&daemon, "film").await.unwrap_or_default().1.len()
    })
    .await;
    // It is joined, not cancelled, and not run again.
    let joined = daemon.submit("film", ECHO, json!({})).await.reuse_info;
    assert_eq!(
        (joined.reuse_hit, joined.stage_status),
        (true, Some(StageState::Running))
    );
    let refused = daemon.call("DELETE", "/v1/tasks/film", None).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text.contains("test.echo goes on with another worker"),
        "{}",
        refused.text
    );
    let explained = daemon
        .client
        .explain(&task_id("film"), &node_name(ECHO), None)
        .await
        .unwrap();
    assert_eq!(explained.decision, ReuseDecision::Join);
    let explained = daemon
        .client
        .explain(&task_id("film"), &node_name(CUSTOM), None)
        .await
        .unwrap();
    assert_eq!(
        (explained.decision, explained.reason.as_str()),
        (ReuseDecision::Refuse, "unknown_node")
    );
    // A hit beside them answers with all of them.
    daemon.done("film", "test.fields", json!({})).await;
    let hit = daemon.get("/v1/tasks/film/result?task_name=test.fields").await.json();
    assert_eq!(hit["stages"].as_object().unwrap().len(), 3);
    // A run of ours for which the worker is too late wins over what it notes.
    let item = item(&daemon, "film").await.unwrap();
    let summary = &item.stages[ECHO];
    assert_eq!(
        (summary.runner.as_deref(), summary.run_id.as_ref()),
        (Some("foreign"), None)
    );
    let view = daemon.stage("film", ECHO).await.unwrap();
    assert_eq!(view.summary(), *summary, "the view's and the list's");
}
