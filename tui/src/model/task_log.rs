//! The logs of all stages of a task as one, in the order of the times before their lines. Of stages that have ended the
//! ends are read first, and what is above them page after page; a few that run are followed.

use std::sync::Arc;

use onceover_types::{NodeName, RunId, StageState, TaskId, Timestamp};
use onceover_wire::LogPage;

use super::{
    log::{LogBuffer, LogEntry, LogPlace, PAGE_LINES, list_entries},
    stage::KeptStage,
    task::Task,
};

/// Logs that are followed at once; of others that grow pages are read.
pub const MOST_FOLLOWED: usize = 4;
/// Pages that are read at once.
const MOST_READ: usize = 8;
/// Stages whose logs are shown.
const MOST_STAGES: usize = 256;
/// How often new lines are read of a log that is not followed.
const POLL_MS: i64 = 2_000;

/// The number of an entry is made of its time, its stage and the number of its line, so that entries which are ordered
/// by number are ordered by time.
const STAGE_BITS: u32 = 8;
const LINE_BITS: u32 = 20;
/// Lines may be older than the task by this much: its clock may be another one.
const BEFORE_MS: i64 = 86_400_000;

/// How far the log of a stage is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StageLogState {
    /// Nothing was read yet.
    #[default]
    Unread,
    /// It is followed from its first line on.
    Following,
    /// Its end is here.
    Read,
    Failed,
}

/// The log of one stage.
#[derive(Debug)]
pub struct StageLog {
    pub node: Arc<NodeName>,
    /// The attempt whose log it is.
    seen: Option<(Option<RunId>, u32)>,
    pub state: StageLogState,
    /// The stream, or the page that is being read.
    pub request: Option<u64>,
    /// Makes lines of what is followed.
    parser: LogBuffer,
    /// The time of the newest line.
    time: i64,
    /// The number of the first line that is here, and of its entry; `None`: no line is here.
    first: Option<(u64, u64)>,
    /// The number of the last line that is here.
    last: u64,
    /// Lines that were written, as far as is known.
    pub total: u64,
    /// Lines to read at once above those that are here; 0: none can be read.
    step: u64,
    /// When new lines were asked for last.
    pub polled_at: Option<Timestamp>,
    /// Whether the run goes on.
    pub is_running: bool,
}

impl StageLog {
    fn new(node: &Arc<NodeName>) -> Self {
        Self {
            node: node.clone(),
            seen: None,
            state: StageLogState::default(),
            request: None,
            parser: LogBuffer::default(),
            time: 0,
            first: None,
            last: 0,
            total: 0,
            step: PAGE_LINES,
            polled_at: None,
            is_running: false,
        }
    }

    /// Begins again: with another attempt, or from the first line on.
    fn restart(&mut self) {
        *self = Self {
            seen: self.seen.take(),
            is_running: self.is_running,
            ..Self::new(&self.node.clone())
        };
    }

    /// Returns the number of the first line to read above those that are here, and how many; `None` if there are none.
    fn lines_above(&self, most: u64) -> Option<(u64, u64)> {
        let above = self.first?.0.saturating_sub(1);
        if above == 0 || self.step == 0 || self.state != StageLogState::Read || self.request.is_some() {
            return None;
        }
        let lines = if self.step < PAGE_LINES { self.step } else { most };
        let lines = lines.min(above);
        Some((above - lines + 1, lines))
    }

    /// Takes over what the stage does now. Returns whether its log begins again.
    fn follow_stage(&mut self, stage: &KeptStage) -> bool {
        let was_running = self.is_running;
        self.is_running = stage.status == StageState::Running;
        if stage.status == StageState::Pending {
            return false;
        }
        let seen = Some((stage.run_id(), stage.attempt));
        if self.seen == seen {
            if was_running && !self.is_running && self.state == StageLogState::Read {
                // What was written since it was read last.
                self.polled_at = None;
            }
            return false;
        }
        self.seen = seen;
        let begins = self.state != StageLogState::Unread;
        self.restart();
        begins
    }

    /// Whether lines may have been written that are not here.
    fn has_news(&self) -> bool {
        self.is_running || self.polled_at.is_none()
    }

    /// Keeps the totals in step with what is here.
    fn settle_end(&mut self) {
        self.total = self.total.max(self.last);
    }

    /// Returns the name that stands before its lines: what is behind the last dot.
    pub fn short_name(&self) -> &str {
        let name = self.node.as_str();
        name.rsplit('.').next().unwrap_or(name)
    }
}

/// What is to be read of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogRead {
    /// Follow the log from its first line on.
    Follow,
    /// The lines at its end.
    End,
    /// So many lines from a number on.
    Lines { from: u64, lines: u64 },
}

