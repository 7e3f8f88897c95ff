//! Holds the terminal: sets its modes, the mouse's among them, and restores them on every way out. It writes only cells
//! that have changed, each frame as one synchronized update.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{DisableBracketedPaste, EnableBracketedPaste},
    execute, queue,
    style::Print,
    terminal::{
        BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
        disable_raw_mode, enable_raw_mode,
    },
};
use ratatui::{
    backend::{Backend, CrosstermBackend},
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::pictures::Pictures;
use crate::{
    clipboard::{self, Multiplexer},
    model::Model,
    view::{preview::find_picture, view},
};

/// Whether the modes are set now; the panic hook and `Drop` must restore them once.
static OPEN: AtomicBool = AtomicBool::new(false);
/// Whether the mouse is to be used while they are.
static MOUSE: AtomicBool = AtomicBool::new(false);

/// Buttons, moves with a button down, and columns beyond 223. What crossterm sets reports every move, too, and each
/// would wake the program.
const MOUSE_ON: &str = "\x1b[?1000h\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &str = "\x1b[?1006l\x1b[?1002l\x1b[?1000l";

pub struct Terminal {
    /// What is on the screen; `None`: it is not known, and every cell has to be written.
    shown: Option<(Buffer, Option<Position>)>,
    /// The picture that the terminal shows by its own protocol, and where.
    picture: Option<(u64, Rect)>,
}

impl Terminal {
    /// Sets the modes, and restores them when the program panics.
    pub fn open() -> io::Result<Self> {
        // With NO_COLOR crossterm writes a bare reset that would remove bold and reverse, and the selection with them.
        // The theme leaves colours out itself.
        crossterm::style::force_color_output(true);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
            // Without the part that panicked, what is shown could be stale and look live.
            std::process::exit(101);
        }));
        set_modes()?;
        Ok(Self {
            shown: None,
            picture: None,
        })
    }

    /// Returns columns and rows. A terminal that reports none (`docker exec`, serial lines) is taken to have 80 x 24.
    pub fn size(&self) -> (u16, u16) {
        let (columns, rows) = crossterm::terminal::size().unwrap_or_default();
        let or = |reported, usual| if reported == 0 { usual } else { reported };
        (or(columns, 80), or(rows, 24))
    }

    /// Makes the next frame write every cell.
    pub fn forget(&mut self) {
        self.shown = None;
    }

    /// Draws the model, and writes what has changed since the last frame.
    pub fn draw(&mut self, model: &Model, pictures: &Pictures) -> io::Result<()> {
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
            return Ok(());
        }
        // One write a frame: a terminal never sees half of it.
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
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()?;
        self.shown = Some((next, cursor));
        self.picture = picture;
        Ok(())
    }

    /// Sends the text to the clipboard of the terminal, over ssh too (OSC 52).
    pub fn copy(&self, text: &str, multiplexer: Multiplexer) -> io::Result<()> {
        self.send(&clipboard::encode(text, multiplexer))
    }

    /// Sends a sequence that draws nothing.
    pub fn send(&self, sequence: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(sequence.as_bytes())?;
        out.flush()
    }

    /// Takes the mouse, or leaves it to the terminal.
    pub fn use_mouse(&self, is_used: bool) -> io::Result<()> {
        if MOUSE.swap(is_used, Ordering::SeqCst) == is_used {
            return Ok(());
        }
        self.send(if is_used { MOUSE_ON } else { MOUSE_OFF })
    }

    /// Gives the terminal back as the shell left it, while this program is stopped.
    pub fn leave(&mut self) {
        restore();
    }

    /// Sets the modes again, whatever has happened to the terminal meanwhile.
    pub fn enter(&mut self) -> io::Result<()> {
        set_modes()?;
        self.forget();
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

fn set_modes() -> io::Result<()> {
    enable_raw_mode()?;
    OPEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, Hide)?;
    if MOUSE.load(Ordering::SeqCst) {
        execute!(io::stdout(), Print(MOUSE_ON))?;
    }
    Ok(())
}

/// Restores the terminal, once. Nothing more can be done where that fails.
fn restore() {
    if OPEN.swap(false, Ordering::SeqCst) {
        if MOUSE.load(Ordering::SeqCst) {
            let _ = execute!(io::stdout(), Print(MOUSE_OFF));
        }
        let _ = execute!(
            io::stdout(),
            EndSynchronizedUpdate,
            DisableBracketedPaste,
            LeaveAlternateScreen,
            Show
        );
        let _ = disable_raw_mode();
    }
}
