//! Draws the review before a rerun with changes: each target with what differs, how the result is reused, and what the
//! daemon says of it.

use onceover_wire::ReuseMode;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    block::Lines,
    form,
    frame::open_box,
    text::{put, wrap},
};
use crate::{
    figures,
    model::{
        Model,
        dialog::{Review, ReviewTarget, ReviewedChange},
        form::Form,
    },
    theme::Theme,
};

/// Columns of the box at most.
const MOST_COLUMNS: u16 = 92;

/// Draws the review.
pub fn draw(model: &Model, review: &Review, buffer: &mut Buffer) {
    let theme = model.theme;
    let columns = buffer.area.width.min(MOST_COLUMNS);
    let room = columns.saturating_sub(4);
    let below = list_below(model, room);
    let screen_rows = usize::from(buffer.area.height.saturating_sub(2));
    // What is chosen and the keys come first; what is left is for the differences.
    let spare = screen_rows.saturating_sub(below.len() + 1);
    let lines = list_lines(review, room, theme);
    let visible = lines.len().saturating_sub(review.scroll).min(spare);
    let rows = (visible + below.len() + 1) as u16 + 2;
    let inside = open_box(model, buffer, &describe_title(review), columns, rows);
    let keys_y = inside.bottom().saturating_sub(1);
    let area = Rect {
        height: inside.height.saturating_sub(1),
        ..inside
    };
    let shown = lines.iter().skip(review.scroll).take(visible);
    for ((text, style), y) in shown.chain(&below).zip(area.top()..area.bottom()) {
        put(buffer, area.x, y, area.width, text, *style);
    }
    if inside.height > 0 {
        let hidden = match lines.len() - visible {
            0 => String::new(),
            hidden => format!("↓ ↑ {hidden} more lines · "),
        };
        let keys = format!("{hidden}enter sends it · a auto · s strict · f forced · esc back");
        put(buffer, inside.x, keys_y, inside.width, &keys, theme.faint());
    }
}

/// Says what is reviewed.
fn describe_title(review: &Review) -> String {
    match review.targets.as_slice() {
        [only] => format!("Rerun {} with changes?", only.row),
        many => {
            let stages = figures::count_noun(review.count_sent(), "stage");
            match many.len() - review.count_sent() {
                0 => format!("Rerun {stages} with changes?"),
                left_out => format!("Rerun {stages} with changes? {left_out} left out"),
            }
        }
    }
}

/// Lists the targets with what differs.
fn list_lines(review: &Review, room: u16, theme: Theme) -> Lines {
    let mut lines = Lines::new();
    let is_only = review.targets.len() == 1;
    for target in &review.targets {
        if !is_only {
            lines.push((target.row.to_string(), theme.strong()));
        }
        add_change(target, room, theme, &mut lines);
    }
    lines
}

/// Adds what becomes of a target.
fn add_change(target: &ReviewTarget, room: u16, theme: Theme, lines: &mut Lines) {
    match &target.change {
        ReviewedChange::LeftOut(why) => {
            let text = format!("✖ left out: {why}");
            lines.extend(wrap(&text, room).into_iter().map(|line| (line, theme.bad())));
        }
        ReviewedChange::Differs(differences) if differences.is_empty() => {
            lines.push(("nothing differs from the former run".to_owned(), theme.faint()));
        }
        ReviewedChange::Differs(differences) => {
            lines.extend(
                differences
                    .iter()
                    .map(|difference| (difference.describe(), theme.accent())),
            );
        }
    }
}

/// Lists what is chosen, and what it would do.
fn list_below(model: &Model, room: u16) -> Lines {
    let theme = model.theme;
    let Some(form) = &model.form else {
        return Lines::new();
    };
    let mode = format!("reuse  {}", describe_mode(form));
    let mut lines: Lines = vec![Default::default()];
    lines.extend(wrap(&mode, room).into_iter().map(|line| (line, theme.strong())));
    if let Some((text, style)) = form::describe_outlook(form, &form.list_differences(), theme) {
        lines.extend(wrap(&text, room).into_iter().map(|line| (line, style)));
    }
    lines
}

/// Says what the reuse mode that is chosen does.
fn describe_mode(form: &Form) -> String {
    match form.reuse_mode() {
        None => format!("as the node has it: {}", form.node.reuse.as_str()),
        Some(ReuseMode::Auto) => "auto: a finished result is reused, also of other input".to_owned(),
        Some(ReuseMode::Strict) => "strict: it runs, unless there is a result of the same input".to_owned(),
        Some(ReuseMode::Never) => "forced: it runs, whatever is stored".to_owned(),
    }
}
