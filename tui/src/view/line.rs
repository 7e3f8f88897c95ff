//! Draws a line of text while it is typed: the end that is typed at stays in view. Says how a form of such lines is
//! sent.

use ratatui::{buffer::Buffer, layout::Position, style::Style};

use super::text::{harmless, put, width};
use crate::{
    actions::{Action, format_hint},
    model::{Model, Page},
};

/// What was drawn.
pub struct DrawnLine {
    /// The columns that it used.
    pub used: u16,
    /// The columns of the text before them, which do not fit.
    pub hidden: u16,
    /// Where the text cursor belongs.
    pub cursor: Option<Position>,
}

/// Draws the part of the line that fits into the room.
pub fn draw(input: &tui_input::Input, x: u16, y: u16, room: u16, style: Style, buffer: &mut Buffer) -> DrawnLine {
    let value = harmless(input.value());
    let before: String = input.value().chars().take(input.cursor()).collect();
    let before = harmless(&before);
    let mut start = 0;
    while width(&before[start..]) >= room.max(2) {
        start += before[start..].chars().next().map_or(1, char::len_utf8);
    }
    let used = put(buffer, x, y, room, &value[start..], style);
    let at = x + width(&before[start..]);
    DrawnLine {
        used,
        hidden: width(&before[..start]),
        cursor: (at < x + room).then_some(Position { x: at, y }),
    }
}

/// Says how a request is sent from a form.
pub fn describe_send(model: &Model, page: Page) -> String {
    let hint = format_hint(Action::Send, page, &model.bindings, |key| {
        format!("; so does {key} from every field")
    });
    format!("Enter sends the request{hint}.")
}
