//! The command line does what the dashboard does: the commands for tasks, stages, logs and callbacks, for people and as
//! JSON.

use std::process::Stdio;

use onceover_tests::{Daemon, onceover_at, screen::Dashboard};
use onceover_types::StageState;
use serde_json::{Value, json};
use termlens::Key;
use tokio::io::AsyncWriteExt;

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

/// What a command has printed, and its exit code.
struct Printed {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Printed {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// Runs a command against a daemon, with nothing but pipes.
async fn run_with(daemon: &Daemon, args: &[&str], input: &str) -> Printed {
    let mut child = onceover_at(daemon)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("onceover starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).await.expect("it takes its input");
    drop(stdin);
    let output = child.wait_with_output().await.expect("onceover runs");
    Printed {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

async fn run(daemon: &Daemon, args: &[&str]) -> Printed {
    run_with(daemon, args, "").await
}

#[tokio::test]
async fn tui20_what_the_dashboard_shows_is_printed_for_people_and_as_the_apis_json() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({"trace": "film"})).await;
    daemon.done("other", ECHO, json!({"trace": "other"})).await;
    let stage = "film/test.echo";
    for (args, words) in [
        (&["tasks"][..], &["✔ done", "film", "other"][..]),
        (&["tasks", "--filter", "id:fi*"], &["film"]),
        (&["tree", "film"], &["film", ECHO]),
        (
            &["show", stage],
            &["✔ done", "input", "\"trace\": \"film\"", "output", "\"value\": 1"],
        ),
        (&["explain", stage], &["↺ hit"]),
        (&["explain", "film", "--reuse", "never"], &["◌ run", "forced"]),
        (&["queues"], &["io", "slots in use", "0 pending"]),
        (&["workers"], &["no service is run by Celery workers"]),
        (&["callbacks"], &["no callbacks"]),
        (&["check"], &["✔ daemon", "✔ access", "✔ redis", "✔ clock", "nodes"]),
    ] {
        let printed = run(&daemon, args).await;
        assert_eq!(printed.code, Some(0), "{args:?}: {}", printed.stderr);
        for word in words {
            assert!(
                printed.stdout.contains(word),
                "{args:?}: no {word:?} in {}",
                printed.stdout
            );
        }
        assert!(!printed.stdout.contains('\x1b'), "{args:?}");
    }
    let printed = run(&daemon, &["tasks", "--filter", "id:fi*"]).await;
    assert!(!printed.stdout.contains("other"), "{}", printed.stdout);

    for (args, path) in [
        (&["tree", "film", "--json"][..], "/v1/tasks/film"),
        (&["show", "film", "--json"], "/v1/tasks/film"),
        (&["explain", stage, "--json"], "/v1/tasks/film/stages/test.echo/reuse"),
        (&["queues", "--json"], "/v1/queues"),
        (&["workers", "--json"], "/v1/workers"),
        (&["callbacks", "--json"], "/v1/callbacks"),
    ] {
        let answer = daemon.get(path).await.json();
        assert_eq!(run(&daemon, args).await.json(), answer, "{args:?}");
    }
    let tasks = run(&daemon, &["tasks", "--json"]).await.json();
    assert_eq!(tasks["items"].as_array().map(Vec::len), Some(2));
    let points = run(&daemon, &["check", "--json"]).await.json();
    assert!(
        points
            .as_array()
            .is_some_and(|points| points.iter().all(|point| point["verdict"] != "bad"))
    );
}

#[tokio::test]
async fn tui20_a_log_is_printed_whole_in_part_by_search_and_as_it_grows() {
    let daemon = Daemon::builder()
        .nodes(
            r#"
[[nodes]]
name = "test.lines"
queue = "io"
runner = { command = ["sh", "-c", '''
for i in $(seq 1 6000); do echo "line $i" >&2; done
echo '{"type": "output", "output": {"value": 1}}'
'''] }
"#,
        )
        .start()
        .await;
    daemon.done("film", "test.lines", json!({})).await;
    let whole = run(&daemon, &["log", "film"]).await;
    for line in ["line 1", "line 3000", "line 6000"] {
        assert!(whole.stdout.lines().any(|printed| printed.ends_with(line)), "{line}");
    }
    let part = run(&daemon, &["log", "film/test.lines", "--lines", "3"]).await;
    assert_eq!(part.stdout.lines().count(), 3);
    let found = run(&daemon, &["log", "film", "--search", "LINE 42"]).await;
    assert!(found.stdout.lines().all(|line| line.contains("line 42")) && found.stdout.contains("line 4299"));
    let page = run(&daemon, &["log", "film", "--json"]).await.json();
    assert_eq!(
        page["lines"].as_array().map(|lines| lines.len() as u64),
        page["total"].as_u64()
    );
    let followed = run(&daemon, &["log", "film", "-f"]).await;
    assert_eq!(followed.stdout.lines().count(), whole.stdout.lines().count());
}

#[tokio::test]
async fn tui20_what_is_lost_is_asked_for_first_and_needs_yes_without_a_terminal() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({"trace": "film"})).await;
    daemon.submit("long", WAIT, json!({"until": "never"})).await;
    daemon.until("long", WAIT, StageState::Running).await;
    for (args, what) in [
        (&["delete", "film"][..], "film  1 stage"),
        (&["cancel", "long"], "long  1 stage, 1 under way"),
    ] {
        let refused = run(&daemon, args).await;
        assert_eq!(refused.code, Some(2));
        assert!(
            refused.stderr.contains("--yes") && refused.stderr.contains(what),
            "{}",
            refused.stderr
        );
    }
    assert!(daemon.stage("film", ECHO).await.is_some());
    let cancelled = run(&daemon, &["cancel", "long", "--yes", "--json"]).await;
    assert_eq!(cancelled.json()["cancelled"], json!([WAIT]));
    daemon.until("long", WAIT, StageState::Cancelled).await;
    let deleted = run(&daemon, &["delete", "film", "--yes"]).await;
    assert!(
        deleted.code == Some(0) && deleted.stdout.contains("✔ film  deleted"),
        "{}",
        deleted.stdout
    );
    assert!(daemon.stage("film", ECHO).await.is_none());
    let stage = run(&daemon, &["delete", "long/test.wait", "--yes"]).await;
    assert!(
        stage.code == Some(2) && stage.stderr.contains("only whole tasks"),
        "{}",
        stage.stderr
    );
}

#[tokio::test]
async fn tui20_of_many_targets_each_has_its_result_and_one_that_failed_is_exit_code_1() {
    let daemon = Daemon::start().await;
    for task in ["one", "two", "three"] {
        daemon.done(task, ECHO, json!({"trace": task})).await;
    }
    let all = run(&daemon, &["resubmit", "--filter", "state:done id:t*"]).await;
    assert_eq!(all.code, Some(0), "{}", all.stderr);
    assert_eq!(all.stdout.matches("↺ reused").count(), 2, "{}", all.stdout);
    let some = run(&daemon, &["resubmit", "one", "missing", "--json"]).await;
    assert_eq!(some.code, Some(1));
    let results = some.json();
    let is_ok = |target: &str| {
        let results = results.as_array().expect("a list");
        let result = results.iter().find(|result| result["target"] == target);
        result.expect("its result")["ok"].as_bool()
    };
    assert_eq!((is_ok("one"), is_ok("missing")), (Some(true), Some(false)));
    let forced = run(&daemon, &["resubmit", "one", "--reuse", "never", "--wait", "--json"]).await;
    assert_eq!(forced.json()["status"], "completed");
    assert_eq!(daemon.traces("one"), 2);
    let narrow = run(&daemon, &["delete", "--filter", "id:*", "--most", "2", "--yes"]).await;
    assert!(
        narrow.code == Some(2) && narrow.stderr.contains("3 targets"),
        "{}",
        narrow.stderr
    );
    let wrong = run(&daemon, &["tasks", "--filter", "state:"]).await;
    assert!(
        wrong.code == Some(2) && wrong.stderr.contains("column "),
        "{}",
        wrong.stderr
    );
}

#[tokio::test]
async fn tui20_an_input_comes_from_standard_input_and_a_failure_is_a_problem_document() {
    let daemon = Daemon::start().await;
    let submit = ["submit", ECHO, "--task", "film", "--input", "-", "--wait", "--json"];
    let printed = run_with(&daemon, &submit, r#"{"value": "강의"}"#).await;
    assert_eq!(printed.json()["result"]["output"], json!({"value": "강의"}));
    for args in [
        &["show", "nope", "--json"][..],
        &["log", "nope", "--json"],
        &["cancel", "nope", "--yes", "--json"],
        &["redeliver", "msg_nope", "--json"],
    ] {
        let refused = run(&daemon, args).await;
        assert_eq!(refused.code, Some(2), "{args:?}: {}", refused.stdout);
        let line = refused.stderr.lines().last().unwrap_or_default();
        let problem: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{args:?}: {error}: {line}"));
        assert!(
            problem["type"].is_string() && problem["detail"].is_string(),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn tui20_check_says_what_a_token_for_reading_cannot_do() {
    const READ: &str = "read-token-of-the-check";
    let daemon = Daemon::builder()
        .env(
            "ONCEOVER_TOKENS",
            &format!("read:{READ} admin:admin-token-of-the-check"),
        )
        .token(READ)
        .start()
        .await;
    let output = onceover_at(&daemon)
        .arg("check")
        .env("ONCEOVER_TOKEN", READ)
        .output()
        .await
        .expect("onceover runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("! access"), "{printed}");
    assert!(printed.contains("read only"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui20_a_terminal_is_asked_before_a_delete_and_shows_a_wait_as_a_bar() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({"trace": "film"})).await;
    for (answer, stays) in [('n', true), ('y', false)] {
        let mut terminal = Dashboard::open_with(&daemon, 80, 24, &["delete", "film"]);
        let asked = terminal.shows("Type y to go on");
        assert!(asked.contains("film  1 stage"), "{}", asked.text());
        terminal.press(answer);
        terminal.send(Key::Enter);
        terminal.ended();
        assert_eq!(daemon.stage("film", ECHO).await.is_some(), stays, "{answer}");
    }
    let args = ["submit", WAIT, "--task", "long", "--set", "until=go", "--wait"];
    let mut terminal = Dashboard::open_with(&daemon, 80, 24, &args);
    terminal.until(|screen| screen.contains("test.wait  █") && screen.contains(" %"));
    daemon.release("go");
    terminal.shows("✔ done after");
    terminal.ended();
}
