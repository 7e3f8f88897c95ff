//! Draws the files of a stage's result, and what the one at the cursor says. A picture is drawn as half blocks; where
//! the terminal has a protocol for pictures, the driver writes its pixels over them.

use onceover_wire::{CueItem, CueList};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
};

use super::{
    block::{self, Block},
    list_page,
    text::{cut_middle, harmless, put, wrap},
};
use crate::{
    figures,
    glyphs::Glyphs,
    images::CellColours,
    layout,
    model::{
        Model, Page,
        preview::{FileContent, FileKind, PicturePreview, ResultFile, TextPreview},
    },
};

/// The upper half of a cell; drawn where the terminal has more than ASCII.
const HALF_BLOCK: &str = "\u{2580}";
/// Columns from which a cue and its text are side by side.
const WIDE: u16 = 70;
/// Columns of a cue's figures: number, start, duration, speed.
const CUE_FIGURES: u16 = 40;

/// Draws the page.
pub fn draw(model: &Model, buffer: &mut Buffer) {
    let preview = &model.preview;
    let page = layout::lay_out_preview((buffer.area.width, buffer.area.height), preview.is_whole);
    if !preview.is_whole {
        draw_list(model, &page, buffer);
    }
    let file = preview.at_cursor();
    let title = file.map_or(String::new(), |file| harmless(&file.name));
    let title = cut_middle(&title, page.item.width.saturating_sub(4));
    let frame = list_page::draw_item_frame(&page, &title, model.theme, buffer);
    if let (Some(area), Some(file)) = (frame, file) {
        draw_file(model, file, area, page.preview_text(), buffer);
    }
}

/// Draws the list of files.
fn draw_list(model: &Model, page: &layout::ListPage, buffer: &mut Buffer) {
    let theme = model.theme;
    let preview = &model.preview;
    let width = page.inner(page.list).width.saturating_sub(2);
    let size = 10.min(width / 3);
    let kind = if width >= 40 { 11 } else { 0 };
    let name = width - size - kind;
    let titles = [(name, "FILE"), (size, "SIZE"), (kind, "KIND")];
    let area = list_page::draw_head(page, &describe_files(model), &titles, theme, buffer);
    let on_worker = name_on_worker(&preview.result.on_worker);
    if preview.list.keys().is_empty() {
        let (text, style) = match &preview.failed {
            Some(why) => (why.as_str(), theme.bad()),
            None if !preview.read => ("…", theme.faint()),
            None if !on_worker.is_empty() => (on_worker.as_str(), theme.faint()),
            None => ("the result names no file of its run", theme.faint()),
        };
        list_page::draw_placeholder(text, style, area, buffer);
    }
    list_page::draw_rows(
        &preview.list,
        |_| false,
        area,
        theme,
        buffer,
        |key, line, buffer| {
            let Some(file) = preview.get(key) else { return };
            let shown = harmless(&file.name);
            let shown = cut_middle(&shown, name.saturating_sub(1));
            let bytes = figures::format_bytes(file.size);
            let cells = [
                (name, &*shown, theme.plain()),
                (size, bytes.as_str(), theme.plain()),
                (kind, file.kind.word(), theme.faint()),
            ];
            list_page::draw_cells(&cells, line, buffer);
        },
    );
    // Below the rows, where there is room.
    let rows = u16::try_from(preview.list.keys().len()).unwrap_or(u16::MAX);
    if rows > 0 && rows < area.height && !on_worker.is_empty() {
        let below = Rect {
            y: area.y + rows,
            height: area.height - rows,
            ..area
        };
        list_page::draw_placeholder(&on_worker, theme.faint(), below, buffer);
    }
}

/// Names files that are on the machine of a worker; empty where there are none.
fn name_on_worker(files: &[String]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let named: Vec<_> = files.iter().map(|file| harmless(file)).collect();
    format!("on the worker's machine: {}", named.join(", "))
}

/// Says whose files are listed, and how many.
fn describe_files(model: &Model) -> String {
    let preview = &model.preview;
    let mut title = match &preview.stage {
        Some((task, node)) => format!("{task} › {node} · "),
        None => String::new(),
    };
    title += &figures::count_noun(preview.list.keys().len(), "file");
    if preview.read && !preview.result.complete {
        title += ", the first";
    }
    if let Some(why) = preview.failed.as_ref().filter(|_| preview.read) {
        title += &format!(" · not up to date: {why}");
    }
    title
}

/// Draws a line about the file, and below it what it says.
fn draw_file(model: &Model, file: &ResultFile, head: Rect, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let content = model.preview.content();
    put(
        buffer,
        head.x,
        head.y,
        head.width,
        &describe_file(file, content),
        theme.faint(),
    );
    match content {
        None => {
            put(buffer, area.x, area.y, area.width, "…", theme.faint());
        }
        Some(Err(why)) => draw_sentence(why, theme.bad(), area, buffer),
        Some(Ok(FileContent::Picture(picture))) => draw_picture(model, file, picture, area, buffer),
        Some(Ok(FileContent::Cues(list))) => draw_cues(model, list, area, buffer),
        Some(Ok(FileContent::Text(text))) => draw_text(model, text, area, buffer),
        Some(Ok(FileContent::Unread)) => draw_facts(model, file, area, buffer),
    }
}

