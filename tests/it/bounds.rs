//! What one request may add to Redis, and what becomes of what is damaged there.

use std::process::Stdio;

use onceover_tests::{Daemon, eventually, hooks::Hook};
use onceover_types::StageState;
use redis::AsyncCommands;
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";
const CALLS: &str = "[callbacks]\nallow = ['127.0.0.0/8']\nschedule = ['0s']";

async fn redis_answers<T: redis::FromRedisValue>(daemon: &Daemon, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command
        .query_async(&mut daemon.redis().await)
        .await
        .expect("Redis answers")
}

fn body(task: &str, node: &str, input: Value) -> Value {
    json!({"task_id": task, "task_name": node, "input_data": input})
}

fn asking(task: &str, node: &str, input: Value, callback: &str) -> Value {
    let mut body = body(task, node, input);
    body["callback"] = callback.into();
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c3_callbacks_of_one_run_are_limited_and_all_of_them_told_though_the_daemon_is_killed() {
    let mut daemon = Daemon::builder()
        .config(&format!(
            "{CALLS}\nmax_per_run = 1000\n[runs]\nlease = '1s'\nheartbeat = '200ms'"
        ))
        .start()
        .await;
    let hook = Hook::start(|_, _| 200.into()).await;
    let submits = |range: std::ops::Range<usize>| {
        let submits: Vec<_> = range
            .map(|at| asking("t1", WAIT, json!({"until": "go"}), &hook.url(&format!("/{at}"))))
            .collect();
        json!({ "tasks": submits })
    };
    daemon.post("/v1/tasks/batch", submits(0..1000)).await;
    let one_more = asking("t1", WAIT, json!({"until": "go"}), &hook.url("/more"));
    let answer = daemon.post("/v1/tasks", one_more).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (409, "too-many-callbacks"),
        "{answer:?}"
    );
    assert!(
        answer.json()["detail"]
            .as_str()
            .unwrap()
            .contains("callbacks.max_per_run")
    );
    assert_eq!(daemon.times_reached("callbacks_of_run").await, 1);
    // Who asked before joins, and so does who asks for no callback.
    let again = asking("t1", WAIT, json!({"until": "go"}), &hook.url("/7"));
    assert_eq!(daemon.post("/v1/tasks", again).await.status, 200);
    assert_eq!(daemon.post("/v1/tasks", body("t1", WAIT, json!({}))).await.status, 200);
    daemon.release("go");
    daemon.until("t1", WAIT, StageState::Success).await;
    daemon.kill();
    daemon.launch().await;
    let told = eventually("every callback", || async {
        let mut paths: Vec<_> = hook.received().into_iter().map(|one| one.path).collect();
        paths.sort();
        paths.dedup();
        (paths.len() >= 1000).then_some(paths)
    })
    .await;
    assert_eq!(told.len(), 1000);
    daemon.delivered().await;
    let left: Vec<_> = daemon.keys().await;
    let is_of_run = |key: &&String| {
        ["onceover:callbacks:", "onceover:telling", "onceover:end:"]
            .iter()
            .any(|start| key.starts_with(start))
    };
    assert_eq!(left.iter().find(is_of_run), None);
}

#[tokio::test]
async fn o4_an_input_that_is_too_large_is_refused_with_the_field() {
    let daemon = Daemon::builder()
        .config("[inputs]\nmax_json = 100000\nmax_task = 150000")
        .start()
        .await;
    let large = || json!({"value": "x".repeat(100_000)});
    let answer = daemon.post("/v1/tasks", body("t1", ECHO, large())).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (413, "too-large"),
        "{answer:?}"
    );
    assert_eq!(answer.fields(), ["input_data"]);
    let batch = json!({"tasks": [body("t1", ECHO, large()), body("t2", ECHO, json!({}))]});
    let results = daemon.post("/v1/tasks/batch", batch).await.json()["results"].clone();
    assert_eq!(results[0]["status"], 413, "{results}");
    assert_eq!(results[1]["status"], 200, "{results}");
    let half = || json!({"text": "x".repeat(90_000), "output": {"value": 1}});
    assert_eq!(daemon.post("/v1/tasks", body("t3", ECHO, half())).await.status, 200);
    let answer = daemon.post("/v1/tasks", body("t3", "test.fields", half())).await;
    assert_eq!(
        (answer.status, answer.fields()),
        (413, vec!["input_data".to_owned()]),
        "{answer:?}"
    );
    assert!(answer.json()["detail"].as_str().unwrap().contains("inputs.max_task"));
    assert_eq!(daemon.get("/v1/tasks/t1").await.status, 404);
    assert_eq!(daemon.times_reached("input").await, 2);
    assert_eq!(daemon.times_reached("task_input").await, 1);
}

