//! The row under the cursor in full: how it stands, why it ran, input, output, what reuse did, its log.

use onceover_types::{NodeName, StageState};
use onceover_wire::StageSummary;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    block::{self, Block, Lines},
    callbacks, figures, frame,
    layout::Panes,
    pipeline, reuse, task_detail,
    text::put,
    warned,
};
use crate::{
    model::{
        Model,
        detail::Tab,
        log::LogState,
        store::{Task, elapsed},
    },
    theme::{callback_glyph, glyph, word},
};

/// Why a run was started, as a sentence without its subject (R4).
pub fn why(reason: Option<&str>) -> Option<&'static str> {
    Some(match reason? {
        "absent" => "there was no earlier result under this task",
        "failed" => "the earlier run failed",
        "cancelled" => "the earlier run was cancelled",
        "empty_output" => "the earlier result was empty",
        "forced" => "a run was forced, whatever is stored",
        "input_changed" => "the stored result came from other input, and the request was strict",
        "input_unknown" => {
            "whether the stored result came from the same input is not known, and the request was strict"
        }
        "retryable_warnings" => {
            "a warning of the stored result says that running again could give a better one, and the request was strict"
        }
        "artifact_missing" => "files of the stored result were no longer on disk",
        "artifact_changed" => "files of the stored result had changed on disk",
        "lost" => "the worker that ran it before had stopped sending heartbeats",
        "policy_off" => "results of this node are not reused, by its configuration",
        _ => return None,
    })
}

pub fn draw(model: &Model, panes: &Panes, buffer: &mut Buffer) {
    let theme = model.theme;
    let area = panes.inner(panes.detail);
    let title = model.tree.cursor.as_ref().map_or(String::new(), ToString::to_string);
    if panes.framed() {
        frame(buffer, panes.detail, &title, theme.faint(), theme.strong());
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
    let mut area = Rect {
        x: area.x + 1.min(area.width),
        width: area.width.saturating_sub(2),
        ..area
    };
    if !panes.framed() {
        put(buffer, area.x, area.y, area.width, &title, theme.strong());
        area = below(area, 1);
    }
    match &row.node {
        Some(node) => match task.stages.get(node) {
            Some(stage) => draw_stage(model, node, task, stage, area, buffer),
            None => task_detail::draw_planned(model, node, task, area, buffer),
        },
        None => task_detail::draw_task(model, task, area, buffer),
    }
}

fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect {
        y: area.y + rows,
        height: area.height - rows,
        ..area
    }
}

fn draw_stage(model: &Model, node: &NodeName, task: &Task, stage: &StageSummary, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let clock = model.clock();
    let state = stage.status;
    let words = warned::beside(&format!("{} {}", glyph(state), word(state)), stage.warnings);
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
        let planned = pipeline::step_status(&pipeline.processing, step, clock);
        head = format!("{planned}   earlier run: {words}");
        style = pipeline::step_style(step, theme);
    }
    put(buffer, area.x, area.y, area.width, &head, style);
    let mut area = below(area, 1);
    if state == StageState::Running {
        let progress = stage.progress.unwrap_or(0.0);
        let seconds = elapsed(stage, clock);
        let eta = if (1.0..100.0).contains(&progress) && model.is_live() {
            format!("   eta {}", figures::long(seconds * (100.0 - progress) / progress))
        } else {
            String::new()
        };
        let text = match stage.progress {
            Some(progress) => format!(" {} %{eta}", figures::percent(progress)),
            None => " no figure yet".into(),
        };
        let bar_columns = area.width.saturating_sub(24).min(40);
        let used = put(
            buffer,
            area.x,
            area.y,
            area.width,
            &figures::bar(progress, bar_columns),
            theme.accent(),
        );
        put(
            buffer,
            area.x + used,
            area.y,
            area.width.saturating_sub(used),
            &text,
            theme.plain(),
        );
        area = below(area, 1);
    }
    draw_tabs(model, area, buffer);
    area = below(area, 2);
    let text = model.detail.text.as_ref();
    match model.detail.tab {
        Tab::Overview => {
            let lines = overview(model, node, task, stage, area.width);
            // Half the room at most, when there is a log to see below it.
            let wants = lines.len() as u16;
            let log_rows = area.height.saturating_sub(wants + 1);
            block::draw(
                &lines,
                model.detail.scroll.min(lines.len().saturating_sub(1)),
                area,
                buffer,
            );
            if model.detail.scroll == 0 && log_rows >= 2 && model.detail.log.state != LogState::Idle {
                draw_log(model, 0, below(area, wants + 1), buffer);
            }
        }
        Tab::Input => draw_json(model, text.map(|text| text.input.as_slice()), area, buffer),
        Tab::Output => draw_json(model, text.map(|text| text.output.as_slice()), area, buffer),
        Tab::Reuse => {
            let lines = reuse::lines(model, stage, area.width);
            block::draw(
                &lines,
                model.detail.scroll.min(lines.len().saturating_sub(1)),
                area,
                buffer,
            );
        }
        Tab::Log => draw_log(model, model.detail.scroll, area, buffer),
    }
}

