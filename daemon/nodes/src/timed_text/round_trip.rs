//! What a text shows comes through reading and writing, whatever the format.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{Document, compose_marked_srt, markup::plain, put_text, record::lines_of};
use crate::spoken::TranscriptSegment;
use onceover_run::Object;

/// Tags, overrides and entities, halves of them, and letters.
const PIECES: &[&str] = &[
    "<i>",
    "</i>",
    "<b>",
    "</b>",
    "<em>",
    "</em>",
    "<font color=\"#fff\">",
    "</font>",
    "<v Ann>",
    "<c.x>",
    "</c>",
    "<br>",
    "&lt;",
    "&gt;",
    "&amp;",
    "&#123;",
    "&nbsp;",
    "&quot;",
    "{\\an8}",
    "{\\i1}",
    "{\\an",
    "{\\",
    "{",
    "}",
    "<",
    ">",
    "&",
    "lt;",
    "amp;",
    "b",
    "i",
    " ",
    "\n",
    "你",
];

fn any_text() -> impl Strategy<Value = String> {
    vec(select(PIECES), 1..12).prop_map(|pieces| pieces.concat())
}

/// Returns a cue of this text in each format.
fn files(text: &str) -> [(&'static str, String); 6] {
    [
        ("SRT", format!("1\n00:00:01,000 --> 00:00:02,000\n{text}\n")),
        ("WebVTT", format!("WEBVTT\n\n00:01.000 --> 00:02.000\n{text}\n")),
        (
            "ASS",
            format!(
                "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{}\n",
                text.replace('\n', "\\N")
            ),
        ),
        (
            "TTML",
            format!("<tt ><body><p begin=\"1s\" end=\"2s\">{text}</p></body></tt>"),
        ),
        ("LRC", format!("[00:01.00]{}\n", text.replace('\n', " "))),
        ("JSON", json!([{"start": 1, "end": 2, "text": text}]).to_string()),
    ]
}

/// Returns its segments; `None` where it has none that can be used.
fn read(file: &[u8]) -> Vec<TranscriptSegment> {
    let segments = Document::read(file, None).and_then(Document::segments);
    segments.map(|(segments, _)| segments).unwrap_or_default()
}

fn as_srt(segments: &[TranscriptSegment]) -> Vec<u8> {
    let marked: Vec<_> = segments.iter().map(TranscriptSegment::marked).collect();
    let cues = segments.iter().zip(&marked);
    compose_marked_srt(cues.map(|(segment, marked)| (segment.start, segment.end, marked.as_str())))
}

fn as_json(segments: &[TranscriptSegment]) -> Vec<u8> {
    let array: Value = segments
        .iter()
        .map(|segment| Value::Object(segment.json.clone()))
        .collect();
    array.to_string().into_bytes()
}

fn shown(segments: &[TranscriptSegment]) -> Vec<String> {
    segments.iter().map(|segment| lines_of(&segment.text)).collect()
}

/// A text with a tag, and with entities that stand for others.
const TAGGED: &str = "&lt;b&gt; <i>Tom</i> &amp;amp; Jerry";

#[test]
fn a_text_that_shows_a_tag_shows_it_after_writing_it() {
    for (format, file) in files(TAGGED) {
        let found = read(file.as_bytes());
        let again = read(&as_srt(&found));
        assert_eq!(shown(&again), shown(&found), "{format}");
        let expected = match format {
            "ASS" | "LRC" => TAGGED,
            _ => "<b> Tom &amp; Jerry",
        };
        assert_eq!(shown(&found), [expected], "{format}");
    }
}

proptest! {
    #[test]
    fn what_a_text_shows_comes_through_every_format(text in any_text()) {
        for (format, file) in files(&text) {
            let found = read(file.as_bytes());
            if shown(&found).iter().any(String::is_empty) {
                continue;
            }
            for segment in &found {
                prop_assert_eq!(lines_of(&plain(&segment.marked())), lines_of(&segment.text), "{}", format);
            }
            let srt = as_srt(&found);
            prop_assert_eq!(shown(&read(&srt)), shown(&found), "{}", format);
            let again = read(&as_json(&found));
            prop_assert_eq!(shown(&again), shown(&found), "{}", format);
            prop_assert_eq!(as_srt(&again), srt, "{}", format);
        }
    }

    #[test]
    fn a_text_that_a_node_puts_into_a_segment_is_read_as_it_is(text in any_text()) {
        let mut segment = Object::from_iter([("start".into(), json!(1)), ("end".into(), json!(2))]);
        put_text(&mut segment, &text, None);
        let found = read(json!([segment]).to_string().as_bytes());
        prop_assert_eq!(shown(&found), [lines_of(&text)]);
    }
}
