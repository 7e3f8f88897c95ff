//! Finds what a command acts on: the targets that were named, or what a query of the dashboard finds.

use std::collections::{BTreeMap, btree_map::Entry};

use onceover_types::{NodeName, TaskId, Timestamp};
use onceover_wire::client::{Client, ClientError, TaskQuery};

use super::{
    args::{StageSelection, TargetId, TargetSelection},
    failure::Failure,
    out::print_warning,
};
use crate::{
    figures::count_noun,
    model::{
        filter::Filter,
        task::{Task, summarize_view},
    },
};

/// Tasks that are read at once, and at most: a query is answered here, not by the daemon.
const PAGE: u32 = 200;
const MOST_TASKS: usize = 100_000;

/// Something to act on, and the task as it was when it was found.
#[derive(Debug)]
pub struct Selected {
    pub target: TargetId,
    /// `None` if there is no such task, or if the task is not needed.
    pub task: Option<Task>,
}

/// What of a task a query selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectedPart {
    /// Whole tasks.
    Task,
    /// The stages that it finds.
    Stage,
    /// Of these the ones in flight.
    StageInFlight,
}

/// Finds what to act on; `part` is what a query selects. Of a target that is named, the task is read where it is needed.
pub async fn select(
    client: &Client,
    selection: &TargetSelection,
    part: SelectedPart,
    needs_task: impl Fn(&TargetId) -> bool,
) -> Result<Vec<Selected>, Failure> {
    let mut selected = match &selection.filter {
        Some(filter) => select_filtered(client, filter, part).await?,
        None => select_named(client, &selection.targets, needs_task).await?,
    };
    selected.sort_by(|one, other| one.target.cmp(&other.target));
    selected.dedup_by(|one, other| one.target == other.target);
    if selection.filter.is_some() && selected.len() > selection.most {
        return Err(Failure::new(format!(
            "the query finds {}, more than {}; narrow it, or allow more with --most",
            count_noun(selected.len(), "target"),
            selection.most
        )));
    }
    Ok(selected)
}

async fn select_named(
    client: &Client,
    targets: &[TargetId],
    needs_task: impl Fn(&TargetId) -> bool,
) -> Result<Vec<Selected>, ClientError> {
    let mut tasks = BTreeMap::new();
    for target in targets {
        if needs_task(target)
            && let Entry::Vacant(entry) = tasks.entry(&target.task)
        {
            entry.insert(read_task(client, &target.task).await?);
        }
    }
    let select = |target: &TargetId| Selected {
        target: target.clone(),
        task: tasks.get(&target.task).cloned().flatten(),
    };
    Ok(targets.iter().map(select).collect())
}

/// Reads a task; `None` if there is no such task.
async fn read_task(client: &Client, task: &TaskId) -> Result<Option<Task>, ClientError> {
    match client.task(task).await {
        Ok(view) => Ok(Some(Task::from_item(summarize_view(&view)))),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn select_filtered(client: &Client, filter: &Filter, part: SelectedPart) -> Result<Vec<Selected>, ClientError> {
    let tasks = read_tasks(client, MOST_TASKS).await?;
    let now = client.clock().now();
    let mut selected = Vec::new();
    for task in tasks {
        for node in list_matches(&task, filter, part, now) {
            let target = TargetId {
                task: (*task.id).clone(),
                node,
            };
            selected.push(Selected {
                target,
                task: Some(task.clone()),
            });
        }
    }
    Ok(selected)
}

/// Lists the parts of a task that a query selects; `None` is the task.
fn list_matches(task: &Task, filter: &Filter, part: SelectedPart, now: Timestamp) -> Vec<Option<NodeName>> {
    if part == SelectedPart::Task {
        return if matches_task(filter, task, now) {
            vec![None]
        } else {
            Vec::new()
        };
    }
    let stages = task.stages.iter();
    stages
        .filter(|&(_, stage)| part == SelectedPart::Stage || stage.status.in_flight())
        .filter(|&(node, stage)| filter.matches(task, node, Some(stage), now))
        .map(|(node, _)| Some((**node).clone()))
        .collect()
}

/// Whether the tree would show the task.
pub fn matches_task(filter: &Filter, task: &Task, now: Timestamp) -> bool {
    let mut rows = task.rows().peekable();
    if rows.peek().is_none() {
        return filter.matches_bare(task, now);
    }
    rows.any(|(node, stage)| filter.matches(task, node, stage, now))
}

/// Reads the newest tasks; where there are more, says so.
pub async fn read_tasks(client: &Client, most: usize) -> Result<Vec<Task>, ClientError> {
    let mut tasks = Vec::new();
    let mut query = TaskQuery {
        limit: Some(PAGE),
        ..TaskQuery::default()
    };
    loop {
        let page = client.tasks(&query).await?;
        tasks.extend(page.items.into_iter().map(Task::from_item));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(tasks);
        }
        if tasks.len() >= most {
            print_warning(&format!(
                "only the newest {} were searched",
                count_noun(tasks.len(), "task")
            ));
            return Ok(tasks);
        }
    }
}

/// Finds the stage that is named, or the newest one of the task.
pub async fn find_stage(client: &Client, selection: &StageSelection) -> Result<(TaskId, NodeName), Failure> {
    let TargetId { task, node } = &selection.target;
    if let Some(node) = node {
        return Ok((task.clone(), node.clone()));
    }
    let view = client.task(task).await?;
    let node = find_newest(&Task::from_item(summarize_view(&view)))?;
    Ok((task.clone(), node))
}

/// Returns the stage of a task that was asked for last.
pub fn find_newest(task: &Task) -> Result<NodeName, Failure> {
    let newest = task.newest_stage().map(|(node, _)| (**node).clone());
    newest.ok_or_else(|| Failure::new(format!("{} has no stage yet", task.id)))
}
