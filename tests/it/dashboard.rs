//! The dashboard in a pty, against a real daemon (D1 to D4).

use std::time::Duration;

use onceover_tests::{
    Daemon,
    callbacks::Receiver,
    media, onceover_at,
    screen::{Dashboard, percent, row_with},
};
use onceover_types::StageState;
use rustix::process::Signal;
use serde_json::json;
use termlens::Key;

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

async fn done(daemon: &Daemon, task: &str) {
    daemon.submit(task, ECHO, json!({"trace": task})).await;
    daemon.until(task, ECHO, StageState::Success).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_a_running_stages_bar_moves_and_its_end_shows() {
    for (columns, rows) in [(120, 36), (60, 16)] {
        let daemon = Daemon::start().await;
        let mut dashboard = Dashboard::open(&daemon, columns, rows);
        daemon.submit("film", WAIT, json!({"until": "go"})).await;
        let early = dashboard.until(|screen| percent(screen, WAIT).is_some_and(|percent| percent > 0));
        let early = percent(&early, WAIT).expect("a percentage");
        dashboard.until(|screen| percent(screen, WAIT).is_some_and(|percent| percent > early + 5));
        daemon.release("go");
        dashboard.until(|screen| row_with(screen, WAIT).is_some_and(|row| row.contains("✔ done")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d1_a_hit_is_on_screen_within_the_second() {
    for (columns, rows) in [(120, 36), (60, 16)] {
        let daemon = Daemon::start().await;
        done(&daemon, "film").await;
        let mut dashboard = Dashboard::open(&daemon, columns, rows);
        dashboard
            .until(|screen| row_with(screen, ECHO).is_some_and(|row| row.contains("✔ done") && !row.contains('↺')));
        let answer = daemon.submit("film", ECHO, json!({"trace": "film"})).await;
        assert!(answer.reuse_info.reuse_hit);
        dashboard.within(Duration::from_secs(1), |screen| {
            row_with(screen, ECHO).is_some_and(|row| row.contains('↺') && row.contains('1'))
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_resubmit_reuses_and_force_runs_again_under_the_same_task() {
    let daemon = Daemon::start().await;
    done(&daemon, "film").await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.until(|screen| row_with(screen, ECHO).is_some_and(|row| row.contains("✔ done")));
    // One key; the daemon says what each way would do before one is taken.
    dashboard.press('r');
    dashboard.until(|screen| screen.contains("Rerun film") && screen.contains("would be reused"));
    dashboard.send(Key::Enter);
    dashboard.until(|screen| row_with(screen, ECHO).is_some_and(|row| row.contains('↺')));
    assert_eq!(daemon.traces("film"), 1, "a hit runs nothing");
    let before = daemon.stage("film", ECHO).await.expect("the stage").run_id;
    dashboard.press('r');
    dashboard.shows("Rerun film");
    dashboard.press('f');
    dashboard.shows("enter asks first");
    dashboard.send(Key::Enter);
    dashboard.shows("Force 1 stage to run again?");
    dashboard.send(Key::Enter);
    dashboard.until(|screen| !screen.contains("Force 1 stage to run again?"));
    assert_eq!(daemon.traces("film"), 1, "Enter means Cancel");
    dashboard.press('r');
    dashboard.shows("Rerun film");
    dashboard.press('f');
    dashboard.send(Key::Enter);
    dashboard.shows("Force 1 stage to run again?");
    dashboard.press('y');
    onceover_tests::eventually("the forced run", || async {
        let stage = daemon.stage("film", ECHO).await?;
        (stage.run_id != before && stage.status == StageState::Success).then_some(())
    })
    .await;
    assert_eq!(daemon.traces("film"), 2);
    assert_eq!(
        daemon
            .client
            .tasks(&Default::default())
            .await
            .expect("a list")
            .items
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_delete_says_what_goes_does_nothing_by_default_and_can_be_taken_back() {
    let daemon = Daemon::start().await;
    done(&daemon, "film").await;
    done(&daemon, "other").await;
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", "film"]);
    dashboard.until(|screen| screen.contains("film") && screen.contains("other"));

    dashboard.press('d');
    let dialog = dashboard.shows("Delete 1 task?");
    assert!(
        dialog.contains("film") && dialog.contains("1 stage") && dialog.contains("share/workflows/film"),
        "{}",
        dialog.text()
    );
    dashboard.send(Key::Enter);
    dashboard.until(|screen| !screen.contains("Delete 1 task?"));
    assert!(daemon.stage("film", ECHO).await.is_some(), "Enter means Cancel");

    dashboard.press('d');
    dashboard.shows("Delete 1 task?");
    dashboard.send(Key::Tab);
    dashboard.send(Key::Enter);
    dashboard.shows("undo");
    dashboard.press('u');
    dashboard.until(|screen| !screen.contains("undo"));

    dashboard.press('d');
    dashboard.shows("Delete 1 task?");
    dashboard.send(Key::Tab);
    dashboard.send(Key::Enter);
    dashboard.until(|screen| row_with(screen, "▾ film").is_none() && row_with(screen, "▾ other").is_some());
    assert!(daemon.stage("film", ECHO).await.is_none());
    assert!(daemon.stage("other", ECHO).await.is_some(), "only its own");
    assert!(!daemon.data.join("share/workflows/film").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_cancel_asks_and_ends_the_run() {
    let daemon = Daemon::start().await;
    daemon.submit("film", WAIT, json!({"until": "never"})).await;
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", "film"]);
    dashboard.until(|screen| percent(screen, WAIT).is_some());
    dashboard.press('x');
    dashboard.shows("Keep");
    dashboard.send(Key::Tab);
    dashboard.send(Key::Enter);
    dashboard.until(|screen| row_with(screen, WAIT).is_some_and(|row| row.contains("⊘ cancelled")));
    onceover_tests::until_equal("no process", 0, || async { daemon.children().len() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_a_killed_daemon_is_announced_and_its_return_noticed_without_a_key() {
    for (columns, rows) in [(120, 36), (60, 16)] {
        let mut daemon = Daemon::start().await;
        done(&daemon, "film").await;
        let mut dashboard = Dashboard::open(&daemon, columns, rows);
        dashboard.until(|screen| screen.contains("● live") && screen.contains("film"));
        daemon.kill();
        dashboard.within(Duration::from_secs(2), |screen| {
            screen.contains("no answer") && screen.contains("film")
        });
        // Acting on what may be stale is refused, with the reason.
        dashboard.press('r');
        dashboard.shows("not while disconnected");
        daemon.launch().await;
        dashboard.within(Duration::from_secs(10), |screen| {
            screen.contains("● live") && screen.contains("film")
        });
        done(&daemon, "second").await;
        dashboard.shows("second");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_a_daemon_that_hangs_is_slow_at_first_and_lost_soon_after() {
    let daemon = Daemon::start().await;
    done(&daemon, "film").await;
    for columns in [120, 40] {
        let mut dashboard = Dashboard::open(&daemon, columns, 16);
        dashboard.until(|screen| screen.contains("● live") && screen.contains("film"));
        daemon.signal(Signal::STOP);
        dashboard.within(Duration::from_secs(2), |screen| screen.contains("● slow"));
        // Its age and the next try are there, however few the columns.
        dashboard.within(Duration::from_secs(3), |screen| {
            let banner = screen.text().lines().next().unwrap_or_default().to_owned();
            let has_age = banner.contains(" old") || banner.contains("what you see is from");
            banner.contains("no answer") && has_age && banner.contains("try")
        });
        daemon.signal(Signal::CONT);
        dashboard.within(Duration::from_secs(10), |screen| screen.contains("● live"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_without_a_daemon_it_says_how_to_start_one_and_connects_when_it_is_there() {
    let mut daemon = Daemon::start().await;
    daemon.stop().await;
    let mut dashboard = Dashboard::open(&daemon, 80, 24);
    dashboard.shows("onceoverd");
    daemon.launch().await;
    dashboard.within(Duration::from_secs(10), |screen| screen.contains("● live"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d4_a_stopped_redis_is_survived() {
    let daemon = Daemon::start().await;
    done(&daemon, "film").await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.until(|screen| screen.contains("● live") && screen.contains("film"));
    let pid = std::fs::read_to_string(daemon.data.join("redis/redis.pid")).expect("the private Redis has a pid file");
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("it can be killed");
    onceover_tests::eventually("a new Redis", || async {
        daemon
            .try_submit("second", ECHO, json!({}), None, Default::default())
            .await
            .ok()
    })
    .await;
    dashboard.until(|screen| screen.contains("● live") && screen.contains("second"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_terminal_is_left_as_it_was_found() {
    let daemon = Daemon::start().await;
    for how in ["q", "TERM", "HUP"] {
        let mut dashboard = Dashboard::open(&daemon, 80, 24);
        let screen = dashboard.until(|screen| screen.contains("● live"));
        assert!(screen.alternate_screen());
        match how {
            "q" => dashboard.press('q'),
            "TERM" => dashboard.signal(termlens::Signal::Term),
            _ => dashboard.signal(termlens::Signal::Hup),
        }
        dashboard.ended();
        let screen = dashboard.screen();
        assert!(
            !screen.alternate_screen() && screen.cursor_visible() && !screen.bracketed_paste(),
            "{how}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t24_an_id_is_sent_to_the_clipboard_of_the_terminal_and_shown_on_a_line() {
    let daemon = Daemon::start().await;
    done(&daemon, "film").await;
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", "film"]);
    dashboard.until(|screen| screen.contains("● live") && row_with(screen, ECHO).is_some());
    dashboard.press('y');
    let screen = dashboard.until(|screen| screen.clipboard().is_some());
    assert_eq!(screen.clipboard().and_then(|copied| copied.text()), Some("film"));
    let screen = dashboard.shows("sent to the terminal (OSC 52)");
    assert!(!screen.contains("copied"), "{}", screen.text());
    assert!(
        screen.text().lines().any(|line| line.trim_end() == "film"),
        "{}",
        screen.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_size_is_drawn_and_the_small_one_keeps_help_and_quit() {
    let daemon = Daemon::start().await;
    done(&daemon, "film").await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.until(|screen| screen.contains("film"));
    for (columns, rows) in [(40, 12), (200, 60), (10, 3), (60, 16)] {
        dashboard.resize(columns, rows);
        // Help, and away again.
        for key in ['j', '?', '?', 'k'] {
            dashboard.press(key);
        }
    }
    dashboard.until(|screen| screen.contains("film") && screen.contains("? help") && screen.contains("q quit"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resized_again_and_again_while_keys_come_the_screen_is_drawn_whole() {
    let daemon = Daemon::start().await;
    done(&daemon, "film").await;
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.until(|screen| screen.contains("film"));
    for _ in 0..20 {
        for (columns, rows) in [(40, 12), (200, 60), (10, 3), (60, 16)] {
            dashboard.resize(columns, rows);
            for key in ['j', '?', '?', 'k'] {
                dashboard.press(key);
            }
        }
        dashboard.until(|screen| screen.contains("film") && screen.contains("? help") && screen.contains("q quit"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req27_the_dashboard_sends_its_token_and_says_what_a_wrong_one_lacks() {
    const READ: &str = "read-token-of-the-dashboard";
    const ADMIN: &str = "admin-token-of-the-dashboard";
    let daemon = Daemon::builder()
        .env("ONCEOVER_TOKENS", &format!("read:{READ} admin:{ADMIN}"))
        .token(ADMIN)
        .start()
        .await;
    done(&daemon, "film").await;
    let file = daemon.dir().join("token");
    std::fs::write(&file, format!("{ADMIN}\n")).expect("the file is written");
    let file = file.to_str().expect("a plain path");

    // From a file; with it, changes are accepted.
    let mut dashboard = Dashboard::open_in(&daemon, 120, 36, &[], &[("ONCEOVER_TOKEN_FILE", file)]);
    dashboard.until(|screen| screen.contains("● live") && screen.contains("film"));
    dashboard.press('r');
    dashboard.shows("Rerun film");
    dashboard.send(Key::Enter);
    dashboard.until(|screen| row_with(screen, ECHO).is_some_and(|row| row.contains('↺')));

    // From the environment; one for reading sees everything and changes nothing.
    let mut dashboard = Dashboard::open_in(&daemon, 120, 36, &[], &[("ONCEOVER_TOKEN", READ)]);
    dashboard.until(|screen| screen.contains("● live") && screen.contains("film"));
    dashboard.press('r');
    dashboard.shows("Rerun film");
    dashboard.press('f');
    dashboard.send(Key::Enter);
    dashboard.shows("Force 1 stage to run again?");
    dashboard.press('y');
    dashboard.until(|screen| screen.contains("refused") && screen.contains("admin"));
    assert_eq!(daemon.traces("film"), 1, "nothing ran again");

    // A wrong one, or none, is a state on the screen that says what to do, and no end.
    for environment in [&[("ONCEOVER_TOKEN", "wrong-token")][..], &[]] {
        for (columns, rows) in [(120, 36), (60, 16)] {
            let mut dashboard = Dashboard::open_in(&daemon, columns, rows, &[], environment);
            let screen = dashboard.shows("ONCEOVER_TOKEN_FILE");
            assert!(screen.contains("refuses access"), "{}", screen.text());
            assert!(
                !screen.contains("film") && !screen.contains("wrong-token"),
                "{}",
                screen.text()
            );
            dashboard.press('q');
            dashboard.ended();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_a_callback_that_was_given_up_is_sent_again_from_the_keyboard() {
    let daemon = Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.0/8']\nschedule = ['0s', '50ms']")
        .start()
        .await;
    let receiver = Receiver::start().await;
    receiver.answer(&[503, 503]);
    let url = receiver.url("/webhook/film");
    daemon
        .try_submit("film", ECHO, json!({}), Some(url.clone()), Default::default())
        .await
        .expect("it is accepted");
    let tried = receiver.wait_for(2).await.len();

    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", "film"]);
    dashboard.until(|screen| row_with(screen, ECHO).is_some_and(|row| row.contains("→✖")));
    dashboard.press('c');
    dashboard
        .until(|screen| row_with(screen, &url).is_some_and(|row| row.contains("✖ given up") && row.contains("503")));
    dashboard.press('r');
    let dialog = dashboard.shows("Send 1 callback again?");
    assert!(
        dialog.contains(&url) && dialog.contains("film › test.echo"),
        "{}",
        dialog.text()
    );
    dashboard.send(Key::Enter);
    dashboard.until(|screen| !screen.contains("Send 1 callback again?"));
    assert_eq!(receiver.received().len(), tried, "Enter means Cancel");

    dashboard.press('r');
    dashboard.shows("Send 1 callback again?");
    dashboard.press('y');
    dashboard.until(|screen| row_with(screen, &url).is_some_and(|row| row.contains("✔ sent")));
    let received = receiver.received();
    assert_eq!(received.len(), tried + 1);
    assert_eq!(received[0].header("webhook-id"), received[tried].header("webhook-id"));
    dashboard.send(Key::Esc);
    dashboard.until(|screen| row_with(screen, ECHO).is_some_and(|row| row.contains("→✔")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_the_reuse_tab_notices_a_file_that_went() {
    const FILE: &str = "test.file";
    let daemon = Daemon::start().await;
    let stage = daemon.done("film", FILE, json!({})).await;
    let mut dashboard = Dashboard::open_with(&daemon, 120, 36, &["--task", "film"]);
    dashboard.until(|screen| row_with(screen, FILE).is_some_and(|row| row.contains("✔ done")));
    dashboard.press('j');
    for _ in 0..3 {
        dashboard.press(']');
    }
    dashboard.until(|screen| screen.contains("would be reused") && screen.contains("counts    file"));
    let output: serde_json::Value = serde_json::from_str(stage.output.get()).expect("JSON");
    std::fs::remove_file(output["file"].as_str().expect("a path")).expect("the file was there");
    dashboard.until(|screen| screen.contains("artifact_missing") && !screen.contains("would be reused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_the_submit_form_puts_refusals_at_their_fields_and_runs_what_is_right() {
    const NODE: &str = "ffmpeg.extract_keyframes";
    let daemon = Daemon::start().await;
    let video = daemon.dir().join("강의 1.mp4");
    media::clip(&video, 1);
    for (columns, rows) in [(120, 36), (40, 12)] {
        let task = format!("film-{columns}");
        let mut dashboard = Dashboard::open(&daemon, columns, rows);
        dashboard.shows("● live");
        dashboard.press('s');
        dashboard.shows("ready");
        dashboard.type_text("keyframes");
        dashboard.until(|screen| screen.contains("Nodes 1 of"));
        dashboard.send(Key::Enter);
        dashboard.shows("Submit ffmpeg.extract_key");
        // Where the row has such a stage, the form begins with its request.
        dashboard.until(|screen| !screen.contains("reading the stored request"));
        // The task: empty, or that of the row the cursor was on.
        dashboard.send(Key::BackTab);
        dashboard.send(Key::Ctrl('u'));
        dashboard.type_text(&task);
        dashboard.send(Key::Tab);
        dashboard.send(Key::Ctrl('u'));
        dashboard.type_text("/nothing/here.mp4");
        // Past the picture track.
        dashboard.send(Key::Tab);
        dashboard.send(Key::Tab);
        dashboard.send(Key::Ctrl('u'));
        dashboard.type_text("0");
        dashboard.send(Key::Ctrl('s'));
        dashboard.until(|screen| screen.contains("refused") && screen.contains("✖"));
        assert!(daemon.stage(&task, NODE).await.is_none(), "nothing is stored");

        // Upwards to the first field, and one down.
        for _ in 0..6 {
            dashboard.send(Key::BackTab);
        }
        dashboard.send(Key::Tab);
        dashboard.send(Key::Ctrl('u'));
        dashboard.type_text(video.to_str().expect("a plain path"));
        dashboard.send(Key::Tab);
        dashboard.send(Key::Tab);
        dashboard.send(Key::Ctrl('u'));
        dashboard.type_text("3");
        dashboard.until(|screen| row_with(screen, "keyframe_sample").is_some_and(|row| row.contains('3')));
        dashboard.send(Key::Ctrl('s'));
        // The pane beside the tree is headed by the task as well.
        dashboard.until(|screen| {
            let text = screen.text();
            text.lines().any(|row| row.contains(&task) && row.contains("done"))
        });
        let stage = daemon.until(&task, NODE, StageState::Success).await;
        assert!(
            stage.output.get().contains("\"keyframe_files_count\":3"),
            "{}",
            stage.output.get()
        );
        dashboard.press('q');
        dashboard.ended();
    }
}

#[tokio::test]
async fn o4_the_command_line_prints_nodes_and_a_line_for_each_field_that_was_refused() {
    let daemon = Daemon::start().await;
    let run = async |args: &[&str]| {
        let output = onceover_at(&daemon).args(args).output().await.expect("onceover runs");
        let text = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    let (code, list) = run(&["nodes"]).await;
    assert_eq!(code, Some(0));
    assert!(
        list.contains("✔ ffmpeg.extract_audio") && list.contains("Extract audio"),
        "{list}"
    );
    let (code, card) = run(&["nodes", "ffmpeg.split_audio_segments"]).await;
    assert_eq!(code, Some(0));
    for text in [
        "sample_rate  integer, 8000 to 192000, default 16000",
        "One of wav, flac",
        "audio_segments_dir  path",
    ] {
        assert!(card.contains(text), "no {text:?} in {card}");
    }
    assert_eq!(run(&["nodes", "no.such"]).await.0, Some(2));

    let sets = ["video_path=7", "keyframe_sample_count=0"];
    let (code, refused) = run(&[&["submit", "ffmpeg.extract_keyframes", "--set"][..], &sets].concat()).await;
    assert_eq!(code, Some(2));
    for line in [
        "2 fields cannot be accepted",
        "  video_path             it must be a path (a string)",
        "as a text: --set 'video_path=\"7\"'",
        "  keyframe_sample_count  it must be at least 1",
        "onceover nodes ffmpeg.extract_keyframes",
    ] {
        assert!(refused.contains(line), "no {line:?} in {refused}");
    }
}
