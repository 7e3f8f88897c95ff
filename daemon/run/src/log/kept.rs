//! Reads a log as it is kept: its beginning, and where it grew over its limit its end, with a line between them that
//! says how much is left out. The files are opened at once; what happens to the folder later changes nothing.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use onceover_types::humane;
use onceover_wire::{LogGap, LogLine, LogPage};

use super::names::{FILE_NAME, HEAD_END, LogPosition, count_lines};
use crate::paths::{self, Opened};

/// Bytes of lines that one page has at most, beside its last line.
const PAGE_BYTES: usize = 1 << 20;

/// The opened files of a log, and how far each is read.
#[derive(Debug)]
pub struct KeptLog {
    /// `run.log` first; never empty.
    files: Vec<KeptFile>,
}

#[derive(Debug)]
struct KeptFile {
    start: LogPosition,
    file: File,
    /// Bytes of the log in it.
    length: u64,
}

impl KeptFile {
    /// Returns how many bytes were written up to its end.
    fn end(&self) -> u64 {
        self.start.bytes + self.length
    }

    /// Returns a reader of what the file has of the log.
    fn reader(&self) -> io::Result<BufReader<io::Take<&File>>> {
        let mut file = &self.file;
        file.rewind()?;
        Ok(BufReader::new(file.take(self.length)))
    }
}

/// Which lines of a log are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineQuery {
    /// The number of the first line, from 1; `None` asks for the last lines, or with `search` for those from the first
    /// one on.
    pub from: Option<u64>,
    /// Lines at most.
    pub lines: usize,
    /// Only lines with this text; case does not matter.
    pub search: Option<String>,
}

impl LineQuery {
    /// Asks for the last lines.
    pub fn last(lines: usize) -> Self {
        Self {
            from: None,
            lines,
            search: None,
        }
    }
}

/// Where a follower goes on.
#[derive(Debug)]
pub struct LogResume {
    /// The file, at the place where the follower reads.
    pub file: File,
    /// Bytes that stand before that place.
    pub at: u64,
    /// Bytes of the log that the file has from there on, now.
    pub left: u64,
    /// What is left out between the place that the follower had reached and this one.
    pub gap: Option<String>,
    /// Lines that stand before that place, if that is known.
    pub lines: Option<u64>,
}

impl KeptLog {
    /// Opens the log in the folder `dir` below a real root. Returns `None` if there is none, or something that a
    /// program has put there instead.
    pub fn open(root: &Path, dir: &Path) -> io::Result<Option<Self>> {
        let Some(head) = open_file(root, &dir.join(FILE_NAME), LogPosition::default())? else {
            return Ok(None);
        };
        let mut files = vec![head];
        if files[0].drop_head_end()? {
            let names = match dir.strip_prefix(root) {
                Ok(inside) => paths::list_names(root, inside)?,
                Err(_) => Vec::new(),
            };
            let mut starts: Vec<_> = names
                .iter()
                .filter_map(|name| LogPosition::from_file_name(name))
                .collect();
            starts.sort_unstable();
            for start in starts {
                // One that has been removed meanwhile, or is covered by those before it, is not needed.
                if let Some(file) = open_file(root, &dir.join(start.file_name()), start)?
                    && files.last().is_none_or(|last| last.end() <= start.bytes)
                {
                    files.push(file);
                }
            }
        }
        Ok(Some(Self { files }))
    }

    /// Returns how many bytes were written to the log, those that are left out included.
    pub fn length(&self) -> u64 {
        self.files.last().map_or(0, KeptFile::end)
    }

    /// Returns the file and its length if all of the log is in one.
    pub fn into_whole(mut self) -> Result<(File, u64), Self> {
        match self.files.pop() {
            Some(only) if self.files.is_empty() => Ok((only.file, only.length)),
            last => {
                self.files.extend(last);
                Err(self)
            }
        }
    }

    /// Reads the whole text, with a line for what is left out.
    pub fn read_text(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut lines = 0;
        let mut end = 0;
        for file in &self.files {
            if file.start.bytes > end {
                text.extend(describe_gap(file.start.bytes - end, file.start.lines.checked_sub(lines)).into_bytes());
            }
            let from = text.len();
            file.reader()?.read_to_end(&mut text)?;
            lines = file.start.lines + count_lines(&text[from..]);
            end = file.end();
        }
        Ok(text)
    }

