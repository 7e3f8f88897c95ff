//! Draws the tree of tasks and stages, cell by cell and only for the rows on screen.

use onceover_types::{CallbackStatus, StageState};
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{
    frame::draw_frame,
    pipeline,
    text::{cut_middle, harmless, put, put_right, width, within},
    warned,
};
use crate::{
    figures,
    layout::Panes,
    model::{
        Model, RowId,
        estimate::RestTime,
        sort::{SortColumn, TaskSort},
        stage::KeptStage,
        task::{Standing, Task},
    },
    theme::{callback_glyph, glyph, word},
};

/// A tree of fewer columns shows a bar instead of the time of what runs.
const NARROW: u16 = 70;

/// The columns of a row. A column of width 0 is left out.
struct Columns {
    name: u16,
    state: u16,
    bar: u16,
    time: u16,
    attempt: u16,
    reuse: u16,
    callback: u16,
}

/// What the rows on the screen need: columns that would be empty are left out, for longer names.
#[derive(Default)]
struct ColumnNeeds {
    name: u16,
    time: u16,
    /// What planned steps wait for.
    waits: u16,
    has_bar: bool,
    has_attempt: bool,
    has_reuse: bool,
    has_callback: bool,
}

impl ColumnNeeds {
    fn measure(model: &Model) -> Self {
        let mut needs = Self::default();
        for row in model.visible_rows() {
            let Some(task) = model.store.get(&row.task) else {
                continue;
            };
            let Some(facts) = RowFacts::new(task, row, model) else {
                continue;
            };
            // The sign before the name and the blank behind it.
            let (sign, name) = match &row.node {
                None => (3, row.task.as_str()),
                Some(node) => (5, node.as_str()),
            };
            needs.name = needs.name.max(width(name).saturating_add(sign));
            let time = facts.time(task, row, model);
            needs.time = needs.time.max(width(&time));
            needs.waits = needs.waits.max(facts.waits.as_ref().map_or(0, |waits| width(waits)));
            needs.has_bar |= facts.progress.is_some() || facts.rest(row, model).is_some();
            needs.has_attempt |= facts.stage.is_some_and(|stage| stage.attempt > 1);
            needs.has_reuse |= facts.reuse_hits(task, row) > 0;
            needs.has_callback |= facts.callback(task, row).is_some();
        }
        needs
    }
}

impl Columns {
    fn fit(needs: &ColumnNeeds, width: u16) -> Self {
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
        // The columns that a row can do without, the least needed last. The bar repeats what the state says: names come
        // before it.
        for (column, is_needed, takes, keep) in [
            (&mut columns.time, true, needs.time.max(5) + 1, 12),
            (&mut columns.reuse, needs.has_reuse, 6, 14),
            (&mut columns.callback, needs.has_callback, 4, 22),
            (&mut columns.attempt, needs.has_attempt, 4, 26),
            (&mut columns.bar, needs.has_bar, 9, needs.name.max(24)),
        ] {
            if is_needed && rest >= takes + keep {
                *column = takes;
                rest -= takes;
            }
        }
        // What a step waits for is drawn over the columns beside its state, which it has no figures for.
        let room = columns.state.saturating_sub(1) + columns.bar + columns.time + columns.attempt;
        let more = needs.waits.saturating_sub(room);
        let more = more.min(rest.saturating_sub(needs.name.max(24)));
        columns.state += more;
        columns.name = rest - more;
        columns
    }
}

