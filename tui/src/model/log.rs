//! Keeps a stage's log in bounded memory, by the numbers of its lines. The log of a run that goes on comes from its first
//! line on; of one that has ended the end comes first, and what is above it page after page.

use std::{borrow::Cow, collections::VecDeque};

use onceover_wire::{LogGap, LogLine, LogPage};

/// The daemon keeps 8 MiB of a log: all of it fits in.
const MAX_LINES: usize = 350_000;
const MAX_BYTES: usize = 10 << 20;
/// Room that a page needs.
const PAGE_ROOM_LINES: usize = 5_000;
const PAGE_ROOM_BYTES: usize = 1 << 20;
/// A longer line is kept in pieces of this size.
const MAX_LINE: usize = 4_096;
/// Lines that are read at once.
pub const PAGE_LINES: u64 = 500;

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

/// A line of the log, a piece of a long one, or what says that lines are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The number of the line, from 1.
    pub number: u64,
    /// 0 for the beginning of the line.
    pub piece: u32,
    /// Lines that it stands for.
    pub(super) lines: u64,
    /// The stage whose log it is from, where logs are merged.
    pub source: u16,
    pub text: String,
}

impl LogEntry {
    /// Returns what entries are ordered by.
    fn key(&self) -> (u64, u32) {
        (self.number, self.piece)
    }

    /// Counts the line that begins here, unless it is left out.
    fn counts(&self) -> u64 {
        u64::from(self.piece == 0 && self.lines == 1)
    }
}

/// A row of the log: of a wrapped entry, the rows are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace {
    pub number: u64,
    pub piece: u32,
    pub row: usize,
}

#[derive(Debug)]
pub struct LogBuffer {
    entries: VecDeque<LogEntry>,
    bytes: usize,
    /// Lines that are kept: those that are left out do not count.
    loaded: u64,
    /// The line that has not ended yet, as far as it is not in an entry.
    open: Vec<u8>,
    open_piece: u32,
    /// Lines that have ended, of the whole log, as far as is known.
    pub total: u64,
    /// Lines to read at once above those that are here; 0: there are none that can be read.
    step: u64,
    pub state: LogState,
}

impl Default for LogBuffer {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            loaded: 0,
            open: Vec::new(),
            open_piece: 0,
            total: 0,
            step: PAGE_LINES,
            state: LogState::Idle,
        }
    }
}

impl LogBuffer {
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds what has come of the log that is followed. Returns the entries that it has ended.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<LogEntry> {
        let mut ended = Vec::new();
        for &byte in chunk {
            if byte == b'\n' {
                ended.push(self.close_line());
            } else {
                self.open.push(byte);
                if self.open.len() >= MAX_LINE {
                    ended.push(self.split_line());
                }
            }
        }
        ended
    }

    /// Replaces everything by the end of the log.
    pub fn take_end(&mut self, page: LogPage) {
        let total = page.total;
        self.clear();
        self.state = LogState::Ended;
        for entry in list_entries(page) {
            self.push_entry(entry);
        }
        self.total = total;
    }

    /// Adds lines above those that are here. A page that does not reach down to them is dropped: fewer lines are asked
    /// for next.
    pub fn take_above(&mut self, page: LogPage) {
        let first = self.first_number();
        let mut entries = list_entries(page);
        entries.retain(|entry| entry.number < first);
        let reached = entries.last().map(|last| last.number + last.lines);
        if reached.is_none_or(|reached| reached < first) {
            self.step /= 2;
            return;
        }
        self.step = PAGE_LINES;
        for entry in entries.into_iter().rev() {
            self.bytes += entry.text.len();
            self.loaded += entry.counts();
            self.entries.push_front(entry);
        }
    }

    /// Notes that the lines above cannot be read.
    pub fn note_unreadable(&mut self) {
        self.step = 0;
    }

    /// Adds lines below those that are here, as a search finds them.
    pub fn take_below(&mut self, page: LogPage) {
        self.total = page.total;
        for entry in list_entries(page) {
            self.push_entry(entry);
        }
    }

    /// Adds an entry at the end.
    pub fn push_entry(&mut self, entry: LogEntry) {
        self.bytes += entry.text.len();
        self.loaded += entry.counts();
        self.entries.push_back(entry);
        self.drop_oldest();
    }

