//! Videos and their pipelines from the keyboard and the command line, against a real daemon (D2, D3, V1 to V3).

use std::{fs, path::PathBuf};

use onceover_tests::{
    Daemon, eventually, media, onceover_at,
    screen::{Dashboard, percent, row_with},
};
use onceover_types::VideoId;
use onceover_wire::ProcessingStatus;
use tempfile::TempDir;
use termlens::{Key, Screen};

/// `hold` goes on until the file `go` is there, `last` waits for it.
const HELD: &str = r#"
name = "held"
title = "Held"
[[steps]]
name = "first"
node = "test.echo"
parameters = { trace = "first" }
[[steps]]
name = "hold"
node = "test.wait"
needs = ["first"]
weight = 80
parameters = { until = "go", trace = "hold" }
[[steps]]
name = "last"
node = "test.fields"
needs = ["hold"]
parameters = { trace = "last" }
"#;

struct Bed {
    daemon: Daemon,
    clip: PathBuf,
    _files: TempDir,
}

impl Bed {
    async fn new() -> Self {
        let files = tempfile::tempdir().expect("a temporary folder");
        let clip = files.path().join("강의 7.mp4");
        media::clip(&clip, 1);
        let pipelines = files.path().join("pipelines");
        fs::create_dir(&pipelines).expect("a folder");
        fs::write(pipelines.join("held.toml"), HELD).expect("the pipeline is written");
        let config = format!("[pipelines]\ndefault = 'held'\ndirs = ['{}']\n", pipelines.display());
        let daemon = Daemon::builder().media_root(files.path()).config(&config).start().await;
        Self {
            daemon,
            clip,
            _files: files,
        }
    }

    fn let_go(&self) {
        self.daemon.release("go");
    }

    fn hold_again(&self) {
        fs::remove_file(self.daemon.dir().join("go")).expect("it was let go");
    }
}

