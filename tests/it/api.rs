//! The HTTP API: O4, lists, health, documents, run again.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use onceover_tests::{
    Daemon, HttpAnswer,
    daemon::{node_name, task_id},
    redis_server::RedisServer,
    until_equal,
};
use onceover_types::StageState;
use onceover_wire::{ReuseMode, TaskPage};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const KEYFRAMES: &str = "ffmpeg.extract_keyframes";

async fn raw(daemon: &Daemon, method: &str, path: &str, body: impl Into<reqwest::Body>) -> HttpAnswer {
    let request = reqwest::Client::new().request(method.parse().unwrap(), format!("{}{path}", daemon.url()));
    HttpAnswer::of(request.body(body).send().await.expect("the daemon answers")).await
}

#[tokio::test]
async fn o4_bad_submits_are_refused_with_the_field_and_nothing_is_stored() {
    let daemon = Daemon::start().await;
    let before = daemon.content().await;
    let video = daemon.dir().join("a.mp4");
    let long = "x".repeat(129);
    let ids = [
        "../x",
        "health",
        "supported-tasks",
        "batch",
        "events",
        "a:b",
        "*",
        "",
        ".a",
        "a..b",
        "a/b",
        "ä",
        "a b",
        "a\u{0}b",
        &long,
    ];
    let mut cases: Vec<(Value, &str)> = ids
        .iter()
        .map(|id| (json!({"task_name": ECHO, "task_id": id, "input_data": {}}), "task_id"))
        .collect();
    let node = |node: &str, input: Value| json!({"task_name": node, "task_id": "t1", "input_data": input});
    cases.extend([
        (json!({"task_id": "t1", "input_data": {}}), "task_name"),
        (json!({"task_name": 7, "input_data": {}}), "task_name"),
        (node("test.nope", json!({})), "task_name"),
        (node("ffmpeg.nope", json!({})), "task_name"),
        (node("*", json!({})), "task_name"),
        (node("ffmpeg.extract_audio/../x", json!({})), "task_name"),
        (json!({"task_name": ECHO, "task_id": 5, "input_data": {}}), "task_id"),
        (json!({"task_name": ECHO, "task_id": "t1"}), "input_data"),
        (node(ECHO, json!([])), "input_data"),
        (node(ECHO, json!("x")), "input_data"),
        (node(ECHO, Value::Null), "input_data"),
        (
            json!({"task_name": ECHO, "task_id": "t1", "input_data": {}, "reuse": "sometimes"}),
            "reuse",
        ),
        (
            json!({"task_name": ECHO, "task_id": "t1", "input_data": {}, "reuse": 1}),
            "reuse",
        ),
        (
            json!({"task_name": ECHO, "task_id": "t1", "input_data": {}, "callback": 5}),
            "callback",
        ),
        (
            json!({"task_name": ECHO, "task_id": "t1", "input_data": {}, "callback": "x"}),
            "callback",
        ),
        (node("ffmpeg.extract_audio", json!({})), "input_data.video_path"),
        (
            node("ffmpeg.extract_audio", json!({"video_path": null})),
            "input_data.video_path",
        ),
        (
            node("ffmpeg.extract_audio", json!({"video_path": ""})),
            "input_data.video_path",
        ),
        (
            node("ffmpeg.extract_audio", json!({"video_path": 5})),
            "input_data.video_path",
        ),
        (
            node("ffmpeg.extract_audio", json!({"video_path": "./a.mp4"})),
            "input_data.video_path",
        ),
        (
            node("ffmpeg.extract_audio", json!({"video_path": "/etc/passwd"})),
            "input_data.video_path",
        ),
        (
            node(
                "ffmpeg.extract_audio",
                json!({"video_path": format!("{}/../../etc/passwd", daemon.dir().display())}),
            ),
            "input_data.video_path",
        ),
        (
            node("ffmpeg.extract_audio", json!({"video_path": "file:///etc/passwd"})),
            "input_data.video_path",
        ),
        (
            node(KEYFRAMES, json!({"video_path": video, "keyframe_sample_count": "x"})),
            "input_data.keyframe_sample_count",
        ),
        (
            node(KEYFRAMES, json!({"video_path": video, "keyframe_sample_count": 0})),
            "input_data.keyframe_sample_count",
        ),
        (
            node(KEYFRAMES, json!({"video_path": video, "keyframe_sample_count": 1.5})),
            "input_data.keyframe_sample_count",
        ),
        (
            node(KEYFRAMES, json!({"video_path": video, "keyframe_sample_count": [1]})),
            "input_data.keyframe_sample_count",
        ),
        (
            node("ffmpeg.split_audio_segments", json!({"output_format": "ogg"})),
            "input_data.output_format",
        ),
        (
            node("ffmpeg.split_audio_segments", json!({"group_by_speaker": "yes"})),
            "input_data.group_by_speaker",
        ),
    ]);
    for (body, field) in cases {
        let answer = daemon.post("/v1/tasks", body.clone()).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field.to_owned()]),
            "{body}"
        );
    }
    // All that is wrong at once.
    let body = json!({"task_name": KEYFRAMES, "task_id": "a:b", "callback": "http://10.0.0.1/",
        "input_data": {"keyframe_sample_count": 0}});
    let fields = daemon.post("/v1/tasks", body).await.fields();
    let expected = [
        "task_id",
        "input_data.video_path",
        "input_data.keyframe_sample_count",
        "callback",
    ];
    assert_eq!(
        fields.iter().collect::<BTreeSet<_>>(),
        expected.map(str::to_owned).iter().collect()
    );

    for (body, status) in [
        (&b"{"[..], 400),
        (b"", 400),
        (b"{\"task_name\": \"test.echo\"} x", 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b"null", 422),
        (b"\"text\"", 422),
    ] {
        let answer = raw(&daemon, "POST", "/v1/tasks", body.to_vec()).await;
        assert_eq!(answer.status, status, "{answer:?}");
        answer.fields();
    }
    let deep = format!(
        "{{\"task_name\":\"{ECHO}\",\"input_data\":{{\"a\":{}{}}}}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    assert_eq!(raw(&daemon, "POST", "/v1/tasks", deep).await.status, 400);
    let large = vec![b' '; 8 * 1024 * 1024 + 1];
    let answer = raw(&daemon, "POST", "/v1/tasks", large).await;
    assert_eq!(answer.status, 413);
    answer.fields();
    assert_eq!(daemon.content().await, before);
    let folders = std::fs::read_dir(daemon.data.join("share/workflows")).unwrap().count();
    assert_eq!(folders, 0);
}

