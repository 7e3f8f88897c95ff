//! Draws the page of queues: slots and what waits in order with why; below it what was counted in the last hour, and how
//! long nodes take.

use onceover_types::NodeName;
use onceover_wire::{HistoryMinute, NodeFigures, QueueInfo};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    graph::{Bars, draw_bars},
    list_page::{self, Cell},
    text::put,
};
use crate::{
    figures, layout,
    model::{Model, RowId, observed::QueueRow},
};

/// Columns of a name before bars, and of the figures behind them.
const NAME: u16 = 12;
const FIGURES: u16 = 30;
/// Rows of figures before the nodes.
const FIGURE_ROWS: u16 = 5;
/// Columns of the slots of a class, and of the bar before them; of the wait; of why, where there are bars at least.
const SLOTS: u16 = 18;
const BAR: u16 = 7;
const WAITS: u16 = 10;
const LEAST_WHY: u16 = 16;
/// One of so many runs that fails makes a node stand out.
const FAILING: u64 = 10;

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let page = layout::lay_out_queues((buffer.area.width, buffer.area.height));
    let theme = model.theme;
    let observed = &model.observed;
    let columns = Columns::for_width(page.inner(page.list).width);
    let titles = columns.cells(["QUEUE", "SLOTS", "WAITS", "WHY"]);
    let area = list_page::draw_head(&page, &describe_rows(model), &titles, theme, buffer);
    if observed.rows.keys().is_empty() {
        let (text, style) = match &observed.queues.failed {
            Some(why) => (why.as_str(), theme.bad()),
            None => ("…", theme.faint()),
        };
        list_page::draw_placeholder(text, style, area, buffer);
    }
    list_page::draw_rows(
        &observed.rows,
        |_| false,
        area,
        theme,
        buffer,
        |row, line, buffer| {
            draw_row(model, row, &columns, line, buffer);
        },
    );
    if let Some(area) = list_page::draw_item_frame(&page, "The last hour", theme, buffer) {
        draw_figures(model, area, buffer);
        let used = FIGURE_ROWS.min(area.height);
        let rest = Rect {
            y: area.y + used,
            height: area.height - used,
            ..area
        };
        draw_nodes(model, rest, buffer);
    }
}

/// Says how much waits.
fn describe_rows(model: &Model) -> String {
    let queues = &model.observed.queues;
    let all = queues.value.iter().flat_map(|queues| &queues.queues);
    let waiting: u64 = all.map(|queue| queue.pending).sum();
    let mut title = format!("Queues · {waiting} waiting");
    if let Some(why) = queues.failed.as_ref().filter(|_| queues.value.is_some()) {
        title += &format!(" · not up to date: {why}");
    }
    title
}

/// Columns of a row; one of width 0 is left out.
struct Columns {
    name: u16,
    slots: u16,
    waits: u16,
    why: u16,
}

impl Columns {
    fn for_width(width: u16) -> Self {
        let mut rest = width.saturating_sub(2);
        let name = (rest * 40 / 100).max(12.min(rest));
        rest -= name;
        let slots = if rest < SLOTS + WAITS + LEAST_WHY {
            SLOTS - BAR
        } else {
            SLOTS
        };
        let mut take = |columns: u16| {
            let taken = if rest >= columns { columns } else { 0 };
            rest -= taken;
            taken
        };
        let (slots, waits) = (take(slots), take(WAITS));
        Self {
            name,
            slots,
            waits,
            why: rest,
        }
    }

    /// The texts with their columns, from left to right.
    fn cells<'a>(&self, texts: [&'a str; 4]) -> [(u16, &'a str); 4] {
        let widths = [self.name, self.slots, self.waits, self.why];
        std::array::from_fn(|at| (widths[at], texts[at]))
    }
}

/// Draws a class, or a run that waits for a slot of it.
fn draw_row(model: &Model, row: &QueueRow, columns: &Columns, line: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let (texts, styles) = match row {
        QueueRow::Class(name) => {
            let Some(queue) = model.observed.class(name) else {
                return;
            };
            describe_class(model, queue, columns.slots == SLOTS)
        }
        QueueRow::Run { class, row } => {
            let Some(queue) = model.observed.class(class) else {
                return;
            };
            let waited = find_wait(model, row).map_or(String::new(), figures::format_whole);
            let name = format!("  {row}");
            let texts = [name, String::new(), waited, describe_reason(queue, row)];
            let (plain, faint) = (theme.plain(), theme.faint());
            (texts, [plain, plain, theme.warn(), faint])
        }
    };
    let texts = [
        texts[0].as_str(),
        texts[1].as_str(),
        texts[2].as_str(),
        texts[3].as_str(),
    ];
    let cells: Vec<Cell> = columns
        .cells(texts)
        .into_iter()
        .zip(styles)
        .map(|((columns, text), style)| (columns, text, style))
        .collect();
    list_page::draw_cells(&cells, line, buffer);
}

