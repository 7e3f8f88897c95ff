//! Draws the menu of ways to run again: what it is about, and for each way what it would do.

use onceover_wire::{ReuseDecision, ReuseExplanation, ReuseMode};
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{
    frame::{centre_area, find_inside, open_box},
    reuse::sign_decision,
    text::{put, wrap},
    video_dialogs,
};
use crate::{
    figures,
    model::{
        Model,
        dialog::{Forecast, Question, Rerun, RerunWay},
    },
};

/// Columns of the box at most, and of the cursor, letter and name of a way.
const MOST_COLUMNS: u16 = 84;
const NAME_COLUMNS: u16 = 16;
/// Targets that are listed at a time.
const MOST_TARGETS: usize = 8;

/// One line of the ways.
struct WayLine {
    /// Which way it is of; the first line has its name.
    way: usize,
    is_first: bool,
    text: String,
    style: Style,
}

/// What of the menu is on the screen, and where.
struct MenuLayout {
    columns: u16,
    rows: u16,
    about: Vec<String>,
    ways: Vec<WayLine>,
    /// Where the lines of the ways are.
    area: Rect,
    /// The first of these lines.
    top: usize,
}

impl MenuLayout {
    fn new(model: &Model, rerun: &Rerun, screen: Rect) -> Self {
        let columns = screen.width.min(MOST_COLUMNS);
        let room = columns.saturating_sub(4);
        let ways = list_way_lines(model, rerun, room.saturating_sub(NAME_COLUMNS));
        let screen_rows = usize::from(screen.height.saturating_sub(2));
        // The ways and the keys come first; what is left is for the targets.
        let spare = screen_rows.saturating_sub(ways.len() + 3);
        let about = list_about(rerun, room, spare.min(MOST_TARGETS));
        let gap = usize::from(!about.is_empty());
        let rows = (about.len() + gap + ways.len() + 2).min(screen_rows) as u16 + 2;
        let inside = find_inside(centre_area(screen, columns, rows));
        let y = inside.y + (about.len() + gap) as u16;
        let area = Rect {
            y,
            height: inside.bottom().saturating_sub(1).saturating_sub(y),
            ..inside
        };
        let end = ways.iter().rposition(|line| line.way == rerun.at);
        let end = end.map_or(0, |last| last + 1);
        Self {
            columns,
            rows,
            about,
            top: end.saturating_sub(usize::from(area.height)),
            ways,
            area,
        }
    }
}

/// Finds the way that is drawn in a cell, by its index.
pub fn find_way(model: &Model, rerun: &Rerun, at: Position) -> Option<usize> {
    let screen = Rect::new(0, 0, model.size.0, model.size.1);
    let menu = MenuLayout::new(model, rerun, screen);
    if !menu.area.contains(at) {
        return None;
    }
    let line = menu.ways.get(menu.top + usize::from(at.y - menu.area.y))?;
    Some(line.way)
}

/// Draws the menu.
pub fn draw(model: &Model, rerun: &Rerun, buffer: &mut Buffer) {
    let theme = model.theme;
    let menu = MenuLayout::new(model, rerun, buffer.area);
    let inside = open_box(model, buffer, &describe_title(rerun), menu.columns, menu.rows);
    for (line, y) in menu.about.iter().zip(inside.y..) {
        put(buffer, inside.x, y, inside.width, line, theme.plain());
    }
    draw_ways(model, rerun, &menu, buffer);
    if inside.height > 0 {
        let asks = rerun.chosen().is_some_and(RerunWay::asks);
        let enter = if asks { "enter asks first" } else { "enter runs it" };
        let keys = format!("{enter} · ↑ ↓ choose · esc leaves it");
        let y = inside.bottom().saturating_sub(1);
        put(buffer, inside.x, y, inside.width, &keys, theme.faint());
    }
}

/// Says what the menu is about.
fn describe_title(rerun: &Rerun) -> String {
    let noun = if rerun.stages.is_empty() { "video" } else { "stage" };
    match rerun.targets() {
        [only] => format!("Rerun {}", only.row),
        many => format!("Rerun {}", figures::count_noun(many.len(), noun)),
    }
}

/// Lists the targets, as many as fit with a line that says how many there are, and what was left out.
fn list_about(rerun: &Rerun, room: u16, most: usize) -> Vec<String> {
    let targets = rerun.targets();
    let mut lines = Vec::new();
    if targets.len() > 1 {
        let shown = if targets.len() > most {
            most.saturating_sub(1)
        } else {
            targets.len()
        };
        let top = rerun.scroll.min(targets.len() - shown);
        let names = targets.iter().skip(top).take(shown);
        lines.extend(names.map(|target| target.row.to_string()));
        if shown < targets.len() && most > 0 {
            let last = top + shown;
            lines.push(format!("{} to {last} of {} · pgdn pgup", top + 1, targets.len()));
        }
    }
    if rerun.left_out > 0 {
        let rows = figures::count_noun(rerun.left_out, "row");
        let text = format!("{rows} left out: no stage to run again");
        lines.extend(wrap(&text, room));
    }
    lines
}

