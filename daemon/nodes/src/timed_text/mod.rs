//! The one reader and the one writer of texts with times: subtitles (SRT, WebVTT, ASS, TTML, LRC) and transcripts (our
//! own JSON and that of other tools). The content of a file decides its format, not its name. A damaged record is
//! omitted and named; the rest is used. Markup is separated from the texts and kept beside them.

mod ass;
mod document;
mod encoding;
mod json;
mod lrc;
mod markup;
mod notes;
mod record;
mod srt;
mod times;
mod ttml;
mod turns;
mod vtt;
mod words;
mod write;

#[cfg(test)]
mod round_trip;

use serde_json::Value;

pub(crate) use self::{
    document::{Document, RawCue},
    json::{parse as parse_json, seconds, speaker, time},
    markup::{escaped, markup_around},
    notes::Notes,
    turns::{did_not_fail, turns},
    words::timed_words,
    write::{compose_marked_srt, compose_srt, put_text, srt_time},
};
use super::{
    input::{Input, compute, read},
    spoken::{Cue, TranscriptSegment},
};
use onceover_run::{RunContext, RunError, paths::Opened};

/// The format of a text with times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Srt,
    WebVtt,
    Ass,
    Ttml,
    Lrc,
    Json,
}

impl Format {
    /// Detects the format by the beginning of the text, else by the first line that only one format has.
    fn detect(text: &str) -> Result<Self, String> {
        let begins = text.trim_start();
        if begins.is_empty() {
            return Err("it is empty, so it has no cues".into());
        }
        if begins.starts_with("WEBVTT") {
            return Ok(Self::WebVtt);
        }
        if ttml::is_ttml(begins) {
            return Ok(Self::Ttml);
        }
        let telling = begins.split(['\n', '\r']).map(str::trim).find_map(|line| {
            let format = match () {
                () if times::span(line).is_some() => Self::Srt,
                () if ass::is_ass(line) => Self::Ass,
                () if lrc::is_lrc(line) => Self::Lrc,
                () => return None,
            };
            Some(format)
        });
        if let Some(format) = telling {
            return Ok(format);
        }
        if begins.starts_with(['{', '[']) {
            return Ok(Self::Json);
        }
        if begins.contains("-->") {
            return Ok(Self::Srt);
        }
        Err("it is not JSON, and none of SRT, WebVTT, ASS, TTML and LRC: it has no cues".into())
    }
}

/// Returns the segments of a file of any format, as [`Document::segments`].
pub(crate) fn segments(bytes: &[u8], encoding: Option<&str>) -> Result<(Vec<TranscriptSegment>, Notes), String> {
    Document::read(bytes, encoding)?.segments()
}

/// Returns the segments of a transcript that is JSON already.
pub(crate) fn json_segments(json: Value) -> Result<(Vec<TranscriptSegment>, Notes), String> {
    let mut notes = Notes::default();
    let segments = json::segments(json, &mut notes)?;
    Ok((segments, notes))
}

/// Returns the text of subtitles of ASS or SSA, which has their styles; `None` if it is something else.
fn styled(text: &str) -> Option<&str> {
    text.trim_start().starts_with("[Script Info]").then_some(text)
}

/// Returns a text without times, of any encoding.
pub(crate) fn plain_text(bytes: &[u8]) -> String {
    encoding::decode(bytes, None)
        .map(|decoded| decoded.text)
        .unwrap_or_default()
}

/// Returns the lines of a text that show something.
pub(crate) fn shown_lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// Returns the cues of a file of any format.
pub(crate) fn cues(bytes: &[u8], encoding: Option<&str>) -> Result<(Vec<Cue>, Notes), String> {
    segments(bytes, encoding).map(as_cues)
}

fn as_cues((segments, notes): (Vec<TranscriptSegment>, Notes)) -> (Vec<Cue>, Notes) {
    let cues = segments
        .into_iter()
        .zip(1..)
        .map(|(segment, position)| cue(segment, position, notes.has_ids))
        .collect();
    (cues, notes)
}

fn cue(segment: TranscriptSegment, position: u64, has_id: bool) -> Cue {
    let field = |name: &str| segment.json.get(name).filter(|value| !value.is_null());
    let id = field("id").and_then(Value::as_u64).filter(|_| has_id);
    Cue {
        id: id.unwrap_or(position),
        start: segment.start,
        end: segment.end,
        text: segment.text.trim().into(),
        confidence: field("speaker_confidence").or_else(|| field("confidence")).cloned(),
        words: field("words").cloned(),
        speaker: segment.speaker,
    }
}

