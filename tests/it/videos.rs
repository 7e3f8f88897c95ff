//! V1-V3: videos, their pipelines in the background, and honest progress.

use std::{collections::BTreeSet, fs, path::PathBuf};

use futures_util::future::join_all;
use onceover_tests::{Daemon, PATIENCE, RedisServer, eventually, media, until_equal};
use onceover_types::{StageState, VideoId};
use onceover_wire::{
    Processing, ProcessingKind, ProcessingStatus, ProcessingStep, ReprocessRequest, StepStatus, VideoRequest,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Pipelines of test nodes; `hold` waits for the file `go` below the test's folder.
const PIPELINES: &str = r#"
name = "held"
[[steps]]
name = "first"
node = "test.echo"
parameters = { trace = "first", output = { path = "${{ video.path }}", value = 1 } }
[[steps]]
name = "hold"
node = "test.wait"
needs = ["first"]
weight = 30
parameters = { until = "go", trace = "hold" }
[[steps]]
name = "last"
node = "test.request"
needs = ["hold"]
parameters = { value = "${{ stages.test.wait.output.value }}" }
"#;

struct Bed {
    daemon: Daemon,
    media: TempDir,
    /// Holds the pipeline files.
    _pipelines: TempDir,
}

impl Bed {
    /// A daemon with these pipelines and one registered video, `film`, of `seconds`.
    async fn new(pipelines: &[&str], seconds: u32) -> Self {
        let bed = Self::empty(pipelines, "").await;
        let clip = bed.clip("clip.mp4");
        media::clip(&clip, seconds);
        bed.register("film", &clip).await;
        bed
    }

    async fn empty(pipelines: &[&str], config: &str) -> Self {
        let (media, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (number, text) in pipelines.iter().enumerate() {
            fs::write(folder.path().join(format!("{number}.toml")), text).unwrap();
        }
        let daemon = Daemon::builder()
            .media_root(media.path())
            .config(&format!("{config}\npipelines.dirs = ['{}']", folder.path().display()))
            .start()
            .await;
        Self {
            daemon,
            media,
            _pipelines: folder,
        }
    }

    /// A daemon and `film`, the sample clip so many times in a row.
    async fn with_sample(times: u32) -> Self {
        let bed = Self::empty(&[], "").await;
        let (sample, clip) = (tempfile::tempdir().unwrap(), bed.clip("film.mp4"));
        media::sample(sample.path());
        media::repeated(&sample.path().join("clip.mp4"), times, &clip);
        fs::copy(sample.path().join("clip.srt"), clip.with_extension("srt")).unwrap();
        bed.register("film", &clip).await;
        bed
    }

    /// Waits until ffmpeg is in the middle of cropping.
    async fn until_cropping(&self) -> Processing {
        eventually("ffmpeg in the middle of cropping", || async {
            let processing = self.processing().await;
            let crop = step(&processing, "crop_subtitle_images");
            (crop.status == StepStatus::Processing && crop.progress > 0).then_some(processing)
        })
        .await
    }

    fn clip(&self, name: &str) -> PathBuf {
        self.media.path().join(name)
    }

    async fn register(&self, id: &str, path: &std::path::Path) {
        let request = VideoRequest {
            video_id: Some(id.into()),
            path: Some(path.display().to_string()),
            ..VideoRequest::default()
        };
        self.daemon.client.register_video(&request).await.unwrap();
    }

    async fn run(&self, pipeline: &str) {
        self.daemon
            .client
            .run_video(&film(), Some(pipeline), false)
            .await
            .unwrap();
    }

    async fn processing(&self) -> Processing {
        self.daemon.client.processing(&film()).await.unwrap()
    }

    async fn until(&self, status: ProcessingStatus) -> Processing {
        until_processing(&self.daemon, &film(), status).await
    }

    async fn until_step(&self, name: &str, status: StepStatus) -> Processing {
        until_equal(&format!("step {name}"), status, || async {
            step(&self.processing().await, name).status
        })
        .await;
        self.processing().await
    }
}

async fn until_processing(daemon: &Daemon, video: &VideoId, status: ProcessingStatus) -> Processing {
    eventually(&format!("{video} {}", status.as_str()), || async {
        let processing = daemon.client.processing(video).await.ok()?;
        if processing.status != status && !processing.status.in_flight() {
            panic!("it ended otherwise: {processing:#?}");
        }
        (processing.status == status).then_some(processing)
    })
    .await
}

fn film() -> VideoId {
    VideoId::parse("film").unwrap()
}

fn step<'a>(processing: &'a Processing, name: &str) -> &'a ProcessingStep {
    let found = processing.tasks.iter().find(|step| step.name == name);
    found.unwrap_or_else(|| panic!("no step {name} in {processing:#?}"))
}

