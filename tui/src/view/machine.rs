//! Draws the page of the machine: what was used in the last minutes, as bars over time, with the stages that ran at the time
//! of the cursor.

use onceover_wire::{CapacityUse, GpuLoad, MachineSample};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    block::{self, Block},
    frame::{draw_frame, draw_rule},
    graph::{Bars, draw_bars},
    text::{cut_middle, harmless, put},
};
use crate::{figures, layout, model::Model, theme::Theme};

/// Columns of a name, and of the figures behind the bars.
const NAME: u16 = 14;
const FIGURES: u16 = 34;
/// Columns of bars that still say something.
const LEAST_BARS: u16 = 8;
/// Rows of bars at most.
const MOST_ROWS: u16 = 3;
/// Percent from which on something is nearly used up.
const HIGH: f64 = 90.0;

/// One row of bars.
struct Series {
    name: String,
    /// Percent of each sample, oldest first.
    values: Vec<u64>,
    /// Percent at the cursor.
    percent: f64,
    /// What is used at the cursor.
    figures: String,
    style: Style,
}

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let panes = layout::lay_out_panes((buffer.area.width, buffer.area.height), true);
    let theme = model.theme;
    let area = panes.inner(panes.detail);
    if panes.is_framed() {
        draw_frame(buffer, panes.detail, &describe(model), theme.faint(), theme.strong());
    }
    let samples = model.observed.samples();
    let Some(index) = model.observed.sample_index() else {
        let (text, style) = match &model.observed.machine.failed {
            Some(why) => (why.as_str(), theme.bad()),
            None if model.observed.machine.value.is_none() => ("…", theme.faint()),
            None => ("no sample yet", theme.faint()),
        };
        put(buffer, area.x + 1, area.y, area.width.saturating_sub(1), text, style);
        return;
    };
    let about = (area.height / 2).min(13);
    let upper = Rect {
        height: area.height - about,
        ..area
    };
    draw_series(&list_series(samples, index, theme), index, upper, theme, buffer);
    let lower = Rect {
        y: area.y + upper.height,
        height: about,
        ..area
    };
    draw_moment(model, &samples[index], lower, buffer);
}

/// Says what is shown.
fn describe(model: &Model) -> String {
    let observed = &model.observed;
    let mut title = "Machine".to_owned();
    if let Some(load) = &observed.machine.value {
        title += &format!(" · {}", figures::count_noun(load.cpus as usize, "processor"));
    }
    if let Some(why) = observed
        .machine
        .failed
        .as_ref()
        .filter(|_| observed.machine.value.is_some())
    {
        title += &format!(" · not up to date: {why}");
    }
    title
}

/// Lists what is drawn, each with the figures of one sample.
fn list_series(samples: &[MachineSample], index: usize, theme: Theme) -> Vec<Series> {
    let at = &samples[index];
    let round = |percent: f64| percent.round().max(0.0) as u64;
    let of_all = |read: &dyn Fn(&MachineSample) -> f64| -> Vec<u64> {
        samples.iter().map(|sample| round(read(sample))).collect()
    };
    let mut series = vec![
        Series {
            name: "cpu".into(),
            values: of_all(&|sample| f64::from(sample.cpu_percent)),
            percent: f64::from(at.cpu_percent),
            figures: String::new(),
            style: theme.accent(),
        },
        Series {
            name: "memory".into(),
            values: of_all(&|sample| sample.memory.percent()),
            percent: at.memory.percent(),
            figures: describe_use(at.memory),
            style: theme.good(),
        },
    ];
    if let Some(disk) = at.disk {
        series.push(Series {
            name: "disk".into(),
            values: of_all(&|sample| sample.disk.map_or(0.0, CapacityUse::percent)),
            percent: disk.percent(),
            figures: describe_use(disk),
            style: theme.good(),
        });
    }
    series.push(Series {
        name: "daemon".into(),
        values: of_all(&|sample| f64::from(sample.daemon.cpu_percent)),
        percent: f64::from(at.daemon.cpu_percent),
        figures: figures::format_bytes(at.daemon.resident_bytes),
        style: theme.accent(),
    });
    for (number, gpu) in at.gpus.iter().enumerate() {
        let of_gpu = |sample: &MachineSample, read: fn(&GpuLoad) -> f64| sample.gpus.get(number).map_or(0.0, read);
        let heat = gpu.temperature.map_or(String::new(), |degrees| format!("{degrees} C"));
        series.push(Series {
            name: format!("gpu {number}"),
            values: of_all(&|sample| of_gpu(sample, |gpu| f64::from(gpu.use_percent))),
            percent: f64::from(gpu.use_percent),
            figures: heat,
            style: theme.reuse(),
        });
        series.push(Series {
            name: format!("gpu {number} mem"),
            values: of_all(&|sample| of_gpu(sample, |gpu| gpu.memory.percent())),
            percent: gpu.memory.percent(),
            figures: describe_use(gpu.memory),
            style: theme.reuse(),
        });
    }
    series
}

