//! Input that is not right: what nothing reads is reported, what is wrong is named at once (O4).

use std::process::Output;

use onceover_tests::{Daemon, HttpAnswer};
use onceover_types::StageState;
use serde_json::{Value, json};

/// Takes `value` and `path`.
const REQUEST: &str = "test.request";
/// Declares no parameters, and so takes any.
const ECHO: &str = "test.echo";
const STRICT: (&str, &str) = ("Prefer", "handling=strict");
const LENIENT: (&str, &str) = ("Prefer", "handling=lenient");

async fn send(daemon: &Daemon, path: &str, headers: &[(&str, &str)], body: &Value) -> HttpAnswer {
    let mut request = reqwest::Client::new()
        .post(format!("{}{path}", daemon.url()))
        .json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    HttpAnswer::of(request.send().await.expect("the daemon answers")).await
}

/// Code, field and message of each warning.
fn warnings(answer: &Value) -> Vec<(&str, &str, &str)> {
    let list = answer["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |warning: &'_ Value, name: &str| warning[name].as_str().map(str::to_owned);
    list.iter()
        .map(|warning| {
            assert!(
                text(warning, "code").is_some() && text(warning, "message").is_some(),
                "{warning}"
            );
            (
                warning["code"].as_str().unwrap(),
                warning["field"].as_str().unwrap(),
                warning["message"].as_str().unwrap(),
            )
        })
        .collect()
}

fn message_of(answer: &HttpAnswer, field: &str) -> String {
    let problem = answer.json();
    let errors = problem["errors"].as_array().expect("errors");
    let error = errors.iter().find(|error| error["field"] == field);
    let error = error.unwrap_or_else(|| panic!("no error of {field}: {problem}"));
    error["message"].as_str().unwrap().to_owned()
}

fn run(program: &str, args: &[&str], daemon: &Daemon) -> Output {
    std::process::Command::new(onceover_tests::program(program))
        .args(args)
        .env("ONCEOVER_DAEMON", daemon.url())
        .output()
        .expect("the program runs")
}

#[tokio::test]
async fn o4_an_unknown_field_is_a_warning_in_each_kind_of_answer_and_in_the_log() {
    let daemon = Daemon::start().await;
    let body = json!({"task_name": REQUEST, "task_id": "t1", "inputData": {}, "value": 4,
        "input_data": {"vlaue": 3, "value": 5, "nonsense": null}});
    let expected = [
        (
            "unknown_field",
            "inputData",
            "a submit has no such field; did you mean input_data?",
        ),
        (
            "unknown_field",
            "value",
            "a submit has no such field; did you mean input_data.value?",
        ),
        (
            "unknown_field",
            "input_data.vlaue",
            "test.request has no such parameter; did you mean value?",
        ),
        (
            "unknown_field",
            "input_data.nonsense",
            "test.request has no such parameter",
        ),
    ];
    let miss = daemon.post("/v1/tasks", body.clone()).await.json();
    assert_eq!(miss["reuse_info"]["reuse_hit"], false);
    assert_eq!(warnings(&miss), expected);
    daemon.until("t1", REQUEST, StageState::Success).await;
    let hit = daemon.post("/v1/tasks", body.clone()).await.json();
    assert_eq!(hit["status"], "completed");
    assert_eq!(warnings(&hit), expected);
    // Lenient is what it is anyway.
    let lenient = send(&daemon, "/v1/tasks", &[LENIENT], &body).await;
    assert_eq!(
        (lenient.status, lenient.header("preference-applied")),
        (200, "handling=lenient")
    );
    let logged = daemon.logged();
    let line = logged.lines().find(|line| line.contains("did you mean value?"));
    let line = line.unwrap_or_else(|| panic!("no warning in the log: {logged}"));
    assert!(
        line.contains("WARN") && line.contains("t1") && line.contains(REQUEST),
        "{line}"
    );

    // What is right is not spoken of, and a node that declares no parameters takes any.
    for (node, input) in [(REQUEST, json!({"value": 5})), (ECHO, json!({"anything": 1}))] {
        let answer = daemon
            .post("/v1/tasks", json!({"task_name": node, "input_data": input}))
            .await;
        assert!(
            answer.status == 200 && answer.json().get("warnings").is_none(),
            "{answer:?}"
        );
        assert_eq!(answer.header("preference-applied"), "");
    }
    let mut input: serde_json::Map<_, _> = (0..200).map(|n| (format!("f{n}"), json!(n))).collect();
    input.insert("x".repeat(5_000), Value::Null);
    let answer = daemon
        .post("/v1/tasks", json!({"task_name": REQUEST, "input_data": input}))
        .await
        .json();
    let many = warnings(&answer);
    assert_eq!((many.len(), many[20].0), (21, "more_warnings"));
    assert!(many[20].2.starts_with("181 more"), "{:?}", many[20]);
}

#[tokio::test]
async fn o4_strict_handling_refuses_what_nothing_reads_and_names_all_of_it() {
    let daemon = Daemon::start().await;
    let before = daemon.content().await;
    let body = json!({"task_name": REQUEST, "webhook": "http://127.0.0.1:1/", "input_data": {"vlaue": 3, "zzz": 1}});
    let answer = send(&daemon, "/v1/tasks", &[STRICT], &body).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.fields(), ["webhook", "input_data.vlaue", "input_data.zzz"]);
    assert_eq!(answer.header("preference-applied"), "handling=strict");
    assert!(message_of(&answer, "input_data.vlaue").ends_with("did you mean value?"));
    for (path, body, field) in [
        ("/v1/tasks/batch", json!({"tasks": [body], "task": []}), "task"),
        ("/v1/tasks/t1/retry", json!({"reuse_mode": "never"}), "reuse_mode"),
        ("/v1/tasks/t1/delete", json!({"Force": true}), "Force"),
        ("/api/v1/videos", json!({"path": "/x", "titel": "x"}), "titel"),
        ("/api/v1/videos/v1/reprocess", json!({"step": "x"}), "step"),
    ] {
        let answer = send(&daemon, path, &[STRICT], &body).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field.to_owned()]),
            "{path}"
        );
    }
    assert_eq!(daemon.content().await, before);
    // The right request is taken, and its answer says that the preference counted.
    let answer = send(
        &daemon,
        "/v1/tasks",
        &[STRICT],
        &json!({"task_name": REQUEST, "input_data": {}}),
    )
    .await;
    assert_eq!(
        (answer.status, answer.header("preference-applied")),
        (200, "handling=strict")
    );
}

