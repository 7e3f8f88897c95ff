//! Holds the terminal: sets its modes, the mouse's among them, and restores them on every way out. It writes frames as
//! they are painted.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use crossterm::{
    cursor::{Hide, Show},
    event::{DisableBracketedPaste, EnableBracketedPaste},
    execute,
    style::Print,
    terminal::{EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};

use super::pictures::Pictures;
use crate::{
    clipboard::{self, Multiplexer},
    model::Model,
    paint::Painter,
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
    painter: Painter,
}

impl Terminal {
    /// Sets the modes, and restores them when the program panics.
    pub fn open() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
            // Without the part that panicked, what is shown could be stale and look live.
            std::process::exit(101);
        }));
        set_modes()?;
        Ok(Self {
            painter: Painter::new(),
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
        self.painter.forget();
    }

    /// Draws the model, and writes what has changed since the last frame. Returns the bytes; `None` if nothing has.
    pub fn draw(&mut self, model: &Model, pictures: &Pictures) -> io::Result<Option<Vec<u8>>> {
        let Some(bytes) = self.painter.paint(model, pictures)? else {
            return Ok(None);
        };
        self.show(&bytes)?;
        Ok(Some(bytes))
    }

    /// Writes a frame. One write: a terminal never sees half of it.
    pub fn show(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
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
