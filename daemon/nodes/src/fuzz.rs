//! Fuzz targets of subtitles and transcripts, which people bring from everywhere.

use onceover_fuzz::fuzz;

use super::timed_text::{self, compose_srt};

const WORDS: &[&str] = &[
    "-->",
    "00:00:01,000",
    "00:59:60.5",
    "\n\n",
    "\r\n",
    "\u{feff}",
    "[SPEAKER_00]",
    "{\\an8}",
    "<i>",
    "99",
    "NOTE",
    "WEBVTT",
];

/// What holds of everything that is read.
fn read_right(bytes: &[u8]) {
    let Ok((found, _)) = timed_text::cues(bytes, None) else {
        return;
    };
    for cue in &found {
        assert!(
            cue.start <= cue.end && cue.start.is_finite() && cue.end.is_finite(),
            "{cue:?}"
        );
    }
    // What was written is read the same.
    let with_text: Vec<_> = found
        .iter()
        .filter(|cue| !cue.text.trim().is_empty() && cue.start >= 0.0 && cue.end < 1e9)
        .collect();
    let written = compose_srt(with_text.iter().map(|cue| (cue.start, cue.end, cue.text.as_str())));
    let (again, _) = timed_text::cues(&written, None).unwrap_or_default();
    assert_eq!(again.len(), with_text.len(), "{:?}", with_text.get(again.len()));
    let mut times: Vec<_> = with_text.iter().map(|cue| millis(cue.start)).collect();
    times.sort_unstable();
    for (first, second) in times.iter().zip(&again) {
        assert_eq!(*first, millis(second.start), "{second:?}");
    }
}

fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

/// Of subtitles, which come out in time order.
fn read_in_order(bytes: &[u8]) {
    if let Ok((found, _)) = timed_text::cues(bytes, None)
        && !bytes.trim_ascii_start().starts_with(b"[")
        && !bytes.trim_ascii_start().starts_with(b"{")
    {
        for pair in found.windows(2) {
            assert!(pair[0].start <= pair[1].start, "in time order");
        }
    }
    read_right(bytes);
}

#[test]
fn fuzz_srt() {
    fuzz("srt", WORDS, read_in_order);
}

const MARKS: &[&str] = &[
    "Dialogue: 0,0:00:01.00,0:00:02.00,,A,0,0,0,,",
    "{\\i1}",
    "\\N",
    "[00:01.00]",
    "<00:01.50>",
    "[offset:100]",
    "<p begin=\"1s\" end=\"2s\">",
    "</p>",
    "<br/>",
    "&amp;",
    "&#x41;",
    "<tt xmlns=\"x\"><body>",
    "NOTE\n",
    "<v Ann>",
    "\u{0}",
];

#[test]
fn fuzz_subtitles() {
    fuzz("subtitles", MARKS, read_right);
}

const FIELDS: &[&str] = &[
    "\"segments\":[",
    "\"start\":",
    "\"end\":",
    "\"words\":[",
    "\"text\":\"",
    "null",
    "1e400",
    "-1",
    "{}",
    "]",
    "}",
    "\"speaker\":",
    "\\ud800",
    "\"time_stamps\":[",
];

#[test]
fn fuzz_transcripts() {
    fuzz("transcripts", FIELDS, |bytes| {
        read_right(bytes);
        let Ok(json) = timed_text::parse_json(bytes) else {
            return;
        };
        let _ = timed_text::turns(json.clone(), None);
        let _ = timed_text::turns(json, Some("x"));
        let Ok((segments, _)) = timed_text::segments(bytes, None) else {
            return;
        };
        for segment in segments {
            assert!(segment.start.is_finite() && segment.end.is_finite(), "{segment:?}");
            let words = segment.timed_words();
            for word in &words {
                assert!(word.start.is_finite() && word.end.is_finite(), "{word:?}");
            }
            for pair in words.windows(2) {
                assert!(pair[0].end <= pair[1].start, "{pair:?}");
            }
        }
    });
}
