//! `onceover tree`: what people paste into an issue.

use std::{collections::HashMap, fmt::Write};

use onceover_types::{NodeName, StageState, TaskId, TaskStatus, Timestamp, VideoId};
use onceover_wire::{
    ResultWarning, StageSummary, TaskItem,
    client::{Client, ClientError, TaskQuery},
};

use super::{
    Outcome,
    args::TreeArgs,
    out::{print, print_json},
};
use crate::{
    model::{pipeline::Standing, store::Task},
    theme::{glyph, word},
    update::replies::item_of,
    view::{figures, pipeline, text, warned},
};

pub async fn run(client: &Client, args: TreeArgs) -> Outcome {
    let tasks = match (&args.task, args.json) {
        (Some(id), true) => {
            print_json(&client.task(id).await?)?;
            return Ok(true);
        }
        (Some(id), false) => vec![read_task(client, id).await?],
        (None, json) => {
            let items = all_tasks(client).await?;
            if json {
                print_json(&items)?;
                return Ok(true);
            }
            items.into_iter().map(|item| Printed::of(Task::of(item))).collect()
        }
    };
    match tasks.as_slice() {
        [] => print("no tasks")?,
        // By the daemon's clock, which its answers have told.
        tasks => print(render(tasks, client.clock().now()).trim_end())?,
    }
    Ok(true)
}

/// A task to be printed.
pub struct Printed {
    task: Task,
    /// What the results of its stages say of themselves, where that was read: lists only count it.
    warnings: HashMap<NodeName, Vec<ResultWarning>>,
}

impl Printed {
    fn of(task: Task) -> Self {
        Self {
            task,
            warnings: HashMap::new(),
        }
    }
}

/// One task, with its pipeline where it is a video's. A pipeline that has no stage yet is a task, too.
pub async fn read_task(client: &Client, id: &TaskId) -> Result<Printed, ClientError> {
    let processing = match VideoId::of_task(id) {
        Some(video) => found(client.processing(&video).await)?,
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
            item_of(&view)
        }
    };
    item.pipeline = processing.map(Box::new);
    Ok(Printed {
        task: Task::of(item),
        warnings,
    })
}

fn found<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Err(error) if error.status() == Some(404) => Ok(None),
        other => other.map(Some),
    }
}

async fn all_tasks(client: &Client) -> Result<Vec<TaskItem>, ClientError> {
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

/// The tasks as lines: state, time, attempts, reuse, warnings; the columns line up over all of them. A pipeline's planned steps
/// are there, too.
pub fn render(tasks: &[Printed], now: Timestamp) -> String {
    let names = tasks.iter().flat_map(|Printed { task, .. }| {
        let rows = task.rows().map(|(node, _)| text::width(node.as_str()) + 3);
        rows.chain([text::width(task.id.as_str())])
    });
    let column = usize::from(names.max().unwrap_or(0));
    let mut out = String::new();
    for Printed { task, warnings } in tasks {
        line(
            &mut out,
            task.id.as_str(),
            column,
            &in_words(task.state()),
            &of_task(task),
        );
        let last = task.rows().count().saturating_sub(1);
        for (index, (node, stage)) in task.rows().enumerate() {
            let branch = if index == last { "└─" } else { "├─" };
            let (state, planned) = match task.standing(node) {
                Some(Standing::State(state)) => (in_words(state), false),
                Some(Standing::Reused) => ("↺ reused".to_owned(), false),
                Some(Standing::Waiting | Standing::Skipped) => (pipeline::waits(task, node, now), true),
                None => continue,
            };
            let facts = match stage.filter(|_| !planned) {
                Some(stage) => facts(stage, now),
                None => warned::mark(task.row_warnings(node).warnings),
            };
            line(&mut out, &format!("{branch} {node}"), column, &state, &facts);
            let trunk = if index == last { " " } else { "│" };
            for warning in warnings.get(&**node).into_iter().flatten() {
                let warning = format!("{trunk}    ⚠ {}", warned::sentence(warning));
                let _ = writeln!(out, "{}", text::harmless(&warning));
            }
        }
    }
    out
}

fn in_words(state: StageState) -> String {
    format!("{} {}", glyph(state), word(state))
}

/// `subtitles  43 %  ⚠2`, and what its pipeline failed at.
fn of_task(task: &Task) -> String {
    let processing = task.pipeline.as_ref().map(|pipeline| &pipeline.processing);
    let mut facts = Vec::new();
    if let Some(processing) = processing {
        facts.push(format!("{}  {} %", processing.pipeline, processing.progress));
    }
    let warnings = task.warnings();
    if warnings > 0 {
        facts.push(warned::mark(warnings));
    }
    let error = processing.and_then(|processing| processing.error.as_ref());
    facts.extend(error.map(|error| error.lines().next().unwrap_or_default().to_owned()));
    facts.join("  ")
}

fn line(out: &mut String, name: &str, column: usize, state: &str, facts: &str) {
    let name = text::harmless(name);
    let pad = column.saturating_sub(usize::from(text::width(&name)));
    let line = format!("{name}{}  {state:<11}  {facts}", " ".repeat(pad));
    let _ = writeln!(out, "{}", text::harmless(line.trim_end()));
}

fn facts(stage: &StageSummary, now: Timestamp) -> String {
    let mut facts = vec![match (stage.status, stage.started_at) {
        (StageState::Pending, _) => " ".repeat(5),
        (StageState::Running, Some(started)) => figures::short(now.seconds_since(started)),
        _ => figures::short(stage.duration),
    }];
    if let Some(progress) = stage.progress.filter(|_| stage.status == StageState::Running) {
        facts.push(format!("{} %", figures::percent(progress)));
    }
    if stage.reuse_hits + stage.joins > 0 {
        facts.push(format!("↺ {}", stage.reuse_hits + stage.joins));
    }
    if stage.saved_seconds > 0.0 {
        facts.push(format!("saved {}", figures::long(stage.saved_seconds)));
    }
    if stage.warnings > 0 {
        facts.push(warned::mark(stage.warnings));
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
        let printed = render(&[Printed::of(Task::of(item))], now);
        let marks: Vec<_> = printed
            .lines()
            .map(|line| line.split_once('⚠').map_or("", |(_, count)| count))
            .collect();
        assert_eq!(marks, ["3", "2", "", "1"], "{printed}");
    }
}
