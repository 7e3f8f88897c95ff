//! Draws the page of events: the newest ones as they come, and all of the one at the cursor.

use onceover_types::StageState;
use onceover_wire::EventKind;
use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{
    block::{self, Block},
    line,
    list_page::{self, Cell},
    text::put,
};
use crate::{
    figures, layout,
    model::{
        Model,
        events::{SeenEvent, name_kind},
    },
    theme::{Theme, glyph},
};

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let page = layout::lay_out_events((buffer.area.width, buffer.area.height));
    let theme = model.theme;
    let events = &model.events;
    let columns = Columns::for_width(page.inner(page.list).width);
    let titles = columns.cells(["TIME", "EVENT", "TASK / STAGE", "WHAT IT SAYS"]);
    let area = list_page::draw_head(&page, &describe_rows(model), &titles, theme, buffer);
    if events.list.keys().is_empty() {
        let text = match events.is_empty() {
            true => "no event has come since the dashboard was started",
            false => "no event has these words",
        };
        list_page::draw_placeholder(text, theme.faint(), area, buffer);
    }
    list_page::draw_rows(
        &events.list,
        |_| false,
        area,
        theme,
        buffer,
        |seq, line, buffer| {
            if let Some(event) = events.get(*seq) {
                draw_row(model, event, &columns, line, buffer);
            }
        },
    );
    draw_item(model, &page, buffer);
}

/// Says which events are shown.
fn describe_rows(model: &Model) -> String {
    let events = &model.events;
    let mut title = format!("Events {}", events.list.keys().len());
    if !events.filter.is_empty() {
        title += &format!(" of {} · {}", events.len(), events.filter);
    }
    let older = events.seen.saturating_sub(events.len() as u64);
    if older > 0 {
        title += &format!(" · {older} older ones are not kept");
    }
    title
}

/// Columns of a row; one of width 0 is left out.
struct Columns {
    time: u16,
    kind: u16,
    row: u16,
    text: u16,
}

impl Columns {
    fn for_width(width: u16) -> Self {
        let mut rest = width.saturating_sub(2);
        let kind = 14.min(rest / 2);
        rest -= kind;
        let time = if rest >= 30 { 10 } else { 0 };
        rest -= time;
        let text = if rest >= 50 { rest * 45 / 100 } else { 0 };
        Self {
            time,
            kind,
            row: rest - text,
            text,
        }
    }

    /// The texts with their columns, from left to right.
    fn cells<'a>(&self, texts: [&'a str; 4]) -> [(u16, &'a str); 4] {
        let widths = [self.time, self.kind, self.row, self.text];
        std::array::from_fn(|at| (widths[at], texts[at]))
    }
}

/// Draws one row.
fn draw_row(model: &Model, event: &SeenEvent, columns: &Columns, line: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let time = figures::format_clock(event.at, &model.tz);
    let (sign, style) = describe_kind(event, theme);
    let kind = format!("{sign} {}", name_kind(event.kind));
    let row = event.row.to_string();
    let texts = [time.as_str(), &kind, &row, &event.text];
    let styles = [theme.faint(), style, theme.plain(), theme.faint()];
    let cells: Vec<Cell> = columns
        .cells(texts)
        .into_iter()
        .zip(styles)
        .map(|((columns, text), style)| (columns, text, style))
        .collect();
    list_page::draw_cells(&cells, line, buffer);
}

/// Returns the glyph and the style of an event.
fn describe_kind(event: &SeenEvent, theme: Theme) -> (&'static str, Style) {
    let of_state = |state: StageState| (glyph(state), theme.state(state));
    match event.kind {
        EventKind::Queued | EventKind::Reaped => of_state(StageState::Pending),
        EventKind::Started | EventKind::Progress => of_state(StageState::Running),
        EventKind::Succeeded => of_state(StageState::Success),
        EventKind::Failed => of_state(StageState::Failed),
        EventKind::Cancelled => of_state(StageState::Cancelled),
        EventKind::Hit | EventKind::Joined => ("↺", theme.reuse()),
        EventKind::Deleted | EventKind::Removed => ("✂", theme.bad()),
        _ => ("·", theme.plain()),
    }
}

/// Draws all of the event at the cursor.
fn draw_item(model: &Model, page: &layout::ListPage, buffer: &mut Buffer) {
    let theme = model.theme;
    let event = model.events.at_cursor();
    let title = event.map_or(String::new(), |event| event.row.to_string());
    let (Some(area), Some(event)) = (list_page::draw_item_frame(page, &title, theme, buffer), event) else {
        return;
    };
    let mut block = Block::new(area.width);
    let time = figures::format_time(event.at, model.now, &model.tz);
    let (_, style) = describe_kind(event, theme);
    block.add_fact(
        "event",
        &format!("{} · number {} · {time}", name_kind(event.kind), event.seq),
        style,
    );
    if !page.framed {
        block.add_fact("row", &title, theme.plain());
    }
    if !event.text.is_empty() {
        block.add_fact("says", &event.text, theme.plain());
    }
    block::draw(&block.into_lines(), 0, area, buffer);
}

/// Draws the words that events are filtered by while they are typed. Returns where the text cursor is.
pub fn draw_filter_line(model: &Model, input: &tui_input::Input, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let theme = model.theme;
    let used = put(buffer, area.x, area.y, area.width, " / ", theme.key());
    let room = area.width.saturating_sub(used);
    let drawn = line::draw(input, area.x + used, area.y, room, theme.plain(), buffer);
    let x = area.x + used + drawn.used;
    let found = figures::count_noun(model.events.list.keys().len(), "event");
    let hint = format!("   {found} · enter keep · esc drop");
    put(buffer, x, area.y, room.saturating_sub(drawn.used), &hint, theme.faint());
    drawn.cursor
}