#[tokio::test]
async fn o4_what_the_operator_refuses_no_client_can_allow() {
    let daemon = Daemon::builder()
        .config("[api]\nunknown_fields = 'refuse'")
        .start()
        .await;
    let body = json!({"task_name": REQUEST, "input_data": {"vlaue": 3}});
    for headers in [&[][..], &[LENIENT], &[STRICT]] {
        let answer = send(&daemon, "/v1/tasks", headers, &body).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["input_data.vlaue".to_owned()])
        );
    }
    let answer = send(&daemon, "/v1/tasks", &[LENIENT], &body).await;
    assert_eq!(answer.header("preference-applied"), "");
}

#[tokio::test]
async fn o4_callback_url_is_taken_as_callback_with_a_warning() {
    let daemon = Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.0/8']")
        .start()
        .await;
    let of = |fields: Value| {
        let mut body = json!({"task_name": ECHO, "task_id": "t1", "input_data": {}});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        body
    };
    let url = "http://127.0.0.1:9/x";
    // It is known, so strict handling does not mind it either.
    let answer = send(&daemon, "/v1/tasks", &[STRICT], &of(json!({"callback_url": url})))
        .await
        .json();
    let found = warnings(&answer);
    assert_eq!(
        (found.len(), found[0].0, found[0].1),
        (1, "deprecated_field", "callback_url")
    );
    let view = daemon.get("/v1/tasks/t1").await.json();
    assert_eq!(view["input_params"]["callback_url"], url);
    for fields in [
        json!({"callback_url": url, "callback": url}),
        json!({"callback_url": null, "callback": url}),
    ] {
        let answer = daemon.post("/v1/tasks", of(fields)).await;
        assert_eq!((answer.status, warnings(&answer.json()).len()), (200, 1));
    }
    let answer = daemon
        .post(
            "/v1/tasks",
            of(json!({"callback_url": "http://127.0.0.1:8/", "callback": url})),
        )
        .await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["callback_url".to_owned()]));
    // Judged like the other.
    let answer = daemon
        .post("/v1/tasks", of(json!({"callback_url": "http://10.0.0.1/"})))
        .await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["callback".to_owned()]));
}

