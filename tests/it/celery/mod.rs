//! Stages on real Celery workers: what is sent, what becomes of it when anything of it fails, and what people are shown.
//! The workers are unmodified; `make test-celery-5.3` runs the same with the oldest versions.

use onceover_tests::{
    Daemon, DaemonBuilder,
    celery_workers::{CeleryBroker, WorkerStart},
    eventually,
};
use onceover_types::StageState;
use onceover_wire::StageView;

mod brokers;
mod cancels;
mod elsewhere;
mod gpu;
mod losses;
mod moves;
mod outages;
mod own_worker;
mod own_writes;
mod runs;
mod simulated;
mod soak;
mod views;

const NOOP: &str = "probe.noop";
const SLEEP: &str = "probe.sleep";
const WRITE: &str = "probe.write";

/// Nodes that the tasks of `worker_app.py` are. None of these programs runs while their service is run by workers.
const NODES: &str = r#"
[[nodes]]
name = "probe.noop"
runner = { command = ["false"] }

[[nodes]]
name = "probe.plain"
runner = { command = ["false"] }

[[nodes]]
name = "probe.sleep"
runner = { command = ["false"] }

[[nodes]]
name = "probe.write"
runner = { command = ["false"] }

[[nodes]]
name = "probe.fail"
runner = { command = ["false"] }

[[nodes]]
name = "probe.raise"
runner = { command = ["false"] }

[[nodes]]
name = "probe.object"
runner = { command = ["false"] }

[[nodes]]
name = "probe.own"
runner = { command = ["false"] }

[[nodes]]
name = "probe.stubborn"
runner = { command = ["false"] }
"#;

/// A daemon whose service `probe` is run by the workers of this broker.
fn builder(broker: &CeleryBroker) -> DaemonBuilder {
    builder_with(broker, "")
}

/// The same, with more lines of the service.
fn builder_with(broker: &CeleryBroker, more: &str) -> DaemonBuilder {
    Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.1']")
        .env("NO_PROXY", "127.0.0.1")
        .config(&broker.service("probe", more))
        .nodes(NODES)
}

/// Reads how many of something a soak or a simulation asks for.
fn wanted(variable: &str, short: usize) -> usize {
    let text = std::env::var(variable).ok();
    text.map_or(short, |text| text.parse().expect("a number"))
}

/// A worker that runs one task at a time.
fn single(name: &str) -> WorkerStart {
    WorkerStart::named(name).concurrency(1)
}

/// Waits until a worker has begun the stage.
async fn begun(daemon: &Daemon, task: &str, node: &str) -> StageView {
    eventually(&format!("{node} of {task} on a worker"), || async {
        let stage = daemon.stage(task, node).await?;
        let is_there = stage
            .message
            .as_deref()
            .is_some_and(|message| message.contains("@test"));
        (stage.status == StageState::Running && is_there).then_some(stage)
    })
    .await
}