#[tokio::test]
async fn o4_bad_paths_and_queries_are_refused_with_the_field() {
    let daemon = Daemon::start().await;
    daemon.done("t1", ECHO, json!({})).await;
    let before = daemon.content().await;
    for (method, path, field) in [
        ("GET", "/v1/tasks/a:b", "task_id"),
        ("GET", "/v1/tasks/*/status", "task_id"),
        ("GET", "/v1/tasks/a%20b/result", "task_id"),
        ("GET", "/v1/tasks/%2e%2e%2fx", "task_id"),
        ("GET", "/v1/tasks/%00", "task_id"),
        ("DELETE", "/v1/tasks/a:b", "task_id"),
        ("DELETE", "/v1/tasks/t1?task_name=nodot", "task_name"),
        ("POST", "/v1/tasks/a:b/delete", "task_id"),
        ("POST", "/v1/tasks/health/delete", "task_id"),
        ("POST", "/v1/tasks/a:b/retry", "task_id"),
        ("POST", "/v1/tasks/t1/stages/nodot/resubmit", "task_name"),
        ("GET", "/v1/tasks/t1/stages/a.b.c/log", "task_name"),
        ("GET", "/v1/tasks/t1/status?task_name=nodot", "task_name"),
        ("GET", "/v1/tasks?limit=0", "limit"),
        ("GET", "/v1/tasks?limit=501", "limit"),
        ("GET", "/v1/tasks?limit=x", "limit"),
        ("GET", "/v1/tasks?limit=-1", "limit"),
        ("GET", "/v1/tasks?status=done", "status"),
        ("GET", "/v1/tasks?node=nodot", "node"),
        ("GET", "/v1/tasks?cursor=x", "cursor"),
        ("GET", "/v1/rows?limit=0", "limit"),
        ("GET", "/v1/rows?limit=501", "limit"),
        ("GET", "/v1/rows?cursor=x", "cursor"),
        ("GET", "/v1/tasks?cursor=%F0%9F%98%80", "cursor"),
        ("GET", "/v1/tasks/t1/stages/test.echo/log?from=x", "from"),
        ("GET", "/v1/tasks/t1/stages/test.echo/log?from=0&lines=5", "from"),
        ("GET", "/v1/tasks/t1/stages/test.echo/log?lines=0", "lines"),
        ("GET", "/v1/tasks/t1/stages/test.echo/log?lines=5001", "lines"),
        (
            "GET",
            "/v1/tasks/t1/stages/test.echo/log?search=x&follow=true",
            "follow",
        ),
        ("GET", "/v1/events?last_event_id=x", "last_event_id"),
    ] {
        let answer = daemon.call(method, path, None).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field.to_owned()]),
            "{method} {path}"
        );
    }
    for (path, body, field) in [
        ("/v1/tasks/t1/delete", json!({"force": "yes"}), "force"),
        ("/v1/tasks/t1/retry", json!({"reuse": "no"}), "reuse"),
        ("/v1/tasks/t1/stages/test.echo/resubmit", json!({"reuse": 5}), "reuse"),
    ] {
        let answer = daemon.post(path, body).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field.to_owned()]),
            "{path}"
        );
    }
    for (method, path, status) in [
        ("PUT", "/v1/tasks", 405),
        ("DELETE", "/v1/tasks", 405),
        ("DELETE", "/v1/tasks/health", 405),
        ("DELETE", "/v1/tasks/supported-tasks", 405),
        ("POST", "/v1/tasks/t1", 405),
        ("GET", "/v1/tasks/t1/delete", 405),
        ("POST", "/livez", 405),
        ("GET", "/v1/tasks/t1/nothing", 404),
        ("GET", "/nothing", 404),
    ] {
        let answer = daemon.call(method, path, None).await;
        assert_eq!((answer.status, answer.fields()), (status, vec![]), "{method} {path}");
    }
    assert_eq!(daemon.content().await, before);
}

