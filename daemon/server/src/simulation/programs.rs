//! The programs of simulated runs: each takes some simulated time, reports progress, and ends as the seed decides. None is a
//! process, so a daemon that is killed takes its programs with it, as the reaper process sees to in reality.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use onceover_run::{
    Programs, RunContext, RunError,
    tool::{Exit, ProgramOutput, Tool},
};
use tokio::time::sleep;

use super::world::{DaemonStart, World};

/// One attempt of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProgramId {
    pub(super) task: String,
    pub(super) node: String,
    pub(super) run: String,
    pub(super) attempt: u32,
}

/// Starts the programs of one start of a daemon.
pub(super) struct SimulatedPrograms {
    pub(super) world: Arc<World>,
    pub(super) owner: DaemonStart,
}

/// A program that runs, for as long as this lives.
struct Running {
    world: Arc<World>,
    owner: DaemonStart,
    id: ProgramId,
}

impl Running {
    fn begin(world: &Arc<World>, owner: DaemonStart, id: ProgramId) -> Self {
        world.note(format!(
            "daemon {} runs {} of {}, attempt {}",
            owner.daemon, id.node, id.task, id.attempt
        ));
        let before = world.state().programs.insert(id.clone(), owner);
        assert!(
            before.is_none(),
            "an attempt runs twice: {id:?} of {before:?} and of {owner:?}"
        );
        Self {
            world: Arc::clone(world),
            owner,
            id,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.world.state();
        if state.programs.get(&self.id) == Some(&self.owner) {
            state.programs.remove(&self.id);
        }
    }
}

/// How a program goes.
struct Course {
    parts: u32,
    pause: Duration,
    /// What it takes to end after it was asked to.
    ending: Duration,
    is_success: bool,
}

impl Course {
    fn choose(world: &World, id: &ProgramId) -> Self {
        let mut rng = world.numbers_of(&format!("{} {}", id.run, id.attempt));
        Self {
            parts: rng.u32(1..=3),
            pause: Duration::from_millis(rng.u64(1..8_000)),
            ending: Duration::from_millis(rng.u64(0..2_000)),
            is_success: rng.u8(..10) > 0,
        }
    }
}

impl Programs for SimulatedPrograms {
    fn run<'a>(
        &'a self,
        _tool: Tool,
        context: &'a RunContext,
        printed: ProgramOutput<'a>,
    ) -> BoxFuture<'a, Result<Exit, RunError>> {
        Box::pin(async move {
            let ProgramOutput::Lines(mut line) = printed else {
                return Err(RunError::failed("a simulated program prints lines"));
            };
            let id = ProgramId {
                task: context.task_id.to_string(),
                node: context.node.name.to_string(),
                run: context.run_id.to_string(),
                attempt: context.attempt,
            };
            if !self.world.state().is_alive(self.owner) {
                return std::future::pending().await;
            }
            let course = Course::choose(&self.world, &id);
            let _running = Running::begin(&self.world, self.owner, id);
            for part in 1..=course.parts {
                tokio::select! {
                    biased;
                    () = context.cancel.cancelled() => {
                        sleep(course.ending).await;
                        return Err(RunError::Interrupted);
                    }
                    () = sleep(course.pause) => {}
                }
                line(&format!(
                    r#"{{"type":"progress","percent":{}}}"#,
                    part * 100 / course.parts
                ));
            }
            let code = if course.is_success {
                line(r#"{"type":"output","output":{"made":true}}"#);
                0
            } else {
                1 << 8
            };
            Ok(Exit {
                status: ExitStatus::from_raw(code),
                stderr: Vec::new(),
            })
        })
    }
}
