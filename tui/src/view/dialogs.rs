//! Dialogs over the screen: help, made from the registry, and the question before an action.

use onceover_wire::ReuseMode;
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{
    callbacks, figures, frame,
    text::{clear, put, width, wrap},
    video_dialogs,
};
use crate::{
    actions::{Group, keys_text, on_page},
    model::{
        Model,
        dialog::{Confirm, Dialog, Question, Target},
    },
};

pub fn draw(model: &Model, dialog: &Dialog, buffer: &mut Buffer) -> Option<Position> {
    match dialog {
        Dialog::Help { scroll } => {
            help(model, *scroll, buffer);
            None
        }
        Dialog::Confirm(confirm) => question(model, confirm, buffer),
    }
}

fn centred(buffer: &Buffer, columns: u16, rows: u16) -> Rect {
    let area = buffer.area;
    let (columns, rows) = (columns.min(area.width), rows.min(area.height));
    Rect::new(
        area.x + (area.width - columns) / 2,
        area.y + (area.height - rows) / 2,
        columns,
        rows,
    )
}

/// Opens a framed box and returns its inside.
fn open(model: &Model, buffer: &mut Buffer, title: &str, columns: u16, rows: u16) -> Rect {
    let area = centred(buffer, columns, rows);
    clear(buffer, area);
    frame(buffer, area, title, model.theme.accent(), model.theme.strong());
    Rect {
        x: area.x + 2.min(area.width),
        y: area.y + 1.min(area.height),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    }
}

fn help(model: &Model, scroll: usize, buffer: &mut Buffer) {
    let theme = model.theme;
    let columns = buffer.area.width.min(92);
    let room = columns.saturating_sub(4);
    let keys_room = 14.min(room / 3);
    let mut lines: Vec<(String, String, Style)> = Vec::new();
    for group in Group::ALL {
        if on_page(model.page).all(|spec| spec.group != group) {
            continue;
        }
        if !lines.is_empty() {
            lines.push(Default::default());
        }
        lines.push((String::new(), group.title().to_owned(), theme.strong()));
        for spec in on_page(model.page).filter(|spec| spec.group == group) {
            for (index, line) in wrap(spec.help, room.saturating_sub(keys_room)).into_iter().enumerate() {
                let keys = if index == 0 {
                    keys_text(spec, model.page)
                } else {
                    String::new()
                };
                lines.push((keys, line, theme.plain()));
            }
        }
    }
    let legend = "● running  ◌ pending  ✔ done  ✖ failed  ⊘ cancelled  … waits for a step  ↷ skipped  ↺ n answered by reuse  #n attempt  →✔ callback sent  →◌ to be sent  →✖ given up";
    lines.push(Default::default());
    lines.extend(
        wrap(legend, room)
            .into_iter()
            .map(|line| (String::new(), line, theme.faint())),
    );
    let rows = (lines.len() as u16 + 2).min(buffer.area.height);
    let title = "Help · ↑ ↓ scroll, any other key closes";
    let inside = open(model, buffer, title, columns, rows);
    let scroll = scroll.min(lines.len().saturating_sub(usize::from(inside.height)));
    for (index, (keys, line, style)) in lines.iter().skip(scroll).take(usize::from(inside.height)).enumerate() {
        let y = inside.y + index as u16;
        let indent = if keys.is_empty() && (*style == theme.strong() || *style == theme.faint()) {
            0
        } else {
            keys_room
        };
        put(buffer, inside.x, y, keys_room.saturating_sub(1), keys, theme.key());
        put(
            buffer,
            inside.x + indent,
            y,
            inside.width.saturating_sub(indent),
            line,
            *style,
        );
    }
}

