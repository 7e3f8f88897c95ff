//! Writes SRT, and the text of a segment as JSON has it.

use serde_json::json;
use subcue::{Cue, Format, Header, Subtitles, Time};

use super::{markup::escaped, shown_lines};
use onceover_run::Object;

/// Puts a plain text into a segment's JSON, with its markup where there is some. If the text shows what looks like
/// markup, that is written as entities, so that the next reader does not remove it.
pub(crate) fn put_text(json: &mut Object, text: &str, markup: Option<String>) {
    json.insert("text".into(), json!(text));
    let as_entities = || Some(escaped(text)).filter(|escaped| escaped != text);
    match markup.or_else(as_entities) {
        Some(markup) => {
            json.insert("markup".into(), json!(markup));
        }
        None => {
            json.shift_remove("markup");
        }
    }
}

/// Returns the seconds as whole milliseconds, rounded; never negative.
fn millis(seconds: f64) -> i64 {
    (seconds.max(0.0) * 1000.0).round() as i64
}

/// `00:01:01,235`.
pub(crate) fn srt_time(seconds: f64) -> String {
    let all = millis(seconds);
    let (hours, minutes) = (all / 3_600_000, all / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02},{:03}", all / 1000 % 60, all % 1000)
}

/// Writes an SRT file of (start, end, text), numbered from 1. A blank line inside a text would end its cue and is
/// dropped; a cue without text shows nothing and is omitted. An arrow that would make a line of times becomes another
/// arrow, and what looks like markup is escaped.
pub(crate) fn compose_srt<'a>(cues: impl IntoIterator<Item = (f64, f64, &'a str)>) -> Vec<u8> {
    let cues: Vec<_> = cues
        .into_iter()
        .map(|(start, end, text)| (start, end, escaped(text)))
        .collect();
    compose_marked_srt(cues.iter().map(|(start, end, text)| (*start, *end, text.as_str())))
}

/// Writes an SRT file, as [`compose_srt`] does, of texts with SRT's markup.
pub(crate) fn compose_marked_srt<'a>(cues: impl IntoIterator<Item = (f64, f64, &'a str)>) -> Vec<u8> {
    let cues = cues.into_iter().filter_map(|(start, end, text)| {
        let lines = shown_lines(text);
        (!lines.is_empty()).then(|| Cue {
            index: None,
            id: None,
            start: Time(millis(start)),
            end: Time(millis(end)),
            text: lines.join("\n").replace("-->", "→"),
            settings: None,
            ass: None,
        })
    });
    let subtitles = Subtitles {
        format: Format::Srt,
        header: Header::default(),
        cues: cues.collect(),
        events: Vec::new(),
        warnings: Vec::new(),
    };
    subtitles.compose().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_rounded() {
        assert_eq!(srt_time(2.9), "00:00:02,900");
        assert_eq!(srt_time(61.2345), "00:01:01,235");
        assert_eq!(srt_time(0.9996), "00:00:01,000");
        assert_eq!(srt_time(360_000.0), "100:00:00,000");
        assert_eq!(srt_time(-1.0), "00:00:00,000");
    }

    #[test]
    fn a_cue_cannot_break_the_file() {
        let srt = compose_srt([(0.0, 1.0, " a\n\n\r\nb "), (1.0, 2.0, " "), (2.0, 3.0, "c <i> & d")]);
        assert_eq!(
            String::from_utf8(srt).unwrap(),
            "1\n00:00:00,000 --> 00:00:01,000\na\nb\n\n2\n00:00:02,000 --> 00:00:03,000\nc &lt;i> &amp; d\n\n"
        );
        let marked = compose_marked_srt([(2.0, 3.0, "<i>c</i>")]);
        assert!(String::from_utf8(marked).unwrap().contains("\n<i>c</i>\n"));
    }
}