#[tokio::test]
async fn an_input_is_kept_twice_however_many_are_told_of_it() {
    let daemon = Daemon::builder().config(CALLS).start().await;
    let hook = Hook::start(|_, _| 500.into()).await;
    let before = daemon.redis_memory().await;
    let input = json!({"text": "x".repeat(3_000_000), "output": {"value": 1}});
    for task in ["t1", "t2", "t3"] {
        for path in ["/a", "/b"] {
            let answer = daemon
                .post("/v1/tasks", asking(task, ECHO, input.clone(), &hook.url(path)))
                .await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        daemon.until(task, ECHO, StageState::Success).await;
    }
    let told = hook.wait_for(6).await;
    daemon.delivered().await;
    let body = told[0].body.clone();
    assert_eq!(
        body["result"]["input_params"]["text"].as_str().unwrap().len(),
        3_000_000
    );
    let grown = eventually("what was sent to be freed", || async {
        let grown = daemon.redis_memory().await.saturating_sub(before);
        (grown < 9_000_000 * 5 / 2).then_some(grown)
    })
    .await;
    assert!(grown >= 9_000_000, "{grown}");
    // The task shows it, and a repeated callback is the same (C1), also when the stage has run with another input.
    let view = daemon.get("/v1/tasks/t1").await.json();
    assert_eq!(
        view["input_params"]["input_data"]["text"].as_str().unwrap().len(),
        3_000_000
    );
    let other = json!({"task_id": "t1", "task_name": ECHO, "input_data": {"value": 2}, "reuse": "never"});
    daemon.post("/v1/tasks", other).await;
    eventually("the other run", || async {
        let stage = daemon.stage("t1", ECHO).await?;
        (stage.status == StageState::Success && stage.output.get().contains('2')).then_some(())
    })
    .await;
    let listed = daemon.get("/v1/callbacks?task_id=t1").await.json();
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    daemon.post(&format!("/v1/callbacks/{id}/redeliver"), json!({})).await;
    let again = hook.wait_for(7).await[6].body.clone();
    assert_eq!(
        again["result"]["input_params"]["text"].as_str().unwrap().len(),
        3_000_000
    );
    assert_eq!(again["result"]["output"], json!({"value": 1}));
}

#[tokio::test]
async fn redis_that_is_nearly_full_takes_nothing_new_and_lets_runs_end() {
    let daemon = Daemon::builder()
        .config("[runs]\nlease = '1s'\nheartbeat = '200ms'")
        .start()
        .await;
    daemon.done("done", ECHO, json!({})).await;
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    let _: u64 = redis_answers(&daemon, &["SETRANGE", "filler", "40000000", "x"]).await;
    let limit = (daemon.redis_memory().await * 100 / 94).to_string();
    let _: () = redis_answers(&daemon, &["CONFIG", "SET", "maxmemory", &limit]).await;
    let tries = std::sync::atomic::AtomicU32::new(0);
    // Another task each time: one that was taken before it was known would be a hit.
    let refused = eventually("a refusal", || async {
        let task = format!("t2-{}", tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let answer = daemon.post("/v1/tasks", body(&task, ECHO, json!({}))).await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(refused.problem(), "redis-full", "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("redis.max_memory"));
    // What needs no more room goes on.
    assert_eq!(
        daemon.post("/v1/tasks", body("done", ECHO, json!({}))).await.json()["status"],
        "completed"
    );
    daemon.release("go");
    daemon.until("t1", WAIT, StageState::Success).await;
    let _: () = redis_answers(&daemon, &["CONFIG", "SET", "maxmemory", "0"]).await;
    eventually("new work to be taken", || async {
        let answer = daemon.post("/v1/tasks", body("t3", ECHO, json!({}))).await;
        (answer.status == 200).then_some(())
    })
    .await;
    assert!(daemon.times_reached("redis_memory").await > 0);
}

#[tokio::test]
async fn r7_a_result_that_a_script_cannot_write_is_kept_and_written_once_it_can() {
    let daemon = Daemon::builder()
        .config("[runs]\nlease = '1s'\nheartbeat = '200ms'")
        .start()
        .await;
    daemon.submit("t1", WAIT, json!({"until": "go", "trace": "t1"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    // The script breaks in the middle of the end: this is no sorted set.
    let index = "onceover:tasks:status:completed";
    let _: () = redis_answers(&daemon, &["SET", index, "damaged"]).await;
    daemon.release("go");
    eventually("the error in the log", || async {
        daemon
            .logged()
            .contains("a result cannot be written; it is tried again")
            .then_some(())
    })
    .await;
    let _: u64 = redis_answers(&daemon, &["DEL", index]).await;
    eventually("the whole end", || async {
        let ttl: i64 = redis_answers(&daemon, &["TTL", &format!("onceover:stage:t1:{WAIT}")]).await;
        let view = daemon.get("/v1/tasks/t1").await.json();
        let listed = daemon.get("/v1/tasks?status=completed").await.json();
        let is_listed = listed["items"][0]["task_id"] == "t1" && listed["items"][0]["status"] == "completed";
        (ttl > 0 && view["status"] == "completed" && is_listed).then_some(())
    })
    .await;
    daemon.idle().await;
    assert_eq!(daemon.traces("t1"), 1);
}

/// The version before kept them in the record, as `<how> <host>` by `cb:<url>`; its runs end under this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c3_callbacks_that_the_former_version_kept_in_the_record_are_told_once() {
    let daemon = Daemon::builder().config(CALLS).start().await;
    let hook = Hook::start(|_, _| 200.into()).await;
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    let host = hook
        .url("")
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let key = format!("onceover:stage:t1:{WAIT}");
    for (path, how) in [("/first", "started"), ("/second", "joined")] {
        let field = format!("cb:{}", hook.url(path));
        let _: u64 = redis_answers(&daemon, &["HSET", &key, &field, &format!("{how} {host}")]).await;
    }
    // Who asks again under this version is the same one.
    let again = asking("t1", WAIT, json!({"until": "go"}), &hook.url("/second"));
    assert_eq!(daemon.post("/v1/tasks", again).await.status, 200);
    daemon.release("go");
    daemon.until("t1", WAIT, StageState::Success).await;
    hook.wait_for(2).await;
    daemon.delivered().await;
    let mut told: Vec<_> = hook.received().into_iter().map(|one| one.path).collect();
    told.sort();
    assert_eq!(told, ["/first", "/second"]);
    let left: Vec<String> = daemon.redis().await.hkeys(&key).await.unwrap();
    assert!(!left.iter().any(|field| field.starts_with("cb:")), "{left:?}");
}

#[tokio::test]
async fn what_is_damaged_is_shown_as_that_and_mended_or_set_aside() {
    let daemon = Daemon::start().await;
    for task in ["good", "stage", "kind", "task"] {
        daemon.done(task, ECHO, json!({})).await;
    }
    let mut redis = daemon.redis().await;
    let nonsense = "\u{1}nonsense{";
    for key in [format!("onceover:stage:stage:{ECHO}"), "onceover:task:task".to_owned()] {
        let fields: Vec<String> = redis.hkeys(&key).await.unwrap();
        for field in fields {
            let _: () = redis.hset(&key, field, nonsense).await.unwrap();
        }
    }
    let kind = format!("onceover:stage:kind:{ECHO}");
    let _: () = redis.del(&kind).await.unwrap();
    let _: () = redis.set(&kind, nonsense).await.unwrap();
    let list = daemon.get("/v1/tasks").await.json();
    let damaged = |list: &Value, task: &str| {
        let items = list["items"].as_array().expect("a list");
        let item = items
            .iter()
            .find(|item| item["task_id"] == task)
            .expect("the task is listed")
            .clone();
        item["damaged"].is_string() || item["stages"][ECHO]["damaged"].is_string()
    };
    let seen = ["good", "stage", "kind", "task"].map(|task| damaged(&list, task));
    assert_eq!(seen, [false, true, true, true], "{list}");
    for task in ["stage", "kind"] {
        let view = daemon.get(&format!("/v1/tasks/{task}")).await;
        assert_eq!(view.status, 200, "{view:?}");
        assert!(view.json()["stages"][ECHO]["damaged"].is_string(), "{view:?}");
        let answer = daemon.post("/v1/tasks", body(task, ECHO, json!({}))).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (409, "damaged-record"),
            "{answer:?}"
        );
        let why = daemon.get(&format!("/v1/tasks/{task}/stages/{ECHO}/reuse")).await;
        assert!(why.status < 500, "{why:?}");
    }
    assert_eq!(
        daemon.post("/v1/tasks", body("task", ECHO, json!({}))).await.status,
        200
    );

    let output = daemon
        .command()
        .args(["check", "--repair"])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("onceover:damaged:"),
        "{output:?}"
    );
    let list = daemon.get("/v1/tasks").await.json();
    assert!(!list.to_string().contains("\"damaged\""), "{list}");
    for task in ["good", "stage", "kind", "task"] {
        assert_eq!(
            daemon.post("/v1/tasks", body(task, ECHO, json!({}))).await.status,
            200,
            "{task}"
        );
        daemon.until(task, ECHO, StageState::Success).await;
    }
}
