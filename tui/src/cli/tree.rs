//! `onceover tree`: prints tasks and their stages, in a form that can be pasted into an issue.

use std::{collections::HashMap, fmt::Write};

use onceover_types::{NodeName, StageState, TaskId, TaskStatus, Timestamp, VideoId};
use onceover_wire::{
    ResultWarning, StageSummary, TaskItem,
    client::{Client, ClientError, TaskQuery},
};

use super::{
    args::TreeArgs,
    failure::CommandResult,
    out::{print, print_json},
};
use crate::{
    figures,
    model::task::{Standing, Task, summarize_view},
    theme::{glyph, word},
    view::{pipeline, text, warned},
};

/// Runs the command.
pub async fn run(client: &Client, args: TreeArgs) -> CommandResult {
    let tasks = match (&args.task, args.json) {
        (Some(id), true) => {
            print_json(&client.task(id).await?)?;
            return Ok(true);
        }
        (Some(id), false) => vec![read_task(client, id).await?],
        (None, json) => {
            let items = read_tasks(client).await?;
            if json {
                print_json(&items)?;
                return Ok(true);
            }
            items
                .into_iter()
                .map(|item| PrintedTask::new(Task::from_item(item)))
                .collect()
        }
    };
    match tasks.as_slice() {
        [] => print("no tasks")?,
        // By the daemon's clock, which is known from its answers.
        tasks => print(render(tasks, client.clock().now()).trim_end())?,
    }
    Ok(true)
}

/// A task to be printed.
pub struct PrintedTask {
    task: Task,
    /// The warnings of its stages' results, where they were read: lists only count them.
    warnings: HashMap<NodeName, Vec<ResultWarning>>,
}

impl PrintedTask {
    fn new(task: Task) -> Self {
        Self {
            task,
            warnings: HashMap::new(),
        }
    }
}

/// Reads one task, with its pipeline if it is a video's. A pipeline that has no stage yet is a task, too.
pub async fn read_task(client: &Client, id: &TaskId) -> Result<PrintedTask, ClientError> {
    let processing = match VideoId::of_task(id) {
        Some(video) => allow_missing(client.processing(&video).await)?,
        None => None,
    };
    let view = client.task(id).await;
    let mut warnings = HashMap::new();
    let mut item = match (view, &processing) {
        (Err(error), Some(processing)) if error.status() == Some(404) => TaskItem {
            task_id: id.clone(),
            status: TaskStatus::Pending,
            created_at: processing.updated_at,
            updated_at: processing.updated_at,
            task_name: None,
            callback_status: None,
            stages: Default::default(),
            disk_bytes: 0,
            pipeline: None,
            damaged: None,
        },
        (view, _) => {
            let view = view?;
            let stages = view.stages.iter().filter(|(_, stage)| stage.warnings > 0);
            warnings = stages
                .map(|(node, stage)| (node.clone(), stage.result_warnings()))
                .collect();
            summarize_view(&view)
        }
    };
    item.pipeline = processing.map(Box::new);
    Ok(PrintedTask {
        task: Task::from_item(item),
        warnings,
    })
}

/// Takes an answer that the resource does not exist for `None`.
fn allow_missing<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Err(error) if error.status() == Some(404) => Ok(None),
        other => other.map(Some),
    }
}

/// Reads every task.
async fn read_tasks(client: &Client) -> Result<Vec<TaskItem>, ClientError> {
    let mut items = Vec::new();
    let mut query = TaskQuery {
        limit: Some(200),
        ..TaskQuery::default()
    };
    loop {
        let page = client.tasks(&query).await?;
        items.extend(page.items);
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return Ok(items),
        }
    }
}

/// Formats the tasks as lines: state, time, attempts, reuse, warnings; the columns line up over all of them. The
/// planned steps of a pipeline are included.
pub fn render(tasks: &[PrintedTask], now: Timestamp) -> String {
    let names = tasks.iter().flat_map(|PrintedTask { task, .. }| {
        let rows = task.rows().map(|(node, _)| text::width(node.as_str()) + 3);
        rows.chain([text::width(task.id.as_str())])
    });
    let column = usize::from(names.max().unwrap_or(0));
    let mut out = String::new();
    for PrintedTask { task, warnings } in tasks {
        push_line(
            &mut out,
            task.id.as_str(),
            column,
            &describe_state(task.state()),
            &list_task_facts(task),
        );
        let last = task.rows().count().saturating_sub(1);
        for (index, (node, stage)) in task.rows().enumerate() {
            let branch = if index == last { "└─" } else { "├─" };
            let (state, planned) = match task.standing(node) {
                Some(Standing::State(state)) => (describe_state(state), false),
                Some(Standing::Reused) => ("↺ reused".to_owned(), false),
                Some(Standing::Waiting | Standing::Skipped) => (pipeline::describe_wait(task, node, now), true),
                None => continue,
            };
            let facts = match stage.filter(|_| !planned) {
                Some(stage) => list_stage_facts(&stage.summary(), now),
                None => warned::format_mark(task.row_warnings(node).warnings),
            };
            push_line(&mut out, &format!("{branch} {node}"), column, &state, &facts);
            let trunk = if index == last { " " } else { "│" };
            for warning in warnings.get(&**node).into_iter().flatten() {
                let warning = format!("{trunk}    ⚠ {}", warned::describe_warning(warning));
                let _ = writeln!(out, "{}", text::harmless(&warning));
            }
        }
    }
    out
}