fn statuses(processing: &Processing) -> Vec<(&str, StepStatus)> {
    let steps = processing.tasks.iter();
    steps.map(|step| (step.name.as_str(), step.status)).collect()
}

/// Every message of a video's event stream up to the end of the processing.
async fn follow(daemon: &Daemon, video: &str) -> Vec<Processing> {
    let url = format!("{}/api/v1/videos/{video}/events", daemon.url());
    let mut response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), 200);
    let (mut text, mut seen) = (String::new(), Vec::new());
    loop {
        while let Some((message, rest)) = text.split_once("\n\n") {
            let data = message.lines().find_map(|line| line.strip_prefix("data:"));
            if let Some(data) = data {
                let processing: Processing = serde_json::from_str(data).unwrap();
                let ended = !processing.status.in_flight();
                seen.push(processing);
                if ended {
                    return seen;
                }
            }
            text = rest.to_owned();
        }
        let chunk = tokio::time::timeout(PATIENCE, response.chunk()).await;
        let chunk = chunk.expect("a message in time").unwrap().expect("the stream goes on");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

/// Progress never goes back, and is 100 at the end only.
fn assert_honest(seen: &[Processing]) {
    for pair in seen.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!(before.run_id, after.run_id);
        assert!(before.revision < after.revision);
        assert!(
            before.progress <= after.progress,
            "{} then {}",
            before.progress,
            after.progress
        );
        for (a, b) in before.tasks.iter().zip(&after.tasks) {
            assert!(
                a.progress <= b.progress,
                "{}: {} then {}",
                a.name,
                a.progress,
                b.progress
            );
        }
        assert!(before.progress < 100, "{before:#?}");
    }
}

#[tokio::test]
async fn v3_progress_is_real_moves_within_a_stage_and_never_goes_back() {
    let bed = Bed::empty(&[], "").await;
    let sample = tempfile::tempdir().unwrap();
    media::sample(sample.path());
    // The sample so many times in a row that a stage takes 3 s on this machine.
    let mut times = 4;
    let last = loop {
        let clip = bed.clip(&format!("{times}.mp4"));
        media::repeated(&sample.path().join("clip.mp4"), times, &clip);
        fs::copy(sample.path().join("clip.srt"), clip.with_extension("srt")).unwrap();
        bed.register("film", &clip).await;
        let started = bed
            .daemon
            .client
            .run_video(&film(), Some("sample"), false)
            .await
            .unwrap();
        assert_eq!(started.status, ProcessingStatus::Pending);
        assert_eq!((started.video_id, started.task_id.as_str()), (film(), "video-film"));
        let seen = follow(&bed.daemon, "film").await;
        assert_honest(&seen);
        let last = seen.last().unwrap().clone();
        assert_eq!(
            (last.status, last.progress),
            (ProcessingStatus::Completed, 100),
            "{last:#?}"
        );
        assert!(last.started_at.is_some() && last.ended_at >= last.started_at);
        assert!(last.tasks.iter().all(|step| step.reuse_hit == Some(false)), "{last:#?}");
        let slow = last.tasks.iter().find(|step| {
            let length = step.ended_at.zip(step.started_at);
            length.is_some_and(|(end, start)| end.seconds_since(start) >= 3.0)
        });
        let Some(slow) = slow else {
            bed.daemon.client.delete_video(&film(), true, false).await.unwrap();
            times *= 2;
            continue;
        };
        // What it was inside of that step while it ran.
        let steps = seen.iter().map(|processing| step(processing, &slow.name));
        let inside: BTreeSet<u8> = steps
            .filter(|step| step.status == StepStatus::Processing && (1..100).contains(&step.progress))
            .map(|step| step.progress)
            .collect();
        assert!(inside.len() >= 3, "{} showed only {inside:?}", slow.name);
        break last;
    };

    // Started again, nothing is done again.
    bed.run("sample").await;
    let again = bed.until(ProcessingStatus::Completed).await;
    assert_ne!(again.run_id, last.run_id);
    assert!(
        again.tasks.iter().all(|step| step.reuse_hit == Some(true)),
        "{again:#?}"
    );
}

