//! Takes keys and pasted texts: in a dialog, in a line that is typed, else as the action that the registry has for the
//! page.

use std::sync::Arc;

use crossterm::event::KeyCode;

use super::{
    callbacks, compare, copy, cursor, dialog, edit, events, feed, filter_line, json, machine, messages::Effect, nodes,
    pager, palette, past, preview, queues, register, requests, rerun, reveal, rows, sort, stage_log, tabs, task_log,
    timeline, video_actions, videos, watch, workers,
};
use crate::{
    actions::{Action, ActionSpec, find_action, list_actions, list_keys},
    key::Key,
    model::{
        Model, Page, RowId, Tone,
        access::Access,
        detail::Tab,
        dialog::Dialog,
        log_view::LogQuestion,
        observed::QueueRow,
        palette::PaletteTarget,
        pointer::Pointer,
        tree::{ACTIVE_ONLY, PENDING_ONLY},
        workers::WorkerRow,
    },
};

/// More rows or lines than there are.
const END: isize = 1_000_000_000;
/// Lines that the text beside a list is scrolled by.
const SCROLL_LINES: isize = 5;

/// Takes a key.
pub fn press(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    // The user has gone on: what is read only now does not move the cursor.
    if model.store.seq().is_some() {
        model.wanted = None;
    }
    let before = model.page;
    let mut is_back = key.code == KeyCode::Esc;
    // Leaving must work from everywhere.
    if key == Key::ctrl('c') {
        quit(model, effects);
    } else if matches!(model.dialog, Some(Dialog::Palette(_))) {
        if let Some(target) = palette::press(model, key) {
            carry_out_choice(model, target, effects);
        }
    } else if model.dialog.is_some() {
        past::act_on_present(model, |model| dialog::press(model, key, effects));
    } else if model.filter_input.is_some() {
        filter_line::press(model, key);
    } else if model.log_view.input.is_some() {
        stage_log::type_text(model, key);
    } else if model.detail.json_input.is_some() {
        json::type_text(model, key);
    } else if model.page == Page::Nodes && model.nodes.input.is_some() {
        nodes::press_in_filter(model, key, effects);
    } else if model.page == Page::Events && model.events.input.is_some() {
        events::type_text(model, key);
    } else if let Some(spec) = find_action(model.page, key, &model.bindings) {
        is_back |= spec.action == Action::Back;
        act(model, spec, key, effects);
    } else if model.page == Page::Form {
        nodes::type_into_form(model, key);
    } else if model.page == Page::Register {
        register::type_into_form(model, key);
    }
    tabs::follow_page(model, before, is_back, effects);
    model.settle();
}

/// Takes a pasted text, where text can be typed.
pub fn paste(model: &mut Model, text: &str) {
    if matches!(model.dialog, Some(Dialog::Palette(_))) {
        palette::paste(model, text);
    }
    if model.dialog.is_some() {
        return;
    }
    if model.filter_input.is_some() {
        filter_line::paste(model, text);
    } else if model.log_view.input.is_some() {
        stage_log::paste(model, text);
    } else if model.detail.json_input.is_some() {
        json::paste(model, text);
    } else if model.page == Page::Register {
        register::paste(model, text);
    } else if model.page == Page::Events {
        events::paste(model, text);
    } else {
        nodes::paste(model, text);
    }
}

/// Does what was chosen in the palette.
fn carry_out_choice(model: &mut Model, target: PaletteTarget, effects: &mut Vec<Effect>) {
    let page = match &target {
        PaletteTarget::Action(_) => model.page,
        PaletteTarget::Page(_) | PaletteTarget::Task(_) | PaletteTarget::Node(_) => Page::Tasks,
    };
    if page != model.page {
        if model.page == Page::Form {
            nodes::leave_form(model);
        }
        model.page = page;
    }
    match target {
        PaletteTarget::Task(task) => {
            reveal::go_to_row(model, &RowId::task(&Arc::new(task)), effects);
        }
        PaletteTarget::Node(node) => {
            nodes::open_page(model, false, effects);
            model.nodes.list.go_to(&node);
            model.nodes.wanted = Some(node);
        }
        PaletteTarget::Action(name) | PaletteTarget::Page(name) => {
            let spec = list_actions(page).find(|spec| spec.name == name);
            // An action whose keys were taken away can still be chosen.
            let bound = spec.and_then(|spec| list_keys(spec, page, &model.bindings).next().copied());
            let key = bound.or_else(|| spec?.keys.first().copied());
            if let (Some(spec), Some(key)) = (spec, key) {
                act(model, spec, key, effects);
            }
        }
    }
}

