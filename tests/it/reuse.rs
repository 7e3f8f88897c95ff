//! Reuse: R1 to R8.

use std::{collections::HashMap, fs};

use futures_util::future::join_all;
use onceover_tests::{
    Daemon,
    callbacks::Receiver,
    daemon::{node_name, request, task_id},
};
use onceover_types::StageState;
use onceover_wire::{DeletionStatus, ReuseMode, StageView, SubmitResponse};
use redis::AsyncCommands;
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

async fn submit(daemon: &Daemon, task: &str, node: &str, input: Value, mode: ReuseMode) -> SubmitResponse {
    let answer = daemon.try_submit(task, node, input, None, mode).await;
    answer.expect("the submit is accepted")
}

fn output(stage: &StageView) -> Value {
    serde_json::from_str(stage.output.get()).expect("JSON")
}

fn reason(answer: &SubmitResponse) -> &str {
    assert!(!answer.reuse_info.reuse_hit, "{answer:?}");
    assert!(
        answer.result.is_none() && answer.reuse_info.run_id.is_some(),
        "{answer:?}"
    );
    answer.reuse_info.reason.as_deref().expect("a miss has a reason")
}

#[tokio::test]
async fn r2_a_finished_stage_answers_at_once_with_its_result_and_nothing_runs() {
    let daemon = Daemon::start().await;
    let input = json!({"value": 7, "trace": "a"});
    let done = daemon.done("t1", ECHO, input.clone()).await;
    daemon.done("t1", "test.file", json!({})).await;

    let body = json!({"task_name": ECHO, "task_id": "t1", "input_data": input});
    let answer = daemon.post("/v1/tasks", body).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(
        (&answer["status"], &answer["task_id"]),
        (&json!("completed"), &json!("t1"))
    );
    assert_eq!(
        answer["reuse_info"],
        json!({"reuse_hit": true, "task_name": ECHO, "source": "redis", "cached_at": done.ended_at,
            "input_changed": false, "saved_seconds": done.duration})
    );
    let result = &answer["result"];
    let fields: Vec<_> = result.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        [
            "task_name",
            "status",
            "input_params",
            "output",
            "error",
            "duration",
            "workflow_id",
            "create_at",
            "shared_storage_path",
            "minio_files",
            "task_status",
            "stages",
        ]
    );
    assert_eq!(
        (&result["workflow_id"], &result["status"], &result["task_status"]),
        (&json!("t1"), &json!("SUCCESS"), &json!("completed"))
    );
    assert_eq!(
        (&result["task_name"], &result["output"], &result["input_params"]),
        (&json!(ECHO), &json!({"value": 7}), &input)
    );
    let stage = &result["stages"][ECHO];
    assert_eq!(
        (&stage["status"], &stage["output"]),
        (&json!("SUCCESS"), &json!({"value": 7}))
    );
    assert_eq!(stage["input_params"], input);
    assert_eq!(
        result["stages"]["test.file"]["status"], "SUCCESS",
        "every stage is in the view"
    );

    daemon.idle().await;
    assert_eq!(daemon.traces("a"), 1);
    let after = daemon.stage("t1", ECHO).await.unwrap();
    assert_eq!(after.run_id, done.run_id);
    assert_eq!((after.reuse_hits, after.ended_at), (1, done.ended_at));
}

