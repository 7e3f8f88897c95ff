//! Records of subtitle files as their parsers find them, and the segments made of them: in time order, with ends.

use serde_json::json;

use super::{
    markup::{Parts, parts},
    notes::{Notes, Skipped},
    shown_lines,
};
use crate::spoken::{TranscriptSegment, Word, millis, words_json};
use onceover_run::Object;

/// Seconds a record without an end lasts at least and at most, unless its text takes longer.
const SHORTEST_OPEN: f64 = 1.0;
const LONGEST_OPEN: f64 = 10.0;
/// Characters that are spoken in a second, for records of which nothing else is known.
const SPOKEN: f64 = 15.0;
/// Characters a second at which the text has certainly ended.
const SLOWLY: f64 = 8.0;

/// A cue of a subtitle file.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) number: usize,
    pub(super) line: usize,
    pub(super) start: f64,
    pub(super) end: Option<f64>,
    /// The text with tags and entities as SRT has them.
    pub(super) marked: String,
    pub(super) speaker: Option<String>,
    pub(super) words: Vec<Word>,
}

/// What a parser found.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) records: Vec<Record>,
    pub(super) skipped: Vec<Skipped>,
}

impl Records {
    /// Notes a record that cannot be used.
    pub(super) fn skip(&mut self, record: usize, line: usize, why: impl Into<String>) {
        self.skipped.push(Skipped {
            record,
            line: Some(line),
            why: why.into(),
        });
    }

    /// Returns the segments by when they start, numbered from 1; those without text are left out.
    pub(super) fn finish(self, notes: &mut Notes) -> Result<Vec<TranscriptSegment>, String> {
        let mut skipped = self.skipped;
        let mut kept_records = Vec::with_capacity(self.records.len());
        for record in self.records {
            match record.end {
                Some(end) if end < record.start => skipped.push(Skipped {
                    record: record.number,
                    line: Some(record.line),
                    why: format!("ends ({end} s) before it starts ({} s)", record.start),
                }),
                _ => kept_records.push(record),
            }
        }
        skipped.sort_by_key(|skipped| skipped.line);
        for skipped in skipped {
            notes.skip(skipped);
        }
        kept_records.sort_by(|a, b| a.start.total_cmp(&b.start));
        let starts: Vec<_> = kept_records.iter().map(|record| record.start).collect();
        let mut segments = Vec::with_capacity(kept_records.len());
        for record in kept_records {
            let parts = parts(&record.marked, record.speaker.as_deref());
            let text = lines_of(&parts.text);
            if text.is_empty() {
                continue;
            }
            let markup = parts.markup.map(|markup| lines_of(&markup));
            let parts = Parts {
                markup: markup.filter(|markup| *markup != text),
                text,
                ..parts
            };
            let end = record
                .end
                .unwrap_or_else(|| open_end(record.start, &record.words, &parts.text, &starts, notes));
            segments.push(segment(record, end, parts, segments.len() + 1));
        }
        notes.read = segments.len();
        notes.has_ids = true;
        notes.need_any("cues")?;
        Ok(segments)
    }
}

/// Returns where a record without an end ends: with its last word, else where the next starts, unless that is long
/// after its text can be over. `starts` are sorted. Counts the record in the notes.
pub(super) fn open_end(start: f64, words: &[Word], text: &str, starts: &[f64], notes: &mut Notes) -> f64 {
    notes.open_ends += 1;
    if let Some(end) = words
        .iter()
        .map(|word| word.end)
        .reduce(f64::max)
        .filter(|end| *end >= start)
    {
        return end;
    }
    let characters = text.chars().filter(|c| !c.is_whitespace()).count() as f64;
    let next = starts.get(starts.partition_point(|other| *other <= start));
    let end = match next {
        Some(next) => next.min(start + (characters / SLOWLY).max(LONGEST_OPEN)),
        None => start + (characters / SPOKEN).max(SHORTEST_OPEN),
    };
    millis(end).max(start)
}

/// Removes blanks around lines and blank lines.
pub(super) fn lines_of(text: &str) -> String {
    shown_lines(text).join("\n")
}

fn segment(record: Record, end: f64, parts: Parts, id: usize) -> TranscriptSegment {
    let Parts { text, markup, speaker } = parts;
    let speaker = record.speaker.or(speaker);
    let mut json = Object::from_iter([
        ("id".into(), json!(id)),
        ("start".into(), json!(record.start)),
        ("end".into(), json!(end)),
        ("text".into(), json!(text)),
    ]);
    if let Some(markup) = &markup {
        json.insert("markup".into(), json!(markup));
    }
    if let Some(speaker) = &speaker {
        json.insert("speaker".into(), json!(speaker));
    }
    if !record.words.is_empty() {
        json.insert("words".into(), words_json(&record.words));
    }
    TranscriptSegment {
        start: record.start,
        end,
        text,
        markup,
        speaker,
        words: record.words,
        json,
    }
}
