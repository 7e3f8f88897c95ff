//! What a key press does: in a dialog, in the filter line, else the action the registry names for the page.

use onceover_types::StageState;
use onceover_wire::ReuseMode;

use super::{Effect, callbacks, dialog, feed, filter_line, nodes, register, rows, video_actions, videos};
use crate::{
    actions::{Action, ActionSpec, action_of},
    key::Key,
    model::{Link, MissingPart, Model, Page, RowId, Tone, detail::Tab, dialog::Dialog},
    view::{card, layout},
};

pub fn press(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    // Leaving must work from everywhere.
    if key == Key::ctrl('c') {
        quit(model, effects);
    } else if model.dialog.is_some() {
        dialog::press(model, key, effects);
    } else if model.filter_input.is_some() {
        filter_line::press(model, key);
    } else if model.page == Page::Nodes && model.nodes.input.is_some() {
        nodes::in_filter(model, key);
    } else if let Some(spec) = action_of(model.page, key) {
        act(model, spec, key, effects);
    } else if model.page == Page::Form {
        nodes::type_into_form(model, key);
    } else if model.page == Page::Register {
        register::type_into(model, key);
    }
    model.settle();
}

fn act(model: &mut Model, spec: &ActionSpec, key: Key, effects: &mut Vec<Effect>) {
    if spec.action != Action::Quit {
        model.quit_asked = false;
    }
    if spec.changes
        && spec.action != Action::Undo
        && let Some(reason) = refused(model).filter(|_| !model.read_only)
    {
        model.say(Tone::Bad, reason);
        return;
    }
    match spec.action {
        Action::Up => step(model, -1),
        Action::Down => step(model, 1),
        Action::PageUp => step(model, -screenful(model)),
        Action::PageDown => step(model, screenful(model)),
        Action::First => step(model, -END),
        Action::Last => step(model, END),
        Action::Expand => expand(model),
        Action::Collapse => collapse(model),
        Action::ExpandAll => set_all_expanded(model, true),
        Action::CollapseAll => set_all_expanded(model, false),
        Action::Open => model.zoom = !model.zoom && model.tree.cursor.is_some(),
        Action::Back => back(model),
        Action::NextTab => set_tab(model, 1),
        Action::PreviousTab => set_tab(model, -1),
        Action::DetailDown => scroll_beside(model, 5),
        Action::DetailUp => scroll_beside(model, -5),
        Action::Mark | Action::MarkRange | Action::MarkAll => mark(model, spec.action),
        Action::Filter if model.page == Page::Nodes => nodes::open_filter(model),
        Action::Filter => filter_line::open(model),
        Action::PendingOnly => model.tree.toggle_quick("pending only", &[StageState::Pending]),
        Action::ActiveOnly => model
            .tree
            .toggle_quick("active only", &[StageState::Pending, StageState::Running]),
        Action::Resubmit => rows::resubmit(model, ReuseMode::Auto, effects),
        Action::Force => rows::resubmit(model, ReuseMode::Never, effects),
        Action::Cancel => rows::ask_cancel(model),
        Action::Delete => rows::ask_delete(model),
        Action::Undo => rows::undo(model),
        Action::CopyId => copy_id(model, effects),
        Action::Callbacks => callbacks::open(model, effects),
        Action::Redeliver => callbacks::ask_redeliver(model),
        Action::AllCallbacks => callbacks::toggle_all(model, effects),
        Action::Nodes => nodes::open(model, false, effects),
        Action::Submit => nodes::open(model, true, effects),
        Action::OpenForm => nodes::open_form(model),
        Action::Videos => videos::open(model, effects),
        Action::ShowTask => videos::show_task(model),
        Action::Start => video_actions::ask_start(model, false, effects),
        Action::StartAnew => video_actions::ask_start(model, true, effects),
        Action::Reprocess => video_actions::ask_reprocess(model),
        Action::DeleteVideo => video_actions::ask_delete(model),
        Action::Register => register::open(model),
        Action::NextField
        | Action::PreviousField
        | Action::NextValue
        | Action::PreviousValue
        | Action::Confirm
        | Action::Send => act_in_form(model, spec.action, key, effects),
        Action::Reread => reread(model, effects),
        Action::Redraw => effects.push(Effect::Redraw),
        Action::Suspend => effects.push(Effect::Suspend),
        Action::Help => model.dialog = Some(Dialog::Help { scroll: 0 }),
        Action::Quit => quit(model, effects),
    }
}

