//! `onceover show`: prints a task with its stages, or all about one stage.

use onceover_types::NodeName;
use onceover_wire::{StageView, client::Client};

use super::{
    args::ShowArgs,
    failure::{CommandResult, Failure},
    out::{print, print_json},
    tree,
};
use crate::{
    figures,
    theme::{glyph, word},
    view::{reasons, text, warned},
};

/// Runs the command.
pub async fn run(client: &Client, args: ShowArgs) -> CommandResult {
    let task = &args.target.task;
    let Some(node) = &args.target.node else {
        if args.json {
            print_json(&client.task(task).await?)?;
        } else {
            let printed = tree::read_task(client, task).await?;
            print(tree::render(&[printed], client.clock().now()).trim_end())?;
        }
        return Ok(true);
    };
    let view = client.task(task).await?;
    let Some(stage) = view.stages.get(node) else {
        return Err(Failure::new(format!(
            "{task} has no stage {node}; list its stages with 'onceover show {task}'"
        )));
    };
    if args.json {
        print_json(stage)?;
        return Ok(true);
    }
    print(&text::harmless(&format!("{task} › {node}")))?;
    for line in list_facts(stage).iter().chain(&list_texts(stage, node, task.as_str())) {
        print(&text::harmless(line))?;
    }
    Ok(true)
}

/// Lists state, run, times and reuse, a line each.
fn list_facts(stage: &StageView) -> Vec<String> {
    let summary = stage.summary();
    let mut lines = vec![format!("state     {} {}", glyph(stage.status), word(stage.status))];
    let runner = stage.runner.as_deref().unwrap_or("unknown runner");
    lines.push(format!(
        "queue     {}, {runner}, attempt {}",
        stage.queue, stage.attempt
    ));
    for (name, time) in [
        ("queued    ", stage.queued_at),
        ("started   ", stage.started_at),
        ("ended     ", stage.ended_at),
    ] {
        lines.extend(time.map(|time| format!("{name}{time}")));
    }
    if !stage.status.in_flight() {
        lines.push(format!("run time  {}", figures::format_long(stage.duration)));
    }
    if let Some(progress) = stage.progress.filter(|_| stage.status.in_flight()) {
        let message = stage.message.as_deref().unwrap_or_default();
        lines.push(format!("progress  {} % {message}", figures::round_percent(progress)));
    }
    if stage.reuse_hits + stage.joins > 0 {
        lines.push(format!(
            "reuse     ↺ {} without a run, {} saved",
            figures::count_noun((stage.reuse_hits + stage.joins) as usize, "answer"),
            figures::format_long(stage.saved_seconds)
        ));
    }
    lines.push(format!("decision  {}", reasons::describe_decision(&summary)));
    lines.extend(
        stage
            .callback_status
            .map(|state| format!("callback  {}", state.as_str())),
    );
    lines
}

/// Lists input, output, warnings and error, and where the log is.
fn list_texts(stage: &StageView, node: &NodeName, task: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, json) in [("input", &stage.input_params), ("output", &stage.output)] {
        lines.push(name.to_owned());
        let text = figures::format_json(json.get());
        let text = text.as_deref().unwrap_or(json.get());
        lines.extend(text.lines().map(|line| format!("  {line}")));
    }
    for warning in stage.result_warnings() {
        lines.push(format!("⚠ {}", warned::describe_warning(&warning)));
    }
    if let Some(error) = &stage.error {
        lines.push("error".to_owned());
        lines.extend(error.lines().map(|line| format!("  {line}")));
    }
    lines.push(format!("log       onceover log {task}/{node}"));
    lines
}