#[tokio::test]
async fn r3_a_stage_in_flight_is_joined_and_not_touched() {
    let daemon = Daemon::start().await;
    // One gpu slot: the first runs, the second waits.
    for (task, state) in [("running", StageState::Running), ("pending", StageState::Pending)] {
        let input = json!({"until": "go", "trace": task});
        let first = daemon.submit(task, WAIT, input.clone()).await;
        let before = daemon.until(task, WAIT, state).await;
        let body = json!({"task_name": WAIT, "task_id": task, "input_data": input});
        for body in [
            body.clone(),
            json!({"reuse": "never", "task_name": WAIT, "task_id": task, "input_data": {"until": "x"}}),
        ] {
            let answer = daemon.post("/v1/tasks", body).await;
            assert_eq!(answer.status, 200);
            let answer = answer.json();
            assert_eq!(answer["status"], "pending");
            assert_eq!(
                answer["reuse_info"],
                json!({"reuse_hit": true, "task_name": WAIT, "source": "redis", "cached_at": null, "state": "pending", "stage_status": state,
                    "run_id": first.reuse_info.run_id})
            );
            assert!(answer.get("result").is_none());
        }
        let after = daemon.stage(task, WAIT).await.unwrap();
        assert_eq!(after.status, state);
        assert_eq!(after.run_id, before.run_id);
        assert_eq!(after.started_at, before.started_at);
        assert_eq!(after.queued_at, before.queued_at);
        assert_eq!((after.attempt, after.joins), (before.attempt, 2));
        assert_eq!(after.input_params.get(), before.input_params.get());
    }
    daemon.release("go");
    for task in ["running", "pending"] {
        daemon.until(task, WAIT, StageState::Success).await;
    }
    daemon.idle().await;
    assert_eq!((daemon.traces("running"), daemon.traces("pending")), (1, 1));
    assert!(daemon.times_reached("runs_at_once").await > 0);
}

