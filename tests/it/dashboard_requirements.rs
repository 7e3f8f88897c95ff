//! Requirements of the dashboard, in a pty against a real daemon: identity, lost messages, calls that hang, questions,
//! rows, reasons, many targets, a panic, text of others.

use std::{fs, time::Duration};

use onceover_tests::{
    Daemon,
    callbacks::Receiver,
    eventually,
    http_proxy::HttpProxy,
    screen::{Dashboard, percent, row_with},
};
use onceover_types::StageState;
use onceover_wire::client::TaskQuery;
use serde_json::json;
use termlens::{Key, Screen};

const ECHO: &str = "test.echo";
const FAIL: &str = "test.fail";
const QUICK: &str = "test.quick";
const WAIT: &str = "test.wait";

/// How long a key may take to be seen while calls hang for five seconds. The build for tests is many times slower than
/// the program that is used, whose keys `make bench-tui` times.
const AT_ONCE: Duration = Duration::from_millis(900);

/// Submits so many tasks that end at once, and waits for their ends.
async fn done_quickly(daemon: &Daemon, prefix: &str, count: usize) {
    let names: Vec<_> = (0..count).map(|n| format!("{prefix}-{n:02}")).collect();
    for name in &names {
        daemon.submit(name, QUICK, json!({"trace": prefix})).await;
    }
    for name in &names {
        daemon.until(name, QUICK, StageState::Success).await;
    }
}