/// Carries out an action, unless it changes something and that is refused now.
pub fn act(model: &mut Model, spec: &ActionSpec, key: Key, effects: &mut Vec<Effect>) {
    if spec.action != Action::Quit {
        model.quit_asked = false;
    }
    if spec.needs_change()
        && let Some(reason) = requests::describe_denial(model)
    {
        model.say(Tone::Bad, reason);
        return;
    }
    if !spec.changes {
        return carry_out(model, spec, key, effects);
    }
    let refusal = requests::find_refusal(model).filter(|_| !model.read_only);
    match refusal {
        Some(reason) => model.say(Tone::Bad, reason),
        None => past::act_on_present(model, |model| carry_out(model, spec, key, effects)),
    }
}

fn carry_out(model: &mut Model, spec: &ActionSpec, key: Key, effects: &mut Vec<Effect>) {
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
        Action::ShowTab | Action::Queues | Action::Machine | Action::Workers | Action::Events | Action::CommandLog => {
            tabs::open_by(model, spec.action, key, effects);
        }
        Action::EarlierSample | Action::LaterSample => machine::act(model, spec.action),
        Action::ShowStage => show_stage(model, effects),
        Action::CopyCommand | Action::CopyCurl => copy_command(model, spec.action, effects),
        Action::NextTab => turn_tab(model, 1),
        Action::PreviousTab => turn_tab(model, -1),
        Action::DetailDown => cursor::scroll_text(model, SCROLL_LINES),
        Action::DetailUp => cursor::scroll_text(model, -SCROLL_LINES),
        Action::Mark | Action::MarkRange | Action::MarkAll => mark(model, spec.action),
        Action::Filter => open_filter(model),
        Action::OpenLog => open_log(model, effects),
        Action::WholeTask => task_log::toggle(model, effects),
        Action::ShowResult => preview::open_page(model, effects),
        Action::PreviousFile => preview::step(model, -1),
        Action::NextFile => preview::step(model, 1),
        Action::WholePage => preview::toggle_whole(model),
        Action::SearchLog
        | Action::FilterLog
        | Action::NextMatch
        | Action::PreviousMatch
        | Action::Wrap
        | Action::Times => act_in_log(model, spec.action),
        Action::Left | Action::Right => move_sideways(model, spec.action),
        Action::Timeline => timeline::open_page(model, effects),
        Action::Compare => compare::open_page(model, effects),
        Action::OtherSide => model.compare.turn_side(),
        Action::ZoomIn | Action::ZoomOut | Action::ZoomFit => timeline::act(model, spec.action),
        Action::OpenStage => timeline::open_stage(model),
        Action::NarrowTree => move_split(model, -1),
        Action::WidenTree => move_split(model, 1),
        Action::PendingOnly => model.tree.toggle_quick(&PENDING_ONLY),
        Action::ActiveOnly => model.tree.toggle_quick(&ACTIVE_ONLY),
        Action::Order => sort::toggle_active(model),
        Action::Sort => sort::open_menu(model),
        Action::Freeze | Action::StepBack | Action::StepForward => past::act(model, spec.action),
        Action::Rerun => rerun::open(model, effects),
        Action::EditRequest => edit::open(model, effects),
        Action::EditText => edit::open_editor(model, effects),
        Action::Cancel => rows::ask_cancel(model),
        Action::Delete => rows::ask_delete(model),
        Action::Undo => rows::undo(model),
        Action::CopyId => copy_id(model, effects),
        Action::Watch => watch::toggle(model),
        Action::Callbacks => callbacks::open_page(model, effects),
        Action::Redeliver => callbacks::ask_redeliver(model),
        Action::AllCallbacks => callbacks::toggle_all_tasks(model, effects),
        Action::Nodes => nodes::open_page(model, false, effects),
        Action::Submit => nodes::open_page(model, true, effects),
        Action::OpenForm => nodes::open_form(model, effects),
        Action::RestoreDraft => nodes::restore_draft(model),
        Action::Videos => videos::open_page(model, effects),
        Action::ShowTask => videos::show_task(model, effects),
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
        Action::Mouse => toggle_mouse(model, effects),
        Action::Suspend => effects.push(Effect::Suspend),
        Action::SearchJson
        | Action::Fold
        | Action::FoldAll
        | Action::OpenValue
        | Action::CloseValue
        | Action::CopyMenu
        | Action::OpenPager => act_on_text(model, spec.action, effects),
        Action::Palette => palette::open(model),
        Action::Help => model.dialog = Some(Dialog::Help { scroll: 0 }),
        Action::Quit => quit(model, effects),
    }
}