    /// Finds where a reader that has read `at` bytes goes on; `None` if there is no more. `lines` is how many lines it
    /// has read, if it knows.
    pub fn resume(self, at: u64, lines: Option<u64>) -> io::Result<Option<LogResume>> {
        for kept in self.files {
            if kept.end() <= at {
                continue;
            }
            let place = at.max(kept.start.bytes);
            let gap = (place > at).then(|| {
                let left_out = lines.and_then(|lines| kept.start.lines.checked_sub(lines));
                describe_gap(place - at, left_out)
            });
            let mut file = kept.file;
            file.seek(SeekFrom::Start(place - kept.start.bytes))?;
            return Ok(Some(LogResume {
                file,
                at: place,
                left: kept.start.bytes + kept.length - place,
                lines: if gap.is_some() { Some(kept.start.lines) } else { lines },
                gap,
            }));
        }
        Ok(None)
    }

    /// Reads lines by their numbers, or those with a text.
    pub fn read_lines(&self, query: &LineQuery) -> io::Result<LogPage> {
        let needle = query.search.as_ref().map(|text| text.to_lowercase());
        let mut page = LogPage {
            found: needle.as_ref().map(|_| 0),
            ..LogPage::default()
        };
        let mut taken = TakenLines {
            from: query.from.unwrap_or(1),
            most: query.lines,
            last_ones: query.from.is_none() && needle.is_none(),
            ..TakenLines::default()
        };
        let mut end = 0;
        for file in &self.files {
            if file.start.bytes > end {
                page.left_out = Some(LogGap {
                    first: page.total + 1,
                    lines: file.start.lines.saturating_sub(page.total),
                    bytes: file.start.bytes - end,
                });
            }
            page.total = file.start.lines;
            end = file.end();
            let mut reader = file.reader()?;
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line)? > 0 {
                page.total += 1;
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
                let is_match = needle
                    .as_ref()
                    .is_none_or(|needle| text.to_lowercase().contains(needle));
                if is_match {
                    page.found = page.found.map(|found| found + 1);
                    taken.offer(page.total, &text);
                }
                line.clear();
            }
        }
        page.lines = taken.lines.into();
        Ok(page)
    }
}

impl KeptFile {
    /// Leaves out the line that says that the log goes on elsewhere. Returns whether there is one.
    fn drop_head_end(&mut self) -> io::Result<bool> {
        let Some(before) = self.length.checked_sub(HEAD_END.len() as u64) else {
            return Ok(false);
        };
        let mut file = &self.file;
        file.seek(SeekFrom::Start(before))?;
        let mut end = Vec::new();
        file.take(HEAD_END.len() as u64).read_to_end(&mut end)?;
        let is_there = end == HEAD_END.as_bytes();
        if is_there {
            self.length = before;
        }
        Ok(is_there)
    }
}

/// The lines of a page, within its bounds.
#[derive(Debug, Default)]
struct TakenLines {
    from: u64,
    most: usize,
    /// Later lines replace the first ones.
    last_ones: bool,
    bytes: usize,
    is_full: bool,
    lines: VecDeque<LogLine>,
}

impl TakenLines {
    fn offer(&mut self, number: u64, text: &str) {
        if number < self.from || self.is_full {
            return;
        }
        let is_over = |taken: &Self| taken.lines.len() >= taken.most || taken.bytes >= PAGE_BYTES;
        if !self.last_ones && is_over(self) {
            self.is_full = true;
            return;
        }
        while is_over(self)
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= first.text.len();
        }
        self.bytes += text.len();
        self.lines.push_back(LogLine {
            number,
            text: text.to_owned(),
        });
    }
}

/// Opens a file of a log. Returns `None` if it does not exist, or is something else.
fn open_file(root: &Path, path: &Path, start: LogPosition) -> io::Result<Option<KeptFile>> {
    let opened = match Opened::in_root(root, path) {
        Ok(opened) if opened.is_folder() => return Ok(None),
        Err(error) if paths::leads_nowhere(&error) => return Ok(None),
        opened => opened?,
    };
    let file = opened.reader()?;
    let length = file.metadata()?.len();
    Ok(Some(KeptFile { start, file, length }))
}

