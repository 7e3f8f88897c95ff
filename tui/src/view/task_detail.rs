//! The detail of a task, and of a planned step without a stage.

use onceover_types::NodeName;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    block::{self, Block, Lines},
    pipeline,
    text::wrap,
    warned,
};
use crate::{
    figures,
    model::{
        Model,
        task::{Standing, Task},
    },
    theme::{callback_glyph, glyph, word},
};

/// Draws a planned step that has no stage yet.
pub fn draw_planned(model: &Model, node: &NodeName, task: &Task, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let clock = model.clock();
    let mut block = Block::new(area.width);
    if let Some(pipeline) = &task.pipeline
        && let Some(step) = pipeline.step(node)
    {
        let text = pipeline::describe_step(&pipeline.processing, step, clock);
        block.say(&text, pipeline::choose_step_style(step, theme));
        block.add_gap();
    }
    pipeline::add_step(&mut block, task, node, clock, theme);
    block.add_gap();
    block.say("Planned by the pipeline; there is no stage yet.", theme.faint());
    block::draw(&block.into_lines(), 0, area, buffer);
}

/// Draws a task: its pipeline, its figures, its stages and planned steps.
pub fn draw_task(model: &Model, task: &Task, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let clock = |time| figures::format_time(time, model.now, &model.tz);
    let state = task.state();
    let words = format!("{} {}", glyph(state), word(state));
    let mut lines: Lines = vec![
        (
            format!(
                "{}   {}, {} in flight",
                warned::join_mark(&words, task.warnings()),
                figures::count_noun(task.stages.len(), "stage"),
                task.count_in_flight()
            ),
            theme.state(state),
        ),
        (String::new(), theme.plain()),
    ];
    if let Some(why) = model.tree.cursor.as_ref().and_then(|row| model.failure_of(row)) {
        let mut block = Block::new(area.width);
        block.add_fact("refused", why, theme.bad());
        lines.extend(block.into_lines());
    }
    if let Some(pipeline) = &task.pipeline {
        let mut block = Block::new(area.width);
        pipeline::add_facts(&mut block, &pipeline.processing, theme);
        lines.extend(block.into_lines());
    }
    lines.extend([
        (format!("created   {}", clock(task.created_at)), theme.plain()),
        (format!("updated   {}", clock(task.updated_at)), theme.plain()),
        (
            format!("run time  {}", figures::format_long(task.elapsed(model.clock()))),
            theme.plain(),
        ),
    ]);
    let saved: f64 = task.stages.values().map(|stage| stage.saved_seconds()).sum();
    if task.reuse_hits() > 0 {
        lines.push((
            format!(
                "reuse     ↺ {} without a run, {} saved",
                figures::count_noun(task.reuse_hits() as usize, "answer"),
                figures::format_long(saved)
            ),
            theme.reuse(),
        ));
    }
    if let Some(callback) = task.callback_status {
        lines.push((
            format!("callback  {} {}", callback_glyph(callback), callback.as_str()),
            theme.callback(callback),
        ));
    }
    if let Some(system) = &model.system {
        lines.push((
            format!("files     {}/{}", system.share.trim_end_matches('/'), task.id),
            theme.plain(),
        ));
    }
    lines.push((String::new(), theme.plain()));
    lines.extend(list_stages(model, task, area.width));
    block::draw(
        &lines,
        model.detail.scroll.min(lines.len().saturating_sub(1)),
        area,
        buffer,
    );
}

/// Lists the stages, a line each, with the beginning of its error.
fn list_stages(model: &Model, task: &Task, width: u16) -> Lines {
    let theme = model.theme;
    let mut lines = Lines::new();
    for (node, stage) in task.rows() {
        let Some(standing) = task.standing(node) else {
            continue;
        };
        let planned = |style| {
            let words = pipeline::describe_wait(task, node, model.clock());
            let (glyph, rest) = words.split_once(' ').unwrap_or((words.as_str(), ""));
            (glyph.to_owned(), rest.to_owned(), style)
        };
        let (glyph, word, style) = match standing {
            Standing::State(state) => (glyph(state).to_owned(), word(state).to_owned(), theme.state(state)),
            Standing::Reused => ("↺".to_owned(), "reused".to_owned(), theme.reuse()),
            Standing::Waiting => planned(theme.warn()),
            Standing::Skipped => planned(theme.faint()),
        };
        let progress = task.progress(node);
        let progress = progress.map_or(String::new(), |progress| {
            format!(" {} %", figures::round_percent(progress))
        });
        let line = format!("{glyph} {node}  {word}{progress}");
        let line = warned::join_mark(&line, task.row_warnings(node).warnings);
        let mut parts = wrap(&line, width).into_iter();
        lines.extend(parts.next().map(|line| (line, style)));
        let rest = parts.collect::<Vec<_>>().join(" ");
        let rest = wrap(&rest, width.saturating_sub(4));
        lines.extend(rest.into_iter().map(|line| (format!("    {line}"), style)));
        if let Some(error) = stage.and_then(|stage| stage.error()) {
            lines.extend(
                wrap(error, width.saturating_sub(4))
                    .into_iter()
                    .take(3)
                    .map(|line| (format!("    {line}"), theme.bad())),
            );
        }
    }
    lines
}
