//! Draws the choice of the column by which tasks are sorted.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    frame::open_box,
    text::{put, within},
};
use crate::model::{Model, dialog::SortMenu, sort::SortColumn};

/// Columns of the box at most, and of the key and the name of a column.
const MOST_COLUMNS: u16 = 62;
const NAME_COLUMNS: u16 = 14;

/// Draws the choice: a line for each column, with what comes first.
pub fn draw(model: &Model, menu: &SortMenu, buffer: &mut Buffer) {
    let theme = model.theme;
    let sort = model.tree.sort;
    let columns = buffer.area.width.min(MOST_COLUMNS);
    let rows = (SortColumn::ALL.len() as u16 + 4).min(buffer.area.height);
    let inside = open_box(model, buffer, "Sort by", columns, rows);
    // On a small screen the chosen one is among those that are seen.
    let room = usize::from(inside.height);
    let chosen = menu.position();
    let top = (chosen + 1).saturating_sub(room);
    for (line, column) in SortColumn::ALL.into_iter().enumerate().skip(top).take(room) {
        let y = inside.y + (line - top) as u16;
        let would_be = sort.choose(column);
        let mark = if sort.column == column { "●" } else { " " };
        let name = format!("{mark} {}  {}", column.key(), column.name());
        put(buffer, inside.x, y, inside.width.min(NAME_COLUMNS), &name, theme.key());
        let room = inside.width.saturating_sub(NAME_COLUMNS);
        put(
            buffer,
            inside.x + NAME_COLUMNS,
            y,
            room,
            would_be.describe(),
            theme.plain(),
        );
        if line == chosen {
            let row = Rect { y, height: 1, ..inside };
            buffer.set_style(within(buffer, row), theme.cursor());
        }
    }
    let y = inside.y + SortColumn::ALL.len() as u16 + 1;
    if y < inside.bottom() {
        let hint = "enter sort · the same again reverses · esc leave";
        put(buffer, inside.x, y, inside.width, hint, theme.faint());
    }
}
