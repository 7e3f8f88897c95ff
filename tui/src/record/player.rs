//! Plays a recorded session: events go through the same `update`, frames through the same `view`, and each frame is
//! compared with the one that was drawn then. What an event would have done outside is not done.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Lines},
    path::Path,
};

use onceover_types::Timestamp;
use ratatui::buffer::Buffer;

use super::{RecordedEntry, SessionStart, hash_frame};
use crate::{
    model::Model,
    paint::{NoPictures, Painter},
    update::{UiEvent, update},
};

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("cannot read the recording: {0}")]
    Unreadable(#[from] io::Error),
    #[error("line {line} of the recording is not one of this version, {}: {source}", env!("CARGO_PKG_VERSION"))]
    Line { line: usize, source: serde_json::Error },
    #[error("it is no recording: its first line does not say what the session began with")]
    NoBeginning,
    #[error("the time zone of the recording is not known here: {0}")]
    Zone(#[from] jiff::Error),
}

/// A frame that was painted again.
#[derive(Debug)]
pub struct PlayedFrame {
    /// Its number, from 1.
    pub number: usize,
    pub bytes: Vec<u8>,
    /// Whether it is, byte for byte, the one that was drawn.
    pub is_same: bool,
}

/// What the next line of a recording was about.
#[derive(Debug)]
pub enum ReplayStep {
    /// The time went on.
    Time(Timestamp),
    /// Another event was taken in.
    Event,
    Frame(PlayedFrame),
    /// Why the recording ends.
    End(String),
}

/// A recording that is being played.
pub struct Player {
    lines: Lines<BufReader<File>>,
    line: usize,
    begin: Box<SessionStart>,
    model: Model,
    painter: Painter,
    frames: usize,
}

impl Player {
    /// Opens a recording and reads what it began with.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let mut lines = BufReader::new(File::open(path)?).lines();
        let first = lines.next().ok_or(ReplayError::NoBeginning)??;
        let Ok(RecordedEntry::Begin(begin)) = serde_json::from_str(&first) else {
            return Err(ReplayError::NoBeginning);
        };
        Ok(Self {
            lines,
            line: 1,
            model: begin.make_model()?,
            begin,
            painter: Painter::new(),
            frames: 0,
        })
    }

    /// Returns the version of the program that wrote it.
    pub fn version(&self) -> &str {
        &self.begin.version
    }

    /// Returns the columns and rows of the screen now.
    pub fn size(&self) -> (u16, u16) {
        self.model.size
    }

    /// Returns the frame that was painted last.
    pub fn shown(&self) -> Option<&Buffer> {
        self.painter.shown()
    }

    /// Plays the next line; `None` after the last one.
    pub fn step(&mut self) -> Result<Option<ReplayStep>, ReplayError> {
        loop {
            let Some(text) = self.lines.next() else {
                return Ok(None);
            };
            self.line += 1;
            let line = self.line;
            let entry: RecordedEntry =
                serde_json::from_str(&text?).map_err(|source| ReplayError::Line { line, source })?;
            return Ok(Some(match entry {
                RecordedEntry::Begin(_) => return Err(ReplayError::NoBeginning),
                RecordedEntry::Event(event) => self.take_event(event),
                RecordedEntry::Forget => {
                    self.painter.forget();
                    continue;
                }
                RecordedEntry::Frame(hash) => ReplayStep::Frame(self.paint(&hash)?),
                RecordedEntry::End(reason) => ReplayStep::End(reason),
            }));
        }
    }

    fn take_event(&mut self, event: UiEvent) -> ReplayStep {
        let step = match &event {
            UiEvent::Time(now) => ReplayStep::Time(*now),
            _ => ReplayStep::Event,
        };
        update(&mut self.model, event);
        step
    }

    fn paint(&mut self, hash: &str) -> io::Result<PlayedFrame> {
        self.frames += 1;
        // A frame was drawn: where nothing differs here, it differed there.
        let bytes = self.painter.paint(&self.model, &NoPictures)?.unwrap_or_default();
        Ok(PlayedFrame {
            number: self.frames,
            is_same: hash_frame(&bytes) == hash,
            bytes,
        })
    }
}
