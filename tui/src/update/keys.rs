//! What a key press does: in a dialog, in the filter line, else the action the registry names.

use crossterm::event::KeyCode;
use onceover_common::{StageState, wire::ReuseMode};
use tui_input::InputRequest;

use super::{Call, Effect, feed};
use crate::{
    actions::{Action, ActionSpec, Key, action_of},
    model::{
        Batch, FilterInput, Link, Missing, Model, PendingDelete, RowId, Tone, UNDO_MS, UnderWay,
        detail::Tab,
        dialog::{Confirm, Dialog, Question, Target},
        filter::Filter,
    },
    view::layout,
};

pub fn press(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    // Leaving must work from everywhere.
    if key == Key::ctrl('c') {
        quit(model, effects);
    } else if model.dialog.is_some() {
        in_dialog(model, key, effects);
    } else if model.filter_input.is_some() {
        in_filter(model, key);
    } else if let Some(spec) = action_of(key) {
        act(model, spec, effects);
    }
    model.settle();
}

pub fn paste(model: &mut Model, text: &str) {
    if model.dialog.is_none() && model.filter_input.is_some() {
        for c in text.chars().filter(|c| !c.is_control()) {
            edit(model, InputRequest::InsertChar(c));
        }
        apply_filter(model);
    }
}

fn in_filter(model: &mut Model, key: Key) {
    let request = match (key.code, key.ctrl) {
        (KeyCode::Enter, _) => {
            let wrong = model
                .filter_input
                .as_ref()
                .and_then(|line| line.error.as_ref())
                .map(|error| format!("filter, column {}: {}", error.position, error.message));
            match wrong {
                Some(text) => model.say(Tone::Bad, text),
                None => model.filter_input = None,
            }
            return;
        }
        (KeyCode::Esc, _) => {
            if let Some(line) = model.filter_input.take() {
                model.tree.filter = line.before;
                model.tree.changed();
            }
            return;
        }
        (KeyCode::Char('w'), true) => InputRequest::DeletePrevWord,
        (KeyCode::Char('u'), true) => InputRequest::DeleteLine,
        (KeyCode::Char('a'), true) | (KeyCode::Home, _) => InputRequest::GoToStart,
        (KeyCode::Char('e'), true) | (KeyCode::End, _) => InputRequest::GoToEnd,
        (KeyCode::Char(c), false) if !c.is_control() => InputRequest::InsertChar(c),
        (KeyCode::Backspace, _) => InputRequest::DeletePrevChar,
        (KeyCode::Delete, _) => InputRequest::DeleteNextChar,
        (KeyCode::Left, _) => InputRequest::GoToPrevChar,
        (KeyCode::Right, _) => InputRequest::GoToNextChar,
        _ => return,
    };
    edit(model, request);
    apply_filter(model);
}

fn edit(model: &mut Model, request: InputRequest) {
    if let Some(line) = &mut model.filter_input {
        line.input.handle(request);
    }
}

/// A filter that cannot be understood leaves the former result on screen.
fn apply_filter(model: &mut Model) {
    let Some(line) = &mut model.filter_input else {
        return;
    };
    match Filter::parse(line.input.value()) {
        Ok(filter) => {
            line.error = None;
            model.tree.filter = filter;
            model.tree.changed();
        }
        Err(error) => line.error = Some(error),
    }
}