#[tokio::test]
async fn o4_each_submit_of_a_batch_has_its_own_warnings_and_refusals() {
    let daemon = Daemon::start().await;
    let batch = json!({"note": "x", "tasks": [
        {"task_name": REQUEST, "input_data": {"vlaue": 1}},
        {"task_name": REQUEST, "input_data": {"value": 1}},
        {"task_nme": REQUEST},
    ]});
    let answer = daemon.post("/v1/tasks/batch", batch.clone()).await.json();
    assert_eq!(warnings(&answer), [("unknown_field", "note", "there is no such field")]);
    let results = answer["results"].as_array().unwrap();
    let statuses: Vec<_> = results
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [200, 200, 422]);
    assert_eq!(warnings(&results[0]["response"]).len(), 1);
    assert!(results[1]["response"].get("warnings").is_none());
    let fields: Vec<_> = results[2]["problem"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["field"])
        .collect();
    assert_eq!(fields, ["task_name", "input_data"]);
    let mut batch = batch;
    batch.as_object_mut().unwrap().remove("note");
    let answer = send(&daemon, "/v1/tasks/batch", &[STRICT], &batch).await.json();
    let statuses: Vec<_> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [422, 200, 422]);
}

#[tokio::test]
async fn o4_a_stored_request_with_an_unknown_field_can_be_run_again() {
    let daemon = Daemon::start().await;
    daemon.done("t1", REQUEST, json!({"vlaue": 3})).await;
    let again = format!("/v1/tasks/t1/stages/{REQUEST}/resubmit");
    for path in ["/v1/tasks/t1/retry", &again] {
        let answer = send(&daemon, path, &[STRICT], &json!({"reuse": "auto"})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(warnings(&answer.json())[0].1, "input_data.vlaue");
    }
    let answer = daemon.post(&again, json!({"reuse_mode": "never"})).await.json();
    let fields: Vec<_> = warnings(&answer).into_iter().map(|(_, field, _)| field).collect();
    assert_eq!(fields, ["reuse_mode", "input_data.vlaue"]);
    let report = daemon.post("/v1/tasks/t1/delete", json!({"Force": true})).await.json();
    assert_eq!(report["status"], "success");
    let said = report["warnings"].as_array().unwrap();
    assert!(
        said.contains(&json!("Force: there is no such field; did you mean force?")),
        "{report}"
    );
}

#[tokio::test]
async fn o4_an_unknown_query_parameter_is_refused_where_it_would_change_the_answer() {
    let daemon = Daemon::start().await;
    daemon.done("t1", ECHO, json!({})).await;
    let before = daemon.content().await;
    for (method, path, field, meant) in [
        ("GET", "/v1/tasks?state=running", "state", "status"),
        ("GET", "/v1/tasks?stauts=running&limit=5", "stauts", "status"),
        ("GET", "/v1/tasks/t1?taskname=test.echo", "taskname", "task_name"),
        (
            "GET",
            "/v1/tasks/t1/status?task-name=test.echo",
            "task-name",
            "task_name",
        ),
        ("GET", "/v1/tasks/t1/stages/test.echo/reuse?mode=never", "mode", ""),
        ("GET", "/v1/tasks/t1/stages/test.echo/log?folow=true", "folow", "follow"),
        ("DELETE", "/v1/tasks/t1?node=test.echo", "node", ""),
        ("GET", "/v1/callbacks?status=failed", "status", "state"),
        ("GET", "/v1/events?last-event-id=5", "last-event-id", "last_event_id"),
        ("GET", "/v1/files?path=x", "path", ""),
        (
            "DELETE",
            "/v1/files/directories?directory=x",
            "directory",
            "directory_path",
        ),
        ("GET", "/api/v1/videos?limt=5", "limt", "limit"),
        ("DELETE", "/api/v1/videos/v1?with_tasks=true", "with_tasks", "with_task"),
        ("POST", "/api/v1/videos/v1/run_sync?forced=true", "forced", "force"),
    ] {
        let answer = daemon.call(method, path, None).await;
        assert_eq!(answer.status, 422, "{method} {path}: {answer:?}");
        assert_eq!(answer.fields()[0], field, "{method} {path}");
        let message = message_of(&answer, field);
        let hint = if meant.is_empty() {
            "; there "
        } else {
            &format!("did you mean {meant}?")
        };
        assert!(message.contains(hint), "{method} {path}: {message}");
    }
    // A parameter that cannot be read is named, too.
    for (path, fields) in [
        ("/v1/tasks?limit=x&state=failed", vec!["state", "limit"]),
        ("/v1/tasks?limit=10&limit=20", vec!["limit"]),
    ] {
        let answer = daemon.get(path).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, fields.iter().map(|&name| name.to_owned()).collect())
        );
    }
    // A cache-buster asks for nothing, and where nothing can be asked for a query is ignored.
    for path in [
        "/v1/tasks?_=1732700000000&limit=5",
        "/v1/system?x=1",
        "/v1/tasks/supported-tasks?x=1",
    ] {
        assert_eq!(daemon.get(path).await.status, 200, "{path}");
    }
    assert_eq!(daemon.content().await, before);
    let submit = daemon
        .post("/v1/tasks?x=1", json!({"task_name": ECHO, "input_data": {}}))
        .await;
    assert_eq!(submit.status, 200);
}

