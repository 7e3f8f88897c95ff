//! Keeps a stage's log in bounded memory: the newest lines, however long the log and its lines are.

use std::collections::VecDeque;

const MAX_LINES: usize = 5_000;
const MAX_BYTES: usize = 1 << 20;
/// A longer line is kept in pieces of this size.
const MAX_LINE: usize = 4_096;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogState {
    /// The log was not asked for.
    #[default]
    Idle,
    /// The log was asked for, and there is no answer yet.
    Loading,
    /// The run goes on, and its log is followed.
    Following,
    /// The log has ended.
    Ended,
    Failed(String),
}

#[derive(Debug, Default)]
pub struct LogBuffer {
    lines: VecDeque<String>,
    bytes: usize,
    open: Vec<u8>,
    /// Lines that are no longer kept.
    pub dropped: u64,
    pub state: LogState,
}

impl LogBuffer {
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn push(&mut self, chunk: &[u8]) {
        for &byte in chunk {
            if byte == b'\n' {
                self.close_line();
            } else {
                self.open.push(byte);
                if self.open.len() >= MAX_LINE {
                    self.split_line();
                }
            }
        }
    }

    /// Counts the lines that are kept, the unfinished last one included.
    pub fn len(&self) -> usize {
        self.lines.len() + usize::from(!self.open.is_empty())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn line(&self, index: usize) -> std::borrow::Cow<'_, str> {
        match self.lines.get(index) {
            Some(line) => line.into(),
            None if index == self.lines.len() => String::from_utf8_lossy(&self.open),
            None => "".into(),
        }
    }

    /// Ends a piece before a character that would be cut in two.
    fn split_line(&mut self) {
        let end = match std::str::from_utf8(&self.open) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.open.len(),
        };
        let rest = self.open.split_off(end.max(1));
        self.close_line();
        self.open = rest;
    }

    fn close_line(&mut self) {
        let bytes = std::mem::take(&mut self.open);
        let line = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(&bytes)).into_owned();
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some(dropped) = self.lines.pop_front() else {
                break;
            };
            self.bytes -= dropped.len();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_and_a_long_log_stay_within_bounds() {
        let mut log = LogBuffer::default();
        log.push("字".repeat(30_000).as_bytes());
        log.push(b"\nend\n");
        let all: String = (0..log.len()).map(|i| log.line(i).into_owned()).collect();
        assert_eq!(all, "字".repeat(30_000) + "end", "no character was cut");
        for i in 0..1_000_000u32 {
            log.push(format!("line {i}\n").as_bytes());
        }
        assert!(log.len() <= MAX_LINES && log.bytes <= MAX_BYTES);
        assert_eq!(log.line(log.len() - 1), "line 999999");
    }
}
