//! Transcripts and diarizations as the nodes work with them.

use serde_json::{Value, json};

use super::{estimate_words, millis, tokens::joined};
use onceover_run::Object;

/// A transcript's segment, with what was read from it and all of it.
#[derive(Debug, Clone)]
pub(crate) struct TranscriptSegment {
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// Without markup.
    pub(crate) text: String,
    /// The text with SRT's markup, where it has any.
    pub(crate) markup: Option<String>,
    pub(crate) speaker: Option<String>,
    /// In order; they do not overlap.
    pub(crate) words: Vec<Word>,
    pub(crate) json: Object,
}

impl TranscriptSegment {
    /// Returns its words; if it has none, those of its text, which share its time by their length.
    pub(crate) fn timed_words(&self) -> Vec<Word> {
        if self.words.is_empty() {
            estimate_words(&self.text, self.start, self.end)
        } else {
            self.words.clone()
        }
    }
}

/// One word; a leading blank belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word {
    pub(crate) word: String,
    pub(crate) start: f64,
    pub(crate) end: f64,
    /// How sure the transcriber was, 0 to 1, where it says.
    pub(crate) probability: Option<f64>,
    pub(crate) speaker: Option<String>,
}

impl Word {
    pub(crate) fn middle(&self) -> f64 {
        f64::midpoint(self.start, self.end)
    }

    pub(crate) fn json(&self) -> Value {
        let mut json = json!({"word": self.word, "start": millis(self.start), "end": millis(self.end)});
        if let Some(probability) = self.probability {
            json["probability"] = json!(probability);
        }
        if let Some(speaker) = &self.speaker {
            json["speaker"] = json!(speaker);
        }
        json
    }
}

/// Returns the text of words one after another.
pub(crate) fn text_of(words: &[Word]) -> String {
    joined(words.iter().map(|word| word.word.as_str()))
}

/// Returns the words as outputs list them.
pub(crate) fn words_json(words: &[Word]) -> Value {
    words.iter().map(Word::json).collect()
}

/// Who speaks from when to when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Turn {
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) speaker: String,
    /// How sure the diarization was, where it says.
    pub(crate) confidence: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timed_text;

    fn read(text: &str) -> Result<Vec<TranscriptSegment>, String> {
        timed_text::segments(text.as_bytes(), None).map(|(segments, _)| segments)
    }

    #[test]
    fn a_transcript_is_an_object_or_an_array_of_segments() {
        for text in [
            r#"{"metadata":{},"segments":[{"start":0,"end":1,"text":" a"}]}"#,
            r#"[{"start":0,"end":1,"text":" a"}]"#,
            "\u{feff}[{\"start\":0,\"end\":1,\"text\":\" a\"}]",
        ] {
            assert_eq!(read(text).unwrap()[0].text, " a");
        }
        for (text, why) in [
            ("", "empty"),
            ("{}", "'segments'"),
            ("[]", "no segments"),
            ("[3]", "record 1 is no object"),
            (r#"[{"end":1}]"#, "record 1 has no number 'start'"),
            (r#"[{"start":2,"end":1}]"#, "before it starts"),
            ("3", "not JSON"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn d48_a_text_with_a_list_of_words_is_a_transcript_with_its_punctuation() {
        let segments = read(
            r#"{"text":"Hi you. Come in!","language":"English","time_stamps":[{"text":"Hi","start":1,"end":2},
                {"text":"you","start":2,"end":3},{"text":"Come","start":3,"end":4},{"text":"in","start":4,"end":5}]}"#,
        )
        .unwrap();
        let short: Vec<_> = segments
            .iter()
            .map(|segment| (segment.start, segment.end, segment.text.as_str()))
            .collect();
        assert_eq!(short, [(1.0, 3.0, "Hi you."), (3.0, 5.0, "Come in!")]);
        assert_eq!(segments[1].words[1].word, " in!");
        let without_text =
            read(r#"{"time_stamps":[{"text":"Hi","start":1,"end":2},{"text":"you","start":2,"end":3}]}"#);
        assert_eq!(without_text.unwrap()[0].text, "Hi you");
        assert!(
            read(r#"{"text":"","time_stamps":[]}"#)
                .unwrap_err()
                .contains("no segments")
        );
    }

    #[test]
    fn d48_words_get_the_punctuation_that_only_the_text_has() {
        let words = |text: &str| {
            let word = |(at, text): (usize, char)| json!({"word": text.to_string(), "start": at, "end": at + 1});
            let words: Vec<_> = "你好世界".chars().enumerate().map(word).collect();
            let segment = json!([{"start": 0, "end": 4, "text": text, "words": words}]);
            let (segments, _) = timed_text::json_segments(segment).unwrap();
            segments[0]
                .words
                .iter()
                .map(|word| word.word.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(words("你好，世界。"), ["你", "好，", "世", "界。"]);
        assert_eq!(words("你们好，世界。"), ["你", "好", "世", "界"]);
    }

    #[test]
    fn words_of_a_text_share_its_time_by_their_length() {
        let segments = read(r#"[{"start":0,"end":4,"text":"We wide-open  now."}]"#).unwrap();
        let words: Vec<_> = segments[0]
            .timed_words()
            .into_iter()
            .map(|w| (w.word, w.start, w.end))
            .collect();
        assert_eq!(
            words,
            [
                ("We".into(), 0.0, 0.471),
                (" wide-open".into(), 0.471, 2.824),
                (" now.".into(), 2.824, 4.0)
            ]
        );
    }
}