async fn delete(daemon: &Daemon, task: &str) {
    let answer = daemon.post(&format!("/v1/tasks/{task}/delete"), json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Goes to the tab of reuse from that of the overview.
fn open_reuse_tab(dashboard: &mut Dashboard) {
    for _ in 0..3 {
        dashboard.press(']');
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui01_the_cursor_stays_on_its_task_and_what_was_asked_about_alone_is_touched() {
    let daemon = Daemon::start().await;
    for task in ["above", "film", "below"] {
        daemon.done(task, ECHO, json!({"trace": task})).await;
    }
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", "film"]);
    dashboard.shows("┌ film ─");
    // Rows come, a neighbour goes, and the rows are sorted otherwise.
    done_quickly(&daemon, "more", 12).await;
    delete(&daemon, "above").await;
    dashboard.shows("Tasks 14");
    dashboard.press('S');
    dashboard.shows("Sort by");
    dashboard.press('i');
    let sorted = dashboard.shows("TASK / STAGE↓");
    assert!(sorted.contains("┌ film ─"), "{}", sorted.text());
    // The same while a question stands.
    dashboard.press('r');
    dashboard.shows("Rerun film");
    dashboard.press('f');
    dashboard.send(Key::Enter);
    dashboard.shows("Force 1 stage to run again?");
    daemon.done("a-new-one", ECHO, json!({"trace": "new"})).await;
    delete(&daemon, "more-03").await;
    dashboard.press('y');
    eventually("the forced run", || async {
        (daemon.traces("film") == 2).then_some(())
    })
    .await;
    daemon.idle().await;
    let runs = ["film", "below", "new"].map(|trace| daemon.traces(trace));
    assert_eq!((runs, daemon.traces("more")), ([2, 1, 1], 12));
    dashboard.shows("┌ film ─");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui03_events_that_are_lost_repeated_or_swapped_leave_nothing_wrong_on_the_screen() {
    const TASKS: usize = 20;
    let daemon = Daemon::start().await;
    let proxy = HttpProxy::start(&daemon.url()).await;
    // Events come over the daemon alone: the dashboard's Redis is not there.
    let args = ["--daemon", &proxy.url(), "--redis", "redis+unix:///nowhere/redis.sock"];
    let mut dashboard = Dashboard::open_bare(&daemon, 200, 36, &args);
    dashboard.until(|screen| screen.contains("● live") && screen.contains("via daemon"));
    proxy.spoil_events(true);
    done_quickly(&daemon, "film", TASKS).await;
    daemon.idle().await;
    // The last event may have been lost, too; a check, about every two seconds, shows that.
    let in_header = [format!("{TASKS} done"), "0 running".to_owned(), "0 pending".to_owned()];
    dashboard.within(Duration::from_secs(5), |screen| {
        let text = screen.text();
        let tasks: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with('│') && line.contains(" film-"))
            .collect();
        let are_done = !tasks.is_empty() && tasks.iter().all(|line| line.contains("✔ done"));
        are_done && screen.contains(&format!("Tasks {TASKS}")) && in_header.iter().all(|part| text.contains(part))
    });
    dashboard.until(|screen| screen.contains("gap repaired") || screen.contains("gaps repaired"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui04_keys_change_the_screen_at_once_while_every_call_hangs() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({"trace": "film"})).await;
    let proxy = HttpProxy::start(&daemon.url()).await;
    let args = ["--daemon", &proxy.url(), "--task", "film"];
    let mut dashboard = Dashboard::open_bare(&daemon, 120, 36, &args);
    dashboard.until(|screen| screen.contains("● live") && screen.contains("┌ film ─"));
    proxy.stall(Duration::from_secs(5));
    dashboard.press('r');
    dashboard.within(AT_ONCE, |screen| screen.contains("Rerun film"));
    dashboard.send(Key::Enter);
    dashboard.within(AT_ONCE, |screen| {
        row_with(screen, "▾ film").is_some_and(|row| row.contains("… requested"))
    });
    dashboard.press('j');
    dashboard.within(AT_ONCE, |screen| screen.contains("┌ film › test.echo ─"));
    dashboard.press('?');
    dashboard.within(AT_ONCE, |screen| screen.contains("Help"));
    dashboard.press('?');
    dashboard.within(AT_ONCE, |screen| !screen.contains("Help"));
    dashboard.press('n');
    dashboard.within(AT_ONCE, |screen| screen.contains("[5 Nodes]"));
    proxy.stall(Duration::ZERO);
    // What was answered late does no harm: the page is still that of nodes, and it fills.
    dashboard.until(|screen| screen.contains("[5 Nodes]") && screen.contains("ffmpeg.burn_subtitles"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui07_no_single_key_destroys_and_many_targets_need_their_count_typed() {
    const TASKS: usize = 11;
    let daemon = Daemon::start().await;
    done_quickly(&daemon, "film", TASKS).await;
    let mut dashboard = Dashboard::open(&daemon, 120, 40);
    dashboard.shows(&format!("Tasks {TASKS}"));
    for (key, question) in [('d', "Delete 1 task?"), ('r', "Rerun film-")] {
        dashboard.press(key);
        dashboard.shows(question);
        dashboard.send(Key::Esc);
        dashboard.until(|screen| !screen.contains(question));
    }
    assert_eq!(daemon.traces("film"), TASKS, "nothing has run again");
    dashboard.press('C');
    dashboard.press('*');
    dashboard.press('d');
    let count = format!("Type {TASKS} to go on");
    dashboard.shows(&count);
    dashboard.press('y');
    dashboard.send(Key::Esc);
    dashboard.until(|screen| !screen.contains(&count));
    assert!(!dashboard.screen().contains("will be deleted"), "without the count");
    dashboard.press('d');
    dashboard.shows(&count);
    dashboard.type_text(&TASKS.to_string());
    dashboard.shows(&format!("{count}: {TASKS}"));
    dashboard.send(Key::Enter);
    dashboard.shows(&format!("{TASKS} tasks will be deleted in"));
    dashboard.press('u');
    dashboard.until(|screen| !screen.contains("will be deleted") && !screen.contains("del in"));
    let kept = daemon.client.tasks(&TaskQuery::default()).await.expect("a list");
    assert_eq!(kept.items.len(), TASKS, "all of them are still there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui09_a_row_has_glyph_word_progress_attempt_and_callback_and_progress_only_grows() {
    let daemon = Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.0/8']")
        .start()
        .await;
    let receiver = Receiver::start().await;
    let url = receiver.url("/webhook/film");
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("● live");
    daemon
        .try_submit("film", WAIT, json!({"until": "go"}), Some(url), Default::default())
        .await
        .expect("it is accepted");
    let mut last = 0;
    let screen = dashboard.until(|screen| {
        let now = percent(screen, WAIT).unwrap_or(last);
        assert!(now >= last, "{now} % after {last} %:\n{}", screen.text());
        last = now;
        now >= 20
    });
    let row = row_with(&screen, WAIT).expect("its row");
    assert!(row.contains("● run"), "{row}");
    dashboard.press('j');
    dashboard.until(|screen| screen.contains("● running   attempt 1"));
    daemon.release("go");
    dashboard.until(|screen| row_with(screen, "└ test.wait").is_some_and(|row| row.contains("✔ done")));
    dashboard.until(|screen| row_with(screen, "└ test.wait").is_some_and(|row| row.contains("→✔")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui10_one_tab_says_why_a_stage_would_be_reused_waits_or_would_run() {
    let daemon = Daemon::start().await;
    daemon.done("hit", ECHO, json!({})).await;
    daemon.submit("miss", FAIL, json!({"message": "as asked"})).await;
    daemon.until("miss", FAIL, StageState::Failed).await;
    for task in ["first", "second"] {
        daemon.submit(task, WAIT, json!({"until": "go"})).await;
    }
    daemon.until("first", WAIT, StageState::Running).await;
    let expected: [(&str, &[&str]); 3] = [
        ("hit", &["would be reused", "source", "counts", "saves"]),
        ("miss", &["would run", "last run", "as asked"]),
        ("second", &["would be", "joins", "in its queue"]),
    ];
    for (task, texts) in expected {
        let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", task]);
        dashboard.shows(&format!("┌ {task} ─"));
        dashboard.press('j');
        dashboard.shows(&format!("┌ {task} › "));
        open_reuse_tab(&mut dashboard);
        dashboard.until(|screen| texts.iter().all(|text| screen.contains(text)));
        // The tab is kept for the next start; it begins with the overview again.
        for _ in 0..3 {
            dashboard.press('[');
        }
        dashboard.press('q');
        dashboard.ended();
    }
    daemon.release("go");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui12_each_of_many_targets_has_its_result_and_the_refused_one_stays_marked() {
    const NODE: &str = "test.request";
    let daemon = Daemon::start().await;
    let file = daemon.dir().join("input.txt");
    fs::write(&file, "text").expect("it is written");
    let input = json!({"value": 1, "path": file});
    let refused = daemon.done("refused", NODE, input).await;
    let accepted = daemon.done("accepted", NODE, json!({"value": 2})).await;
    fs::remove_file(&file).expect("it was there");
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.shows("Tasks 2");
    dashboard.press('C');
    dashboard.press('*');
    dashboard.press('r');
    dashboard.shows("Rerun 2");
    dashboard.press('f');
    dashboard.send(Key::Enter);
    dashboard.shows("Force 2 stages to run again?");
    dashboard.press('y');
    dashboard.shows("1 of 2 refused and still marked");
    dashboard.press('E');
    dashboard.shows("! refused");
    eventually("the other one has run", || async {
        let stage = daemon.stage("accepted", NODE).await?;
        (stage.run_id != accepted.run_id && stage.status == StageState::Success).then_some(())
    })
    .await;
    let stage = daemon.stage("refused", NODE).await.expect("the stage");
    assert_eq!(stage.run_id, refused.run_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui13_a_panic_gives_the_terminal_back_with_its_message_and_ends_the_program() {
    let daemon = Daemon::start().await;
    daemon.done("film", ECHO, json!({})).await;
    let go = daemon.dir().join("panic");
    let args = [daemon.url(), go.display().to_string()];
    let mut dashboard = Dashboard::open_program(&daemon, 100, 30, "examples/panicking_dashboard", &args);
    dashboard.until(|screen| screen.alternate_screen() && screen.contains("film"));
    fs::write(&go, "").expect("it is written");
    assert!(!dashboard.ended().success());
    let screen = dashboard.screen();
    assert!(
        !screen.alternate_screen() && screen.cursor_visible() && !screen.bracketed_paste(),
        "{}",
        screen.text()
    );
    assert!(screen.contains("a defect of the dashboard"), "{}", screen.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui14_what_a_terminal_would_obey_is_text_in_errors_and_logs() {
    const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J evil \u{9b}31m\r\u{202e}\u{0}.";
    let daemon = Daemon::start().await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    let title = dashboard.shows("● live").title().to_owned();
    daemon.submit("film", FAIL, json!({"message": EVIL})).await;
    daemon.until("film", FAIL, StageState::Failed).await;
    let is_harmless = |screen: &Screen| {
        assert!(
            screen.alternate_screen() && screen.title() == title,
            "{}",
            screen.text()
        );
        let has_control = screen
            .text()
            .chars()
            .any(|c| c != '\n' && (c.is_control() || c == '\u{202e}'));
        assert!(!has_control, "{:?}", screen.text());
        true
    };
    dashboard.until(|screen| is_harmless(screen) && screen.contains("evil") && screen.contains("● live"));
    dashboard.press('L');
    dashboard.until(|screen| is_harmless(screen) && screen.contains("something on stderr"));
    dashboard.press('q');
    dashboard.ended();
    // The command line prints it as harmlessly.
    let printed = onceover_tests::onceover_at(&daemon)
        .args(["tree", "film"])
        .output()
        .await;
    let printed = String::from_utf8(printed.expect("onceover runs").stdout).expect("text");
    assert!(
        printed.contains("evil") && !printed.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{0}']),
        "{printed:?}"
    );
}

/// Finds the columns in which a row has the lines of frames.
fn find_lines(screen: &Screen, row: u16) -> Vec<u16> {
    let is_line = |column: &u16| screen.cell(row, *column).is_some_and(|cell| cell.contents() == "│");
    (0..screen.cols()).filter(is_line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tui15_wide_and_combined_characters_keep_the_frames_in_line() {
    let daemon = Daemon::start().await;
    let texts = [
        "자막이 없습니다 — 강의 7",
        "字幕が見つかりません ｶﾅ ﾃｽﾄ",
        "没有字幕 e\u{301}a\u{308}",
    ];
    for (n, text) in texts.iter().enumerate() {
        let task = format!("film-{n}");
        daemon.submit(&task, FAIL, json!({"message": text.repeat(4)})).await;
        daemon.until(&task, FAIL, StageState::Failed).await;
    }
    let mut dashboard = Dashboard::open(&daemon, 120, 24);
    dashboard.until(|screen| screen.contains("Tasks 3") && screen.contains("film-0"));
    dashboard.press('g');
    for _ in 0..6 {
        dashboard.press('j');
        let screen = dashboard.until(|screen| screen.contains("┌ film-"));
        let rows = (0..screen.rows()).map(|row| find_lines(&screen, row));
        let framed: Vec<_> = rows.filter(|columns| columns.first() == Some(&0)).collect();
        assert!(
            framed.len() > 5 && framed.iter().all(|columns| *columns == framed[0]),
            "{framed:?}\n{}",
            screen.text()
        );
    }
    dashboard.until(|screen| ["자막이", "字幕", "没有"].iter().any(|text| screen.contains(text)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_line_counts_a_task_whose_earlier_stage_failed() {
    let daemon = Daemon::start().await;
    daemon.submit("film", FAIL, json!({"message": "as asked"})).await;
    daemon.until("film", FAIL, StageState::Failed).await;
    daemon.done("film", ECHO, json!({})).await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.until(|screen| screen.contains("0 failed, 1 partly") && screen.contains("1 done"));
    // Once it is the last stage that has failed, the task has.
    let again = daemon.post("/v1/tasks/film/stages/test.fail/resubmit", json!({"reuse": "never"}));
    assert_eq!(again.await.status, 200);
    dashboard.until(|screen| screen.contains("1 failed") && !screen.contains("partly"));
}
