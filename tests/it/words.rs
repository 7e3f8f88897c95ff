//! What is accepted as people write it, and what is shown in their words.

use std::{
    collections::HashMap,
    fs,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use axum::{Router, extract::Query, response::Html, routing::get};
use onceover_tests::{Daemon, onceover, program};
use onceover_types::{StageState, Timestamp};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
};

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";
const TOKEN: &str = "a-token-of-the-words-test";

#[tokio::test]
async fn a_daemon_is_named_with_or_without_http() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    let port = daemon.port();
    for address in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}/"),
        format!("HTTP://127.0.0.1:{port}/v1"),
    ] {
        let output = onceover().args(["tree", "--daemon", &address]).output().await.unwrap();
        assert!(output.status.success(), "{address}: {output:?}");
        let output = onceover().arg("tree").env("ONCEOVER_DAEMON", &address).output().await;
        assert!(output.unwrap().status.success(), "ONCEOVER_DAEMON={address}");
    }
    let output = onceover()
        .args(["tree", "--daemon", "ftp://box"])
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("not ftp"), "{said}");
}

/// Names of variables in a file of our sources.
fn variables(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    let mut found: Vec<_> = words
        .filter(|word| word.starts_with("ONCEOVER_"))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let home = tempfile::tempdir().unwrap();
    let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md")).unwrap();
    let mut names = variables(&documented);
    names.extend(
        [
            "ONCEOVER_REDIS",
            "ONCEOVER_LOG_DIR",
            "ONCEOVER_TOKEN",
            "ONCEOVER_TOKEN_FILE",
            "ONCEOVER_DAEMON",
        ]
        .map(str::to_owned),
    );
    assert!(names.len() > 12, "{names:?}");
    let command = |program_name: &str| {
        let mut command = Command::new(program(program_name));
        command
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", std::env::var_os("PATH").unwrap());
        command.envs(names.iter().map(|name| (name, "")));
        command
    };
    let output = command("onceoverd").arg("nodes").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = command("onceover")
        .args(["tree", "--daemon", "127.0.0.1:1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "no daemon at http://127.0.0.1:1: connection refused; start one with 'onceoverd'";
    assert!(said.contains(expected), "{said}");
}

#[tokio::test]
async fn files_of_tokens_and_secrets_may_come_from_windows() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("\u{feff}{text}")).unwrap();
        path.display().to_string()
    };
    let tokens = write("tokens", &format!("# ours\r\nadmin {TOKEN}\r\n\r\n"));
    let secrets = write("secrets", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\r\n");
    let keys = write("keys", "access\r\nsecret\r\n");
    let config = format!(
        "[access]\ntokens_file = '{tokens}'\n[callbacks]\nsecrets_file = '{secrets}'\n\
         [storage]\nurl = 'http://127.0.0.1:1'\nallow_http = true\ncredentials_file = '{keys}'\n[core]\nauto_upload = false"
    );
    let daemon = Daemon::builder().config(&config).token(TOKEN).start().await;
    let token = write("token", &format!("{TOKEN}\r\n"));
    let tree = onceover()
        .args(["tree", "--daemon", &daemon.url()])
        .env("ONCEOVER_TOKEN_FILE", token)
        .output()
        .await;
    assert!(tree.as_ref().unwrap().status.success(), "{tree:?}");
}