    /// Puts entries, which are in order, between those that are here. Costs no more than what is on the shorter side of
    /// them.
    pub fn insert_sorted(&mut self, entries: Vec<LogEntry>) {
        let (Some(first), Some(last)) = (entries.first().map(LogEntry::key), entries.last().map(LogEntry::key)) else {
            return;
        };
        for entry in &entries {
            self.bytes += entry.text.len();
            self.loaded += entry.counts();
        }
        let start = self.entries.partition_point(|entry| entry.key() < first);
        let end = self.entries.partition_point(|entry| entry.key() <= last);
        if end < self.entries.len() - start {
            let before: Vec<_> = self.entries.drain(..end).collect();
            for entry in merge_entries(before, entries).into_iter().rev() {
                self.entries.push_front(entry);
            }
        } else {
            let after: Vec<_> = self.entries.drain(start..).collect();
            self.entries.extend(merge_entries(after, entries));
        }
        self.drop_oldest();
    }

    /// Removes the entries of one stage.
    pub fn remove_source(&mut self, source: u16) {
        self.entries.retain(|entry| entry.source != source);
        self.bytes = self.entries.iter().map(|entry| entry.text.len()).sum();
        self.loaded = self.entries.iter().map(LogEntry::counts).sum();
    }

    /// Forgets the entries that have ended: another buffer has them. Their numbers go on.
    pub fn forget_entries(&mut self) {
        self.entries.clear();
        self.bytes = 0;
        self.loaded = 0;
    }

    /// Whether there is no room for another page: its lines would be dropped at once.
    pub fn is_full(&self) -> bool {
        self.entries.len() + PAGE_ROOM_LINES >= MAX_LINES || self.bytes + PAGE_ROOM_BYTES >= MAX_BYTES
    }

    fn drop_oldest(&mut self) {
        while self.entries.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some(dropped) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= dropped.text.len();
            self.loaded -= dropped.counts();
        }
    }

    /// Counts the entries that are kept, the unfinished last one included.
    pub fn len(&self) -> usize {
        self.entries.len() + usize::from(!self.open.is_empty())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts the lines that are kept: those that are left out do not count.
    pub fn loaded(&self) -> u64 {
        self.loaded
    }

    /// Returns the entries that have ended.
    pub fn entries(&self) -> impl Iterator<Item = &LogEntry> {
        self.entries.iter()
    }

    /// Returns the text of an entry.
    pub fn line(&self, index: usize) -> Cow<'_, str> {
        match self.entries.get(index) {
            Some(entry) => Cow::Borrowed(&entry.text),
            None if index == self.entries.len() => String::from_utf8_lossy(&self.open),
            None => "".into(),
        }
    }

    /// Returns the stage whose log an entry is from.
    pub fn source(&self, index: usize) -> Option<usize> {
        self.entries.get(index).map(|entry| usize::from(entry.source))
    }

    /// Returns the place of an entry's first row.
    pub fn place(&self, index: usize) -> LogPlace {
        let (number, piece) = match self.entries.get(index) {
            Some(entry) => (entry.number, entry.piece),
            None => (self.total + 1, self.open_piece),
        };
        LogPlace { number, piece, row: 0 }
    }

    /// Finds the entry of a place; of one that is not here, the next one that is.
    pub fn find(&self, place: LogPlace) -> usize {
        let wanted = (place.number, place.piece);
        let index = self
            .entries
            .partition_point(|entry| (entry.number, entry.piece) < wanted);
        index.min(self.len().saturating_sub(1))
    }

    /// Returns the number of the first line that is here.
    pub fn first_number(&self) -> u64 {
        self.entries.front().map_or(self.total + 1, |entry| entry.number)
    }

    /// Returns the number of the first line and how many lines to read above those that are here, at most `most`;
    /// `None` if there are none, or no more are kept.
    pub fn lines_above(&self, most: u64) -> Option<(u64, u64)> {
        let above = self.first_number().saturating_sub(1);
        if above == 0 || self.step == 0 || self.state != LogState::Ended || self.is_full() {
            return None;
        }
        // After a page that was too large, the step counts.
        let lines = if self.step < PAGE_LINES { self.step } else { most };
        let lines = lines.min(above);
        Some((above - lines + 1, lines))
    }

    /// Ends a piece before a character that would be cut in two.
    fn split_line(&mut self) -> LogEntry {
        let end = match std::str::from_utf8(&self.open) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.open.len(),
        };
        let rest = self.open.split_off(end.max(1));
        let piece = std::mem::replace(&mut self.open, rest);
        let entry = LogEntry {
            number: self.total + 1,
            piece: self.open_piece,
            lines: 1,
            source: 0,
            text: String::from_utf8_lossy(&piece).into_owned(),
        };
        self.open_piece += 1;
        self.push_entry(entry.clone());
        entry
    }

    fn close_line(&mut self) -> LogEntry {
        let bytes = std::mem::take(&mut self.open);
        let text = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(&bytes)).into_owned();
        let lines = read_gap(&text).filter(|_| self.open_piece == 0).unwrap_or(1);
        let entry = LogEntry {
            number: self.total + 1,
            piece: std::mem::take(&mut self.open_piece),
            lines,
            source: 0,
            text,
        };
        self.total += lines;
        self.push_entry(entry.clone());
        entry
    }
}

