//! Shows how a run over a folder goes: in a terminal the lines of the files under way are rewritten below those of the
//! files that have ended; elsewhere a line is printed for each change.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
};

use crossterm::{
    QueueableCommand,
    cursor::{MoveToColumn, MoveUp},
    terminal::{self, Clear, ClearType},
};

use crate::{
    cli::{failure::Failure, out, terminal::has_cursor},
    glyphs::Glyphs,
    view::text,
};

/// How lines are printed.
enum Mode {
    /// Rewritten; this many lines are below the last one that stays.
    InPlace { drawn: u16 },
    /// One line for each change; the last one printed of each file.
    Plain { printed: BTreeMap<usize, String> },
    /// No lines are printed.
    Silent,
}

/// The lines of a run over a folder.
pub struct Report(Mode);

impl Report {
    /// Rewrites lines if standard output allows it.
    pub fn new(is_silent: bool) -> Self {
        let has_cursor = io::stdout().is_terminal() && has_cursor();
        Self(match (is_silent, has_cursor) {
            (true, _) => Mode::Silent,
            (false, true) => Mode::InPlace { drawn: 0 },
            (false, false) => Mode::Plain {
                printed: BTreeMap::new(),
            },
        })
    }

    /// Whether a new figure counts as a change, or only a new step.
    pub fn has_figures(&self) -> bool {
        matches!(self.0, Mode::InPlace { .. })
    }

    /// Shows the lines of files under way, by their number, after those that stay.
    pub fn show(&mut self, ended: &[String], under_way: &[(usize, String)]) -> Result<(), Failure> {
        match &mut self.0 {
            Mode::Silent => Ok(()),
            Mode::Plain { printed } => {
                for line in ended {
                    out::print(&text::harmless(line))?;
                }
                for (file, line) in under_way {
                    if printed.get(file) != Some(line) {
                        out::print(&text::harmless(line))?;
                        printed.insert(*file, line.clone());
                    }
                }
                Ok(())
            }
            Mode::InPlace { drawn } => redraw(drawn, ended, under_way).map_err(|error| Failure::unwritten(&error)),
        }
    }

    /// Removes the lines that are rewritten, so that other text can follow.
    pub fn close(&mut self) -> Result<(), Failure> {
        self.show(&[], &[])
    }
}

/// Prints lines that stay, and those that the next call rewrites.
fn redraw(drawn: &mut u16, ended: &[String], under_way: &[(usize, String)]) -> io::Result<()> {
    let (columns, rows) = terminal::size().unwrap_or((80, 24));
    let room = usize::from(rows.saturating_sub(1).max(1));
    let mut out = io::stdout().lock();
    if *drawn > 0 {
        out.queue(MoveUp(*drawn))?;
    }
    out.queue(MoveToColumn(0))?.queue(Clear(ClearType::FromCursorDown))?;
    let glyphs = Glyphs::from_env();
    for line in ended {
        writeln!(out, "{}", glyphs.shown(&text::harmless(line)))?;
    }
    *drawn = 0;
    for (_, line) in under_way.iter().take(room) {
        // A line that wraps would not be where the next frame expects it.
        let line = text::wrap(line, columns.saturating_sub(1)).into_iter().next();
        writeln!(out, "{}", glyphs.shown(&line.unwrap_or_default()))?;
        *drawn += 1;
    }
    out.flush()
}
