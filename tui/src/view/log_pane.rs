//! Draws a log, line by line or wrapped, and knows how many rows its lines take: how far one can scroll depends on that.

use std::{borrow::Cow, ops::Range};

use onceover_types::{StageState, Timestamp};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};
use unicode_segmentation::UnicodeSegmentation;

mod level;

use super::{
    frame::{draw_frame, draw_rule, inset},
    text::{harmless, put, width, within},
};
use crate::{
    figures,
    layout::{self, Panes},
    model::{
        Model, Page,
        log::{LogBuffer, LogPlace, LogState},
        log_view::{LogMatches, LogTimes},
        task_log::{StageLogState, TaskLog},
    },
    theme::Theme,
};

use level::{LogLevel, find_level};

/// Columns of the time before a line, with the blank after it.
const TIME: u16 = 9;
/// Columns of the stage before a line, with the blank after it, where the logs of a task are shown.
const STAGE: u16 = 16;
/// The same on a narrow screen.
const NARROW_STAGE: u16 = 8;
/// Rows above the log in the detail: the stage's state, the tabs, a blank line.
const ABOVE_TAB: u16 = 3;

/// A row of a log, by the index of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LogSpot {
    index: usize,
    row: usize,
}

/// The room that a log has on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogShape {
    /// Columns of the text of lines.
    columns: u16,
    /// Columns of the stage before it.
    stage: u16,
    pub rows: usize,
    wrap: bool,
}

impl LogShape {
    /// Measures the room of the log that is scrolled: on its page, or in the tab of the detail.
    pub fn measure(model: &Model) -> Self {
        let area = match model.page {
            Page::Log => page_text(model.size),
            _ => tab_text(model),
        };
        Self::new(model, area)
    }

    /// Measures the room in an area whose first row has the state of the log.
    fn new(model: &Model, area: Rect) -> Self {
        let time = match model.log_view.times {
            LogTimes::Off => 0,
            LogTimes::Absolute | LogTimes::Relative => TIME.min(area.width / 2),
        };
        let stage = match model.shown_task_log() {
            None => 0,
            Some(_) if area.width < 60 => NARROW_STAGE.min(area.width / 3),
            Some(_) => STAGE,
        };
        Self {
            columns: area.width.saturating_sub(time + stage).max(2),
            stage,
            rows: usize::from(area.height).saturating_sub(1),
            wrap: model.log_view.wrap,
        }
    }

    /// Returns the first row after scrolling by so many rows; `None`: the end is shown.
    pub fn scroll(self, log: &LogBuffer, top: Option<LogPlace>, by: isize) -> Option<LogPlace> {
        if log.is_empty() {
            return None;
        }
        let end = self.top_of_end(log);
        let now = top.map_or(end, |top| self.find(log, top).min(end));
        let moved = match by {
            ..0 => self.go_up(log, now, by.unsigned_abs()),
            _ => self.go_down(log, now, by.unsigned_abs()),
        };
        (moved < end).then(|| LogPlace {
            row: moved.row,
            ..log.place(moved.index)
        })
    }

    fn find(self, log: &LogBuffer, place: LogPlace) -> LogSpot {
        let index = log.find(place);
        let found = log.place(index);
        let is_it = (found.number, found.piece) == (place.number, place.piece);
        LogSpot {
            index,
            row: if is_it {
                place.row.min(self.count_rows(log, index) - 1)
            } else {
                0
            },
        }
    }

    /// Returns the first row on the screen when the last line is at its end.
    fn top_of_end(self, log: &LogBuffer) -> LogSpot {
        let index = log.len().saturating_sub(1);
        let last = LogSpot {
            index,
            row: self.count_rows(log, index) - 1,
        };
        self.go_up(log, last, self.rows.saturating_sub(1))
    }

    fn go_up(self, log: &LogBuffer, from: LogSpot, mut by: usize) -> LogSpot {
        let LogSpot { mut index, mut row } = from;
        while by > row {
            if index == 0 {
                return LogSpot { index, row: 0 };
            }
            by -= row + 1;
            index -= 1;
            row = self.count_rows(log, index) - 1;
        }
        LogSpot { index, row: row - by }
    }

    fn go_down(self, log: &LogBuffer, from: LogSpot, mut by: usize) -> LogSpot {
        let LogSpot { mut index, mut row } = from;
        loop {
            let below = self.count_rows(log, index) - 1 - row;
            if by <= below {
                return LogSpot { index, row: row + by };
            }
            if index + 1 >= log.len() {
                return LogSpot {
                    index,
                    row: row + below,
                };
            }
            by -= below + 1;
            index += 1;
            row = 0;
        }
    }

