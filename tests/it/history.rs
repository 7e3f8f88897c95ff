//! What the daemon remembers of runs: those of a stage with the times of their attempts, what a stage took from others,
//! and figures of each node.

use std::{fs, path::Path};

use onceover_tests::{
    Daemon,
    daemon::{node_name, task_id},
    eventually, media, until_equal,
};
use onceover_types::{StageState, VideoId};
use onceover_wire::{NodeFigures, ProcessingStatus, ReuseMode, StageRuns, VideoRequest};
use redis::AsyncCommands;
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const CHEAP: &str = "test.cheap";
const REQUEST: &str = "test.request";
const WAIT: &str = "test.wait";
const HISTORY: &str = "onceover:history:t1:test.cheap";

/// A node that fails, and takes a value from an earlier stage.
const CHAIN: &str = r#"
[[nodes]]
name = "chain.first"
queue = "io"
timeout_seconds = 30
runner = { command = ["sh", "-c", "cat >/dev/null; echo '{\"type\": \"output\", \"output\": {\"value\": 5}}'"] }
[[nodes]]
name = "chain.second"
queue = "io"
timeout_seconds = 30
runner = { command = ["sh", "-c", "cat >/dev/null; exit 1"] }
[[nodes.parameters]]
name = "value"
type = "integer"
meaning = "any number"
fallbacks = [{ node = "chain.first", field = "value" }]
"#;

const PIPELINE: &str = r#"
name = "steps"
[[steps]]
name = "first"
node = "test.echo"
parameters = { output = { value = 1 } }
[[steps]]
name = "second"
node = "test.wait"
needs = ["first"]
parameters = { until = "go" }
[[steps]]
name = "third"
node = "test.request"
needs = ["second"]
parameters = { value = "${{ stages.test.wait.output.value }}" }
"#;

async fn runs(daemon: &Daemon, task: &str, node: &str) -> StageRuns {
    let found = daemon.client.stage_runs(&task_id(task), &node_name(node)).await;
    found.expect("the stage has runs")
}

/// Forces a run and waits for its end. Returns its id.
async fn force(daemon: &Daemon, node: &str, input: Value) -> String {
    let asked = daemon.try_submit("t1", node, input, None, ReuseMode::Never).await;
    let run = asked.expect("it is accepted").reuse_info.run_id.expect("it runs");
    eventually("the end of a forced run", || async {
        let listed = runs(daemon, "t1", node).await.runs;
        listed
            .into_iter()
            .find(|known| known.run_id == run.as_str() && known.ended_at.is_some())
    })
    .await;
    run.to_string()
}

fn ids(found: &StageRuns) -> Vec<&str> {
    found.runs.iter().map(|run| run.run_id.as_str()).collect()
}

async fn figures(daemon: &Daemon, node: &str) -> Option<NodeFigures> {
    let statistics = daemon.client.node_statistics().await.expect("the daemon answers");
    statistics.nodes.get(&node_name(node)).cloned()
}

#[tokio::test]
async fn the_newest_runs_of_a_stage_are_kept_and_the_number_of_the_others() {
    let daemon = Daemon::builder().config("retention.runs_per_stage = 2").start().await;
    let mut made = Vec::new();
    for number in 1..=2 {
        made.push(force(&daemon, CHEAP, json!({"value": number})).await);
    }
    let found = runs(&daemon, "t1", CHEAP).await;
    assert_eq!((ids(&found), found.not_kept), (vec![&*made[1], &*made[0]], 0));
    let former = &found.runs[1];
    assert_eq!(former.input.as_ref().unwrap()["value"], 1);
    assert_eq!(former.output.as_ref().unwrap()["value"], 1);
    assert!(found.runs[0].standing && !former.standing);
    assert!(former.created_at <= former.started_at.unwrap() && former.started_at <= former.ended_at);
    assert_eq!(daemon.times_reached("runs_per_stage").await, 0);
    made.push(force(&daemon, CHEAP, json!({"end": "fail"})).await);
    let found = runs(&daemon, "t1", CHEAP).await;
    assert_eq!(ids(&found), [&*made[1], &*made[2]], "the former result stands again");
    assert_eq!((found.runs[0].standing, found.not_kept), (true, 1));
    let failed = &found.runs[1];
    assert_eq!(
        (failed.status, failed.error.as_deref()),
        (StageState::Failed, Some("as asked"))
    );
    assert_eq!(failed.attempts[0].error.as_deref(), Some("as asked"));
    assert!(daemon.times_reached("runs_per_stage").await > 0);
}

