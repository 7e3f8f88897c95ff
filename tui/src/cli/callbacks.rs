//! `onceover callbacks` and `onceover redeliver`: prints callbacks, and sends some again.

use onceover_types::CallbackStatus;
use onceover_wire::{
    CallbackDelivery, CallbackPage,
    client::{CallbackQuery, Client, ClientError},
};

use super::{
    args::{CallbacksArgs, RedeliverArgs},
    bulk::{BulkReport, Done},
    failure::{CommandResult, Failure},
    out::{print, print_json},
    table::format_table,
};
use crate::theme::callback_glyph;

/// Callbacks that are read at once, and of those that were given up at most.
const PAGE: usize = 200;
const MOST_FAILED: usize = 10_000;

/// Prints callbacks.
pub async fn run(client: &Client, args: CallbacksArgs) -> CommandResult {
    let query = CallbackQuery {
        state: args.state.map(|state| CallbackStatus::from(state).as_str().to_owned()),
        task_id: args.task.as_ref().map(ToString::to_string),
        ..CallbackQuery::default()
    };
    let page = read_page(client, query, args.limit).await?;
    match (args.json, page.items.as_slice()) {
        (true, _) => print_json(&page)?,
        (false, []) => print("no callbacks")?,
        (false, items) => print(&format_table(&items.iter().map(make_row).collect::<Vec<_>>()))?,
    }
    Ok(true)
}

/// Sends callbacks again.
pub async fn redeliver(client: &Client, args: RedeliverArgs) -> CommandResult {
    let ids = if args.failed {
        let query = CallbackQuery {
            state: Some(CallbackStatus::Failed.as_str().to_owned()),
            ..CallbackQuery::default()
        };
        let page = read_page(client, query, MOST_FAILED).await?;
        page.items.into_iter().map(|item| item.id).collect()
    } else {
        args.ids.clone()
    };
    let mut report = BulkReport::new(ids.len(), args.ids.len() == 1, args.json);
    for id in &ids {
        report.add(id, send_again(client, id).await)?;
    }
    report.finish()
}

async fn send_again(client: &Client, id: &str) -> Result<Done, Failure> {
    // An id is a part of a path: what is none would be another request.
    let is_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if id.is_empty() || !id.chars().all(is_id) {
        return Err(Failure::new(format!(
            "'{id}' is no id of a callback; list them with 'onceover callbacks'"
        )));
    }
    let delivery = client.redeliver(id).await?;
    Ok(Done {
        note: format!("is sent again to {}", delivery.url),
        answer: serde_json::to_value(&delivery)?,
    })
}

/// Reads the newest callbacks; the cursor goes on behind them.
async fn read_page(client: &Client, mut query: CallbackQuery, most: usize) -> Result<CallbackPage, ClientError> {
    let mut items = Vec::new();
    loop {
        let room = most.saturating_sub(items.len()).clamp(1, PAGE);
        query.limit = u32::try_from(room).ok();
        let page = client.callbacks(&query).await?;
        items.extend(page.items);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() || items.len() >= most {
            break;
        }
    }
    items.truncate(most);
    Ok(CallbackPage {
        items,
        next_cursor: query.cursor,
    })
}

/// Makes the cells of a line: state, tries, last answer, stage, URL, id.
fn make_row(item: &CallbackDelivery) -> [String; 6] {
    [
        format!("{} {}", callback_glyph(item.state), item.state.as_str()),
        format!("{} tries", item.attempts),
        item.http_status.map_or("-".to_owned(), |status| status.to_string()),
        format!("{}/{}", item.task_id, item.task_name),
        item.url.clone(),
        item.id.clone(),
    ]
}
