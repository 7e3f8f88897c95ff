//! `onceover explain`: prints what a submit of a stored request would do now, and why.

use onceover_wire::{ReuseDecision, ReuseExplanation, client::Client};

use super::{
    args::ExplainArgs,
    failure::CommandResult,
    out::{print, print_json},
    select::find_stage,
};
use crate::{figures, view::text};

/// Runs the command.
pub async fn run(client: &Client, args: ExplainArgs) -> CommandResult {
    let (task, node) = find_stage(client, &args.stage).await?;
    let explanation = client.explain(&task, &node, args.reuse.map(Into::into)).await?;
    if args.json {
        print_json(&explanation)?;
        return Ok(true);
    }
    for line in list_lines(&explanation) {
        print(&text::harmless(&line))?;
    }
    Ok(true)
}

fn list_lines(explanation: &ReuseExplanation) -> Vec<String> {
    let decision = match explanation.decision {
        ReuseDecision::Hit => "↺ hit: the finished result would be reused",
        ReuseDecision::Join => "↺ join: the run in flight would answer",
        ReuseDecision::Run => "◌ run: it would run",
        ReuseDecision::Refuse => "✖ refuse: it would not be accepted",
    };
    let mut lines = vec![
        format!("{} › {}", explanation.task_id, explanation.task_name),
        decision.to_owned(),
        format!("reason    {}: {}", explanation.reason, explanation.message),
    ];
    lines.extend(explanation.input_changed.map(|is_changed| match is_changed {
        true => "input     differs from that of the stored result".to_owned(),
        false => "input     is that of the stored result".to_owned(),
    }));
    lines.extend(explanation.cached_at.map(|at| format!("result    of {at}")));
    if let Some(saved) = explanation.saved_seconds {
        lines.push(format!("saves     {}", figures::format_long(saved)));
    }
    if let Some(position) = explanation.queue_position {
        lines.push(format!("queue     {}", figures::format_ordinal(position as usize)));
    }
    lines.extend(explanation.error.as_ref().map(|error| format!("error     {error}")));
    lines
}
