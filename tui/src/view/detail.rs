//! The row at the cursor in full: its state, why it ran, input, output, what reuse did, its log.

use onceover_types::{CallbackStatus, NodeName, StageState};
use onceover_wire::StageSummary;
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::{
    block::{self, Block, Lines},
    callbacks,
    frame::{below, draw_frame, draw_rule, inset},
    json_tree, log_pane, pipeline,
    reasons::describe_decision,
    reuse, task_detail,
    text::{cut_middle, harmless, put, width},
    warned,
};
use crate::{
    figures,
    layout::Panes,
    model::{Model, detail::Tab, log::LogState, task::Task},
    theme::{callback_glyph, glyph, word},
};

/// With so many rows below the overview the output is shown there, too.
const TALL: u16 = 24;
/// Columns of a text that another program shows.
const TEXT_COLUMNS: u16 = 120;

/// Draws the detail of the row at the cursor.
pub fn draw(model: &Model, panes: &Panes, buffer: &mut Buffer) {
    let theme = model.theme;
    let area = panes.inner(panes.detail);
    let title = model.tree.cursor.as_ref().map_or(String::new(), ToString::to_string);
    // Ids differ at their ends as often as at their beginnings.
    let title = harmless(&title);
    if panes.is_framed() {
        let title = cut_middle(&title, panes.detail.width.saturating_sub(4));
        draw_frame(buffer, panes.detail, &title, theme.faint(), theme.strong());
    }
    if area.is_empty() {
        return;
    }
    let Some(row) = &model.tree.cursor else {
        put(buffer, area.x, area.y, area.width, " nothing selected", theme.faint());
        return;
    };
    let Some(task) = model.store.get(&row.task) else {
        return;
    };
    let mut area = find_text_area(panes);
    if !panes.is_framed() {
        put(buffer, area.x, area.y, area.width, &title, theme.strong());
        area = below(area, 1);
    }
    match &row.node {
        Some(node) => match task.stages.get(node) {
            Some(stage) => draw_stage(model, node, task, &stage.summary(), area, buffer),
            None => task_detail::draw_planned(model, node, task, area, buffer),
        },
        None => task_detail::draw_task(model, task, area, buffer),
    }
}

fn draw_stage(model: &Model, node: &NodeName, task: &Task, stage: &StageSummary, area: Rect, buffer: &mut Buffer) {
    draw_head(model, node, task, stage, area, buffer);
    let mut area = below(area, 1);
    if stage.status == StageState::Running {
        draw_progress(model, node, task, stage, area, buffer);
        area = below(area, 1);
    }
    draw_tabs(model, area, buffer);
    area = below(area, 2);
    match model.detail.tab {
        Tab::Overview => draw_overview(
            model,
            &list_overview(model, node, task, stage, area.width),
            area,
            buffer,
        ),
        Tab::Input | Tab::Output => draw_json(model, area, buffer),
        Tab::Reuse => draw_scrolled(model, &reuse::list_lines(model, stage, area.width), area, buffer),
        Tab::Log => log_pane::draw_scrolled(model, area, buffer),
    }
}

/// Writes what the overview or the reuse tab shows, a line each; `None` where no stage is at the cursor.
pub fn list_tab_text(model: &Model) -> Option<String> {
    let row = model.tree.cursor.as_ref()?;
    let (task, node) = (model.store.get(&row.task)?, row.node.as_ref()?);
    let stage = task.stages.get(node)?;
    let lines = match model.detail.tab {
        Tab::Reuse => reuse::list_lines(model, &stage.summary(), TEXT_COLUMNS),
        _ => list_overview(model, node, task, &stage.summary(), TEXT_COLUMNS),
    };
    Some(lines.into_iter().map(|(line, _)| harmless(&line) + "\n").collect())
}

/// Draws the stage's state and attempt.
fn draw_head(model: &Model, node: &NodeName, task: &Task, stage: &StageSummary, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let state = stage.status;
    let words = warned::join_mark(&format!("{} {}", glyph(state), word(state)), stage.warnings);
    let mut head = format!("{words}   attempt {}", stage.attempt);
    if stage.forced {
        head += "   forced";
    }
    let mut style = theme.state(state);
    if task.current_stage(node).is_none()
        && let Some(pipeline) = &task.pipeline
        && let Some(step) = pipeline.step(node)
    {
        // What the pipeline plans comes first: the stage is an earlier run's.
        let planned = pipeline::describe_step(&pipeline.processing, step, model.clock());
        head = format!("{planned}   earlier run: {words}");
        style = pipeline::choose_step_style(step, theme);
    }
    put(buffer, area.x, area.y, area.width, &head, style);
}