/// Returns the segments of an input file. What was left out or guessed becomes a warning of the run; `encoding` of the
/// request overrides what the file looks like.
pub(crate) async fn segments_of(context: &RunContext, file: &Opened) -> Result<Vec<TranscriptSegment>, RunError> {
    of_file(context, file, segments).await
}

/// Returns the cues of an input file, as [`segments_of`].
pub(crate) async fn cues_of(context: &RunContext, file: &Opened) -> Result<Vec<Cue>, RunError> {
    of_file(context, file, cues).await
}

/// Returns the cues of an input file as they stand there, and the numbers of the records that cannot be read.
pub(crate) async fn raw_cues_of(context: &RunContext, file: &Opened) -> Result<(Vec<RawCue>, Vec<usize>), RunError> {
    of_file(context, file, |bytes, encoding| {
        let (cues, notes) = Document::read(bytes, encoding)?.raw_cues()?;
        let unreadable = notes.skipped_records().to_vec();
        Ok(((cues, unreadable), notes))
    })
    .await
}

/// Returns the texts of an input file's segments, with or without times.
pub(crate) async fn texts_of(context: &RunContext, file: &Opened) -> Result<Vec<String>, RunError> {
    of_file(context, file, |bytes, encoding| {
        Document::read(bytes, encoding)?.texts()
    })
    .await
}

/// Returns the cues of an input file, and the file as text where it is one of ASS or SSA, whose styles are kept.
pub(crate) async fn cues_and_styles_of(
    context: &RunContext,
    file: &Opened,
) -> Result<(Vec<Cue>, Option<String>), RunError> {
    of_file(context, file, |bytes, encoding| {
        let decoded = encoding::decode(bytes, encoding)?;
        let (cues, notes) = as_cues(Document::from_decoded(&decoded)?.segments()?);
        Ok(((cues, styled(&decoded.text).map(ToOwned::to_owned)), notes))
    })
    .await
}

async fn of_file<T: Send + 'static>(
    context: &RunContext,
    file: &Opened,
    parse: impl FnOnce(&[u8], Option<&str>) -> Result<(T, Notes), String> + Send + 'static,
) -> Result<T, RunError> {
    let name = file.display().to_string();
    let encoding = Input(context).text("encoding").map(ToOwned::to_owned);
    let (opened, called) = (file.clone(), name.clone());
    let (content, notes) = compute(move || {
        parse(&read(&opened)?, encoding.as_deref())
            .map_err(|why| RunError::failed(format!("{called} cannot be used: {why}")))
    })
    .await?;
    notes.tell(context, &name);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_its_content() {
        for (text, format) in [
            ("\n1\n00:00:01,000 --> 00:00:02,000\na", Format::Srt),
            ("WEBVTT\n\n00:01.000 --> 00:02.000\na", Format::WebVtt),
            ("[Script Info]\n", Format::Ass),
            ("Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,a", Format::Ass),
            ("[ti:Song]\n[00:01.00]a", Format::Lrc),
            (
                "<?xml version=\"1.0\"?>\n<tt xmlns=\"http://www.w3.org/ns/ttml\"/>",
                Format::Ttml,
            ),
            ("[{\"start\":1}]", Format::Json),
            ("{\"segments\":[]}", Format::Json),
            (
                "1\n00:00:01,000 --> 00:00:02,000\n[00:01.00]\nDialogue: a,b,c,d",
                Format::Srt,
            ),
            ("[]", Format::Json),
        ] {
            assert_eq!(Format::detect(text), Ok(format), "{text}");
        }
        assert!(Format::detect(" \n").unwrap_err().contains("empty"));
        assert!(Format::detect("Dear reader").unwrap_err().contains("WebVTT"));
    }

    #[test]
    fn the_styles_of_a_file_are_read_in_the_encoding_that_was_asked_for() {
        let (bytes, ..) = encoding_rs::GBK.encode("[Script Info]\n; \u{4f60}\u{597d}\n");
        let decoded = encoding::decode(&bytes, Some("gbk")).unwrap();
        assert!(styled(&decoded.text).unwrap().contains("\u{4f60}\u{597d}"));
        assert_eq!(styled("1\n00:00:01,000 --> 00:00:02,000\nx\n"), None);
    }
}
