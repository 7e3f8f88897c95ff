//! Clients: each asks one service of one daemon, and remembers what was promised.

use std::sync::Arc;

use onceover_types::{NodeName, TaskId};
use onceover_wire::{ReuseMode, SubmitRequest};
use serde_json::{Map, json};

use super::{
    plan::{NODES, TASKS},
    receivers::{GOOD, SILENT, UNSTEADY},
    world::World,
};
use crate::{app::compose::Services, config::UnknownFields};

/// What a client asks for.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    Submit {
        task: &'static str,
        node: &'static str,
        mode: ReuseMode,
        text: u8,
        /// Distinct for each submit.
        callback: Option<String>,
    },
    /// As many submits with a callback of each as one run may have waiting, and more.
    Crowd {
        task: &'static str,
        node: &'static str,
        count: u32,
    },
    Cancel {
        task: &'static str,
    },
    Delete {
        task: &'static str,
    },
}

/// A callback that an accepted submit asked for.
#[derive(Debug, Clone)]
pub(super) struct Promise {
    pub(super) url: String,
    pub(super) task: &'static str,
    /// The deletions of the task before it.
    pub(super) deletions: u32,
}

impl Wish {
    pub(super) fn choose(world: &World) -> Self {
        let mut state = world.state();
        let number = state.next_number();
        let rng = &mut state.rng;
        let task = TASKS[rng.usize(..TASKS.len())];
        let node = NODES[rng.usize(..NODES.len())];
        match rng.u8(..20) {
            0 => Self::Delete { task },
            1 | 2 => Self::Cancel { task },
            choice => {
                let host = [GOOD, GOOD, UNSTEADY, SILENT][rng.usize(..4)];
                Self::Submit {
                    task,
                    node,
                    mode: match choice {
                        3..=5 => ReuseMode::Never,
                        6 | 7 => ReuseMode::Strict,
                        _ => ReuseMode::Auto,
                    },
                    text: rng.u8(..2),
                    callback: rng.bool().then(|| format!("http://{host}/{number}")),
                }
            }
        }
    }

    /// Asks, and notes what came of it.
    pub(super) async fn ask(self, world: Arc<World>, services: Arc<Services>) {
        match self {
            Self::Submit {
                task,
                node,
                mode,
                text,
                callback,
            } => submit(&world, &services, (task, node), mode, text, callback).await,
            Self::Crowd { task, node, count } => {
                for number in 0..count {
                    let url = format!("http://{SILENT}/crowd/{number}");
                    submit(&world, &services, (task, node), ReuseMode::Auto, 0, Some(url)).await;
                }
            }
            Self::Cancel { task } => {
                let answer = services.cancellations.cancel_task(&task_id(task), None).await;
                world.note(format!("a client cancels {task}: {}", outcome(&answer)));
            }
            Self::Delete { task } => {
                let answer = services.deletions.delete_task(&task_id(task), true).await;
                world.note(format!("a client deletes {task}: {}", outcome(&answer)));
            }
        }
    }
}

fn task_id(task: &str) -> TaskId {
    TaskId::parse(task).expect("the name is one of a task")
}

fn outcome<T, E: std::fmt::Display>(answer: &Result<T, E>) -> String {
    match answer {
        Ok(_) => "done".into(),
        Err(error) => error.to_string(),
    }
}

async fn submit(
    world: &World,
    services: &Services,
    (task, node): (&'static str, &'static str),
    mode: ReuseMode,
    text: u8,
    callback: Option<String>,
) {
    let request = SubmitRequest {
        task_name: NodeName::parse(node).expect("the name is one of a node").to_string(),
        task_id: Some(task.to_owned()),
        callback: callback.clone(),
        input_data: Map::from_iter([("text".to_owned(), json!(text.to_string()))]),
        reuse: Some(mode),
    };
    let deletions = world.state().deletions.get(task).copied().unwrap_or_default();
    let checked = services.submissions.check_request(request, UnknownFields::Refuse);
    let answer = match checked {
        Ok(checked) => services.submissions.submit_request(&checked).await,
        Err(error) => Err(error),
    };
    let asked = callback.as_deref().unwrap_or("nobody");
    world.note(format!(
        "a client submits {node} of {task} for {asked}: {}",
        outcome(&answer)
    ));
    if let (Ok(_), Some(url)) = (answer, callback) {
        world.state().promises.push(Promise { url, task, deletions });
    }
}
