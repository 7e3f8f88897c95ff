//! A line of text while it is typed: the end that is typed at stays in view.

use ratatui::{buffer::Buffer, layout::Position, style::Style};

use super::text::{harmless, put, width};

pub struct Drawn {
    /// Columns used.
    pub used: u16,
    /// Where the text cursor belongs.
    pub cursor: Option<Position>,
}

pub fn draw(input: &tui_input::Input, x: u16, y: u16, room: u16, style: Style, buffer: &mut Buffer) -> Drawn {
    let value = harmless(input.value());
    let before: String = input.value().chars().take(input.cursor()).collect();
    let before = harmless(&before);
    let mut start = 0;
    while width(&before[start..]) >= room.max(2) {
        start += before[start..].chars().next().map_or(1, char::len_utf8);
    }
    let used = put(buffer, x, y, room, &value[start..], style);
    let at = x + width(&before[start..]);
    Drawn {
        used,
        cursor: (at < x + room).then_some(Position { x: at, y }),
    }
}
