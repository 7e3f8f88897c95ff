//! The pages of the machine, of queues, of workers, of events and of commands in a pty, against a real daemon.

use onceover_tests::{
    Daemon,
    screen::{Dashboard, row_with},
};
use onceover_types::StageState;
use serde_json::json;
use termlens::Key;

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machines_load_is_shown_with_the_stage_that_runs() {
    let daemon = Daemon::start().await;
    daemon.submit("film", WAIT, json!({"until": "go"})).await;
    daemon.until("film", WAIT, StageState::Running).await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows(WAIT);
    dashboard.press('M');
    dashboard.until(|screen| {
        let figures = row_with(screen, "memory").is_some_and(|row| row.contains(" % ") && row.contains(" of "));
        figures && screen.contains(&format!("film › {WAIT}")) && screen.contains("[3 Machine]")
    });
    // Its own slot is counted beside it, and Esc goes back.
    dashboard.until(|screen| row_with(screen, "slots now").is_some_and(|row| row.contains("1 of ")));
    dashboard.send(Key::Esc);
    dashboard.shows("[1 Tasks]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_waits_is_on_the_page_of_queues_with_why_and_enter_goes_to_it() {
    let daemon = Daemon::builder().config("[slots]\ngpu = 1").start().await;
    daemon.submit("first", WAIT, json!({"until": "go"})).await;
    daemon.until("first", WAIT, StageState::Running).await;
    daemon.submit("second", WAIT, json!({"until": "go"})).await;
    daemon.until("second", WAIT, StageState::Pending).await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("second");
    dashboard.press('2');
    dashboard.until(|screen| {
        row_with(screen, &format!("second › {WAIT}")).is_some_and(|row| row.contains("the only slot is used"))
    });
    dashboard.shows("a minute");
    // Below the classes before it and its own.
    let queues = daemon.client.queues().await.expect("the queues").queues;
    let class = queues.iter().position(|queue| queue.pending == 1);
    for _ in 0..=class.expect("a class in which it waits") {
        dashboard.press('j');
    }
    dashboard.send(Key::Enter);
    dashboard.until(|screen| screen.contains("[1 Tasks]") && screen.contains(&format!("second › {WAIT}")));
    dashboard.send(Key::Esc);
    dashboard.shows("[2 Queues]");
    daemon.release("go");
    daemon.until("second", WAIT, StageState::Success).await;
    dashboard.until(|screen| screen.contains("0 waiting"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_workers_says_that_no_service_is_run_by_any() {
    let daemon = Daemon::start().await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("live");
    dashboard.press('B');
    dashboard.until(|screen| {
        screen.contains("Queues › workers") && screen.contains("no service of this daemon is run by Celery workers")
    });
    dashboard.send(Key::Esc);
    dashboard.shows("[1 Tasks]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_as_they_happen_and_an_action_is_kept_as_a_command_that_does_the_same() {
    let daemon = Daemon::start().await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("live");
    dashboard.press('X');
    dashboard.shows("[7 Events]");
    daemon.done("film", ECHO, json!({})).await;
    dashboard.until(|screen| screen.contains("succeeded") && screen.contains(&format!("film › {ECHO}")));
    daemon.submit("film", WAIT, json!({"until": "never"})).await;
    daemon.until("film", WAIT, StageState::Running).await;
    dashboard.until(|screen| row_with(screen, WAIT).is_some_and(|row| row.contains("started")));
    // To the row of the newest event, which is the run.
    dashboard.send(Key::Enter);
    dashboard.shows("[1 Tasks]");
    dashboard.press('x');
    dashboard.shows("[ Keep ]");
    dashboard.send(Key::Tab);
    dashboard.send(Key::Enter);
    daemon.until("film", WAIT, StageState::Cancelled).await;
    dashboard.press('H');
    dashboard.until(|screen| screen.contains("onceover --daemon") && screen.contains("curl -X DELETE"));
}
