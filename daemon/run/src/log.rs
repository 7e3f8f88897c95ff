//! The log of a run: append-only, of bounded size, with a length that followers can wait for. A log that grows over its
//! limit keeps its beginning and its end: `run.log` then has the beginning, and files beside it have the end, the
//! oldest of which is removed for each new one. [`KeptLog`] reads them as one text.

mod kept;
mod names;

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use onceover_limits::Limit;
use onceover_types::{Timestamp, humane};
use rustix::fs::OFlags;
use tokio::sync::watch;

pub use kept::{KeptLog, LineQuery, LogResume};
pub use names::{FILE_NAME, count_lines, is_log_file};

use names::{HEAD_END, LogPosition};

/// Bytes of a log that are kept.
pub const DEFAULT_LIMIT: u64 = 8 * 1024 * 1024;

/// The beginning, and each file of the end, is this part of the limit.
const PARTS: u64 = 8;

/// Writes a run's log. Clones write to the same file.
#[derive(Debug, Clone)]
pub struct RunLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    limit: u64,
    sink: Mutex<Sink>,
    length: watch::Sender<u64>,
}

#[derive(Debug)]
enum Sink {
    /// All of the log is in one file.
    Whole(File),
    /// The end is in separate files.
    Split(LogTail),
    /// The disk refused a line.
    Closed,
}

/// The end of a log: files that hold what was written last.
#[derive(Debug)]
struct LogTail {
    folder: PathBuf,
    /// Bytes of one file, about.
    part: u64,
    /// Bytes of all of them, at most.
    most: u64,
    /// Full files, oldest first, with their length.
    full: VecDeque<(LogPosition, u64)>,
    /// The file that is written, where it begins, and where its end is.
    file: File,
    start: LogPosition,
    end: LogPosition,
}

impl RunLog {
    /// Opens `run.log` in the run's folder, after what is already in it.
    pub fn create(dir: &Path) -> io::Result<Self> {
        Self::with_limit(&dir.join(FILE_NAME), DEFAULT_LIMIT)
    }

    /// Opens a log of which the beginning and the end are kept once it has more than `limit` bytes.
    pub fn with_limit(path: &Path, limit: u64) -> io::Result<Self> {
        let file = open_append(path)?;
        let length = file.metadata()?.len();
        let (sink, length) = match ends_with(&file, length, HEAD_END)? {
            // An attempt before this one has split it.
            true => {
                let tail = LogTail::resume(path, limit, length - HEAD_END.len() as u64)?;
                let end = tail.end.bytes;
                (Sink::Split(tail), end)
            }
            false => (Sink::Whole(file), length),
        };
        Ok(Self(Arc::new(Shared {
            path: path.to_owned(),
            limit,
            sink: Mutex::new(sink),
            length: watch::Sender::new(length),
        })))
    }

    /// Returns the path of the log.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Writes each line of the text with the time before it. A log that cannot be written never fails a run: what the
    /// disk refuses is dropped.
    pub fn line(&self, text: &str) {
        let mut sink = self.0.sink.lock().unwrap_or_else(PoisonError::into_inner);
        for line in text.lines() {
            let entry = shorten_line(format!("{} {line}\n", Timestamp::now()), self.0.limit / PARTS);
            self.append(&mut sink, &entry);
        }
    }

    fn append(&self, sink: &mut Sink, entry: &str) {
        let length = *self.0.length.borrow() + entry.len() as u64;
        // Written without a buffer, so that what the length announces can be read.
        let written = match sink {
            Sink::Closed => return,
            Sink::Whole(file) if length <= self.0.limit => file.write_all(entry.as_bytes()),
            Sink::Whole(file) => {
                Limit::RunLog.reached();
                match LogTail::split(&self.0.path, file, self.0.limit) {
                    Ok(mut tail) => {
                        let written = tail.write(entry);
                        *sink = Sink::Split(tail);
                        written
                    }
                    Err(error) => Err(error),
                }
            }
            Sink::Split(tail) => tail.write(entry),
        };
        match written {
            Ok(()) => {
                self.0.length.send_replace(length);
            }
            Err(error) => {
                tracing::warn!(%error, path = %self.0.path.display(), "a run's log cannot be written any more");
                *sink = Sink::Closed;
            }
        }
    }

    /// Returns how many bytes have been written to the log. The value changes after each line, so a follower need not
    /// poll.
    pub fn length(&self) -> watch::Receiver<u64> {
        self.0.length.subscribe()
    }
}

