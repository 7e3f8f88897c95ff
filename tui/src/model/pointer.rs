//! The mouse: whether it is used, and what it has begun.

use onceover_types::Timestamp;

/// Two clicks on one cell within this time are a double click.
const DOUBLE_CLICK_MS: i64 = 400;

/// What is known of the mouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pointer {
    /// Whether clicks come to the dashboard; otherwise the terminal selects text with them.
    pub is_used: bool,
    /// The cell of the last click, and when it was.
    last_click: Option<(u16, u16, Timestamp)>,
    /// Whether the border between tree and detail is being dragged.
    pub drags_border: bool,
}

impl Pointer {
    pub fn new(is_used: bool) -> Self {
        Self {
            is_used,
            ..Self::default()
        }
    }

    /// Notes a click. Returns whether it is the second one of a double click.
    pub fn click(&mut self, column: u16, row: u16, now: Timestamp) -> bool {
        let is_double = self.last_click.is_some_and(|(last_column, last_row, at)| {
            (last_column, last_row) == (column, row) && now.as_millis() - at.as_millis() <= DOUBLE_CLICK_MS
        });
        // A third click is a first one.
        self.last_click = (!is_double).then_some((column, row, now));
        is_double
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clicks_on_a_cell_within_a_moment_are_a_double_click() {
        let at = Timestamp::from_millis;
        let mut pointer = Pointer::default();
        assert!(!pointer.click(3, 4, at(0)));
        assert!(pointer.click(3, 4, at(200)));
        assert!(!pointer.click(3, 4, at(300)), "the third one is a first one");
        assert!(!pointer.click(3, 5, at(350)));
        assert!(!pointer.click(3, 5, at(900)));
    }
}
