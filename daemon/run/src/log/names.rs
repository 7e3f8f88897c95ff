//! Names of the files that hold a log. Beside `run.log` a long log has files that continue it: their names say how much
//! of the log stands before them, so that nothing else has to be kept about them.

use std::{ffi::OsStr, path::Path};

use crate::paths::{TAIL_MARK, is_file_or_tail};

/// Name of the log in the run's folder.
pub const FILE_NAME: &str = "run.log";

/// The last line of `run.log` when the log goes on in other files.
pub(super) const HEAD_END: &str = "the log goes on in the files run.log.tail-*; what stood between is left out\n";

/// Whether a file with this name in a run's folder is the run's log, or continues it.
pub fn is_log_file(name: &OsStr) -> bool {
    is_file_or_tail(name, FILE_NAME)
}

/// Where a file of a log begins, in what was written to the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition {
    /// Bytes that stand before it.
    pub bytes: u64,
    /// Lines that stand before it.
    pub lines: u64,
}

impl LogPosition {
    /// Returns the name of the file that begins here.
    pub(super) fn file_name(self) -> String {
        format!("{FILE_NAME}{TAIL_MARK}{}-{}", self.bytes, self.lines)
    }

    /// Reads the name of a file. Returns `None` if it does not continue a log.
    pub(super) fn from_file_name(name: &Path) -> Option<Self> {
        let (bytes, lines) = name
            .to_str()?
            .strip_prefix(FILE_NAME)?
            .strip_prefix(TAIL_MARK)?
            .split_once('-')?;
        let position = Self {
            bytes: bytes.parse().ok()?,
            lines: lines.parse().ok()?,
        };
        (name == Path::new(&position.file_name())).then_some(position)
    }

    /// Returns the position behind this text.
    pub(super) fn after(self, text: &[u8]) -> Self {
        Self {
            bytes: self.bytes + text.len() as u64,
            lines: self.lines + count_lines(text),
        }
    }
}

/// Counts the ends of lines.
pub fn count_lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_stands_before_the_file_and_no_other_name_does() {
        let position = LogPosition {
            bytes: 1_048_570,
            lines: 9_000,
        };
        let name = position.file_name();
        assert_eq!(LogPosition::from_file_name(Path::new(&name)), Some(position));
        assert!(is_log_file(name.as_ref()) && is_log_file(FILE_NAME.as_ref()));
        for other in [
            "run.log",
            "run.log.tail-",
            "run.log.tail-1",
            "run.log.tail-+1-2",
            "run.log.gz",
            "x",
        ] {
            assert_eq!(LogPosition::from_file_name(Path::new(other)), None, "{other}");
        }
    }
}