#[tokio::test]
async fn r4_absent_failed_and_cancelled_stages_run_and_say_why() {
    let daemon = Daemon::start().await;
    let answer = daemon.submit("t1", "test.fail", json!({"trace": "f"})).await;
    assert_eq!(reason(&answer), "absent");
    daemon.until("t1", "test.fail", StageState::Failed).await;
    let answer = daemon.submit("t1", "test.fail", json!({"trace": "f"})).await;
    assert_eq!(reason(&answer), "failed");
    assert_eq!(answer.reuse_info.task_name, "test.fail");
    daemon.idle().await;
    assert_eq!(daemon.traces("f"), 2);

    daemon.submit("t1", WAIT, json!({"until": "never"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    daemon
        .client
        .cancel_stage(&task_id("t1"), &node_name(WAIT))
        .await
        .unwrap();
    daemon.release("go");
    let answer = daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    assert_eq!(reason(&answer), "cancelled");
    let stage = daemon.until("t1", WAIT, StageState::Success).await;
    assert_eq!(stage.reason.as_deref(), Some("cancelled"));
}

#[tokio::test]
async fn r4_an_empty_output_runs_again() {
    let daemon = Daemon::start().await;
    // With declared fields one of those must be filled; without them the object must not be empty.
    for (task, node, empty, full) in [
        (
            "fields",
            "test.fields",
            json!({"value": "", "other": 1}),
            json!({"value": 0}),
        ),
        ("null", "test.fields", json!({"value": null}), json!({"value": [0]})),
        ("object", ECHO, json!({}), json!({"any": null})),
    ] {
        let empty = json!({"output": empty, "trace": task});
        daemon.done(task, node, empty.clone()).await;
        let answer = submit(&daemon, task, node, empty, ReuseMode::Auto).await;
        assert_eq!(reason(&answer), "empty_output", "{task}");
        daemon.idle().await;
        let answer = submit(
            &daemon,
            task,
            node,
            json!({"output": full, "trace": task}),
            ReuseMode::Auto,
        )
        .await;
        assert_eq!(reason(&answer), "empty_output", "{task}");
        daemon.idle().await;
        let answer = submit(&daemon, task, node, json!({"output": full}), ReuseMode::Auto).await;
        assert!(answer.reuse_info.reuse_hit, "{task}");
        assert_eq!(daemon.traces(task), 3, "{task}");
    }
}

#[tokio::test]
async fn r8_strict_needs_the_same_input_and_auto_says_that_it_changed() {
    let daemon = Daemon::start().await;
    daemon.done("t1", ECHO, json!({"value": 1, "none": null})).await;
    let same = json!({"value": 1.0});
    let answer = submit(&daemon, "t1", ECHO, same, ReuseMode::Strict).await;
    assert_eq!(answer.reuse_info.input_changed, Some(Some(false)));
    let answer = submit(&daemon, "t1", ECHO, json!({"value": 2}), ReuseMode::Auto).await;
    assert!(answer.reuse_info.reuse_hit);
    assert_eq!(answer.reuse_info.input_changed, Some(Some(true)));
    let result = answer.result.unwrap();
    assert_eq!(output(&result.stages[&node_name(ECHO)]), json!({"value": 1}));
    assert_eq!(
        result.input_params.get(),
        r#"{"value":1,"none":null}"#,
        "what the result was made from"
    );
    let view = daemon.client.task(&task_id("t1")).await.unwrap();
    assert_eq!(
        view.input_params.unwrap().input_data.get(),
        r#"{"value":2}"#,
        "the newest request"
    );

    let answer = submit(&daemon, "t1", ECHO, json!({"value": 2}), ReuseMode::Strict).await;
    assert_eq!(reason(&answer), "input_changed");
    daemon.idle().await;
    let stage = daemon.stage("t1", ECHO).await.unwrap();
    assert_eq!(output(&stage), json!({"value": 2}));
    let answer = submit(&daemon, "t1", ECHO, json!({"value": 2}), ReuseMode::Strict).await;
    assert_eq!(answer.reuse_info.input_changed, Some(Some(false)));
}

#[tokio::test]
async fn r8_a_hit_whose_files_are_gone_or_changed_is_a_miss() {
    let daemon = Daemon::start().await;
    let input = json!({"text": "some words", "trace": "f"});
    let file = |stage: &StageView| output(stage)["file"].as_str().expect("a path").to_owned();
    let first = file(&daemon.done("t1", "test.file", input.clone()).await);
    let answer = daemon.submit("t1", "test.file", input.clone()).await;
    assert!(answer.reuse_info.reuse_hit, "the file is there");

    fs::remove_file(&first).unwrap();
    let answer = daemon.submit("t1", "test.file", input.clone()).await;
    assert_eq!(reason(&answer), "artifact_missing");
    daemon.idle().await;
    let second = file(&daemon.stage("t1", "test.file").await.unwrap());
    assert_ne!(first, second, "each run has its own files");
    assert_eq!(fs::read_to_string(&second).unwrap(), "some words");

    fs::write(&second, "other words").unwrap();
    let answer = daemon.submit("t1", "test.file", input.clone()).await;
    assert_eq!(reason(&answer), "artifact_changed");
    daemon.idle().await;
    assert!(daemon.submit("t1", "test.file", input).await.reuse_info.reuse_hit);
    assert_eq!(daemon.traces("f"), 3);
}

#[tokio::test]
async fn r8_files_that_the_run_did_not_make_are_not_looked_at() {
    let daemon = Daemon::start().await;
    let outside = daemon.dir().join("input.mp4");
    fs::write(&outside, "a film").unwrap();
    let input = json!({"output": {"source": outside, "gone": "/nowhere/at/all"}});
    daemon.done("t1", ECHO, input.clone()).await;
    fs::remove_file(&outside).unwrap();
    assert!(daemon.submit("t1", ECHO, input).await.reuse_info.reuse_hit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_200_identical_submits_start_one_run() {
    let daemon = Daemon::start().await;
    let body = request(
        "t1",
        WAIT,
        json!({"until": "go", "trace": "one"}),
        None,
        ReuseMode::Auto,
    );
    let answers = join_all((0..200).map(|_| daemon.client.submit(&body))).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("accepted").reuse_info)
        .collect();
    assert_eq!(answers.iter().filter(|answer| !answer.reuse_hit).count(), 1);
    let run = &answers[0].run_id;
    assert!(run.is_some() && answers.iter().all(|answer| answer.run_id == *run));
    daemon.release("go");
    let stage = daemon.until("t1", WAIT, StageState::Success).await;
    assert_eq!((&stage.run_id, stage.joins), (run, 199));
    daemon.idle().await;
    assert_eq!(daemon.traces("one"), 1);

    // The same for a stage that must not be reused.
    let body = request(
        "t1",
        WAIT,
        json!({"until": "go2", "trace": "one"}),
        None,
        ReuseMode::Never,
    );
    let answers = join_all((0..50).map(|_| daemon.client.submit(&body))).await;
    let started = answers
        .iter()
        .filter(|answer| !answer.as_ref().expect("accepted").reuse_info.reuse_hit);
    assert_eq!(started.count(), 1);
    daemon.release("go2");
    daemon.idle().await;
    assert_eq!(daemon.traces("one"), 2);
}

#[tokio::test]
async fn r1_reuse_is_the_same_with_and_without_a_callback_for_every_node() {
    let daemon = Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.0/8']")
        .start()
        .await;
    let receiver = Receiver::start().await;
    for (task, first, second) in [("t1", None, Some("/a")), ("t2", Some("/b"), None), ("t3", None, None)] {
        for node in [ECHO, "test.fields", "test.file"] {
            let url = |path: Option<&str>| path.map(|path| receiver.url(path));
            let input = json!({"trace": format!("{task}.{node}")});
            let answer = daemon
                .try_submit(task, node, input.clone(), url(first), ReuseMode::Auto)
                .await;
            assert_eq!(reason(&answer.unwrap()), "absent");
            daemon.until(task, node, StageState::Success).await;
            let answer = daemon.try_submit(task, node, input, url(second), ReuseMode::Auto).await;
            assert!(answer.unwrap().reuse_info.reuse_hit, "{task} {node}");
            daemon.idle().await;
            assert_eq!(daemon.traces(&format!("{task}.{node}")), 1);
        }
    }
}

#[tokio::test]
async fn r8_a_forced_rerun_keeps_the_former_output_readable_until_it_succeeds() {
    let daemon = Daemon::start().await;
    daemon.release("go");
    let former = daemon.done("t1", WAIT, json!({"until": "go", "value": 1})).await;
    let answer = submit(
        &daemon,
        "t1",
        WAIT,
        json!({"until": "go2", "value": 2}),
        ReuseMode::Never,
    )
    .await;
    assert_eq!(reason(&answer), "forced");
    let run = answer.reuse_info.run_id;
    let during = daemon.until("t1", WAIT, StageState::Running).await;
    assert_eq!(output(&during), json!({"value": 1}));
    assert!(during.forced);
    let stored = daemon.projection("t1", WAIT).await;
    assert_eq!(stored["stages"][WAIT]["status"], "RUNNING");
    assert_eq!(stored["stages"][WAIT]["output"], json!({"value": 1}));
    let status = daemon.get("/v1/tasks/t1/status").await.json();
    assert_eq!(
        (&status["status"], &status["result"]["output"]),
        (&json!("running"), &json!({"value": 1}))
    );
    // Later submits join it, whatever they ask for.
    for mode in [ReuseMode::Auto, ReuseMode::Strict, ReuseMode::Never] {
        let joined = submit(&daemon, "t1", WAIT, json!({"until": "go", "value": 1}), mode).await;
        assert!(joined.reuse_info.reuse_hit);
        assert_eq!(joined.reuse_info.run_id, run);
    }
    daemon.release("go2");
    let after = daemon.until("t1", WAIT, StageState::Success).await;
    assert_eq!(output(&after), json!({"value": 2}));
    assert_eq!((after.run_id, after.last_attempt), (run, None));
    assert!(after.ended_at > former.ended_at);
    assert_eq!(
        daemon.projection("t1", WAIT).await["stages"][WAIT]["output"],
        json!({"value": 2})
    );
}

#[tokio::test]
async fn r8_a_forced_rerun_that_fails_or_is_cancelled_leaves_the_former_success() {
    let daemon = Daemon::start().await;
    daemon.release("go");
    let input = json!({"until": "go", "value": 1});
    let former = daemon.done("t1", WAIT, input.clone()).await;
    for ending in [StageState::Failed, StageState::Cancelled] {
        let other = json!({"until": "later", "value": 2, "fail": "no luck"});
        let answer = submit(&daemon, "t1", WAIT, other, ReuseMode::Never).await;
        let run = answer.reuse_info.run_id;
        daemon.until("t1", WAIT, StageState::Running).await;
        if ending == StageState::Failed {
            daemon.release("later");
        } else {
            daemon.client.cancel(&task_id("t1")).await.unwrap();
        }
        let after = daemon.until("t1", WAIT, StageState::Success).await;
        fs::remove_file(daemon.dir().join("later")).ok();
        assert_eq!(output(&after), json!({"value": 1}));
        assert_eq!(after.error, None);
        assert_eq!(after.duration, former.duration);
        assert_eq!(after.input_params.get(), former.input_params.get());
        assert_eq!(after.run_id, former.run_id);
        assert_eq!(after.ended_at, former.ended_at);
        let last = after.last_attempt.expect("it says what became of the attempt");
        assert_eq!((last.status, last.run_id), (ending, run));
        assert_eq!(
            last.error.as_deref(),
            (ending == StageState::Failed).then_some("no luck")
        );
        let stored = daemon.projection("t1", WAIT).await;
        assert_eq!(stored["stages"][WAIT]["status"], "SUCCESS");
        assert_eq!(stored["stages"][WAIT]["output"], json!({"value": 1}));
        daemon.idle().await;
        let hit = submit(&daemon, "t1", WAIT, input.clone(), ReuseMode::Strict).await;
        assert_eq!(hit.reuse_info.cached_at, Some(former.ended_at));
        assert_eq!(hit.reuse_info.input_changed, Some(Some(false)));
    }
}

#[tokio::test]
async fn r8_what_hits_saved_is_counted() {
    let daemon = Daemon::start().await;
    let before = daemon.client.system().await.unwrap().reuse;
    assert_eq!((before.hits, before.joins, before.misses), (0, 0, 0));
    let stage = daemon.done("t1", ECHO, json!({})).await;
    assert!(stage.duration > 0.0);
    for _ in 0..3 {
        let hit = daemon.submit("t1", ECHO, json!({})).await;
        assert_eq!(hit.reuse_info.saved_seconds, Some(stage.duration));
    }
    daemon.submit("t2", WAIT, json!({"until": "go"})).await;
    daemon.submit("t2", WAIT, json!({"until": "go"})).await;
    let after = daemon.client.system().await.unwrap().reuse;
    assert_eq!((after.hits, after.joins, after.misses), (3, 1, 2));
    assert!((after.saved_seconds - 3.0 * stage.duration).abs() < 0.0005, "{after:?}");
    let stage = daemon.stage("t1", ECHO).await.unwrap();
    assert_eq!(stage.reuse_hits, 3);
    assert!((stage.saved_seconds - 3.0 * stage.duration).abs() < 0.0005);
}

#[tokio::test]
async fn r6_writing_one_stage_leaves_the_others_alone() {
    let daemon = Daemon::start().await;
    daemon.done("t1", ECHO, json!({"value": "kept"})).await;
    let mut redis = daemon.redis().await;
    let keys = [format!("t1:node:{ECHO}"), format!("onceover:stage:t1:{ECHO}")];
    // Short expiries, which another stage's write must not lengthen.
    for key in &keys {
        let _: bool = redis.expire(key, 5000).await.unwrap();
    }
    let mut look = async || {
        let json: String = redis.get(&keys[0]).await.unwrap();
        let record: HashMap<String, String> = redis.hgetall(&keys[1]).await.unwrap();
        let mut times = Vec::new();
        for key in &keys {
            let time: i64 = redis.expire_time(key).await.unwrap();
            times.push(time);
        }
        (json, record, times)
    };
    let before = look().await;

    daemon.done("t1", "test.fields", json!({"value": 2})).await;
    assert_eq!(look().await, before, "another succeeded");
    daemon.submit("t1", "test.fail", json!({})).await;
    daemon.until("t1", "test.fail", StageState::Failed).await;
    assert_eq!(look().await, before, "another failed");
    assert!(daemon.submit("t1", "test.fields", json!({})).await.reuse_info.reuse_hit);
    assert_eq!(look().await, before, "another was a hit");
    daemon.submit("t1", WAIT, json!({"until": "never"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    daemon.client.cancel(&task_id("t1")).await.unwrap();
    daemon.idle().await;
    assert_eq!(look().await, before, "another was cancelled");
    submit(&daemon, "t1", "test.fields", json!({}), ReuseMode::Never).await;
    daemon.idle().await;
    assert_eq!(look().await, before, "another ran again");
}

const PATIENT: &str = "[runs]\nlease = '1s'\nheartbeat = '200ms'\ngrace = '20s'";

#[tokio::test]
async fn r7_a_cancelled_run_that_ends_late_changes_nothing() {
    let daemon = Daemon::builder().config(PATIENT).start().await;
    let late = json!({"until": "late", "deaf": true, "value": "late", "trace": "late"});
    daemon.submit("t1", WAIT, late.clone()).await;
    onceover_tests::eventually("the run", || async { (daemon.traces("late") == 1).then_some(()) }).await;
    daemon.client.cancel(&task_id("t1")).await.unwrap();
    let cancelled = daemon.stage("t1", WAIT).await.unwrap();
    assert_eq!(cancelled.status, StageState::Cancelled);
    assert!(!daemon.children().is_empty(), "it does not listen");
    let stored = daemon.projection("t1", WAIT).await;
    daemon.release("late");
    daemon.idle().await;
    assert!(daemon.children().is_empty());
    let after = daemon.stage("t1", WAIT).await.unwrap();
    assert_eq!((after.status, output(&after)), (StageState::Cancelled, json!({})));
    assert_eq!(after.summary(), cancelled.summary());
    assert_eq!(daemon.projection("t1", WAIT).await, stored);

    // Superseded: a newer run of the same stage is under way when the cancelled one ends.
    fs::remove_file(daemon.dir().join("late")).unwrap();
    daemon.submit("t1", WAIT, late).await;
    onceover_tests::eventually("the run", || async { (daemon.traces("late") == 2).then_some(()) }).await;
    daemon.client.cancel(&task_id("t1")).await.unwrap();
    let answer = daemon.submit("t1", WAIT, json!({"until": "new", "value": "new"})).await;
    assert_eq!(reason(&answer), "cancelled");
    daemon.release("late");
    let running = daemon.until("t1", WAIT, StageState::Running).await;
    assert_eq!(running.run_id, answer.reuse_info.run_id);
    assert_eq!(output(&running), json!({}));
    daemon.release("new");
    let after = daemon.until("t1", WAIT, StageState::Success).await;
    assert_eq!(output(&after), json!({"value": "new"}));
}

#[tokio::test]
async fn r7_a_deleted_tasks_run_changes_nothing() {
    let daemon = Daemon::builder().config(PATIENT).start().await;
    let before = daemon.keys().await;
    daemon
        .submit("t1", WAIT, json!({"until": "late", "deaf": true, "trace": "late"}))
        .await;
    onceover_tests::eventually("the run", || async { (daemon.traces("late") == 1).then_some(()) }).await;
    let id = task_id("t1");
    let delete = daemon.client.delete(&id, true);
    let ending = async {
        daemon.until("t1", WAIT, StageState::Cancelled).await;
        daemon.release("late");
    };
    let (report, ()) = tokio::join!(delete, ending);
    assert_eq!(report.unwrap().status, DeletionStatus::Success);
    daemon.idle().await;
    assert!(daemon.children().is_empty());
    assert!(daemon.stage("t1", WAIT).await.is_none());
    assert!(!daemon.data.join("share/workflows/t1").exists());
    let known = [
        "onceover:events",
        "onceover:order",
        "onceover:reaper",
        "onceover:seq",
        "onceover:stats",
    ];
    let mut keys = daemon.keys().await;
    keys.retain(|key| !before.contains(key) && !known.contains(&key.as_str()));
    assert_eq!(keys, Vec::<String>::new());
}
