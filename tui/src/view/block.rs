//! A block of text lines as details are made of: sentences, and facts whose labels stand in a column of their own.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::text::{put, width, wrap};

/// Lines of text with a style each.
pub type Lines = Vec<(String, Style)>;

/// Columns of a fact's label; what follows is indented as far.
const LABEL: u16 = 10;

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

    /// A sentence, broken where it has to be.
    pub fn say(&mut self, text: &str, style: Style) {
        self.lines
            .extend(wrap(text, self.columns).into_iter().map(|line| (line, style)));
    }

    /// `label     text`; an empty label goes on with what was said before.
    pub fn fact(&mut self, label: &str, text: &str, style: Style) {
        // Where there is hardly room for words beside the label, they go below it.
        let indent = if self.columns < LABEL + 14 { 2 } else { LABEL };
        for (index, line) in wrap(text, self.columns.saturating_sub(indent)).into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            let pad = indent.saturating_sub(width(label)).max(u16::from(!label.is_empty()));
            self.lines
                .push((format!("{label}{}{line}", " ".repeat(usize::from(pad))), style));
        }
    }

    /// A sentence below the last one, indented.
    pub fn nested(&mut self, text: &str, style: Style) {
        let lines = wrap(text, self.columns.saturating_sub(4));
        self.lines
            .extend(lines.into_iter().map(|line| (format!("    {line}"), style)));
    }

    pub fn gap(&mut self) {
        self.lines.push(Default::default());
    }

    pub fn lines(self) -> Lines {
        self.lines
    }
}

/// Draws the lines after the first `skip`, as many as there is room for.
pub fn draw(lines: &Lines, skip: usize, area: Rect, buffer: &mut Buffer) {
    for (index, (line, style)) in lines.iter().skip(skip).take(usize::from(area.height)).enumerate() {
        put(buffer, area.x, area.y + index as u16, area.width, line, *style);
    }
}