/// Describes a class: slots, after a bar where there is room, and how much waits for one.
fn describe_class(model: &Model, queue: &QueueInfo, with_bar: bool) -> ([String; 4], [Style; 4]) {
    let theme = model.theme;
    let share = match queue.slots {
        0 => 0.0,
        slots => queue.running as f64 / f64::from(slots) * 100.0,
    };
    let slots = format!("{} of {}", queue.running, queue.slots);
    let slots = if with_bar {
        format!("{} {slots}", figures::format_bar(share, 6))
    } else {
        slots
    };
    let oldest = queue.next.first().and_then(|run| {
        let row = RowId::stage(&run.task_id.clone().into(), &run.task_name.clone().into());
        find_wait(model, &row)
    });
    let shown = queue.next.len() as u64;
    let why = match (&queue.waiting, queue.pending) {
        (Some(reason), _) => reason.clone(),
        (None, 0) => "nothing waits".to_owned(),
        (None, pending) if pending > shown => format!("{pending} waiting, the first {shown} below"),
        (None, pending) => format!("{pending} waiting"),
    };
    let texts = [
        queue.name.clone(),
        slots,
        oldest.map_or(String::new(), figures::format_whole),
        why,
    ];
    (texts, [theme.strong(), theme.accent(), theme.warn(), theme.plain()])
}

/// Returns how many seconds a stage has waited, where that is known.
fn find_wait(model: &Model, row: &RowId) -> Option<f64> {
    let task = model.store.present(&row.task)?;
    let queued = task.stages.get(row.node.as_ref()?)?.queued_at()?;
    Some(model.present_clock().seconds_since(queued).max(0.0))
}

/// Says why a run waits.
fn describe_reason(queue: &QueueInfo, row: &RowId) -> String {
    let is_row = |run: &onceover_wire::QueuedRun| {
        run.task_id == *row.task && row.node.as_deref().is_some_and(|node| run.task_name == *node)
    };
    let Some(before) = queue.next.iter().position(is_row) else {
        return String::new();
    };
    if queue.waiting.is_some() {
        return format!("{}: no worker takes it", figures::format_ordinal(before + 1));
    }
    let free = u64::from(queue.slots).saturating_sub(queue.running);
    match (queue.slots, before as u64) {
        (0, _) => format!("{} has no slots on this daemon", queue.name),
        (_, before) if before < free => "a slot is free: it starts next".to_owned(),
        (_, 0) => format!("1st: {} used", count_slots(queue)),
        (_, before) => format!(
            "{}: {before} before it, {} used",
            figures::format_ordinal(before as usize + 1),
            count_slots(queue)
        ),
    }
}

fn count_slots(queue: &QueueInfo) -> String {
    match queue.slots {
        1 => "the only slot is".to_owned(),
        slots => format!("all {slots} slots are"),
    }
}

/// Reads a figure of a minute.
type Figure = fn(&HistoryMinute) -> u64;

/// Draws what was counted in each minute of the last hour.
fn draw_figures(model: &Model, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let history = &model.observed.history;
    let Some(minutes) = history.value.as_ref().map(|history| history.minutes.as_slice()) else {
        let (text, style) = match &history.failed {
            Some(why) => (why.as_str(), theme.bad()),
            None => ("…", theme.faint()),
        };
        put(buffer, area.x, area.y, area.width, text, style);
        return;
    };
    let sum = |read: fn(&HistoryMinute) -> u64| minutes.iter().map(read).sum::<u64>();
    let (ended, failed) = (sum(|minute| minute.ended), sum(|minute| minute.failed));
    let reused = sum(|minute| minute.hits) + sum(|minute| minute.joins);
    let asked = reused + sum(|minute| minute.misses);
    let saved: f64 = minutes.iter().map(|minute| minute.saved_seconds).sum();
    let ratio = match asked {
        0 => "no submits".to_owned(),
        asked => format!(
            "{:.0} % of {asked} reused",
            (reused as f64 / asked as f64 * 100.0).floor()
        ),
    };
    let rate = ended as f64 / minutes.len().max(1) as f64;
    let bad = if failed > 0 { theme.bad() } else { theme.faint() };
    let lines: [(&str, Figure, String, Style); 5] = [
        (
            "ended",
            |minute| minute.ended,
            format!("{ended} · {rate:.1} a minute"),
            theme.good(),
        ),
        ("failed", |minute| minute.failed, format!("{failed} failed"), bad),
        ("reused", |minute| minute.hits + minute.joins, ratio, theme.reuse()),
        (
            "saved",
            |minute| minute.saved_seconds.round() as u64,
            format!("{} saved", figures::format_long(saved)),
            theme.reuse(),
        ),
        ("waiting", count_waiting, describe_waiting(minutes), theme.warn()),
    ];
    for (y, (name, read, text, style)) in (area.top()..area.bottom()).zip(lines) {
        let values: Vec<u64> = minutes.iter().map(read).collect();
        draw_minutes(
            name,
            &values,
            &text,
            style,
            Rect { y, height: 1, ..area },
            model,
            buffer,
        );
    }
}

