//! Fuzz targets of subtitles and transcripts, which people bring from everywhere.

use std::path::Path;

use onceover_fuzz::fuzz;

use super::{
    subtitles::{compose_srt, cues},
    transcript::read,
};

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

#[test]
fn fuzz_srt() {
    fuzz("srt", WORDS, |bytes| {
        let Ok(found) = cues::parse(Path::new("in.srt"), bytes) else {
            return;
        };
        for pair in found.windows(2) {
            assert!(pair[0].start <= pair[1].start, "in time order");
        }
        for cue in &found {
            assert!(cue.start <= cue.end && cue.start >= 0.0, "{cue:?}");
        }
        // What was written is read the same.
        let written = compose_srt(found.iter().map(|cue| (cue.start, cue.end, cue.text.as_str())));
        let again = cues::parse(Path::new("in.srt"), &written).unwrap_or_default();
        let with_text: Vec<_> = found.iter().filter(|cue| !cue.text.trim().is_empty()).collect();
        for (first, second) in with_text.iter().zip(&again) {
            assert_eq!(
                (first.start, first.end),
                (second.start, second.end),
                "{first:?} {second:?}"
            );
        }
        assert_eq!(again.len(), with_text.len(), "{:?}", with_text.get(again.len()));
    });
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
        let _ = cues::parse(Path::new("in.json"), bytes);
        let Ok(json) = read::parse_json(bytes) else { return };
        let _ = read::diarization(json.clone());
        let _ = read::turn_list(json.clone());
        for segment in read::transcript(json).unwrap_or_default() {
            assert!(segment.start.is_finite() && segment.end.is_finite(), "{segment:?}");
            for word in segment.timed_words() {
                assert!(word.start.is_finite() && word.end.is_finite(), "{word:?}");
            }
        }
    });
}
