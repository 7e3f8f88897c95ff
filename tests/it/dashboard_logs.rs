//! The page of a log in a pty, against a real daemon and a log that is longer than what is kept of it.

use onceover_tests::{Daemon, screen::Dashboard};
use onceover_types::StageState;
use serde_json::json;

/// Prints more than a log keeps, and fails.
const LONG: &str = r#"
[[nodes]]
name = "log.long"
queue = "io"
runner = { command = ["python3", "-S", "-c", """
import sys
sys.stdin.read()
for number in range(1, 60001): print('segment', number, 'x' * 160)
print('RuntimeError: CUDA out of memory', flush=True)
sys.exit(3)
"""] }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_logs_end_is_there_its_beginning_too_and_a_search_finds_lines_in_both() {
    let daemon = Daemon::builder().nodes(LONG).start().await;
    daemon.submit("film", "log.long", json!({})).await;
    daemon.until("film", "log.long", StageState::Failed).await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("log.long");
    dashboard.press('j');
    dashboard.press('L');
    dashboard.shows("RuntimeError: CUDA out of memory");
    dashboard.shows("500 of 600");
    dashboard.press('g');
    dashboard.shows("segment 1 x");
    dashboard.type_text("/segment 59999");
    dashboard.send(termlens::Key::Enter);
    dashboard.shows("1 of 1");
    dashboard.shows("segment 59998 x");
    dashboard.type_text("flines) left out");
    dashboard.send(termlens::Key::Enter);
    dashboard.shows("0 found");
}

/// The column of the border between tree and detail.
fn border(screen: &termlens::Screen) -> Option<usize> {
    let text = screen.text();
    let frame = text.lines().find(|line| line.contains("┐┌"))?;
    frame.chars().position(|c| c == '┐')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_border_that_was_moved_is_there_at_the_next_start() {
    let daemon = Daemon::start().await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    let first = dashboard.until(|screen| border(screen).is_some());
    let first = border(&first).unwrap();
    dashboard.type_text("<<<");
    let moved = dashboard.until(|screen| border(screen).is_some_and(|column| column + 10 < first));
    dashboard.press('q');
    dashboard.ended();
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.until(|screen| border(screen) == border(&moved));
}
