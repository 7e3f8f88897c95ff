//! `onceover keys`: prints every action of the dashboard with the keys that are in force.

use super::{
    args::KeysArgs,
    failure::CommandResult,
    out::{print, print_json},
};
use crate::{
    actions::{KeyRow, format_markdown, list_key_rows},
    key::KeyBindings,
    view::text,
};

/// Runs the command.
pub fn run(args: &KeysArgs, bindings: &KeyBindings) -> CommandResult {
    let rows = list_key_rows(bindings);
    if args.json {
        print_json(&rows)?;
    } else if args.markdown {
        print(format_markdown(bindings).trim_end())?;
    } else {
        print(&format_table(&rows))?;
    }
    Ok(true)
}

/// Formats a line for each action; keys of the configuration are marked.
fn format_table(rows: &[KeyRow]) -> String {
    let keys = |row: &KeyRow| match row.keys.is_empty() {
        true => "none".to_owned(),
        false => row.keys.join(" "),
    };
    let measure = |write: &dyn Fn(&KeyRow) -> String| rows.iter().map(|row| text::width(&write(row))).max();
    let names = measure(&|row: &KeyRow| row.action.to_owned()).unwrap_or(0);
    let columns = measure(&keys).unwrap_or(0);
    let pad = |shown: &str, columns: u16| " ".repeat(usize::from(columns - text::width(shown)));
    let lines = rows.iter().map(|row| {
        let keys = keys(row);
        let mark = if row.configured { "*" } else { " " };
        let (after_name, after_keys) = (pad(row.action, names), pad(&keys, columns));
        format!("{}{after_name} {mark} {keys}{after_keys}  {}", row.action, row.help)
    });
    let mut lines: Vec<_> = lines.collect();
    lines.push(String::new());
    lines.push("* as the configuration file has it".to_owned());
    lines.join("\n")
}
