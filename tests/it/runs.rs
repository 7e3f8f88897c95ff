//! The executor: cancel, time limits, failures, slots, progress, logs, inputs, folders.

use std::fs;

use futures_util::{StreamExt, TryStreamExt};
use onceover_tests::{
    Daemon,
    daemon::{node_name, task_id},
    events::Sse,
    eventually, until_equal,
};
use onceover_types::StageState;
use onceover_wire::{Event, EventKind, ReuseMode, client::LogQuery};
use redis::AsyncCommands;
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

async fn forks(daemon: &Daemon, task: &str) {
    daemon.submit(task, "test.forks", json!({"trace": task})).await;
    until_equal("begun", 1, || async { daemon.traces(task) }).await;
    // The program, its child, and the one that was forked twice into a separate session.
    until_equal("processes", 3, || async { daemon.children().len() }).await;
}

#[tokio::test]
async fn cancel_ends_every_process_of_the_run_whatever_it_forked() {
    let daemon = Daemon::start().await;
    forks(&daemon, "t1").await;
    let answer = daemon.call("DELETE", "/v1/tasks/t1", None).await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(
        (&answer["status"], &answer["task_id"]),
        (&json!("cancelled"), &json!("t1"))
    );
    assert_eq!(answer["cancelled"], json!(["test.forks"]));
    assert_eq!(
        daemon.stage("t1", "test.forks").await.unwrap().status,
        StageState::Cancelled
    );
    until_equal("processes", Vec::<i32>::new(), || async { daemon.children() }).await;
    daemon.idle().await;
    let again = daemon.call("DELETE", "/v1/tasks/t1", None).await;
    assert_eq!(again.status, 400, "nothing is in flight any more");
    assert_eq!(daemon.get("/v1/tasks/t1/status").await.json()["status"], "cancelled");
}

#[tokio::test]
async fn cancel_takes_a_waiting_run_from_its_queue_and_only_the_named_stage() {
    let daemon = Daemon::start().await;
    daemon.submit("t0", WAIT, json!({"until": "go"})).await;
    daemon.until("t0", WAIT, StageState::Running).await;
    daemon.submit("t1", WAIT, json!({"until": "go", "trace": "t1"})).await;
    daemon.submit("t1", "test.told", json!({})).await;
    daemon.until("t1", "test.told", StageState::Running).await;
    daemon
        .client
        .cancel_stage(&task_id("t1"), &node_name(WAIT))
        .await
        .unwrap();
    let stage = daemon.stage("t1", WAIT).await.unwrap();
    assert_eq!((stage.status, stage.started_at), (StageState::Cancelled, None));
    assert_eq!(
        daemon.stage("t1", "test.told").await.unwrap().status,
        StageState::Running
    );
    daemon.release("go");
    daemon.until("t0", WAIT, StageState::Success).await;
    daemon.client.cancel(&task_id("t1")).await.unwrap();
    daemon.idle().await;
    assert_eq!(daemon.traces("t1"), 0, "it never ran");
    assert!(daemon.children().is_empty());
}

#[tokio::test]
async fn a_run_that_takes_too_long_fails_and_says_its_limit() {
    let daemon = Daemon::start().await;
    daemon.submit("t1", "test.slow", json!({})).await;
    let stage = daemon.until_ended("t1", "test.slow").await;
    assert_eq!(stage.status, StageState::Failed);
    assert!(stage.error.as_deref().unwrap().contains("limit of 1 s"), "{stage:?}");
    assert!(
        daemon.children().is_empty(),
        "its processes end before that is reported"
    );
    daemon.idle().await;
}

#[tokio::test]
async fn a_node_that_fails_tells_why_in_the_stage_the_task_and_the_log() {
    let daemon = Daemon::start().await;
    daemon
        .submit("t1", "test.fail", json!({"message": "no model \"x\" 字"}))
        .await;
    let stage = daemon.until_ended("t1", "test.fail").await;
    assert_eq!(
        (stage.status, stage.error.as_deref()),
        (StageState::Failed, Some("no model \"x\" 字"))
    );
    assert_eq!(stage.output.get(), "{}");
    let view = daemon.get("/v1/tasks/t1/status").await.json();
    assert_eq!(
        (&view["status"], &view["result"]["status"]),
        (&json!("failed"), &json!("FAILED"))
    );
    assert!(view["error"].as_str().unwrap().contains("no model"));
    let log = daemon.get("/v1/tasks/t1/stages/test.fail/log").await;
    assert!(log.content_type.starts_with("text/plain"));
    assert!(
        log.text.contains("something on stderr") && log.text.contains("no model"),
        "{}",
        log.text
    );
}