#[tokio::test]
async fn o2_the_sample_pipeline_goes_on_after_a_kill_and_repeats_no_finished_step() {
    let mut bed = Bed::with_sample(4).await;
    bed.run("sample").await;
    let before = bed.until_cropping().await;
    bed.daemon.kill();
    bed.daemon.launch().await;
    let after = follow(&bed.daemon, "film").await.pop().unwrap();
    assert_eq!(after.status, ProcessingStatus::Completed, "{after:#?}");
    assert_eq!((after.run_id, after.progress), (before.run_id, 100));
    let finished = |step: &&ProcessingStep| step.status == StepStatus::Completed;
    assert!(before.tasks.iter().filter(finished).count() > 0);
    for was in before.tasks.iter().filter(finished) {
        let is = after.tasks.iter().find(|step| step.name == was.name).unwrap();
        assert_eq!(
            (&is.run_id, is.ended_at),
            (&was.run_id, was.ended_at),
            "{} ran again",
            was.name
        );
        let stage = bed.daemon.stage("video-film", was.task_name.as_str()).await.unwrap();
        assert_eq!((stage.attempt, stage.ended_at), (1, was.ended_at));
    }
    let crop = bed
        .daemon
        .stage("video-film", "ffmpeg.crop_subtitle_images")
        .await
        .unwrap();
    assert_eq!(crop.attempt, 2);
}

#[tokio::test]
async fn v1_force_ends_real_ffmpeg_before_anything_new_starts() {
    let bed = Bed::with_sample(4).await;
    bed.run("sample").await;
    let before = bed.until_cropping().await;
    let old: BTreeSet<i32> = bed.daemon.marked().into_iter().map(|(pid, _)| pid).collect();
    assert!(!old.is_empty());
    let path = "/api/v1/videos/film/run_sync?pipeline=sample&force=true";
    assert_eq!(bed.daemon.post(path, json!(null)).await.status, 202);
    loop {
        let new_ones = bed
            .daemon
            .marked()
            .into_iter()
            .filter(|(pid, _)| !old.contains(pid))
            .count();
        // Looked at after the new one was seen.
        let alive = bed
            .daemon
            .marked()
            .into_iter()
            .filter(|(pid, _)| old.contains(pid))
            .count();
        if new_ones > 0 {
            assert_eq!(alive, 0, "the old run's processes live while the new one's do");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let after = follow(&bed.daemon, "film").await.pop().unwrap();
    assert_eq!(after.status, ProcessingStatus::Completed, "{after:#?}");
    assert_ne!(after.run_id, before.run_id);
    assert!(
        after
            .tasks
            .iter()
            .all(|step| step.fresh && step.reuse_hit == Some(false)),
        "{after:#?}"
    );
}

#[tokio::test]
async fn o2_a_killed_daemons_pipeline_goes_on_by_itself_and_repeats_no_finished_step() {
    let mut bed = Bed::new(&[PIPELINES], 1).await;
    bed.run("held").await;
    let before = bed.until_step("hold", StepStatus::Processing).await;
    until_equal("begun", 1, || async { bed.daemon.traces("hold") }).await;
    bed.daemon.kill();
    bed.daemon.launch().await;
    // Nobody asks for anything: it goes on.
    until_equal("begun again", 2, || async { bed.daemon.traces("hold") }).await;
    bed.daemon.release("go");
    let after = bed.until(ProcessingStatus::Completed).await;
    assert_eq!(after.run_id, before.run_id);
    assert!(after.progress == 100 && after.revision > before.revision);
    assert_eq!(bed.daemon.traces("first"), 1);
    assert_eq!(step(&after, "first").run_id, step(&before, "first").run_id);
    assert_eq!(step(&after, "hold").run_id, step(&before, "hold").run_id);
    let hold = bed.daemon.stage("video-film", "test.wait").await.unwrap();
    assert_eq!(hold.attempt, 2);
}

#[tokio::test]
async fn o2_a_daemon_killed_at_any_step_of_a_pipeline_runs_each_step_once() {
    // Killed as soon as the n-th change of the processing is known: around every submit there is.
    for revision in 1..6 {
        let mut bed = Bed::new(&[PIPELINES], 1).await;
        bed.daemon.release("go");
        bed.run("held").await;
        eventually("the revision", || async {
            (bed.processing().await.revision >= revision).then_some(())
        })
        .await;
        bed.daemon.kill();
        bed.daemon.launch().await;
        let after = bed.until(ProcessingStatus::Completed).await;
        let runs: Vec<_> = after.tasks.iter().map(|step| step.run_id.clone().unwrap()).collect();
        for (step, run) in after.tasks.iter().zip(runs) {
            let stage = bed.daemon.stage("video-film", step.task_name.as_str()).await.unwrap();
            assert_eq!(stage.run_id, Some(run), "{} was submitted twice", step.name);
            assert_eq!(stage.joins + stage.reuse_hits, 0, "{}", step.name);
        }
    }
}

#[tokio::test]
async fn v1_of_a_hundred_simultaneous_starts_one_is_accepted() {
    let bed = Bed::new(&[PIPELINES], 1).await;
    let path = "/api/v1/videos/film/run_sync?pipeline=held";
    let answers = join_all((0..100).map(|_| bed.daemon.post(path, json!(null)))).await;
    let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == 202).collect();
    assert_eq!(accepted.len(), 1);
    let run = accepted[0].json()["run_id"].clone();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 409).collect();
    assert_eq!(refused.len(), 99);
    for answer in refused {
        let problem = answer.json();
        assert_eq!(problem["type"], "/problems/already-processing");
        assert_eq!(problem["task_id"], "video-film");
        assert!(
            problem["detail"].as_str().unwrap().contains(run.as_str().unwrap()),
            "{problem}"
        );
    }
    bed.daemon.release("go");
    bed.until(ProcessingStatus::Completed).await;
    assert_eq!(bed.daemon.traces("first"), 1);
}