#[tokio::test]
async fn an_input_that_is_too_large_to_keep_is_left_out_and_said_so() {
    let daemon = Daemon::start().await;
    let large = json!({"value": 1, "text": "x".repeat(70_000)});
    force(&daemon, CHEAP, large).await;
    let whole = runs(&daemon, "t1", CHEAP).await;
    assert!(whole.runs[0].input.is_some(), "the record has it");
    assert_eq!(daemon.times_reached("history_bytes").await, 0);
    force(&daemon, CHEAP, json!({"value": 2})).await;
    let former = runs(&daemon, "t1", CHEAP).await.runs.swap_remove(1);
    assert_eq!((former.input, former.input_left_out), (None, true));
    assert_eq!(former.output.unwrap()["value"], 1);
    assert!(daemon.times_reached("history_bytes").await > 0);
}

#[tokio::test]
async fn a_run_that_outlived_its_daemon_has_the_times_of_both_attempts() {
    let mut daemon = Daemon::start().await;
    daemon.submit("t1", WAIT, json!({"until": "go", "trace": "t1"})).await;
    until_equal("begun", 1, || async { daemon.traces("t1") }).await;
    daemon.kill();
    daemon.launch().await;
    until_equal("begun again", 2, || async { daemon.traces("t1") }).await;
    let running = runs(&daemon, "t1", WAIT).await.runs.remove(0);
    let [lost, second] = &running.attempts[..] else {
        panic!("{running:?}");
    };
    assert_eq!((lost.attempt, second.attempt), (1, 2));
    assert!(lost.error.is_some() && lost.ended_at <= Some(second.started_at));
    assert_eq!((second.ended_at, running.ended_at), (None, None));
    daemon.release("go");
    daemon.until("t1", WAIT, StageState::Success).await;
    let ended = runs(&daemon, "t1", WAIT).await.runs.remove(0);
    assert_eq!(ended.attempts[0], running.attempts[0]);
    assert_eq!((ended.attempts[1].ended_at, ended.standing), (ended.ended_at, true));
}

#[tokio::test]
async fn a_hit_writes_no_run_and_a_stage_that_ran_once_has_no_key_beside_it() {
    let daemon = Daemon::start().await;
    daemon.done("t1", CHEAP, json!({"value": 1})).await;
    let before = runs(&daemon, "t1", CHEAP).await;
    for _ in 0..3 {
        daemon.submit("t1", CHEAP, json!({"value": 1})).await;
    }
    assert_eq!(runs(&daemon, "t1", CHEAP).await, before);
    let exists: bool = daemon.redis().await.exists(HISTORY).await.unwrap();
    assert!(!exists);
    let unknown = daemon.get("/v1/tasks/t1/stages/test.wait/runs").await;
    assert_eq!((unknown.status, unknown.problem()), (404, "unknown-stage".to_owned()));
    let unknown = daemon.get("/v1/tasks/t2/stages/test.wait/runs").await;
    assert_eq!((unknown.status, unknown.problem()), (404, "unknown-task".to_owned()));
}

#[tokio::test]
async fn s4_a_deleted_task_leaves_nothing_of_its_earlier_runs() {
    let daemon = Daemon::start().await;
    for number in 1..=3 {
        force(&daemon, CHEAP, json!({"value": number})).await;
    }
    let mut redis = daemon.redis().await;
    let kept: u64 = redis.llen(HISTORY).await.unwrap();
    assert_eq!(kept, 2);
    let (of_runs, of_record): (i64, i64) = (
        redis.ttl(HISTORY).await.unwrap(),
        redis.ttl("onceover:stage:t1:test.cheap").await.unwrap(),
    );
    assert!((of_runs - of_record).abs() <= 1, "{of_runs} s and {of_record} s");
    daemon.idle().await;
    daemon.client.delete(&task_id("t1"), false).await.unwrap();
    let left: Vec<_> = daemon.keys().await;
    assert!(left.iter().all(|key| !key.contains("t1:")), "{left:?}");
    assert!(figures(&daemon, CHEAP).await.is_some(), "figures are of the node");
}

