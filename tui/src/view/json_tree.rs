//! Draws a JSON text as a tree: names and values coloured by kind, what is folded with the number of its items, long
//! texts over several rows. It writes out no row that is not on the screen.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};
use serde_json::Value;

use super::{
    frame::{below, draw_frame, draw_rule, inset},
    line,
    text::{cut_middle, harmless, put, put_right, width, within, wrap},
};
use crate::{
    actions::{Action, format_hint},
    layout::Panes,
    model::{
        Model,
        detail::{StagePart, Tab},
        json_tree::{JsonKind, JsonNode, JsonTree},
    },
    theme::Theme,
};

/// Rows that a text takes at most while it is not shown whole.
const MOST_ROWS: usize = 8;
/// Columns of one level.
const INDENT: u16 = 2;
/// The deepest level that is indented further.
const MOST_LEVELS: u16 = 12;

/// One row of the screen.
struct Row {
    /// What stands before the value, if the row is the first of its node.
    label: String,
    indent: u16,
    text: String,
    style: Style,
}

/// Draws the tree from its first row on, without a cursor. Returns the rows that it takes.
pub fn draw_plain(tree: &JsonTree, area: Rect, theme: Theme, buffer: &mut Buffer) -> u16 {
    let mut used = 0;
    for index in 0..tree.count_rows() {
        let Some(node) = tree.row(index).filter(|_| used < area.height) else {
            break;
        };
        used += draw_node(node, below(area, used), theme, buffer);
    }
    used
}

/// Draws the tree around its cursor.
pub fn draw(model: &Model, tree: &JsonTree, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    if area.is_empty() {
        return;
    }
    if tree.is_empty() {
        put(buffer, area.x, area.y, area.width, "{}", theme.faint());
        return;
    }
    let height = usize::from(area.height);
    let mut top = tree.top_for(height);
    // Long texts above the cursor take rows too.
    let rows_of = |row: usize| tree.row(row).map_or(0, |node| list_rows(node, area, theme).len());
    let mut rows: usize = (top..=tree.at()).map(rows_of).sum();
    while rows > height && top < tree.at() {
        rows -= rows_of(top);
        top += 1;
    }
    let mut used = 0;
    for index in top..tree.count_rows() {
        let Some(node) = tree.row(index).filter(|_| used < area.height) else {
            break;
        };
        let room = below(area, used);
        let rows = draw_node(node, room, theme, buffer);
        if index == tree.at() {
            let cursor = Rect {
                height: rows.min(1),
                ..room
            };
            buffer.set_style(within(buffer, cursor), theme.cursor());
        }
        used += rows;
    }
    if tree.is_cut && used < area.height {
        let hint = format_hint(Action::OpenPager, model.page, &model.bindings, |key| {
            format!(": {key} opens all of it")
        });
        let text = format!("… the rest is too much to be shown{hint}");
        put(buffer, area.x, area.y + used, area.width, &text, theme.warn());
    }
}

/// Draws a node. Returns the rows that it takes.
fn draw_node(node: &JsonNode, area: Rect, theme: Theme, buffer: &mut Buffer) -> u16 {
    let rows = list_rows(node, area, theme);
    for (row, y) in rows.iter().zip(area.top()..area.bottom()) {
        let x = area.x + row.indent.min(area.width);
        let used = put(buffer, x, y, area.right() - x, &row.label, theme.key());
        let room = (area.right() - x).saturating_sub(used);
        put(buffer, x + used, y, room, &row.text, row.style);
    }
    rows.len().min(usize::from(area.height)) as u16
}

/// Lists the rows of a node: of a long text as many as are shown.
fn list_rows(node: &JsonNode, area: Rect, theme: Theme) -> Vec<Row> {
    let indent = node.depth.min(MOST_LEVELS) * INDENT;
    let marker = match (node.has_items(), node.is_folded) {
        (true, true) => "▸ ",
        (true, false) => "▾ ",
        (false, _) => "  ",
    };
    let name = match &node.name {
        Some(name) => format!("{}: ", Value::from(name.as_str())),
        None => format!("{}: ", node.index),
    };
    let label = format!("{marker}{}", harmless(&name));
    let (text, style) = describe_value(node, area, theme);
    let room = area.width.saturating_sub(indent + width(&label));
    // Where the name leaves hardly any room, the rest goes below it.
    let first_room = if room < 8 {
        area.width.saturating_sub(indent)
    } else {
        room
    };
    let most = if node.is_whole {
        usize::from(area.height).max(1)
    } else {
        MOST_ROWS
    };
    let mut lines = wrap(&text, first_room);
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            last.push('…');
        }
    }
    if lines.is_empty() || room < 8 {
        lines.insert(0, String::new());
    }
    let next_indent = if room < 8 { indent } else { indent + width(&label) };
    lines
        .into_iter()
        .enumerate()
        .map(|(row, text)| Row {
            label: if row == 0 { label.clone() } else { String::new() },
            indent: if row == 0 { indent } else { next_indent },
            text,
            style,
        })
        .collect()
}

