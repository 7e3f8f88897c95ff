//! Draws the page of videos: the list with how far each pipeline is, and the video at the cursor with its steps.

use onceover_wire::{Processing, ProcessingStatus, Video, VideoProbe, VideoSource};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{
    block::{self, Block},
    list_page, pipeline, warned,
};
use crate::{
    actions::{Action, format_hint},
    figures, layout,
    model::{Model, Page, RowId, Subject},
    theme::{glyph, processing_state, word},
};

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let page = layout::lay_out_videos((buffer.area.width, buffer.area.height));
    let theme = model.theme;
    let videos = &model.videos;
    let columns = Columns::for_width(page.inner(page.list).width);
    let titles = columns.cells(["STATE", "", "VIDEO", "TITLE", "LENGTH", "FROM", "PIPELINE"]);
    let area = list_page::draw_head(&page, &describe_rows(model), &titles, theme, buffer);
    if videos.list.keys().is_empty() {
        let hint = format_hint(Action::Register, Page::Videos, &model.bindings, |key| {
            format!(": {key} registers one")
        });
        let empty = format!("no video is registered{hint}");
        let (text, style) = match &videos.failed {
            Some(why) => (why.as_str(), theme.bad()),
            None if !videos.read => ("…", theme.faint()),
            None => (empty.as_str(), theme.faint()),
        };
        list_page::draw_placeholder(text, style, area, buffer);
    }
    list_page::draw_rows(
        &videos.list,
        |id| videos.marks.contains(id),
        area,
        theme,
        buffer,
        |id, line, buffer| {
            if let Some(video) = videos.get(id) {
                draw_row(model, video, &columns, line, buffer);
            }
        },
    );
    draw_item(model, &page, buffer);
}

/// Says which videos are shown.
fn describe_rows(model: &Model) -> String {
    let videos = &model.videos;
    let mut title = format!("Videos {}", videos.list.keys().len());
    if videos.read && !videos.complete {
        title += ", the newest";
    }
    if !videos.marks.is_empty() {
        title += &format!(" · {} marked", videos.marks.len());
    }
    if let Some(why) = videos.failed.as_ref().filter(|_| !videos.list.keys().is_empty()) {
        title += &format!(" · not up to date: {why}");
    }
    title
}

/// Columns of a row; one of width 0 is left out.
struct Columns {
    state: u16,
    bar: u16,
    id: u16,
    title: u16,
    duration: u16,
    source: u16,
    pipeline: u16,
}

impl Columns {
    fn for_width(width: u16) -> Self {
        let mut rest = width.saturating_sub(2);
        let state = 13.min(rest / 2);
        rest -= state;
        let mut take = |columns: u16, keep: u16| {
            if rest >= columns + keep {
                rest -= columns;
                columns
            } else {
                0
            }
        };
        let duration = take(9, 14);
        let bar = take(11, 18);
        let pipeline = take(16, 24);
        let source = take(8, 24);
        let title = if rest >= 48 { rest * 55 / 100 } else { 0 };
        rest -= title;
        Self {
            state,
            bar,
            id: rest,
            title,
            duration,
            source,
            pipeline,
        }
    }

    /// The texts with their columns, from left to right.
    fn cells<'a>(&self, texts: [&'a str; 7]) -> [(u16, &'a str); 7] {
        let widths = [
            self.state,
            self.bar,
            self.id,
            self.title,
            self.duration,
            self.source,
            self.pipeline,
        ];
        std::array::from_fn(|at| (widths[at], texts[at]))
    }
}

/// Draws one row.
fn draw_row(model: &Model, video: &Video, columns: &Columns, line: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let processing = model.processing_of(video);
    let (state, state_style) = describe_state(model, video, processing, columns.state.saturating_sub(1));
    let bar = match processing {
        Some(processing) if processing.status.in_flight() && columns.bar > 1 => {
            figures::format_bar(f64::from(processing.progress), columns.bar - 1)
        }
        _ => String::new(),
    };
    let length = video.probe.duration.map_or("?".into(), figures::format_ticking);
    let name = processing.map_or("", |processing| processing.pipeline.as_str());
    let texts = [
        state.as_str(),
        &bar,
        video.video_id.as_str(),
        &video.title,
        &length,
        name_source(video.source),
        name,
    ];
    let (plain, faint) = (theme.plain(), theme.faint());
    let styles = [state_style, theme.accent(), theme.strong(), plain, plain, faint, faint];
    let cells: Vec<_> = columns
        .cells(texts)
        .into_iter()
        .zip(styles)
        .map(|((columns, text), style)| (columns, text, style))
        .collect();
    list_page::draw_cells(&cells, line, buffer);
}