#[tokio::test]
async fn a_stage_names_the_stages_that_it_took_from() {
    let daemon = Daemon::start().await;
    daemon.done("t1", ECHO, json!({"value": 4})).await;
    let alone = daemon.stage("t1", ECHO).await.unwrap();
    assert!(alone.needs.is_empty());
    // What the request leaves out comes from the earlier stage.
    let taken = daemon.done("t1", REQUEST, json!({})).await;
    assert_eq!(taken.needs, [node_name(ECHO)]);
    // What a reference names is known before the run has ended.
    daemon.done("t3", ECHO, json!({"value": 4})).await;
    let reference = json!({"until": "go", "value": "${{ stages.test.echo.output.value }}"});
    daemon.submit("t3", WAIT, reference).await;
    let running = daemon.until("t3", WAIT, StageState::Running).await;
    assert_eq!(running.needs, [node_name(ECHO)]);
    daemon.submit("t2", WAIT, json!({"until": "go", "value": 2})).await;
    let reference = json!({"value": "${{ stages.test.wait.output.value }}"});
    daemon.release("go");
    daemon.until("t2", WAIT, StageState::Success).await;
    daemon.done("t2", REQUEST, reference).await;
    assert_eq!(runs(&daemon, "t2", REQUEST).await.runs[0].needs, [node_name(WAIT)]);
    // The value is given: nothing is taken.
    force(&daemon, REQUEST, json!({"value": 3})).await;
    let found = runs(&daemon, "t1", REQUEST).await.runs;
    assert!(found[0].needs.is_empty(), "{found:?}");
    assert_eq!(found[1].needs, [node_name(ECHO)]);
}

#[tokio::test]
async fn a_stage_that_failed_names_the_stages_that_it_took_from() {
    let daemon = Daemon::builder().nodes(CHAIN).start().await;
    daemon.done("t1", "chain.first", json!({})).await;
    daemon.submit("t1", "chain.second", json!({})).await;
    let failed = daemon.until("t1", "chain.second", StageState::Failed).await;
    assert_eq!(failed.needs, [node_name("chain.first")]);
    assert_eq!(
        runs(&daemon, "t1", "chain.second").await.runs[0].needs,
        [node_name("chain.first")]
    );
}

async fn start_pipeline(daemon: &Daemon, clip: &Path) -> VideoId {
    media::clip(clip, 1);
    let film = VideoId::parse("film").unwrap();
    let request = VideoRequest {
        video_id: Some("film".into()),
        path: Some(clip.display().to_string()),
        ..VideoRequest::default()
    };
    daemon.client.register_video(&request).await.unwrap();
    daemon.client.run_video(&film, Some("steps"), false).await.unwrap();
    film
}

#[tokio::test]
async fn a_step_of_a_pipeline_needs_the_stages_that_it_follows() {
    let (media, pipelines) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(pipelines.path().join("steps.toml"), PIPELINE).unwrap();
    let daemon = Daemon::builder()
        .media_root(media.path())
        .config(&format!("pipelines.dirs = ['{}']", pipelines.path().display()))
        .start()
        .await;
    let film = start_pipeline(&daemon, &media.path().join("clip.mp4")).await;
    let running = daemon.until("video-film", WAIT, StageState::Running).await;
    assert_eq!(running.needs, [node_name(ECHO)], "before it has ended");
    daemon.release("go");
    until_equal("status", ProcessingStatus::Completed, || async {
        daemon.client.processing(&film).await.unwrap().status
    })
    .await;
    let last = daemon.stage("video-film", REQUEST).await.unwrap();
    assert_eq!(last.needs, [node_name(WAIT)]);
    assert!(daemon.stage("video-film", ECHO).await.unwrap().needs.is_empty());
}

#[tokio::test]
async fn figures_of_a_node_count_what_ran_what_failed_and_what_was_reused() {
    let daemon = Daemon::start().await;
    assert_eq!(figures(&daemon, CHEAP).await, None);
    daemon.done("t1", CHEAP, json!({"value": 1})).await;
    daemon.submit("t1", CHEAP, json!({"value": 1})).await;
    daemon.done("t2", CHEAP, json!({"value": 1})).await;
    daemon.submit("t3", CHEAP, json!({"end": "fail"})).await;
    daemon.until("t3", CHEAP, StageState::Failed).await;
    daemon.submit("t4", WAIT, json!({"until": "never"})).await;
    daemon.until("t4", WAIT, StageState::Running).await;
    daemon.client.cancel(&task_id("t4")).await.unwrap();
    let cheap = figures(&daemon, CHEAP).await.expect("it has run");
    assert_eq!((cheap.runs, cheap.failed, cheap.hits), (3, 1, 1));
    assert_eq!(cheap.rate, Some(0.25));
    assert!(cheap.p50_ms <= cheap.p95_ms && cheap.p95_ms < 30_000, "{cheap:?}");
    assert_eq!(figures(&daemon, WAIT).await, None, "what was cancelled says nothing");
    let stage = daemon.stage("t2", CHEAP).await.unwrap();
    assert_eq!(cheap.last_ms as f64 / 1000.0, stage.duration);
}
