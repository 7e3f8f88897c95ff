//! Says what is drawn in a cell of the screen, from the same layout that drawing goes by.

use ratatui::layout::{Position, Rect};

use super::{
    detail, dialogs,
    footer::{self, FooterTarget},
    rerun,
};
use crate::{
    layout::{self, ListPage, Tier},
    model::{Model, Page, detail::Tab, dialog::Dialog},
};

/// What a cell belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScreenTarget {
    /// A button of a question: the one that acts, or the other one.
    Button {
        acts: bool,
    },
    /// A way of the menu of ways to run again, by its index.
    Way(usize),
    /// What is neither in a dialog, and everything while one is open.
    Dialog,
    /// A row of the tree, by its index.
    TreeRow(usize),
    /// The tree where it has no row.
    Tree,
    /// The border between tree and detail.
    Border,
    Tab(Tab),
    Detail,
    /// An item of the page's list, by its index.
    ListRow(usize),
    /// The page's list where it has no item; the lines of a page that scrolls and has no items to click.
    List,
    /// The text about the item at the cursor.
    Item,
    /// The lines of a log on the whole screen.
    Log,
    Footer(FooterTarget),
    Nothing,
}

/// Finds what is drawn in a cell.
pub fn find_target(model: &Model, column: u16, row: u16) -> ScreenTarget {
    let at = Position { x: column, y: row };
    if let Some(dialog) = &model.dialog {
        return find_in_dialog(model, dialog, at);
    }
    let panes = model.panes();
    if panes.footer.contains(at) {
        let target = footer::find_target(model, &panes, column);
        return target.map_or(ScreenTarget::Nothing, ScreenTarget::Footer);
    }
    if model.store.seq().is_none() {
        return ScreenTarget::Nothing;
    }
    match model.page {
        Page::Tasks => find_in_tasks(model, at),
        Page::Callbacks => find_in_list(&layout::lay_out_callbacks(model.size), at, |rows| {
            model.deliveries.list.shown(rows)
        }),
        Page::Nodes => find_in_list(&layout::lay_out_nodes(model.size), at, |rows| {
            model.nodes.list.shown(rows)
        }),
        Page::Videos => find_in_list(&layout::lay_out_videos(model.size), at, |rows| {
            model.videos.list.shown(rows)
        }),
        Page::Queues => find_in_list(&layout::lay_out_queues(model.size), at, |rows| {
            model.observed.rows.shown(rows)
        }),
        Page::Workers => find_in_list(&layout::lay_out_workers(model.size), at, |rows| {
            model.workers.list.shown(rows)
        }),
        Page::Events => find_in_list(&layout::lay_out_events(model.size), at, |rows| {
            model.events.list.shown(rows)
        }),
        Page::Commands => find_in_list(&layout::lay_out_commands(model.size), at, |rows| {
            model.commands.list.shown(rows)
        }),
        Page::Preview => {
            let page = layout::lay_out_preview(model.size, model.preview.is_whole);
            find_in_list(&page, at, |rows| model.preview.list.shown(rows))
        }
        _ if row < panes.header.bottom() => ScreenTarget::Nothing,
        Page::Log => ScreenTarget::Log,
        Page::Timeline | Page::Compare | Page::Json => ScreenTarget::List,
        _ => ScreenTarget::Nothing,
    }
}

fn find_in_dialog(model: &Model, dialog: &Dialog, at: Position) -> ScreenTarget {
    let found = match dialog {
        Dialog::Confirm(confirm) => dialogs::find_button(model, confirm, at).map(|acts| ScreenTarget::Button { acts }),
        Dialog::Rerun(menu) => rerun::find_way(model, menu, at).map(ScreenTarget::Way),
        _ => None,
    };
    found.unwrap_or(ScreenTarget::Dialog)
}

fn find_in_tasks(model: &Model, at: Position) -> ScreenTarget {
    let panes = model.panes();
    let (tree, detail) = (panes.tree, panes.detail);
    let is_divided = !tree.is_empty() && !detail.is_empty();
    // The frames of both panes stand side by side.
    let is_border = match panes.tier {
        Tier::Wide => at.x + 1 == tree.right() || at.x == detail.x,
        Tier::Medium => at.y + 1 == tree.bottom() || at.y == detail.y,
        Tier::Small => false,
    };
    if is_divided && is_border && (tree.contains(at) || detail.contains(at)) {
        return ScreenTarget::Border;
    }
    if tree.contains(at) {
        let inside = panes.inner(tree);
        let titles = u16::from(panes.is_framed());
        let rows = Rect {
            y: inside.y + titles.min(inside.height),
            height: inside.height.saturating_sub(titles),
            ..inside
        };
        if !rows.contains(at) {
            return ScreenTarget::Tree;
        }
        let index = model.tree.top + usize::from(at.y - rows.y);
        return match index < model.tree.rows.len() {
            true => ScreenTarget::TreeRow(index),
            false => ScreenTarget::Tree,
        };
    }
    if detail.contains(at) {
        return detail::find_tab(model, &panes, at).map_or(ScreenTarget::Detail, ScreenTarget::Tab);
    }
    ScreenTarget::Nothing
}

/// Finds the item in a page with one list; `shown` has the items on a screen of so many rows.
fn find_in_list<'a, K>(page: &ListPage, at: Position, shown: impl FnOnce(usize) -> (usize, &'a [K])) -> ScreenTarget
where
    K: 'a,
{
    if page.item.contains(at) {
        return ScreenTarget::Item;
    }
    if !page.list.contains(at) {
        return ScreenTarget::Nothing;
    }
    let inside = page.inner(page.list);
    let first = inside.y + 1;
    let (top, items) = shown(page.rows());
    let line = usize::from(at.y.saturating_sub(first));
    match inside.contains(at) && at.y >= first && line < items.len() {
        true => ScreenTarget::ListRow(top + line),
        false => ScreenTarget::List,
    }
}
