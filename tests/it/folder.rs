//! `onceover run --folder`: every video below a folder registered once and run.

use std::{fs, path::Path, process::Output};

use onceover_tests::{Daemon, eventually, media};
use onceover_wire::ProcessingStatus;
use serde_json::Value;
use tempfile::TempDir;

struct Bed {
    daemon: Daemon,
    media: TempDir,
    _pipelines: TempDir,
}

/// `quick` leaves a line for each run, `held` waits for the file `go`, `broken` fails.
const PIPELINES: [&str; 3] = [
    "name = 'quick'\n[[steps]]\nname = 'look'\nnode = 'test.echo'\nparameters = { trace = 'look', output = \
     { value = 1, warnings = [{ code = 'gap', text = 'a hole', retryable = false }] } }\n",
    "name = 'held'\n[[steps]]\nname = 'hold'\nnode = 'test.wait'\nparameters = { until = 'go', trace = 'hold' }\n",
    "name = 'broken'\n[[steps]]\nname = 'fail'\nnode = 'test.fail'\nparameters = { message = 'it cannot' }\n",
];

impl Bed {
    async fn new() -> Self {
        let (media, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (number, text) in PIPELINES.iter().enumerate() {
            fs::write(folder.path().join(format!("{number}.toml")), text).unwrap();
        }
        let daemon = Daemon::builder()
            .media_root(media.path())
            .config(&format!(
                "pipelines.dirs = ['{}']\n[slots]\ngpu = 8\nio = 8\n",
                folder.path().display()
            ))
            .start()
            .await;
        Self {
            daemon,
            media,
            _pipelines: folder,
        }
    }

    /// Three videos, one of them hidden from none by its name; what is no video; what is not looked at.
    fn fill(&self) {
        let at = |name: &str| self.media.path().join(name);
        fs::create_dir_all(at("season 1/.cache")).unwrap();
        media::clip(&at("b.mp4"), 1);
        for name in [
            "season 1/강의 01.mp4",
            "season 1/c.MKV",
            "season 1/.cache/x.mp4",
            ".hidden.mp4",
        ] {
            fs::copy(at("b.mp4"), at(name)).unwrap();
        }
        fs::write(at("types.ts"), "export type A = string;\n").unwrap();
        fs::write(at("readme.txt"), "not a video").unwrap();
    }

    async fn run(&self, folder: &Path, more: &[&str]) -> Output {
        self.command(folder, more).output().await.expect("onceover runs")
    }

    fn command(&self, folder: &Path, more: &[&str]) -> tokio::process::Command {
        let mut command = onceover_tests::onceover();
        command
            .args(["--daemon", &self.daemon.url(), "run", "--folder"])
            .arg(folder)
            .args(more);
        command
    }

    async fn videos(&self) -> usize {
        self.daemon.client.videos(200, None).await.unwrap().items.len()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn each_video_is_registered_once_and_a_second_run_starts_nothing_anew() {
    let bed = Bed::new().await;
    bed.fill();
    let first = bed.run(bed.media.path(), &["--pipeline", "quick", "--wait"]).await;
    let said = text(&first);
    assert_eq!(first.status.code(), Some(0), "{said}");
    for name in ["b.mp4", "season 1/강의 01.mp4", "season 1/c.MKV"] {
        let line = said
            .lines()
            .find(|line| line.starts_with("✔ done") && line.contains(name));
        assert!(line.is_some_and(|line| line.contains("⚠1")), "{name} in {said}");
    }
    assert!(
        said.contains("3 videos: 3 done; 3 with warnings; 1 file is no video"),
        "{said}"
    );
    assert!(said.contains("gap: a hole") && said.contains("· no video"), "{said}");
    assert!(said.contains("· types.ts: ") && said.contains("Invalid data"), "{said}");
    assert!(
        !said.contains("hidden") && !said.contains(".cache") && !said.contains("readme"),
        "{said}"
    );
    assert_eq!((bed.videos().await, bed.daemon.traces("look")), (3, 3));

    let second = bed
        .run(bed.media.path(), &["--pipeline", "quick", "--wait", "--json"])
        .await;
    assert_eq!(second.status.code(), Some(0), "{}", text(&second));
    let reports: Vec<Value> = serde_json::from_slice(&second.stdout).unwrap();
    let outcomes: Vec<_> = reports
        .iter()
        .map(|report| report["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["reused", "reused", "reused", "no_video"]);
    assert_eq!((bed.videos().await, bed.daemon.traces("look")), (3, 3));

    // Another file under the same name is another video.
    media::clip(&bed.media.path().join("b.mp4"), 2);
    bed.run(bed.media.path(), &["--pipeline", "quick", "--wait"]).await;
    assert_eq!((bed.videos().await, bed.daemon.traces("look")), (4, 4));
}

#[tokio::test]
async fn no_more_pipelines_are_under_way_than_jobs_and_a_line_tells_each_change() {
    let bed = Bed::new().await;
    bed.fill();
    let args = ["--pipeline", "held", "--wait", "--jobs", "2"];
    let run = bed
        .command(bed.media.path(), &args)
        .kill_on_drop(true)
        .stdout(std::process::Stdio::piped())
        .spawn();
    eventually("two under way", || async {
        (bed.daemon.traces("hold") == 2).then_some(())
    })
    .await;
    assert_eq!(bed.videos().await, 2, "the third is not begun");
    bed.daemon.release("go");
    let output = run.unwrap().wait_with_output().await.unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let of = |name: &str| {
        said.lines()
            .filter(|line| line.contains(name))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let lines = of("b.mp4");
    assert!(
        lines.iter().any(|line| line.starts_with("● running")) && lines.last().unwrap().starts_with("✔ done"),
        "{lines:?}"
    );
    assert!(lines.len() <= 4, "a line for each change, no more: {lines:?}");
    assert!(said.contains("3 videos: 3 done; 1 file is no video"), "{said}");
}

#[tokio::test]
async fn a_failed_video_is_told_with_its_reason_and_fails_the_command() {
    let bed = Bed::new().await;
    media::clip(&bed.media.path().join("a.mp4"), 1);
    let output = bed.run(bed.media.path(), &["--pipeline", "broken", "--wait"]).await;
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("1 video: 1 failed") && said.contains("it cannot"),
        "{said}"
    );

    // What is not allowed is decided by the daemon.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(bed.media.path().join("a.mp4"), elsewhere.path().join("a.mp4")).unwrap();
    let output = bed.run(elsewhere.path(), &["--pipeline", "quick", "--wait"]).await;
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("reads files on its own machine") && said.contains("✖ a.mp4: ") && said.contains("is not below"),
        "{said}"
    );
    assert!(said.contains("0 videos; not registered: 1 not allowed"), "{said}");
    let output = bed.run(&elsewhere.path().join("none"), &["--wait"]).await;
    assert_eq!(output.status.code(), Some(2));
    let output = bed.run(bed.media.path(), &["--most", "0"]).await;
    assert!(
        output.status.code() == Some(2) && text(&output).contains("--most"),
        "{}",
        text(&output)
    );
}

#[tokio::test]
async fn what_is_not_registered_is_counted_by_its_cause_and_fails_the_command() {
    let bed = Bed::new().await;
    let at = |name: &str| bed.media.path().join(name);
    media::clip(&at("whole.mp4"), 1);
    media::sound(&at("sound.wav"), 1);
    fs::rename(at("sound.wav"), at("sound.mkv")).unwrap();
    let bytes = fs::read(at("whole.mp4")).unwrap();
    fs::write(at("half.mp4"), &bytes[..bytes.len() / 2]).unwrap();
    std::os::unix::fs::symlink(at("nothing"), at("link.mp4")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(at("whole.mp4"), elsewhere.path().join("other.mp4")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("other.mp4"), at("other.mp4")).unwrap();

    let run = bed.run(bed.media.path(), &["--pipeline", "quick", "--wait"]).await;
    let printed = text(&run);
    assert_eq!(run.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains(
            "1 video: 1 done; 1 with warnings; not registered: 1 not allowed, 1 unreadable, 1 damaged; 1 file is no video"
        ),
        "{printed}"
    );
    for (line, cause) in [
        ("✖ other.mp4: ", "is not below"),
        ("✖ link.mp4: ", "No such file"),
        ("✖ half.mp4: ", "is the file complete?"),
        ("· sound.mkv: ", "has no video track"),
    ] {
        let found = printed.lines().find(|printed| printed.starts_with(line));
        assert!(found.is_some_and(|found| found.contains(cause)), "{line} in {printed}");
    }
    let run = bed
        .run(bed.media.path(), &["--pipeline", "quick", "--wait", "--json"])
        .await;
    let reports: Vec<Value> = serde_json::from_slice(&run.stdout).unwrap();
    let outcome = |name: &str| {
        let report = reports.iter().find(|report| report["file"] == name).unwrap();
        report["outcome"].as_str().unwrap().to_owned()
    };
    let outcomes = ["whole.mp4", "other.mp4", "link.mp4", "half.mp4", "sound.mkv"].map(outcome);
    assert_eq!(outcomes, ["reused", "not_allowed", "unreadable", "damaged", "no_video"]);
}

#[tokio::test]
async fn ctrl_c_stops_waiting_and_says_what_goes_on() {
    let bed = Bed::new().await;
    bed.fill();
    let args = ["--pipeline", "held", "--wait", "--jobs", "1"];
    let mut command = bed.command(bed.media.path(), &args);
    let child = command
        .kill_on_drop(true)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("one under way", || async {
        (bed.daemon.traces("hold") == 1).then_some(())
    })
    .await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(
        said.contains("1 goes on at the daemon") && said.contains("were not started"),
        "{said}"
    );
    // The same command takes up what is under way.
    bed.daemon.release("go");
    let output = bed.run(bed.media.path(), &["--pipeline", "held", "--wait"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let videos = bed.daemon.client.videos(200, None).await.unwrap().items;
    let done = videos.iter().filter(|video| {
        let processing = video.processing.as_ref();
        processing.is_some_and(|processing| processing.status == ProcessingStatus::Completed)
    });
    assert_eq!((done.count(), bed.daemon.traces("hold")), (3, 3));
}
