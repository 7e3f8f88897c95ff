//! Draws two runs side by side, on narrow screens one below the other, and marks what differs.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use super::{
    frame::{draw_frame, draw_rule, inset},
    text::{cut_middle, harmless, put, wrap},
};
use crate::{
    figures, layout,
    model::{
        Model,
        compare::{CompareLine, ComparePage, CompareSide, SideChoice, ValueChange},
    },
    theme::{Theme, glyph, word},
};

/// With fewer columns the runs stand below each other.
const SIDE_BY_SIDE: u16 = 80;
/// Columns of labels.
const LABELS: u16 = 24;

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let panes = layout::lay_out_panes((buffer.area.width, buffer.area.height), true);
    let theme = model.theme;
    let page = &model.compare;
    let area = panes.inner(panes.detail);
    let Some([left, right]) = &page.sides else { return };
    if panes.is_framed() {
        let title = harmless(&format!("{} › compare{}", right.node, count_differences(page)));
        draw_frame(buffer, panes.detail, &title, theme.faint(), theme.strong());
    }
    let area = inset(area);
    if area.is_empty() {
        return;
    }
    let is_wide = area.width >= SIDE_BY_SIDE;
    let labels = if is_wide { LABELS } else { 0 };
    let half = (area.width - labels) / if is_wide { 2 } else { 1 };
    let mut y = area.y;
    for (index, (side, choice)) in [(left, SideChoice::Left), (right, SideChoice::Right)]
        .into_iter()
        .enumerate()
    {
        let style = match page.chosen == choice {
            true => theme.strong().add_modifier(Modifier::UNDERLINED),
            false => theme.plain(),
        };
        let x = area.x + labels + if is_wide { half * index as u16 } else { 0 };
        if y < area.bottom() {
            let sign = if index == 0 { "-" } else { "+" };
            let text = format!("{sign} {}", describe_side(page, side));
            put(
                buffer,
                x,
                y,
                half.saturating_sub(1),
                &cut_middle(&harmless(&text), half.saturating_sub(1)),
                style,
            );
        }
        y += u16::from(!is_wide);
    }
    y += u16::from(is_wide);
    let rest = Rect {
        y: y.min(area.bottom()),
        height: area.bottom().saturating_sub(y),
        ..area
    };
    if page.lines.is_empty() {
        draw_missing(model, left, right, rest, buffer);
    }
    draw_lines(page, theme, (labels, half), rest, buffer);
}

fn count_differences(page: &ComparePage) -> String {
    let changes = page.lines.iter().filter_map(CompareLine::change);
    let count = changes.filter(|change| *change != ValueChange::Same).count();
    match page.lines.is_empty() {
        true => String::new(),
        false => format!(" · {}", figures::count_noun(count, "difference")),
    }
}

/// Names a run: which of how many, its state, and the task where that differs.
fn describe_side(page: &ComparePage, side: &CompareSide) -> String {
    let task = match page.has_one_stage() {
        true => String::new(),
        false => format!("{}  ", side.task),
    };
    match side.run() {
        Some(run) => format!(
            "{task}‹ run {} of {} › {} {}",
            side.runs.len() - side.index,
            side.runs.len(),
            glyph(run.status),
            word(run.status)
        ),
        None => task,
    }
}

/// Says why nothing can be compared.
fn draw_missing(model: &Model, left: &CompareSide, right: &CompareSide, area: Rect, buffer: &mut Buffer) {
    let failed = left.failed.as_ref().or(right.failed.as_ref());
    let waits = left.request.or(right.request).is_some();
    let (text, style) = match failed {
        Some(why) => (why.as_str(), model.theme.bad()),
        None if waits => ("…", model.theme.faint()),
        None => ("no run of this stage is kept", model.theme.faint()),
    };
    for (line, y) in wrap(text, area.width).iter().zip(area.top()..area.bottom()) {
        put(buffer, area.x, y, area.width, line, style);
    }
}