/// Whether the row of a text has this in it.
fn row_has(screen: &Screen, text: &str, part: &str) -> bool {
    row_with(screen, text).is_some_and(|row| row.contains(part))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d3_a_video_is_registered_started_followed_and_reprocessed_from_the_keyboard() {
    const TASK: &str = "▾ video-film";
    let bed = Bed::new().await;
    for (columns, rows) in [(120, 36), (40, 12)] {
        let wide = columns > 100;
        let mut dashboard = Dashboard::open(&bed.daemon, columns, rows);
        dashboard.shows("● live");
        dashboard.press('v');
        if wide {
            // Registered with a path that is not there first: said at its field, nothing stored.
            dashboard.shows("no video is registered");
            dashboard.press('a');
            dashboard.shows("Register a video");
            dashboard.type_text("/nothing/here.mp4");
            dashboard.send(Key::Tab);
            dashboard.type_text("film");
            dashboard.send(Key::Ctrl('s'));
            dashboard.until(|screen| screen.contains("refused") && screen.contains("✖"));
            dashboard.send(Key::BackTab);
            dashboard.send(Key::Ctrl('u'));
            dashboard.type_text(bed.clip.to_str().expect("a plain path"));
            dashboard.send(Key::Ctrl('s'));
            dashboard.until(|screen| row_has(screen, "film", "· never run"));
            dashboard.press('r');
            dashboard.shows("Rerun video-film");
            dashboard.send(Key::Enter);
            let dialog = dashboard.shows("Start a pipeline of 1 video?");
            assert!(dialog.contains("never processed"), "{}", dialog.text());
            dashboard.shows("‹ held ›");
            dashboard.send(Key::Enter);
        } else {
            bed.hold_again();
            // All of it again.
            dashboard.shows("Videos 1");
            dashboard.until(|screen| row_has(screen, "film", "✔ done"));
            dashboard.press('r');
            dashboard.shows("Rerun video-film");
            dashboard.press('r');
            dashboard.send(Key::Enter);
            dashboard.until(|screen| screen.contains("‹ held ›") && screen.contains("[ Cancel ]"));
            dashboard.press('y');
        }
        dashboard.until(|screen| row_has(screen, "film", "● run"));
        dashboard.send(Key::Enter);
        let early = dashboard.until(|screen| percent(screen, TASK).is_some_and(|percent| percent > 0));
        let early = percent(&early, TASK).expect("a percentage");
        dashboard.until(|screen| {
            percent(screen, TASK).is_some_and(|percent| percent > early)
                && percent(screen, "├ test.wait").is_some()
                && row_has(screen, "└ test.fields", "… waits for hold")
        });
        bed.let_go();
        dashboard.until(|screen| row_has(screen, TASK, "✔ done") && row_has(screen, "└ test.fields", "✔ done"));

        // The second step and what depends on it; the first is kept.
        bed.hold_again();
        dashboard.press('j');
        dashboard.press('j');
        dashboard.press('r');
        dashboard.shows("Rerun video-film");
        dashboard.press('d');
        dashboard.send(Key::Enter);
        let dialog = dashboard.shows("Reprocess 1 video?");
        assert!(dialog.contains("again: hold, last"), "{}", dialog.text());
        dashboard.send(Key::Enter);
        dashboard.until(|screen| !screen.contains("Reprocess 1 video?"));
        assert_eq!(
            bed.daemon.traces("hold"),
            if wide { 1 } else { 3 },
            "Enter means Cancel"
        );
        dashboard.press('r');
        dashboard.shows("Rerun video-film");
        dashboard.press('d');
        dashboard.send(Key::Enter);
        dashboard.shows("Reprocess 1 video?");
        dashboard.press('y');
        dashboard.until(|screen| {
            percent(screen, "├ test.wait").is_some()
                // The result of the run before does not look like one of this.
                && row_has(screen, "└ test.fields", "… waits for hold")
                && row_has(screen, "├ test.echo", "↺ reused")
        });
        bed.let_go();
        dashboard.until(|screen| row_has(screen, TASK, "✔ done") && row_has(screen, "└ test.fields", "✔ done"));
        dashboard.press('q');
        dashboard.ended();
    }
    assert_eq!(bed.daemon.traces("first"), 2, "once, and once forced");
    assert_eq!(bed.daemon.traces("hold"), 4);
}

#[tokio::test]
async fn v1_a_pipeline_is_started_and_waited_for_on_the_command_line() {
    let bed = Bed::new().await;
    let run = async |args: &[&str]| {
        let output = onceover_at(&bed.daemon)
            .args(args)
            .output()
            .await
            .expect("onceover runs");
        let text = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    };
    assert_eq!(run(&["videos"]).await, (Some(0), "no videos\n".into()));
    let (code, text) = run(&["run", "film"]).await;
    assert!(code == Some(2) && text.contains("film"), "{code:?} {text}");
    assert_eq!(run(&["run", "no/such"]).await.0, Some(2));

    let request = onceover_wire::VideoRequest {
        video_id: Some("film".into()),
        path: Some(bed.clip.display().to_string()),
        ..Default::default()
    };
    bed.daemon.client.register_video(&request).await.expect("it is a video");
    let (code, text) = run(&["run", "film"]).await;
    assert!(code == Some(0) && text.contains("video-film"), "{code:?} {text}");
    let film = VideoId::parse("film").expect("an id");
    eventually("the held step", || async {
        let processing = bed.daemon.client.processing(&film).await.ok()?;
        (processing.tasks[1].progress > 0).then_some(())
    })
    .await;
    let (code, text) = run(&["tree", "video-film"]).await;
    assert_eq!(code, Some(0));
    for line in ["held", "● running", "✔ done", "… waits for hold"] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    let (code, text) = run(&["videos"]).await;
    assert!(
        code == Some(0) && text.contains("● running") && text.contains("held"),
        "{text}"
    );
    let (code, text) = run(&["run", "film", "--pipeline", "held"]).await;
    assert!(
        code == Some(2) && text.contains("video-film"),
        "in progress: {code:?} {text}"
    );

    // Forced, and waited for: what is under way is ended, the new run is let go.
    bed.let_go();
    let (code, text) = run(&["run", "film", "--force", "--wait", "--json"]).await;
    assert_eq!(code, Some(0), "{text}");
    // What it waits for is shown beside it.
    let (json, said) = text.split_once("\n}\n").expect("an object");
    assert!(
        said.lines().all(|line| line.starts_with("onceover: waiting: ")),
        "{said}"
    );
    let ended: onceover_wire::Processing = serde_json::from_str(&format!("{json}\n}}")).expect("a processing");
    assert_eq!((ended.status, ended.progress), (ProcessingStatus::Completed, 100));
}