/// Draws the bar of a stage that runs, its figure and how long the rest may take.
fn draw_progress(model: &Model, node: &NodeName, task: &Task, stage: &StageSummary, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let progress = stage.progress.unwrap_or(0.0);
    let rest = task.stages.get(node).and_then(|kept| model.estimate_rest(node, kept));
    let eta = rest.map_or_else(String::new, |rest| format!("   {}", rest.describe()));
    let text = match stage.progress {
        Some(progress) => format!(" {} %{eta}", figures::round_percent(progress)),
        None if eta.is_empty() => " no figure yet".into(),
        None => eta[2..].to_owned(),
    };
    let needs = (width(&text) + 1).max(24);
    let bar = figures::format_bar(progress, area.width.saturating_sub(needs).min(40));
    let used = put(buffer, area.x, area.y, area.width, &bar, theme.accent());
    let room = area.width.saturating_sub(used);
    put(buffer, area.x + used, area.y, room, &text, theme.plain());
}

/// Draws lines from where the detail is scrolled to.
fn draw_scrolled(model: &Model, lines: &Lines, area: Rect, buffer: &mut Buffer) {
    let skip = model.detail.scroll.min(lines.len().saturating_sub(1));
    block::draw(lines, skip, area, buffer);
}

/// Draws the overview and, where there is room below it, the output and the end of the log.
fn draw_overview(model: &Model, lines: &Lines, area: Rect, buffer: &mut Buffer) {
    draw_scrolled(model, lines, area, buffer);
    if model.detail.scroll > 0 {
        return;
    }
    let mut rest = below(area, lines.len() as u16 + 1);
    let text = model.detail.text.as_ref();
    let output = text
        .and_then(|text| text.output.tree.as_ref())
        .filter(|tree| !tree.is_empty());
    if let Some(output) = output.filter(|_| rest.height >= TALL) {
        draw_rule(buffer, rest, "Output", model.theme.faint());
        let room = Rect {
            height: rest.height / 2,
            ..below(rest, 1)
        };
        let used = json_tree::draw_plain(output, room, model.theme, buffer);
        rest = below(rest, used + 2);
    }
    if rest.height >= 2 && model.detail.log.state != LogState::Idle {
        log_pane::draw_end(model, rest, buffer);
    }
}

/// Draws the titles of the tabs.
fn draw_tabs(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    for (tab, x, text) in place_tabs(model, area.x) {
        let is_open = tab == model.detail.tab;
        let style = if is_open {
            model.theme.key()
        } else {
            model.theme.faint()
        };
        put(buffer, x, area.y, area.right().saturating_sub(x), &text, style);
    }
}

/// Lists the tabs with their texts, and the columns where these begin.
fn place_tabs(model: &Model, left: u16) -> Vec<(Tab, u16, String)> {
    let mut x = left;
    let mut places = Vec::new();
    for tab in Tab::ALL {
        let text = if tab == model.detail.tab {
            format!("[{}]", tab.title())
        } else {
            format!(" {} ", tab.title())
        };
        let columns = width(&text);
        places.push((tab, x, text));
        x += columns;
    }
    places
}

/// Finds the tab that is drawn in a cell.
pub fn find_tab(model: &Model, panes: &Panes, at: Position) -> Option<Tab> {
    let stage = model.detail_stage()?;
    let area = find_text_area(panes);
    let title = u16::from(!panes.is_framed());
    let progress = u16::from(stage.status == StageState::Running);
    if at.y != area.y + title + 1 + progress || !area.contains(at) {
        return None;
    }
    let places = place_tabs(model, area.x);
    let found = places.iter().rev().find(|(_, x, _)| *x <= at.x);
    found
        .filter(|(_, x, text)| at.x < x + width(text))
        .map(|(tab, _, _)| *tab)
}

/// Returns the area of the texts in the pane.
fn find_text_area(panes: &Panes) -> Rect {
    inset(panes.inner(panes.detail))
}