fn describe_state(state: StageState) -> String {
    format!("{} {}", glyph(state), word(state))
}

/// Lists what is known of a task: `subtitles  43 %  ⚠2`, and what its pipeline failed at.
fn list_task_facts(task: &Task) -> String {
    let processing = task.pipeline.as_ref().map(|pipeline| &pipeline.processing);
    let mut facts = Vec::new();
    if let Some(processing) = processing {
        facts.push(format!("{}  {} %", processing.pipeline, processing.progress));
    }
    let warnings = task.warnings();
    if warnings > 0 {
        facts.push(warned::format_mark(warnings));
    }
    let error = processing.and_then(|processing| processing.error.as_ref());
    facts.extend(error.map(|error| error.lines().next().unwrap_or_default().to_owned()));
    facts.join("  ")
}

/// Adds a line with its columns.
fn push_line(out: &mut String, name: &str, column: usize, state: &str, facts: &str) {
    let name = text::harmless(name);
    let pad = column.saturating_sub(usize::from(text::width(&name)));
    let line = format!("{name}{}  {state:<11}  {facts}", " ".repeat(pad));
    let _ = writeln!(out, "{}", text::harmless(line.trim_end()));
}

/// Lists what is known of a stage: time, progress, reuse, warnings, attempts, callback, error.
fn list_stage_facts(stage: &StageSummary, now: Timestamp) -> String {
    let took = match (stage.status, stage.started_at) {
        (StageState::Pending, _) => String::new(),
        (StageState::Running, Some(started)) => figures::format_ticking(now.seconds_since(started)),
        _ => figures::format_short(stage.duration),
    };
    let mut facts = vec![format!("{took:>5}")];
    if let Some(progress) = stage.progress.filter(|_| stage.status == StageState::Running) {
        facts.push(format!("{} %", figures::round_percent(progress)));
    }
    if stage.reuse_hits + stage.joins > 0 {
        facts.push(format!("↺ {}", stage.reuse_hits + stage.joins));
    }
    if stage.saved_seconds > 0.0 {
        facts.push(format!("saved {}", figures::format_long(stage.saved_seconds)));
    }
    if stage.warnings > 0 {
        facts.push(warned::format_mark(stage.warnings));
    }
    if stage.attempt > 1 {
        facts.push(format!("attempt {}", stage.attempt));
    }
    if stage.forced {
        facts.push("forced".into());
    }
    if let Some(callback) = stage.callback_status {
        facts.push(format!("callback {}", callback.as_str()));
    }
    if let Some(error) = &stage.error {
        facts.push(text::harmless(error.lines().next().unwrap_or("")));
    }
    facts.join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-01-02T12:00:00.000Z";

    #[test]
    fn the_task_and_every_stage_with_warnings_have_the_mark() {
        let stage = |warnings: u64| -> Value {
            json!({"status": "SUCCESS", "attempt": 1, "revision": 1, "queue": "cpu", "reuse_hits": 0, "joins": 0,
                "saved_seconds": 0.0, "duration": 3.0, "warnings": warnings})
        };
        let item = json!({"task_id": "film", "status": "completed", "created_at": NOW, "updated_at": NOW,
            "stages": {"a.first": stage(2), "a.second": stage(0), "a.third": stage(1)}});
        let item: TaskItem = serde_json::from_value(item).unwrap();
        let now = item.created_at;
        let printed = render(&[PrintedTask::new(Task::from_item(item))], now);
        let marks: Vec<_> = printed
            .lines()
            .map(|line| line.split_once('⚠').map_or("", |(_, count)| count))
            .collect();
        assert_eq!(marks, ["3", "2", "", "1"], "{printed}");
    }
}