fn question(model: &Model, confirm: &Confirm, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let columns = buffer.area.width.min(76);
    let room = columns.saturating_sub(4);
    let consequences: Vec<String> = consequences(model, confirm)
        .iter()
        .flat_map(|line| wrap(line, room))
        .collect();
    let choice = confirm.choice.as_ref().map(video_dialogs::choice);
    let choice = choice.map_or(Vec::new(), |choice| wrap(&choice, room));
    let fixed = consequences.len() + choice.len() + 3 + usize::from(confirm.needs_count()) * 2;
    let height = usize::from(buffer.area.height.saturating_sub(2));
    let lines = target_lines(model, confirm, room);
    // What ends for a video is said before what is always so.
    let of_videos = confirm.targets.iter().any(|target| target.video.is_some());
    let least = if of_videos {
        height.saturating_sub(4 + choice.len()).clamp(1, 7)
    } else {
        1
    };
    let list_rows = lines.len().min(height.saturating_sub(fixed).max(least)).min(12);
    let title = title(confirm);
    let inside = open(model, buffer, &title, columns, (fixed + list_rows + 2) as u16);
    // The buttons are what must be seen, however small the screen.
    let buttons_y = inside.bottom().saturating_sub(1);
    let mut y = inside.y;
    let scroll = confirm.scroll.min(lines.len() - list_rows.min(lines.len()));
    for (name, name_room, about) in lines.iter().skip(scroll).take(list_rows) {
        if y < buttons_y {
            put(
                buffer,
                inside.x,
                y,
                name_room.saturating_sub(u16::from(!about.is_empty())),
                name,
                theme.strong(),
            );
            let x = inside.x + name_room;
            put(buffer, x, y, room.saturating_sub(*name_room), about, theme.plain());
        }
        y += 1;
    }
    for line in &choice {
        if y < buttons_y {
            put(buffer, inside.x, y, inside.width, line, theme.key());
        }
        y += 1;
    }
    y += 1;
    for line in &consequences {
        if y < buttons_y {
            put(buffer, inside.x, y, inside.width, line, theme.plain());
        }
        y += 1;
    }
    let mut cursor = None;
    if confirm.needs_count() {
        y += 1;
        if y < buttons_y {
            let ask = format!("Type {} to go on: {}", confirm.targets.len(), confirm.typed);
            let used = put(buffer, inside.x, y, inside.width, &ask, theme.warn());
            cursor = Some(Position {
                x: (inside.x + used).min(buffer.area.right() - 1),
                y,
            });
        }
    }
    if buttons_y >= inside.y && inside.height > 0 {
        let (leave, verb) = (confirm.leave(), confirm.verb());
        let button = |text: &str, focus: bool| {
            if focus {
                format!("[ {text} ]")
            } else {
                format!("  {text}  ")
            }
        };
        let style = |focus: bool| if focus { theme.cursor() } else { theme.plain() };
        let (leave, verb) = (button(leave, !confirm.go), button(verb, confirm.go));
        let total = width(&leave) + 3 + width(&verb);
        let mut x = inside.x + inside.width.saturating_sub(total) / 2;
        x += put(buffer, x, buttons_y, inside.width, &leave, style(!confirm.go)) + 3;
        put(
            buffer,
            x,
            buttons_y,
            inside.right().saturating_sub(x),
            &verb,
            style(confirm.go),
        );
    }
    cursor
}

/// What is acted on, line by line: its name, the room that takes, what there is to say of it.
fn target_lines(model: &Model, confirm: &Confirm, room: u16) -> Vec<(String, u16, String)> {
    let names = confirm.targets.iter().map(|target| width(&target.row.to_string()));
    let name_room = (names.max().unwrap_or(0) + 2).min(room / 2);
    let mut lines = Vec::new();
    for target in &confirm.targets {
        match (&target.delivery, &target.video) {
            (None, Some(video)) => {
                lines.push((video.id.to_string(), room, String::new()));
                let about = video_dialogs::about(confirm.question, target);
                let about = about.iter().flat_map(|line| wrap(line, room.saturating_sub(2)));
                lines.extend(about.map(|line| (String::new(), 2, line)));
            }
            (None, None) => {
                lines.push((target.row.to_string(), name_room, what_goes(confirm.question, target)));
            }
            // Where it goes is shown whole, whatever its length.
            (Some(delivery), _) => {
                lines.extend(
                    wrap(&delivery.url, room)
                        .into_iter()
                        .map(|line| (line, room, String::new())),
                );
                let about = [
                    format!("{}: {} ({})", target.row, delivery.status, delivery.id),
                    callbacks::so_far(model, delivery),
                ];
                let about = about.iter().flat_map(|line| wrap(line, room.saturating_sub(2)));
                lines.extend(about.map(|line| (String::new(), 2, line)));
            }
        }
    }
    lines
}

