//! How a run over a folder goes, as it is shown: in a terminal the lines of the files under way are rewritten in place below
//! those of the ended ones; elsewhere a line is printed for each change.

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
    cli::{Failure, out},
    glyphs::Glyphs,
    view::text,
};

/// How the lines go out.
enum Mode {
    /// Rewritten in place; so many lines stand below the last one that stays.
    InPlace { drawn: u16 },
    /// One for each change: what was printed last of each file.
    Plain { said: BTreeMap<usize, String> },
    /// Not at all.
    Silent,
}

pub struct Report(Mode);

impl Report {
    /// As standard output allows.
    pub fn new(is_silent: bool) -> Self {
        let has_cursor = io::stdout().is_terminal() && crate::cli::has_cursor();
        Self(match (is_silent, has_cursor) {
            (true, _) => Mode::Silent,
            (false, true) => Mode::InPlace { drawn: 0 },
            (false, false) => Mode::Plain { said: BTreeMap::new() },
        })
    }

    /// Whether how far a run is counts as a change, or only what it is at.
    pub fn has_figures(&self) -> bool {
        matches!(self.0, Mode::InPlace { .. })
    }

    /// Shows the lines of files under way, by their number, after those that stay.
    pub fn show(&mut self, ended: &[String], under_way: &[(usize, String)]) -> Result<(), Failure> {
        match &mut self.0 {
            Mode::Silent => Ok(()),
            Mode::Plain { said } => {
                for line in ended {
                    out::print(&text::harmless(line))?;
                }
                for (file, line) in under_way {
                    if said.get(file) != Some(line) {
                        out::print(&text::harmless(line))?;
                        said.insert(*file, line.clone());
                    }
                }
                Ok(())
            }
            Mode::InPlace { drawn } => redraw(drawn, ended, under_way).map_err(|error| Failure::unwritten(&error)),
        }
    }

    /// Takes away what is rewritten in place, so that other text can follow.
    pub fn close(&mut self) -> Result<(), Failure> {
        self.show(&[], &[])
    }
}

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
        // A line that breaks would not be where it is looked for.
        let line = text::wrap(line, columns.saturating_sub(1)).into_iter().next();
        writeln!(out, "{}", glyphs.shown(&line.unwrap_or_default()))?;
        *drawn += 1;
    }
    out.flush()
}