#[tokio::test]
async fn o4_an_unknown_task_is_not_found_everywhere() {
    let daemon = Daemon::start().await;
    let before = daemon.content().await;
    for (method, path) in [
        ("GET", "/v1/tasks/nope"),
        ("GET", "/v1/tasks/nope/status"),
        ("GET", "/v1/tasks/nope/result"),
        ("GET", "/v1/tasks/nope/status?task_name=test.echo"),
        ("DELETE", "/v1/tasks/nope"),
        ("POST", "/v1/tasks/nope/delete"),
        ("POST", "/v1/tasks/nope/retry"),
        ("POST", "/v1/tasks/nope/stages/test.echo/resubmit"),
        ("GET", "/v1/tasks/nope/stages/test.echo/log"),
    ] {
        let answer = daemon.call(method, path, None).await;
        assert_eq!((answer.status, answer.fields()), (404, vec![]), "{method} {path}");
        assert!(answer.text.contains("'nope'"), "{}", answer.text);
    }
    assert_eq!(daemon.content().await, before);
}

#[tokio::test]
async fn a_task_without_an_id_gets_one() {
    let daemon = Daemon::start().await;
    let body = json!({"task_name": ECHO, "input_data": {}, "unknown": "is ignored"});
    let mut ids = BTreeSet::new();
    for _ in 0..2 {
        let answer = daemon.post("/v1/tasks", body.clone()).await.json();
        let id = answer["task_id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("task-"));
        daemon.until(&id, ECHO, StageState::Success).await;
        ids.insert(id);
    }
    assert_eq!(ids.len(), 2);
}

async fn page(daemon: &Daemon, query: &str) -> TaskPage {
    let answer = daemon.get(&format!("/v1/tasks?{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.text).expect("a page")
}

async fn walk(daemon: &Daemon, query: &str) -> Vec<String> {
    walk_from(daemon, query, page(daemon, query).await).await
}

/// The tasks of this page and of all that follow.
async fn walk_from(daemon: &Daemon, query: &str, mut at: TaskPage) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        ids.extend(at.items.iter().map(|item| item.task_id.to_string()));
        assert!(ids.len() < 1000, "the pages do not end");
        match at.next_cursor {
            Some(next) => at = page(daemon, &format!("{query}&cursor={next}")).await,
            None => return ids,
        }
    }
}

#[tokio::test]
async fn lists_are_newest_first_and_pages_give_each_task_exactly_once() {
    // Nothing runs, so that nothing moves.
    let server = RedisServer::start(&[]).await;
    let shared = Daemon::builder().redis(&server.url(0));
    let daemon = shared.config("[slots]\nio = 0").start().await;
    assert_eq!(page(&daemon, "").await.items, vec![]);
    let ids: Vec<_> = (0..120).map(|n| format!("task-{n:03}")).collect();
    // Many at once, so that some are made in the same millisecond.
    for chunk in ids.chunks(30) {
        join_all(chunk.iter().map(|id| daemon.submit(id, ECHO, json!({})))).await;
    }
    for limit in [1, 7, 50, 119, 120, 121, 500] {
        let walked = walk(&daemon, &format!("limit={limit}")).await;
        assert_eq!(walked.len(), 120, "limit {limit}");
        assert_eq!(walked.iter().collect::<BTreeSet<_>>(), ids.iter().collect());
    }
    let all = page(&daemon, "limit=500").await;
    assert!(all.items.is_sorted_by(|a, b| a.created_at >= b.created_at));
    assert_eq!(all.seq, daemon.client.system().await.unwrap().seq);
    assert_eq!(page(&daemon, "").await.items.len(), 50, "the default");
    // A task that is made while a client reads pages moves nothing.
    let first = page(&daemon, "limit=60").await;
    daemon.submit("later", ECHO, json!({})).await;
    let walked = walk_from(&daemon, "limit=60", first).await;
    assert_eq!(
        (walked.len(), walked.iter().collect::<BTreeSet<_>>()),
        (120, ids.iter().collect())
    );
    assert_eq!(page(&daemon, "limit=1").await.items[0].task_id, task_id("later"));

    for id in &ids[..3] {
        daemon.client.cancel(&task_id(id)).await.unwrap();
    }
    let names = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<_>>();
    let cancelled = walk(&daemon, "status=cancelled&limit=2").await;
    assert_eq!((cancelled.len(), names(&cancelled)), (3, names(&ids[..3])));
    assert_eq!(walk(&daemon, "status=pending&limit=50").await.len(), 118);
    assert_eq!(walk(&daemon, "status=running").await, Vec::<String>::new());
    daemon.submit("task-007", "test.wait", json!({"until": "never"})).await;
    daemon.until("task-007", "test.wait", StageState::Running).await;
    assert_eq!(walk(&daemon, "node=test.wait").await, ["task-007"]);
    assert_eq!(walk(&daemon, "status=running&node=test.echo").await, ["task-007"]);
    assert_eq!(walk(&daemon, "search=TASK-01&limit=4").await.len(), 10);
    assert_eq!(
        walk(&daemon, "search=%25&limit=4").await.len(),
        0,
        "a text, not a pattern"
    );
    assert_eq!(walk(&daemon, "search=test.wait").await, ["task-007"]);
    let item = &page(&daemon, "search=task-007").await.items[0];
    assert_eq!(item.status.as_str(), "running");
    assert_eq!(item.stages.len(), 2);
    assert_eq!(item.stages[&node_name("test.wait")].status, StageState::Running);
    assert_eq!(item.task_name, Some(node_name("test.wait")));
    let totals = daemon.client.system().await.unwrap().tasks;
    assert_eq!((totals.pending, totals.running, totals.cancelled), (117, 1, 3));
}

#[tokio::test]
async fn the_api_describes_itself_and_its_page_needs_no_internet() {
    let daemon = Daemon::start().await;
    let document = daemon.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    for (path, method) in [
        ("/v1/tasks", "post"),
        ("/v1/tasks", "get"),
        ("/v1/tasks/{task_id}", "get"),
        ("/v1/tasks/{task_id}", "delete"),
        ("/v1/tasks/{task_id}/status", "get"),
        ("/v1/tasks/{task_id}/result", "get"),
        ("/v1/tasks/{task_id}/delete", "post"),
        ("/v1/tasks/{task_id}/retry", "post"),
        ("/v1/tasks/{task_id}/stages/{task_name}/resubmit", "post"),
        ("/v1/tasks/{task_id}/stages/{task_name}/log", "get"),
        ("/v1/tasks/supported-tasks", "get"),
        ("/v1/tasks/health", "get"),
        ("/v1/rows", "get"),
        ("/v1/events", "get"),
        ("/v1/queues", "get"),
        ("/v1/workers", "get"),
        ("/v1/system", "get"),
        ("/v1/system/machine", "get"),
        ("/v1/system/history", "get"),
        ("/livez", "get"),
        ("/readyz", "get"),
    ] {
        assert!(
            document["paths"][path][method]["responses"].is_object(),
            "{method} {path}"
        );
    }
    let page = daemon.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.content_type.starts_with("text/html"));
    let sources: Vec<_> = page
        .text
        .split(['"', '\''])
        .filter(|text| text.ends_with(".js") || text.ends_with(".css"))
        .collect();
    assert!(sources.len() >= 2, "{}", page.text);
    for source in sources {
        assert!(!source.contains("//"), "{source} comes from elsewhere");
        let answer = daemon.get(&format!("/docs/{}", source.trim_start_matches("./"))).await;
        assert_eq!(answer.status, 200, "{source}");
    }
}