impl LogTail {
    /// Moves the end of a log that has reached its limit to files beside it; `run.log` keeps the beginning. The new
    /// `run.log` takes the place of the old one last: until then a reader finds the whole log there.
    fn split(path: &Path, whole: &mut File, limit: u64) -> io::Result<Self> {
        let folder = folder_of(path);
        let part = limit / PARTS;
        let mut text = Vec::new();
        whole.rewind()?;
        whole.take(limit).read_to_end(&mut text)?;
        let (head, mut rest) = text.split_at(line_end_before(&text, part));
        let mut start = LogPosition::default().after(head);
        let mut full = VecDeque::new();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(line_end_before(rest, part));
            create_part(&folder, start)?.write_all(now)?;
            full.push_back((start, now.len() as u64));
            start = start.after(now);
            rest = later;
        }
        let tail = Self {
            file: create_part(&folder, start)?,
            most: limit - part,
            folder,
            part,
            full,
            start,
            end: start,
        };
        replace_head(path, head)?;
        Ok(tail)
    }

    /// Goes on behind what the files hold; `head` is the length of the beginning.
    fn resume(path: &Path, limit: u64, head: u64) -> io::Result<Self> {
        let folder = folder_of(path);
        let mut full = VecDeque::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if let Some(start) = LogPosition::from_file_name(Path::new(&entry.file_name())) {
                full.push_back((start, entry.metadata()?.len()));
            }
        }
        full.make_contiguous().sort_unstable();
        let mut start = LogPosition { bytes: head, lines: 0 };
        if let Some((last, length)) = full.back() {
            let mut text = Vec::new();
            let file = open_read(&folder.join(last.file_name()))?;
            file.take(*length).read_to_end(&mut text)?;
            start = last.after(&text);
        }
        // An empty file has the name of the next one.
        full.retain(|(_, length)| *length > 0);
        let mut tail = Self {
            file: open_append(&folder.join(start.file_name()))?,
            most: limit - limit / PARTS,
            part: limit / PARTS,
            folder,
            full,
            start,
            end: start,
        };
        tail.drop_oldest();
        Ok(tail)
    }

    /// Writes a line, to a new file if the last one is full.
    fn write(&mut self, entry: &str) -> io::Result<()> {
        let length = self.end.bytes - self.start.bytes;
        if length > 0 && length + entry.len() as u64 > self.part {
            self.file = create_part(&self.folder, self.end)?;
            self.full.push_back((self.start, length));
            self.start = self.end;
        }
        self.drop_oldest();
        self.file.write_all(entry.as_bytes())?;
        self.end = self.end.after(entry.as_bytes());
        Ok(())
    }

    /// Removes the oldest files, so that the one that is written may be filled. A file that cannot be removed is
    /// forgotten: it takes space, and does no other harm.
    fn drop_oldest(&mut self) {
        while self.full.iter().map(|(_, length)| length).sum::<u64>() + self.part > self.most
            && let Some((oldest, _)) = self.full.pop_front()
        {
            let path = self.folder.join(oldest.file_name());
            if let Err(error) = fs::remove_file(&path) {
                tracing::debug!(%error, path = %path.display(), "a part of a log was not removed");
            }
        }
    }
}

/// Returns the folder that a log is in.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new(".")).to_owned()
}

/// Opens a file of a log for writing behind what is in it, and for reading. A link that a program has put there is not
/// followed.
fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

fn open_read(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
}

/// Makes a file of the end; what a program has put in its place is removed.
fn create_part(folder: &Path, start: LogPosition) -> io::Result<File> {
    create_anew(&folder.join(start.file_name()))
}

fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().create_new(true).append(true).read(true).open(path)
}

/// Puts the beginning of the log into the place of `run.log`.
fn replace_head(path: &Path, head: &[u8]) -> io::Result<()> {
    let fresh = folder_of(path).join(format!(".{FILE_NAME}.new"));
    let mut file = create_anew(&fresh)?;
    file.write_all(head)?;
    file.write_all(HEAD_END.as_bytes())?;
    fs::rename(&fresh, path)
}

/// Whether the last bytes of a file of this length are this text.
fn ends_with(mut file: &File, length: u64, text: &str) -> io::Result<bool> {
    let Some(before) = length.checked_sub(text.len() as u64) else {
        return Ok(false);
    };
    file.seek(io::SeekFrom::Start(before))?;
    let mut end = Vec::new();
    file.take(text.len() as u64).read_to_end(&mut end)?;
    Ok(end == text.as_bytes())
}

