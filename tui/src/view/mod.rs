//! Draws the screen, as a pure function of the model. It builds nothing for rows that are not on the screen.

pub mod block;
mod callbacks;
pub mod card;
mod commands;
mod compare;
mod copy_menu;
pub mod detail;
pub mod dialogs;
mod empty;
mod events;
pub mod footer;
mod form;
mod frame;
mod graph;
mod header;
pub mod hit;
mod json_tree;
mod line;
mod list_page;
pub mod log_pane;
mod machine;
mod nodes;
mod palette;
mod past;
pub mod pipeline;
pub mod preview;
mod queues;
pub mod reasons;
mod register;
mod rerun;
mod reuse;
mod review;
mod sort;
mod tabs;
mod task_detail;
pub mod text;
mod timeline;
mod tree;
mod video_dialogs;
mod videos;
pub mod warned;
mod workers;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::{
    layout,
    model::{Model, Page},
};

/// Draws the whole screen. Returns where the terminal's cursor belongs; `None` if it is hidden.
pub fn view(model: &Model, buffer: &mut Buffer) -> Option<Position> {
    let cursor = draw(model, buffer);
    model.glyphs.apply(buffer);
    cursor
}

fn draw(model: &Model, buffer: &mut Buffer) -> Option<Position> {
    if buffer.area.is_empty() {
        return None;
    }
    let size = (buffer.area.width, buffer.area.height);
    let panes = layout::lay_out_split(size, model.zoom, model.split);
    header::draw(model, panes.status_line(), buffer);
    tabs::draw(model, panes.tab_line(), buffer);
    let mut at_field = None;
    if model.store.seq().is_none() {
        empty::draw(model, &panes, buffer);
    } else {
        match model.page {
            Page::Callbacks => callbacks::draw(model, buffer),
            Page::Nodes => nodes::draw(model, buffer),
            Page::Form => at_field = form::draw(model, buffer),
            Page::Videos => videos::draw(model, buffer),
            Page::Queues => queues::draw(model, buffer),
            Page::Machine => machine::draw(model, buffer),
            Page::Workers => workers::draw(model, buffer),
            Page::Events => events::draw(model, buffer),
            Page::Commands => commands::draw(model, buffer),
            Page::Register => at_field = register::draw(model, buffer),
            Page::Log => log_pane::draw_page(model, &layout::lay_out_panes(size, true), buffer),
            Page::Compare => compare::draw(model, buffer),
            Page::Timeline => timeline::draw(model, buffer),
            Page::Json => at_field = json_tree::draw_page(model, &layout::lay_out_panes(size, true), buffer),
            Page::Preview => preview::draw(model, buffer),
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
                y: panes.header.height,
                width: buffer.area.width,
                height: panes.footer.y.saturating_sub(panes.header.height),
            };
            buffer.set_style(text::within(buffer, stale), model.theme.stale());
        }
    }
    let cursor = footer::draw(model, &panes, buffer).or(at_field);
    if let Some(dialog) = &model.dialog {
        return dialogs::draw(model, dialog, buffer);
    }
    cursor
}
