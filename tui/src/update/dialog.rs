//! Takes keys in a dialog, and carries out what a confirmed question asked for.

use crossterm::event::KeyCode;

use super::{
    copy, edit,
    messages::{Call, Effect},
    requests, rerun, rows, sort, video_actions,
};
use crate::{
    key::Key,
    model::{
        Model, Subject, Tone,
        dialog::{Confirm, Dialog, Question, Target},
    },
    view::dialogs,
};

/// Digits that can be typed where the number of targets is asked for.
const MOST_DIGITS: usize = 6;

/// What a key in a question leads to.
enum Answer {
    /// The question stays open.
    Open,
    Yes,
    No,
    /// Yes, but the number of targets is not typed yet.
    CountMissing,
}

/// Takes a key in the dialog that is open.
pub fn press(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
    let most_scroll = match &model.dialog {
        Some(Dialog::Confirm(confirm)) => dialogs::count_hidden_lines(model, confirm),
        Some(Dialog::Help { .. }) => dialogs::count_hidden_help_lines(model),
        Some(Dialog::Rerun(_) | Dialog::Sort(_) | Dialog::Review(_) | Dialog::Palette(_) | Dialog::Copy(_)) | None => 0,
    };
    match &mut model.dialog {
        Some(Dialog::Help { scroll }) => match key.code {
            KeyCode::Down | KeyCode::Char('j') => *scroll = (*scroll + 1).min(most_scroll),
            KeyCode::Up | KeyCode::Char('k') => *scroll = scroll.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => *scroll = (*scroll + 10).min(most_scroll),
            KeyCode::PageUp => *scroll = scroll.saturating_sub(10),
            _ => model.dialog = None,
        },
        Some(Dialog::Rerun(_)) => rerun::press(model, key, effects),
        Some(Dialog::Sort(_)) => sort::press(model, key),
        Some(Dialog::Copy(_)) => copy::press_in_menu(model, key, effects),
        Some(Dialog::Review(_)) => edit::press_in_review(model, key, effects),
        Some(Dialog::Confirm(confirm)) => match press_in_question(confirm, key.code, most_scroll) {
            Answer::Open => {}
            Answer::Yes => carry_out(model, effects),
            Answer::No => model.dialog = None,
            Answer::CountMissing => {
                let text = format!("type {} first, the number of targets", confirm.targets.len());
                model.say(Tone::Bad, text);
            }
        },
        // What is chosen there is carried out by the dispatcher of keys.
        Some(Dialog::Palette(_)) | None => {}
    }
}

/// Moves in a question and types into it.
fn press_in_question(confirm: &mut Confirm, code: KeyCode, most_scroll: usize) -> Answer {
    if let (KeyCode::Down | KeyCode::Up, Some(choice)) = (code, &mut confirm.choice) {
        choice.step(if code == KeyCode::Down { 1 } else { -1 });
        return Answer::Open;
    }
    let needs_count = confirm.needs_count();
    match code {
        KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => confirm.go = !confirm.go,
        KeyCode::Down => confirm.scroll = (confirm.scroll + 1).min(most_scroll),
        KeyCode::Up => confirm.scroll = confirm.scroll.saturating_sub(1),
        KeyCode::PageDown => confirm.scroll = (confirm.scroll + 5).min(most_scroll),
        KeyCode::PageUp => confirm.scroll = confirm.scroll.saturating_sub(5),
        KeyCode::Char(digit @ '0'..='9') if needs_count => {
            if confirm.typed.len() < MOST_DIGITS {
                confirm.typed.push(digit);
            }
            confirm.go = confirm.is_count_given();
        }
        KeyCode::Backspace if needs_count => {
            confirm.typed.pop();
            confirm.go = confirm.is_count_given();
        }
        KeyCode::Char('y') if !needs_count => return Answer::Yes,
        KeyCode::Enter if confirm.go && confirm.is_count_given() => return Answer::Yes,
        KeyCode::Enter if confirm.go => return Answer::CountMissing,
        KeyCode::Enter | KeyCode::Esc | KeyCode::Char('n' | 'q') => return Answer::No,
        _ => {}
    }
    Answer::Open
}

/// Does what the question asked for: to its targets, and to no others.
fn carry_out(model: &mut Model, effects: &mut Vec<Effect>) {
    let Some(Dialog::Confirm(confirm)) = model.dialog.take() else {
        return;
    };
    if requests::refuse_change(model) {
        return;
    }
    match confirm.question {
        Question::Delete => model.delete_later(confirm.targets, None),
        Question::Start { .. } | Question::Reprocess | Question::DeleteVideo => {
            video_actions::carry_out(model, confirm, effects);
        }
        Question::Cancel => {
            let calls = confirm.targets.into_iter().map(make_cancel_call).collect();
            requests::send_batch(model, "cancel", calls, effects);
        }
        Question::Resubmit(reuse) => {
            let stages = confirm.targets.into_iter().map(|target| target.row).collect();
            rows::resubmit_rows(model, stages, reuse, effects);
        }
        Question::Redeliver => {
            let calls = confirm.targets.into_iter().filter_map(make_redeliver_call).collect();
            requests::send_batch(model, "redeliver", calls, effects);
        }
    }
}

fn make_cancel_call(target: Target) -> (Subject, Call) {
    let call = Call::Cancel {
        task: (*target.row.task).clone(),
        node: target.row.node.as_deref().cloned(),
    };
    (Subject::Row(target.row), call)
}

fn make_redeliver_call(target: Target) -> Option<(Subject, Call)> {
    let delivery = target.delivery?;
    let call = Call::Redeliver {
        id: delivery.id.clone(),
    };
    Some((Subject::Delivery(delivery.id), call))
}
