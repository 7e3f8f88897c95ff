//! What a result says of itself (docs/results.md) is carried to everything that shows a result, and reuse goes by it.

use std::fs;

use onceover_tests::{
    Daemon, DaemonBuilder, PythonWorker,
    callbacks::Receiver,
    daemon::{node_name, task_id},
    events::Sse,
    eventually, media,
    screen::{Dashboard, row_with},
};
use onceover_types::{StageState, VideoId};
use onceover_wire::{
    EventKind, ProcessingStatus, ReuseDecision, ReuseMode, StageSummary, SubmitResponse, VideoRequest,
    client::TaskQuery,
};
use redis::AsyncCommands;
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const AUDIO: &str = "ffmpeg.extract_audio";

/// Two warnings, one of which another run could do without.
fn warned() -> Value {
    json!({"value": 1, "warnings": [
        {"code": "truncated_source", "text": "clip.mp4 ends early", "numbers": {"got": 4.97}, "retryable": false},
        {"code": "lines_untranslated", "text": "2 lines kept their text", "retryable": true}]})
}

fn builder() -> DaemonBuilder {
    Daemon::builder().config("[callbacks]\nallow = ['127.0.0.0/8']\n")
}

async fn submit(daemon: &Daemon, mode: ReuseMode, callback: Option<String>) -> SubmitResponse {
    let input = json!({"output": warned(), "trace": "film"});
    let answer = daemon.try_submit("film", ECHO, input, callback, mode).await;
    answer.expect("the submit is accepted")
}

async fn listed(daemon: &Daemon, task: &str, node: &str) -> Option<StageSummary> {
    let page = daemon.client.tasks(&TaskQuery::default()).await.ok()?;
    let mut item = page.items.into_iter().find(|item| item.task_id.as_str() == task)?;
    item.stages.swap_remove(&node_name(node))
}

