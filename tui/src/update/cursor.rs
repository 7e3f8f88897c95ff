//! Moves the cursor of the page that is open and scrolls what it shows, by as much as the screen has room for.

use super::{json, preview, stage_log};
use crate::{
    layout,
    model::{Model, Page, detail::Tab},
    view::card,
};

/// Lines that the other tabs of the detail are scrolled by at most.
const MOST_LINES: usize = 60;

/// Returns the number of rows or lines that a page key moves by.
pub fn count_page_rows(model: &Model) -> isize {
    let panes = model.panes();
    let rows = match model.page {
        Page::Tasks if model.zoom => panes.detail_rows(),
        Page::Tasks => panes.rows(),
        Page::Callbacks => layout::lay_out_callbacks(model.size).rows(),
        Page::Nodes => layout::lay_out_nodes(model.size).rows(),
        Page::Videos => layout::lay_out_videos(model.size).rows(),
        Page::Queues => layout::lay_out_queues(model.size).rows(),
        Page::Workers => layout::lay_out_workers(model.size).rows(),
        Page::Events => layout::lay_out_events(model.size).rows(),
        Page::Commands => layout::lay_out_commands(model.size).rows(),
        Page::Log => stage_log::count_rows(model),
        Page::Compare => panes.detail_rows(),
        Page::Timeline => usize::from(layout::lay_out_timeline(model.size).rows.height),
        Page::Json => json::count_rows(model),
        Page::Preview => preview::count_page_rows(model),
        Page::Form | Page::Register | Page::Machine => 1,
    };
    rows.saturating_sub(1).max(1) as isize
}

/// Moves the cursor of the page; where the detail has the whole screen, scrolls it.
pub fn move_cursor(model: &mut Model, by: isize) {
    match model.page {
        Page::Tasks if model.zoom => scroll_detail(model, by),
        Page::Tasks => {
            let index = model.tree.index.saturating_add_signed(by);
            model.tree.go(index);
        }
        Page::Log => stage_log::scroll(model, by),
        Page::Compare => model.compare.scroll_by(by),
        Page::Json => json::move_cursor(model, by),
        Page::Preview => preview::move_cursor(model, by),
        _ => {
            if let Some(list) = model.page_list_mut() {
                let index = list.index().saturating_add_signed(by);
                go_in_list(model, index);
            }
        }
    }
}

/// Puts the cursor of the page's list on the item with this index, or on the last one.
pub fn go_in_list(model: &mut Model, index: usize) {
    if let Some(list) = model.page_list_mut() {
        list.go(index);
    }
    if model.page == Page::Nodes {
        model.nodes.scroll = 0;
    }
}

/// Scrolls the text about the row at the cursor.
pub fn scroll_text(model: &mut Model, by: isize) {
    match model.page {
        Page::Nodes => {
            let room = layout::lay_out_nodes(model.size).item_text();
            let most = model
                .nodes
                .at_cursor()
                .map_or(0, |node| card::count_hidden_lines(node, room));
            model.nodes.scroll = model.nodes.scroll.saturating_add_signed(by).min(most);
        }
        Page::Preview => preview::scroll(model, by),
        _ => scroll_detail(model, by),
    }
}

fn scroll_detail(model: &mut Model, by: isize) {
    if model.detail.tab == Tab::Log && model.detail.stage.is_some() {
        stage_log::scroll(model, by);
        return;
    }
    if json::is_shown(model) {
        json::move_cursor(model, by);
        return;
    }
    let limit = match model.detail.tab {
        Tab::Overview | Tab::Reuse => MOST_LINES,
        _ => 0,
    };
    model.detail.scroll = model
        .detail
        .scroll
        .saturating_add_signed(by)
        .min(limit.saturating_sub(1));
}