/// Writes how much of something is used: `3.2 GB of 8.0 GB`.
fn describe_use(capacity: CapacityUse) -> String {
    format!(
        "{} of {}",
        figures::format_bytes(capacity.used_bytes),
        figures::format_bytes(capacity.total_bytes)
    )
}

/// Draws the bars, as many as there is room for.
fn draw_series(series: &[Series], index: usize, area: Rect, theme: Theme, buffer: &mut Buffer) {
    let rows = (area.height / (series.len() as u16).max(1)).clamp(1, MOST_ROWS);
    let fit = usize::from(area.height / rows);
    for (number, one) in series.iter().take(fit).enumerate() {
        let line = Rect {
            y: area.y + number as u16 * rows,
            height: rows,
            ..area
        };
        draw_one(one, index, line, theme, buffer);
    }
}

fn draw_one(series: &Series, index: usize, area: Rect, theme: Theme, buffer: &mut Buffer) {
    let bottom = area.bottom() - 1;
    put(
        buffer,
        area.x + 1,
        bottom,
        NAME.min(area.width),
        &series.name,
        theme.plain(),
    );
    let is_high = series.percent >= HIGH;
    let word = if is_high { "high" } else { "" };
    let text = format!("{:>4.0} % {word} {}", series.percent, series.figures);
    let style = if is_high { theme.warn() } else { theme.plain() };
    let bars = area.width.saturating_sub(NAME + FIGURES + 2);
    let bars = if bars >= LEAST_BARS { bars } else { 0 };
    let x = area.x + 1 + NAME + bars;
    put(buffer, x, bottom, area.right().saturating_sub(x), &text, style);
    let most = series.values.iter().copied().max().unwrap_or_default().max(100);
    let drawn = Bars {
        values: &series.values,
        most,
        cursor: Some(index),
        style: series.style,
    };
    let room = Rect {
        x: area.x + 1 + NAME,
        width: bars,
        ..area
    };
    draw_bars(&drawn, room, theme, buffer);
}

/// Draws when the sample at the cursor was taken, which slots are used, and what ran.
fn draw_moment(model: &Model, sample: &MachineSample, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    if area.height == 0 {
        return;
    }
    let time = figures::format_clock(sample.at, &model.tz);
    let age = figures::format_ago(model.present_clock().seconds_since(sample.at));
    let title = format!(" {time} · {age} ");
    draw_rule(buffer, area, &title, theme.faint());
    let mut block = Block::new(area.width.saturating_sub(2));
    let queues = model.observed.queues.value.iter().flat_map(|queues| &queues.queues);
    let slots: Vec<_> = queues
        .map(|queue| format!("{} {} of {}", queue.name, queue.running, queue.slots))
        .collect();
    if !slots.is_empty() {
        block.add_fact("slots now", &slots.join(" · "), theme.plain());
    }
    for (index, stage) in sample.stages.iter().enumerate() {
        let label = if index == 0 { "ran" } else { "" };
        block.add_fact(
            label,
            &format!("{} › {}", stage.task_id, stage.task_name),
            theme.accent(),
        );
    }
    if sample.more_stages > 0 {
        block.add_fact("", &format!("+{} more", sample.more_stages), theme.faint());
    }
    if sample.stages.is_empty() {
        block.add_fact("ran", "nothing on this daemon", theme.faint());
    }
    for (number, gpu) in sample.gpus.iter().enumerate() {
        let name = harmless(&gpu.name);
        block.add_fact(&format!("gpu {number}"), &cut_middle(&name, 60), theme.faint());
    }
    let text = Rect {
        x: area.x + 1,
        y: area.y + 1,
        width: area.width.saturating_sub(2),
        height: area.height - 1,
    };
    block::draw(&block.into_lines(), 0, text, buffer);
}
