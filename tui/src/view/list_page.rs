//! The parts that pages with one list share: title, column titles, rows, and the frame of the text about the item at
//! the cursor.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    block,
    frame::draw_frame,
    text::{put, within, wrap},
};
use crate::{layout::ListPage, model::list::List, theme::Theme};

/// A cell of a row: its columns, none if it is left out, its text and its style.
pub type Cell<'a> = (u16, &'a str, Style);

/// Draws title and column titles. Returns the area of the rows.
pub fn draw_head(page: &ListPage, title: &str, columns: &[(u16, &str)], theme: Theme, buffer: &mut Buffer) -> Rect {
    let area = page.inner(page.list);
    if page.framed {
        draw_frame(buffer, page.list, title, theme.faint(), theme.strong());
        let titles: Vec<Cell> = columns
            .iter()
            .map(|(columns, title)| (*columns, *title, theme.faint()))
            .collect();
        draw_cells(&titles, area, buffer);
    } else {
        put(buffer, area.x, area.y, area.width, &format!(" {title}"), theme.strong());
    }
    Rect {
        y: area.y + area.height.min(1),
        height: area.height.saturating_sub(1),
        ..area
    }
}

/// Draws a text instead of rows, where there are none.
pub fn draw_placeholder(text: &str, style: Style, area: Rect, buffer: &mut Buffer) {
    let lines = wrap(text, area.width.saturating_sub(2));
    let lines = lines.into_iter().map(|line| (format!(" {line}"), style)).collect();
    block::draw(&lines, 0, area, buffer);
}

/// Draws the rows that are on screen, a line each, with marks and cursor.
pub fn draw_rows<K: Clone + PartialEq>(
    list: &List<K>,
    is_marked: impl Fn(&K) -> bool,
    area: Rect,
    theme: Theme,
    buffer: &mut Buffer,
    mut draw: impl FnMut(&K, Rect, &mut Buffer),
) {
    let (top, shown) = list.shown(usize::from(area.height));
    for (line, key) in shown.iter().enumerate() {
        let line_area = Rect {
            y: area.y + line as u16,
            height: 1,
            ..area
        };
        let at_cursor = top + line == list.index();
        let marker = match (at_cursor, is_marked(key)) {
            (_, true) => "◆",
            (true, false) => "▸",
            _ => " ",
        };
        put(buffer, area.x, line_area.y, area.width.min(1), marker, theme.key());
        draw(key, line_area, buffer);
        if at_cursor {
            buffer.set_style(within(buffer, line_area), theme.cursor());
        }
    }
}

/// Draws cells side by side, after the marker.
pub fn draw_cells(cells: &[Cell], area: Rect, buffer: &mut Buffer) {
    let mut x = area.x + 2;
    for (columns, text, style) in cells {
        put(buffer, x, area.y, columns.saturating_sub(1), text, *style);
        x += columns;
    }
}

/// Draws a frame or a rule around the text about the item. Returns the area of the text; `None` if there is no room.
pub fn draw_item_frame(page: &ListPage, title: &str, theme: Theme, buffer: &mut Buffer) -> Option<Rect> {
    let inner = page.inner(page.item);
    if inner.height < 2 {
        return None;
    }
    if page.framed {
        draw_frame(buffer, page.item, title, theme.faint(), theme.strong());
    } else {
        let rule = "─".repeat(usize::from(inner.width));
        put(buffer, inner.x, inner.y, inner.width, &rule, theme.faint());
    }
    Some(page.item_text())
}