    /// Counts the rows of an entry, at least 1.
    fn count_rows(self, log: &LogBuffer, index: usize) -> usize {
        if !self.wrap {
            return 1;
        }
        let line = log.line(index);
        let (_, text) = split_time(&line, log.place(index).piece);
        break_rows(&harmless(text), self.columns).len()
    }
}

/// Returns the area of the log on its page, below the frame.
fn page_text(size: (u16, u16)) -> Rect {
    let panes = layout::lay_out_panes(size, true);
    let inner = panes.inner(panes.detail);
    match panes.is_framed() {
        true => inset(inner),
        false => inner,
    }
}

/// Returns the area of the log in the tab of the detail.
fn tab_text(model: &Model) -> Rect {
    let panes = model.panes();
    let inner = inset(panes.inner(panes.detail));
    let is_running = model
        .detail_kept()
        .is_some_and(|stage| stage.status == StageState::Running);
    let above = ABOVE_TAB + u16::from(is_running) + u16::from(!panes.is_framed());
    Rect {
        height: inner.height.saturating_sub(above),
        ..inner
    }
}

/// Returns the log that is shown: all of it, or what the filter leaves.
pub fn choose_shown(model: &Model) -> &LogBuffer {
    match &model.log_view.filter {
        Some(filter) => &filter.lines,
        None => model.shown_task_log().map_or(&model.detail.log, |log| &log.lines),
    }
}

/// Separates the time that a line begins with from its text; the other pieces of a line have none.
fn split_time(line: &str, piece: u32) -> (Option<Timestamp>, &str) {
    let parts = line.split_once(' ').filter(|_| piece == 0);
    match parts.and_then(|(time, text)| Some((time.parse().ok()?, text))) {
        Some((time, text)) => (Some(time), text),
        None => (None, line),
    }
}

/// Breaks a harmless text into rows of so many columns.
fn break_rows(text: &str, columns: u16) -> Vec<Range<usize>> {
    let columns = columns.max(2);
    let mut rows = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, grapheme) in text.grapheme_indices(true) {
        let needs = if grapheme.len() == 1 { 1 } else { width(grapheme) };
        if used + needs > columns {
            rows.push(start..at);
            (start, used) = (at, 0);
        }
        used += needs;
    }
    rows.push(start..text.len());
    rows
}

/// Draws the page of a log.
pub fn draw_page(model: &Model, panes: &Panes, buffer: &mut Buffer) {
    let theme = model.theme;
    let title = match (model.shown_task_log(), &model.detail.stage) {
        (Some(log), _) => Some(format!("{} › logs of all stages", log.task)),
        (None, Some((task, node))) => Some(format!("{task} › {node} › log")),
        (None, None) => None,
    };
    if let Some(title) = title.filter(|_| panes.is_framed()) {
        draw_frame(buffer, panes.detail, &title, theme.faint(), theme.strong());
    }
    draw_scrolled(model, page_text(model.size), buffer);
}

/// Draws the log where it is scrolled to; the first row says how much of it there is.
pub fn draw_scrolled(model: &Model, area: Rect, buffer: &mut Buffer) {
    draw(model, choose_shown(model), model.log_view.top, area, buffer);
}

/// Draws the end of the log.
pub fn draw_end(model: &Model, area: Rect, buffer: &mut Buffer) {
    draw(model, &model.detail.log, None, area, buffer);
}

fn draw(model: &Model, log: &LogBuffer, top: Option<LogPlace>, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let theme = model.theme;
    draw_rule(buffer, area, &describe_state(model, top.is_some()), theme.faint());
    if log.is_empty() || area.height < 2 {
        return;
    }
    let shape = LogShape::new(model, area);
    let end = shape.top_of_end(log);
    let first = top.map_or(end, |top| shape.find(log, top).min(end));
    let mut y = area.y + 1;
    for index in first.index..log.len() {
        let skip = if index == first.index { first.row } else { 0 };
        y = draw_entry(
            model,
            (log, index),
            skip,
            shape,
            Rect { y, ..area },
            area.bottom(),
            buffer,
        );
        if y >= area.bottom() {
            return;
        }
    }
}

