//! The screen: a pure function of the model. Nothing is built for rows that are not on it.

pub mod block;
mod callbacks;
pub mod card;
pub mod detail;
mod dialogs;
pub mod figures;
mod footer;
mod form;
mod header;
pub mod layout;
mod line;
mod list_page;
mod nodes;
pub mod pipeline;
mod register;
mod reuse;
mod task_detail;
pub mod text;
mod tree;
mod video_dialogs;
mod videos;
pub mod warned;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use crate::model::{Link, MissingPart, Model, Page};

/// Draws the whole frame; the answer is where the terminal's cursor belongs, when it belongs anywhere.
pub fn view(model: &Model, buffer: &mut Buffer) -> Option<Position> {
    let cursor = draw(model, buffer);
    model.glyphs.apply(buffer);
    cursor
}

fn draw(model: &Model, buffer: &mut Buffer) -> Option<Position> {
    if buffer.area.is_empty() {
        return None;
    }
    let panes = layout::panes((buffer.area.width, buffer.area.height), model.zoom);
    header::draw(model, panes.header, buffer);
    let mut at_field = None;
    if model.store.seq().is_none() {
        empty(model, &panes, buffer);
    } else {
        match model.page {
            Page::Callbacks => callbacks::draw(model, buffer),
            Page::Nodes => nodes::draw(model, buffer),
            Page::Form => at_field = form::draw(model, buffer),
            Page::Videos => videos::draw(model, buffer),
            Page::Register => at_field = register::draw(model, buffer),
            Page::Tasks => {
                if !panes.tree.is_empty() {
                    tree::draw(model, &panes, buffer);
                }
                if !panes.detail.is_empty() {
                    detail::draw(model, &panes, buffer);
                }
            }
        }
        if !model.is_live() {
            let stale = Rect {
                x: 0,
                y: 1,
                width: buffer.area.width,
                height: panes.tree.height.max(panes.footer.y.saturating_sub(1)),
            };
            buffer.set_style(text::within(buffer, stale), model.theme.stale());
        }
    }
    let cursor = footer::draw(model, &panes, buffer).or(at_field);
    if let Some(dialog) = &model.dialog {
        return dialogs::draw(model, dialog, buffer).or(None);
    }
    cursor
}

/// Before the first snapshot: what is being tried, and what to do.
fn empty(model: &Model, panes: &layout::Panes, buffer: &mut Buffer) {
    let theme = model.theme;
    let area = Rect {
        y: panes.header.height,
        height: panes.footer.y.saturating_sub(panes.header.height),
        ..panes.header
    };
    let lines: Vec<(String, Style)> = match &model.link {
        Link::Lost {
            missing: MissingPart::Daemon,
            ..
        } => vec![
            (format!("No daemon at {} yet.", model.daemon), theme.strong()),
            (String::new(), theme.plain()),
            ("Start one with:  onceoverd".into(), theme.plain()),
            (
                "or name another: onceover --daemon http://HOST:PORT".into(),
                theme.plain(),
            ),
            (String::new(), theme.plain()),
            ("It will be connected to as soon as it is there.".into(), theme.faint()),
        ],
        Link::Lost {
            missing: MissingPart::Access,
            reason,
            ..
        } => vec![
            (
                format!("The daemon at {} refuses access.", model.daemon),
                theme.strong(),
            ),
            (text::harmless(reason), theme.plain()),
            (String::new(), theme.plain()),
            (
                "Give one of its tokens: ONCEOVER_TOKEN, or ONCEOVER_TOKEN_FILE, and start the dashboard again.".into(),
                theme.plain(),
            ),
        ],
        Link::Lost {
            missing: MissingPart::Redis,
            reason,
            ..
        } => vec![
            (
                format!("The daemon at {} is up, its Redis is not.", model.daemon),
                theme.strong(),
            ),
            (text::harmless(reason), theme.plain()),
            (String::new(), theme.plain()),
            (
                "What it holds will be read as soon as it is back.".into(),
                theme.faint(),
            ),
        ],
        _ => vec![(format!("Connecting to {} …", model.daemon), theme.plain())],
    };
    let mut block = block::Block::new(area.width.saturating_sub(4).min(80));
    for (line, style) in lines {
        if line.is_empty() {
            block.gap();
        } else {
            block.say(&line, style);
        }
    }
    let lines = block.lines();
    let top = area.height.saturating_sub(lines.len() as u16) / 3;
    let area = Rect {
        x: area.x + 2.min(area.width),
        y: area.y + top,
        width: area.width.saturating_sub(2),
        height: area.height - top,
    };
    block::draw(&lines, 0, area, buffer);
}

/// A frame with a title; the title is foreign text.
fn frame(buffer: &mut Buffer, area: Rect, title: &str, style: Style, title_style: Style) {
    let area = text::within(buffer, area);
    if area.width < 2 || area.height < 2 {
        return;
    }
    let (left, right, top, bottom) = (area.left(), area.right() - 1, area.top(), area.bottom() - 1);
    let bar = "─".repeat(usize::from(area.width - 2));
    for (y, start, end) in [(top, "┌", "┐"), (bottom, "└", "┘")] {
        text::put(buffer, left, y, 1, start, style);
        text::put(buffer, left + 1, y, area.width - 2, &bar, style);
        text::put(buffer, right, y, 1, end, style);
    }
    for y in top + 1..bottom {
        text::put(buffer, left, y, 1, "│", style);
        text::put(buffer, right, y, 1, "│", style);
    }
    if !title.is_empty() && area.width > 6 {
        text::put(
            buffer,
            left + 1,
            top,
            area.width - 2,
            &format!(" {title} "),
            title_style,
        );
    }
}
