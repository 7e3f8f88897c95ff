//! Texts of files that people write, on any system.

use std::io::{Error, ErrorKind};

/// Whether a file could not be read because it is not there: what is to be a folder on its way may also be a file.
pub fn is_absent(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Returns the text without the byte order mark, which editors of Windows put before it. The ends of its lines, `\r\n`
/// there, are left to `lines` and `trim`.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