#[tokio::test]
async fn v1_force_ends_what_runs_before_anything_new_starts() {
    let bed = Bed::new(
        &["name = 'deaf'\n[[steps]]\nnode = 'test.wait'\nparameters = { until = 'go', deaf = true, trace = 'deaf' }"],
        1,
    )
    .await;
    bed.run("deaf").await;
    until_equal("begun", 1, || async { bed.daemon.traces("deaf") }).await;
    let old: Vec<i32> = bed.daemon.marked().into_iter().map(|(pid, _)| pid).collect();
    assert!(!old.is_empty());
    let path = "/api/v1/videos/film/run_sync?pipeline=deaf&force=true";
    assert_eq!(bed.daemon.post(path, json!(null)).await.status, 202);
    // It is deaf to SIGTERM, so that its end takes the grace time.
    loop {
        let alive: Vec<_> = old
            .iter()
            .filter(|pid| PathBuf::from(format!("/proc/{pid}")).exists())
            .collect();
        if bed.daemon.traces("deaf") == 2 {
            assert!(alive.is_empty(), "{alive:?} of the old run live while the new one runs");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    bed.daemon.release("go");
    let after = bed.until(ProcessingStatus::Completed).await;
    assert!(!after.clearing && after.tasks[0].fresh);
}

#[tokio::test]
async fn v2_a_reprocessed_step_brings_what_depends_on_it_and_keeps_what_is_before() {
    let bed = Bed::new(&[PIPELINES], 1).await;
    bed.daemon.release("go");
    bed.run("held").await;
    let first = bed.until(ProcessingStatus::Completed).await;
    assert_eq!(first.kind, ProcessingKind::First);
    let request = ReprocessRequest {
        steps: vec!["test.wait".into()],
        ..ReprocessRequest::default()
    };
    let started = bed.daemon.client.reprocess_video(&film(), &request).await.unwrap();
    assert_eq!(started.pipeline, "held", "the one it was processed with");
    let second = bed.until(ProcessingStatus::Completed).await;
    assert_eq!(second.kind, ProcessingKind::Reprocess);
    let reused = |name: &str| step(&second, name).reuse_hit;
    assert_eq!(
        (reused("first"), reused("hold"), reused("last")),
        (Some(true), Some(false), Some(false))
    );
    assert_eq!((bed.daemon.traces("first"), bed.daemon.traces("hold")), (1, 2));
    for name in ["hold", "last"] {
        assert_ne!(step(&first, name).run_id, step(&second, name).run_id);
    }
    // All of it, without a body.
    let answer = bed.daemon.call("POST", "/api/v1/videos/film/reprocess", None).await;
    assert_eq!(answer.status, 202);
    let third = bed.until(ProcessingStatus::Completed).await;
    assert!(third.tasks.iter().all(|step| step.reuse_hit == Some(false)));
    let status = bed.daemon.get("/api/v1/videos/film/status").await;
    let reprocess = bed.daemon.get("/api/v1/videos/film/reprocess").await;
    assert_eq!(status.json(), reprocess.json());
}

#[tokio::test]
async fn v2_a_failed_step_is_named_with_its_error_and_what_follows_does_not_begin() {
    let bed = Bed::new(
        &[r#"
name = "failing"
[[steps]]
name = "breaks"
node = "test.fail"
retries = 2
backoff = "10ms"
parameters = { message = "the disk sang", trace = "breaks" }
[[steps]]
name = "beside"
node = "test.quick"
parameters = { trace = "beside" }
[[steps]]
name = "after"
node = "test.echo"
needs = ["breaks"]
parameters = { trace = "after" }
"#],
        1,
    )
    .await;
    bed.run("failing").await;
    let seen = follow(&bed.daemon, "film").await;
    assert_honest(&seen);
    let last = seen.last().unwrap();
    assert_eq!(last.status, ProcessingStatus::Failed);
    let error = last.error.as_deref().unwrap();
    assert!(
        error.contains("step breaks (test.fail)") && error.contains("the disk sang"),
        "{error}"
    );
    assert_eq!(
        statuses(last),
        [
            ("breaks", StepStatus::Failed),
            ("beside", StepStatus::Completed),
            ("after", StepStatus::Skipped)
        ]
    );
    assert_eq!(step(last, "breaks").failures, 3);
    assert_eq!((bed.daemon.traces("breaks"), bed.daemon.traces("after")), (3, 0));
    assert!(last.progress < 100);
    // Started again, what is done stays done and what failed is tried again.
    bed.run("failing").await;
    let again = bed.until(ProcessingStatus::Failed).await;
    assert_eq!(step(&again, "beside").reuse_hit, Some(true));
    assert_eq!((bed.daemon.traces("breaks"), bed.daemon.traces("beside")), (6, 1));
}

#[tokio::test]
async fn v2_an_optional_step_stops_nothing() {
    let bed = Bed::new(
        &[r#"
name = "lenient"
[[steps]]
name = "breaks"
node = "test.fail"
optional = true
[[steps]]
name = "after"
node = "test.echo"
needs = ["breaks"]
"#],
        1,
    )
    .await;
    bed.run("lenient").await;
    let done = bed.until(ProcessingStatus::Completed).await;
    assert_eq!(
        statuses(&done),
        [("breaks", StepStatus::Failed), ("after", StepStatus::Completed)]
    );
    assert!(done.progress == 100 && done.error.is_none(), "{done:#?}");
    assert!(step(&done, "breaks").error.is_some());
}

#[tokio::test]
async fn v1_steps_that_do_not_need_each_other_run_side_by_side() {
    let bed = Bed::new(
        &[r#"
name = "wide"
[[steps]]
name = "one"
node = "test.told"
[[steps]]
name = "two"
node = "test.wait"
parameters = { until = "go" }
"#],
        1,
    )
    .await;
    bed.run("wide").await;
    bed.until_step("one", StepStatus::Processing).await;
    let both = bed.until_step("two", StepStatus::Processing).await;
    assert_eq!(step(&both, "one").status, StepStatus::Processing);
    let run = step(&both, "one").run_id.clone().unwrap();
    bed.daemon.tell(run.as_str(), &json!({"output": {"value": 1}}));
    bed.daemon.release("go");
    bed.until(ProcessingStatus::Completed).await;
}

#[tokio::test]
async fn v1_a_cancelled_task_ends_its_pipeline() {
    let bed = Bed::new(&[PIPELINES], 1).await;
    bed.run("held").await;
    bed.until_step("hold", StepStatus::Processing).await;
    let refused = bed.daemon.post("/v1/tasks/video-film/delete", json!({})).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let answer = bed.daemon.call("DELETE", "/v1/tasks/video-film", None).await;
    assert_eq!(answer.status, 200);
    let ended = bed.processing().await;
    assert_eq!(ended.status, ProcessingStatus::Cancelled);
    assert_eq!(step(&ended, "last").status, StepStatus::Cancelled);
    bed.daemon.idle().await;
    // It can be started again, and goes on where it stopped.
    bed.daemon.release("go");
    bed.run("held").await;
    let done = bed.until(ProcessingStatus::Completed).await;
    assert_eq!(step(&done, "first").reuse_hit, Some(true));
}

#[tokio::test]
async fn r5_two_daemons_drive_a_pipeline_and_each_step_runs_once() {
    let redis = RedisServer::start(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("held.toml"), PIPELINES).unwrap();
    let (media_root, config) = (
        tempfile::tempdir().unwrap(),
        format!("pipelines.dirs = ['{}']", folder.path().display()),
    );
    let clip = media_root.path().join("clip.mp4");
    media::clip(&clip, 1);
    let builder = || {
        Daemon::builder()
            .redis(&redis.url(0))
            .media_root(media_root.path())
            .config(&config)
    };
    let (one, two) = tokio::join!(builder().start(), builder().start());
    for daemon in [&one, &two] {
        daemon.release("go");
    }
    for number in 0..5 {
        let id = VideoId::parse(&format!("film-{number}")).unwrap();
        let request = VideoRequest {
            video_id: Some(id.to_string()),
            path: Some(clip.display().to_string()),
            ..VideoRequest::default()
        };
        one.client.register_video(&request).await.unwrap();
        two.client.run_video(&id, Some("held"), false).await.unwrap();
        let done = until_processing(&one, &id, ProcessingStatus::Completed).await;
        assert!(done.tasks.iter().all(|step| step.reuse_hit == Some(false)), "{done:#?}");
    }
    assert_eq!(one.traces("first") + two.traces("first"), 5);
    assert_eq!(one.traces("hold") + two.traces("hold"), 5);
}

#[tokio::test]
async fn v1_what_cannot_be_started_is_said_at_once() {
    let bed = Bed::new(&[PIPELINES], 1).await;
    let daemon = &bed.daemon;
    let start = |path: &str| {
        let path = path.to_owned();
        async move { daemon.post(&path, json!(null)).await }
    };
    let unknown = start("/api/v1/videos/nobody/run_sync").await;
    assert_eq!((unknown.status, unknown.problem()), (404, "unknown-video".into()));
    let invalid = start("/api/v1/videos/a%20b/run_sync").await;
    assert_eq!((invalid.status, invalid.fields()), (422, vec!["video_id".to_owned()]));
    let pipeline = start("/api/v1/videos/film/run_sync?pipeline=opera").await;
    assert_eq!((pipeline.status, pipeline.fields()), (422, vec!["pipeline".to_owned()]));
    let steps = bed
        .daemon
        .post("/api/v1/videos/film/reprocess", json!({"steps": ["x"]}))
        .await;
    assert_eq!((steps.status, steps.fields()), (422, vec!["steps".to_owned()]));
    for path in ["status", "reprocess"] {
        let never = bed.daemon.get(&format!("/api/v1/videos/film/{path}")).await;
        assert_eq!((never.status, never.problem()), (404, "never-processed".into()));
    }
    // faster-whisper is not installed here: said before anything runs.
    let not_ready = start("/api/v1/videos/film/run_sync?pipeline=subtitles").await;
    assert_eq!((not_ready.status, not_ready.problem()), (409, "node-not-ready".into()));
    assert!(not_ready.text.contains("onceoverd nodes install"), "{}", not_ready.text);
    assert!(
        bed.daemon.client.task(&film().task()).await.is_err(),
        "nothing was stored"
    );
    let pipelines = bed.daemon.client.pipelines().await.unwrap();
    assert_eq!(pipelines.default, "subtitles");
    let names: Vec<_> = pipelines
        .pipelines
        .iter()
        .map(|pipeline| pipeline.name.as_str())
        .collect();
    for name in [
        "subtitles",
        "hard-subtitles",
        "hard-subtitles-translated",
        "dub",
        "sample",
        "held",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test]
async fn o4_what_is_no_video_is_refused_and_nothing_kept() {
    let bed = Bed::empty(&[], "inputs.allow = ['127.0.0.0/8']\ninputs.max_bytes = 2000000").await;
    fs::write(bed.clip("words.mp4"), "these are words").unwrap();
    media::sound(&bed.clip("sound.wav"), 1);
    let videos = bed.daemon.dir().join("data/share/videos");
    let register = |body: Value| async { bed.daemon.post("/api/v1/videos", body).await };
    let path = |name: &str| bed.clip(name).display().to_string();
    for (body, field) in [
        (json!({"path": path("words.mp4")}), "path"),
        (json!({"path": path("sound.wav")}), "path"),
        (json!({"path": path("gone.mp4")}), "path"),
        (json!({"path": "/etc/passwd"}), "path"),
        (json!({"path": "../clip.mp4"}), "path"),
        (json!({}), "path"),
        (json!({"path": path("words.mp4"), "url": "http://a.example/"}), "path"),
        (json!({"url": "http://10.0.0.1/clip.mp4"}), "url"),
        (json!({"url": "http://127.0.0.1:9/clip.mp4"}), "url"),
        (json!({"path": path("words.mp4"), "video_id": "a/b"}), "video_id"),
        (json!({"path": path("words.mp4"), "title": "x".repeat(501)}), "title"),
    ] {
        let answer = register(body.clone()).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field.to_owned()]),
            "{body}: {}",
            answer.text
        );
    }
    let form = |bytes: Vec<u8>| {
        let file = reqwest::multipart::Part::bytes(bytes).file_name("a.mp4");
        let form = reqwest::multipart::Form::new()
            .text("video_id", "up")
            .part("file", file);
        let url = format!("{}/api/v1/videos", bed.daemon.url());
        async { reqwest::Client::new().post(url).multipart(form).send().await.unwrap() }
    };
    for bytes in [Vec::new(), b"words".to_vec(), vec![0; 3_000_000]] {
        assert_eq!(form(bytes).await.status(), 422);
    }
    assert_eq!(
        fs::read_dir(&videos).unwrap().count(),
        0,
        "nothing is left of what was refused"
    );
    let page = bed.daemon.client.videos(10, None).await.unwrap();
    assert!(page.items.is_empty());
}

#[tokio::test]
async fn v1_a_video_comes_by_path_url_or_upload_and_goes_with_its_file() {
    let bed = Bed::empty(&[PIPELINES], "inputs.allow = ['127.0.0.0/8']").await;
    let clip = bed.clip("clip.mp4");
    media::clip(&clip, 2);
    let (server, site) = serve(fs::read(&clip).unwrap()).await;
    bed.register("by-path", &clip).await;
    let request = VideoRequest {
        video_id: Some("by-url".into()),
        url: Some(format!("{site}/films/clip.mp4?key=secret")),
        title: Some("A film".into()),
        ..VideoRequest::default()
    };
    let fetched = bed.daemon.client.register_video(&request).await.unwrap();
    assert_eq!(fetched.title, "A film");
    assert!(
        fetched.url.as_deref().unwrap().ends_with("/films/clip.mp4"),
        "{fetched:?}"
    );
    let file = reqwest::multipart::Part::bytes(fs::read(&clip).unwrap()).file_name("../été.mp4");
    let form = reqwest::multipart::Form::new()
        .text("video_id", "by-upload")
        .part("file", file);
    let url = format!("{}/api/v1/videos", bed.daemon.url());
    let uploaded = reqwest::Client::new().post(&url).multipart(form).send().await.unwrap();
    assert_eq!(uploaded.status(), 201);
    server.abort();

    let page = bed.daemon.client.videos(2, None).await.unwrap();
    let rest = bed.daemon.client.videos(2, page.next_cursor.as_deref()).await.unwrap();
    let items: Vec<_> = page.items.iter().chain(&rest.items).collect();
    let ids: Vec<_> = items.iter().map(|video| video.video_id.as_str()).collect();
    assert_eq!(ids, ["by-upload", "by-url", "by-path"], "newest first");
    for video in &items {
        let probe = &video.probe;
        assert!((probe.duration.unwrap() - 2.0).abs() < 0.2, "{probe:?}");
        assert_eq!(probe.size, fs::metadata(&clip).unwrap().len());
        assert_eq!((probe.width, probe.height), (Some(320), Some(240)));
        assert_eq!(
            (probe.video_codec.as_deref(), &probe.audio_codecs[..]),
            (Some("h264"), &["aac".to_owned()][..])
        );
        assert!(PathBuf::from(&video.path).is_file(), "{}", video.path);
    }
    let taken = json!({"video_id": "by-path", "path": clip.display().to_string()});
    assert_eq!(bed.daemon.post("/api/v1/videos", taken).await.status, 409);

    // An uploaded one is processed like any other.
    let id = VideoId::parse("by-upload").unwrap();
    bed.daemon.client.run_video(&id, Some("held"), false).await.unwrap();
    until_equal("begun", 1, || async { bed.daemon.traces("hold") }).await;
    let busy = bed.daemon.call("DELETE", "/api/v1/videos/by-upload", None).await;
    assert_eq!(busy.status, 409);
    let gone = bed.daemon.client.delete_video(&id, true, true).await.unwrap();
    assert!(gone.file_removed && gone.task.is_some(), "{gone:?}");
    assert_eq!(bed.daemon.get("/api/v1/videos/by-upload").await.status, 404);
    assert_eq!(bed.daemon.get("/v1/tasks/video-by-upload").await.status, 404);
    for (name, goes) in [("by-url", true), ("by-path", false)] {
        let id = VideoId::parse(name).unwrap();
        let gone = bed.daemon.client.delete_video(&id, false, false).await.unwrap();
        assert_eq!(gone.file_removed, goes);
    }
    assert!(clip.is_file(), "a file that was registered by path is not the daemon's");
    assert_eq!(
        fs::read_dir(bed.daemon.dir().join("data/share/videos"))
            .unwrap()
            .count(),
        0
    );
}

/// Serves these bytes at every path.
async fn serve(bytes: Vec<u8>) -> (tokio::task::JoinHandle<()>, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(move || {
        let bytes = bytes.clone();
        async move { bytes }
    });
    let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (server, site)
}

#[tokio::test]
async fn s6_a_pipeline_is_published_and_stands_in_the_list_of_tasks() {
    let bed = Bed::new(&[PIPELINES], 1).await;
    let mut events = onceover_tests::events::Sse::open(&bed.daemon, None).await;
    bed.run("held").await;
    let first = loop {
        let event: Value = serde_json::from_str(&events.next().await.data).unwrap();
        if event["kind"] == "pipeline" {
            break event;
        }
    };
    assert_eq!(first["task_id"], "video-film");
    assert_eq!(first["pipeline"]["revision"], 1);
    assert_eq!(first["pipeline"]["status"], "pending");
    assert_eq!(first["pipeline"]["steps_changed"], true);
    bed.until_step("hold", StepStatus::Processing).await;
    let page = bed.daemon.client.tasks(&Default::default()).await.unwrap();
    let item = page.items.iter().find(|item| item.task_id == film().task()).unwrap();
    let pipeline = item.pipeline.as_ref().expect("the pipeline stands there");
    assert_eq!(pipeline.blocked_by(step(pipeline, "last")), ["hold"]);
    bed.daemon.release("go");
    bed.until(ProcessingStatus::Completed).await;
    let stage = bed.daemon.stage("video-film", "test.request").await.unwrap();
    assert_eq!(stage.status, StageState::Success);
    assert!(stage.output.get().contains("\"value\":1"), "{}", stage.output.get());
}

#[tokio::test]
async fn a_pipeline_whose_steps_wait_for_each_other_is_refused_at_start_with_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("round.toml");
    let steps = "[[steps]]\nnode = 'ffmpeg.extract_audio'\nneeds = ['extract_keyframes']\n\
                 [[steps]]\nnode = 'ffmpeg.extract_keyframes'\nneeds = ['extract_audio']";
    fs::write(&file, format!("name = 'round'\n{steps}")).unwrap();
    let config = folder.path().join("onceover.toml");
    fs::write(
        &config,
        format!("pipelines.dirs = ['{}']", folder.path().join("p").display()),
    )
    .unwrap();
    fs::create_dir(folder.path().join("p")).unwrap();
    fs::rename(&file, folder.path().join("p/round.toml")).unwrap();
    for command in [&["check"][..], &[]] {
        let output = std::process::Command::new(onceover_tests::program("onceoverd"))
            .args(["--config", &config.display().to_string()])
            .args(["--data", &folder.path().join("data").display().to_string()])
            .args(command)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(
            said.contains("round.toml") && said.contains("extract_audio -> extract_keyframes -> extract_audio"),
            "{said}"
        );
    }
}