/// Draws the rows of an entry after the first `skip`. Returns the row below them.
fn draw_entry(
    model: &Model,
    (log, index): (&LogBuffer, usize),
    skip: usize,
    shape: LogShape,
    area: Rect,
    bottom: u16,
    buffer: &mut Buffer,
) -> u16 {
    let theme = model.theme;
    let place = log.place(index);
    let line = log.line(index);
    let (time, text) = split_time(&line, place.piece);
    let text = harmless(text);
    let x = area.right().saturating_sub(shape.columns).max(area.x);
    let name = x.saturating_sub(shape.stage).max(area.x);
    if let Some(time) = time.filter(|_| skip == 0 && name > area.x) {
        let time = format_line_time(model, time);
        put(buffer, area.x, area.y, name - area.x, &time, theme.faint());
    }
    if let Some(stage) = log
        .source(index)
        .and_then(|source| model.shown_task_log()?.stages.get(source))
    {
        let room = (x - name).saturating_sub(1);
        let style = choose_stage_style(log.source(index).unwrap_or_default(), theme);
        put(buffer, name, area.y, room, stage.short_name(), style);
    }
    let rows = match shape.wrap {
        true => break_rows(&text, shape.columns),
        false => std::iter::once(skip_columns(&text, model.log_view.column)..text.len()).collect(),
    };
    let is_at = model.log_view.at_match == Some(place.number);
    let style = if is_at {
        theme.strong()
    } else {
        choose_level_style(&text, place.piece, theme)
    };
    let mut y = area.y;
    for row in rows.into_iter().skip(skip) {
        if y >= bottom {
            break;
        }
        let row = &text[row];
        put(buffer, x, y, area.right() - x, row, style);
        let cells = Rect {
            x,
            y,
            width: area.right() - x,
            height: 1,
        };
        mark_matches(model.log_view.search.as_ref(), row, cells, buffer);
        y += 1;
    }
    y
}

/// Chooses the colour of a stage's name: those of neighbours differ.
fn choose_stage_style(source: usize, theme: Theme) -> Style {
    match source % 5 {
        0 => theme.accent(),
        1 => theme.reuse(),
        2 => theme.good(),
        3 => theme.warn(),
        _ => theme.plain(),
    }
}

/// Chooses the colour of a line by the word that it begins with, after its time.
fn choose_level_style(text: &str, piece: u32, theme: Theme) -> Style {
    match find_level(text).filter(|_| piece == 0) {
        Some(LogLevel::Error) => theme.bad(),
        Some(LogLevel::Warning) => theme.warn(),
        None => theme.plain(),
    }
}

/// Shows where the row has the text that is searched.
fn mark_matches(search: Option<&LogMatches>, row: &str, area: Rect, buffer: &mut Buffer) {
    let Some(search) = search else { return };
    let marked = Style::new().add_modifier(Modifier::REVERSED);
    for found in find_text(row, &search.text) {
        let before = width(&row[..found.start]).min(area.width);
        let cells = Rect {
            x: area.x + before,
            width: width(&row[found]).min(area.width - before),
            ..area
        };
        buffer.set_style(within(buffer, cells), marked);
    }
}