/// Describes the state of a video, in so many columns.
fn describe_state(model: &Model, video: &Video, processing: Option<&Processing>, room: u16) -> (String, Style) {
    let theme = model.theme;
    let row = RowId::task(&video.task_id.clone().into());
    if let Some(due) = model.video_delete_due(video) {
        let left = due.seconds_since(model.now).ceil();
        return (format!("✂ del in {left:.0} s"), theme.bad());
    }
    if model.is_requested(&row) {
        return ("… requested".into(), theme.warn());
    }
    let (words, style) = match processing {
        _ if model.failure_of(&row).is_some() => ("! refused".into(), theme.bad()),
        None => ("· never run".into(), theme.faint()),
        Some(processing) => {
            let state = processing_state(processing.status);
            let words = match processing.status {
                ProcessingStatus::Processing => format!("{} run {} %", glyph(state), processing.progress),
                _ => format!("{} {}", glyph(state), word(state)),
            };
            (words, theme.state(state))
        }
    };
    let (words, mark) = warned::fit_mark(&words, processing.map_or(0, Processing::warnings), room);
    (format!("{words} {mark}").trim().to_owned(), style)
}

/// Names where a video's file came from.
fn name_source(source: VideoSource) -> &'static str {
    match source {
        VideoSource::Path => "path",
        VideoSource::Url => "url",
        VideoSource::Upload => "upload",
    }
}

/// Describes what a file contains: `1280x720, 25 frames/s, h264, aac, mov, 12.4 MB`.
fn describe_content(probe: &VideoProbe) -> String {
    let mut parts = Vec::new();
    if let (Some(width), Some(height)) = (probe.width, probe.height) {
        parts.push(format!("{width}x{height}"));
    }
    if let Some(rate) = probe.frame_rate {
        let rate = format!("{rate:.2}");
        let rate = rate.trim_end_matches('0').trim_end_matches('.');
        parts.push(format!("{rate} frames/s"));
    }
    parts.extend(probe.video_codec.clone());
    parts.extend(probe.audio_codecs.iter().cloned());
    if probe.audio_codecs.is_empty() {
        parts.push("no sound".into());
    }
    parts.push(probe.format.clone());
    parts.push(figures::format_bytes(probe.size));
    parts.join(", ")
}

/// Draws the video at the cursor in full.
fn draw_item(model: &Model, page: &layout::ListPage, buffer: &mut Buffer) {
    let theme = model.theme;
    let video = model.videos.at_cursor();
    let title = video.map_or(String::new(), |video| format!("{} · {}", video.video_id, video.title));
    let (Some(area), Some(video)) = (list_page::draw_item_frame(page, &title, theme, buffer), video) else {
        return;
    };
    let mut block = Block::new(area.width);
    let row = RowId::task(&video.task_id.clone().into());
    if let Some(why) = model.failures.get(&Subject::Row(row)) {
        block.add_fact("refused", why, theme.bad());
    }
    if !page.framed {
        block.add_fact("title", &video.title, theme.strong());
    }
    let processing = model.processing_of(video);
    match processing {
        Some(processing) => pipeline::add_facts(&mut block, processing, theme),
        None => {
            let hint = format_hint(Action::Rerun, Page::Videos, &model.bindings, |key| {
                format!(": {key} starts one")
            });
            block.add_fact("pipeline", &format!("never run{hint}"), theme.faint());
        }
    }
    block.add_fact("file", &video.path, theme.plain());
    if let Some(url) = &video.url {
        block.add_fact("from", url, theme.plain());
    }
    let length = video
        .probe
        .duration
        .map_or("of unknown length".into(), figures::format_long);
    block.add_fact(
        "holds",
        &format!("{length}, {}", describe_content(&video.probe)),
        theme.plain(),
    );
    let at = figures::format_time(video.created_at, model.now, &model.tz);
    block.add_fact(
        "since",
        &format!("{at}, registered by {}", name_source(video.source)),
        theme.plain(),
    );
    if let Some(processing) = processing {
        block.add_gap();
        pipeline::add_steps(&mut block, processing, model.present_clock(), theme);
    }
    block::draw(&block.into_lines(), 0, area, buffer);
}
