//! Requirements that need faults: each test is short here and long in `make soak`, which prints how often it looked and
//! how often a requirement was violated.

use std::{sync::Mutex, time::Duration};

use onceover_tests::{Daemon, DaemonBuilder, eventually};
use onceover_types::StageState;
use onceover_wire::StageView;

mod callbacks;
mod decisions;
mod events;
mod expiry;
mod outages;
mod processes;
mod transfers;

const CHEAP: &str = "test.cheap";
const ECHO: &str = "test.echo";
const QUICK: &str = "test.quick";
const TOLD: &str = "test.told";

/// Rounds side by side on the same daemons: most of a round is waiting.
const LANES: usize = 4;

/// Short leases, so that several pass while a test looks.
const LEASES: &str = "[runs]\nlease = '500ms'\nheartbeat = '100ms'\ngrace = '200ms'";

fn builder() -> DaemonBuilder {
    Daemon::builder().config(LEASES)
}

/// Waits until the daemon answers that the stage has ended, through outages too.
async fn ended(daemon: &Daemon, task: &str, node: &str) -> StageView {
    eventually(&format!("the end of {node} of {task}"), || async {
        let stage = daemon.stage(task, node).await?;
        (!stage.status.in_flight()).then_some(stage)
    })
    .await
}

fn succeeded(stage: &StageView) -> bool {
    stage.status == StageState::Success
}

fn keep_longest(longest: &Mutex<Duration>, took: Duration) {
    let mut longest = longest.lock().expect("no panic while locked");
    *longest = took.max(*longest);
}