#[tokio::test]
async fn who_waits_is_told_what_for() {
    let daemon = Daemon::start().await;
    daemon.submit("first", WAIT, json!({"until": "go"})).await;
    daemon.until("first", WAIT, StageState::Running).await;
    let mut waiting = Vec::new();
    for (arguments, reason) in [
        (
            &["submit", WAIT, "--task", "second", "--set", "until=go", "--wait"][..],
            "waiting: test.wait is 1st in gpu; 1 of 1 slots in use",
        ),
        (&["watch", "first"], "waiting: test.wait is running"),
    ] {
        let mut command = onceover();
        command.args(["--daemon", &daemon.url()]).args(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await;
        let line = line.expect("it says something").unwrap();
        let line = line.unwrap_or_default();
        assert!(line.starts_with(&format!("onceover: {reason}")), "{line}");
        waiting.push((child, lines));
    }
    daemon.release("go");
    for (mut child, _lines) in waiting {
        assert!(child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn who_waits_is_told_how_far_the_run_is() {
    let daemon = Daemon::start().await;
    let mut command = onceover();
    command.args(["--daemon", &daemon.url()]);
    command.args(["submit", WAIT, "--task", "film", "--set", "until=go", "--wait"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let has_percent = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            assert!(line.starts_with("onceover: waiting: test.wait is "), "{line}");
            if line.contains("is running") && line.ends_with(" %") {
                return true;
            }
        }
        false
    };
    let has_percent = tokio::time::timeout(Duration::from_secs(60), has_percent).await;
    assert_eq!(has_percent, Ok(true), "it reports progress");
    daemon.release("go");
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_refusal_names_the_command_that_helps_and_is_a_problem_document_with_json() {
    let daemon = Daemon::start().await;
    let run = async |arguments: &[&str]| {
        let mut command = onceover();
        command.args(["--daemon", &daemon.url()]).args(arguments);
        let output = command.output().await.unwrap();
        assert!(output.stdout.is_empty(), "{output:?}");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run(&["run", "nope"]).await;
    assert!(code == Some(2) && said.contains("onceover register"), "{said}");
    assert!(!said.contains("POST"), "{said}");
    for (arguments, kind) in [
        (&["run", "nope", "--json"][..], "/problems/unknown-video"),
        (&["tree", "nope", "--json"], "/problems/unknown-task"),
        (&["nodes", "no.such", "--json"], "/problems/unknown-node"),
        (&["submit", "test.echo", "--input", "7", "--json"], "about:blank"),
    ] {
        let (code, said) = run(arguments).await;
        let document: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{arguments:?}: {said}"));
        assert_eq!((code, &document["type"]), (Some(2), &json!(kind)), "{said}");
    }
}

#[tokio::test]
async fn the_help_lists_the_exit_codes() {
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["submit", "--help"],
        &["watch", "--help"],
    ] {
        let output = onceover().args(arguments).output().await.unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        for line in [
            "Exit codes:",
            "  0    success",
            "  1    what was waited for did not succeed",
            "  130  interrupted",
        ] {
            assert!(help.contains(line), "{arguments:?}: {help}");
        }
    }
}

/// A server that is no daemon, or not quite.
async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address.to_string()
}

#[tokio::test]
async fn who_waits_at_another_server_is_told_so() {
    let address = serve(Router::new().fallback(get(async || Html("<html>")))).await;
    for arguments in [&["watch"][..], &["watch", "film"]] {
        let output = onceover()
            .args(["--daemon", &address])
            .args(arguments)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(2) && said.contains("where an event stream was asked for"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_goes_on_and_on_is_not_to_be_buffered() {
    let daemon = Daemon::start().await;
    daemon.submit("film", WAIT, json!({"until": "go"})).await;
    daemon.until("film", WAIT, StageState::Running).await;
    let log = format!("/v1/tasks/film/stages/{WAIT}/log?follow=true");
    for path in ["/v1/events", &log] {
        let mut answer = reqwest::get(format!("{}{path}", daemon.url())).await.unwrap();
        assert_eq!(answer.headers()["x-accel-buffering"], "no", "{path}");
        assert!(
            answer.headers()["cache-control"].to_str().unwrap().contains("no-cache"),
            "{path}"
        );
        if path == "/v1/events" {
            let first = answer.chunk().await.unwrap().expect("it begins at once");
            assert_eq!(first[..1], *b":", "{first:?}");
        }
    }
    daemon.release("go");
}

#[test]
fn a_cause_is_told_once() {
    let told = |arguments: &[&str]| {
        let mut command = Command::new(program("onceoverd"));
        let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for (arguments, cause) in [
        (&["--data", "/proc/onceover"][..], "os error"),
        (
            &["--listen", "192.0.2.1:1", "check", "--data", "/proc/onceover"],
            "os error",
        ),
        (&["--config", "/nix"], "os error"),
        (&["--listen", "nonsense", "check"], "invalid socket address;"),
    ] {
        let said = told(arguments);
        assert_eq!(said.matches(cause).count(), 1, "{said}");
    }
}

/// The value with every time in it that many seconds later.
fn later(value: &mut Value, seconds: i64) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| later(value, seconds)),
        Value::Array(items) => items.iter_mut().for_each(|value| later(value, seconds)),
        Value::String(text) => {
            if let Ok(time) = text.parse::<Timestamp>() {
                *text = Timestamp::from_millis(time.as_millis() + seconds * 1000).to_string();
            }
        }
        _ => {}
    }
}

/// The rows of a daemon that has more tasks than a dashboard reads: what is in flight, then new ones without an end.
fn crowded(system: Value, first: Value, view: Value) -> Router {
    let rows = move |Query(asked): Query<HashMap<String, String>>| async move {
        let mut page = first.clone();
        let number: u64 = asked
            .get("cursor")
            .map_or(0, |cursor| cursor.parse().expect("a cursor"));
        if number > 0 {
            let mut row = first["rows"][0].clone();
            row["task_id"] = json!(format!("new-{number}"));
            row["status"] = json!("pending");
            row["stages"] = json!([]);
            let later = row["created_ms"].as_i64().expect("a time") + 3_600_000;
            row["created_ms"] = json!(later);
            row["updated_ms"] = json!(later);
            page["rows"] = json!([row]);
        }
        page["next_cursor"] = json!((number + 1).to_string());
        axum::Json(page)
    };
    Router::new()
        .route("/v1/rows", get(rows))
        .route("/v1/system", get(async move || axum::Json(system)))
        .route("/v1/tasks/wanted", get(async move || axum::Json(view)))
}

#[tokio::test]
async fn what_runs_and_what_is_asked_for_is_shown_however_many_tasks_are_newer() {
    let daemon = Daemon::start().await;
    daemon.submit("film", WAIT, json!({"until": "go"})).await;
    daemon.until("film", WAIT, StageState::Running).await;
    let system = daemon.get("/v1/system").await.json();
    let first = daemon.get("/v1/rows").await.json();
    let mut view = daemon.get("/v1/tasks/film").await.json();
    view["task_id"] = json!("wanted");
    let address = serve(crowded(system, first, view)).await;
    let snapshot = async |more: &[&str]| {
        let output = onceover()
            .args(["snapshot", "--daemon", &address])
            .args(more)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let frame = snapshot(&[]).await;
    assert!(
        frame.contains("others are not loaded") && frame.contains("new-"),
        "{frame}"
    );
    for frame in [
        snapshot(&["--keys", "/state:running<enter>"]).await,
        snapshot(&["--task", "film"]).await,
    ] {
        assert!(
            frame.lines().any(|line| line.contains("film") && line.contains("run")),
            "{frame}"
        );
    }
    // Neither new nor running, and asked for by name.
    let frame = snapshot(&["--task", "wanted"]).await;
    assert!(frame.contains("wanted"), "{frame}");
    daemon.release("go");
}

#[tokio::test]
async fn ages_count_by_the_daemons_clock_where_this_machines_is_off() {
    const OFF: u64 = 2 * 3600;
    let daemon = Daemon::start().await;
    daemon.submit("film", WAIT, json!({"until": "go"})).await;
    daemon.until("film", WAIT, StageState::Running).await;
    // As a daemon tells it whose clock is two hours behind.
    let mut tasks = daemon.get("/v1/tasks").await.json();
    later(&mut tasks, -(OFF as i64));
    let answer = move || async move {
        let date = httpdate::fmt_http_date(SystemTime::now() - Duration::from_secs(OFF));
        ([("date", date)], axum::Json(tasks))
    };
    let address = serve(Router::new().route("/v1/tasks", get(answer))).await;
    let output = onceover().args(["tree", "--daemon", &address]).output().await.unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    let row = tree.lines().find(|line| line.contains(WAIT)).expect("the stage");
    // As `0 s` or, on a slow machine, `12 s`.
    assert!(row.contains("● running") && row.trim_end().ends_with(" s"), "{row}");
    daemon.release("go");
}
