//! Draws the second line of the screen: the pages with their number keys, and the way to what is open. Where the screen is
//! narrow, the way alone.

use ratatui::{buffer::Buffer, layout::Rect};

use super::text::{cut_middle, harmless, put, put_right, width};
use crate::{
    actions::{TABS, owner_of, title_of},
    model::{Model, Page, RowId, detail::Tab, observed::QueueRow},
};

/// Columns from which on the pages are named.
const LEAST_FOR_TABS: u16 = 80;

/// Draws the line.
pub fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let way = describe_way(model);
    if area.width < LEAST_FOR_TABS {
        let text = cut_middle(&way, area.width.saturating_sub(1));
        put(
            buffer,
            area.x + 1,
            area.y,
            area.width.saturating_sub(1),
            &text,
            model.theme.strong(),
        );
        return;
    }
    let used = draw_tabs(model, area, buffer);
    let room = area.width.saturating_sub(used + 3);
    // The page alone stands in the line already.
    if way.contains('›') && room >= 12 {
        let text = cut_middle(&way, room);
        put_right(
            buffer,
            area.right().saturating_sub(1),
            area.y,
            room,
            &text,
            model.theme.faint(),
        );
    }
}

/// Draws the pages, the open one in brackets. Returns the columns that they use.
fn draw_tabs(model: &Model, area: Rect, buffer: &mut Buffer) -> u16 {
    let theme = model.theme;
    let open = owner_of(model.page);
    // A blank, the number, a blank and the name; two brackets for the open one.
    let names: u16 = 2 + TABS.iter().map(|tab| width(tab.title) + 3).sum::<u16>();
    let mut x = area.x;
    for (index, tab) in TABS.iter().enumerate() {
        let is_open = tab.page == open;
        // Where not all names fit, the number is enough for those that are not open.
        let title = if names <= area.width || is_open { tab.title } else { "" };
        let text = match (is_open, title) {
            (true, title) => format!(" [{} {title}]", index + 1),
            (false, "") => format!(" {}", index + 1),
            (false, title) => format!(" {} {title}", index + 1),
        };
        let style = if is_open { theme.key() } else { theme.faint() };
        x += put(buffer, x, area.y, area.right().saturating_sub(x), &text, style);
    }
    x - area.x
}

/// Says where the user is: `lecture-07 › transcribe › log`, or the page and what its cursor is on.
fn describe_way(model: &Model) -> String {
    let row = model.tree.cursor.as_ref();
    let parts = match model.page {
        Page::Tasks if model.zoom => list_row(row, Some(model.detail.tab)),
        Page::Tasks => list_row(row, None),
        Page::Log => list_row(row, Some(Tab::Log)),
        Page::Timeline | Page::Compare | Page::Json | Page::Preview => {
            let mut parts = list_row(row, None);
            parts.push(Some(name_part(model.page).to_owned()));
            parts
        }
        Page::Nodes => vec![model.nodes.list.cursor().map(ToString::to_string)],
        Page::Form => match &model.form {
            Some(form) => vec![Some(form.row.node.to_string()), Some("submit".to_owned())],
            None => Vec::new(),
        },
        Page::Videos => vec![model.videos.list.cursor().map(ToString::to_string)],
        Page::Register => vec![Some("register".to_owned())],
        Page::Workers => vec![Some("workers".to_owned())],
        Page::Queues => match model.observed.rows.cursor() {
            Some(QueueRow::Class(name)) => vec![Some(name.clone())],
            Some(QueueRow::Run { class, row }) => vec![Some(class.clone()), Some(row.to_string())],
            None => Vec::new(),
        },
        Page::Callbacks | Page::Machine | Page::Events | Page::Commands => Vec::new(),
    };
    let title = Some(title_of(model.page).to_owned()).filter(|_| title_of(model.page) != title_of(Page::Tasks));
    let all: Vec<_> = std::iter::once(title).chain(parts).flatten().collect();
    match all.is_empty() {
        true => title_of(model.page).to_owned(),
        false => harmless(&all.join(" › ")),
    }
}

/// Names a page that shows more of the row at the cursor of the tree.
fn name_part(page: Page) -> &'static str {
    match page {
        Page::Timeline => "timeline",
        Page::Compare => "compare",
        Page::Json => "json",
        _ => "files",
    }
}

/// Lists the parts of a row, and of it the part that is open.
fn list_row(row: Option<&RowId>, open: Option<Tab>) -> Vec<Option<String>> {
    let Some(row) = row else { return Vec::new() };
    let node = row.node.as_ref().map(ToString::to_string);
    let open = open.filter(|_| node.is_some()).map(|tab| tab.title().to_lowercase());
    vec![Some(row.task.to_string()), node, open]
}
