//! Makes the bytes of a frame: the cells that differ from the frame before, as one synchronized update. It writes
//! nothing, so that a recorded session can be replayed to the same bytes without a terminal.

use std::io;

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    queue,
    terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate},
};
use ratatui::{
    backend::{Backend, CrosstermBackend},
    buffer::Buffer,
    layout::{Position, Rect},
};

use crate::{model::Model, view::view};

/// Paints frame after frame.
#[derive(Debug, Default)]
pub struct Painter {
    /// What is on the screen; `None`: it is not known, and every cell has to be written.
    shown: Option<(Buffer, Option<Position>)>,
}

impl Painter {
    pub fn new() -> Self {
        // With NO_COLOR crossterm writes a bare reset that would remove bold and reverse, and the selection with them.
        // The theme leaves colours out itself.
        crossterm::style::force_color_output(true);
        Self::default()
    }

    /// Makes the next frame write every cell.
    pub fn forget(&mut self) {
        self.shown = None;
    }

    /// Returns the frame that was painted last, unless it was forgotten.
    pub fn shown(&self) -> Option<&Buffer> {
        self.shown.as_ref().map(|(shown, _)| shown)
    }

    /// Paints the model. Returns the bytes that bring it onto the screen; `None` if the screen shows it already.
    pub fn paint(&mut self, model: &Model) -> io::Result<Option<Vec<u8>>> {
        let (columns, rows) = model.size;
        let area = Rect::new(0, 0, columns, rows);
        let mut next = Buffer::empty(area);
        let cursor = view(model, &mut next);
        let fresh = self.shown.as_ref().is_none_or(|(shown, _)| shown.area != area);
        let blank;
        let (before, cursor_before) = match &self.shown {
            Some((shown, cursor)) if !fresh => (shown, *cursor),
            _ => {
                blank = Buffer::empty(area);
                (&blank, None)
            }
        };
        let changes = before.diff(&next);
        if !fresh && changes.is_empty() && cursor == cursor_before {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(16 * 1024);
        queue!(bytes, BeginSynchronizedUpdate, Hide)?;
        if fresh {
            queue!(bytes, Clear(ClearType::All))?;
        }
        CrosstermBackend::new(&mut bytes).draw(changes.into_iter())?;
        if let Some(cursor) = cursor {
            queue!(bytes, MoveTo(cursor.x, cursor.y), Show)?;
        }
        queue!(bytes, EndSynchronizedUpdate)?;
        self.shown = Some((next, cursor));
        Ok(Some(bytes))
    }
}
