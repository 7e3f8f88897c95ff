//! `onceover queues`: prints the queues, a line each.

use onceover_wire::{QueueInfo, client::Client};

use super::{
    args::QueuesArgs,
    failure::CommandResult,
    out::{print, print_json},
    table::format_table,
};

/// Runs that are named of those that wait.
const MOST_NAMED: usize = 3;

/// Runs the command.
pub async fn run(client: &Client, args: QueuesArgs) -> CommandResult {
    let queues = client.queues().await?;
    match (args.json, queues.queues.as_slice()) {
        (true, _) => print_json(&queues)?,
        (false, []) => print("no queues")?,
        (false, rows) => print(&format_table(&rows.iter().map(make_row).collect::<Vec<_>>()))?,
    }
    Ok(true)
}

/// Makes the cells of a line: name, slots in use, how many wait, which are next.
fn make_row(queue: &QueueInfo) -> [String; 4] {
    let named = queue.next.iter().take(MOST_NAMED);
    let named: Vec<_> = named.map(|run| format!("{}/{}", run.task_id, run.task_name)).collect();
    let next = match named.as_slice() {
        [] => String::new(),
        named => format!("next: {}", named.join(", ")),
    };
    [
        queue.name.clone(),
        format!("{} of {} slots in use", queue.running, queue.slots),
        format!("{} pending", queue.pending),
        next,
    ]
}
