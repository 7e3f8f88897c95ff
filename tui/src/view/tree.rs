//! The tree of tasks and stages, drawn cell by cell for the rows on screen only.

use onceover_common::{StageState, wire::StageSummary};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    figures, frame,
    layout::Panes,
    text::{put, put_right, within},
};
use crate::{
    model::{
        Model, RowId,
        store::{Task, elapsed},
    },
    theme::{as_state, callback_glyph, glyph, word},
};

/// Columns of a row, from the width there is. A column of width 0 is left out.
struct Columns {
    name: u16,
    state: u16,
    bar: u16,
    time: u16,
    attempt: u16,
    reuse: u16,
    callback: u16,
}

impl Columns {
    fn of(width: u16) -> Self {
        let mut columns = Self {
            name: 0,
            state: 13,
            bar: 0,
            time: 0,
            attempt: 0,
            reuse: 0,
            callback: 0,
        };
        let mut rest = width.saturating_sub(2);
        columns.state = columns.state.min(rest / 2);
        rest -= columns.state;
        // What a row can do without, least needed last.
        for (column, takes, keep) in [
            (&mut columns.time, 8, 12),
            (&mut columns.reuse, 6, 14),
            (&mut columns.callback, 4, 22),
            (&mut columns.bar, 9, 26),
            (&mut columns.attempt, 4, 24),
        ] {
            if rest >= takes + keep {
                *column = takes;
                rest -= takes;
            }
        }
        columns.name = rest;
        columns
    }
}

pub fn draw(model: &Model, panes: &Panes, buffer: &mut Buffer) {
    let theme = model.theme;
    let mut area = panes.inner(panes.tree);
    if panes.framed() {
        frame(buffer, panes.tree, &title(model), theme.faint(), theme.strong());
        if area.height > 0 {
            titles(model, area, buffer);
        }
        place(model, panes.tree, buffer);
        area.y += area.height.min(1);
        area.height = area.height.saturating_sub(1);
    }
    if model.tree.rows.is_empty() {
        let line = if model.tree.narrowed() {
            "nothing matches; esc shows everything"
        } else {
            "no tasks yet; submit one:  onceover submit NODE --task ID --set key=value"
        };
        put(
            buffer,
            area.x + 1,
            area.y,
            area.width.saturating_sub(1),
            line,
            theme.faint(),
        );
        return;
    }
    let columns = Columns::of(area.width);
    let shown = model
        .tree
        .rows
        .iter()
        .enumerate()
        .skip(model.tree.top)
        .take(usize::from(area.height));
    for (line, (index, row)) in shown.enumerate() {
        let line = Rect {
            y: area.y + line as u16,
            height: 1,
            ..area
        };
        draw_row(model, row, index, &columns, line, buffer);
    }
}

fn title(model: &Model) -> String {
    let mut title = format!("Tasks {}", model.tree.shown);
    if model.tree.narrowed() {
        title += &format!(" of {}", model.store.len());
    }
    if !model.store.complete {
        title += " (newest; older ones are not loaded)";
    }
    if let Some(quick) = &model.tree.quick {
        title += &format!(" · {}", quick.text);
    }
    if let Some(filter) = &model.tree.filter {
        title += &format!(" · filter: {}", filter.text);
    }
    if !model.tree.marks.is_empty() {
        title += &format!(" · {} marked", model.tree.marks.len());
    }
    title
}

fn titles(model: &Model, area: Rect, buffer: &mut Buffer) {
    let style = model.theme.faint();
    let columns = Columns::of(area.width);
    let mut x = area.x + 2;
    put(buffer, x, area.y, columns.name, "TASK / STAGE", style);
    x += columns.name;
    put(buffer, x, area.y, columns.state, "STATE", style);
    x += columns.state + columns.bar;
    put_right(buffer, x + columns.time, area.y, columns.time, "TIME", style);
    x += columns.time;
    put_right(buffer, x + columns.attempt, area.y, columns.attempt, "TRY", style);
    x += columns.attempt;
    put_right(buffer, x + columns.reuse, area.y, columns.reuse, "REUSE", style);
    x += columns.reuse;
    put_right(buffer, x + columns.callback, area.y, columns.callback, "CB", style);
}

fn place(model: &Model, pane: Rect, buffer: &mut Buffer) {
    if model.tree.rows.is_empty() || pane.height < 2 {
        return;
    }
    let text = format!(" {}/{} ", model.tree.index + 1, model.tree.rows.len());
    put_right(
        buffer,
        pane.right().saturating_sub(2),
        pane.bottom() - 1,
        pane.width.saturating_sub(4),
        &text,
        model.theme.faint(),
    );
}