/// Opens the log of the stage at the cursor, or those of a task's stages.
fn open_log(model: &mut Model, effects: &mut Vec<Effect>) {
    match &model.tree.cursor {
        Some(row) if row.node.is_none() => task_log::open_page(model, effects),
        _ => stage_log::open_page(model),
    }
}

/// Begins to filter what is on the screen; where the tab of the log is open, to search the log.
fn open_filter(model: &mut Model) {
    if model.page == Page::Nodes {
        nodes::open_filter(model);
    } else if model.page == Page::Events {
        events::open_filter(model);
    } else if json::is_shown(model) {
        json::open_search(model);
    } else if model.detail.tab == Tab::Log && model.detail.stage.is_some() {
        stage_log::open_search(model);
    } else {
        filter_line::open_line(model);
    }
}

/// Folds or searches the input or output of a stage, copies of it, or opens it in the pager.
fn act_on_text(model: &mut Model, action: Action, effects: &mut Vec<Effect>) {
    match action {
        Action::CopyMenu => copy::open_menu(model),
        Action::OpenPager => pager::open(model, effects),
        Action::SearchJson => json::open_search(model),
        _ => json::act(model, action),
    }
}

/// Searches the log, filters it, or changes how it is shown.
fn act_in_log(model: &mut Model, action: Action) {
    if model.page == Page::Json {
        json::act(model, action);
        return;
    }
    match action {
        Action::SearchLog => stage_log::ask_text(model, LogQuestion::Search),
        Action::FilterLog => stage_log::ask_text(model, LogQuestion::Filter),
        Action::NextMatch => stage_log::go_to_match(model, true),
        Action::PreviousMatch => stage_log::go_to_match(model, false),
        Action::Wrap => stage_log::toggle_wrap(model),
        Action::Times => stage_log::turn_times(model),
        _ => {}
    }
}

/// Moves sideways: in lines that are not wrapped, in time.
fn move_sideways(model: &mut Model, action: Action) {
    match model.page {
        Page::Timeline => timeline::act(model, action),
        Page::Compare => compare::choose_run(model, action == Action::Left),
        _ => stage_log::scroll_sideways(model, action == Action::Right),
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
        _ if edit::is_sending(model, action) => edit::open_review(model),
        _ => nodes::act_in_form(model, action, key, effects),
    }
}

/// Reads everything on the page again.
fn reread(model: &mut Model, effects: &mut Vec<Effect>) {
    if model.access == Access::ReadToken {
        // Another token may be there by now.
        model.access = Access::Full;
    }
    feed::reread(model, effects);
    feed::reload_page(model, effects);
}

/// Gives the tree more or less of the screen.
fn move_split(model: &mut Model, steps: i16) {
    model.split = model.split.step(steps);
}