#[tokio::test]
async fn what_a_program_prints_beside_the_protocol_goes_to_the_log() {
    let daemon = Daemon::start().await;
    let stage = daemon.done("t1", "test.garbage", json!({})).await;
    assert_eq!(stage.output.get(), r#"{"value":5}"#);
    let log = daemon.get("/v1/tasks/t1/stages/test.garbage/log").await.text;
    for line in ["plain words", "\"odd\"", "{broken", "[1]", "from stderr", "not utf-8"] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[tokio::test]
async fn a_slot_is_used_by_one_run_at_a_time_in_the_order_asked() {
    let daemon = Daemon::start().await;
    let mut events = Sse::open(&daemon, None).await;
    let tasks = ["e", "b", "d", "a", "c"];
    daemon.release("go");
    for task in tasks {
        daemon.submit(task, WAIT, json!({"until": "go"})).await;
    }
    let (mut running, mut order) = (Vec::new(), Vec::new());
    while order.len() < tasks.len() || !running.is_empty() {
        let event: Event = serde_json::from_str(&events.next().await.data).unwrap();
        match event.kind {
            EventKind::Started => {
                running.push(event.task_id.clone());
                order.push(event.task_id.to_string());
                assert_eq!(running.len(), 1, "{running:?} at once");
            }
            EventKind::Succeeded => running.retain(|task| *task != event.task_id),
            _ => {}
        }
    }
    assert_eq!(order, tasks);
}

#[tokio::test]
async fn a_cancelled_runs_slot_is_free_only_when_its_processes_are_gone() {
    let daemon = Daemon::builder()
        .config("[runs]\nlease = '1s'\nheartbeat = '200ms'\ngrace = '20s'")
        .start()
        .await;
    daemon
        .submit("t1", WAIT, json!({"until": "go", "deaf": true, "trace": "t1"}))
        .await;
    until_equal("begun", 1, || async { daemon.traces("t1") }).await;
    daemon.submit("t2", WAIT, json!({"until": "go2", "trace": "t2"})).await;
    daemon.client.cancel(&task_id("t1")).await.unwrap();
    // However long that takes: also when the lease it had has run out.
    let redis = daemon.redis().await;
    let held: Vec<(String, f64)> = redis
        .clone()
        .zrange_withscores("onceover:held:gpu", 0, -1)
        .await
        .unwrap();
    eventually("the lease to pass", || {
        let mut redis = redis.clone();
        let lease = held[0].1 as i64;
        async move {
            let (seconds, _): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.unwrap();
            (seconds * 1000 > lease + 1000).then_some(())
        }
    })
    .await;
    // Others start meanwhile, so the executor has looked at its queues.
    daemon.done("t3", ECHO, json!({})).await;
    assert_eq!(daemon.stage("t2", WAIT).await.unwrap().status, StageState::Pending);
    let queues = daemon.client.queues().await.unwrap().queues;
    let gpu = queues.iter().find(|queue| queue.name == "gpu").unwrap();
    assert_eq!((gpu.slots, gpu.running, gpu.pending), (1, 1, 1));
    assert_eq!(gpu.next[0].task_id, task_id("t2"));
    daemon.release("go");
    daemon.until("t2", WAIT, StageState::Running).await;
    daemon.release("go2");
    daemon.until("t2", WAIT, StageState::Success).await;
}

#[tokio::test]
async fn v3_progress_moves_and_never_goes_back() {
    let daemon = Daemon::start().await;
    let mut events = Sse::open(&daemon, None).await;
    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    let (mut last, mut steps) = (0.0, 0);
    loop {
        let event: Event = serde_json::from_str(&events.next().await.data).unwrap();
        let stage = event.stage.expect("about a stage");
        if let Some(progress) = stage.progress {
            assert!(progress >= last, "{progress} after {last}");
            steps += usize::from(progress > last && event.kind == EventKind::Progress);
            last = progress;
        }
        if steps == 4 {
            daemon.release("go");
            steps += 1;
            assert_eq!(stage.message.as_deref(), Some("waiting"));
            let view = daemon.stage("t1", WAIT).await.unwrap();
            assert!(view.progress.unwrap() >= last);
        }
        if event.kind == EventKind::Succeeded {
            break;
        }
    }
    assert!(steps > 4);
    assert_eq!(last, 100.0);
}

#[tokio::test]
async fn a_log_can_be_read_in_part_and_followed_until_the_run_ends() {
    let daemon = Daemon::start().await;
    daemon.done("t1", "test.garbage", json!({})).await;
    let path = "/v1/tasks/t1/stages/test.garbage/log";
    let whole = daemon.get(path).await;
    assert_eq!(whole.status, 200);
    let bytes = whole.text.as_bytes();
    let range = async |range: &str| {
        let request = reqwest::Client::new()
            .get(format!("{}{path}", daemon.url()))
            .header("range", range);
        let response = request.send().await.unwrap();
        let span = response
            .headers()
            .get("content-range")
            .map(|value| value.to_str().unwrap().to_owned());
        (
            response.status().as_u16(),
            span,
            response.bytes().await.unwrap().to_vec(),
        )
    };
    let total = bytes.len();
    assert_eq!(
        range("bytes=3-9").await,
        (206, Some(format!("bytes 3-9/{total}")), bytes[3..10].to_vec())
    );
    let span = format!("bytes {}-{}/{total}", total - 5, total - 1);
    assert_eq!(range("bytes=-5").await, (206, Some(span), bytes[total - 5..].to_vec()));
    assert_eq!(range("bytes=10-").await.2, bytes[10..].to_vec());
    assert_eq!(range("bytes=999999-").await.0, 416);
    // Followed when it has ended: all of it, then the end.
    let follow = async |task: &str, node: &str, from: u64| {
        let stream = daemon
            .client
            .log_follow(&task_id(task), &node_name(node), from)
            .await
            .unwrap();
        stream.map_ok(|bytes| bytes.to_vec()).boxed()
    };
    let all: Vec<Vec<u8>> = follow("t1", "test.garbage", 4).await.try_collect().await.unwrap();
    assert_eq!(all.concat(), &bytes[4..]);

    // Followed while it runs.
    daemon.submit("t2", WAIT, json!({"until": "go"})).await;
    daemon.until("t2", WAIT, StageState::Running).await;
    eventually("the log", || async {
        let answer = daemon.get("/v1/tasks/t2/stages/test.wait/log").await;
        (answer.status == 200).then_some(())
    })
    .await;
    let mut stream = follow("t2", WAIT, 0).await;
    let mut text = String::from_utf8(stream.next().await.unwrap().unwrap()).unwrap();
    assert!(text.contains("test.wait under task t2"), "{text}");
    daemon.release("go");
    while let Some(chunk) = stream.next().await {
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    assert!(text.contains("succeeded"), "{text}");
    assert_eq!(daemon.get("/v1/tasks/t2/stages/test.wait/log").await.text, text);
    assert_eq!(daemon.get("/v1/tasks/t2/stages/test.echo/log").await.status, 404);
}

#[tokio::test]
async fn a_logs_lines_are_read_by_number_from_the_end_and_by_search() {
    let daemon = Daemon::start().await;
    daemon.done("t1", "test.garbage", json!({})).await;
    let text = daemon.get("/v1/tasks/t1/stages/test.garbage/log").await.text;
    let all: Vec<&str> = text.lines().collect();
    let read = async |from: Option<u64>, lines: u64, search: Option<&str>| {
        let search = search.map(str::to_owned);
        let query = LogQuery { from, lines, search };
        let (task, node) = (task_id("t1"), node_name("test.garbage"));
        daemon.client.log_lines(&task, &node, &query).await.unwrap()
    };
    let total = all.len() as u64;
    let last = read(None, 2, None).await;
    assert_eq!((last.total, last.left_out), (total, None));
    assert_eq!(
        last.lines.iter().map(|line| line.number).collect::<Vec<_>>(),
        [total - 1, total]
    );
    assert_eq!(last.lines[1].text, all[all.len() - 1]);
    let second = read(Some(2), 1, None).await;
    assert_eq!((second.lines.len(), &*second.lines[0].text), (1, all[1]));
    // The first line names the program with its arguments, which contain the words too.
    let found = read(None, 10, Some("PLAIN words")).await;
    let with_words = all.iter().filter(|line| line.contains("plain words")).count();
    assert_eq!((found.found, found.lines.len()), (Some(with_words as u64), with_words));
    assert!(found.lines[with_words - 1].text.ends_with("plain words"));
}

fn seen(stage: &onceover_wire::StageView) -> Value {
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    output["request"].clone()
}

#[tokio::test]
async fn a_run_gets_its_own_input_and_what_earlier_stages_provide() {
    let daemon = Daemon::start().await;
    daemon
        .done(
            "t1",
            ECHO,
            json!({"output": {"value": 7, "deep": {"text": "x"}, "empty": ""}}),
        )
        .await;
    let request = seen(&daemon.done("t1", "test.request", json!({"extra": [1]})).await);
    assert_eq!(request["input"], json!({"extra": [1], "value": 7}), "the fallback");
    assert_eq!(request["stages"][ECHO]["value"], 7);
    assert_eq!(
        (&request["task_id"], &request["task_name"]),
        (&json!("t1"), &json!("test.request"))
    );
    assert_eq!((&request["protocol"], &request["attempt"]), (&json!(1), &json!(1)));

    let again = async |input: Value| {
        daemon
            .try_submit("t1", "test.request", input, None, ReuseMode::Never)
            .await
            .unwrap();
        daemon.idle().await;
        daemon.stage("t1", "test.request").await.unwrap()
    };
    let request = seen(&again(json!({"value": 9})).await);
    assert_eq!(request["input"]["value"], 9, "an explicit value wins");
    assert!(
        request["stages"].get("test.request").is_none(),
        "not its own former result"
    );
    let input =
        json!({"value": "${{ stages.test.echo.output.value }}", "other": "${{stages.test.echo.output.deep.text}}"});
    let request = seen(&again(input).await);
    assert_eq!(request["input"], json!({"value": 7, "other": "x"}));
    for (input, why) in [
        (json!({"value": "${{ stages.test.file.output.file }}"}), "test.file"),
        (json!({"value": "${{ stages.test.echo.output.nope }}"}), "nope"),
        (json!({"value": "${{ stages.test.echo.output.deep }}"}), "integer"),
        (json!({"path": "${{ stages.test.echo.output.value }}"}), "path"),
    ] {
        let last = again(input.clone()).await.last_attempt.expect("it failed");
        let error = last.error.unwrap();
        assert!(
            last.status == StageState::Failed && error.contains(why),
            "{input}: {error}"
        );
    }
    // In a task without the earlier stage there is nothing to fall back to.
    let request = seen(&daemon.done("t2", "test.request", json!({})).await);
    assert_eq!((&request["input"], &request["stages"]), (&json!({}), &json!({})));
}

#[tokio::test]
async fn each_run_has_a_folder_of_its_own_and_the_nodes_link_leads_to_the_winner() {
    let daemon = Daemon::start().await;
    let folder = daemon.data.join("share/workflows/t1");
    let link = folder.join("nodes/test.file");
    for text in ["first", "second"] {
        let mode = if text == "first" {
            ReuseMode::Auto
        } else {
            ReuseMode::Never
        };
        let answer = daemon
            .try_submit("t1", "test.file", json!({"text": text}), None, mode)
            .await
            .unwrap();
        let run = answer.reuse_info.run_id.unwrap().to_string();
        daemon.idle().await;
        let stage = daemon.stage("t1", "test.file").await.unwrap();
        let output: Value = serde_json::from_str(stage.output.get()).unwrap();
        let file = output["file"].as_str().unwrap();
        assert!(file.starts_with(&format!("{}/runs/{run}/", folder.display())), "{file}");
        eventually("the link", || async {
            let real = fs::canonicalize(&link).ok()?;
            (real == fs::canonicalize(file).unwrap().parent().unwrap()).then_some(())
        })
        .await;
        assert_eq!(fs::read_to_string(link.join("result.txt")).unwrap(), text);
    }
    assert_eq!(fs::read_dir(folder.join("runs")).unwrap().count(), 2);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[tokio::test]
async fn delete_in_flight_is_refused_without_force_and_with_it_ends_the_run_first() {
    let daemon = Daemon::start().await;
    forks(&daemon, "t1").await;
    daemon.submit("t1", WAIT, json!({"until": "never"})).await;
    for body in [None, Some(json!({"force": false})), Some(json!({}))] {
        let answer = daemon.call("POST", "/v1/tasks/t1/delete", body.as_ref()).await;
        assert_eq!(answer.status, 400, "{body:?}");
        assert!(
            answer.text.contains("test.forks") && answer.text.contains("force"),
            "{}",
            answer.text
        );
    }
    assert_eq!(
        daemon.stage("t1", "test.forks").await.unwrap().status,
        StageState::Running
    );
    assert!(daemon.children().len() >= 3);
    let folder = daemon.data.join("share/workflows/t1");
    assert!(folder.is_dir());
    let report = daemon.post("/v1/tasks/t1/delete", json!({"force": true})).await;
    assert_eq!(report.status, 200);
    let report = report.json();
    assert_eq!(report["status"], "success");
    let results: Vec<_> = report["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| &result["status"])
        .collect();
    assert_eq!(results, ["deleted", "deleted", "skipped"]);
    assert!(daemon.children().is_empty());
    assert!(!folder.exists());
    assert_eq!(daemon.get("/v1/tasks/t1").await.status, 404);
    daemon.idle().await;
    assert!(!folder.exists());
}
