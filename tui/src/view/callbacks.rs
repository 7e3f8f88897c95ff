//! Draws the page of callbacks: URL, state, tries and the receiver's last answer.

use onceover_types::{CallbackStatus, Timestamp};
use onceover_wire::CallbackDelivery;
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    block::{self, Block},
    list_page,
};
use crate::{
    actions::{Action, format_hint},
    figures, layout,
    model::{Model, Page, RowId, Subject},
    theme::callback_glyph,
};

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let page = layout::lay_out_callbacks((buffer.area.width, buffer.area.height));
    let theme = model.theme;
    let deliveries = &model.deliveries;
    let has_breaker = deliveries.items.iter().any(|item| item.breaker_open_until.is_some());
    let columns = Columns::for_width(page.inner(page.list).width, has_breaker);
    let stage = if deliveries.has_one_task() {
        "STAGE"
    } else {
        "TASK / STAGE"
    };
    let titles = [
        (columns.state, "STATE"),
        (columns.tries, "TRIES"),
        (columns.url, "WHERE"),
        (columns.stage, stage),
        (columns.answer, "LAST ANSWER"),
    ];
    let area = list_page::draw_head(&page, &describe_rows(model), &titles, theme, buffer);
    if deliveries.items.is_empty() {
        let hint = format_hint(Action::AllCallbacks, Page::Callbacks, &model.bindings, |key| {
            format!("; {key} shows those of all tasks")
        });
        let none_here = format!("no callbacks here: no request had a callback URL{hint}");
        let (text, style) = match &deliveries.failed {
            Some(why) => (why.as_str(), theme.bad()),
            None if !deliveries.read => ("…", theme.faint()),
            None if deliveries.shows_all => ("no callbacks: no request had a callback URL", theme.faint()),
            None => (none_here.as_str(), theme.faint()),
        };
        list_page::draw_placeholder(text, style, area, buffer);
    }
    let marked = |id: &String| deliveries.marks.contains(id);
    list_page::draw_rows(&deliveries.list, marked, area, theme, buffer, |id, line, buffer| {
        if let Some(item) = deliveries.get(id) {
            draw_row(model, item, &columns, line, buffer);
        }
    });
    draw_item(model, &page, buffer);
}

/// Says whose callbacks are shown.
fn describe_rows(model: &Model) -> String {
    let deliveries = &model.deliveries;
    let whose = match deliveries.rows.iter().collect::<Vec<_>>().as_slice() {
        _ if deliveries.shows_all => "all tasks".to_owned(),
        [row] => row.to_string(),
        rows => figures::count_noun(rows.len(), "row"),
    };
    let mut title = format!("Callbacks of {whose} · {}", deliveries.items.len());
    if deliveries.read && !deliveries.complete {
        title += ", the newest";
    }
    if !deliveries.marks.is_empty() {
        title += &format!(" · {} marked", deliveries.marks.len());
    }
    title
}

/// Columns of a row; one of width 0 is left out.
struct Columns {
    state: u16,
    tries: u16,
    answer: u16,
    url: u16,
    stage: u16,
}

impl Columns {
    /// Divides the width; where a breaker is open, with room for the time until which it is.
    fn for_width(width: u16, has_breaker: bool) -> Self {
        let mut rest = width.saturating_sub(2);
        let state = 12.min(rest / 3);
        rest -= state;
        let mut take = |columns: u16, keep: u16| {
            if rest >= columns + keep {
                rest -= columns;
                columns
            } else {
                0
            }
        };
        let tries = take(6, 20);
        let wanted = if has_breaker && width >= 110 { 30 } else { 20 };
        let answer = take(wanted, 40);
        let stage = take(30.min(width / 4), 40);
        Self {
            state,
            tries,
            answer,
            url: rest,
            stage,
        }
    }
}

/// Draws one row.
fn draw_row(model: &Model, item: &CallbackDelivery, columns: &Columns, line: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let subject = Subject::Delivery(item.id.clone());
    let (state, style) = if model.under_way.contains_key(&subject) {
        ("… requested".to_owned(), theme.warn())
    } else if model.failures.contains_key(&subject) {
        ("! refused".to_owned(), theme.bad())
    } else {
        (describe_state(item), theme.callback(item.state))
    };
    let stage = if model.deliveries.has_one_task() {
        item.task_name.to_string()
    } else {
        format!("{} › {}", item.task_id, item.task_name)
    };
    let cells = [
        (columns.state, state.as_str(), style),
        (columns.tries, &item.attempts.to_string(), theme.plain()),
        (columns.url, &item.url, theme.plain()),
        (columns.stage, &stage, theme.plain()),
        (
            columns.answer,
            &describe_answer(item, |time| figures::format_time(time, model.now, &model.tz)),
            choose_answer_style(model, item),
        ),
    ];
    list_page::draw_cells(&cells, line, buffer);
}

