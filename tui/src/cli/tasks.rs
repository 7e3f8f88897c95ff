//! `onceover tasks`: prints the tasks, a line each.

use onceover_types::{StageState, Timestamp};
use onceover_wire::{
    TaskItem, TaskPage,
    client::{Client, ClientError, TaskQuery},
};

use super::{
    args::TasksArgs,
    failure::CommandResult,
    out::{print, print_json, print_note},
    select::matches_task,
    table::format_table,
};
use crate::{
    figures,
    model::{stage::KeptStage, task::Task},
    theme::{glyph, word},
    view::warned,
};

/// Tasks that are read at once.
const PAGE: usize = 200;

/// Runs the command.
pub async fn run(client: &Client, args: TasksArgs) -> CommandResult {
    let page = read_page(client, &args).await?;
    if page.next_cursor.is_some() && !args.json {
        print_note(&format!(
            "the newest {}; more with --limit",
            figures::count_noun(page.items.len(), "task")
        ));
    }
    if args.json {
        print_json(&page)?;
        return Ok(true);
    }
    // By the daemon's clock, which is known from its answers.
    let now = client.clock().now();
    let tasks: Vec<_> = page.items.into_iter().map(Task::from_item).collect();
    match tasks.as_slice() {
        [] => print("no tasks")?,
        tasks => print(&format_table(
            &tasks.iter().map(|task| make_row(task, now)).collect::<Vec<_>>(),
        ))?,
    }
    Ok(true)
}

/// Reads the newest tasks that the query finds. The cursor goes on behind those that were read.
async fn read_page(client: &Client, args: &TasksArgs) -> Result<TaskPage, ClientError> {
    let mut items: Vec<TaskItem> = Vec::new();
    let mut query = TaskQuery::default();
    let mut seq = None;
    loop {
        let room = args.limit.saturating_sub(items.len());
        // No page has more than there is room for: the cursor would be behind what is left out.
        query.limit = u32::try_from(room.clamp(1, PAGE)).ok();
        let page = client.tasks(&query).await?;
        // The first page knows the least.
        seq.get_or_insert(page.seq);
        let now = client.clock().now();
        let is_wanted = |item: &TaskItem| {
            let filter = args.filter.as_ref();
            filter.is_none_or(|filter| matches_task(filter, &Task::from_item(item.clone()), now))
        };
        items.extend(page.items.into_iter().filter(is_wanted));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() || items.len() >= args.limit {
            break;
        }
    }
    Ok(TaskPage {
        items,
        next_cursor: query.cursor,
        seq: seq.unwrap_or_default(),
    })
}

/// Makes the cells of a line: state, id, stages, age, warnings and the first error.
fn make_row(task: &Task, now: Timestamp) -> [String; 5] {
    let state = task.state();
    let done = task.stages.values().filter(|stage| stage.status == StageState::Success);
    let error = task.stages.values().find_map(KeptStage::error);
    let error = error.and_then(|error| error.lines().next());
    let warnings = match task.warnings() {
        0 => None,
        count => Some(warned::format_mark(count)),
    };
    let facts: Vec<_> = warnings.into_iter().chain(error.map(str::to_owned)).collect();
    [
        format!("{} {}", glyph(state), word(state)),
        task.id.to_string(),
        format!("{} of {} done", done.count(), task.stages.len()),
        figures::format_ago(now.seconds_since(task.created_at)),
        facts.join("  "),
    ]
}
