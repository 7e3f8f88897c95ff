//! Frames around the parts of the screen, and boxes over it.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::text::{clear, put, within};
use crate::model::Model;

/// Draws a title into the first row of an area, and a line behind it.
pub fn draw_rule(buffer: &mut Buffer, area: Rect, title: &str, style: Style) {
    let used = put(buffer, area.x, area.y, area.width, title, style);
    let room = area.width.saturating_sub(used + 1);
    put(
        buffer,
        area.x + used + 1,
        area.y,
        room,
        &"─".repeat(usize::from(room)),
        style,
    );
}

/// Draws a frame with a title, which may be text of others.
pub fn draw_frame(buffer: &mut Buffer, area: Rect, title: &str, style: Style, title_style: Style) {
    let area = within(buffer, area);
    if area.width < 2 || area.height < 2 {
        return;
    }
    let (left, right, top, bottom) = (area.left(), area.right() - 1, area.top(), area.bottom() - 1);
    let bar = "─".repeat(usize::from(area.width - 2));
    for (y, start, end) in [(top, "┌", "┐"), (bottom, "└", "┘")] {
        put(buffer, left, y, 1, start, style);
        put(buffer, left + 1, y, area.width - 2, &bar, style);
        put(buffer, right, y, 1, end, style);
    }
    for y in top + 1..bottom {
        put(buffer, left, y, 1, "│", style);
        put(buffer, right, y, 1, "│", style);
    }
    if !title.is_empty() && area.width > 6 {
        put(
            buffer,
            left + 1,
            top,
            area.width - 2,
            &format!(" {title} "),
            title_style,
        );
    }
}

/// Returns an area of this size in the middle of the screen.
pub fn centre_area(screen: Rect, columns: u16, rows: u16) -> Rect {
    let area = screen;
    let (columns, rows) = (columns.min(area.width), rows.min(area.height));
    Rect::new(
        area.x + (area.width - columns) / 2,
        area.y + (area.height - rows) / 2,
        columns,
        rows,
    )
}

/// Draws an empty box with a frame. Returns its inside.
pub fn open_box(model: &Model, buffer: &mut Buffer, title: &str, columns: u16, rows: u16) -> Rect {
    let area = centre_area(buffer.area, columns, rows);
    clear(buffer, area);
    draw_frame(buffer, area, title, model.theme.accent(), model.theme.strong());
    find_inside(area)
}

/// Returns the inside of a box.
pub fn find_inside(area: Rect) -> Rect {
    Rect {
        x: area.x + 2.min(area.width),
        y: area.y + 1.min(area.height),
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    }
}

/// Leaves a column free on both sides.
pub fn inset(area: Rect) -> Rect {
    Rect {
        x: area.x + 1.min(area.width),
        width: area.width.saturating_sub(2),
        ..area
    }
}

/// Returns the area without its first rows.
pub fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect {
        y: area.y + rows,
        height: area.height - rows,
        ..area
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_has_no_rows_below_its_last_one() {
        let area = Rect::new(2, 3, 10, 4);
        assert_eq!(below(area, 1), Rect::new(2, 4, 10, 3));
        assert_eq!(below(area, 9), Rect::new(2, 7, 10, 0));
        assert_eq!(inset(Rect::new(2, 3, 1, 4)), Rect::new(3, 3, 0, 4));
    }
}
