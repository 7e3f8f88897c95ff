//! Keys in a dialog, and what a confirmed question does.

use crossterm::event::KeyCode;

use super::{Call, Effect, keys::refused, rows, video_actions};
use crate::{
    key::Key,
    model::{
        Model, PendingDelete, Subject, Tone, UNDO_MS,
        dialog::{Dialog, Question},
    },
};

pub fn press(model: &mut Model, key: Key, effects: &mut Vec<Effect>) {
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
                KeyCode::Down | KeyCode::Up if confirm.choice.is_some() => {
                    if let Some(choice) = &mut confirm.choice {
                        choice.step(if key.code == KeyCode::Down { 1 } else { -1 });
                    }
                }
                KeyCode::PageDown => confirm.scroll += 5,
                KeyCode::PageUp => confirm.scroll = confirm.scroll.saturating_sub(5),
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
            let due = onceover_types::Timestamp::from_millis(model.now.as_millis() + UNDO_MS);
            model.quit_asked = false;
            model.toast = None;
            model.deletes.push(PendingDelete {
                targets: confirm.targets,
                videos: None,
                due,
            });
        }
        Question::Start { .. } | Question::Reprocess | Question::DeleteVideo => {
            video_actions::confirmed(model, confirm, effects);
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
                    (Subject::Row(target.row), call)
                })
                .collect();
            rows::send(model, "cancel", calls, effects);
        }
        Question::Resubmit(reuse) => {
            let stages = confirm.targets.into_iter().map(|target| target.row).collect();
            rows::resubmit_rows(model, stages, reuse, effects);
        }
        Question::Redeliver => {
            let calls = confirm
                .targets
                .into_iter()
                .filter_map(|target| target.delivery)
                .map(|delivery| {
                    let call = Call::Redeliver {
                        id: delivery.id.clone(),
                    };
                    (Subject::Delivery(delivery.id), call)
                })
                .collect();
            rows::send(model, "redeliver", calls, effects);
        }
    }
}
