//! Draws the page of nodes: the catalog with readiness, and the card of the node at the cursor.

use onceover_wire::NodeInfo;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{block, card, list_page};
use crate::{layout, model::Model};

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let page = layout::lay_out_nodes((buffer.area.width, buffer.area.height));
    let theme = model.theme;
    let nodes = &model.nodes;
    let columns = Columns::for_width(page.inner(page.list).width);
    let titles = [
        (columns.readiness, "READY"),
        (columns.name, "NODE"),
        (columns.title, "WHAT IT DOES"),
    ];
    let area = list_page::draw_head(&page, &describe_rows(model), &titles, theme, buffer);
    if nodes.list.keys().is_empty() {
        let (text, style) = match &nodes.failed {
            Some(why) => (why.as_str(), theme.bad()),
            None if !nodes.read => ("…", theme.faint()),
            None if nodes.all.is_empty() => ("the daemon has no nodes", theme.faint()),
            None => ("no node is called that", theme.faint()),
        };
        list_page::draw_placeholder(text, style, area, buffer);
    }
    list_page::draw_rows(
        &nodes.list,
        |_| false,
        area,
        theme,
        buffer,
        |name, line, buffer| {
            if let Some(node) = nodes.get(name) {
                draw_row(model, node, &columns, line, buffer);
            }
        },
    );
    draw_card(model, &page, buffer);
}

/// Says which nodes are shown.
fn describe_rows(model: &Model) -> String {
    let nodes = &model.nodes;
    let mut title = format!("Nodes {}", nodes.list.keys().len());
    if !nodes.filter.is_empty() {
        title += &format!(" of {}", nodes.all.len());
    }
    title += &format!(" · {} ready", nodes.count_ready());
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
    fn for_width(width: u16) -> Self {
        let rest = width.saturating_sub(2);
        // Without room for the word, the glyph is alone.
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

/// Draws one row.
fn draw_row(model: &Model, node: &NodeInfo, columns: &Columns, line: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let readiness = card::describe_readiness(&node.readiness);
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
    let cells = [
        (columns.readiness, readiness, style),
        (columns.name, node.name.as_str(), theme.plain()),
        (columns.title, &node.title, theme.faint()),
    ];
    list_page::draw_cells(&cells, line, buffer);
}

/// Draws the card of the node at the cursor.
fn draw_card(model: &Model, page: &layout::ListPage, buffer: &mut Buffer) {
    let theme = model.theme;
    let node = model.nodes.at_cursor();
    let name = node.map_or("", |node| node.name.as_str());
    let (Some(area), Some(node)) = (list_page::draw_item_frame(page, name, theme, buffer), node) else {
        return;
    };
    let lines = card::list_lines(node, theme, area.width);
    let scroll = model
        .nodes
        .scroll
        .min(lines.len().saturating_sub(usize::from(area.height)));
    block::draw(&lines, scroll, area, buffer);
}