async fn printed(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = onceover_tests::onceover_at(daemon)
        .args(arguments)
        .output()
        .await
        .expect("onceover runs");
    String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn the_warnings_of_a_result_are_in_status_list_event_callback_and_metrics() {
    let daemon = builder().start().await;
    let receiver = Receiver::start().await;
    let mut events = Sse::open(&daemon, None).await;
    submit(&daemon, ReuseMode::Auto, Some(receiver.url("/run"))).await;
    let stage = daemon.until("film", ECHO, StageState::Success).await;
    assert_eq!((stage.warnings, stage.warnings_retryable), (2, true));
    assert_eq!(stage.result_warnings()[0].measured(), "got 4.97");
    let item = listed(&daemon, "film", ECHO).await.unwrap();
    assert_eq!((item.warnings, item.warnings_retryable), (2, true));
    let told = loop {
        let event: onceover_wire::Event = serde_json::from_str(&events.next().await.data).unwrap();
        if event.kind == EventKind::Succeeded {
            break event.stage.unwrap();
        }
    };
    assert_eq!((told.warnings, told.warnings_retryable), (2, true));
    let status = daemon.get("/v1/tasks/film/status").await.json();
    assert!(status["message"].as_str().unwrap().contains("2 warnings"), "{status}");
    assert_eq!(status["stages"][ECHO]["warnings"], 2);

    let body = receiver.wait_for(1).await.remove(0).body;
    assert_eq!(body["result"]["output"]["warnings"][0]["code"], "truncated_source");
    assert_eq!(body["result"]["stages"][ECHO]["warnings"], 2);
    assert!(body["reuse_info"].get("warnings").is_none(), "{body}");
    let metrics = daemon.get("/metrics").await.text;
    for code in ["truncated_source", "lines_untranslated"] {
        let line = format!(r#"onceover_results_with_warnings_total{{node="{ECHO}",code="{code}"}} 1"#);
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    // What was found to be right says nothing.
    let clean = daemon.done("other", ECHO, json!({})).await;
    assert_eq!((clean.warnings, clean.warnings_retryable), (0, false));
    let view = daemon.get("/v1/tasks/other").await.json();
    assert!(view["stages"][ECHO].get("warnings").is_none(), "{view}");
}

#[tokio::test]
async fn auto_reuses_a_doubtful_result_and_says_so_and_strict_runs_what_may_be_bettered() {
    let daemon = builder().start().await;
    let receiver = Receiver::start().await;
    submit(&daemon, ReuseMode::Auto, None).await;
    daemon.until("film", ECHO, StageState::Success).await;

    let hit = submit(&daemon, ReuseMode::Auto, Some(receiver.url("/hit"))).await;
    let info = &hit.reuse_info;
    assert!(info.reuse_hit && hit.warnings.is_empty(), "{hit:?}");
    assert_eq!((info.warnings, info.warnings_retryable), (2, true));
    assert!(hit.message.contains("with 2 warnings"), "{}", hit.message);
    assert_eq!(hit.result.unwrap().stages[&node_name(ECHO)].warnings, 2);
    let body = receiver.wait_for(1).await.remove(0).body;
    assert_eq!(
        (
            &body["reuse_info"]["warnings"],
            &body["reuse_info"]["warnings_retryable"]
        ),
        (&json!(2), &json!(true))
    );

    let explain = async |mode| {
        daemon
            .client
            .explain(&task_id("film"), &node_name(ECHO), Some(mode))
            .await
            .unwrap()
    };
    let auto = explain(ReuseMode::Auto).await;
    assert_eq!((auto.decision, auto.warnings), (ReuseDecision::Hit, 2));
    let strict = explain(ReuseMode::Strict).await;
    assert_eq!(
        (strict.decision, strict.reason.as_str()),
        (ReuseDecision::Run, "retryable_warnings")
    );
    assert!(
        strict.warnings_retryable && strict.message.contains("running again"),
        "{strict:?}"
    );
    assert_eq!(daemon.traces("film"), 1, "an explanation runs nothing");

    let miss = submit(&daemon, ReuseMode::Strict, None).await;
    assert_eq!(miss.reuse_info.reason.as_deref(), Some("retryable_warnings"));
    let during = daemon.stage("film", ECHO).await.unwrap();
    assert!(
        during.output.get().contains("truncated_source"),
        "the former result stands"
    );
    daemon.until("film", ECHO, StageState::Success).await;
    assert_eq!(daemon.traces("film"), 2);

    // One that no run could better is reused.
    let input = json!({"output": {"value": 1, "warnings": [{"code": "gap", "text": "a hole", "retryable": false}]}});
    daemon.done("whole", ECHO, input.clone()).await;
    let answer = daemon
        .try_submit("whole", ECHO, input, None, ReuseMode::Strict)
        .await
        .unwrap();
    assert!(answer.reuse_info.reuse_hit);
    assert_eq!(
        (answer.reuse_info.warnings, answer.reuse_info.warnings_retryable),
        (1, false)
    );
}

#[tokio::test]
async fn records_of_before_and_those_of_other_workers_are_read_as_they_are() {
    let daemon = Daemon::start().await;
    submit(&daemon, ReuseMode::Auto, None).await;
    daemon.until("film", ECHO, StageState::Success).await;
    let mut redis = daemon.redis().await;
    let fields = ["res_warnings", "res_retryable"];
    let gone: u32 = redis.hdel("onceover:stage:film:test.echo", &fields).await.unwrap();
    assert_eq!(gone, 2);
    assert_eq!(daemon.stage("film", ECHO).await.unwrap().warnings, 0);
    assert!(submit(&daemon, ReuseMode::Strict, None).await.reuse_info.reuse_hit);

    let url = daemon.client.system().await.unwrap().redis.url;
    let mut worker = PythonWorker::start(&url);
    let output = json!({"audio_path": "/a.wav", "warnings": ["cut short"]});
    worker.write_more("theirs", AUDIO, json!({"status": "SUCCESS", "output": output}));
    let viewed = eventually("the view of it", || async {
        daemon
            .stage("theirs", AUDIO)
            .await
            .filter(|stage| stage.status == StageState::Success)
    });
    assert_eq!(viewed.await.warnings, 1);
    // Taken over, lists know it, too.
    eventually("its row in the list", || async {
        listed(&daemon, "theirs", AUDIO)
            .await
            .filter(|stage| stage.warnings == 1)
    })
    .await;
}

#[tokio::test]
async fn a_pipelines_step_tells_of_the_warnings_of_its_result_also_when_it_is_reused() {
    let (media, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = "{ value = 1, warnings = [{ code = 'gap', text = 'a hole', retryable = false }] }";
    let pipeline = format!(
        "name = 'doubtful'\n[[steps]]\nname = 'first'\nnode = 'test.echo'\nparameters = {{ output = {output} }}\n"
    );
    fs::write(folder.path().join("doubtful.toml"), pipeline).unwrap();
    let daemon = Daemon::builder()
        .media_root(media.path())
        .config(&format!("pipelines.dirs = ['{}']", folder.path().display()))
        .start()
        .await;
    let clip = media.path().join("clip.mp4");
    media::clip(&clip, 1);
    let film = VideoId::parse("film").unwrap();
    let request = VideoRequest {
        video_id: Some(film.to_string()),
        path: Some(clip.display().to_string()),
        ..VideoRequest::default()
    };
    daemon.client.register_video(&request).await.unwrap();
    for is_reused in [false, true] {
        let started = daemon.client.run_video(&film, Some("doubtful"), false).await.unwrap();
        let ended = eventually("its end", || async {
            let processing = daemon.client.processing(&film).await.ok()?;
            let is_it = processing.run_id == started.run_id && processing.status == ProcessingStatus::Completed;
            is_it.then_some(processing)
        })
        .await;
        assert_eq!(ended.tasks[0].reuse_hit, Some(is_reused));
        assert_eq!((ended.tasks[0].warnings, ended.warnings()), (1, 1));
    }
    assert!(printed(&daemon, &["videos"]).await.contains("✔ done ⚠1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_and_the_dashboard_show_what_is_doubtful_and_the_filter_finds_it() {
    let daemon = Daemon::start().await;
    daemon.done("clean", ECHO, json!({})).await;
    let output = json!({"output": warned()}).to_string();
    let submitted = printed(
        &daemon,
        &["submit", ECHO, "--task", "film", "--input", &output, "--wait"],
    )
    .await;
    assert!(
        submitted.contains("⚠ truncated_source: clip.mp4 ends early · got 4.97")
            && submitted.contains("⚠ lines_untranslated: 2 lines kept their text; running again may help"),
        "{submitted}"
    );
    let tree = printed(&daemon, &["tree", "film"]).await;
    let row = tree.lines().find(|line| line.contains(ECHO)).unwrap();
    assert!(row.contains("✔ done") && row.contains("⚠2"), "{tree}");
    assert!(tree.contains("⚠ truncated_source: clip.mp4"), "{tree}");

    for (columns, rows) in [(120, 36), (60, 16)] {
        let mut dashboard = Dashboard::open(&daemon, columns, rows);
        dashboard.until(|screen| row_with(screen, "▾ film").is_some_and(|row| row.contains("✔ done ⚠2")));
        dashboard.type_text("/warned:yes");
        dashboard.send(termlens::Key::Enter);
        dashboard.until(|screen| row_with(screen, "▾ clean").is_none());
        dashboard.until(|screen| row_with(screen, ECHO).is_some_and(|row| row.contains("✔ done ⚠2")));
        dashboard.send(termlens::Key::Esc);
    }
    let mut dashboard = Dashboard::open(&daemon, 120, 36);
    dashboard.until(|screen| row_with(screen, "▸ ▾ film").is_some());
    dashboard.press('j');
    dashboard.until(|screen| {
        let text = screen.text();
        text.contains("⚠ 2 warnings") && text.contains("truncated_source: clip.mp4") && text.contains("4.97")
    });
    let mut ascii = Dashboard::open_in(&daemon, 60, 16, &[], &[("LC_ALL", "C")]);
    ascii.until(|screen| row_with(screen, "v film").is_some_and(|row| row.contains("+ done !2")));
}
