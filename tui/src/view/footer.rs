//! Draws the last line: the filter while it is typed, a pending delete, the outcome of an action, or the keys that make
//! sense now.

use std::ops::Range;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{
    events, line,
    text::{clear, harmless, put, put_right, width, wrap},
};
use crate::{
    actions::{Action, ActionSpec, format_first_key, list_keys, list_offered},
    figures,
    layout::{Panes, Tier},
    model::{
        Model, Page, PendingDelete, RowId, Subject, Toast, Tone,
        filter::FilterError,
        log_view::{LogInput, LogQuestion},
        observed::QueueRow,
        workers::WorkerRow,
    },
};

/// What the line says.
enum FooterLine<'a> {
    /// What is typed on the page of a log.
    LogInput(&'a LogInput),
    /// The filter of the events while it is typed.
    EventsFilter(&'a tui_input::Input),
    /// The filter while it is typed.
    Filter,
    Toast(&'a Toast),
    Delete(&'a PendingDelete),
    Refusal(&'a str),
    Warning(&'a str),
    Keys,
}

impl<'a> FooterLine<'a> {
    /// Chooses what the line says now.
    fn choose(model: &'a Model) -> Self {
        if let Some(typed) = &model.log_view.input {
            return Self::LogInput(typed);
        }
        if let Some(input) = model.events.input.as_ref().filter(|_| model.page == Page::Events) {
            return Self::EventsFilter(input);
        }
        if model.filter_input.is_some() || model.page == Page::Nodes && model.nodes.input.is_some() {
            return Self::Filter;
        }
        if let Some(toast) = &model.toast {
            return Self::Toast(toast);
        }
        if let Some(delete) = model.deletes.last() {
            return Self::Delete(delete);
        }
        if let Some(why) = find_refusal(model) {
            return Self::Refusal(why);
        }
        let warning = model.tree.cursor.as_ref().and_then(|row| model.warning_of(row));
        match warning.filter(|_| model.page == Page::Tasks) {
            Some(warning) => Self::Warning(warning),
            None => Self::Keys,
        }
    }
}

/// What a click on the line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FooterTarget {
    Action(Action),
    /// The sentence, which can go.
    Sentence,
}

/// Finds what is drawn in a column of the line.
pub fn find_target(model: &Model, panes: &Panes, column: u16) -> Option<FooterTarget> {
    match FooterLine::choose(model) {
        FooterLine::Toast(_) => Some(FooterTarget::Sentence),
        FooterLine::Delete(_) => Some(FooterTarget::Action(Action::Undo)),
        FooterLine::Keys => list_places(model, panes, panes.footer)
            .into_iter()
            .find(|place| place.columns.contains(&column))
            .map(|place| FooterTarget::Action(place.spec.action)),
        _ => None,
    }
}

/// Draws the line. Returns where the text cursor is while the filter is typed.
pub fn draw(model: &Model, panes: &Panes, buffer: &mut Buffer) -> Option<Position> {
    let area = panes.footer;
    if area.is_empty() {
        return None;
    }
    let theme = model.theme;
    let say = |buffer: &mut Buffer, text: &str, style: Style| {
        put(buffer, area.x, area.y, area.width, text, style);
    };
    match FooterLine::choose(model) {
        FooterLine::LogInput(typed) => return draw_log_line(model, typed, area, buffer),
        FooterLine::EventsFilter(input) => return events::draw_filter_line(model, input, area, buffer),
        FooterLine::Filter => return draw_filter_line(model, area, buffer),
        FooterLine::Toast(toast) => {
            let (sign, style) = match toast.tone {
                Tone::Good => ("✔", theme.good()),
                Tone::Bad => ("✖", theme.bad()),
                Tone::Warned => ("!", theme.warn()),
                Tone::Neutral => ("·", theme.plain()),
            };
            say(buffer, &format!(" {sign} {}", toast.text), style);
            if let Some(text) = &toast.selectable {
                draw_selectable(model, text, area, buffer);
            }
        }
        FooterLine::Delete(delete) => {
            let left = delete.due.seconds_since(model.now).ceil();
            let tasks = figures::count_noun(delete.targets.len(), delete.noun());
            let undo = format_first_key(Action::Undo, model.page, &model.bindings);
            say(
                buffer,
                &format!(" ✂ {tasks} will be deleted in {left:.0} s — {undo} undo"),
                theme.bad(),
            );
        }
        FooterLine::Refusal(why) => say(buffer, &format!(" ✖ refused: {why}"), theme.bad()),
        FooterLine::Warning(warning) => say(buffer, &format!(" ! {warning}"), theme.warn()),
        FooterLine::Keys => draw_keys(model, panes, area, buffer),
    }
    None
}

/// Draws a text on whole lines above the footer, so that the mouse can select it and nothing beside it.
fn draw_selectable(model: &Model, text: &str, footer: Rect, buffer: &mut Buffer) {
    let lines = wrap(text, footer.width);
    let room = usize::from(footer.y / 2);
    let height = lines.len().min(room) as u16;
    let area = Rect {
        y: footer.y - height,
        height,
        ..footer
    };
    clear(buffer, area);
    for (line, y) in lines.iter().zip(area.top()..area.bottom()) {
        put(buffer, area.x, y, area.width, line, model.theme.strong());
    }
}

/// Returns why the last action on what is at the cursor was refused.
fn find_refusal(model: &Model) -> Option<&String> {
    match model.page {
        Page::Tasks => model.failure_of(model.tree.cursor.as_ref()?),
        Page::Callbacks => {
            let id = model.deliveries.list.cursor()?;
            model.failures.get(&Subject::Delivery(id.clone()))
        }
        Page::Videos => {
            let video = model.videos.at_cursor()?;
            model
                .failures
                .get(&Subject::Row(RowId::task(&video.task_id.clone().into())))
        }
        Page::Queues => match model.observed.rows.cursor()? {
            QueueRow::Run { row, .. } => model.failure_of(row),
            QueueRow::Class(_) => None,
        },
        Page::Workers => match model.workers.list.cursor()? {
            WorkerRow::Stage { row, .. } => model.failure_of(row),
            WorkerRow::Queue { .. } | WorkerRow::Worker { .. } | WorkerRow::Process { .. } => None,
        },
        Page::Nodes
        | Page::Form
        | Page::Register
        | Page::Log
        | Page::Timeline
        | Page::Compare
        | Page::Machine
        | Page::Events
        | Page::Commands
        | Page::Json
        | Page::Preview => None,
    }
}

/// An action in the line, and the columns where it stands.
struct KeyPlace {
    spec: &'static ActionSpec,
    key: String,
    columns: Range<u16>,
}

/// Lists the keys that fit, most needed first; help and quit always do.
fn list_places(model: &Model, panes: &Panes, area: Rect) -> Vec<KeyPlace> {
    let mut specs: Vec<(&'static ActionSpec, String)> = list_offered(model)
        .filter(|spec| spec.footer.is_some() && (spec.applies)(model))
        // Side by side nothing is opened but a task's stages, and the columns are needed.
        .filter(|spec| {
            spec.action != Action::Open || panes.tier != Tier::Wide || model.zoom || model.has_hidden_stages()
        })
        .filter_map(|spec| {
            let key = list_keys(spec, model.page, &model.bindings).next()?;
            Some((spec, key.to_string()))
        })
        .collect();
    specs.sort_by_key(|(spec, _)| spec.footer);
    let needs = |(spec, key): &(&'static ActionSpec, String)| width(key) + 1 + width(spec.label) + 2;
    let total = |specs: &[(&'static ActionSpec, String)]| specs.iter().map(needs).sum::<u16>();
    // The least needed one is dropped first: the last one before help and quit.
    while specs.len() > 2 && total(&specs) > area.width {
        specs.remove(specs.len() - 3);
    }
    let mut x = area.x + 1;
    let mut places = Vec::new();
    for (spec, key) in specs {
        let columns = needs(&(spec, key.clone()));
        places.push(KeyPlace {
            spec,
            key,
            columns: x..x + columns.saturating_sub(2),
        });
        x += columns;
    }
    places
}

/// Draws the keys.
fn draw_keys(model: &Model, panes: &Panes, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    for place in list_places(model, panes, area) {
        let x = place.columns.start;
        let room = area.right().saturating_sub(x);
        let used = put(buffer, x, area.y, room, &place.key, theme.key()) + 1;
        put(
            buffer,
            x + used,
            area.y,
            room.saturating_sub(used),
            place.spec.label,
            theme.faint(),
        );
    }
}

/// Draws what is typed on the page of a log. Returns where the text cursor is.
fn draw_log_line(model: &Model, typed: &LogInput, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let (label, hint) = match typed.question {
        LogQuestion::Search => {
            let [next, previous] = [Action::NextMatch, Action::PreviousMatch]
                .map(|action| format_first_key(action, Page::Log, &model.bindings));
            let then = match next.is_empty() || previous.is_empty() {
                true => String::new(),
                false => format!(", then {next} and {previous}"),
            };
            (" / ", format!("enter search{then} · esc drop"))
        }
        LogQuestion::Filter => (" only ", "enter show only these lines · esc drop".to_owned()),
    };
    let used = put(buffer, area.x, area.y, area.width, label, theme.key());
    let room = area.width.saturating_sub(used);
    let drawn = line::draw(&typed.input, area.x + used, area.y, room, theme.plain(), buffer);
    let x = area.x + used + drawn.used;
    let room = room.saturating_sub(drawn.used);
    put(buffer, x, area.y, room, &format!("   {hint}"), theme.faint());
    drawn.cursor
}

/// Draws a filter that was not understood on the line above, and below it a caret under the character that does not fit,
/// and why. Returns where the text cursor is.
fn draw_wrong_filter(
    model: &Model,
    input: &tui_input::Input,
    error: &FilterError,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    let theme = model.theme;
    let above = Rect {
        y: area.y - 1,
        height: 1,
        ..area
    };
    clear(buffer, above);
    let label = put(buffer, above.x, above.y, above.width, " / ", theme.key());
    let room = area.width.saturating_sub(label);
    let drawn = line::draw(input, above.x + label, above.y, room, theme.plain(), buffer);
    let before: String = input.value().chars().take(error.position.saturating_sub(1)).collect();
    let caret = label + width(&harmless(&before)).saturating_sub(drawn.hidden);
    let caret = caret.min(area.width.saturating_sub(1));
    let why = format!("column {}: {}", error.position, error.message);
    put(buffer, area.x + caret, area.y, area.width - caret, "^", theme.bad());
    // The reason stands on the side of the caret that has room for it.
    let right = area.width.saturating_sub(caret + 2);
    if width(&why) <= right || right >= caret {
        put(buffer, area.x + caret + 2, area.y, right, &why, theme.bad());
    } else {
        put_right(buffer, area.x + caret - 1, area.y, caret - 1, &why, theme.bad());
    }
    drawn.cursor
}

/// Draws the filter while it is typed. Returns where the text cursor is.
fn draw_filter_line(model: &Model, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    if let Some(line) = &model.filter_input
        && let Some(error) = &line.error
    {
        return draw_wrong_filter(model, &line.input, error, area, buffer);
    }
    let (input, hint) = match (&model.filter_input, &model.nodes.input) {
        (Some(line), _) => {
            let tasks = figures::count_noun(model.tree.shown, "task");
            (&line.input, format!("{tasks} · enter keep · esc drop"))
        }
        (None, Some(input)) => {
            let nodes = figures::count_noun(model.nodes.list.keys().len(), "node");
            (input, format!("{nodes} · ↑ ↓ choose · enter submit · esc drop"))
        }
        (None, None) => return None,
    };
    let used = put(buffer, area.x, area.y, area.width, " / ", theme.key());
    let room = area.width.saturating_sub(used);
    let drawn = line::draw(input, area.x + used, area.y, room, theme.plain(), buffer);
    let x = area.x + used + drawn.used;
    let room = room.saturating_sub(drawn.used);
    put(buffer, x, area.y, room, &format!("   {hint}"), theme.faint());
    drawn.cursor
}
