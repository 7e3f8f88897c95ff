//! A file that was decoded and parsed once, before a node chooses what it needs of it.

use serde_json::Value;

use super::{
    Format, ass,
    encoding::{self, DecodedText},
    json, lrc, markup,
    notes::Notes,
    record::{Records, open_end},
    srt, ttml, vtt,
};
use crate::spoken::TranscriptSegment;

/// A text with times, of any format.
pub(crate) struct Document {
    content: Content,
    notes: Notes,
}

enum Content {
    Json(Value),
    Records(Records),
}

/// A cue as the file has it, with all its faults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RawCue {
    pub(crate) start: f64,
    /// Its end; if the file has none, as for a [`TranscriptSegment`].
    pub(crate) end: f64,
    pub(crate) text: String,
}

impl Document {
    /// Reads a file in the given encoding, else in the one that is found. The error is the second half of a sentence,
    /// as for all functions here.
    pub(crate) fn read(bytes: &[u8], encoding: Option<&str>) -> Result<Self, String> {
        Self::from_decoded(&encoding::decode(bytes, encoding)?)
    }

    /// Parses a file that was decoded.
    pub(super) fn from_decoded(decoded: &DecodedText) -> Result<Self, String> {
        let text = &decoded.text;
        let content = match Format::detect(text)? {
            Format::Json => Content::Json(json::parse_text(text)?),
            Format::Srt => Content::Records(srt::parse(text)),
            Format::WebVtt => Content::Records(vtt::parse(text)),
            Format::Ass => Content::Records(ass::parse(text)),
            Format::Ttml => Content::Records(ttml::parse(text)),
            Format::Lrc => Content::Records(lrc::parse(text)),
        };
        Ok(Self {
            content,
            notes: Notes::from_decoded(decoded),
        })
    }

    /// Returns its value if it is JSON.
    pub(crate) fn json(&self) -> Option<&Value> {
        match &self.content {
            Content::Json(json) => Some(json),
            Content::Records(_) => None,
        }
    }

    /// Returns how it was decoded.
    pub(crate) fn into_notes(self) -> Notes {
        self.notes
    }

    /// Returns its segments, in its order where it is JSON, else by when they start; at least one.
    pub(crate) fn segments(self) -> Result<(Vec<TranscriptSegment>, Notes), String> {
        let mut notes = self.notes;
        let segments = match self.content {
            Content::Json(json) => json::segments(json, &mut notes)?,
            Content::Records(records) => records.finish(&mut notes)?,
        };
        Ok((segments, notes))
    }

    /// Returns its cues in its order; at least one.
    pub(crate) fn raw_cues(self) -> Result<(Vec<RawCue>, Notes), String> {
        let mut notes = self.notes;
        let records = match self.content {
            Content::Json(json) => {
                let segments = json::segments(json, &mut notes)?;
                let raw = segments.into_iter().map(|segment| RawCue {
                    start: segment.start,
                    end: segment.end,
                    text: segment.text,
                });
                return Ok((raw.collect(), notes));
            }
            Content::Records(records) => records,
        };
        let mut starts: Vec<_> = records.records.iter().map(|record| record.start).collect();
        starts.sort_by(f64::total_cmp);
        let raw = records.records.iter().map(|record| {
            let text = markup::plain(&record.marked);
            let end = record
                .end
                .unwrap_or_else(|| open_end(record.start, &record.words, &text, &starts, &mut notes));
            let start = record.start;
            RawCue { start, end, text }
        });
        let raw: Vec<_> = raw.collect();
        for skipped in records.skipped {
            notes.skip(skipped);
        }
        notes.read = raw.len();
        notes.need_any("cues")?;
        Ok((raw, notes))
    }

    /// Returns the texts of its segments, which need no times for that; at least one.
    pub(crate) fn texts(self) -> Result<(Vec<String>, Notes), String> {
        let mut notes = self.notes;
        let texts = match self.content {
            Content::Json(json) => json::texts(json, &mut notes)?,
            Content::Records(records) => {
                let segments = records.finish(&mut notes)?;
                segments.into_iter().map(|segment| segment.text).collect()
            }
        };
        Ok((texts, notes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_cues_name_what_cannot_be_read_in_every_format() {
        let srt = "1\n00:00:01,000 --> 00:00:02,000\na\n\n2\n00:00:0x,000 --> 00:00:04,000\nlost\n\n";
        let json = r#"[{"start": 1, "end": 2, "text": "a"}, {"end": 4, "text": "lost"}]"#;
        for text in [srt, json] {
            let (cues, notes) = Document::read(text.as_bytes(), None).unwrap().raw_cues().unwrap();
            assert_eq!((cues.len(), notes.skipped_records()), (1, &[2][..]), "{text}");
        }
        let nothing = Document::read(b"1\n00:00:0x,000 --> 00:00:04,000\nlost\n", None).unwrap();
        let why = nothing.raw_cues().unwrap_err();
        assert!(why.contains("record 1 (line 2)"), "{why}");
    }

    #[test]
    fn the_texts_of_subtitles_come_with_what_was_left_out() {
        let srt = "1\n00:00:01,000 --> 00:00:02,000\n<i>a</i>\n\n2\n00:00:0x,000 --> 00:00:04,000\nlost\n\n";
        let (texts, notes) = Document::read(srt.as_bytes(), None).unwrap().texts().unwrap();
        assert_eq!((texts, notes.skipped()), (vec!["a".to_owned()], 1));
    }
}