fn draw_tabs(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let mut x = area.x;
    for tab in Tab::ALL {
        let here = tab == model.detail.tab;
        let text = if here {
            format!("[{}]", tab.title())
        } else {
            format!(" {} ", tab.title())
        };
        let style = if here { model.theme.key() } else { model.theme.faint() };
        x += put(buffer, x, area.y, area.right().saturating_sub(x), &text, style);
    }
}

fn overview(model: &Model, node: &NodeName, task: &Task, stage: &StageSummary, columns: u16) -> Lines {
    let theme = model.theme;
    let clock = |time| figures::clock(time, model.now, &model.tz);
    let mut block = Block::new(columns);
    if let Some(why) = model.tree.cursor.as_ref().and_then(|row| model.failure_of(row)) {
        block.fact("refused", why, theme.bad());
    }
    if let Some(warning) = model.tree.cursor.as_ref().and_then(|row| model.warning_of(row)) {
        block.fact("warning", warning, theme.warn());
    }
    pipeline::say_step(&mut block, task, node, model.clock(), theme);
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
    block.fact("runner", &format!("{runner}{queue}"), theme.plain());
    if let Some(queued) = stage.queued_at {
        let waited = match (stage.status, stage.started_at) {
            (StageState::Pending, _) => format!(", waits for {}", figures::long(model.clock().seconds_since(queued))),
            (_, Some(started)) => format!(", waited {}", figures::long(started.seconds_since(queued))),
            _ => String::new(),
        };
        block.fact("queued", &format!("{}{waited}", clock(queued)), theme.plain());
    }
    if stage.status == StageState::Pending
        && let Some(line) = queue_place(model, node, task, stage)
    {
        block.fact("position", &line, theme.warn());
    }
    if let Some(started) = stage.started_at.filter(|_| stage.status != StageState::Pending) {
        block.fact("started", &clock(started), theme.plain());
    }
    if let Some(ended) = stage.ended_at.filter(|_| !stage.status.in_flight()) {
        block.fact(
            "ended",
            &format!("{}   took {}", clock(ended), figures::long(stage.duration)),
            theme.plain(),
        );
    }
    if let Some(message) = stage.message.as_ref().filter(|_| stage.status.in_flight()) {
        block.fact("message", message, theme.plain());
    }
    if stage.reuse_hits + stage.joins > 0 {
        block.fact(
            "reuse",
            &format!(
                "↺ {} hits, {} joined, {} saved",
                stage.reuse_hits,
                stage.joins,
                figures::long(stage.saved_seconds)
            ),
            theme.reuse(),
        );
    }
    if let Some(callback) = stage.callback_status {
        let style = theme.callback(callback);
        match model.detail.deliveries.as_slice() {
            [] => block.fact(
                "callback",
                &format!("{} {}", callback_glyph(callback), callback.as_str()),
                style,
            ),
            [newest, others @ ..] => {
                block.fact("callback", &callbacks::so_far(model, newest), style);
                block.fact("", &format!("to {}", newest.url), theme.plain());
                if !others.is_empty() {
                    block.fact("", &format!("{} more: c", others.len()), theme.faint());
                }
            }
        }
    }
    let text = model.detail.text.as_ref();
    let list = text.map(|text| text.warnings.as_slice());
    warned::say(&mut block, stage.warnings, stage.warnings_retryable, list, theme);
    let error = model
        .detail
        .text
        .as_ref()
        .and_then(|text| text.error.as_ref())
        .or(stage.error.as_ref());
    if let Some(error) = error.filter(|_| stage.status == StageState::Failed) {
        block.fact("error", error, theme.bad());
    }
    if let Some(failed) = &model.detail.failed {
        block.fact("no detail", failed, theme.bad());
    }
    block.gap();
    block.say(&format!("Why did it run?  {}", decision(stage)), theme.plain());
    block.lines()
}

