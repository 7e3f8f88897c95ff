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

use crate::{
    model::Model,
    view::{preview::find_picture, view},
};

/// Pictures as the terminal takes them by its own protocol.
pub trait TerminalPictures {
    /// Whether a picture is there, by the request that read it.
    fn has(&self, id: u64) -> bool;

    /// Draws a picture into a frame, over what is in the area. `fresh`: the screen is cleared before.
    fn draw(&self, id: u64, area: Rect, fresh: bool, buffer: &mut Buffer);
}

/// Stands for a terminal without such a protocol.
#[derive(Debug)]
pub struct NoPictures;

impl TerminalPictures for NoPictures {
    fn has(&self, _id: u64) -> bool {
        false
    }

    fn draw(&self, _id: u64, _area: Rect, _fresh: bool, _buffer: &mut Buffer) {}
}

/// Paints frame after frame.
#[derive(Debug, Default)]
pub struct Painter {
    /// What is on the screen; `None`: it is not known, and every cell has to be written.
    shown: Option<(Buffer, Option<Position>)>,
    /// The picture that the terminal shows by its own protocol, and where.
    picture: Option<(u64, Rect)>,
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
    pub fn paint(&mut self, model: &Model, pictures: &impl TerminalPictures) -> io::Result<Option<Vec<u8>>> {
        let (columns, rows) = model.size;
        let area = Rect::new(0, 0, columns, rows);
        let mut next = Buffer::empty(area);
        let cursor = view(model, &mut next);
        let picture = find_picture(model).filter(|(id, _)| pictures.has(*id));
        // Terminals differ in what a cell that is written does to a picture: all of them remove it with the screen.
        let fresh = self.picture != picture || self.shown.as_ref().is_none_or(|(shown, _)| shown.area != area);
        if let Some((id, room)) = picture {
            pictures.draw(id, room, fresh, &mut next);
        }
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
        self.picture = picture;
        Ok(Some(bytes))
    }
}
