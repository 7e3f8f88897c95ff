//! Draws the timeline of a task: a row a stage, a bar for each of its runs, the critical path in bold and with an arrow.
//! All stages are measured, since the span and the critical path depend on all; only those on the screen are drawn.

use onceover_types::NodeName;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::{
    frame::draw_frame,
    pipeline,
    text::{harmless, put, width, within},
};
use crate::{
    actions::{Action, format_hint},
    figures,
    layout::{self, TimelineRoom},
    model::{
        Model, Page,
        task::{Standing, Task},
        timeline::{
            SegmentKind, StageBar, TimeSegment, TimeWindow, find_critical_path, find_span, format_tick, list_bars,
            sum_path,
        },
    },
    theme::{Theme, glyph},
};

const LEGEND: &str = "░ waiting  █ running  ▓ reused  ✖ failed attempt  ⊘ cancelled  → critical path";

/// What the rows of a screen have in common.
struct Chart<'a> {
    model: &'a Model,
    task: &'a Task,
    bars: &'a [StageBar],
    path: &'a [usize],
    window: Option<TimeWindow>,
    room: TimelineRoom,
}

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let room = layout::lay_out_timeline((buffer.area.width, buffer.area.height));
    let theme = model.theme;
    let Some(task) = model.timeline_task() else {
        let hint = format_hint(Action::Back, Page::Timeline, &model.bindings, |key| {
            format!("; {key} goes back")
        });
        let text = format!("the task is not there any more{hint}");
        put(buffer, room.axis.x, room.axis.y, room.axis.width, &text, theme.faint());
        return;
    };
    let bars = list_bars(task, &model.timeline.runs, model.clock());
    let path = find_critical_path(&bars);
    let span = find_span(&bars);
    let chart = Chart {
        model,
        task,
        bars: &bars,
        path: &path,
        window: span.map(|span| model.timeline.choose_window(span, room.columns())),
        room,
    };
    if room.framed {
        draw_frame(
            buffer,
            room.pane,
            &describe_task(&chart, span),
            theme.faint(),
            theme.strong(),
        );
    }
    chart.draw_axis(span, buffer);
    let (top, shown) = model.timeline.list.shown(usize::from(room.rows.height));
    for ((index, node), y) in (top..).zip(shown).zip(room.rows.top()..room.rows.bottom()) {
        let area = Rect {
            y,
            height: 1,
            ..room.rows
        };
        chart.draw_row(node, index == model.timeline.list.index(), area, buffer);
    }
    draw_legend(model, room.legend, buffer);
}

/// Says how long the task took, and the stages that it waited for.
fn describe_task(chart: &Chart<'_>, span: Option<(i64, i64)>) -> String {
    let id = harmless(chart.task.id.as_str());
    let Some((from, to)) = span else {
        return format!("{id} › timeline");
    };
    let seconds = |millis: i64| figures::format_long(millis as f64 / 1_000.0);
    let mut title = format!("{id} › timeline · {}", seconds(to - from));
    if chart.path.len() > 1 {
        let on_path = seconds(sum_path(chart.bars, chart.path));
        title += &format!(" · critical path {on_path} in {} stages", chart.path.len());
    }
    title
}

fn draw_legend(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = model.theme;
    let (text, style) = match &model.timeline.failed {
        Some(why) => (format!("earlier runs cannot be read: {why}"), theme.bad()),
        None => (LEGEND.to_owned(), theme.faint()),
    };
    let x = area.x + 1.min(area.width);
    put(buffer, x, area.y, area.right() - x, &text, style);
}

