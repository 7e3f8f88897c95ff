//! Rerun with changes in a pty, against a real daemon: the form, the user's editor and pager.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use onceover_tests::{
    Daemon, eventually,
    screen::{Dashboard, row_with},
};
use serde_json::json;
use termlens::Key;

const NODE: &str = "test.request";

/// Opens the dashboard with the cursor on the stage of `film`.
fn open_on_stage(daemon: &Daemon, environment: &[(&str, &str)]) -> Dashboard {
    let mut dashboard = Dashboard::open_in(daemon, 120, 36, &["--task", "film"], environment);
    dashboard.shows("▾ film");
    dashboard.press('j');
    dashboard.shows("film › test.request");
    dashboard
}

/// Writes a program of the user.
fn write_program(daemon: &Daemon, name: &str, script: &str) -> PathBuf {
    let path = daemon.dir().join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("it is written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be started");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui08_a_parameter_is_changed_reviewed_and_the_stage_runs_again() {
    let daemon = Daemon::start().await;
    let former = daemon.done("film", NODE, json!({"value": 44})).await;
    let mut dashboard = open_on_stage(&daemon, &[]);
    dashboard.press('e');
    dashboard.shows("with the values of the stored request");
    dashboard.until(|screen| row_with(screen, "▸ value").is_some_and(|row| row.contains("44")));
    dashboard.send(Key::Ctrl('u'));
    dashboard.press('0');
    dashboard.shows("it must be at least 1");
    dashboard.send(Key::Ctrl('u'));
    dashboard.type_text("55");
    dashboard.shows("~ value  44 -> 55");
    dashboard.send(Key::Ctrl('s'));
    dashboard.shows("Rerun film › test.request with changes?");
    dashboard.shows("reuse  strict");
    dashboard.shows("would run: the input differs");
    dashboard.send(Key::Enter);
    eventually("the stage has run with what was typed", || async {
        let stage = daemon.stage("film", NODE).await?;
        let is_new = stage.run_id != former.run_id && stage.output.get().contains("55");
        is_new.then_some(())
    })
    .await;
    dashboard.shows("TASK / STAGE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui08_the_request_is_edited_as_json_and_a_broken_one_comes_back_to_the_editor() {
    let daemon = Daemon::start().await;
    daemon.done("film", NODE, json!({"value": 44})).await;
    // Breaks the text the first time, and mends it when it comes back.
    let editor = write_program(
        &daemon,
        "editor",
        r#"case $(head -n 1 "$1") in
*"not taken over"*) sed -i 's/x44/66/' "$1" ;;
*) sed -i 's/44/x44/' "$1" ;;
esac"#,
    );
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = [
        ("EDITOR", editor.to_str().expect("a name in UTF-8")),
        ("PATH", path.as_str()),
    ];
    let mut dashboard = open_on_stage(&daemon, &environment);
    dashboard.press('e');
    dashboard.shows("with the values of the stored request");
    dashboard.send(Key::Ctrl('e'));
    dashboard.shows("~ value  44 -> 66");
    // The keyboard is the dashboard's again.
    dashboard.send(Key::Ctrl('s'));
    dashboard.shows("with changes?");
    dashboard.send(Key::Enter);
    eventually("the stage has what was edited", || async {
        let stage = daemon.stage("film", NODE).await?;
        stage.input_params.get().contains("66").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pager_has_the_terminal_until_it_ends_and_a_missing_one_says_so() {
    let daemon = Daemon::start().await;
    daemon.done("film", NODE, json!({"value": 44})).await;
    let pager = write_program(&daemon, "pager", r#"cat "$1"; echo "press enter"; read -r line"#);
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = [
        ("PAGER", pager.to_str().expect("a name in UTF-8")),
        ("PATH", path.as_str()),
    ];
    let mut dashboard = open_on_stage(&daemon, &environment);
    // To the output.
    dashboard.send(Key::Tab);
    dashboard.send(Key::Tab);
    dashboard.shows("\"request\"");
    dashboard.press('O');
    dashboard.shows("press enter");
    dashboard.send(Key::Enter);
    dashboard.shows("TASK / STAGE");
    dashboard.press('q');
    dashboard.ended();

    let environment = [("PAGER", "no-such-pager"), ("PATH", path.as_str())];
    let mut dashboard = open_on_stage(&daemon, &environment);
    dashboard.send(Key::Tab);
    dashboard.send(Key::Tab);
    dashboard.shows("\"request\"");
    dashboard.press('O');
    dashboard.shows("cannot run no-such-pager: no such program; set $PAGER");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_palette_goes_where_its_entry_says() {
    let daemon = Daemon::start().await;
    daemon.done("zq-other", NODE, json!({"value": 4})).await;
    daemon.done("film", NODE, json!({"value": 44})).await;
    let mut dashboard = open_on_stage(&daemon, &[]);
    dashboard.type_text(":nodes");
    dashboard.shows("Do or go to");
    dashboard.send(Key::Enter);
    dashboard.shows("[5 Nodes]");
    dashboard.send(Key::Ctrl('p'));
    dashboard.shows("Do or go to");
    dashboard.type_text("zq-o");
    dashboard.shows("task zq-other");
    dashboard.send(Key::Enter);
    dashboard.shows("┌ zq-other ─");
}