fn draw_row(model: &Model, row: &RowId, index: usize, columns: &Columns, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let Some(task) = model.store.get(&row.task) else {
        return;
    };
    let at_cursor = index == model.tree.index;
    let marked = model.tree.marks.contains(row);
    let marker = match (at_cursor, marked) {
        (_, true) => "◆",
        (true, false) => "▸",
        _ => " ",
    };
    put(buffer, area.x, area.y, 1.min(area.width), marker, theme.key());
    let x = area.x + 2;
    let stage = row.node.as_ref().and_then(|node| task.stages.get(node));
    let (state, style) = match &row.node {
        None => {
            let sign = if model.tree.is_expanded(&task.id) {
                "▾ "
            } else {
                "▸ "
            };
            let used = put(buffer, x, area.y, columns.name, sign, theme.faint());
            put(
                buffer,
                x + used,
                area.y,
                columns.name.saturating_sub(used + 1),
                task.id.as_str(),
                theme.strong(),
            );
            (as_state(task.status), theme.strong())
        }
        Some(node) => {
            // The last stage on screen under its task, whatever a filter hides.
            let last = model.tree.rows.get(index + 1).is_none_or(|next| next.task != row.task);
            let used = put(
                buffer,
                x,
                area.y,
                columns.name,
                if last { "  └ " } else { "  ├ " },
                theme.faint(),
            );
            put(
                buffer,
                x + used,
                area.y,
                columns.name.saturating_sub(used + 1),
                node.as_str(),
                theme.plain(),
            );
            let Some(stage) = stage else {
                return;
            };
            (stage.status, theme.plain())
        }
    };
    let mut x = x + columns.name;
    draw_state(model, row, task, stage, state, columns, x, area.y, buffer);
    x += columns.state;
    let running = match stage {
        Some(stage) => Some(stage),
        None => task.stages.values().find(|stage| stage.status == StageState::Running),
    };
    let progress = running
        .filter(|stage| stage.status == StageState::Running)
        .and_then(|stage| stage.progress);
    // Where there is no room for both, a running stage shows its bar and not its time.
    let instead = columns.bar == 0 && stage.is_some() && progress.is_some();
    let room = if instead { columns.time } else { columns.bar };
    if let Some(progress) = progress.filter(|_| room > 1) {
        let bar = figures::bar(progress, room - 1);
        put(buffer, x, area.y, room - 1, &bar, theme.accent());
    }
    x += columns.bar + columns.time;
    let clock = model.clock();
    let seconds = stage.map_or_else(|| task.elapsed(clock), |stage| elapsed(stage, clock));
    if !instead && (seconds > 0.0 || state != StageState::Pending) {
        let room = columns.time.saturating_sub(1);
        put_right(buffer, x, area.y, room, &figures::short(seconds), style);
    }
    x += columns.attempt;
    let attempt = stage.map_or(1, |stage| stage.attempt);
    if attempt > 1 {
        put_right(buffer, x, area.y, columns.attempt, &format!("#{attempt}"), theme.warn());
    }
    x += columns.reuse;
    let hits = stage.map_or_else(|| task.reuse_hits(), |stage| stage.reuse_hits + stage.joins);
    if hits > 0 {
        put_right(
            buffer,
            x,
            area.y,
            columns.reuse.saturating_sub(1),
            &format!("↺ {hits}"),
            theme.reuse(),
        );
    }
    x += columns.callback;
    let callback = stage.map_or(task.callback_status, |stage| stage.callback_status);
    if let Some(callback) = callback.filter(|_| columns.callback > 0) {
        let text = format!("→{}", callback_glyph(callback));
        put_right(buffer, x, area.y, columns.callback, &text, theme.callback(callback));
    }
    if at_cursor {
        buffer.set_style(within(buffer, area), theme.cursor());
    }
}

#[allow(clippy::too_many_arguments)]
fn draw_state(
    model: &Model,
    row: &RowId,
    task: &Task,
    stage: Option<&StageSummary>,
    state: StageState,
    columns: &Columns,
    x: u16,
    y: u16,
    buffer: &mut Buffer,
) {
    let theme = model.theme;
    let room = columns.state.saturating_sub(1);
    if let Some(due) = model.delete_due(&task.id) {
        let left = due.seconds_since(model.now).ceil();
        put(buffer, x, y, room, &format!("✂ del in {left:.0} s"), theme.bad());
    } else if model.is_requested(row) {
        put(buffer, x, y, room, "… requested", theme.warn());
    } else if model.failure_of(row).is_some() {
        put(buffer, x, y, room, "! refused", theme.bad());
    } else {
        let style: Style = theme.state(state);
        let progress = stage
            .filter(|stage| stage.status == StageState::Running)
            .and_then(|stage| stage.progress);
        let text = match progress {
            Some(progress) => format!("{} run {} %", glyph(state), figures::percent(progress)),
            None => format!("{} {}", glyph(state), word(state)),
        };
        put(buffer, x, y, room, &text, style);
    }
}