/// Draws the lines from where the page is scrolled to.
fn draw_lines(page: &ComparePage, theme: Theme, (labels, half): (u16, u16), area: Rect, buffer: &mut Buffer) {
    let mut y = area.y;
    for line in page.lines.iter().skip(page.scroll) {
        if y >= area.bottom() {
            return;
        }
        let row = Rect {
            y,
            height: area.bottom() - y,
            ..area
        };
        y += match line {
            CompareLine::Title(title) => {
                draw_rule(buffer, row, title, theme.faint());
                1
            }
            CompareLine::Values { label, left, right } => {
                let sides = [left.as_deref(), right.as_deref()];
                let change = line.change().unwrap_or(ValueChange::Same);
                match labels {
                    0 => draw_below(label, sides, change, theme, row, buffer),
                    _ => draw_beside(label, sides, change, theme, half, row, buffer),
                }
            }
        };
    }
}

/// Chooses the sign and the style of a difference.
fn choose_mark(change: ValueChange, theme: Theme) -> (&'static str, Style) {
    match change {
        ValueChange::Same => (" ", theme.faint()),
        ValueChange::Changed => ("!", theme.warn()),
        ValueChange::Removed => ("-", theme.bad()),
        ValueChange::Added => ("+", theme.good()),
    }
}

/// Draws both values in one row. Returns the rows that it used.
fn draw_beside(
    label: &str,
    sides: [Option<&str>; 2],
    change: ValueChange,
    theme: Theme,
    half: u16,
    area: Rect,
    buffer: &mut Buffer,
) -> u16 {
    let (mark, style) = choose_mark(change, theme);
    put(buffer, area.x, area.y, 1, mark, style);
    let label = harmless(label);
    put(
        buffer,
        area.x + 2,
        area.y,
        LABELS - 3,
        &cut_middle(&label, LABELS - 3),
        theme.plain(),
    );
    for (index, value) in sides.into_iter().enumerate() {
        let x = area.x + LABELS + half * index as u16;
        let value = shorten(value.unwrap_or("·"), half.saturating_sub(1));
        put(buffer, x, area.y, half.saturating_sub(1), &value, style);
    }
    1
}

/// Draws the values below each other, one row where they are the same. Returns the rows that it used.
fn draw_below(
    label: &str,
    sides: [Option<&str>; 2],
    change: ValueChange,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> u16 {
    let (mark, style) = choose_mark(change, theme);
    put(buffer, area.x, area.y, 1, mark, style);
    let x = area.x + 2.min(area.width);
    let used = put(buffer, x, area.y, area.right() - x, label, theme.plain());
    if change == ValueChange::Same {
        let x = x + used + u16::from(used > 0);
        let room = area.right().saturating_sub(x);
        let value = shorten(sides[0].unwrap_or("·"), room);
        put(buffer, x, area.y, room, &value, style);
        return 1;
    }
    let mut y = area.y + u16::from(used > 0);
    for (sign, value) in ["-", "+"].into_iter().zip(sides) {
        let Some(value) = value.filter(|_| y < area.bottom()) else {
            continue;
        };
        let room = area.width.saturating_sub(4);
        put(buffer, area.x + 2.min(area.width), y, 1, sign, style);
        put(
            buffer,
            area.x + 4.min(area.width),
            y,
            room,
            &shorten(value, room),
            style,
        );
        y += 1;
    }
    y.saturating_sub(area.y).max(1)
}

/// Shortens a value in its middle: paths differ at their ends. Reads no more of a long one than is needed.
fn shorten(value: &str, columns: u16) -> String {
    let most = usize::from(columns) * 8 + 8;
    if value.len() <= most * 2 {
        let value = harmless(value);
        return cut_middle(&value, columns).into_owned();
    }
    let start = harmless(&value[..value.floor_char_boundary(most)]);
    let end = harmless(&value[value.ceil_char_boundary(value.len() - most)..]);
    cut_middle(&format!("{start}{end}"), columns).into_owned()
}
