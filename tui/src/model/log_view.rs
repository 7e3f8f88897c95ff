//! How a log is looked at: where, wrapped or not, with which times, what is searched in it and what it is filtered by.

use serde::{Deserialize, Serialize};

use super::log::{LogBuffer, LogEntry, LogPlace};

/// What stands before a line for the time at which it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTimes {
    /// The time of day.
    #[default]
    Absolute,
    /// The time since the first line that is known.
    Relative,
    Off,
}

impl LogTimes {
    /// Returns the next one of the three.
    pub fn next(self) -> Self {
        match self {
            Self::Absolute => Self::Relative,
            Self::Relative => Self::Off,
            Self::Off => Self::Absolute,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Relative => "relative",
            Self::Off => "off",
        }
    }
}

/// The lines of a log that have a text.
#[derive(Debug)]
pub struct LogMatches {
    pub text: String,
    pub lines: LogBuffer,
    /// How many lines of the log have the text, as far as is known.
    pub found: u64,
    /// The request under way.
    pub request: Option<u64>,
    /// All lines of the log up to here have been compared.
    pub is_complete: bool,
    /// Why they cannot be read.
    pub failed: Option<String>,
}

impl LogMatches {
    pub fn new(text: String) -> Self {
        Self {
            text,
            lines: LogBuffer::default(),
            found: 0,
            request: None,
            is_complete: false,
            failed: None,
        }
    }

    /// Takes an entry of the log, if it has the text.
    pub fn offer(&mut self, entry: &LogEntry) {
        if entry.text.to_lowercase().contains(&self.text.to_lowercase()) {
            self.found += 1;
            self.lines.push_entry(entry.clone());
        }
    }

    /// Takes those of the entries, which are in order, that have the text; they may belong between others.
    pub fn offer_between(&mut self, entries: &[LogEntry]) {
        let wanted = self.text.to_lowercase();
        let has_text = |entry: &&LogEntry| entry.text.to_lowercase().contains(&wanted);
        let found: Vec<_> = entries.iter().filter(has_text).cloned().collect();
        self.found += found.len() as u64;
        self.lines.insert_sorted(found);
    }

    /// Forgets the lines of one stage.
    pub fn remove_source(&mut self, source: u16) {
        self.lines.remove_source(source);
        self.found = self.lines.loaded();
    }

    /// Returns the number of the last line that was found.
    pub fn last_number(&self) -> u64 {
        self.lines.entries().last().map_or(0, |entry| entry.number)
    }
}

/// What is typed on the page of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogQuestion {
    Search,
    Filter,
}

/// A text that is typed on the page of a log.
#[derive(Debug)]
pub struct LogInput {
    pub question: LogQuestion,
    pub input: tui_input::Input,
}

/// How logs are looked at.
#[derive(Debug)]
pub struct LogView {
    pub wrap: bool,
    pub times: LogTimes,
    /// Columns that are scrolled sideways, where lines are not wrapped.
    pub column: u16,
    /// The first row on the screen; `None`: the end is shown, and what comes is followed.
    pub top: Option<LogPlace>,
    pub search: Option<LogMatches>,
    /// The number of the line that the search is at.
    pub at_match: Option<u64>,
    pub filter: Option<LogMatches>,
    pub input: Option<LogInput>,
    /// The request for lines above those that are known.
    pub above_request: Option<u64>,
}

impl Default for LogView {
    fn default() -> Self {
        Self {
            wrap: true,
            times: LogTimes::default(),
            column: 0,
            top: None,
            search: None,
            at_match: None,
            filter: None,
            input: None,
            above_request: None,
        }
    }
}

impl LogView {
    /// Turns to another log: how lines are shown stays.
    pub fn turn_to_another(&mut self) {
        *self = Self {
            wrap: self.wrap,
            times: self.times,
            ..Self::default()
        };
    }

    /// Returns the filter and the search.
    pub fn matches_mut(&mut self) -> impl Iterator<Item = &mut LogMatches> {
        self.search.iter_mut().chain(&mut self.filter)
    }
}