/// Merges two lists that are in order; of two entries with one key the first list's comes first.
fn merge_entries(left: Vec<LogEntry>, right: Vec<LogEntry>) -> Vec<LogEntry> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(before), Some(after)) = (left.peek(), right.peek()) {
        let next = match before.key() <= after.key() {
            true => left.next(),
            false => right.next(),
        };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

/// Makes entries of a page, with one for lines that are left out.
pub(super) fn list_entries(page: LogPage) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    let gap_end = page.left_out.as_ref().map(|gap| gap.first + gap.lines);
    for LogLine { number, text } in page.lines {
        if let Some(gap) = page.left_out.as_ref().filter(|_| gap_end == Some(number)) {
            entries.push(describe_gap(gap));
        }
        let mut rest = text.as_str();
        let mut piece = 0;
        while rest.len() > MAX_LINE {
            let (now, later) = rest.split_at(rest.floor_char_boundary(MAX_LINE));
            entries.push(LogEntry {
                number,
                piece,
                lines: 1,
                source: 0,
                text: now.to_owned(),
            });
            rest = later;
            piece += 1;
        }
        entries.push(LogEntry {
            number,
            piece,
            lines: 1,
            source: 0,
            text: rest.to_owned(),
        });
    }
    entries
}

/// Says that lines are left out, as the text of the log does.
fn describe_gap(gap: &LogGap) -> LogEntry {
    let size = onceover_types::humane::bytes(gap.bytes);
    LogEntry {
        number: gap.first,
        piece: 0,
        lines: gap.lines,
        source: 0,
        text: format!("... {size} ({} lines) left out ...", gap.lines),
    }
}

/// Reads how many lines the text of a log leaves out: `... 12.3 MiB (180,000 lines) left out ...`.
fn read_gap(line: &str) -> Option<u64> {
    let (_, lines) = line
        .strip_prefix("... ")?
        .strip_suffix(" lines) left out ...")?
        .split_once('(')?;
    lines.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(numbers: std::ops::RangeInclusive<u64>, total: u64, left_out: Option<LogGap>) -> LogPage {
        LogPage {
            lines: numbers
                .map(|number| LogLine {
                    number,
                    text: format!("line {number}"),
                })
                .collect(),
            total,
            left_out,
            found: None,
        }
    }

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
        assert_eq!(log.total, 1_000_002);
    }

    #[test]
    fn an_ended_log_is_whole_when_all_pages_above_its_end_have_come() {
        let mut log = LogBuffer::default();
        log.take_end(page(1_501..=2_000, 2_000, None));
        while let Some((from, lines)) = log.lines_above(PAGE_LINES) {
            log.take_above(page(from..=from + lines - 1, 2_000, None));
        }
        assert_eq!((log.loaded(), log.first_number()), (2_000, 1));
        assert_eq!(log.line(1_233), "line 1234");
    }

    #[test]
    fn a_page_that_was_too_large_is_asked_for_in_smaller_pieces() {
        let mut log = LogBuffer::default();
        log.take_end(page(900..=1_000, 1_000, None));
        let mut asked = 0;
        while let Some((from, lines)) = log.lines_above(PAGE_LINES) {
            // No more than 100 lines fit into an answer.
            log.take_above(page(from..=from + lines.min(100) - 1, 1_000, None));
            asked += 1;
            assert!(asked < 100);
        }
        assert_eq!(log.loaded(), 1_000);
    }

    #[test]
    fn what_is_left_out_is_one_entry_and_the_numbers_go_on_behind_it() {
        let gap = LogGap {
            first: 301,
            lines: 600,
            bytes: 5 << 20,
        };
        let mut log = LogBuffer::default();
        log.take_end(page(901..=1_000, 1_000, Some(gap.clone())));
        assert_eq!(log.line(0), "... 5 MiB (600 lines) left out ...");
        assert_eq!(log.lines_above(PAGE_LINES), Some((1, 300)));
        log.take_above(page(1..=300, 1_000, Some(gap)));
        assert_eq!((log.loaded(), log.lines_above(PAGE_LINES)), (400, None));
        let mut followed = LogBuffer::default();
        followed.push(b"one\n... 5.0 MiB (1,600 lines) left out ...\nlast\n");
        assert_eq!((followed.total, followed.place(2).number), (1_602, 1_602));
    }
}