#[tokio::test]
async fn o4_all_that_is_missing_or_wrong_is_named_at_once() {
    let daemon = Daemon::start().await;
    for (path, body, fields) in [
        ("/v1/tasks", json!({}), vec!["task_name", "input_data"]),
        (
            "/v1/tasks",
            json!({"task_id": "a:b"}),
            vec!["task_name", "input_data", "task_id"],
        ),
        (
            "/v1/tasks",
            json!({"task_name": 7, "input_data": [], "reuse": "sometimes", "callback": 5}),
            vec!["task_name", "input_data", "callback", "reuse"],
        ),
        // What the node takes is judged beside what is wrong around it.
        (
            "/v1/tasks",
            json!({"task_name": "ffmpeg.extract_keyframes", "reuse": 1, "callback": "x",
                "input_data": {"keyframe_sample_count": 0}}),
            vec![
                "reuse",
                "input_data.video_path",
                "input_data.keyframe_sample_count",
                "callback",
            ],
        ),
        ("/v1/tasks/batch", json!({}), vec!["tasks"]),
        (
            "/api/v1/videos/v1/reprocess",
            json!({"steps": 5, "force": "yes"}),
            vec!["steps", "force"],
        ),
        ("/api/v1/videos", json!({"path": 5, "title": []}), vec!["path", "title"]),
    ] {
        let answer = daemon.post(path, body.clone()).await;
        assert_eq!(answer.status, 422, "{body}");
        assert_eq!(answer.fields(), fields, "{body}");
    }
}

#[tokio::test]
async fn an_unknown_node_is_answered_with_the_one_that_was_meant() {
    let daemon = Daemon::start().await;
    for (name, meant) in [
        ("ffmpeg.extract_audo", "did you mean ffmpeg.extract_audio?"),
        ("extract_audio", "did you mean ffmpeg.extract_audio?"),
        ("ffmpeg:extract_audio", "did you mean ffmpeg.extract_audio?"),
        ("no.such_thing", "GET /v1/tasks/supported-tasks lists them"),
    ] {
        let answer = daemon
            .post("/v1/tasks", json!({"task_name": name, "input_data": {}}))
            .await;
        assert_eq!((answer.status, answer.fields()), (422, vec!["task_name".to_owned()]));
        assert!(message_of(&answer, "task_name").ends_with(meant), "{}", answer.text);
    }
    let answer = daemon.get("/v1/nodes/ffmpeg.extract_audo").await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.text.contains("did you mean ffmpeg.extract_audio?"),
        "{}",
        answer.text
    );
    for (program, args) in [
        ("onceover", &["nodes", "ffmpeg.extract_audo"][..]),
        ("onceover", &["submit", "ffmpeg.extract_audo", "--set", "video_path=/x"]),
        ("onceoverd", &["nodes", "ffmpeg.extract_audo"]),
    ] {
        let output = run(program, args, &daemon);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("did you mean ffmpeg.extract_audio?"),
            "{args:?}: {said}"
        );
        // A command that would fail in the same way is no hint.
        assert!(!said.contains("nodes ffmpeg.extract_audo"), "{said}");
    }
}

#[tokio::test]
async fn the_command_line_is_refused_for_a_field_that_nothing_reads() {
    let daemon = Daemon::start().await;
    let output = run(
        "onceover",
        &["submit", REQUEST, "--task", "t1", "--set", "vlaue=3"],
        &daemon,
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("vlaue") && said.contains("did you mean value?"), "{said}");
    assert_eq!(daemon.get("/v1/tasks/t1").await.status, 404);
    let output = run(
        "onceover",
        &["submit", REQUEST, "--task", "t1", "--set", "value=3"],
        &daemon,
    );
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
