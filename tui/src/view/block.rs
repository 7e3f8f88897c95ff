//! Blocks of text lines, of which details are made: sentences, and facts whose labels are in a separate column.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::text::{put, width, wrap};

/// Lines of text with a style each.
pub type Lines = Vec<(String, Style)>;

/// Columns of a fact's label; its other lines are indented as far.
const LABEL: u16 = 10;

/// Lines that are put together.
pub struct Block {
    columns: u16,
    lines: Lines,
}

impl Block {
    pub fn new(columns: u16) -> Self {
        Self {
            columns,
            lines: Lines::new(),
        }
    }

    /// Adds a sentence, wrapped where it has to be.
    pub fn say(&mut self, text: &str, style: Style) {
        self.lines
            .extend(wrap(text, self.columns).into_iter().map(|line| (line, style)));
    }

    /// Adds `label     text`; an empty label continues the fact before.
    pub fn add_fact(&mut self, label: &str, text: &str, style: Style) {
        // Where there is hardly room for words beside the label, they are put below it.
        let indent = if self.columns < LABEL + 14 { 2 } else { LABEL };
        for (index, line) in wrap(text, self.columns.saturating_sub(indent)).into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            let pad = indent.saturating_sub(width(label)).max(u16::from(!label.is_empty()));
            self.lines
                .push((format!("{label}{}{line}", " ".repeat(usize::from(pad))), style));
        }
    }

    /// Adds an indented sentence below the last one.
    pub fn add_nested(&mut self, text: &str, style: Style) {
        let lines = wrap(text, self.columns.saturating_sub(4));
        self.lines
            .extend(lines.into_iter().map(|line| (format!("    {line}"), style)));
    }

    /// Adds an empty line.
    pub fn add_gap(&mut self) {
        self.lines.push(Default::default());
    }

    /// Returns the lines.
    pub fn into_lines(self) -> Lines {
        self.lines
    }
}

/// Draws the lines after the first `skip`, as many as there is room for.
pub fn draw(lines: &Lines, skip: usize, area: Rect, buffer: &mut Buffer) {
    for (index, (line, style)) in lines.iter().skip(skip).take(usize::from(area.height)).enumerate() {
        put(buffer, area.x, area.y + index as u16, area.width, line, *style);
    }
}