#[tokio::test]
async fn health_supported_tasks_and_queues_tell_how_it_is() {
    let daemon = Daemon::start().await;
    for path in ["/livez", "/readyz", "/v1/tasks/health"] {
        let answer = daemon.get(path).await;
        assert_eq!(
            (answer.status, &answer.json()["status"]),
            (200, &json!("healthy")),
            "{path}"
        );
    }
    let supported = daemon.get("/v1/tasks/supported-tasks").await.json();
    let nodes = supported["supported_tasks"].as_object().unwrap();
    assert!(
        nodes["ffmpeg"]
            .as_array()
            .unwrap()
            .contains(&json!("ffmpeg.extract_audio"))
    );
    assert!(nodes["test"].as_array().unwrap().contains(&json!(ECHO)));
    let count: usize = nodes.values().map(|names| names.as_array().unwrap().len()).sum();
    assert_eq!(supported["total_count"], count);
    let queues = daemon.get("/v1/queues").await.json();
    let names: Vec<_> = queues["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|queue| queue["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["cpu", "gpu", "io", "llm"]);
    let system = daemon.get("/v1/system").await.json();
    assert_eq!(
        (&system["redis"]["mode"], &system["redis"]["up"]),
        (&json!("private"), &json!(true))
    );
    assert_eq!(system["redis"]["append_only"], true);
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_a_503_that_says_so_and_passes() {
    let daemon = Daemon::start().await;
    daemon.done("t1", ECHO, json!({})).await;
    let redis = Pid::from_raw(daemon.redis_pid().await).unwrap();
    kill_process(redis, Signal::STOP).unwrap();
    let body = json!({"task_name": ECHO, "task_id": "t2", "input_data": {}});
    let (ready, health, alive, submit, read, system) = tokio::join!(
        daemon.get("/readyz"),
        daemon.get("/v1/tasks/health"),
        daemon.get("/livez"),
        daemon.post("/v1/tasks", body),
        daemon.get("/v1/tasks/t1"),
        daemon.get("/v1/system"),
    );
    kill_process(redis, Signal::CONT).unwrap();
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("unhealthy")));
    assert!(ready.json()["causes"][0].as_str().unwrap().contains("Redis"));
    assert_eq!((health.status, alive.status), (503, 200));
    for answer in [submit, read] {
        assert_eq!((answer.status, answer.fields()), (503, vec![]));
    }
    assert_eq!((system.status, &system.json()["redis"]["up"]), (200, &json!(false)));
    until_equal("readyz", 200, || async { daemon.get("/readyz").await.status }).await;
    assert!(daemon.submit("t1", ECHO, json!({})).await.reuse_info.reuse_hit);
}

