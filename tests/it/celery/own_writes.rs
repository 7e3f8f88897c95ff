//! Workers that write their stage to Redis themselves, as those of the older gateway do, for runs that the daemon has sent
//! to them: before the daemon has their answer, after it, after a cancel, and when another run has taken the stage (R7).
//! What counts is what they return, and for the run that has the stage.

use onceover_tests::{
    Daemon, RedisServer,
    celery_workers::{CeleryBroker, WorkerStart},
    daemon::task_id,
    eventually, until_equal,
};
use onceover_types::StageState;
use onceover_wire::StageView;
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{begun, builder, single};

/// Writes its stage as RUNNING and as SUCCESS.
const OWN: &str = "probe.own";
const TASK: &str = "film";
/// The database of the state, as in the older gateway.
const DATABASE: i64 = 3;

/// A daemon and a worker that use one Redis for the state of tasks.
struct Shared {
    daemon: Daemon,
    broker: CeleryBroker,
    state: RedisServer,
}

impl Shared {
    async fn start() -> Self {
        // With the notifications by which the daemon notices what others write.
        let state = RedisServer::start(&["--notify-keyspace-events", "E$gx"]).await;
        let broker = CeleryBroker::start().await;
        let daemon = builder(&broker).redis(&state.url(DATABASE)).start().await;
        Self { daemon, broker, state }
    }

    /// Lets a worker write to the state.
    fn prepare(&self, worker: WorkerStart) -> WorkerStart {
        worker.env("WORKER_STATE", &self.state.url(DATABASE))
    }

    /// Waits until workers have written so often.
    async fn until_written(&self, times: i64) {
        let daemon = &self.daemon;
        eventually(&format!("{times} writes of workers"), || async {
            let written: Option<i64> = daemon.redis().await.get(format!("written:{TASK}")).await.ok()?;
            (written? >= times).then_some(())
        })
        .await;
    }

    async fn stage(&self) -> StageView {
        self.daemon.stage(TASK, OWN).await.expect("the stage")
    }

    /// Waits until the public JSON in Redis, which other programs read, is that of this run of ours again.
    async fn until_public(&self, stage: &StageView) {
        let wanted = (
            stage.run_id.as_ref().map(ToString::to_string),
            Some(stage.status.to_string()),
        );
        until_equal("run and state of the public JSON", wanted, || async {
            let text: String = self
                .daemon
                .redis()
                .await
                .get(format!("{TASK}:node:{OWN}"))
                .await
                .expect("the stage has one");
            let json: Value = serde_json::from_str(&text).expect("JSON");
            let text = |field: &str| json["stages"][OWN][field].as_str().map(str::to_owned);
            (text("run_id"), text("status"))
        })
        .await;
    }

    async fn count_runs(&self) -> usize {
        let runs = self
            .daemon
            .get(&format!("/v1/tasks/{TASK}/stages/{OWN}/runs"))
            .await
            .json();
        runs["runs"].as_array().map_or(0, Vec::len)
    }
}

/// Asserts that the stage has the result of this run of ours.
fn assert_result(stage: &StageView, before: &StageView, value: i64) {
    assert_eq!(stage.status, StageState::Success, "{stage:?}");
    assert_eq!((&stage.run_id, stage.attempt), (&before.run_id, before.attempt));
    assert_eq!(
        stage.runner.as_deref(),
        Some("celery"),
        "it is no stage of another worker"
    );
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    assert_eq!(output["value"], value);
}

#[tokio::test]
async fn r7_what_a_worker_writes_before_its_answer_is_no_takeover_and_the_end_is_ours() {
    let shared = Shared::start().await;
    let _worker = shared.prepare(single("w1")).start(&shared.broker).await;
    let daemon = &shared.daemon;
    daemon.submit(TASK, OWN, json!({"value": 5, "seconds": 1})).await;
    let running = begun(daemon, TASK, OWN).await;
    shared.until_written(1).await;
    let seen = shared.stage().await;
    assert_eq!((&seen.run_id, seen.attempt), (&running.run_id, 1), "the run goes on");
    daemon.until(TASK, OWN, StageState::Success).await;
    shared.until_written(2).await;
    assert_result(&shared.stage().await, &running, 5);
    shared.until_public(&shared.stage().await).await;
    assert_eq!(shared.count_runs().await, 1);
    let again = daemon.submit(TASK, OWN, json!({"value": 5, "seconds": 1})).await;
    assert!(again.reuse_info.reuse_hit);
}

#[tokio::test]
async fn r7_what_a_worker_writes_after_its_answer_changes_nothing() {
    let shared = Shared::start().await;
    let _worker = shared.prepare(single("w1")).start(&shared.broker).await;
    let daemon = &shared.daemon;
    let input = json!({"value": 5, "late": 0.5});
    daemon.submit(TASK, OWN, input.clone()).await;
    let ended = daemon.until(TASK, OWN, StageState::Success).await;
    shared.until_written(2).await;
    assert_result(&shared.stage().await, &ended, 5);
    shared.until_public(&ended).await;
    // Reads of the whole task, and of all tasks, find the same.
    let status = daemon.get(&format!("/v1/tasks/{TASK}/status")).await.json();
    assert_eq!(status["stages"][OWN]["status"], "SUCCESS", "{status}");
    assert_eq!(shared.count_runs().await, 1);
    let again = daemon.submit(TASK, OWN, input).await;
    assert!(again.reuse_info.reuse_hit, "{:?}", again.reuse_info);
    assert_result(&shared.stage().await, &ended, 5);
}

#[tokio::test]
async fn r7_what_a_worker_writes_after_a_cancel_that_it_cannot_carry_out_changes_nothing() {
    let shared = Shared::start().await;
    let worker = single("w1").pool("threads");
    let _worker = shared.prepare(worker).start(&shared.broker).await;
    let daemon = &shared.daemon;
    daemon.submit(TASK, OWN, json!({"seconds": 2})).await;
    let running = begun(daemon, TASK, OWN).await;
    daemon.client.cancel(&task_id(TASK)).await.expect("it is cancelled");
    daemon.until(TASK, OWN, StageState::Cancelled).await;
    shared.until_written(2).await;
    let stage = shared.stage().await;
    assert_eq!((stage.status, stage.output.get()), (StageState::Cancelled, "{}"));
    assert_eq!(stage.run_id, running.run_id);
    shared.until_public(&stage).await;
}

#[tokio::test]
async fn r7_what_a_worker_writes_for_a_run_that_another_has_replaced_changes_nothing() {
    let shared = Shared::start().await;
    // Two threads: the one that cannot be ended does not hold up the other run.
    let worker = WorkerStart::named("w1").pool("threads");
    let _worker = shared.prepare(worker).start(&shared.broker).await;
    let daemon = &shared.daemon;
    daemon.submit(TASK, OWN, json!({"value": 1, "seconds": 4})).await;
    let fenced = begun(daemon, TASK, OWN).await;
    daemon.client.cancel(&task_id(TASK)).await.expect("it is cancelled");
    daemon.until(TASK, OWN, StageState::Cancelled).await;
    daemon.submit(TASK, OWN, json!({"value": 2})).await;
    let ended = daemon.until(TASK, OWN, StageState::Success).await;
    assert_ne!(ended.run_id, fenced.run_id);
    // Each of both has written twice.
    shared.until_written(4).await;
    assert_result(&shared.stage().await, &ended, 2);
    shared.until_public(&ended).await;
    let again = daemon.submit(TASK, OWN, json!({"value": 2})).await;
    assert!(again.reuse_info.reuse_hit);
    assert_result(&shared.stage().await, &ended, 2);
}