/// Describes a file in a line: `1280x720 jpeg · 84.2 kB`.
fn describe_file(file: &ResultFile, content: Option<&Result<FileContent, String>>) -> String {
    let size = figures::format_bytes(file.size);
    match content {
        Some(Ok(FileContent::Picture(picture))) => {
            format!("{}x{} {} · {size}", picture.width, picture.height, picture.format)
        }
        Some(Ok(FileContent::Cues(list))) => format!("{} · {size}", describe_cues(list)),
        Some(Ok(FileContent::Text(text))) if text.is_cut => {
            format!("the first {} of {size}", figures::format_bytes(text.read))
        }
        Some(Ok(FileContent::Text(text))) => {
            format!("{} · {size}", figures::count_noun(text.lines.len(), "line"))
        }
        _ => size,
    }
}

/// Counts the cues and their faults.
fn describe_cues(list: &CueList) -> String {
    let mut parts = vec![figures::count_noun(list.cues.len(), "cue")];
    for (count, what) in [
        (list.overlaps, "overlap"),
        (list.too_fast, "too fast"),
        (list.left_out, "not readable"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(" · ")
}

fn draw_sentence(text: &str, style: Style, area: Rect, buffer: &mut Buffer) {
    let lines = wrap(text, area.width).into_iter().map(|line| (line, style)).collect();
    block::draw(&lines, 0, area, buffer);
}

/// Whether pictures are drawn, and not described.
fn shows_pictures(model: &Model) -> bool {
    // Half blocks are no ASCII, and neither is what kitty gets for the cells of a picture.
    let is_able = model.glyphs == Glyphs::Unicode && !model.theme.is_mono();
    is_able && (model.images.has_blocks() || model.images.is_graphical())
}

/// Draws a picture as half blocks, or says what it is where that cannot be.
fn draw_picture(model: &Model, file: &ResultFile, picture: &PicturePreview, area: Rect, buffer: &mut Buffer) {
    if !shows_pictures(model) {
        let text = format!(
            "this terminal shows no pictures: it has too few colours or glyphs, or they are off (--images). \
             A picture of {} x {} pixels, {}: {}",
            picture.width, picture.height, picture.format, file.path
        );
        draw_sentence(&text, model.theme.faint(), area, buffer);
        return;
    }
    for y in 0..picture.rows().min(area.height) {
        for x in 0..picture.columns.min(area.width) {
            let Some(upper) = picture.pixel(x, y * 2) else { continue };
            let lower = picture.pixel(x, y * 2 + 1);
            let style = Style::new().fg(choose_colour(model.images.colours, upper));
            let style = match lower {
                Some(lower) => style.bg(choose_colour(model.images.colours, lower)),
                None => style,
            };
            if let Some(cell) = buffer.cell_mut((area.x + x, area.y + y)) {
                cell.set_symbol(HALF_BLOCK).set_style(style);
            }
        }
    }
}

/// Returns the colour of a pixel, or the nearest one of the cube of 216.
fn choose_colour(colours: CellColours, [red, green, blue]: [u8; 3]) -> Color {
    match colours {
        CellColours::True => Color::Rgb(red, green, blue),
        CellColours::Indexed | CellColours::Few => {
            let step = |value: u8| match value {
                0..48 => 0,
                48..115 => 1,
                _ => (value - 35) / 40,
            };
            Color::Indexed(16 + 36 * step(red) + 6 * step(green) + step(blue))
        }
    }
}

/// Returns the request that read the picture on the screen, and where it is: there the driver writes its pixels, if the
/// terminal has a protocol for them. `None` where something is drawn over it.
pub fn find_picture(model: &Model) -> Option<(u64, Rect)> {
    let is_covered = model.dialog.is_some() || model.toast.as_ref().is_some_and(|toast| toast.selectable.is_some());
    let is_sent = model.images.is_graphical() && shows_pictures(model);
    if model.page != Page::Preview || is_covered || !is_sent || model.store.seq().is_none() {
        return None;
    }
    let picture = model.preview.picture()?;
    let area = layout::lay_out_preview(model.size, model.preview.is_whole).preview_text();
    let fits = picture.room == (area.width, area.height) && !area.is_empty();
    fits.then_some((picture.id, area))
}

/// Draws cues from the one that is scrolled to.
fn draw_cues(model: &Model, list: &CueList, area: Rect, buffer: &mut Buffer) {
    let mut rest = area;
    for (index, cue) in list.cues.iter().enumerate().skip(model.preview.scroll) {
        if rest.is_empty() {
            return;
        }
        let faults = describe_faults(cue, list.max_characters_per_second);
        let used = draw_cue(model, &format_cue(index + 1, cue), &cue.text, &faults, rest, buffer);
        let used = used.min(rest.height);
        rest.y += used;
        rest.height -= used;
    }
}

/// Draws a cue: its figures beside its lines and its faults, or above them. Returns the rows that it takes.
fn draw_cue(model: &Model, figures: &str, text: &str, faults: &str, area: Rect, buffer: &mut Buffer) -> u16 {
    let theme = model.theme;
    let is_wide = area.width >= WIDE;
    put(buffer, area.x, area.y, area.width, figures, theme.faint());
    let indent = if is_wide { CUE_FIGURES } else { 2.min(area.width) };
    let room = area.width - indent;
    let lines = wrap(text, room).into_iter().map(|line| (line, theme.plain()));
    let faults = wrap(faults, room).into_iter().map(|line| (line, theme.warn()));
    let lines: Vec<_> = lines.chain(faults).collect();
    let above = u16::from(!is_wide);
    let below = Rect {
        x: area.x + indent,
        y: area.y + above,
        width: room,
        height: area.height - above,
    };
    block::draw(&lines, 0, below, buffer);
    (lines.len() as u16 + above).max(1)
}

/// Writes the figures of a cue: number, start, duration, letters a second.
fn format_cue(number: usize, cue: &CueItem) -> String {
    let speed = cue
        .characters_per_second
        .map_or("-".to_owned(), |speed| format!("{speed:.0}"));
    format!(
        "{number:>5}  {}  {:>6.2} s  {speed:>3} cps",
        format_start(cue.start),
        cue.end - cue.start
    )
}

/// Writes when a cue is shown first: `0:01:02.500`.
fn format_start(seconds: f64) -> String {
    let millis = (seconds.max(0.0) * 1000.0).round() as u64;
    let (minutes, seconds) = (millis / 60_000, millis % 60_000);
    format!(
        "{}:{:02}:{:02}.{:03}",
        minutes / 60,
        minutes % 60,
        seconds / 1000,
        seconds % 1000
    )
}

/// Says what is wrong with a cue; empty if nothing is.
fn describe_faults(cue: &CueItem, readable: f64) -> String {
    let mut faults = Vec::new();
    if let Some(gap) = cue.gap.filter(|gap| *gap < 0.0) {
        faults.push(format!("⚠ overlaps {:.2} s", -gap));
    }
    match cue.characters_per_second {
        Some(speed) if speed > readable => faults.push("⚠ too fast".to_owned()),
        None => faults.push("⚠ takes no time".to_owned()),
        Some(_) => {}
    }
    faults.join(" ")
}

/// Draws lines of a text, wrapped, from the one that is scrolled to.
fn draw_text(model: &Model, text: &TextPreview, area: Rect, buffer: &mut Buffer) {
    let mut y = area.y;
    for line in text.lines.iter().skip(model.preview.scroll) {
        let rows = wrap(line, area.width);
        // An empty line takes a row as well.
        let count = rows.len().max(1);
        for row in &rows {
            if y >= area.bottom() {
                return;
            }
            put(buffer, area.x, y, area.width, row, model.theme.plain());
            y += 1;
        }
        y += (count - rows.len()) as u16;
        if y >= area.bottom() {
            return;
        }
    }
}

/// Says what the output of the stage says about a file that is not read.
fn draw_facts(model: &Model, file: &ResultFile, area: Rect, buffer: &mut Buffer) {
    let theme = model.theme;
    let mut block = Block::new(area.width);
    block.add_fact("path", &file.path, theme.plain());
    block.add_fact("type", &file.content_type, theme.plain());
    if let Some(url) = &file.object_url {
        block.add_fact("object", url, theme.plain());
    }
    if file.kind == FileKind::Media {
        block.add_gap();
        for (name, value) in &model.preview.result.facts {
            block.say(&format!("{name}  {value}"), theme.plain());
        }
    } else {
        block.say("There is no preview of this kind of file.", theme.faint());
    }
    block::draw(&block.into_lines(), 0, area, buffer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cue_has_its_times_its_speed_and_its_faults_in_words() {
        let cue = CueItem {
            start: 3_723.5,
            end: 3_724.5,
            text: "x".into(),
            characters_per_second: Some(36.0),
            gap: Some(-0.5),
        };
        assert_eq!(format_cue(7, &cue), "    7  1:02:03.500    1.00 s   36 cps");
        assert_eq!(describe_faults(&cue, 20.0), "⚠ overlaps 0.50 s ⚠ too fast");
    }

    #[test]
    fn a_pixel_gets_the_nearest_colour_that_there_is() {
        let colour = |rgb| choose_colour(CellColours::Indexed, rgb);
        assert_eq!(colour([0, 0, 0]), Color::Indexed(16));
        assert_eq!(colour([255, 255, 255]), Color::Indexed(231));
        assert_eq!(colour([255, 0, 0]), Color::Indexed(196));
        assert_eq!(choose_colour(CellColours::True, [1, 2, 3]), Color::Rgb(1, 2, 3));
    }
}