/// The logs of a task.
#[derive(Debug)]
pub struct TaskLog {
    pub task: Arc<TaskId>,
    /// The time from which the numbers of entries count.
    base: i64,
    pub stages: Vec<StageLog>,
    pub lines: LogBuffer,
}

impl TaskLog {
    pub fn new(task: &Task) -> Self {
        Self {
            task: task.id.clone(),
            base: task.created_at.as_millis() - BEFORE_MS,
            stages: Vec::new(),
            lines: LogBuffer::default(),
        }
    }

    /// Takes over what the stages do now. Returns the stages whose logs begin again.
    pub fn follow_stages(&mut self, task: &Task) -> Vec<u16> {
        let mut begun = Vec::new();
        for (at, (node, stage)) in task.stages.iter().take(MOST_STAGES).enumerate() {
            // Nearly always a stage has the place that it had.
            let known = match self.stages.get(at) {
                Some(log) if log.node == *node => Some(at),
                _ => self.stages.iter().position(|log| log.node == *node),
            };
            let index = known.unwrap_or_else(|| {
                self.stages.push(StageLog::new(node));
                self.stages.len() - 1
            });
            if self.stages[index].follow_stage(stage) {
                let source = index as u16;
                self.lines.remove_source(source);
                begun.push(source);
            }
        }
        begun
    }

    /// Returns what is to be read next, by stage: what has begun, what goes on, and lines above those that are here.
    /// With `above` it is known from which entry on all lines are wanted.
    pub fn list_reads(&self, now: Timestamp, above: Option<u64>, most: u64) -> Vec<(usize, LogRead)> {
        let mut followed = self.count_followed();
        let mut room = MOST_READ.saturating_sub(self.count_read());
        let mut reads = Vec::new();
        for (index, log) in self.stages.iter().enumerate() {
            if log.request.is_some() || log.seen.is_none() {
                continue;
            }
            let due = log
                .polled_at
                .is_none_or(|at| now.as_millis() - at.as_millis() >= POLL_MS);
            let read = match log.state {
                StageLogState::Unread if log.is_running && !due => None,
                StageLogState::Unread if log.is_running && followed < MOST_FOLLOWED => {
                    followed += 1;
                    Some(LogRead::Follow)
                }
                StageLogState::Unread => Some(LogRead::End),
                StageLogState::Read if log.has_news() && due => Some(LogRead::Lines {
                    from: log.last + 1,
                    lines: PAGE_LINES,
                }),
                StageLogState::Read => self.find_above(log, above, most),
                StageLogState::Following | StageLogState::Failed => None,
            };
            match read {
                Some(LogRead::Follow) => reads.push((index, LogRead::Follow)),
                Some(read) if room > 0 => {
                    room -= 1;
                    reads.push((index, read));
                }
                _ => {}
            }
        }
        reads
    }

    fn find_above(&self, log: &StageLog, above: Option<u64>, most: u64) -> Option<LogRead> {
        let first = log.first?.1;
        if self.lines.is_full() || above.is_none_or(|above| first < above) {
            return None;
        }
        let (from, lines) = log.lines_above(most)?;
        Some(LogRead::Lines { from, lines })
    }

    pub fn count_followed(&self) -> usize {
        let is_followed = |log: &&StageLog| log.state == StageLogState::Following;
        self.stages.iter().filter(is_followed).count()
    }

    /// Counts the pages that are being read.
    fn count_read(&self) -> usize {
        let is_read = |log: &&StageLog| log.request.is_some() && log.state != StageLogState::Following;
        self.stages.iter().filter(is_read).count()
    }

    /// Returns when new lines of logs that are not followed are to be read next; `None` while there is no room for
    /// another page.
    pub fn poll_at(&self) -> Option<Timestamp> {
        if self.count_read() >= MOST_READ {
            return None;
        }
        let polled = self
            .stages
            .iter()
            .filter(|log| log.is_running && log.state == StageLogState::Read && log.request.is_none());
        let times = polled.filter_map(|log| log.polled_at);
        times.min().map(|at| Timestamp::from_millis(at.as_millis() + POLL_MS))
    }

    /// Whether all lines that the daemon keeps are here, or no more fit in.
    pub fn is_whole(&self) -> bool {
        let is_whole = |log: &StageLog| match log.state {
            StageLogState::Unread => log.seen.is_none(),
            StageLogState::Read => log.lines_above(1).is_none() && log.request.is_none(),
            StageLogState::Following | StageLogState::Failed => true,
        };
        self.lines.is_full() || self.stages.iter().all(is_whole)
    }

    /// Notes that a stage is being read by a request.
    pub fn note_request(&mut self, index: usize, read: LogRead, id: u64, now: Timestamp) {
        let log = &mut self.stages[index];
        if read == LogRead::Follow {
            log.restart();
            log.state = StageLogState::Following;
        }
        log.request = Some(id);
        log.polled_at = Some(now);
    }

