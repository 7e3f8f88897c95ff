//! `onceover nodes`: prints the catalog with its readiness, or one node as a reference card.

use onceover_wire::NodeInfo;

use super::{
    args::NodesArgs,
    failure::CommandResult,
    out::{print, print_json},
    table::fit_line,
};
use crate::{
    figures,
    theme::Theme,
    view::{block, card, text},
};

/// Columns of a printed card.
const COLUMNS: u16 = 100;

/// Runs the command.
pub async fn run(client: &onceover_wire::client::Client, args: NodesArgs) -> CommandResult {
    if let Some(name) = &args.node {
        let node = client.node(name).await?;
        if args.json {
            print_json(&node)?;
        } else {
            print(&format!("{}\n", node.name))?;
            print(&join_lines(&card::list_lines(&node, Theme::mono(), COLUMNS)))?;
        }
        return Ok(true);
    }
    let list = client.nodes().await?;
    if args.json {
        print_json(&list)?;
        return Ok(true);
    }
    print(&format_table(&list.nodes))?;
    Ok(true)
}

fn join_lines(lines: &block::Lines) -> String {
    let lines: Vec<_> = lines.iter().map(|(line, _)| line.trim_end()).collect();
    lines.join("\n")
}

/// Formats a line for each node; below one that is not ready, what is missing and how to get it.
fn format_table(nodes: &[NodeInfo]) -> String {
    let column = nodes
        .iter()
        .map(|node| text::width(node.name.as_str()))
        .max()
        .unwrap_or(0);
    let mut lines = Vec::new();
    for node in nodes {
        let glyph = if node.readiness.ready { "✔" } else { "✖" };
        let pad = " ".repeat(usize::from(column - text::width(node.name.as_str())));
        lines.push(fit_line(&format!("{glyph} {}{pad}  {}", node.name, node.title)));
        for missing in &node.readiness.missing {
            lines.push(text::harmless(&format!("    missing: {}", missing.what)));
            lines.push(text::harmless(&format!("    get it: {}", missing.how)));
        }
    }
    let ready = nodes.iter().filter(|node| node.readiness.ready).count();
    lines.push(String::new());
    lines.push(format!(
        "{}, {ready} ready; what one takes and gives: onceover nodes NODE",
        figures::count_noun(nodes.len(), "node")
    ));
    lines.join("\n")
}