/// Names the state of a callback.
fn describe_state(item: &CallbackDelivery) -> String {
    let word = match item.state {
        CallbackStatus::Pending if item.attempts > 0 => "retrying",
        CallbackStatus::Pending => "pending",
        CallbackStatus::Sent => "sent",
        CallbackStatus::Failed => "given up",
    };
    format!("{} {word}", callback_glyph(item.state))
}

/// Describes the outcome of the last try.
fn describe_answer(item: &CallbackDelivery, clock: impl Fn(Timestamp) -> String) -> String {
    if let Some(until) = item.breaker_open_until {
        return format!("breaker: open until {}", clock(until));
    }
    match (item.http_status, &item.detail) {
        (Some(status), _) => format!("HTTP {status}"),
        (None, Some(detail)) => detail.clone(),
        (None, None) => String::new(),
    }
}

fn choose_answer_style(model: &Model, item: &CallbackDelivery) -> Style {
    if item.state == CallbackStatus::Sent {
        model.theme.plain()
    } else {
        model.theme.warn()
    }
}

/// Describes a callback in one sentence: `✖ given up after 5 tries, last 12:04:31: HTTP 503 ...`.
pub fn describe_progress(model: &Model, item: &CallbackDelivery) -> String {
    let clock = |time| figures::format_time(time, model.now, &model.tz);
    let mut text = describe_state(item);
    if item.attempts > 0 {
        let joint = if item.state == CallbackStatus::Sent {
            "with"
        } else {
            "after"
        };
        let tries = if item.attempts == 1 {
            "1 try".into()
        } else {
            format!("{} tries", item.attempts)
        };
        text += &format!(" {joint} {tries}");
    }
    if let Some(last) = item.last_tried_at {
        text += &format!(", last {}", clock(last));
    }
    if let Some(until) = item.breaker_open_until {
        text += &format!(", breaker: open until {}", clock(until));
    } else if let Some(next) = item.next_try_at.filter(|_| item.state == CallbackStatus::Pending) {
        text += &format!(", next {}", clock(next));
    }
    match (item.http_status, &item.detail) {
        (Some(status), Some(detail)) if !detail.contains(&status.to_string()) => {
            text += &format!(": HTTP {status}, {detail}");
        }
        (_, Some(detail)) => text += &format!(": {detail}"),
        (Some(status), None) => text += &format!(": HTTP {status}"),
        (None, None) => {}
    }
    text
}

/// Draws the callback at the cursor in full.
fn draw_item(model: &Model, page: &layout::ListPage, buffer: &mut Buffer) {
    let theme = model.theme;
    let item = model.deliveries.at_cursor();
    let row = item.map(|item| RowId::stage(&item.task_id.clone().into(), &item.task_name.clone().into()).to_string());
    let row = row.unwrap_or_default();
    let (Some(area), Some(item)) = (list_page::draw_item_frame(page, &row, theme, buffer), item) else {
        return;
    };
    let clock = |time| figures::format_time(time, model.now, &model.tz);
    let run = item.run_id.as_ref().map_or("none of ours", |run| run.as_str());
    let refused = model.failures.get(&Subject::Delivery(item.id.clone()));
    let mut block = Block::new(area.width);
    if let Some(why) = refused {
        block.add_fact("refused", why, theme.bad());
    }
    block.add_fact("where", &item.url, theme.strong());
    block.add_fact("state", &describe_progress(model, item), theme.callback(item.state));
    if !page.framed {
        block.add_fact("stage", &row, theme.plain());
    }
    block.add_fact("reports", &format!("{}, run {run}", item.status), theme.plain());
    block.add_fact("asked", &clock(item.created_at), theme.plain());
    block.add_fact("id", &item.id, theme.plain());
    block::draw(&block.into_lines(), 0, area, buffer);
}
