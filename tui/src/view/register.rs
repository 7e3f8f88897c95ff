//! Draws the form that registers a video: a line for each field, refusals below their fields, the description of the
//! focused field.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{
    block::{self, Block},
    frame::{draw_frame, inset},
    line,
    text::{put, wrap},
};
use crate::{
    layout,
    model::{
        Model, Page,
        register::{Entry, Line, Register},
    },
};

/// Columns of a field's name.
const LABEL: u16 = 16;
/// Lines of a field's error, at most.
const MOST_ERROR_LINES: usize = 3;

/// Draws the page. Returns where the text cursor is.
pub fn draw(model: &Model, buffer: &mut Buffer) -> Option<Position> {
    let form = model.register.as_ref()?;
    let theme = model.theme;
    let panes = layout::lay_out_panes((buffer.area.width, buffer.area.height), true);
    let mut area = panes.detail;
    if panes.is_framed() {
        draw_frame(buffer, area, "Register a video", theme.faint(), theme.strong());
        area = panes.inner(area);
    } else if area.height > 0 {
        put(buffer, area.x, area.y, area.width, " Register a video", theme.strong());
        area.y += 1;
        area.height -= 1;
    }
    let text = inset(area);
    let mut above = Block::new(text.width);
    if let Some(problem) = &form.problem {
        above.say(&format!("✖ {problem}"), theme.bad());
    }
    let mut above = above.into_lines();
    above.truncate(usize::from(area.height) / 3);
    block::draw(&above, 0, text, buffer);
    let mut y = area.y + above.len() as u16;
    let mut cursor = None;
    for (index, field) in form.lines.iter().enumerate() {
        if y >= area.bottom() {
            break;
        }
        let focused = index == form.focus;
        let row = Rect { y, height: 1, ..area };
        cursor = draw_line(model, form, field, focused, row, buffer).or(cursor);
        y += 1;
        if let Some(error) = &field.error {
            let lines = wrap(error, area.width.saturating_sub(8));
            for line in lines.iter().take(MOST_ERROR_LINES) {
                if y < area.bottom() {
                    let room = area.width.saturating_sub(4);
                    put(buffer, area.x + 4, y, room, &format!("✖ {line}"), theme.bad());
                    y += 1;
                }
            }
        }
    }
    if y < area.bottom() {
        let rule = "─".repeat(usize::from(area.width));
        put(buffer, area.x, y, area.width, &rule, theme.faint());
        let below = Rect {
            y: y + 1,
            height: area.bottom() - y - 1,
            ..text
        };
        let (head, text) = describe_entry(model, form.focused().entry);
        let mut block = Block::new(below.width);
        if !head.is_empty() {
            block.say(head, theme.strong());
        }
        block.say(&text, theme.plain());
        block::draw(&block.into_lines(), 0, below, buffer);
    }
    cursor
}

/// Draws one field. Returns where the text cursor is, if the field has it.
fn draw_line(
    model: &Model,
    form: &Register,
    field: &Line,
    focused: bool,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    let theme = model.theme;
    if focused {
        put(buffer, area.x, area.y, area.width.min(1), "▸", theme.key());
    }
    let x = area.x + 2;
    if field.entry == Entry::Send {
        let text = match (form.request.is_some(), focused) {
            (true, _) => "… requested",
            (false, true) => "[ Register ]",
            (false, false) => "  Register  ",
        };
        let style = if focused { theme.cursor() } else { theme.strong() };
        put(buffer, x, area.y, area.width.saturating_sub(2), text, style);
        return None;
    }
    let style = if focused { theme.strong() } else { theme.plain() };
    let (label, left_out) = match field.entry {
        Entry::Where => ("path or URL *", "needed"),
        Entry::Id => ("video id", "a new one"),
        Entry::Title => ("title", "the file's name"),
        Entry::Send => ("", ""),
    };
    let label_room = LABEL.min(area.width / 2);
    put(buffer, x, area.y, label_room.saturating_sub(1), label, style);
    let x = x + label_room;
    let room = area.right().saturating_sub(x + 1);
    if field.input.value().is_empty() {
        let style = if field.entry == Entry::Where {
            theme.warn()
        } else {
            theme.faint()
        };
        put(buffer, x, area.y, room, left_out, style);
        return (focused && room > 0).then_some(Position { x, y: area.y });
    }
    let drawn = line::draw(&field.input, x, area.y, room, theme.accent(), buffer);
    drawn.cursor.filter(|_| focused)
}

/// Describes a field.
fn describe_entry(model: &Model, entry: Entry) -> (&'static str, String) {
    let (head, text) = match entry {
        Entry::Where => (
            "path or URL",
            "A file on the daemon's machine, below its share/workflows or a media root; or a URL, http(s) or of the object store (s3, minio), which is fetched before the answer.",
        ),
        Entry::Id => (
            "video id  1 to 122 of A-Z a-z 0-9 . _ -",
            "It is processed under the task video-<id>. Left out: a new id.",
        ),
        Entry::Title => ("title  at most 500 characters", "What people call it."),
        Entry::Send => return ("", line::describe_send(model, Page::Register)),
    };
    (head, text.to_owned())
}
