//! `onceover tree`: what people paste into an issue.

use std::fmt::Write;

use onceover_common::{
    StageState, Timestamp,
    client::{Client, TaskQuery},
    wire::{StageSummary, TaskItem},
};

use super::{Outcome, args::Tree, print};
use crate::{
    theme::{as_state, glyph, word},
    update::replies::item_of,
    view::{figures, text},
};

pub async fn run(client: &Client, args: Tree) -> Outcome {
    let now = Timestamp::now();
    if let Some(task) = &args.task {
        let view = client.task(task).await?;
        let text = if args.json {
            serde_json::to_string_pretty(&view)?
        } else {
            render(&[item_of(&view)], now)
        };
        print(text.trim_end())?;
        return Ok(true);
    }
    let items = all_tasks(client).await?;
    let text = match (args.json, items.as_slice()) {
        (true, items) => serde_json::to_string_pretty(items)?,
        (false, []) => "no tasks".into(),
        (false, items) => render(items, now),
    };
    print(text.trim_end())?;
    Ok(true)
}

async fn all_tasks(client: &Client) -> Result<Vec<TaskItem>, onceover_common::client::ClientError> {
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

/// The tasks as lines: state, time, attempts, reuse; the columns line up over all of them.
pub fn render(items: &[TaskItem], now: Timestamp) -> String {
    let names = items.iter().flat_map(|item| {
        let stages = item.stages.keys().map(|node| text::width(node.as_str()) + 3);
        stages.chain([text::width(item.task_id.as_str())])
    });
    let column = usize::from(names.max().unwrap_or(0));
    let mut out = String::new();
    for item in items {
        let state = as_state(item.status);
        line(&mut out, item.task_id.as_str(), column, state, "");
        let last = item.stages.len().saturating_sub(1);
        for (index, (node, stage)) in item.stages.iter().enumerate() {
            let branch = if index == last { "└─" } else { "├─" };
            line(
                &mut out,
                &format!("{branch} {node}"),
                column,
                stage.status,
                &facts(stage, now),
            );
        }
    }
    out
}

fn line(out: &mut String, name: &str, column: usize, state: StageState, facts: &str) {
    let name = text::harmless(name);
    let pad = column.saturating_sub(usize::from(text::width(&name)));
    let state = format!("{} {:<9}", glyph(state), word(state));
    let line = format!("{name}{}  {state}  {facts}", " ".repeat(pad));
    let _ = writeln!(out, "{}", line.trim_end());
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
