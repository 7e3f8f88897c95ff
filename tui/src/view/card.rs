//! A node as a reference card: what it is for, whether it can run, what it takes and gives. The page of nodes and
//! `onceover nodes NODE` show the same.

use onceover_catalog::{DeviceQueues, ParameterSpec};
use onceover_wire::{NodeInfo, NodeReadiness};
use ratatui::layout::Rect;

use super::{
    block::{Block, Lines},
    figures,
};
use crate::{model::form::text_of, theme::Theme};

/// `✔ ready`, `✖ 2 missing`.
pub fn readiness(readiness: &NodeReadiness) -> String {
    match readiness.missing.len() {
        _ if readiness.ready => "✔ ready".into(),
        0 => "✖ not ready".into(),
        count => format!("✖ {count} missing"),
    }
}

/// Adds what is missing for the node and how to get it, or that it can run.
pub fn say_readiness(block: &mut Block, node: &NodeInfo, theme: Theme) {
    if node.readiness.ready {
        block.fact("ready", "✔ it can run on the daemon's machine", theme.good());
    }
    for missing in &node.readiness.missing {
        block.fact("missing", &format!("✖ {}", missing.what), theme.bad());
        block.fact("get it", &missing.how, theme.strong());
    }
}

pub fn lines(node: &NodeInfo, theme: Theme, columns: u16) -> Lines {
    let mut block = Block::new(columns);
    block.say(&node.title, theme.strong());
    block.say(&node.purpose, theme.plain());
    block.gap();
    say_readiness(&mut block, node, theme);
    if let Some(tested) = &node.tested {
        block.fact("tested", tested, theme.warn());
    }
    let by_device = node.queue_by.as_ref();
    block.fact(
        "runs as",
        &format!(
            "{}, queue {}{}, at most {}",
            node.runner,
            node.queue,
            by_device.map_or_else(String::new, DeviceQueues::here_in_words),
            figures::long(node.timeout_seconds as f64)
        ),
        theme.plain(),
    );
    let counts = if node.reuse_fields.is_empty() {
        "any result that is not empty".to_owned()
    } else {
        format!("a result with {}", node.reuse_fields.join(", "))
    };
    block.fact("reuse", &format!("{}: {counts}", node.reuse.as_str()), theme.reuse());
    block.gap();
    block.say("Parameters", theme.strong());
    if node.parameters.is_empty() {
        block.say("none", theme.faint());
    }
    for parameter in &node.parameters {
        block.say(&format!("{}  {}", parameter.name, kind(parameter)), theme.accent());
        for line in about(parameter) {
            block.nested(&line, theme.plain());
        }
    }
    for group in &node.one_of {
        block.say(
            &format!("At least one of {} is needed.", group.join(", ")),
            theme.warn(),
        );
    }
    block.gap();
    block.say("Output", theme.strong());
    for output in &node.outputs {
        block.say(&format!("{}  {}", output.name, output.kind.as_str()), theme.accent());
        block.nested(&output.meaning, theme.plain());
    }
    block.lines()
}

/// Lines of the card that do not fit.
pub fn overflow(node: &NodeInfo, room: Rect) -> usize {
    let lines = lines(node, Theme::default(), room.width).len();
    lines.saturating_sub(usize::from(room.height))
}

/// `integer, 8000 to 192000, default 16000`.
pub fn kind(parameter: &ParameterSpec) -> String {
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
        let default = text_of(default);
        text += &format!(", default {}", if default.is_empty() { "\"\"" } else { &default });
    }
    text
}

/// Meaning, allowed values, where the value comes from when it is left out.
pub fn about(parameter: &ParameterSpec) -> Vec<String> {
    let mut lines = Vec::new();
    if !parameter.meaning.is_empty() {
        lines.push(parameter.meaning.clone());
    }
    if !parameter.allowed.is_empty() {
        let allowed: Vec<_> = parameter.allowed.iter().map(text_of).collect();
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
