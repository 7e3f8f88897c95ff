//! Bars over time: one column for a value, or for the most of several where there are more values than columns. The newest
//! is at the right.

use std::ops::Range;

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    widgets::{Sparkline, Widget},
};

use super::text::within;
use crate::theme::Theme;

/// Values to draw.
pub struct Bars<'a> {
    /// Oldest first.
    pub values: &'a [u64],
    /// The value that fills the height.
    pub most: u64,
    /// The index of the value whose figures stand beside them.
    pub cursor: Option<usize>,
    pub style: Style,
}

/// Draws the bars into an area, and the column of the cursor in reverse.
pub fn draw_bars(bars: &Bars, area: Rect, theme: Theme, buffer: &mut Buffer) {
    let area = within(buffer, area);
    if area.is_empty() || bars.values.is_empty() {
        return;
    }
    let groups = group_values(bars.values.len(), usize::from(area.width));
    let heights: Vec<u64> = groups
        .iter()
        .map(|group| bars.values[group.clone()].iter().copied().max().unwrap_or_default())
        .collect();
    // No more groups than columns.
    let used = heights.len() as u16;
    let drawn = Rect {
        x: area.right() - used,
        width: used,
        ..area
    };
    let line = Sparkline::default().data(&heights).max(bars.most.max(1));
    line.style(bars.style).render(drawn, buffer);
    let column = bars
        .cursor
        .and_then(|cursor| groups.iter().position(|group| group.contains(&cursor)));
    if let Some(column) = column {
        let at = Rect {
            x: drawn.x + column as u16,
            width: 1,
            ..drawn
        };
        buffer.set_style(within(buffer, at), theme.cursor());
    }
}

/// Divides so many values into at most so many groups, in order; only the first one may be smaller than the others.
fn group_values(count: usize, columns: usize) -> Vec<Range<usize>> {
    let size = count.div_ceil(columns.max(1)).max(1);
    let mut groups = Vec::new();
    let mut end = count;
    while end > 0 {
        let start = end.saturating_sub(size);
        groups.push(start..end);
        end = start;
    }
    groups.reverse();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_one_group_and_there_are_no_more_than_columns() {
        for (count, columns) in [(0, 5), (1, 5), (5, 5), (6, 5), (120, 7), (3, 1), (4, 0)] {
            let groups = group_values(count, columns);
            assert!(groups.len() <= columns.max(1), "{count} in {columns}");
            let all: Vec<_> = groups.into_iter().flatten().collect();
            assert_eq!(all, (0..count).collect::<Vec<_>>(), "{count} in {columns}");
        }
    }

    #[test]
    fn the_newest_value_is_at_the_right_and_the_cursor_is_on_its_column() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 6, 1));
        let bars = Bars {
            values: &[0, 4, 8],
            most: 8,
            cursor: Some(1),
            style: Style::new(),
        };
        draw_bars(&bars, buffer.area, Theme::default(), &mut buffer);
        let symbols: Vec<_> = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        assert_eq!(symbols, [" ", " ", " ", " ", "▄", "█"]);
        assert_eq!(
            buffer[(4, 0)].style().add_modifier,
            Theme::default().cursor().add_modifier
        );
        draw_bars(&bars, Rect::new(90, 90, 5, 5), Theme::default(), &mut buffer);
    }
}
