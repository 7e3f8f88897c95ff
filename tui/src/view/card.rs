//! A node as a reference card: what it is for, whether it can run, what it takes and gives. The page of nodes and
//! `onceover nodes NODE` show the same card.

use onceover_catalog::{DeviceQueues, ParameterSpec};
use onceover_wire::{NodeInfo, NodeReadiness};
use ratatui::layout::Rect;

use super::block::{Block, Lines};
use crate::{figures, model::form::format_value, theme::Theme};

/// Says whether a node can run: `✔ ready`, `✖ 2 missing`.
pub fn describe_readiness(readiness: &NodeReadiness) -> String {
    match readiness.missing.len() {
        _ if readiness.ready => "✔ ready".into(),
        0 => "✖ not ready".into(),
        count => format!("✖ {count} missing"),
    }
}

/// Adds what is missing for the node and how to get it, or that it can run.
pub fn add_readiness(block: &mut Block, node: &NodeInfo, theme: Theme) {
    if node.readiness.ready {
        block.add_fact("ready", "✔ it can run on the daemon's machine", theme.good());
    }
    for missing in &node.readiness.missing {
        block.add_fact("missing", &format!("✖ {}", missing.what), theme.bad());
        block.add_fact("get it", &missing.how, theme.strong());
    }
}

/// Lists the lines of the card.
pub fn list_lines(node: &NodeInfo, theme: Theme, columns: u16) -> Lines {
    let mut block = Block::new(columns);
    block.say(&node.title, theme.strong());
    block.say(&node.purpose, theme.plain());
    block.add_gap();
    add_readiness(&mut block, node, theme);
    if let Some(tested) = &node.tested {
        block.add_fact("tested", tested, theme.warn());
    }
    let by_device = node.queue_by.as_ref();
    let warm = match node.warm {
        true => ", keeps its model between runs",
        false => "",
    };
    block.add_fact(
        "runs as",
        &format!(
            "{}{warm}, queue {}{}, at most {}",
            node.runner,
            node.queue,
            by_device.map_or_else(String::new, DeviceQueues::here_in_words),
            figures::format_long(node.timeout_seconds as f64)
        ),
        theme.plain(),
    );
    let counts = if node.reuse_fields.is_empty() {
        "any result that is not empty".to_owned()
    } else {
        format!("a result with {}", node.reuse_fields.join(", "))
    };
    block.add_fact("reuse", &format!("{}: {counts}", node.reuse.as_str()), theme.reuse());
    block.add_gap();
    block.say("Parameters", theme.strong());
    if node.parameters.is_empty() {
        block.say("none", theme.faint());
    }
    for parameter in &node.parameters {
        block.say(
            &format!("{}  {}", parameter.name, describe_kind(parameter)),
            theme.accent(),
        );
        for line in describe_parameter(parameter) {
            block.add_nested(&line, theme.plain());
        }
    }
    for group in &node.one_of {
        block.say(
            &format!("At least one of {} is needed.", group.join(", ")),
            theme.warn(),
        );
    }
    block.add_gap();
    block.say("Output", theme.strong());
    for output in &node.outputs {
        block.say(&format!("{}  {}", output.name, output.kind.as_str()), theme.accent());
        block.add_nested(&output.meaning, theme.plain());
    }
    block.into_lines()
}

/// Counts the lines of the card that do not fit.
pub fn count_hidden_lines(node: &NodeInfo, room: Rect) -> usize {
    let lines = list_lines(node, Theme::default(), room.width).len();
    lines.saturating_sub(usize::from(room.height))
}

/// Describes the kind of a parameter: `integer, 8000 to 192000, default 16000`.
pub fn describe_kind(parameter: &ParameterSpec) -> String {
    let mut kinds = vec![parameter.kind.as_str()];
    kinds.extend(parameter.also.iter().map(|kind| kind.as_str()));
    let mut text = kinds.join(" or ");
    if let Some(items) = parameter.items {
        text += &format!(" of {}", items.as_str());
    }
    match (parameter.min, parameter.max) {
        (Some(min), Some(max)) => text += &format!(", {min} to {max}"),
        (Some(min), None) => text += &format!(", {min} or more"),
        (None, Some(max)) => text += &format!(", {max} or less"),
        (None, None) => {}
    }
    if parameter.required {
        text += ", required";
    }
    if let Some(default) = &parameter.default {
        let default = format_value(default);
        text += &format!(", default {}", if default.is_empty() { "\"\"" } else { &default });
    }
    text
}

/// Describes a parameter: meaning, allowed values, where the value comes from if it is left out.
pub fn describe_parameter(parameter: &ParameterSpec) -> Vec<String> {
    let mut lines = Vec::new();
    if !parameter.meaning.is_empty() {
        lines.push(parameter.meaning.clone());
    }
    if !parameter.allowed.is_empty() {
        let allowed: Vec<_> = parameter.allowed.iter().map(format_value).collect();
        lines.push(format!("One of {}.", allowed.join(", ")));
    }
    if !parameter.fallbacks.is_empty() {
        let sources: Vec<_> = parameter
            .fallbacks
            .iter()
            .map(|fallback| format!("{} › {}", fallback.node, fallback.field))
            .collect();
        lines.push(format!("Left out: from {}.", sources.join(", else ")));
    }
    if !parameter.aliases.is_empty() {
        lines.push(format!("Also called {}.", parameter.aliases.join(", ")));
    }
    lines
}