/// Returns where the last line ends that fits into `most` bytes; where the first one does not fit, where that ends.
fn line_end_before(text: &[u8], most: u64) -> usize {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(text.len());
    let after = |at: usize| at + 1;
    let fits = text[..most].iter().rposition(|byte| *byte == b'\n').map(after);
    let first = || text.iter().position(|byte| *byte == b'\n').map(after);
    fits.or_else(first).unwrap_or(text.len())
}

/// Cuts a line that is longer than a file of a log may be, and says so in it.
fn shorten_line(mut line: String, most: u64) -> String {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if line.len() > most {
        let end = line.floor_char_boundary(most.saturating_sub(80));
        let left_out = humane::bytes((line.len() - end) as u64);
        line.truncate(end);
        line += &format!(" ... {left_out} of this line left out ...\n");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_carries_the_time_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::create(dir.path()).unwrap();
        log.line("one\ntwo");
        log.clone().line("three");
        let text = fs::read_to_string(log.path()).unwrap();
        let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert_eq!(
            lines.iter().map(|line| line.1).collect::<Vec<_>>(),
            ["one", "two", "three"]
        );
        for (time, _) in lines {
            assert_eq!(time.parse::<Timestamp>().unwrap().to_string(), time);
        }
    }

    /// The bytes of all files of a log.
    fn size_of_log(dir: &Path) -> u64 {
        let files = fs::read_dir(dir).unwrap().flatten();
        files.map(|entry| entry.metadata().unwrap().len()).sum()
    }

    #[test]
    fn a_flooded_log_keeps_its_beginning_and_its_end_within_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::with_limit(&dir.path().join(FILE_NAME), 8_000).unwrap();
        let before = Limit::RunLog.times_reached();
        for number in 0..5_000 {
            log.line(&format!("line {number}"));
        }
        assert!(size_of_log(dir.path()) <= 8_000 + HEAD_END.len() as u64);
        assert!(Limit::RunLog.times_reached() > before);
        let kept = KeptLog::open(dir.path(), dir.path()).unwrap().unwrap();
        let text = String::from_utf8(kept.read_text().unwrap()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("line 0") && lines.last().unwrap().ends_with("line 4999"));
        assert!(text.len() > 6_500, "most of the limit is used: {}", text.len());
        let gaps: Vec<_> = lines.iter().filter(|line| line.contains("left out")).collect();
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        let left_out = 5_000 - (lines.len() - 1);
        let counted = format!("({},{:03} lines)", left_out / 1_000, left_out % 1_000);
        assert!(gaps[0].contains(&counted), "{gaps:?} {counted}");
    }

    #[test]
    fn a_log_that_was_split_goes_on_where_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let mut written = 0;
        for attempt in 0..3 {
            let log = RunLog::with_limit(&path, 8_000).unwrap();
            assert_eq!(*log.length().borrow(), written);
            for number in 0..400 {
                log.line(&format!("attempt {attempt} line {number}"));
            }
            written = *log.length().borrow();
        }
        let kept = KeptLog::open(dir.path(), dir.path()).unwrap().unwrap();
        assert_eq!(kept.length(), written);
        let page = kept.read_lines(&LineQuery::last(1)).unwrap();
        assert_eq!((page.total, page.lines[0].number), (1_200, 1_200));
        assert!(page.lines[0].text.ends_with("attempt 2 line 399"));
        assert!(size_of_log(dir.path()) <= 8_000 + HEAD_END.len() as u64);
    }

    #[test]
    fn a_line_that_is_longer_than_a_file_of_the_log_is_cut_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::with_limit(&dir.path().join(FILE_NAME), 8_000).unwrap();
        log.line(&"字".repeat(3_000));
        let text = fs::read_to_string(log.path()).unwrap();
        assert!(text.len() <= 1_000, "{}", text.len());
        assert!(text.ends_with("of this line left out ...\n"), "{text}");
    }

    #[tokio::test]
    async fn a_follower_is_woken_by_each_line_and_can_read_that_far() {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::create(dir.path()).unwrap();
        let mut length = log.length();
        let follower = tokio::spawn(async move {
            length.changed().await.unwrap();
            *length.borrow()
        });
        log.line("hello");
        let length = follower.await.unwrap();
        assert_eq!(length, fs::metadata(log.path()).unwrap().len());
    }
}
