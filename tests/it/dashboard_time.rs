//! The timeline of a task, the comparison of two runs and the logs of a whole task in a pty, against a real daemon.

use onceover_tests::{
    Daemon,
    daemon::{node_name, task_id},
    eventually,
    screen::{Dashboard, row_with},
};
use onceover_types::{StageState, Timestamp};
use onceover_wire::{ReuseMode, StageView};
use serde_json::json;
use termlens::{Key, Screen};

const NODES: &str = r#"
[[nodes]]
name = "time.first"
queue = "io"
runner = { command = ["python3", "-S", "-c", """
import sys, time
sys.stdin.read()
print('alpha begins', flush=True)
time.sleep(2)
print('alpha ends', flush=True)
print('{"type": "output", "output": {"value": 1}}', flush=True)
"""] }

[[nodes]]
name = "time.second"
queue = "io"
runner = { command = ["python3", "-S", "-c", """
import sys, time
sys.stdin.read()
for number in range(1, 41):
    print('beta', number, flush=True)
    time.sleep(0.05)
print('ERROR: beta has failed', flush=True)
sys.exit(3)
"""] }

[[nodes]]
name = "time.endless"
queue = "io"
runner = { command = ["python3", "-S", "-c", """
import sys, time
sys.stdin.read()
for number in range(1, 2000):
    print('gamma', number, flush=True)
    time.sleep(0.05)
"""] }
"#;

/// The columns of a row that have the glyph: the first one, and the one after the last.
fn columns_of(screen: &Screen, text: &str, glyphs: [char; 2]) -> Option<(i64, i64)> {
    let row = row_with(screen, text)?;
    // Before the bars stand the state and the name.
    let found: Vec<_> = row
        .chars()
        .enumerate()
        .filter(|(at, c)| *at > 30 && glyphs.contains(c))
        .collect();
    Some((found.first()?.0 as i64, found.last()?.0 as i64 + 1))
}

/// Which of how many lines the search is at.
fn found_of(screen: &Screen) -> Option<(u64, u64)> {
    let row = row_with(screen, "/alpha: ")?;
    let mut words = row.split("/alpha: ").nth(1)?.split_whitespace();
    let at = words.next()?.parse().ok()?;
    Some((at, words.nth(1)?.parse().ok()?))
}

/// Checks where a bar begins and ends, to one column.
fn assert_bar(screen: &Screen, name: &str, glyphs: [char; 2], stage: &StageView, span: (Timestamp, Timestamp)) {
    let axis = row_with(screen, " 0 s").expect("the axis");
    let left = axis
        .chars()
        .collect::<Vec<_>>()
        .windows(3)
        .position(|it| it == ['0', ' ', 's']);
    let left = left.expect("its first label") as f64;
    // The frame has the last column.
    let columns = 119.0 - left;
    let seconds = span.1.seconds_since(span.0);
    let column = |time: Option<Timestamp>| left + time.expect("a time").seconds_since(span.0) / seconds * columns;
    let (first, end) = columns_of(screen, name, glyphs).expect("a bar");
    let (from, to) = (column(stage.started_at), column(stage.ended_at));
    assert!(
        (first as f64 - from).abs() <= 1.5,
        "{name} begins at {first}, not {from}\n{}",
        screen.text()
    );
    assert!(
        (end as f64 - to).abs() <= 1.5,
        "{name} ends at {end}, not {to}\n{}",
        screen.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui21_the_bars_of_a_real_task_are_where_its_stages_ran_and_the_running_one_goes_on() {
    let daemon = Daemon::builder().nodes(NODES).start().await;
    let first = daemon.done("film", "time.first", json!({})).await;
    daemon.submit("film", "time.second", json!({})).await;
    let second = daemon.until("film", "time.second", StageState::Failed).await;
    let mut dashboard = Dashboard::open(&daemon, 120, 20);
    dashboard.shows("time.second");
    dashboard.press('t');
    let screen = dashboard.until(|screen| screen.contains("film › timeline") && screen.contains("✖"));
    let span = (first.queued_at.expect("a time"), second.ended_at.expect("a time"));
    assert_bar(&screen, "time.first", ['█', '█'], &first, span);
    assert_bar(&screen, "time.second", ['█', '✖'], &second, span);
    daemon.submit("film", "time.endless", json!({})).await;
    let early = dashboard.until(|screen| columns_of(screen, "time.endless", ['▶', '▶']).is_some());
    // What has ended becomes narrower while the last one goes on.
    let width = |screen: &Screen| columns_of(screen, "time.first", ['█', '█']).map(|(from, to)| to - from);
    let before = width(&early).expect("a bar");
    dashboard.until(|screen| width(screen).is_some_and(|width| width < before));
    // Enter goes to the stage.
    dashboard.send(Key::Enter);
    dashboard.shows("[Overview]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui11_the_logs_of_a_real_task_are_one_stream_that_is_followed_and_searched() {
    let daemon = Daemon::builder().nodes(NODES).start().await;
    daemon.submit("film", "time.first", json!({})).await;
    daemon.submit("film", "time.second", json!({})).await;
    daemon.until("film", "time.first", StageState::Success).await;
    daemon.until("film", "time.second", StageState::Failed).await;
    let mut dashboard = Dashboard::open(&daemon, 120, 60);
    dashboard.shows("time.second");
    dashboard.press('L');
    let screen = dashboard.until(|screen| screen.contains("alpha ends") && screen.contains("beta has failed"));
    let text = screen.text();
    let at = |wanted: &str| text.lines().position(|line| line.contains(wanted)).expect("the line");
    assert!(
        at("alpha begins") < at("alpha ends") && at("beta 1") < at("beta 40"),
        "{text}"
    );
    assert!(
        row_with(&screen, "alpha ends").is_some_and(|row| row.contains("first")),
        "{text}"
    );
    daemon.submit("film", "time.endless", json!({})).await;
    dashboard.until(|screen| screen.contains("following 1") && screen.contains("gamma 5"));
    dashboard.type_text("/alpha");
    dashboard.send(Key::Enter);
    let last = dashboard.until(|screen| found_of(screen).is_some_and(|(at, of)| at == of));
    dashboard.press('n');
    let screen = dashboard.until(|screen| found_of(screen) != found_of(&last));
    assert!(screen.contains("beta"), "the lines around it stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_of_a_stage_are_compared_side_by_side() {
    let daemon = Daemon::start().await;
    let before = daemon.done("film", "test.echo", json!({"trace": "one"})).await.run_id;
    let (task, node) = (task_id("film"), node_name("test.echo"));
    let resubmitted = daemon.client.resubmit(&task, &node, ReuseMode::Never).await;
    resubmitted.expect("it runs again");
    eventually("the second run", || async {
        let stage = daemon.stage("film", "test.echo").await?;
        (stage.run_id != before && stage.status == StageState::Success).then_some(())
    })
    .await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("test.echo");
    dashboard.press('j');
    dashboard.press('=');
    dashboard.until(|screen| screen.contains("run 1 of 2") && screen.contains("run 2 of 2"));
    dashboard.send(Key::Esc);
    dashboard.shows("Overview");
}
