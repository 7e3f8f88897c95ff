//! The page of nodes: the catalog with readiness, and the card of the node at the cursor.

use onceover_common::wire::NodeInfo;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    block, card, frame, layout,
    text::{put, within, wrap},
};
use crate::model::Model;

pub fn draw(model: &Model, buffer: &mut Buffer) {
    let page = layout::nodes((buffer.area.width, buffer.area.height));
    let theme = model.theme;
    let nodes = &model.nodes;
    let area = page.inner(page.list);
    let columns = Columns::of(area.width);
    if page.framed {
        frame(buffer, page.list, &title(model), theme.faint(), theme.strong());
        titles(model, &columns, area, buffer);
    } else {
        let title = format!(" {}", title(model));
        put(buffer, area.x, area.y, area.width, &title, theme.strong());
    }
    let rows = Rect {
        y: area.y + area.height.min(1),
        height: area.height.saturating_sub(1),
        ..area
    };
    if nodes.list.keys().is_empty() {
        let (text, style) = match &nodes.failed {
            Some(why) => (why.as_str(), theme.bad()),
            None if !nodes.read => ("…", theme.faint()),
            None if nodes.all.is_empty() => ("the daemon has no nodes", theme.faint()),
            None => ("no node is called that", theme.faint()),
        };
        let lines = wrap(text, rows.width.saturating_sub(2));
        let lines = lines.into_iter().map(|line| (format!(" {line}"), style)).collect();
        block::draw(&lines, 0, rows, buffer);
    }
    let (top, shown) = nodes.list.shown(usize::from(rows.height));
    for (line, name) in shown.iter().enumerate() {
        let Some(node) = nodes.get(name) else {
            continue;
        };
        let line_area = Rect {
            y: rows.y + line as u16,
            height: 1,
            ..rows
        };
        draw_row(
            model,
            node,
            top + line == nodes.list.index(),
            &columns,
            line_area,
            buffer,
        );
    }
    draw_card(model, &page, buffer);
}

fn title(model: &Model) -> String {
    let nodes = &model.nodes;
    let mut title = format!("Nodes {}", nodes.list.keys().len());
    if !nodes.filter.is_empty() {
        title += &format!(" of {}", nodes.all.len());
    }
    title += &format!(" · {} ready", nodes.ready());
    if !nodes.filter.is_empty() {
        title += &format!(" · {}", nodes.filter);
    }
    title
}

/// Columns of a row; one of width 0 is left out.
struct Columns {
    name: u16,
    title: u16,
    readiness: u16,
}

impl Columns {
    fn of(width: u16) -> Self {
        let rest = width.saturating_sub(2);
        // Where there is no room for the word, its glyph stands alone.
        let readiness = if rest >= 50 { 18 } else { 3.min(rest) };
        let rest = rest - readiness;
        let title = if rest >= 60 { rest / 2 } else { 0 };
        Self {
            name: rest - title,
            title,
            readiness,
        }
    }
}

fn titles(model: &Model, columns: &Columns, area: Rect, buffer: &mut Buffer) {
    let mut x = area.x + 2;
    for (columns, title) in [
        (columns.readiness, "READY"),
        (columns.name, "NODE"),
        (columns.title, "WHAT IT DOES"),
    ] {
        put(buffer, x, area.y, columns.saturating_sub(1), title, model.theme.faint());
        x += columns;
    }
}

fn draw_row(model: &Model, node: &NodeInfo, at_cursor: bool, columns: &Columns, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    if at_cursor {
        put(buffer, area.x, area.y, area.width.min(1), "▸", theme.key());
    }
    let readiness = card::readiness(&node.readiness);
    let readiness = if columns.readiness < 8 {
        &readiness[..readiness.find(' ').unwrap_or(0)]
    } else {
        &readiness
    };
    let style = if node.readiness.ready {
        theme.good()
    } else {
        theme.bad()
    };
    let mut x = area.x + 2;
    for (columns, text, style) in [
        (columns.readiness, readiness, style),
        (columns.name, node.name.as_str(), theme.plain()),
        (columns.title, node.title.as_str(), theme.faint()),
    ] {
        put(buffer, x, area.y, columns.saturating_sub(1), text, style);
        x += columns;
    }
    if at_cursor {
        buffer.set_style(within(buffer, area), theme.cursor());
    }
}

fn draw_card(model: &Model, page: &layout::ListPage, buffer: &mut Buffer) {
    let theme = model.theme;
    let Some(area) = page.open_item(
        model.nodes.at_cursor().map_or("", |node| node.name.as_str()),
        theme,
        buffer,
    ) else {
        return;
    };
    let Some(node) = model.nodes.at_cursor() else {
        return;
    };
    let lines = card::lines(node, theme, area.width);
    let scroll = model
        .nodes
        .scroll
        .min(lines.len().saturating_sub(usize::from(area.height)));
    block::draw(&lines, scroll, area, buffer);
}
