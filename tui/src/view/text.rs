//! Writes text onto the buffer: never half a glyph, never a byte that the terminal would obey. All text of others is
//! written with [`put`].

use std::borrow::Cow;

use ratatui::{
    buffer::{Buffer, CellWidth},
    layout::Rect,
    style::Style,
};
use unicode_segmentation::UnicodeSegmentation;

/// Returns what replaces a character that must not reach the terminal; `None`: it is harmless.
fn replace_harmful(c: char) -> Option<String> {
    match c {
        '\t' => Some("  ".into()),
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + c as u32).map(String::from),
        '\u{7f}' => Some("\u{2421}".into()),
        // C1 controls, direction marks and overrides, line and paragraph separators, tags.
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{e0000}'..='\u{e007f}' => Some(format!("<{:x}>", c as u32)),
        // They have no width, or join what terminals do not join.
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' => {
            Some(String::new())
        }
        _ => None,
    }
}

/// Makes everything harmful in a text visible, for terminals and pipes alike.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match replace_harmful(c) {
            Some(stand_in) => out.push_str(&stand_in),
            None => out.push(c),
        }
    }
    out
}

/// Returns the columns that the text takes; control characters take none.
pub fn width(text: &str) -> u16 {
    text.graphemes(true)
        .filter(|grapheme| !grapheme.contains(char::is_control))
        .map(|grapheme| grapheme.cell_width())
        .fold(0, u16::saturating_add)
}

/// Writes as much of `text` as fits into `room` columns from (x, y) on, with `…` where it is cut. Reads no more of a
/// long text than it shows. Returns the columns that it used.
pub fn put(buffer: &mut Buffer, x: u16, y: u16, room: u16, text: &str, style: Style) -> u16 {
    let area = buffer.area;
    if y < area.top() || y >= area.bottom() || x < area.left() || x >= area.right() {
        return 0;
    }
    let room = room.min(area.right() - x);
    // Eight characters a column are enough, combining marks included, to see that the text is cut.
    let limit = text
        .char_indices()
        .nth(usize::from(room) * 8 + 8)
        .map_or(text.len(), |(at, _)| at);
    let clean = harmless(&text[..limit]);
    let cut = limit < text.len() || width(&clean) > room;
    let usable = if cut { room.saturating_sub(1) } else { room };
    let mut used = 0;
    for grapheme in clean.graphemes(true) {
        let columns = grapheme.cell_width();
        if columns == 0 {
            continue;
        }
        if used + columns > usable {
            break;
        }
        set_cells(buffer, x + used, y, grapheme, columns, style);
        used += columns;
    }
    if cut && room > 0 {
        set_cells(buffer, x + used, y, "…", 1, style);
        used += 1;
    }
    used
}

/// Sets the cells of one glyph.
fn set_cells(buffer: &mut Buffer, x: u16, y: u16, symbol: &str, columns: u16, style: Style) {
    let Some(cell) = buffer.cell_mut((x, y)) else {
        return;
    };
    cell.set_symbol(symbol).set_style(style);
    for rest in 1..columns {
        if let Some(cell) = buffer.cell_mut((x + rest, y)) {
            cell.reset();
            cell.set_style(style);
        }
    }
}

/// Writes a text that ends before column `right`.
pub fn put_right(buffer: &mut Buffer, right: u16, y: u16, room: u16, text: &str, style: Style) {
    let columns = width(&harmless(text)).min(room);
    put(buffer, right.saturating_sub(columns), y, columns, text, style);
}

/// Cuts a harmless text to so many columns, with `…` where it is cut.
pub fn cut(text: &str, columns: u16) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    let mut cut = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        used += width(grapheme);
        if used >= columns {
            break;
        }
        cut += grapheme;
    }
    cut + "…"
}

/// Cuts a harmless text to so many columns, with `…` in its middle: both ends are kept.
pub fn cut_middle(text: &str, columns: u16) -> Cow<'_, str> {
    if width(text) <= columns || columns < 5 {
        return text.into();
    }
    let graphemes: Vec<&str> = text.graphemes(true).collect();
    let before = count_fitting(graphemes.iter(), columns / 2);
    let after = count_fitting(graphemes.iter().rev(), columns - 1 - columns / 2);
    let tail = graphemes[graphemes.len() - after..].concat();
    format!("{}…{tail}", graphemes[..before].concat()).into()
}

