//! Draws the menu of what can be copied.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    frame::open_box,
    text::{cut_middle, harmless, put, width, within},
};
use crate::model::{Model, copy_menu::CopyMenu};

/// Columns of the box at most.
const MOST_COLUMNS: u16 = 92;
/// Bytes of a text that are looked at for its line.
const MOST_BYTES: usize = 1_000;

/// Draws the menu.
pub fn draw(model: &Model, menu: &CopyMenu, buffer: &mut Buffer) {
    let theme = model.theme;
    let columns = buffer.area.width.min(MOST_COLUMNS);
    let rows = (menu.entries.len() as u16).saturating_add(2).min(buffer.area.height);
    let inside = open_box(model, buffer, "Copy · letter or enter, esc leaves", columns, rows);
    let labels = menu.entries.iter().map(|entry| width(&harmless(&entry.label)));
    let label_room = (labels.max().unwrap_or(0) + 2).min(inside.width / 2);
    let height = usize::from(inside.height);
    let top = (menu.at + 1).saturating_sub(height);
    let shown = menu.entries.iter().enumerate().skip(top).take(height);
    for ((index, entry), y) in shown.zip(inside.top()..inside.bottom()) {
        let line = Rect { y, height: 1, ..inside };
        put(
            buffer,
            line.x,
            y,
            line.width.min(2),
            &entry.letter.to_string(),
            theme.key(),
        );
        let x = line.x + 2.min(line.width);
        put(buffer, x, y, label_room.saturating_sub(1), &entry.label, theme.strong());
        let room = line.width.saturating_sub(2 + label_room);
        let start = &entry.text[..entry.text.floor_char_boundary(MOST_BYTES)];
        let text = harmless(start);
        put(buffer, x + label_room, y, room, &cut_middle(&text, room), theme.plain());
        if index == menu.at {
            buffer.set_style(within(buffer, line), theme.cursor());
        }
    }
}