impl Chart<'_> {
    /// Draws the task's id and the times above the bars.
    fn draw_axis(&self, span: Option<(i64, i64)>, buffer: &mut Buffer) {
        let (area, theme) = (self.room.axis, self.model.theme);
        if area.is_empty() {
            return;
        }
        let room = self.room.names.saturating_sub(2);
        let x = area.x + 1.min(area.width);
        put(buffer, x, area.y, room, self.task.id.as_str(), theme.strong());
        let (Some(window), Some((origin, _))) = (self.window, span) else {
            let text = "nothing has run yet";
            let x = area.x + self.room.names;
            put(buffer, x, area.y, self.room.columns(), text, theme.faint());
            return;
        };
        for (column, since) in window.list_ticks(origin) {
            let text = format_tick(since);
            let rest = self.room.columns() - column;
            if width(&text) <= rest {
                let x = area.x + self.room.names + column;
                put(buffer, x, area.y, rest, &text, theme.faint());
            }
        }
    }

    fn draw_row(&self, node: &NodeName, at_cursor: bool, area: Rect, buffer: &mut Buffer) {
        let theme = self.model.theme;
        let index = self.bars.iter().position(|bar| *bar.node == *node);
        let is_critical = index.is_some_and(|index| self.path.len() > 1 && self.path.contains(&index));
        let mark = match (at_cursor, is_critical) {
            (true, true) => "▸→",
            (true, false) => "▸ ",
            (false, true) => " →",
            (false, false) => "  ",
        };
        put(buffer, area.x, area.y, self.room.names.min(2), mark, theme.key());
        let names = self.room.names.saturating_sub(3);
        let (sign, style) = choose_sign(self.task, node, theme);
        let style = emphasize(style, is_critical);
        let x = area.x + 2.min(area.width);
        put(buffer, x, area.y, names, &format!("{sign} {node}"), style);
        if at_cursor {
            let cells = Rect {
                width: self.room.names.saturating_sub(1),
                ..area
            };
            buffer.set_style(within(buffer, cells), theme.cursor());
        }
        let bars = Rect {
            x: area.x + self.room.names,
            width: self.room.columns(),
            ..area
        };
        match (index.map(|index| &self.bars[index]), self.window) {
            (Some(bar), Some(window)) if !bar.segments.is_empty() => {
                self.draw_bar(bar, window, is_critical, bars, buffer);
            }
            _ => self.draw_planned(node, bars, buffer),
        }
    }

    fn draw_bar(&self, bar: &StageBar, window: TimeWindow, is_critical: bool, area: Rect, buffer: &mut Buffer) {
        let theme = self.model.theme;
        let shown = || {
            let segments = bar.segments.iter();
            segments.filter_map(|segment| Some((segment, window.cells(segment)?)))
        };
        for (segment, (first, end)) in shown() {
            let (fill, style) = choose_fill(segment, theme);
            let cells = fill.repeat(usize::from(end - first));
            let style = emphasize(style, is_critical);
            put(buffer, area.x + first, area.y, end - first, &cells, style);
        }
        // How an attempt has ended is seen also where the next segment begins in the same column.
        for (segment, (_, end)) in shown() {
            let sign = choose_end_sign(segment).filter(|_| end < window.columns || segment.ends_in(&window));
            if let Some(sign) = sign {
                let style = emphasize(choose_fill(segment, theme).1, is_critical);
                put(buffer, area.x + end - 1, area.y, 1, sign, style);
            }
        }
        let after = shown().next_back().map_or(0, |(_, (_, end))| end) + 1;
        let text = self.describe_stage(&bar.node);
        if !text.is_empty() && after + width(&text) <= area.width {
            put(buffer, area.x + after, area.y, area.width - after, &text, theme.faint());
        }
    }

    /// Says how long the rest takes, or how often the result was reused.
    fn describe_stage(&self, node: &NodeName) -> String {
        let Some(stage) = self.task.current_stage(node) else {
            return String::new();
        };
        if let Some(rest) = self.model.estimate_rest(node, stage) {
            return rest.describe();
        }
        match stage.reuses() {
            0 => String::new(),
            hits => format!("↺ {hits}"),
        }
    }

    /// Says what a step waits for that has not begun.
    fn draw_planned(&self, node: &NodeName, area: Rect, buffer: &mut Buffer) {
        let is_planned = matches!(
            self.task.standing(node),
            Some(Standing::Waiting | Standing::Skipped | Standing::Reused)
        );
        if is_planned {
            let text = pipeline::describe_wait(self.task, node, self.model.clock());
            put(buffer, area.x, area.y, area.width, &text, self.model.theme.faint());
        }
    }
}

fn emphasize(style: Style, is_critical: bool) -> Style {
    match is_critical {
        true => style.add_modifier(Modifier::BOLD),
        false => style,
    }
}

/// Chooses the glyph and the colour of a stage's name.
fn choose_sign(task: &Task, node: &NodeName, theme: Theme) -> (&'static str, Style) {
    match task.standing(node) {
        Some(Standing::State(state)) => (glyph(state), theme.state(state).remove_modifier(Modifier::BOLD)),
        Some(Standing::Reused) => ("↺", theme.reuse()),
        Some(Standing::Waiting) => ("…", theme.warn()),
        Some(Standing::Skipped) | None => ("·", theme.faint()),
    }
}

fn choose_fill(segment: &TimeSegment, theme: Theme) -> (&'static str, Style) {
    match segment.kind {
        SegmentKind::Waiting => ("░", theme.faint()),
        SegmentKind::Running => ("█", theme.accent()),
        SegmentKind::Reused => ("▓", theme.reuse()),
        SegmentKind::Failed => ("█", theme.bad().remove_modifier(Modifier::BOLD)),
        SegmentKind::Cancelled => ("█", theme.faint()),
    }
}

/// Chooses what stands in the last column of a segment, that says how it ended.
fn choose_end_sign(segment: &TimeSegment) -> Option<&'static str> {
    match segment.kind {
        SegmentKind::Failed => Some("✖"),
        SegmentKind::Cancelled => Some("⊘"),
        SegmentKind::Running if segment.is_open => Some("▶"),
        _ => None,
    }
}