fn in_dialog(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    match &mut model.dialog {
        Some(Dialog::Help { scroll }) => match key.code {
            KeyCode::Down | KeyCode::Char('j') => *scroll += 1,
            KeyCode::Up | KeyCode::Char('k') => *scroll = scroll.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => *scroll += 10,
            KeyCode::PageUp => *scroll = scroll.saturating_sub(10),
            _ => model.dialog = None,
        },
        Some(Dialog::Confirm(confirm)) => {
            let needs_count = confirm.needs_count();
            match key.code {
                KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => confirm.go = !confirm.go,
                KeyCode::Down => confirm.scroll += 1,
                KeyCode::Up => confirm.scroll = confirm.scroll.saturating_sub(1),
                KeyCode::Char(c @ '0'..='9') if needs_count => {
                    if confirm.typed.len() < 6 {
                        confirm.typed.push(c);
                    }
                    confirm.go = confirm.count_given();
                }
                KeyCode::Backspace if needs_count => {
                    confirm.typed.pop();
                    confirm.go = confirm.count_given();
                }
                KeyCode::Char('y') if !needs_count => confirmed(model, effects),
                KeyCode::Enter if confirm.go && confirm.count_given() => confirmed(model, effects),
                KeyCode::Enter if confirm.go => {
                    let text = format!("type {} first, the number of targets", confirm.targets.len());
                    model.say(Tone::Bad, text);
                }
                KeyCode::Enter | KeyCode::Esc | KeyCode::Char('n' | 'q') => model.dialog = None,
                _ => {}
            }
        }
        None => {}
    }
}

/// The dialog's answer was yes: its targets, and no others, are acted on.
fn confirmed(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(Dialog::Confirm(confirm)) = model.dialog.take() else {
        return;
    };
    if let Some(reason) = refused(model) {
        model.say(Tone::Bad, reason);
        return;
    }
    match confirm.question {
        Question::Delete => {
            let due = onceover_common::Timestamp::from_millis(model.now.as_millis() + UNDO_MS);
            model.quit_asked = false;
            model.toast = None;
            model.deletes.push(PendingDelete {
                targets: confirm.targets,
                due,
            });
        }
        Question::Cancel => {
            let calls = confirm
                .targets
                .into_iter()
                .map(|target| {
                    let call = Call::Cancel {
                        task: (*target.row.task).clone(),
                        node: target.row.node.as_deref().cloned(),
                    };
                    (target.row, call)
                })
                .collect();
            send(model, "cancel", calls, effects);
        }
        Question::Resubmit(reuse) => {
            let rows = confirm.targets.into_iter().map(|target| target.row).collect();
            resubmit_rows(model, rows, reuse, effects);
        }
    }
}

