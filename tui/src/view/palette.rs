//! Draws the command palette: what is typed, and what matches it with the keys that do the same.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{
    frame::open_box,
    line,
    text::{put, put_right, width, within},
};
use crate::model::{
    Model,
    palette::{Palette, PaletteEntry},
};

/// Columns of the box and entries in it at most.
const MOST_COLUMNS: u16 = 84;
const MOST_ENTRIES: usize = 16;
/// Columns of a name, if there are so many.
const NAME_COLUMNS: u16 = 30;

/// Draws the palette. Returns where the text cursor is.
pub fn draw(model: &Model, palette: &Palette, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let columns = buffer.area.width.min(MOST_COLUMNS);
    // The box stays as high while it is typed into.
    let entries = MOST_ENTRIES.min(palette.all.len().max(1)) as u16;
    let inside = open_box(
        model,
        buffer,
        "Do or go to · enter does it, esc leaves",
        columns,
        entries + 3,
    );
    if inside.is_empty() {
        return None;
    }
    let used = put(buffer, inside.x, inside.y, inside.width, ": ", theme.key());
    let room = inside.width.saturating_sub(used);
    let drawn = line::draw(&palette.input, inside.x + used, inside.y, room, theme.plain(), buffer);
    let area = Rect {
        y: inside.y + 1,
        height: inside.height - 1,
        ..inside
    };
    let height = usize::from(area.height);
    let top = (palette.at + 1).saturating_sub(height);
    if palette.shown.is_empty() {
        put(
            buffer,
            area.x,
            area.y,
            area.width,
            "nothing is called that",
            theme.faint(),
        );
    }
    let shown = palette.shown.iter().enumerate().skip(top).take(height);
    for ((index, entry), y) in shown.zip(area.top()..area.bottom()) {
        let line = Rect { y, height: 1, ..area };
        draw_entry(model, entry, line, buffer);
        if index == palette.at {
            buffer.set_style(within(buffer, line), theme.cursor());
        }
    }
    drawn.cursor
}

/// Draws an entry: its name, what it does, its keys at the right.
fn draw_entry(model: &Model, entry: &PaletteEntry, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let keys = width(&entry.keys).min(area.width / 3);
    let name = if area.width >= NAME_COLUMNS * 2 {
        NAME_COLUMNS.max(width(&entry.name) + 1).min(area.width / 2)
    } else {
        area.width.saturating_sub(keys + 1)
    };
    put(
        buffer,
        area.x,
        area.y,
        name.saturating_sub(1),
        &entry.name,
        theme.strong(),
    );
    let room = area.width.saturating_sub(name + keys + 1);
    put(buffer, area.x + name, area.y, room, &entry.about, theme.faint());
    put_right(buffer, area.right(), area.y, keys, &entry.keys, theme.key());
}