/// Counts the first glyphs that fit into so many columns.
fn count_fitting<'a>(graphemes: impl Iterator<Item = &'a &'a str>, columns: u16) -> usize {
    let mut used = 0;
    let fits = |grapheme: &&&str| {
        used += width(grapheme);
        used <= columns
    };
    graphemes.take_while(fits).count()
}

/// Empties an area, for what is drawn over something else.
pub fn clear(buffer: &mut Buffer, area: Rect) {
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.reset();
            }
        }
        // A wide glyph that the left edge cuts would spill into the area.
        if let Some(left) = area.left().checked_sub(1)
            && let Some(cell) = buffer.cell_mut((left, y))
            && cell.cell_width() > 1
        {
            cell.set_symbol(" ");
        }
    }
}

/// Returns the part of an area that is within the buffer.
pub fn within(buffer: &Buffer, area: Rect) -> Rect {
    area.intersection(buffer.area)
}

/// Wraps a text into lines of at most `columns`, at spaces where there are some.
pub fn wrap(text: &str, columns: u16) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        let mut used = 0;
        for word in harmless(paragraph).split_word_bounds() {
            let needs = width(word);
            if used + needs > columns && used > 0 {
                let carried = match is_closing(word) {
                    true => line.rfind(' ').map(|blank| line.split_off(blank + 1)),
                    false => None,
                };
                lines.push(line.trim_end().to_owned());
                line = carried.unwrap_or_default();
                used = width(&line);
                if word.trim().is_empty() {
                    continue;
                }
            }
            for grapheme in word.graphemes(true) {
                let needs = grapheme.cell_width();
                if used + needs > columns {
                    lines.push(std::mem::take(&mut line));
                    used = 0;
                }
                line.push_str(grapheme);
                used += needs;
            }
        }
        lines.push(line);
    }
    lines
}

/// Whether no line begins with the word: it closes the word before it.
fn is_closing(word: &str) -> bool {
    word.chars()
        .all(|letter| matches!(letter, ',' | '.' | ';' | ':' | '!' | '?' | ')' | ']'))
}

/// Reads the rows of a buffer as text, without cells that wide glyphs hide and blanks at the ends.
pub fn lines_of(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    (area.top()..area.bottom())
        .map(|y| {
            let mut line = String::new();
            let mut x = area.left();
            while x < area.right() {
                let cell = &buffer[(x, y)];
                line.push_str(cell.symbol());
                x += cell.cell_width().max(1);
            }
            line.trim_end().to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_the_terminal_would_obey_gets_through() {
        let nasty = "a\u{1b}[31mb\r\n\u{7}\u{0}\u{9b}2J\u{202e}x\u{200d}\u{feff}\u{7f}";
        assert_eq!(harmless(nasty), "a␛[31mb␍␊␇␀<9b>2J<202e>x␡");
    }

    #[test]
    fn wide_text_is_cut_between_glyphs() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 10, 1));
        assert_eq!(put(&mut buffer, 0, 0, 6, "한국어 자막", Style::new()), 5);
        assert_eq!(lines_of(&buffer), ["한국…"]);
        let mut buffer = Buffer::empty(Rect::new(0, 0, 4, 1));
        assert_eq!(put(&mut buffer, 0, 0, 9, "한국", Style::new()), 4);
        assert_eq!(
            put(&mut buffer, 3, 0, 9, "한", Style::new()),
            1,
            "no room for half a glyph"
        );
    }

    #[test]
    fn both_ends_of_a_name_are_kept() {
        assert_eq!(cut_middle("faster_whisper.transcribe_audio", 15), "faster_…e_audio");
        assert_eq!(cut_middle("자막파일없음", 7), "자…음");
        assert_eq!(cut_middle("short", 5), "short");
    }

    #[test]
    fn wrapping_keeps_every_word() {
        assert_eq!(wrap("the quick brown fox", 9), ["the quick", "brown fox"]);
        assert_eq!(wrap("자막파일없음", 4), ["자막", "파일", "없음"]);
        assert_eq!(
            wrap("attempts, reuse", 8),
            ["attempts", ", reuse"],
            "the word has no room for it"
        );
        assert_eq!(wrap("of attempts, reuse", 11), ["of", "attempts,", "reuse"]);
        assert_eq!(wrap("", 4), Vec::<String>::new());
    }
}