fn act(model: &mut Model, spec: &ActionSpec, effects: &mut Vec<Effect>) {
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
        Action::Up if model.zoom => scroll_detail(model, -1),
        Action::Down if model.zoom => scroll_detail(model, 1),
        Action::PageUp if model.zoom => scroll_detail(model, -page(model)),
        Action::PageDown if model.zoom => scroll_detail(model, page(model)),
        Action::First if model.zoom => scroll_detail(model, -1_000_000),
        Action::Last if model.zoom => scroll_detail(model, 1_000_000),
        Action::Up => step(model, -1),
        Action::Down => step(model, 1),
        Action::PageUp => step(model, -page(model)),
        Action::PageDown => step(model, page(model)),
        Action::First => model.tree.go(0),
        Action::Last => model.tree.go(usize::MAX),
        Action::Expand => expand(model),
        Action::Collapse => collapse(model),
        Action::ExpandAll => {
            model.tree.expanded = model.store.tasks().map(|task| task.id.clone()).collect();
            model.tree.touched = true;
            model.tree.changed();
        }
        Action::CollapseAll => {
            model.tree.expanded.clear();
            model.tree.touched = true;
            model.tree.changed();
        }
        Action::Open => model.zoom = !model.zoom && model.tree.cursor.is_some(),
        Action::Back => back(model),
        Action::NextTab => set_tab(model, 1),
        Action::PreviousTab => set_tab(model, -1),
        Action::DetailDown => scroll_detail(model, 5),
        Action::DetailUp => scroll_detail(model, -5),
        Action::Mark => mark(model),
        Action::MarkRange => mark_range(model),
        Action::MarkAll => mark_all(model),
        Action::Filter => open_filter(model),
        Action::PendingOnly => model.tree.toggle_quick("pending only", &[StageState::Pending]),
        Action::ActiveOnly => model
            .tree
            .toggle_quick("active only", &[StageState::Pending, StageState::Running]),
        Action::Resubmit => resubmit(model, ReuseMode::Auto, effects),
        Action::Force => resubmit(model, ReuseMode::Never, effects),
        Action::Cancel => ask_cancel(model),
        Action::Delete => ask_delete(model),
        Action::Undo => undo(model),
        Action::CopyId => {
            if let Some(row) = &model.tree.cursor {
                let id = row
                    .node
                    .as_ref()
                    .map_or(row.task.as_str(), |node| node.as_str())
                    .to_owned();
                model.say(Tone::Neutral, format!("{id} copied"));
                effects.push(Effect::Copy(id));
            }
        }
        Action::Reread => feed::reread(model, effects),
        Action::Redraw => effects.push(Effect::Redraw),
        Action::Suspend => effects.push(Effect::Suspend),
        Action::Help => model.dialog = Some(Dialog::Help { scroll: 0 }),
        Action::Quit => quit(model, effects),
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
fn refused(model: &Model) -> Option<String> {
    if model.read_only {
        return Some("not in a printed frame: it changes nothing".into());
    }
    match &model.link {
        Link::Live => None,
        Link::Connecting => Some("not yet: still connecting".into()),
        Link::Lost {
            missing: Missing::Daemon,
            reason,
            ..
        } => Some(format!("not while disconnected: {reason}")),
        Link::Lost {
            missing: Missing::Redis,
            reason,
            ..
        } => Some(format!("not while Redis is away: {reason}")),
        Link::Lost {
            missing: Missing::Access,
            reason,
            ..
        } => Some(format!("not without access: {reason}")),
    }
}

fn page(model: &Model) -> isize {
    let panes = layout::panes(model.size, model.zoom);
    let rows = if model.zoom { panes.detail_rows() } else { panes.rows() };
    rows.saturating_sub(1).max(1) as isize
}

fn step(model: &mut Model, by: isize) {
    let index = model.tree.index.saturating_add_signed(by);
    model.tree.go(index);
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
    if model.zoom {
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

fn open_filter(model: &mut Model) {
    model.zoom = false;
    let before = model.tree.filter.clone();
    let text = before.as_ref().map_or(String::new(), |filter| filter.text.clone());
    model.filter_input = Some(FilterInput {
        input: tui_input::Input::new(text),
        before,
        error: None,
    });
}

fn mark(model: &mut Model) {
    let Some(row) = model.tree.cursor.clone() else {
        return;
    };
    if !model.tree.marks.remove(&row) {
        model.tree.marks.insert(row.clone());
    }
    model.tree.mark_anchor = Some(row);
    step(model, 1);
}

fn mark_range(model: &mut Model) {
    let anchor = model.tree.mark_anchor.clone();
    let from = anchor
        .and_then(|anchor| model.tree.rows.iter().position(|row| *row == anchor))
        .unwrap_or(model.tree.index);
    let (low, high) = (from.min(model.tree.index), from.max(model.tree.index));
    let rows: Vec<_> = model.tree.rows.iter().skip(low).take(high - low + 1).cloned().collect();
    model.tree.marks.extend(rows);
}

fn mark_all(model: &mut Model) {
    if !model.tree.marks.is_empty() {
        model.tree.marks.clear();
        return;
    }
    let rows: Vec<_> = model
        .tree
        .rows
        .iter()
        .filter(|row| row.node.is_none())
        .cloned()
        .collect();
    model.tree.marks.extend(rows);
}

fn target(model: &Model, row: RowId) -> Option<Target> {
    let task = model.store.get(&row.task)?;
    let stages: Vec<_> = task
        .stages
        .iter()
        .filter(|(node, _)| row.node.as_ref().is_none_or(|wanted| wanted == *node))
        .map(|(_, stage)| stage.status)
        .collect();
    let count = |state| stages.iter().filter(|status| **status == state).count();
    Some(Target {
        stages: stages.len(),
        pending: count(StageState::Pending),
        running: count(StageState::Running),
        row,
    })
}

fn ask(model: &mut Model, question: Question, rows: impl IntoIterator<Item = RowId>) {
    let targets = rows.into_iter().filter_map(|row| target(model, row)).collect();
    model.dialog = Some(Dialog::Confirm(Confirm::new(question, targets)));
}

fn ask_cancel(model: &mut Model) {
    let subjects = model.subjects();
    // A marked task takes its own marked stages in.
    let rows: Vec<_> = subjects
        .iter()
        .filter(|row| row.node.is_none() || !subjects.contains(&RowId::task(&row.task)))
        .filter(|row| model.in_flight(row))
        .cloned()
        .collect();
    if rows.is_empty() {
        model.say(Tone::Neutral, "nothing to cancel: nothing waits or runs here");
        return;
    }
    ask(model, Question::Cancel, rows);
}

fn ask_delete(model: &mut Model) {
    let mut rows: Vec<_> = model
        .subjects()
        .into_iter()
        .map(|row| RowId::task(&row.task))
        .filter(|row| model.delete_due(&row.task).is_none() && !model.is_requested(row))
        .collect();
    rows.dedup();
    if rows.is_empty() {
        model.say(Tone::Neutral, "nothing to delete that is not being acted on already");
        return;
    }
    ask(model, Question::Delete, rows);
}

fn undo(model: &mut Model) {
    match model.deletes.pop() {
        Some(delete) => {
            let text = format!("taken back: {} not deleted", counted(delete.targets.len(), "task"));
            model.say(Tone::Good, text);
        }
        None => model.say(Tone::Neutral, "nothing to take back"),
    }
}

fn resubmit(model: &mut Model, reuse: ReuseMode, effects: &mut Vec<Effect>) {
    let subjects = model.subjects();
    let mut rows: Vec<_> = subjects.iter().filter_map(|row| model.newest_stage_of(row)).collect();
    rows.sort();
    rows.dedup();
    rows.retain(|row| !model.under_way.contains_key(row));
    if rows.is_empty() {
        model.say(Tone::Neutral, "nothing to resubmit that has not been asked for already");
    } else if rows.len() > 1 {
        ask(model, Question::Resubmit(reuse), rows);
    } else {
        resubmit_rows(model, rows, reuse, effects);
    }
}

fn resubmit_rows(model: &mut Model, rows: Vec<RowId>, reuse: ReuseMode, effects: &mut Vec<Effect>) {
    if let Some(reason) = refused(model) {
        model.say(Tone::Bad, reason);
        return;
    }
    let calls = rows
        .into_iter()
        .filter_map(|row| {
            let node = row.node.as_deref().cloned()?;
            let call = Call::Resubmit {
                task: (*row.task).clone(),
                node,
                reuse,
            };
            Some((row, call))
        })
        .collect();
    let verb = if reuse == ReuseMode::Never {
        "force rerun"
    } else {
        "resubmit"
    };
    send(model, verb, calls, effects);
}

/// Sends one call a row; the rows show "requested" until the answers are in.
pub fn send(model: &mut Model, verb: &'static str, calls: Vec<(RowId, Call)>, effects: &mut Vec<Effect>) {
    let batch = model.new_id();
    let mut total = 0;
    for (row, call) in calls {
        if model.under_way.contains_key(&row) {
            continue;
        }
        let request = model.new_id();
        model.failures.remove(&row);
        model.under_way.insert(row, UnderWay { request, batch });
        effects.push(Effect::Call { id: request, call });
        total += 1;
    }
    if total > 0 {
        model.batches.insert(
            batch,
            Batch {
                verb,
                total,
                ..Batch::default()
            },
        );
    }
}

/// `1 task`, `2 tasks`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
