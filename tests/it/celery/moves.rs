//! Stages that go from workers to this machine: while nobody listens, and where their service runs here again.

use std::fs;

use onceover_tests::{
    Daemon,
    celery_workers::{CeleryBroker, PROBE_QUEUE},
};
use onceover_types::StageState;
use serde_json::{Value, json};

use super::{begun, single};

/// A node that this machine can run as well.
const BOTH: &str = "probe.both";
const NODES: &str = r#"
[[nodes]]
name = "probe.both"
runner = { command = ["sh", "-c", "cat > /dev/null; echo '{\"type\":\"output\",\"output\":{\"value\":\"here\"}}'"] }
"#;

async fn assert_done_here(daemon: &Daemon, task: &str) {
    let stage = daemon.until_ended(task, BOTH).await;
    assert_eq!(stage.status, StageState::Success, "{task}: {stage:?}");
    assert_eq!(stage.runner.as_deref(), Some("command"), "{task}");
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    assert_eq!(output["value"], "here", "{task}");
}

#[tokio::test]
async fn celery_a_stage_that_no_worker_listens_for_runs_on_this_machine_where_its_service_says_so() {
    let broker = CeleryBroker::start().await;
    let service = broker.service("probe", "when_no_worker = 'local'\nlocal_after = '500ms'");
    let daemon = Daemon::builder().config(&service).nodes(NODES).start().await;
    daemon.submit("film", BOTH, json!({})).await;
    assert_done_here(&daemon, "film").await;
    assert!(broker.message_ids(PROBE_QUEUE).await.is_empty(), "nothing was sent");
}

#[tokio::test]
async fn celery_one_line_moves_what_waits_and_what_runs_to_this_machine_and_each_ends_once() {
    let broker = CeleryBroker::start().await;
    let _worker = single("w1").start(&broker).await;
    let service = broker.service("probe", "task = 'probe.sleep'");
    let mut daemon = Daemon::builder().config(&service).nodes(NODES).start().await;
    let input = json!({"seconds": 60, "steps": 1});
    daemon.submit("runs", BOTH, input.clone()).await;
    begun(&daemon, "runs", BOTH).await;
    // One more is sent, and the last one waits.
    for task in ["sent", "waits"] {
        daemon.submit(task, BOTH, input.clone()).await;
    }
    daemon.until("sent", BOTH, StageState::Running).await;
    daemon.kill();
    let file = daemon.dir().join("onceover.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace("runner = 'celery'", "runner = 'local'")).unwrap();
    daemon.launch().await;
    for task in ["runs", "sent", "waits"] {
        assert_done_here(&daemon, task).await;
    }
    assert_eq!(daemon.stage("waits", BOTH).await.unwrap().attempt, 1);
    daemon.idle().await;
}