/// Takes the mouse, or leaves it to the terminal.
fn toggle_mouse(model: &mut Model, effects: &mut Vec<Effect>) {
    let is_used = !model.pointer.is_used;
    model.pointer = Pointer::new(is_used);
    effects.push(Effect::UseMouse(is_used));
    let text = if is_used {
        "mouse on: click selects, double click opens, the wheel scrolls; shift and drag selects text in most terminals"
    } else {
        "mouse off: the terminal selects text with it"
    };
    model.say(Tone::Neutral, text);
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

/// Copies the id at the cursor; of a file its path.
fn copy_id(model: &mut Model, effects: &mut Vec<Effect>) {
    let id = match model.page {
        Page::Tasks => model.tree.cursor.as_ref().map(|row| match &row.node {
            Some(node) => node.to_string(),
            None => row.task.to_string(),
        }),
        Page::Callbacks => model.deliveries.list.cursor().cloned(),
        Page::Nodes => model.nodes.list.cursor().map(ToString::to_string),
        Page::Videos => model.videos.list.cursor().map(ToString::to_string),
        Page::Timeline => model.timeline.list.cursor().map(ToString::to_string),
        Page::Queues => match model.observed.rows.cursor() {
            Some(QueueRow::Run { row, .. }) => Some(row.task.to_string()),
            Some(QueueRow::Class(name)) => Some(name.clone()),
            None => None,
        },
        Page::Workers => model.workers.list.cursor().map(|row| match row {
            WorkerRow::Queue { name, .. } => name.clone(),
            WorkerRow::Stage { row, .. } => row.task.to_string(),
            WorkerRow::Worker { hostname, .. } => hostname.clone(),
            WorkerRow::Process { node, .. } => node.to_string(),
        }),
        Page::Events => model.events.at_cursor().map(|event| event.row.task.to_string()),
        Page::Preview => model.preview.at_cursor().map(|file| file.path.clone()),
        Page::Form | Page::Register | Page::Log | Page::Compare | Page::Machine | Page::Commands | Page::Json => None,
    };
    if let Some(id) = id {
        copy::send_text(model, id, effects);
    }
}

/// Goes from a row of the page to its stage in the tree.
fn show_stage(model: &mut Model, effects: &mut Vec<Effect>) {
    match model.page {
        Page::Queues => queues::show_stage(model, effects),
        Page::Workers => workers::show_stage(model, effects),
        _ => events::show_row(model, effects),
    }
}

/// Copies the command at the cursor; the one with curl where that is asked for, or where there is no other.
fn copy_command(model: &mut Model, action: Action, effects: &mut Vec<Effect>) {
    let Some(done) = model.commands.at_cursor() else {
        return;
    };
    let command = done.command.as_ref().filter(|_| action == Action::CopyCommand);
    let text = command.unwrap_or(&done.curl).clone();
    copy::send_text(model, text, effects);
}

/// Shows the stages of a task that hides them; else gives the detail the whole screen, or ends that.
fn open_row(model: &mut Model) {
    if !model.zoom && model.has_hidden_stages() {
        expand(model);
    } else if json::is_shown(model) && !model.panes().detail.is_empty() {
        json::open_page(model);
    } else {
        model.zoom = !model.zoom && model.tree.cursor.is_some();
    }
}

/// Goes to the first stage of the task at the cursor.
fn enter_stages(model: &mut Model) {
    let Some(row) = model.tree.cursor.clone() else {
        return;
    };
    model.tree.touched = true;
    if model.tree.expand(&row.task) {
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
    if model.page == Page::Json {
        json::turn_part(model);
        return;
    }
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
    let is_new = model.tree.expand(&row.task);
    let next = model.tree.rows.get(model.tree.index + 1);
    if !is_new && next.is_some_and(|next| next.task == row.task) {
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
    } else {
        model.tree.collapse(&row.task);
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
        Page::Events if !model.events.filter.is_empty() => model.events.set_filter(""),
        Page::Videos
        | Page::Callbacks
        | Page::Nodes
        | Page::Timeline
        | Page::Compare
        | Page::Queues
        | Page::Machine
        | Page::Workers
        | Page::Events
        | Page::Commands => model.page = model.trail.last(),
        Page::Log => stage_log::go_back(model),
        Page::Json => json::go_back(model),
        Page::Preview => preview::go_back(model),
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
    } else if !model.trail.is_empty() {
        model.page = model.trail.last();
    } else {
        model.toast = None;
    }
}
