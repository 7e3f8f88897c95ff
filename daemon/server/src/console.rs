//! What the commands beside the daemon print. A reader that has left, or a full disk, ends no command half-way: the rest
//! is not printed, and `main` reports it at the end.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    sync::OnceLock,
};

/// Why nothing more is printed.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

/// Prints a line on stdout, unless an earlier one could not be printed. Never panics.
pub fn print(line: fmt::Arguments<'_>) {
    if FAILURE.get().is_some() {
        return;
    }
    if let Err(error) = writeln!(io::stdout().lock(), "{line}") {
        FAILURE.get_or_init(|| error);
    }
}

/// Prints a line as `println!` does.
macro_rules! print_line {
    ($($line:tt)*) => { $crate::console::print(format_args!($($line)*)) };
}
pub(crate) use print_line;

/// Why not all was printed; none for a reader that has left, as `head` does.
pub fn failure() -> Option<&'static io::Error> {
    FAILURE.get().filter(|error| error.kind() != ErrorKind::BrokenPipe)
}
