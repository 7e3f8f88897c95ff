//! Takes keys and pasted texts: in a dialog, in a line that is typed, else as the action that the registry has for the
//! page.

use onceover_types::StageState;

use super::{
    callbacks, cursor, dialog, feed, filter_line, messages::Effect, nodes, past, register, requests, rerun, rows,
    stage_log, video_actions, videos,
};
use crate::{
    actions::{Action, ActionSpec, find_action},
    clipboard, figures,
    key::Key,
    model::{Model, Page, RowId, Tone, detail::Tab, dialog::Dialog, log_view::LogQuestion, tree::TaskOrder},
};

/// More rows or lines than there are.
const END: isize = 1_000_000_000;
/// Lines that the text beside a list is scrolled by.
const SCROLL_LINES: isize = 5;

/// Takes a key.
pub fn press(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    // Leaving must work from everywhere.
    if key == Key::ctrl('c') {
        quit(model, effects);
    } else if model.dialog.is_some() {
        past::act_on_present(model, |model| dialog::press(model, key, effects));
    } else if model.filter_input.is_some() {
        filter_line::press(model, key);
    } else if model.log_view.input.is_some() {
        stage_log::type_text(model, key);
    } else if model.page == Page::Nodes && model.nodes.input.is_some() {
        nodes::press_in_filter(model, key, effects);
    } else if let Some(spec) = find_action(model.page, key) {
        act(model, spec, key, effects);
    } else if model.page == Page::Form {
        nodes::type_into_form(model, key);
    } else if model.page == Page::Register {
        register::type_into_form(model, key);
    }
    model.settle();
}

/// Takes a pasted text, where text can be typed.
pub fn paste(model: &mut Model, text: &str) {
    if model.dialog.is_some() {
        return;
    }
    if model.filter_input.is_some() {
        filter_line::paste(model, text);
    } else if model.log_view.input.is_some() {
        stage_log::paste(model, text);
    } else if model.page == Page::Register {
        register::paste(model, text);
    } else {
        nodes::paste(model, text);
    }
}

/// Carries out an action.
fn act(model: &mut Model, spec: &ActionSpec, key: Key, effects: &mut Vec<Effect>) {
    if spec.action != Action::Quit {
        model.quit_asked = false;
    }
    if spec.changes
        && spec.action != Action::Undo
        && let Some(reason) = requests::find_refusal(model).filter(|_| !model.read_only)
    {
        model.say(Tone::Bad, reason);
        return;
    }
    if spec.changes && spec.action != Action::Undo && model.store.is_frozen() {
        past::act_on_present(model, |model| act(model, spec, key, effects));
        return;
    }
    match spec.action {
        Action::Up => cursor::move_cursor(model, -1),
        Action::Down => cursor::move_cursor(model, 1),
        Action::PageUp => cursor::move_cursor(model, -cursor::count_page_rows(model)),
        Action::PageDown => cursor::move_cursor(model, cursor::count_page_rows(model)),
        Action::First => cursor::move_cursor(model, -END),
        Action::Last => cursor::move_cursor(model, END),
        Action::Expand => expand(model),
        Action::Collapse => collapse(model),
        Action::ExpandAll => set_all_expanded(model, true),
        Action::CollapseAll => set_all_expanded(model, false),
        Action::Open => open_row(model),
        Action::Back => go_back(model),
        Action::NextTab => turn_tab(model, 1),
        Action::PreviousTab => turn_tab(model, -1),
        Action::DetailDown => cursor::scroll_text(model, SCROLL_LINES),
        Action::DetailUp => cursor::scroll_text(model, -SCROLL_LINES),
        Action::Mark | Action::MarkRange | Action::MarkAll => mark(model, spec.action),
        Action::Filter => open_filter(model),
        Action::OpenLog => stage_log::open_page(model),
        Action::SearchLog
        | Action::FilterLog
        | Action::NextMatch
        | Action::PreviousMatch
        | Action::Wrap
        | Action::Times
        | Action::Left
        | Action::Right => act_in_log(model, spec.action),
        Action::NarrowTree => move_split(model, -1),
        Action::WidenTree => move_split(model, 1),
        Action::PendingOnly => model.tree.toggle_quick("pending only", &[StageState::Pending]),
        Action::ActiveOnly => model
            .tree
            .toggle_quick("active only", &[StageState::Pending, StageState::Running]),
        Action::Order => turn_order(model),
        Action::Freeze | Action::StepBack | Action::StepForward => past::act(model, spec.action),
        Action::Rerun => rerun::open(model, effects),
        Action::Cancel => rows::ask_cancel(model),
        Action::Delete => rows::ask_delete(model),
        Action::Undo => rows::undo(model),
        Action::CopyId => copy_id(model, effects),
        Action::Callbacks => callbacks::open_page(model, effects),
        Action::Redeliver => callbacks::ask_redeliver(model),
        Action::AllCallbacks => callbacks::toggle_all_tasks(model, effects),
        Action::Nodes => nodes::open_page(model, false, effects),
        Action::Submit => nodes::open_page(model, true, effects),
        Action::OpenForm => nodes::open_form(model, effects),
        Action::RestoreDraft => nodes::restore_draft(model),
        Action::Videos => videos::open_page(model, effects),
        Action::ShowTask => videos::show_task(model),
        Action::DeleteVideo => video_actions::ask_delete(model),
        Action::Register => register::open_page(model),
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

/// Begins to filter what is on the screen; where the tab of the log is open, to search the log.
fn open_filter(model: &mut Model) {
    if model.page == Page::Nodes {
        nodes::open_filter(model);
    } else if model.detail.tab == Tab::Log && model.detail.stage.is_some() {
        stage_log::open_search(model);
    } else {
        filter_line::open_line(model);
    }
}

/// Searches the log, filters it, or changes how it is shown.
fn act_in_log(model: &mut Model, action: Action) {
    match action {
        Action::SearchLog => stage_log::ask_text(model, LogQuestion::Search),
        Action::FilterLog => stage_log::ask_text(model, LogQuestion::Filter),
        Action::NextMatch => stage_log::go_to_match(model, true),
        Action::PreviousMatch => stage_log::go_to_match(model, false),
        Action::Wrap => stage_log::toggle_wrap(model),
        Action::Times => stage_log::turn_times(model),
        Action::Left => stage_log::scroll_sideways(model, false),
        Action::Right => stage_log::scroll_sideways(model, true),
        _ => {}
    }
}

/// Shows or hides the stages of all tasks.
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
        Page::Register => register::act_in_form(model, action, key, effects),
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
        Page::Tasks | Page::Form | Page::Register | Page::Log => {}
    }
}

