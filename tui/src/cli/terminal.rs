//! What kind of terminal a command has.

use std::io::{self, IsTerminal};

use onceover_wire::command_line::variable;

/// Whether there is a terminal that can position a cursor. A dumb one (a shell in Emacs, many CI systems) gets the
/// tree.
pub fn has_screen() -> bool {
    is_at_terminal() && has_cursor()
}

/// Whether the terminal can position a cursor.
pub fn has_cursor() -> bool {
    variable("TERM").is_some_and(|term| term != "dumb")
}

/// Whether a command reads from a terminal and writes to it.
pub fn is_at_terminal() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// Whether a line of standard error can be written again.
pub fn has_note_line() -> bool {
    io::stderr().is_terminal() && has_cursor()
}

/// Returns the columns of the terminal; of one that does not report its size, 80.
pub fn count_columns() -> u16 {
    match crossterm::terminal::size() {
        Ok((columns @ 1.., _)) => columns,
        _ => 80,
    }
}
