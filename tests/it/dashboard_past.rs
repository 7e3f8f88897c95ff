//! The past in the dashboard, in a pty against a real daemon: the frozen view, a session that is recorded and replayed.

use onceover_tests::{
    Daemon,
    screen::{Dashboard, row_with},
};
use onceover_types::StageState;
use serde_json::json;
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
    std::fs::write(daemon.dir().join("go"), "").expect("the run is let go");
    daemon.until("film", WAIT, StageState::Success).await;
    // What has come is counted, and the row stands still.
    let frozen = dashboard.until(|screen| screen.contains("since") && !screen.contains("+0 since"));
    assert!(
        row_with(&frozen, WAIT).is_some_and(|row| row.contains("running")),
        "{}",
        frozen.text()
    );
    dashboard.press('F');
    dashboard.until(|screen| row_with(screen, WAIT).is_some_and(|row| row.contains("✔ done")));
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