/// Gives the tree more or less of the screen.
fn move_split(model: &mut Model, steps: i16) {
    model.split = model.split.step(steps);
}

/// Quits; where a delete is not sent yet, only when asked twice.
fn quit(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.deletes.is_empty() || model.quit_asked {
        effects.push(Effect::Quit);
    } else {
        model.quit_asked = true;
        model.say(Tone::Bad, "a delete is not sent yet: again to quit without it, or wait");
    }
}

/// Copies the id at the cursor.
fn copy_id(model: &mut Model, effects: &mut Vec<Effect>) {
    let id = match model.page {
        Page::Tasks => model.tree.cursor.as_ref().map(|row| match &row.node {
            Some(node) => node.to_string(),
            None => row.task.to_string(),
        }),
        Page::Callbacks => model.deliveries.list.cursor().cloned(),
        Page::Nodes => model.nodes.list.cursor().map(ToString::to_string),
        Page::Videos => model.videos.list.cursor().map(ToString::to_string),
        Page::Form | Page::Register | Page::Log => None,
    };
    if let Some(id) = id {
        copy(model, id, effects);
    }
}

/// Sends a text to the clipboard of the terminal, and shows it: whether it has arrived is not known.
fn copy(model: &mut Model, text: String, effects: &mut Vec<Effect>) {
    if text.len() > clipboard::MOST_BYTES {
        let sentence = format!(
            "not sent to the terminal: {}, at most {} fit",
            figures::format_bytes(text.len() as u64),
            figures::format_bytes(clipboard::MOST_BYTES as u64)
        );
        model.say_above(Tone::Bad, sentence, text);
        return;
    }
    model.say_above(Tone::Neutral, model.multiplexer.describe_copy(), text.clone());
    effects.push(Effect::Copy(text));
}

/// Shows the stages of a task that hides them; else gives the detail the whole screen, or ends that.
fn open_row(model: &mut Model) {
    if !model.zoom && model.has_hidden_stages() {
        expand(model);
    } else {
        model.zoom = !model.zoom && model.tree.cursor.is_some();
    }
}

/// Changes which tasks come first.
fn turn_order(model: &mut Model) {
    let (order, text) = match model.tree.order {
        TaskOrder::ActiveFirst => (TaskOrder::NewestFirst, "ordered: the newest first"),
        TaskOrder::NewestFirst => (
            TaskOrder::ActiveFirst,
            "ordered: what runs, waits or has failed lately first",
        ),
    };
    model.tree.order = order;
    model.tree.changed();
    model.say(Tone::Neutral, text);
}

/// Goes to the first stage of the task at the cursor.
fn enter_stages(model: &mut Model) {
    let Some(row) = model.tree.cursor.clone() else {
        return;
    };
    model.tree.touched = true;
    if model.tree.expanded.insert(row.task.clone()) {
        model.tree.changed();
        model.settle();
    }
    let next = model.tree.index + 1;
    if model.tree.rows.get(next).is_some_and(|next| next.task == row.task) {
        model.tree.go(next);
    } else {
        model.say(Tone::Neutral, "this task has no stage yet");
    }
}

/// Shows the next tab of the detail, or the one before. A task has no tabs: its stages do.
fn turn_tab(model: &mut Model, by: isize) {
    if model.tree.cursor.as_ref().is_some_and(|row| row.node.is_none()) {
        enter_stages(model);
        return;
    }
    model.detail.tab = model.detail.tab.step(by);
    model.detail.scroll = 0;
    model.log_view.top = None;
    // Files on disk change without an event: the reuse decision is asked for again.
    model.detail.reuse_ground = None;
}

/// Shows the stages of the task at the cursor; if they are shown, goes to the first.
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
        cursor::move_cursor(model, 1);
    }
}

/// Goes from a stage to its task; on the task, hides its stages.
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

/// Takes one step back: from what is marked or narrowed on a page, else from the page.
fn go_back(model: &mut Model) {
    match model.page {
        Page::Form => nodes::leave_form(model),
        Page::Register => model.page = Page::Videos,
        Page::Videos if !model.videos.marks.is_empty() => model.videos.marks.clear(),
        Page::Callbacks if !model.deliveries.marks.is_empty() => model.deliveries.marks.clear(),
        Page::Nodes if !model.nodes.filter.is_empty() => model.nodes.set_filter(""),
        Page::Videos | Page::Callbacks | Page::Nodes => model.page = Page::Tasks,
        Page::Log => stage_log::go_back(model),
        Page::Tasks => go_back_in_tree(model),
    }
}

fn go_back_in_tree(model: &mut Model) {
    if model.zoom {
        model.zoom = false;
    } else if past::go_to_present(model) {
        model.toast = None;
    } else if !model.tree.marks.is_empty() {
        model.tree.marks.clear();
    } else if model.tree.is_narrowed() {
        model.tree.show_all();
    } else {
        model.toast = None;
    }
}