/// Draws the tree with its frame.
pub fn draw(model: &Model, panes: &Panes, buffer: &mut Buffer) {
    let theme = model.theme;
    let mut area = panes.inner(panes.tree);
    let columns = Columns::fit(&ColumnNeeds::measure(model), area.width);
    if panes.is_framed() {
        draw_frame(buffer, panes.tree, &describe_rows(model), theme.faint(), theme.strong());
        if area.height > 0 {
            draw_titles(model, &columns, area, buffer);
        }
        draw_position(model, panes.tree, buffer);
        area.y += area.height.min(1);
        area.height = area.height.saturating_sub(1);
    }
    if model.tree.rows.is_empty() {
        let line = if model.tree.is_narrowed() {
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

/// Says which rows are shown.
fn describe_rows(model: &Model) -> String {
    let mut title = format!("Tasks {}", model.tree.shown);
    if model.tree.is_narrowed() {
        title += &format!(" of {}", model.store.len());
    }
    if model.store.is_loading() {
        title += " (more are being read)";
    } else if !model.store.complete {
        title += " (others are not loaded)";
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

/// Returns the title of a column, with a sign if it is sorted by.
fn sign_title(sort: TaskSort, column: SortColumn, title: &str) -> String {
    let sign = if sort.is_reversed { "↑" } else { "↓" };
    match sort.column {
        sorted if sorted == column => format!("{title}{sign}"),
        // What has no column is named beside the first one.
        SortColumn::Created | SortColumn::Updated | SortColumn::Progress if column == SortColumn::Id => {
            format!("{title}  {}{sign}", sort.column.name().to_uppercase())
        }
        SortColumn::Active if sort.is_reversed && column == SortColumn::Id => format!("{title}  ACTIVE{sign}"),
        _ => title.to_owned(),
    }
}

/// Draws the titles of the columns.
fn draw_titles(model: &Model, columns: &Columns, area: Rect, buffer: &mut Buffer) {
    let style = model.theme.faint();
    let sort = model.tree.sort;
    let mut x = area.x + 2;
    let title = sign_title(sort, SortColumn::Id, "TASK / STAGE");
    put(buffer, x, area.y, columns.name, &title, style);
    x += columns.name;
    let title = sign_title(sort, SortColumn::State, "STATE");
    put(buffer, x, area.y, columns.state, &title, style);
    x += columns.state + columns.bar;
    let title = sign_title(sort, SortColumn::Duration, "TIME");
    put_right(buffer, x + columns.time, area.y, columns.time, &title, style);
    x += columns.time;
    put_right(buffer, x + columns.attempt, area.y, columns.attempt, "TRY", style);
    x += columns.attempt;
    let title = sign_title(sort, SortColumn::Reuse, "REUSE");
    put_right(buffer, x + columns.reuse, area.y, columns.reuse, &title, style);
    x += columns.reuse;
    put_right(buffer, x + columns.callback, area.y, columns.callback, "CB", style);
}

/// Draws the position of the cursor onto the frame.
fn draw_position(model: &Model, pane: Rect, buffer: &mut Buffer) {
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

/// What a row shows beside its name.
struct RowFacts<'a> {
    state: StageState,
    stage: Option<&'a KeptStage>,
    progress: Option<f64>,
    /// What a planned step waits for, instead of state and bar.
    waits: Option<String>,
    /// Whether the result was reused.
    reused: bool,
    /// The warnings of its result, or of all results of a task.
    warnings: u64,
    style: Style,
}

impl<'a> RowFacts<'a> {
    fn new(task: &'a Task, row: &RowId, model: &Model) -> Option<Self> {
        let theme = model.theme;
        let Some(node) = &row.node else {
            let running = task.stages.values().find(|stage| stage.status == StageState::Running);
            return Some(Self {
                state: task.state(),
                stage: None,
                progress: match task.under_way() {
                    Some(pipeline) => Some(f64::from(pipeline.processing.progress)),
                    None => running.and_then(KeptStage::progress),
                },
                waits: None,
                reused: false,
                warnings: task.warnings(),
                style: theme.strong(),
            });
        };
        let standing = task.standing(node)?;
        let planned = matches!(standing, Standing::Waiting | Standing::Skipped);
        Some(Self {
            state: standing.state().unwrap_or(StageState::Cancelled),
            stage: task.current_stage(node),
            progress: task.progress(node),
            waits: planned.then(|| pipeline::describe_wait(task, node, model.clock())),
            reused: standing == Standing::Reused,
            warnings: task.row_warnings(node).warnings,
            style: theme.plain(),
        })
    }

    /// Returns the seconds that the row has run.
    fn seconds(&self, task: &Task, row: &RowId, model: &Model) -> f64 {
        let clock = model.clock();
        match &row.node {
            None => task.elapsed(clock),
            Some(_) => self.stage.map_or(0.0, |stage| stage.elapsed(clock)),
        }
    }

    /// Writes how long the row has run.
    fn time(&self, task: &Task, row: &RowId, model: &Model) -> String {
        let seconds = self.seconds(task, row, model);
        match self.state {
            StageState::Running => figures::format_ticking(seconds),
            _ => figures::format_short(seconds),
        }
    }

    /// Estimates the rest of a running stage that reports no progress.
    fn rest(&self, row: &RowId, model: &Model) -> Option<RestTime> {
        let node = row.node.as_ref().filter(|_| self.progress.is_none())?;
        model.estimate_rest(node, self.stage?)
    }

    /// Counts the answers that reuse gave.
    fn reuse_hits(&self, task: &Task, row: &RowId) -> u64 {
        match &row.node {
            None => task.reuse_hits(),
            Some(_) => self.stage.map_or(0, KeptStage::reuses),
        }
    }

    fn callback(&self, task: &Task, row: &RowId) -> Option<CallbackStatus> {
        match &row.node {
            None => task.callback_status,
            Some(_) => self.stage.and_then(|stage| stage.callback_status),
        }
    }
}

/// Draws one row.
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
    if model.watched.has(row) {
        put(
            buffer,
            area.x + 1,
            area.y,
            area.width.saturating_sub(1).min(1),
            "⚑",
            theme.warn(),
        );
    }
    let x = area.x + 2;
    draw_name(model, task, row, index, columns.name, x, area.y, buffer);
    let Some(facts) = RowFacts::new(task, row, model) else {
        return;
    };
    let RowFacts { stage, progress, .. } = facts;
    let mut x = x + columns.name;
    draw_state(model, row, task, &facts, columns, x, area.y, buffer);
    x += columns.state;
    // Without room for both, a running stage or pipeline shows its bar and not its time.
    let has_bar = row.node.is_some() || task.under_way().is_some();
    let instead = columns.bar == 0 && has_bar && progress.is_some() && area.width < NARROW;
    let room = if instead { columns.time } else { columns.bar };
    if let Some(progress) = progress.filter(|_| room > 1) {
        let bar = figures::format_bar(progress, room - 1);
        put(buffer, x, area.y, room - 1, &bar, theme.accent());
    } else if let Some(rest) = facts.rest(row, model).filter(|_| columns.bar > 1) {
        let room = columns.bar - 1;
        put(buffer, x, area.y, room, &rest.describe_short(), theme.faint());
    }
    x += columns.bar + columns.time;
    let seconds = facts.seconds(task, row, model);
    if !instead && facts.waits.is_none() && (seconds > 0.0 || facts.state != StageState::Pending) {
        let room = columns.time.saturating_sub(1);
        put_right(buffer, x, area.y, room, &facts.time(task, row, model), facts.style);
    }
    x += columns.attempt;
    let attempt = stage.map_or(1, |stage| stage.attempt);
    if attempt > 1 {
        put_right(buffer, x, area.y, columns.attempt, &format!("#{attempt}"), theme.warn());
    }
    x += columns.reuse;
    let hits = facts.reuse_hits(task, row);
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
    if let Some(callback) = facts.callback(task, row).filter(|_| columns.callback > 0) {
        let text = format!("→{}", callback_glyph(callback));
        put_right(buffer, x, area.y, columns.callback, &text, theme.callback(callback));
    }
    if at_cursor {
        buffer.set_style(within(buffer, area), theme.cursor());
    }
}

/// Draws the name of a row, and a task's pipeline beside it.
#[allow(clippy::too_many_arguments)]
fn draw_name(model: &Model, task: &Task, row: &RowId, index: usize, room: u16, x: u16, y: u16, buffer: &mut Buffer) {
    let theme = model.theme;
    let (sign, name, style) = match &row.node {
        None if model.tree.is_expanded(&task.id) => ("▾ ", task.id.as_str(), theme.strong()),
        None => ("▸ ", task.id.as_str(), theme.strong()),
        Some(node) => {
            // The last stage of its task on screen, whatever a filter hides.
            let last = model.tree.rows.get(index + 1).is_none_or(|next| next.task != row.task);
            (if last { "  └ " } else { "  ├ " }, node.as_str(), theme.plain())
        }
    };
    let mut used = put(buffer, x, y, room, sign, theme.faint());
    let for_name = room.saturating_sub(used + 1);
    // Names differ at their ends as often as at their beginnings.
    used += put(
        buffer,
        x + used,
        y,
        for_name,
        &cut_middle(&harmless(name), for_name),
        style,
    );
    if row.node.is_none()
        && let Some(pipeline) = &task.pipeline
    {
        let room = room.saturating_sub(used + 3);
        let (text, style) = pipeline::describe_beside_id(pipeline, room, theme);
        put(buffer, x + used + 2, y, room, &text, style);
    }
}

/// Draws the state of a row, or what an action on it waits for.
#[allow(clippy::too_many_arguments)]
fn draw_state(
    model: &Model,
    row: &RowId,
    task: &Task,
    facts: &RowFacts,
    columns: &Columns,
    x: u16,
    y: u16,
    buffer: &mut Buffer,
) {
    let theme = model.theme;
    let state = facts.state;
    let room = columns.state.saturating_sub(1);
    let mut draw = |room: u16, words: &str, style: Style| {
        warned::put_beside(buffer, Position { x, y }, room, (words, style), facts.warnings, theme);
    };
    if let Some(due) = model.delete_due(&task.id) {
        let left = due.seconds_since(model.now).ceil();
        put(buffer, x, y, room, &format!("✂ del in {left:.0} s"), theme.bad());
    } else if model.is_requested(row) {
        put(buffer, x, y, room, "… requested", theme.warn());
    } else if model.failure_of(row).is_some() {
        draw(room, "! refused", theme.bad());
    } else if let Some(waits) = &facts.waits {
        // The columns beside it are empty.
        let room = room + columns.bar + columns.time + columns.attempt;
        let style = if state == StageState::Pending {
            theme.warn()
        } else {
            theme.faint()
        };
        draw(room, waits, style);
    } else if facts.reused {
        draw(room, "↺ reused", theme.reuse());
    } else {
        let has_figure = row.node.is_some() || task.under_way().is_some();
        let progress = facts.progress.filter(|_| has_figure && state == StageState::Running);
        let text = match progress {
            Some(progress) => format!("{} run {} %", glyph(state), figures::round_percent(progress)),
            None => format!("{} {}", glyph(state), word(state)),
        };
        draw(room, &text, theme.state(state));
    }
}