/// Lists the lines of all ways.
fn list_way_lines(model: &Model, rerun: &Rerun, room: u16) -> Vec<WayLine> {
    let mut lines = Vec::new();
    for (index, way) in rerun.ways.iter().enumerate() {
        let (text, style) = describe_way(model, rerun, *way);
        let wrapped = wrap(&text, room).into_iter().enumerate();
        lines.extend(wrapped.map(|(line, text)| WayLine {
            way: index,
            is_first: line == 0,
            text,
            style,
        }));
    }
    lines
}

/// Draws the lines around the way at the cursor.
fn draw_ways(model: &Model, rerun: &Rerun, menu: &MenuLayout, buffer: &mut Buffer) {
    let theme = model.theme;
    let area = menu.area;
    let lines = menu.ways.iter().skip(menu.top).take(usize::from(area.height));
    for (line, y) in lines.zip(area.y..) {
        let is_chosen = line.way == rerun.at;
        if let Some(way) = rerun.ways.get(line.way).filter(|_| line.is_first) {
            let marker = if is_chosen { "▸" } else { " " };
            put(buffer, area.x, y, 2, marker, theme.key());
            let letter = way.letter().map(String::from).unwrap_or_default();
            put(buffer, area.x + 2, y, 2, &letter, theme.key());
            let style = if is_chosen { theme.cursor() } else { theme.strong() };
            put(buffer, area.x + 4, y, NAME_COLUMNS - 5, way.name(), style);
        }
        let room = area.width.saturating_sub(NAME_COLUMNS);
        put(buffer, area.x + NAME_COLUMNS, y, room, &line.text, line.style);
    }
}

/// Says what a way would do.
fn describe_way(model: &Model, rerun: &Rerun, way: RerunWay) -> (String, Style) {
    let plain = model.theme.plain();
    match way {
        RerunWay::Stages(mode) => match rerun.forecast(mode) {
            Some(forecast) => describe_forecast(model, forecast),
            None => (describe_mode(mode).to_owned(), plain),
        },
        RerunWay::Dependents => match rerun.videos.as_slice() {
            [only] => (
                video_dialogs::describe_target(Question::Reprocess, only).join("; "),
                plain,
            ),
            _ => (
                "these steps of the pipelines run again, and what depends on them".into(),
                plain,
            ),
        },
        RerunWay::Start => match rerun.videos.as_slice() {
            [only] => {
                let last = video_dialogs::describe_target(Question::Start { force: false }, only);
                (
                    format!("starts a pipeline; what is done is reused; {}", last.join("; ")),
                    plain,
                )
            }
            _ => ("starts a pipeline of each; what is done is reused".into(), plain),
        },
        RerunWay::Restart => (
            "ends what is under way, and runs every step of the pipeline again".into(),
            plain,
        ),
    }
}

/// Says what a reuse mode does in general.
fn describe_mode(mode: ReuseMode) -> &'static str {
    match mode {
        ReuseMode::Auto => "a finished result is reused, also of other input; the rest runs",
        ReuseMode::Strict => "only a result of the same input is reused; the rest runs",
        ReuseMode::Never => "each runs, whatever is stored; a former result stands until then",
    }
}

/// Says what the daemon would do: of one stage why, of several how many.
fn describe_forecast(model: &Model, forecast: &Forecast) -> (String, Style) {
    let theme = model.theme;
    if !forecast.is_complete() {
        return ("…".into(), theme.faint());
    }
    match forecast.explanations.as_slice() {
        [Ok(only)] => {
            let (sign, style) = sign_decision(theme, only.decision);
            (format!("{sign} {}{}", only.message, describe_saving(only)), style)
        }
        [Err(why)] => (format!("the daemon does not say: {why}"), theme.bad()),
        many => (tally_decisions(many), theme.plain()),
    }
}

/// Says what a hit saves.
fn describe_saving(explanation: &ReuseExplanation) -> String {
    match explanation.saved_seconds {
        Some(saved) if explanation.decision == ReuseDecision::Hit => {
            format!(" · saves {}", figures::format_long(saved))
        }
        _ => String::new(),
    }
}

/// Counts the decisions: `2 reused, 1 run`.
fn tally_decisions(explanations: &[Result<Box<ReuseExplanation>, String>]) -> String {
    let count = |decision: ReuseDecision| {
        let decisions = explanations.iter().flatten().map(|explanation| explanation.decision);
        decisions.filter(|other| *other == decision).count()
    };
    let unknown = explanations.iter().filter(|answer| answer.is_err()).count();
    let parts = [
        (count(ReuseDecision::Hit), "reused"),
        (count(ReuseDecision::Join), "joined"),
        (count(ReuseDecision::Run), "run"),
        (count(ReuseDecision::Refuse), "refused"),
        (unknown, "not known"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts.map(|(count, word)| format!("{count} {word}")).collect();
    parts.join(", ")
}