fn set_all_expanded(model: &mut Model, is_expanded: bool) {
    model.tree.expanded = match is_expanded {
        true => model.store.tasks().map(|task| task.id.clone()).collect(),
        false => Default::default(),
    };
    model.tree.touched = true;
    model.tree.changed();
}

/// Marks rows of the page.
fn mark(model: &mut Model, action: Action) {
    match (action, model.page) {
        (Action::MarkRange, Page::Callbacks) => callbacks::mark_range(model),
        (Action::MarkAll, Page::Callbacks) => callbacks::mark_all(model),
        (_, Page::Callbacks) => callbacks::mark(model),
        (Action::MarkRange, Page::Videos) => videos::mark_range(model),
        (Action::MarkAll, Page::Videos) => videos::mark_all(model),
        (_, Page::Videos) => videos::mark(model),
        (Action::MarkRange, _) => rows::mark_range(model),
        (Action::MarkAll, _) => rows::mark_all(model),
        _ => rows::mark(model),
    }
}

/// Moves in a form, changes it or sends it.
fn act_in_form(model: &mut Model, action: Action, key: Key, effects: &mut Vec<Effect>) {
    match model.page {
        Page::Register => register::act(model, action, key, effects),
        _ => nodes::act_in_form(model, action, key, effects),
    }
}

/// Reads everything on the page again.
fn reread(model: &mut Model, effects: &mut Vec<Effect>) {
    feed::reread(model, effects);
    match model.page {
        Page::Callbacks => callbacks::fetch(model, effects),
        Page::Nodes => nodes::fetch(model, effects),
        Page::Videos => videos::fetch(model, effects),
        Page::Tasks | Page::Form | Page::Register => {}
    }
}

fn quit(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.deletes.is_empty() || model.quit_asked {
        effects.push(Effect::Quit);
    } else {
        model.quit_asked = true;
        model.say(Tone::Bad, "a delete is not sent yet: again to quit without it, or wait");
    }
}

/// Why nothing can be changed now.
pub fn refused(model: &Model) -> Option<String> {
    if model.read_only {
        return Some("not in a printed frame: it changes nothing".into());
    }
    match &model.link {
        Link::Live => None,
        Link::Connecting => Some("not yet: still connecting".into()),
        Link::Lost {
            missing: MissingPart::Daemon,
            reason,
            ..
        } => Some(format!("not while disconnected: {reason}")),
        Link::Lost {
            missing: MissingPart::Redis,
            reason,
            ..
        } => Some(format!("not while Redis is unavailable: {reason}")),
        Link::Lost {
            missing: MissingPart::Access,
            reason,
            ..
        } => Some(format!("not without access: {reason}")),
    }
}

/// More rows or lines than there are.
const END: isize = 1_000_000_000;

/// Rows or lines that a page key moves by.
fn screenful(model: &Model) -> isize {
    let panes = layout::panes(model.size, model.zoom);
    let rows = match model.page {
        Page::Tasks if model.zoom => panes.detail_rows(),
        Page::Tasks => panes.rows(),
        Page::Callbacks => layout::callbacks(model.size).rows(),
        Page::Nodes => layout::nodes(model.size).rows(),
        Page::Videos => layout::videos(model.size).rows(),
        Page::Form | Page::Register => 1,
    };
    rows.saturating_sub(1).max(1) as isize
}

/// Moves the page's cursor, or what it shows.
pub fn step(model: &mut Model, by: isize) {
    match model.page {
        Page::Tasks if model.zoom => scroll_detail(model, by),
        Page::Tasks => {
            let index = model.tree.index.saturating_add_signed(by);
            model.tree.go(index);
        }
        Page::Callbacks => {
            let list = &mut model.deliveries.list;
            list.go(list.index().saturating_add_signed(by));
        }
        Page::Nodes => {
            let list = &mut model.nodes.list;
            list.go(list.index().saturating_add_signed(by));
            model.nodes.scroll = 0;
        }
        Page::Videos => {
            let list = &mut model.videos.list;
            list.go(list.index().saturating_add_signed(by));
        }
        Page::Form | Page::Register => {}
    }
}

