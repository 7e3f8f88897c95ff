//! Reads lines of a program's output, in bounded memory whatever it prints.

use onceover_limits::Limit;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnds {
    Newline,
    /// A newline or a carriage return, with which progress bars redraw themselves; empty lines are skipped.
    NewlineOrReturn,
    /// The output is no text: each part that was read is returned as it is.
    Nowhere,
}

/// Bytes of a part of output that is no text.
const PART: usize = 1 << 20;

/// Reads lines; cancel-safe.
pub(crate) struct LineReader<R> {
    reader: Option<BufReader<R>>,
    line: Vec<u8>,
    limit: usize,
    /// Whether the line continues beyond the limit.
    cut: bool,
    ends: LineEnds,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(crate) fn new(reader: Option<R>, limit: usize, ends: LineEnds) -> Self {
        Self {
            reader: reader.map(|reader| match ends {
                LineEnds::Nowhere => BufReader::with_capacity(PART, reader),
                _ => BufReader::new(reader),
            }),
            line: Vec::new(),
            limit,
            cut: false,
            ends,
        }
    }

    /// Whether the last line was returned.
    pub(crate) fn has_ended(&self) -> bool {
        self.reader.is_none()
    }

    /// Stops reading.
    pub(crate) fn close(&mut self) {
        self.reader = None;
    }

    /// Reads the next line without its end, bytes that are not UTF-8 replaced, cut at the limit. Returns `None` at the
    /// end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let line = self.next_part().await?;
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// Reads the next line, or the next part of output that is no text, in bytes.
    pub(crate) async fn next_part(&mut self) -> Option<Vec<u8>> {
        loop {
            let buffer = match self.reader.as_mut()?.fill_buf().await {
                Ok(buffer) if !buffer.is_empty() => buffer,
                _ => {
                    self.reader = None;
                    return (!self.line.is_empty()).then(|| self.take_line());
                }
            };
            if self.ends == LineEnds::Nowhere {
                let part = buffer.to_vec();
                if let Some(reader) = &mut self.reader {
                    reader.consume(part.len());
                }
                return Some(part);
            }
            let is_end = |byte: &u8| *byte == b'\n' || (self.ends == LineEnds::NewlineOrReturn && *byte == b'\r');
            let end = buffer.iter().position(is_end);
            let part = &buffer[..end.unwrap_or(buffer.len())];
            let room = self.limit.saturating_sub(self.line.len());
            if part.len() > room && !self.cut {
                Limit::OutputLine.reached();
                self.cut = true;
            }
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let read = part.len() + usize::from(end.is_some());
            if let Some(reader) = &mut self.reader {
                reader.consume(read);
            }
            if end.is_some() && !(self.ends == LineEnds::NewlineOrReturn && self.line.is_empty()) {
                return Some(self.take_line());
            }
        }
    }

    fn take_line(&mut self) -> Vec<u8> {
        if self.ends == LineEnds::Newline && self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        self.cut = false;
        std::mem::take(&mut self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(bytes: &[u8], limit: usize, ends: LineEnds) -> Vec<String> {
        let mut reader = LineReader::new(Some(bytes), limit, ends);
        let mut lines = Vec::new();
        while let Some(line) = reader.next().await {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn lines_come_whole_cut_and_repaired() {
        assert_eq!(lines(b"a\r\n\nb", 9, LineEnds::Newline).await, ["a", "", "b"]);
        assert_eq!(
            lines(b" 1%\r 2%\r\n\nc\n", 9, LineEnds::NewlineOrReturn).await,
            [" 1%", " 2%", "c"]
        );
        assert_eq!(lines(b"abcdef\ng", 3, LineEnds::Newline).await, ["abc", "g"]);
        assert_eq!(lines(b"a\xffb\n", 9, LineEnds::Newline).await, ["a\u{fffd}b"]);
        assert!(lines(b"", 9, LineEnds::Newline).await.is_empty());
    }

    #[tokio::test]
    async fn a_line_longer_than_the_read_buffer_is_one_line() {
        let mut text = vec![b'x'; 90_000];
        text.extend_from_slice(b"\ny\n");
        let lines = lines(&text, 64 * 1024, LineEnds::Newline).await;
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [65_536, 1]);
    }
}