fn title(confirm: &Confirm) -> String {
    let count = confirm.targets.len();
    match confirm.question {
        Question::Delete => format!("Delete {}?", figures::counted(count, "task")),
        Question::Cancel => {
            let runs: usize = confirm
                .targets
                .iter()
                .map(|target| target.pending + target.running)
                .sum();
            match runs {
                0 => format!("Cancel {}?", figures::counted(count, "pipeline")),
                runs => format!("Cancel {}?", figures::counted(runs, "stage")),
            }
        }
        Question::Resubmit(ReuseMode::Never) => {
            format!("Force {} to run again?", figures::counted(count, "stage"))
        }
        Question::Resubmit(_) => format!("Resubmit {}?", figures::counted(count, "stage")),
        Question::Redeliver => format!("Send {} again?", figures::counted(count, "callback")),
        question => video_dialogs::title(question, count),
    }
}

fn what_goes(question: Question, target: &Target) -> String {
    let flight = match (target.running, target.pending) {
        (0, 0) => String::new(),
        (running, 0) => format!(" · {running} running, will be ended"),
        (0, pending) => format!(" · {pending} pending, will be cancelled"),
        (running, pending) => format!(" · {running} running, {pending} pending, will be ended"),
    };
    match question {
        Question::Resubmit(_) => flight
            .trim_start_matches(" · ")
            .replace(", will be ended", "")
            .replace(", will be cancelled", ""),
        Question::Cancel => flight.trim_start_matches(" · ").to_owned(),
        Question::Delete => format!("{}{flight}", figures::counted(target.stages, "stage")),
        _ => String::new(),
    }
}

/// Whether a pipeline is under way in the task of a target.
fn pipelines_end(model: &Model, confirm: &Confirm) -> bool {
    let mut tasks = confirm
        .targets
        .iter()
        .filter_map(|target| model.store.get(&target.row.task));
    tasks.any(|task| task.under_way().is_some())
}

fn consequences(model: &Model, confirm: &Confirm) -> Vec<String> {
    match confirm.question {
        Question::Delete => {
            let folder = match (&model.system, confirm.targets.as_slice()) {
                (Some(system), [only]) => format!("{}/{}", system.share.trim_end_matches('/'), only.row.task),
                (Some(system), _) => format!("{}/<task>", system.share.trim_end_matches('/')),
                (None, _) => "the task folder".into(),
            };
            let mut lines = vec![
                format!("Removed for good: the Redis records of every stage, and all files and logs below {folder}."),
                "Inputs outside the task folder stay.".to_owned(),
            ];
            if confirm.targets.iter().any(|target| target.running > 0) {
                lines.push("Running processes are ended first.".into());
            }
            if pipelines_end(model, confirm) {
                lines.push("A pipeline that is under way ends; the video stays registered.".into());
            }
            lines
        }
        Question::Cancel => {
            let mut lines = vec![
                "The processes are ended and what they wrote so far is not used. Finished stages, and a former result that stands, stay.".into(),
            ];
            if pipelines_end(model, confirm) {
                lines.push("The pipeline ends with it: steps that have not begun do not begin.".into());
            }
            lines
        }
        Question::Resubmit(ReuseMode::Never) => vec![
            "Each runs again whatever is stored; its former result stands until the new one succeeds.".into(),
        ],
        Question::Resubmit(_) => vec![
            "Each is asked for again with its stored request: a finished result is reused, a run in flight is joined, the rest runs.".into(),
        ],
        Question::Start { .. } | Question::Reprocess | Question::DeleteVideo => {
            video_dialogs::consequences(model, confirm)
        }
        Question::Redeliver => vec![
            "The daemon posts the same body with the same webhook-id, its tries counted from the first. A receiver that got it before gets it twice.".into(),
        ],
    }
}