#[tokio::test]
async fn retry_and_resubmit_use_the_stored_request_under_the_same_task() {
    let daemon = Daemon::start().await;
    daemon.done("t1", ECHO, json!({"value": 1})).await;
    let input = json!({"value": 5, "token": "hush"});
    daemon.done("t1", "test.request", input.clone()).await;
    let answer = daemon.call("POST", "/v1/tasks/t1/retry", None).await.json();
    assert_eq!(
        (&answer["task_id"], &answer["status"]),
        (&json!("t1"), &json!("completed")),
        "a hit"
    );
    assert_eq!(answer["reuse_info"]["task_name"], "test.request", "the newest stage");
    let answer = daemon
        .post("/v1/tasks/t1/retry", json!({"reuse": "never"}))
        .await
        .json();
    assert_eq!(
        (&answer["task_id"], &answer["reuse_info"]["reason"]),
        (&json!("t1"), &json!("forced"))
    );
    daemon.idle().await;
    let stage = daemon.stage("t1", "test.request").await.unwrap();
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    assert_eq!(output["request"]["input"], input, "the secret too");
    assert_eq!(
        stage.input_params.get(),
        r#"{"value":5,"token":"***"}"#,
        "which is not shown"
    );

    // A named stage, and one that failed.
    let path = "/v1/tasks/t1/stages/test.echo/resubmit";
    let answer = daemon.post(path, json!({"reuse": "strict"})).await.json();
    assert_eq!(answer["reuse_info"]["input_changed"], false);
    let answer = daemon
        .client
        .resubmit(&task_id("t1"), &node_name(ECHO), ReuseMode::Never)
        .await
        .unwrap();
    assert_eq!(answer.reuse_info.reason.as_deref(), Some("forced"));
    daemon.idle().await;
    daemon
        .submit("t1", "test.fail", json!({"message": "no luck", "trace": "f"}))
        .await;
    daemon.until("t1", "test.fail", StageState::Failed).await;
    let answer = daemon.post("/v1/tasks/t1/retry", json!({})).await.json();
    assert_eq!(
        (&answer["task_id"], &answer["reuse_info"]["reason"]),
        (&json!("t1"), &json!("failed"))
    );
    daemon.idle().await;
    assert_eq!(daemon.traces("f"), 2);
    assert_eq!(
        daemon.stage("t1", "test.fail").await.unwrap().error.as_deref(),
        Some("no luck")
    );
    assert_eq!(
        daemon
            .post("/v1/tasks/t1/stages/test.file/resubmit", json!({}))
            .await
            .status,
        404
    );
}