/// Lists what is known of the stage, with what was refused or warned of at the last action on it.
fn list_overview(model: &Model, node: &NodeName, task: &Task, stage: &StageSummary, columns: u16) -> Lines {
    let theme = model.theme;
    let mut block = Block::new(columns);
    if let Some(why) = model.tree.cursor.as_ref().and_then(|row| model.failure_of(row)) {
        block.add_fact("refused", why, theme.bad());
    }
    if let Some(warning) = model.tree.cursor.as_ref().and_then(|row| model.warning_of(row)) {
        block.add_fact("warning", warning, theme.warn());
    }
    pipeline::add_step(&mut block, task, node, model.clock(), theme);
    let runner = match stage.runner.as_deref() {
        Some("foreign") => "foreign: another system's worker wrote it",
        Some(runner) => runner,
        None => "not known",
    };
    let queue = if stage.queue.is_empty() {
        String::new()
    } else {
        format!("   queue {}", stage.queue)
    };
    block.add_fact("runner", &format!("{runner}{queue}"), theme.plain());
    add_times(model, node, task, stage, &mut block);
    // After its end a stage has one only where a Celery worker goes on with what was cancelled.
    let has_message = stage.status.in_flight() || stage.runner.as_deref() == Some("celery");
    if let Some(message) = stage.message.as_ref().filter(|_| has_message) {
        block.add_fact("message", message, theme.plain());
    }
    if stage.reuse_hits + stage.joins > 0 {
        let saved = figures::format_long(stage.saved_seconds);
        let hits = figures::count_noun(stage.reuse_hits as usize, "hit");
        let reuse = format!("↺ {hits}, {} joined, {saved} saved", stage.joins);
        block.add_fact("reuse", &reuse, theme.reuse());
    }
    if let Some(callback) = stage.callback_status {
        add_callbacks(model, callback, &mut block);
    }
    let text = model.detail.text.as_ref();
    let list = text.map(|text| text.warnings.as_slice());
    warned::add_warnings(&mut block, stage.warnings, stage.warnings_retryable, list, theme);
    let error = text.and_then(|text| text.error.as_ref()).or(stage.error.as_ref());
    if let Some(error) = error.filter(|_| stage.status == StageState::Failed) {
        block.add_fact("error", error, theme.bad());
    }
    if let Some(failed) = &model.detail.failed {
        block.add_fact("no detail", failed, theme.bad());
    }
    block.add_gap();
    block.say(&format!("Why did it run?  {}", describe_decision(stage)), theme.plain());
    block.into_lines()
}

/// Adds when the stage was queued, started and ended.
fn add_times(model: &Model, node: &NodeName, task: &Task, stage: &StageSummary, block: &mut Block) {
    let theme = model.theme;
    let clock = |time| figures::format_time(time, model.now, &model.tz);
    if let Some(queued) = stage.queued_at {
        let waited = match (stage.status, stage.started_at) {
            (StageState::Pending, _) => format!(
                ", waits for {}",
                figures::format_long(model.clock().seconds_since(queued))
            ),
            (_, Some(started)) => format!(", waited {}", figures::format_long(started.seconds_since(queued))),
            _ => String::new(),
        };
        block.add_fact("queued", &format!("{}{waited}", clock(queued)), theme.plain());
    }
    if stage.status == StageState::Pending
        && let Some(line) = describe_position(model, node, task, stage)
    {
        block.add_fact("position", &line, theme.warn());
    }
    if let Some(started) = stage.started_at.filter(|_| stage.status != StageState::Pending) {
        block.add_fact("started", &clock(started), theme.plain());
    }
    if let Some(ended) = stage.ended_at.filter(|_| !stage.status.in_flight()) {
        let took = figures::format_long(stage.duration);
        block.add_fact("ended", &format!("{}   took {took}", clock(ended)), theme.plain());
    }
}

/// Adds the newest callback of the stage, and how many others there are.
fn add_callbacks(model: &Model, callback: CallbackStatus, block: &mut Block) {
    let theme = model.theme;
    let style = theme.callback(callback);
    match model.detail.deliveries.as_slice() {
        [] => {
            let words = format!("{} {}", callback_glyph(callback), callback.as_str());
            block.add_fact("callback", &words, style);
        }
        [newest, others @ ..] => {
            block.add_fact("callback", &callbacks::describe_progress(model, newest), style);
            block.add_fact("", &format!("to {}", newest.url), theme.plain());
            if !others.is_empty() {
                block.add_fact("", &format!("{} more: c", others.len()), theme.faint());
            }
        }
    }
}

/// Describes the position of the stage in its queue.
fn describe_position(model: &Model, node: &NodeName, task: &Task, stage: &StageSummary) -> Option<String> {
    let queues = model.detail.queues.as_ref()?;
    let queue = queues.queues.iter().find(|queue| queue.name == stage.queue)?;
    if let Some(reason) = &queue.waiting {
        return Some(reason.clone());
    }
    let slots = format!("{} of {} slots in use", queue.running, queue.slots);
    let position = queue
        .next
        .iter()
        .position(|run| run.task_id == *task.id && run.task_name == *node);
    Some(match position {
        Some(position) => format!("{} in {}; {slots}", figures::format_ordinal(position + 1), queue.name),
        None => format!("one of {} in {}; {slots}", queue.pending, queue.name),
    })
}

/// Draws a JSON text as a tree; why not, where there is none.
fn draw_json(model: &Model, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let text = match (model.detail.shown_json(), &model.detail.failed) {
        (Some(tree), _) => return json_tree::draw(model, tree, area, buffer),
        (None, Some(why)) => why.as_str(),
        (None, None) if !model.is_live() => "not read before the connection was lost",
        (None, None) => "…",
    };
    put(buffer, area.x, area.y, area.width, text, theme.faint());
}