/// Scrolls what is told of the row at the cursor.
fn scroll_beside(model: &mut Model, by: isize) {
    match model.page {
        Page::Nodes => {
            let room = layout::nodes(model.size).item_text();
            let most = model.nodes.at_cursor().map_or(0, |node| card::overflow(node, room));
            model.nodes.scroll = model.nodes.scroll.saturating_add_signed(by).min(most);
        }
        _ => scroll_detail(model, by),
    }
}

fn copy_id(model: &mut Model, effects: &mut Vec<Effect>) {
    let id = match model.page {
        Page::Tasks => model.tree.cursor.as_ref().map(|row| match &row.node {
            Some(node) => node.to_string(),
            None => row.task.to_string(),
        }),
        Page::Callbacks => model.deliveries.list.cursor().cloned(),
        Page::Nodes => model.nodes.list.cursor().map(ToString::to_string),
        Page::Videos => model.videos.list.cursor().map(ToString::to_string),
        Page::Form | Page::Register => None,
    };
    if let Some(id) = id {
        model.say(Tone::Neutral, format!("{id} copied"));
        effects.push(Effect::Copy(id));
    }
}

fn scroll_detail(model: &mut Model, by: isize) {
    // The log is scrolled from its end: down means towards newer lines, which is less.
    let by = if model.detail.tab == Tab::Log { -by } else { by };
    let limit = match (model.detail.tab, &model.detail.text) {
        (Tab::Log, _) => model.detail.log.len(),
        (Tab::Input, Some(text)) => text.input.len(),
        (Tab::Output, Some(text)) => text.output.len(),
        (Tab::Overview | Tab::Reuse, _) => 60,
        _ => 0,
    };
    model.detail.scroll = model
        .detail
        .scroll
        .saturating_add_signed(by)
        .min(limit.saturating_sub(1));
}

fn set_tab(model: &mut Model, by: isize) {
    model.detail.tab = model.detail.tab.step(by);
    model.detail.scroll = 0;
    // What is true of files on disk changes without an event: looked at anew.
    model.detail.reuse_ground = None;
}

fn expand(model: &mut Model) {
    let Some(row) = model.tree.cursor.clone() else {
        return;
    };
    model.tree.touched = true;
    if row.node.is_some() {
        return;
    }
    if model.tree.expanded.insert(row.task.clone()) {
        model.tree.changed();
    } else if model
        .tree
        .rows
        .get(model.tree.index + 1)
        .is_some_and(|next| next.task == row.task)
    {
        step(model, 1);
    }
}

fn collapse(model: &mut Model) {
    let Some(row) = model.tree.cursor.clone() else {
        return;
    };
    model.tree.touched = true;
    if row.node.is_some() {
        model.tree.go_to(&RowId::task(&row.task));
    } else if model.tree.expanded.remove(&row.task) {
        model.tree.changed();
    }
}

fn back(model: &mut Model) {
    if model.page == Page::Form {
        model.page = Page::Nodes;
    } else if model.page == Page::Register {
        model.page = Page::Videos;
    } else if model.page == Page::Videos {
        if model.videos.marks.is_empty() {
            model.page = Page::Tasks;
        } else {
            model.videos.marks.clear();
        }
    } else if model.page == Page::Nodes {
        if model.nodes.filter.is_empty() {
            model.page = Page::Tasks;
        } else {
            model.nodes.filter("");
        }
    } else if model.page == Page::Callbacks {
        if model.deliveries.marks.is_empty() {
            model.page = Page::Tasks;
        } else {
            model.deliveries.marks.clear();
        }
    } else if model.zoom {
        model.zoom = false;
    } else if !model.tree.marks.is_empty() {
        model.tree.marks.clear();
    } else if model.tree.narrowed() {
        model.tree.filter = None;
        model.tree.quick = None;
        model.tree.changed();
    } else {
        model.toast = None;
    }
}
