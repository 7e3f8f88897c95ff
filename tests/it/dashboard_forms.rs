//! The submit form of the dashboard in a pty, against a real daemon: whose form it is, and what it begins with.

use onceover_tests::{
    Daemon, eventually,
    screen::{Dashboard, row_with},
};
use serde_json::json;
use termlens::Key;

const NODE: &str = "test.request";

/// Opens the form of the node on the row at the cursor, and waits until it has begun with the stored request.
fn open_form(dashboard: &mut Dashboard) {
    dashboard.press('s');
    dashboard.shows("ready");
    dashboard.type_text(NODE);
    dashboard.shows("Nodes 1 of");
    dashboard.send(Key::Enter);
    dashboard.shows("with the values of the stored request");
}

/// Leaves the form and the page of nodes.
fn leave_form(dashboard: &mut Dashboard) {
    dashboard.send(Key::Esc);
    dashboard.until(|screen| !screen.contains("Submit test.request"));
    dashboard.send(Key::Esc);
    dashboard.until(|screen| screen.contains("Nodes") && !screen.contains("Nodes 1 of"));
    dashboard.send(Key::Esc);
    dashboard.shows("TASK / STAGE");
}

/// Waits until the field of the value shows a text.
fn shows_value(dashboard: &mut Dashboard, value: &str) {
    dashboard.until(|screen| row_with(screen, "▸ value").is_some_and(|row| row.contains(value)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_a_form_is_of_the_row_it_was_opened_from_and_begins_with_its_request() {
    let daemon = Daemon::start().await;
    daemon.done("c3", NODE, json!({"value": 33})).await;
    daemon.done("c4", NODE, json!({"value": 44})).await;
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", "c4"]);
    dashboard.until(|screen| screen.contains("▾ c4") && screen.contains("▾ c3"));
    open_form(&mut dashboard);
    shows_value(&mut dashboard, "44");
    leave_form(&mut dashboard);

    // The same node on another row, after a form that was left untouched.
    dashboard.press('G');
    dashboard.shows("c3 › test.request");
    open_form(&mut dashboard);
    shows_value(&mut dashboard, "33");
    dashboard.send(Key::Ctrl('u'));
    dashboard.type_text("35");
    // Past the path, to the reuse.
    dashboard.send(Key::Tab);
    dashboard.send(Key::Tab);
    dashboard.press('n');
    dashboard.shows("‹ never ›");
    dashboard.send(Key::Ctrl('s'));
    eventually("the request of c3 has what was typed", || async {
        let stage = daemon.stage("c3", NODE).await?;
        stage.input_params.get().contains("35").then_some(())
    })
    .await;
    let other = daemon.stage("c4", NODE).await.expect("the stage");
    assert_eq!(
        other.input_params.get(),
        r#"{"value":44}"#,
        "the other row has what it had"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_a_draft_is_offered_for_its_row_alone_and_never_used_by_itself() {
    let daemon = Daemon::start().await;
    daemon.done("c3", NODE, json!({"value": 33})).await;
    daemon.done("c4", NODE, json!({"value": 44})).await;
    let mut dashboard = Dashboard::open_with(&daemon, 80, 24, &["--task", "c4"]);
    dashboard.until(|screen| screen.contains("▾ c4") && screen.contains("▾ c3"));
    open_form(&mut dashboard);
    dashboard.send(Key::Ctrl('u'));
    dashboard.type_text("55");
    shows_value(&mut dashboard, "55");
    leave_form(&mut dashboard);

    dashboard.press('G');
    dashboard.shows("c3 › test.request");
    open_form(&mut dashboard);
    shows_value(&mut dashboard, "33");
    assert!(!dashboard.screen().contains("draft of"));
    leave_form(&mut dashboard);

    dashboard.press('g');
    dashboard.until(|screen| row_with(screen, "c4").is_some_and(|row| row.starts_with('│') && row.contains('▸')));
    open_form(&mut dashboard);
    shows_value(&mut dashboard, "44");
    dashboard.shows("ctrl-r restores it");
    dashboard.send(Key::Ctrl('r'));
    shows_value(&mut dashboard, "55");
}