/// The reuse decision behind the run.
pub fn decision(stage: &StageSummary) -> String {
    match (stage.reason.as_deref(), why(stage.reason.as_deref())) {
        (Some(reason), Some(why)) => format!("miss · {reason}: {why}."),
        (Some(reason), None) => format!("miss · {reason}."),
        (None, _) if stage.run_id.is_none() => "It was written by another worker; there is no record of why.".into(),
        (None, _) => "The reason was not recorded.".into(),
    }
}

fn queue_place(model: &Model, node: &NodeName, task: &Task, stage: &StageSummary) -> Option<String> {
    let queues = model.detail.queues.as_ref()?;
    let queue = queues.queues.iter().find(|queue| queue.name == stage.queue)?;
    let slots = format!("{} of {} slots in use", queue.running, queue.slots);
    let place = queue
        .next
        .iter()
        .position(|run| run.task_id == *task.id && run.task_name == *node);
    Some(match place {
        Some(place) => format!("{} in {}; {slots}", figures::ordinal(place + 1), queue.name),
        None => format!("one of {} in {}; {slots}", queue.pending, queue.name),
    })
}

fn draw_json(model: &Model, lines: Option<&[String]>, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let Some(lines) = lines else {
        let text = match &model.detail.failed {
            Some(why) => why.as_str(),
            None if !model.is_live() => "not read before the connection was lost",
            None => "…",
        };
        put(buffer, area.x, area.y, area.width, text, theme.faint());
        return;
    };
    let skip = model.detail.scroll.min(lines.len().saturating_sub(1));
    for (index, line) in lines.iter().skip(skip).take(usize::from(area.height)).enumerate() {
        put(buffer, area.x, area.y + index as u16, area.width, line, theme.plain());
    }
}

/// The log's end, or what lies `up` lines above it.
fn draw_log(model: &Model, up: usize, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = model.theme;
    let log = &model.detail.log;
    let state = match &log.state {
        LogState::Idle => "".to_owned(),
        LogState::Loading => "…".to_owned(),
        LogState::Following if up > 0 => format!("{up} lines above the end"),
        LogState::Following => "following".to_owned(),
        LogState::Ended if log.is_empty() => "empty".to_owned(),
        LogState::Ended => "ended".to_owned(),
        LogState::Failed(why) => why.clone(),
    };
    let rule = format!("Log  {state} {}", "─".repeat(usize::from(area.width)));
    let room = area.width;
    put(buffer, area.x, area.y, room, rule.trim_end(), theme.faint());
    let body = below(area, 1);
    let height = usize::from(body.height);
    let end = log.len().saturating_sub(up).max(height.min(log.len()));
    let start = end.saturating_sub(height);
    for (row, index) in (start..end).enumerate() {
        put(
            buffer,
            body.x,
            body.y + row as u16,
            body.width,
            &log.line(index),
            theme.plain(),
        );
    }
}
