//! The last line: the filter while it is typed, a pending delete, what just happened, or the keys that
//! make sense now.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{
    figures,
    layout::{Panes, Tier},
    text::{harmless, put, width},
};
use crate::{
    actions::{ActionSpec, on_page},
    model::{Model, Page, Subject, Tone},
};

/// Draws the line; the answer is the place of the text cursor while the filter is typed.
pub fn draw(model: &Model, panes: &Panes, buffer: &mut Buffer) -> Option<Position> {
    let area = panes.footer;
    if area.is_empty() {
        return None;
    }
    let theme = model.theme;
    if let Some(line) = &model.filter_input {
        return filter_line(model, line, area, buffer);
    }
    if let Some(toast) = &model.toast {
        let (sign, style) = match toast.tone {
            Tone::Good => ("✔", theme.good()),
            Tone::Bad => ("✖", theme.bad()),
            Tone::Neutral => ("·", theme.plain()),
        };
        put(
            buffer,
            area.x,
            area.y,
            area.width,
            &format!(" {sign} {}", toast.text),
            style,
        );
        return None;
    }
    if let Some(delete) = model.deletes.last() {
        let left = delete.due.seconds_since(model.now).ceil();
        let tasks = figures::counted(delete.targets.len(), "task");
        put(
            buffer,
            area.x,
            area.y,
            area.width,
            &format!(" ✂ {tasks} will be deleted in {left:.0} s — u undo"),
            theme.bad(),
        );
        return None;
    }
    if let Some(why) = refusal(model) {
        put(
            buffer,
            area.x,
            area.y,
            area.width,
            &format!(" ✖ refused: {why}"),
            theme.bad(),
        );
        return None;
    }
    keys(model, panes, area, buffer);
    None
}

/// Why the last action on what is at the cursor was refused.
fn refusal(model: &Model) -> Option<&String> {
    match model.page {
        Page::Tasks => model.failure_of(model.tree.cursor.as_ref()?),
        Page::Callbacks => {
            let id = model.deliveries.list.cursor()?;
            model.failures.get(&Subject::Delivery(id.clone()))
        }
    }
}

/// The keys, most needed first; help and quit always fit in.
fn keys(model: &Model, panes: &Panes, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let mut specs: Vec<&ActionSpec> = on_page(model.page)
        .filter(|spec| spec.footer.is_some() && (spec.applies)(model))
        // Side by side there is nothing to open, and the place is needed.
        .filter(|spec| spec.name != "open" || panes.tier != Tier::Wide || model.zoom)
        .collect();
    specs.sort_by_key(|spec| spec.footer);
    let needs = |spec: &ActionSpec| width(&spec.keys[0].to_string()) + 1 + width(spec.label) + 2;
    let total = |specs: &[&ActionSpec]| specs.iter().map(|spec| needs(spec)).sum::<u16>();
    // What is least needed goes first: the last one before help and quit.
    while specs.len() > 2 && total(&specs) > area.width {
        specs.remove(specs.len() - 3);
    }
    let mut x = area.x + 1;
    for spec in specs {
        let room = area.right().saturating_sub(x);
        x += put(buffer, x, area.y, room, &spec.keys[0].to_string(), theme.key()) + 1;
        let room = area.right().saturating_sub(x);
        x += put(buffer, x, area.y, room, spec.label, theme.faint()) + 2;
    }
}

fn filter_line(model: &Model, line: &crate::model::FilterInput, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let used = put(buffer, area.x, area.y, area.width, " / ", theme.key());
    let room = area.width.saturating_sub(used);
    let value = harmless(line.input.value());
    let style = if line.error.is_some() {
        theme.bad()
    } else {
        theme.plain()
    };
    let before: String = line.input.value().chars().take(line.input.cursor()).collect();
    let before = harmless(&before);
    // The end that is typed at stays in view.
    let mut start = 0;
    while width(&before[start..]) >= room.max(2) {
        start += before[start..].chars().next().map_or(1, char::len_utf8);
    }
    let columns = put(buffer, area.x + used, area.y, room, &value[start..], style);
    let hint = match &line.error {
        Some(error) => format!("   column {}: {}", error.position, error.message),
        None => format!(
            "   {} · enter keep · esc drop",
            figures::counted(model.tree.shown, "task")
        ),
    };
    let hint_style = if line.error.is_some() {
        theme.bad()
    } else {
        theme.faint()
    };
    put(
        buffer,
        area.x + used + columns,
        area.y,
        room.saturating_sub(columns),
        &hint,
        hint_style,
    );
    let x = area.x + used + width(&before[start..]);
    (x < area.right()).then_some(Position { x, y: area.y })
}
