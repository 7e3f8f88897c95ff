//! The past in the dashboard, in a pty against a real daemon: the frozen view, a session that is recorded and replayed.

use std::path::Path;

use onceover_tests::{
    Daemon,
    screen::{Dashboard, row_with},
};
use onceover_types::StageState;
use serde_json::{Value, json};
use termlens::Key;

const WAIT: &str = "test.wait";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui22_the_view_is_frozen_and_steps_through_what_was() {
    let daemon = Daemon::start().await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("● live");
    daemon.submit("film", WAIT, json!({"until": "go"})).await;
    dashboard.until(|screen| row_with(screen, WAIT).is_some_and(|row| row.contains("running")));
    dashboard.press('F');
    dashboard.shows("frozen: you see");
    daemon.release("go");
    daemon.until("film", WAIT, StageState::Success).await;
    // What has come is counted, and the row stands still.
    let frozen = dashboard.until(|screen| screen.contains("since") && !screen.contains("+0 since"));
    assert!(
        row_with(&frozen, WAIT).is_some_and(|row| row.contains("running")),
        "{}",
        frozen.text()
    );
    dashboard.press('F');
    dashboard.until(|screen| row_with(screen, "└ test.wait").is_some_and(|row| row.contains("✔ done")));
    // Back from the end to before the task existed.
    dashboard.press('F');
    dashboard.shows("frozen: you see");
    let mut states = Vec::new();
    for _ in 0..200 {
        dashboard.press(',');
        let back = states.len() + 1;
        let text = format!("{back} change");
        let screen = dashboard.until(|screen| screen.contains(&text) || screen.contains("no earlier change"));
        states.push(row_with(&screen, WAIT));
        if screen.contains("no earlier change") {
            break;
        }
    }
    assert!(states.iter().flatten().any(|row| row.contains("running")), "{states:?}");
    assert_eq!(states.last(), Some(&None), "before the first change there is no task");
    dashboard.send(Key::Esc);
    dashboard.until(|screen| screen.contains("● live") && row_with(screen, WAIT).is_some());
}

/// A node that takes a key.
const SECRET_NODE: &str = r#"
[[nodes]]
name = "test.secret"
queue = "io"
runner = { command = ["true"] }
[[nodes.parameters]]
name = "api_key"
type = "string"
meaning = "A key."
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui19_a_session_is_recorded_without_its_secrets_and_replays_byte_for_byte() {
    const TOKEN: &str = "admin-token-of-the-recording";
    const KEY: &str = "sk-quite-secret";
    let daemon = Daemon::builder()
        .env("ONCEOVER_TOKENS", &format!("admin:{TOKEN}"))
        .token(TOKEN)
        .config(SECRET_NODE)
        .start()
        .await;
    let file = daemon.dir().join("session.jsonl");
    let path = file.to_str().expect("a plain path");
    let mut dashboard = Dashboard::open_in(&daemon, 80, 24, &["--record", path], &[("ONCEOVER_TOKEN", TOKEN)]);
    dashboard.shows("live");
    daemon.submit("film", WAIT, json!({"until": "go"})).await;
    dashboard.until(|screen| row_with(screen, WAIT).is_some_and(|row| row.contains("running")));
    dashboard.press('j');
    dashboard.press('?');
    dashboard.shows("Help");
    dashboard.send(Key::Esc);
    dashboard.resize(100, 30);
    daemon.release("go");
    dashboard.until(|screen| row_with(screen, "└ test.wait").is_some_and(|row| row.contains("✔ done")));
    dashboard.press('s');
    dashboard.shows("[5 Nodes]");
    dashboard.type_text("test.secret");
    dashboard.until(|screen| screen.contains("Nodes 1 of"));
    dashboard.send(Key::Enter);
    dashboard.shows("Submit test.secret");
    dashboard.type_text(KEY);
    let screen = dashboard.shows(&"*".repeat(KEY.len()));
    assert!(!screen.contains(KEY), "{}", screen.text());
    dashboard.send(Key::Ctrl('c'));
    dashboard.ended();

    let recorded = std::fs::read_to_string(&file).expect("the recording is there");
    for secret in [TOKEN, KEY, "Authorization", "authorization"] {
        assert!(!recorded.contains(secret), "{secret}");
    }
    let typed = recorded.lines().filter_map(|line| {
        let key = line.strip_prefix(r#"{"event":{"key":""#)?;
        key.strip_suffix(r#""}}"#)
    });
    let typed: String = typed.collect();
    assert!(
        typed.contains(&"*".repeat(KEY.len())) && !typed.contains(KEY),
        "{typed}"
    );
    let output = onceover_tests::onceover()
        .args(["replay", path, "--log-dir"])
        .arg(daemon.dir())
        .output()
        .await
        .expect("onceover runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("all as recorded"),
        "{output:?}"
    );
    // In a terminal it is shown, until a key is pressed after its end.
    let mut shown = Dashboard::open_with(&daemon, 120, 40, &["replay", path, "--speed", "1000"]);
    shown.shows("Submit test.secret");
    shown.press('q');
    shown.shows("all as recorded");
    shown.ended();
    // `ONCEOVER_RECORDING=FILE` keeps one: that of the repository, or one to send with an issue.
    if let Some(kept) = std::env::var_os("ONCEOVER_RECORDING") {
        std::fs::copy(&file, kept).expect("it can be written");
    }
}

#[tokio::test]
async fn tui19_the_session_of_the_repository_replays_byte_for_byte() {
    let session = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions/dashboard.jsonl");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = onceover_tests::onceover()
        .args(["replay", "--json"])
        .arg(&session)
        .arg("--log-dir")
        .arg(folder.path())
        .output()
        .await
        .expect("onceover runs");
    let tally: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let has_frames = tally["frames"].as_u64().is_some_and(|frames| frames > 5);
    assert!(
        output.status.success() && tally["different"] == 0 && has_frames,
        "{output:?}\ntests/sessions/README.md says how to look at the difference, and how to record it again"
    );
}