/// Finds a text in a row, whatever its case.
fn find_text(row: &str, wanted: &str) -> Vec<Range<usize>> {
    let wanted: Vec<char> = wanted.chars().flat_map(char::to_lowercase).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < row.len() && !wanted.is_empty() {
        let mut rest = wanted.iter();
        let mut end = at;
        for c in row[at..].chars() {
            if rest.as_slice().is_empty() || !c.to_lowercase().all(|lower| rest.next() == Some(&lower)) {
                break;
            }
            end += c.len_utf8();
        }
        let is_whole = end > at && rest.as_slice().is_empty();
        if is_whole
            && row[at..end]
                .chars()
                .flat_map(char::to_lowercase)
                .eq(wanted.iter().copied())
        {
            found.push(at..end);
            at = end;
        } else {
            at += row[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    found
}

/// Returns where the text goes on after so many columns.
fn skip_columns(text: &str, columns: u16) -> usize {
    let mut used = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        if used >= columns {
            return at;
        }
        used += width(grapheme);
    }
    text.len()
}

/// Writes when a line was written: the time of day, or the time since the run began.
fn format_line_time(model: &Model, time: Timestamp) -> String {
    let begun = match model.shown_task_log() {
        Some(log) => model.store.get(&log.task).map(|task| task.created_at),
        None => model.detail_kept().and_then(|stage| stage.started_at()),
    };
    match (model.log_view.times, begun) {
        (LogTimes::Relative, Some(begun)) => format!("+{}", figures::format_offset(time.seconds_since(begun))),
        _ => figures::format_clock(time, &model.tz),
    }
}

/// Says how far the log is, how much of it is here, and what is searched in it.
fn describe_state(model: &Model, is_scrolled: bool) -> String {
    let mut text = match model.shown_task_log() {
        Some(log) => describe_task_log(log),
        None => describe_stage_log(model, is_scrolled),
    };
    if let Some(filter) = &model.log_view.filter {
        text += &format!("  only \"{}\": {}", filter.text, describe_found(filter, None));
    }
    if let Some(search) = &model.log_view.search {
        text += &format!(
            "  /{}: {}",
            search.text,
            describe_found(search, model.log_view.at_match)
        );
    }
    text
}

/// Says how far the log of a stage is, and how much of it is here.
fn describe_stage_log(model: &Model, is_scrolled: bool) -> String {
    let log = &model.detail.log;
    let state: Cow<'_, str> = match &log.state {
        LogState::Idle => "".into(),
        LogState::Loading => "…".into(),
        LogState::Following if is_scrolled => "goes on below".into(),
        LogState::Following => "following".into(),
        LogState::Ended if log.is_empty() => "empty".into(),
        LogState::Ended => "ended".into(),
        LogState::Failed(why) => why.as_str().into(),
    };
    format!("Log  {state}{}", describe_lines(log.loaded(), log.total))
}

/// Says how many logs of a task are here and how many are followed.
fn describe_task_log(log: &TaskLog) -> String {
    let stages = figures::count_noun(log.stages.len(), "stage");
    let failed = log
        .stages
        .iter()
        .filter(|stage| stage.state == StageLogState::Failed)
        .count();
    let mut text = format!("Logs of {stages}");
    for (count, word) in [(log.count_followed(), "following"), (failed, "not readable")] {
        if count > 0 {
            text += &format!("  {word} {count}");
        }
    }
    let total: u64 = log.stages.iter().map(|stage| stage.total).sum();
    text + &describe_lines(log.lines.loaded(), total)
}

/// Says how many of the lines are here.
fn describe_lines(loaded: u64, total: u64) -> String {
    match loaded {
        0 => String::new(),
        _ if loaded < total => format!("  {loaded} of {total} lines"),
        _ => format!("  {} lines", total.max(loaded)),
    }
}

/// Says how many lines were found, and which of them one is at.
fn describe_found(matches: &LogMatches, at: Option<u64>) -> String {
    if let Some(why) = &matches.failed {
        return why.clone();
    }
    let position = at.and_then(|at| matches.lines.entries().position(|entry| entry.number == at));
    match position {
        _ if !matches.is_complete && matches.found == 0 => "…".to_owned(),
        Some(position) => format!("{} of {}", position + 1, matches.found),
        None => format!("{} found", matches.found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_broken_between_glyphs() {
        let rows = |text: &str, columns| {
            let rows = break_rows(text, columns).into_iter();
            rows.map(|row| text[row].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(rows("abcdefg", 3), ["abc", "def", "g"]);
        assert_eq!(rows("자막파일", 5), ["자막", "파일"]);
        assert_eq!(rows("", 5), [""]);
    }

    #[test]
    fn a_text_is_found_whatever_its_case() {
        let found = |row: &str, wanted: &str| {
            let found = find_text(row, wanted).into_iter();
            found.map(|found| (found.start, found.end)).collect::<Vec<_>>()
        };
        assert_eq!(found("CUDA out of cuda memory", "Cuda"), [(0, 4), (12, 16)]);
        assert_eq!(found("자막 ERROR", "error"), [(7, 12)]);
        assert!(found("abc", "").is_empty());
        assert_eq!(found("aab", "ab"), [(1, 3)]);
    }

    #[test]
    fn scrolling_up_and_down_again_ends_where_it_began() {
        let mut log = LogBuffer::default();
        for number in 0..50 {
            log.push(format!("{}\n", "x".repeat(number * 3)).as_bytes());
        }
        let shape = LogShape {
            columns: 20,
            stage: 0,
            rows: 10,
            wrap: true,
        };
        let mut top = None;
        let mut tops = vec![top];
        for _ in 0..20 {
            top = shape.scroll(&log, top, -3);
            tops.push(top);
        }
        for expected in tops.iter().rev().skip(1) {
            top = shape.scroll(&log, top, 3);
            assert_eq!(top, *expected);
        }
        assert_eq!(top, None, "at the end it is followed again");
        assert_eq!(shape.scroll(&log, None, -1_000_000).unwrap().number, 1);
    }
}