/// Counts what waited in a minute.
fn count_waiting(minute: &HistoryMinute) -> u64 {
    minute.queues.values().map(|queue| queue.pending).sum()
}

/// Says how much waits now, and how long the next one has waited at most.
fn describe_waiting(minutes: &[HistoryMinute]) -> String {
    let now = minutes.last().map_or(0, count_waiting);
    let queues = minutes.iter().flat_map(|minute| minute.queues.values());
    let longest = queues.map(|queue| queue.oldest_seconds).fold(0.0, f64::max);
    format!("{now} now · longest wait {}", figures::format_long(longest))
}

/// Draws one row of minutes: name, bars, figures.
fn draw_minutes(name: &str, values: &[u64], text: &str, style: Style, area: Rect, model: &Model, buffer: &mut Buffer) {
    let bars = area.width.saturating_sub(NAME + FIGURES + 1).min(60);
    put(buffer, area.x, area.y, NAME.min(area.width), name, model.theme.plain());
    let drawn = Bars {
        values,
        most: values.iter().copied().max().unwrap_or_default(),
        cursor: None,
        style,
    };
    let room = Rect {
        x: area.x + NAME,
        width: bars,
        ..area
    };
    draw_bars(&drawn, room, model.theme, buffer);
    let x = area.x + NAME + bars + u16::from(bars > 0);
    put(buffer, x, area.y, area.right().saturating_sub(x), text, style);
}

/// Whether so many runs of a node fail that it stands out.
fn is_failing(figures: &NodeFigures) -> bool {
    figures.failed > 0 && figures.failed * FAILING >= figures.runs
}

/// Draws how long nodes take, those that fail first, then the slowest.
fn draw_nodes(model: &Model, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    if area.height < 2 {
        return;
    }
    let statistics = &model.observed.statistics;
    let Some(known) = &statistics.value else {
        if let Some(why) = &statistics.failed {
            put(
                buffer,
                area.x,
                area.y,
                area.width,
                &format!("nodes: {why}"),
                theme.faint(),
            );
        }
        return;
    };
    let mut nodes: Vec<(&NodeName, &NodeFigures)> = known.nodes.iter().collect();
    nodes.sort_by_key(|(name, figures)| (!is_failing(figures), std::cmp::Reverse(figures.p95_ms), *name));
    let name = (area.width / 2).clamp(12, 42);
    let head = ["NODE", "RUNS", "FAILED", "P50", "P95", "SAVED"];
    draw_node_cells(&head, name, theme.faint(), area, area.y, buffer);
    for (y, (node, figures)) in (area.top() + 1..area.bottom()).zip(nodes) {
        let is_failing = is_failing(figures);
        let sign = if is_failing { "✖ " } else { "  " };
        // Where none has succeeded, nothing is known of how long it takes.
        let time = |ms: u64| match figures.runs > figures.failed {
            true => figures::format_long(ms as f64 / 1000.0),
            false => "?".to_owned(),
        };
        let texts = [
            format!("{sign}{node}"),
            figures.runs.to_string(),
            figures.failed.to_string(),
            time(figures.p50_ms),
            time(figures.p95_ms),
            figures::format_long(figures.saved_ms as f64 / 1000.0),
        ];
        let style = if is_failing { theme.bad() } else { theme.plain() };
        draw_node_cells(&texts.each_ref().map(String::as_str), name, style, area, y, buffer);
    }
}

/// Draws the cells of a node, of which the first has the name.
fn draw_node_cells(texts: &[&str; 6], name: u16, style: Style, area: Rect, y: u16, buffer: &mut Buffer) {
    let mut x = area.x;
    for (index, text) in texts.iter().enumerate() {
        let columns = if index == 0 { name } else { 11 };
        let room = columns.saturating_sub(1).min(area.right().saturating_sub(x));
        put(buffer, x, y, room, text, style);
        x = x.saturating_add(columns);
    }
}
