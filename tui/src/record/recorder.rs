//! Writes a session to a file while it runs. The loop only hands lines over: a thread writes them, and where it cannot
//! keep up, or the file is as large as may be, the recording ends and says why. Nothing is left out of its middle.
//!
//! What is secret is not written: the token never comes into the model, and what is typed into a secret field is
//! replaced by as many stars, which is how the screen shows it, and so is what an edited document has of it.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use crossterm::event::KeyCode;

use super::{SessionStart, WrittenEntry, hash_frame};
use crate::{
    figures,
    key::Key,
    model::{Model, Page, secrets::hide_in_document},
    update::UiEvent,
};

/// Bytes of a recording at most.
pub const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// Lines that wait for the disk at most.
const MOST_WAITING: usize = 16 * 1024;

/// Why a recording ends that was ended by no fault.
const QUIT: &str = "the dashboard was quit";

/// A recording under way.
#[derive(Debug)]
pub struct SessionRecorder {
    /// `None`: it has ended.
    lines: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
    /// Why it has ended early.
    reason: Arc<OnceLock<String>>,
    is_reported: bool,
    bytes: u64,
    most: u64,
}

impl SessionRecorder {
    /// Makes the file, which only its owner can read, and begins to write.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::create_bounded(path, MOST_BYTES)
    }

    fn create_bounded(path: &Path, most: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let (lines, incoming) = sync_channel(MOST_WAITING);
        let reason = Arc::new(OnceLock::new());
        let writer = {
            let reason = reason.clone();
            thread::Builder::new()
                .name("recording".into())
                .spawn(move || write_lines(file, &incoming, &reason))?
        };
        Ok(Self {
            lines: Some(lines),
            writer: Some(writer),
            reason,
            is_reported: false,
            bytes: 0,
            most,
        })
    }

    /// Writes what the session begins with.
    pub fn begin(&mut self, model: &Model) {
        self.write(&WrittenEntry::Begin(&SessionStart::of_model(model)));
    }

    /// Writes an event that goes into `update` next.
    pub fn note_event(&mut self, model: &Model, event: &UiEvent) {
        if self.lines.is_none() {
            return;
        }
        match hide_secret(model, event) {
            Some(hidden) => self.write(&WrittenEntry::Event(&hidden)),
            None => self.write(&WrittenEntry::Event(event)),
        }
    }

    /// Writes that the next frame writes every cell.
    pub fn note_forget(&mut self) {
        self.write(&WrittenEntry::Forget);
    }

    /// Writes that a frame of these bytes was drawn.
    pub fn note_frame(&mut self, bytes: &[u8]) {
        if self.lines.is_some() {
            self.write(&WrittenEntry::Frame(&hash_frame(bytes)));
        }
    }

    /// Returns, once, why the recording has ended early.
    pub fn take_reason(&mut self) -> Option<String> {
        if self.is_reported {
            return None;
        }
        let reason = self.reason.get()?.clone();
        self.is_reported = true;
        Some(reason)
    }

    fn write(&mut self, entry: &WrittenEntry<'_>) {
        let Some(lines) = &self.lines else { return };
        let line = match serde_json::to_string(entry) {
            Ok(line) => line,
            Err(error) => return self.end(format!("an event cannot be written: {error}")),
        };
        self.bytes += line.len() as u64 + 1;
        if self.bytes > self.most {
            return self.end(format!(
                "it has {}, which is the most",
                figures::format_bytes(self.most)
            ));
        }
        match lines.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.end("the disk does not keep up".to_owned()),
            // The writer has said why.
            Err(TrySendError::Disconnected(_)) => self.lines = None,
        }
    }

    fn end(&mut self, reason: String) {
        // Of two reasons the first is the cause.
        let _ = self.reason.set(reason);
        self.lines = None;
    }
}

impl Drop for SessionRecorder {
    /// Waits until everything is written.
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Writes lines until there are no more, and then why.
fn write_lines(file: File, lines: &Receiver<String>, reason: &OnceLock<String>) {
    let mut out = BufWriter::new(file);
    let mut write = || -> io::Result<()> {
        while let Ok(line) = lines.recv() {
            writeln!(out, "{line}")?;
            while let Ok(line) = lines.try_recv() {
                writeln!(out, "{line}")?;
            }
            // What has happened up to a crash is worth the most.
            out.flush()?;
        }
        let end = WrittenEntry::End(reason.get().map_or(QUIT, String::as_str));
        writeln!(out, "{}", serde_json::to_string(&end)?)?;
        out.flush()
    };
    if let Err(error) = write() {
        let _ = reason.set(format!("it cannot be written: {error}"));
    }
}

/// Replaces what is typed into a secret field, and what an edited document has of it; `None` if the event holds nothing
/// secret.
fn hide_secret(model: &Model, event: &UiEvent) -> Option<UiEvent> {
    if let UiEvent::Edited { id, result: Ok(text) } = event {
        let result = Ok(hide_in_document(text));
        return Some(UiEvent::Edited { id: *id, result });
    }
    let form = model
        .form
        .as_ref()
        .filter(|_| model.page == Page::Form && model.dialog.is_none())?;
    if !form.is_secret(form.focused().what) {
        return None;
    }
    match event {
        UiEvent::Key(key) if matches!(key.code, KeyCode::Char(_)) && !key.ctrl => Some(UiEvent::Key(Key::char('*'))),
        UiEvent::Paste(text) => {
            let typed = text.chars().filter(|c| !c.is_control()).count();
            Some(UiEvent::Paste("*".repeat(typed)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use onceover_types::Timestamp;

    use super::*;

    #[test]
    fn tui19_a_recording_that_is_too_large_ends_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.jsonl");
        let model = Model::new("http://localhost:8788", Timestamp::from_millis(0), (80, 24));
        let mut recorder = SessionRecorder::create_bounded(&path, 2_000).unwrap();
        recorder.begin(&model);
        for _ in 0..1_000 {
            recorder.note_event(&model, &UiEvent::Key(Key::char('j')));
        }
        let reason = recorder.take_reason().unwrap();
        assert!(reason.contains("2.0 kB"), "{reason}");
        assert_eq!(recorder.take_reason(), None, "it is reported once");
        drop(recorder);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() < 2_100);
        assert!(text.lines().last().unwrap().contains("which is the most"), "{text}");
    }

    #[test]
    fn tui19_a_disk_that_cannot_be_written_to_ends_the_recording_and_not_the_dashboard() {
        let model = Model::new("http://localhost:8788", Timestamp::from_millis(0), (80, 24));
        let mut recorder = SessionRecorder::create(Path::new("/dev/full")).unwrap();
        recorder.begin(&model);
        // The thread reports it in its own time.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let reason = loop {
            match recorder.take_reason() {
                Some(reason) => break reason,
                None => assert!(std::time::Instant::now() < deadline),
            }
            thread::yield_now();
        };
        assert!(reason.contains("cannot be written"), "{reason}");
        recorder.note_event(&model, &UiEvent::Reset);
    }
}