/// Says in a line how much is left out: how many bytes and, where that is known, how many lines.
fn describe_gap(bytes: u64, lines: Option<u64>) -> String {
    let size = humane::bytes(bytes);
    match lines {
        Some(lines) => format!("... {size} ({} lines) left out ...\n", group_digits(lines)),
        None => format!("... {size} left out ...\n"),
    }
}

/// Writes a number with its thousands apart: `180,000`.
fn group_digits(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::RunLog, *};

    fn log_of(lines: u64, limit: u64) -> (tempfile::TempDir, KeptLog) {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::with_limit(&dir.path().join(FILE_NAME), limit).unwrap();
        for number in 1..=lines {
            log.line(&format!(
                "this is line {number}{}",
                if number % 100 == 0 { " Marked" } else { "" }
            ));
        }
        let kept = KeptLog::open(dir.path(), dir.path()).unwrap().unwrap();
        (dir, kept)
    }

    fn numbers(page: &LogPage) -> Vec<u64> {
        page.lines.iter().map(|line| line.number).collect()
    }

    fn query(from: Option<u64>, lines: usize, search: Option<&str>) -> LineQuery {
        LineQuery {
            from,
            lines,
            search: search.map(str::to_owned),
        }
    }

    #[test]
    fn lines_are_read_by_their_numbers_from_anywhere_and_from_the_end() {
        let (_dir, kept) = log_of(1_000, 1 << 20);
        let page = kept.read_lines(&LineQuery::last(3)).unwrap();
        assert_eq!(
            (numbers(&page), page.total, page.left_out),
            (vec![998, 999, 1_000], 1_000, None)
        );
        let page = kept.read_lines(&query(Some(10), 2, None)).unwrap();
        assert_eq!(numbers(&page), [10, 11]);
        assert!(page.lines[0].text.ends_with("this is line 10"));
        assert_eq!(numbers(&kept.read_lines(&query(Some(1_001), 5, None)).unwrap()), [0; 0]);
    }

    #[test]
    fn a_search_finds_lines_whatever_their_case_and_counts_all_of_them() {
        let (_dir, kept) = log_of(1_000, 1 << 20);
        let page = kept.read_lines(&query(Some(250), 2, Some("mARKED"))).unwrap();
        assert_eq!((numbers(&page), page.found), (vec![300, 400], Some(10)));
        let none = kept.read_lines(&query(None, 2, Some("nowhere"))).unwrap();
        assert_eq!((numbers(&none), none.found), (vec![], Some(0)));
    }

    #[test]
    fn the_numbers_of_lines_go_on_behind_what_is_left_out() {
        let (_dir, kept) = log_of(2_000, 16_000);
        let page = kept.read_lines(&query(Some(1), 5_000, None)).unwrap();
        let gap = page.left_out.clone().unwrap();
        assert_eq!(page.total, 2_000);
        assert_eq!(page.lines.len() as u64 + gap.lines, 2_000);
        for line in &page.lines {
            let text = format!("this is line {}", line.number);
            assert!(line.text.contains(&text), "{line:?}");
            assert!(!(gap.first..gap.first + gap.lines).contains(&line.number));
        }
    }

    #[test]
    fn a_reader_that_was_overtaken_goes_on_behind_the_gap_and_is_not_sent_a_line_in_part() {
        let (_dir, kept) = log_of(2_000, 16_000);
        let resumed = kept.resume(5_000, Some(100)).unwrap().unwrap();
        assert!(resumed.gap.unwrap().contains("lines) left out"));
        let mut text = String::new();
        resumed.file.take(resumed.left).read_to_string(&mut text).unwrap();
        assert!(text.lines().all(|line| line.contains("this is line ")));
        assert!(text.starts_with("20"), "a line begins with its time: {text:.40}");
    }

    #[test]
    fn what_a_program_puts_in_the_place_of_a_log_is_not_read() {
        let (dir, _) = log_of(10, 1 << 20);
        let secret = dir.path().join("secret");
        fs::write(&secret, "CANARY").unwrap();
        fs::remove_file(dir.path().join(FILE_NAME)).unwrap();
        std::os::unix::fs::symlink(&secret, dir.path().join(FILE_NAME)).unwrap();
        assert!(KeptLog::open(dir.path(), dir.path()).unwrap().is_none());
    }
}
