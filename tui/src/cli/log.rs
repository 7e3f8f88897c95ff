//! `onceover log`: prints the log of a stage, whole, in part or as it grows.

use std::io::{self, IsTerminal};

use futures_util::StreamExt;
use onceover_types::{NodeName, TaskId};
use onceover_wire::{
    LogPage,
    client::{Client, ClientError, LogQuery},
};

use super::{
    args::LogArgs,
    failure::{CommandResult, Failure},
    out::{print, print_json, print_line, print_warning},
    select::find_stage,
};
use crate::{figures, view::text};

/// Lines that are read at once.
const PAGE: u64 = 5_000;

/// Runs the command.
pub async fn run(client: &Client, args: LogArgs) -> CommandResult {
    let (task, node) = find_stage(client, &args.stage).await?;
    if args.follow {
        follow(client, &task, &node).await?;
        return Ok(true);
    }
    let whole = read_lines(client, &task, &node, &args).await?;
    if args.json {
        print_json(&whole)?;
        return Ok(true);
    }
    let gap = whole.left_out.as_ref();
    for line in &whole.lines {
        if let Some(gap) = gap.filter(|gap| gap.first + gap.lines == line.number) {
            let bytes = figures::format_bytes(gap.bytes);
            print_warning(&format!("{} lines ({bytes}) are not kept", gap.lines));
        }
        print_log_line(&line.text)?;
    }
    Ok(true)
}

/// Reads the lines that are asked for, page after page.
async fn read_lines(client: &Client, task: &TaskId, node: &NodeName, args: &LogArgs) -> Result<LogPage, ClientError> {
    let mut query = LogQuery {
        from: Some(1),
        lines: PAGE,
        search: args.search.clone(),
    };
    if let Some(wanted) = args.lines {
        let last = LogQuery {
            // Of more than a page only the number of the last line is wanted first.
            lines: if wanted <= PAGE { wanted } else { 1 },
            ..LogQuery::default()
        };
        let page = client.log_lines(task, node, &last).await?;
        if wanted <= PAGE {
            return Ok(page);
        }
        query.from = Some(page.total.saturating_sub(wanted) + 1);
    }
    let mut whole = client.log_lines(task, node, &query).await?;
    while let Some(from) = find_next(&whole, &query) {
        query.from = Some(from);
        let page = client.log_lines(task, node, &query).await?;
        if page.lines.is_empty() {
            break;
        }
        whole.lines.extend(page.lines);
    }
    Ok(whole)
}

/// Returns the line to read on from; `None` where everything that was asked for is read.
fn find_next(whole: &LogPage, query: &LogQuery) -> Option<u64> {
    let last = whole.lines.last()?;
    let is_all = match (&query.search, whole.found) {
        (Some(_), Some(found)) => whole.lines.len() as u64 >= found,
        _ => last.number >= whole.total,
    };
    (!is_all).then_some(last.number + 1)
}

/// Prints the log from its first line on, until the run ends.
async fn follow(client: &Client, task: &TaskId, node: &NodeName) -> Result<(), Failure> {
    let stream = client.log_follow(task, node, 0).await?;
    let mut stream = std::pin::pin!(stream);
    let mut rest = Vec::new();
    while let Some(chunk) = stream.next().await {
        rest.extend_from_slice(&chunk?);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            print_log_line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']))?;
        }
    }
    if !rest.is_empty() {
        print_log_line(&String::from_utf8_lossy(&rest))?;
    }
    Ok(())
}

/// Prints a line: in a terminal so that it cannot be obeyed, elsewhere as it is.
fn print_log_line(line: &str) -> Result<(), Failure> {
    match io::stdout().is_terminal() {
        true => print(&text::harmless(line)),
        false => print_line(line),
    }
}