/// Writes a value, of a long text as much as there is room for.
fn describe_value(node: &JsonNode, area: Rect, theme: Theme) -> (String, Style) {
    match &node.kind {
        JsonKind::List(0) => ("[]".to_owned(), theme.faint()),
        JsonKind::Fields(0) => ("{}".to_owned(), theme.faint()),
        JsonKind::List(count) if node.is_folded => (format!("[{count} items]"), theme.faint()),
        JsonKind::Fields(count) if node.is_folded => (format!("{{{count} fields}}"), theme.faint()),
        JsonKind::List(_) => ("[".to_owned(), theme.faint()),
        JsonKind::Fields(_) => ("{".to_owned(), theme.faint()),
        JsonKind::Text(text) => {
            let rows = if node.is_whole {
                usize::from(area.height)
            } else {
                MOST_ROWS + 1
            };
            let most = (usize::from(area.width) + 1) * (rows + 1) * 4;
            let cut = &text[..text.floor_char_boundary(most)];
            (Value::from(cut).to_string(), theme.good())
        }
        JsonKind::Plain(plain) => {
            let style = match plain {
                Value::Number(_) => theme.accent(),
                Value::Bool(_) => theme.reuse(),
                _ => theme.faint(),
            };
            (plain.to_string(), style)
        }
    }
}

/// Draws the page: which text it is of, the tree, and where the cursor is. Returns where the text cursor is while a
/// search is typed.
pub fn draw_page(model: &Model, panes: &Panes, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let title = model.tree.cursor.as_ref().map_or(String::new(), ToString::to_string);
    let title = harmless(&title);
    let area = panes.inner(panes.detail);
    if panes.is_framed() {
        let title = cut_middle(&title, panes.detail.width.saturating_sub(4));
        draw_frame(buffer, panes.detail, &title, theme.faint(), theme.strong());
    }
    let area = inset(area);
    if area.height < 3 {
        return None;
    }
    let part = match StagePart::of_tab(model.detail.tab) {
        Some(StagePart::Input) => Tab::Input,
        _ => Tab::Output,
    };
    draw_rule(buffer, Rect { height: 1, ..area }, part.title(), theme.key());
    let rows = Rect {
        y: area.y + 1,
        height: area.height - 2,
        ..area
    };
    let tree = model.detail.shown_json();
    match tree {
        Some(tree) => draw(model, tree, rows, buffer),
        None => {
            put(buffer, rows.x, rows.y, rows.width, "…", theme.faint());
        }
    }
    draw_status(model, tree, area, buffer)
}

/// Draws the last line: what is searched, or the path of the cursor and how many were found.
fn draw_status(model: &Model, tree: Option<&JsonTree>, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let y = area.bottom() - 1;
    if let Some(input) = &model.detail.json_input {
        let used = put(buffer, area.x, y, area.width, "/ ", theme.key());
        let room = area.width.saturating_sub(used);
        return line::draw(input, area.x + used, y, room, theme.plain(), buffer).cursor;
    }
    let tree = tree?;
    let found = tree
        .search
        .as_ref()
        .map_or(String::new(), |search| match search.count() {
            0 => format!("nothing has {}", search.text),
            count => format!("{count} have {}", search.text),
        });
    let columns = width(&harmless(&found)).min(area.width / 2);
    put_right(buffer, area.right(), y, columns, &found, theme.warn());
    let room = area.width.saturating_sub(columns + 1);
    let part = StagePart::of_tab(model.detail.tab)
        .unwrap_or(StagePart::Output)
        .as_str();
    let path = tree.path();
    let gap = if path.is_empty() || path.starts_with('[') {
        ""
    } else {
        "."
    };
    let path = harmless(&format!("{part}{gap}{path}"));
    put(buffer, area.x, y, room, &cut_middle(&path, room), theme.accent());
    None
}