    /// Finds the stage that a request is for.
    pub fn find_request(&self, id: u64) -> Option<usize> {
        self.stages.iter().position(|log| log.request == Some(id))
    }

    /// Takes lines of a stage's log. Returns what they have become among the others.
    pub fn take_page(&mut self, index: usize, page: LogPage) -> Vec<LogEntry> {
        let log = &mut self.stages[index];
        log.request = None;
        log.state = StageLogState::Read;
        log.total = log.total.max(page.total);
        let entries = list_entries(page);
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            log.settle_end();
            return Vec::new();
        };
        let (from, to) = (first.number, last.number + last.lines - 1);
        if let Some((known, _)) = log.first.filter(|(known, _)| from < *known) {
            if to + 1 < known {
                // The page was too large: fewer lines are asked for next.
                log.step /= 2;
                return Vec::new();
            }
            log.step = PAGE_LINES;
        }
        let known = log.first.map(|(number, _)| number..=log.last);
        let is_new = |entry: &LogEntry| known.as_ref().is_none_or(|known| !known.contains(&entry.number));
        let entries: Vec<_> = entries.into_iter().filter(is_new).collect();
        log.last = log.last.max(to);
        log.settle_end();
        if log.last < log.total {
            // A page has no room for all that was written since: the next one is read at once.
            log.polled_at = None;
        }
        let entries = self.place_entries(index, entries);
        self.lines.insert_sorted(entries.clone());
        entries
    }

    /// Notes that a stage's lines cannot be read.
    pub fn note_failure(&mut self, index: usize) {
        let log = &mut self.stages[index];
        log.request = None;
        match log.first {
            None => log.state = StageLogState::Failed,
            Some(_) => log.step = 0,
        }
    }

    /// Takes the next piece of a log that is followed. Returns the lines that it has ended.
    pub fn take_chunk(&mut self, index: usize, bytes: &[u8]) -> Vec<LogEntry> {
        let log = &mut self.stages[index];
        let entries = log.parser.push(bytes);
        log.parser.forget_entries();
        log.total = log.parser.total;
        log.last = log.total;
        let entries = self.place_entries(index, entries);
        self.lines.insert_sorted(entries.clone());
        entries
    }

    /// Notes that a log that was followed has ended. Where the stage runs and nothing had come, the log was asked for
    /// before its run had made it: it is followed a little later.
    pub fn take_end(&mut self, index: usize, has_failed: bool, now: Timestamp) {
        let log = &mut self.stages[index];
        log.request = None;
        log.state = match has_failed {
            true => StageLogState::Failed,
            false if log.is_running && log.total == 0 => {
                log.polled_at = Some(now);
                StageLogState::Unread
            }
            false => StageLogState::Read,
        };
    }

    /// Gives entries of one stage the numbers that they have among the others.
    fn place_entries(&mut self, index: usize, mut entries: Vec<LogEntry>) -> Vec<LogEntry> {
        let log = &mut self.stages[index];
        let is_above = log
            .first
            .is_some_and(|(known, _)| entries.last().is_some_and(|last| last.number < known));
        let first_line = entries.first().map(|entry| entry.number);
        // A line without a time has that of the line before.
        let mut time = match is_above || log.time == 0 {
            true => entries.iter().find_map(read_time).unwrap_or(self.base),
            false => log.time,
        };
        for entry in &mut entries {
            time = read_time(entry).map_or(time, |read| read.max(time));
            let since = (time - self.base).clamp(0, (1 << (63 - STAGE_BITS - LINE_BITS)) - 1) as u64;
            let line = entry.number & ((1 << LINE_BITS) - 1);
            entry.number = (since << (STAGE_BITS + LINE_BITS)) | ((index as u64) << LINE_BITS) | line;
            entry.source = index as u16;
        }
        if !is_above {
            log.time = time;
        }
        if let (Some(line), Some(entry)) = (first_line, entries.first())
            && log.first.is_none_or(|(known, _)| line < known)
        {
            log.first = Some((line, entry.number));
        }
        entries
    }

    /// Returns the place so many entries above another one.
    pub fn place_above(&self, place: LogPlace, entries: usize) -> LogPlace {
        self.lines.place(self.lines.find(place).saturating_sub(entries))
    }
}

/// Reads the time before a line.
fn read_time(entry: &LogEntry) -> Option<i64> {
    if entry.piece > 0 {
        return None;
    }
    let (time, _) = entry.text.split_once(' ')?;
    let time: Timestamp = time.parse().ok()?;
    Some(time.as_millis())
}

#[cfg(test)]
mod tests;
