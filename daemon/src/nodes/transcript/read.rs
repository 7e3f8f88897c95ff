//! Transcript and diarization files: JSON objects or bare arrays of segments.

use serde_json::{Value, json};

use super::{align, cut, millis, text};
use crate::executor::run::Object;

/// A transcript's segment, with what was read from it and all of it.
#[derive(Debug, Clone)]
pub(in crate::nodes) struct Segment {
    pub(in crate::nodes) start: f64,
    pub(in crate::nodes) end: f64,
    pub(in crate::nodes) text: String,
    pub(in crate::nodes) speaker: Option<String>,
    pub(in crate::nodes) words: Vec<Word>,
    pub(in crate::nodes) json: Object,
}

impl Segment {
    /// Its words; where it has none, those of its text, which share its time by their length.
    pub(in crate::nodes) fn timed_words(&self) -> Vec<Word> {
        if self.words.is_empty() {
            estimated_words(&self.text, self.start, self.end)
        } else {
            self.words.clone()
        }
    }
}

/// The words of a text said from start to end, each with a share of the time by its length.
pub(in crate::nodes) fn estimated_words(text: &str, start: f64, end: f64) -> Vec<Word> {
    let words = written_words(text);
    let lengths: Vec<_> = words.iter().map(|word| word.chars().count()).collect();
    shares(start, end, &lengths)
        .into_iter()
        .zip(words)
        .map(|((start, end), word)| Word {
            word,
            start,
            end,
            probability: None,
            speaker: None,
        })
        .collect()
}

/// What of a text is said as one, with the blank before it.
fn written_words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for token in text::tokens(text) {
        match words.last_mut() {
            Some(word) if !token.breaks => word.push_str(token.text),
            _ => {
                let blank = if token.spaced { " " } else { "" };
                words.push(format!("{blank}{}", token.text));
            }
        }
    }
    words
}

/// A span of time shared out by weight; equal shares where all weights are 0.
pub(in crate::nodes) fn shares(start: f64, end: f64, weights: &[usize]) -> Vec<(f64, f64)> {
    let total: usize = weights.iter().sum();
    let weight = |weight: usize| if total == 0 { 1 } else { weight };
    let all = if total == 0 { weights.len() } else { total } as f64;
    let mut seen = 0;
    let mut from = start;
    weights
        .iter()
        .map(|share| {
            seen += weight(*share);
            let to = millis(start + (end - start) * seen as f64 / all).clamp(from, end.max(from));
            let span = (from, to);
            from = to;
            span
        })
        .collect()
}

/// One word; a leading blank belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::nodes) struct Word {
    pub(in crate::nodes) word: String,
    pub(in crate::nodes) start: f64,
    pub(in crate::nodes) end: f64,
    /// How sure the transcriber was, 0 to 1, where it says.
    pub(in crate::nodes) probability: Option<f64>,
    pub(in crate::nodes) speaker: Option<String>,
}

impl Word {
    pub(in crate::nodes) fn middle(&self) -> f64 {
        f64::midpoint(self.start, self.end)
    }

    pub(in crate::nodes) fn json(&self) -> Value {
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

/// The text of words one after another.
pub(in crate::nodes) fn text_of(words: &[Word]) -> String {
    text::joined(words.iter().map(|word| word.word.as_str()))
}

/// Words as outputs list them.
pub(in crate::nodes) fn words_json(words: &[Word]) -> Value {
    words.iter().map(Word::json).collect()
}

/// Who speaks from when to when.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::nodes) struct Turn {
    pub(in crate::nodes) start: f64,
    pub(in crate::nodes) end: f64,
    pub(in crate::nodes) speaker: String,
    /// How sure the diarization was, where it says.
    pub(in crate::nodes) confidence: Option<f64>,
}

/// JSON text, with or without a byte-order mark. The error is a sentence's second half, as of all here.
pub(in crate::nodes) fn parse_json(bytes: &[u8]) -> Result<Value, String> {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    serde_json::from_slice(text).map_err(|why| format!("it is not JSON: {why}"))
}

/// The segments of a transcript; at least one. Where a transcriber lists only a text and its words (`time_stamps`), they are
/// cut to cues.
pub(in crate::nodes) fn transcript(mut json: Value) -> Result<Vec<Segment>, String> {
    if let Some(segments) = only_words(&json) {
        json = segments;
    }
    segments_of(json, &["segments"])?
        .into_iter()
        .enumerate()
        .map(|(position, json)| segment(json).map_err(|why| format!("its segment {} {why}", position + 1)))
        .collect()
}

fn only_words(json: &Value) -> Option<Value> {
    let object = json.as_object().filter(|object| !object.contains_key("segments"))?;
    let listed = object.get("time_stamps")?.as_array()?;
    let words: Vec<_> = listed.iter().filter_map(|json| word(json, 0.0, 0.0)).collect();
    let words = in_order(words);
    let said = text_of(&words);
    let text = object.get("text").and_then(Value::as_str).unwrap_or(&said);
    let mut aligned = align::align(&words, text);
    if aligned.ratio < align::LEAST_ALIKE {
        aligned = align::align(&words, &said);
    }
    let words: Vec<_> = aligned.respelled(&words).into_iter().map(|(word, _)| word).collect();
    let language = object.get("language").and_then(Value::as_str).unwrap_or("en");
    let cues = cut::cues(&words, language, &cut::Limits::default());
    let segment = |(cue, id): (&cut::Cue, usize)| {
        let words = &words[cue.words.clone()];
        json!({"id": id, "start": cue.start, "end": cue.end, "text": cut::text(words), "words": words_json(words)})
    };
    Some(cues.iter().zip(1..).map(segment).collect())
}

/// Words whose times never go back; those that do are put right.
pub(in crate::nodes) fn in_order(mut words: Vec<Word>) -> Vec<Word> {
    let mut reached = f64::NEG_INFINITY;
    for word in &mut words {
        word.start = word.start.max(reached);
        word.end = word.end.max(word.start);
        reached = word.start;
    }
    words
}

/// The turns of a diarization; at least one, each longer than nothing and with a speaker.
pub(in crate::nodes) fn diarization(json: Value) -> Result<Vec<Turn>, String> {
    turns(json, |speaker| speaker.ok_or_else(|| "has no 'speaker'".to_owned()))
}

/// As `diarization`, where a turn without a speaker is that of the given one.
pub(in crate::nodes) fn diarization_or(json: Value, unknown: &str) -> Result<Vec<Turn>, String> {
    turns(json, |speaker| Ok(speaker.unwrap_or_else(|| unknown.to_owned())))
}

fn turns(json: Value, label: impl Fn(Option<String>) -> Result<String, String>) -> Result<Vec<Turn>, String> {
    let turn = |json: &Value| {
        let (start, end) = times(json)?;
        if end == start {
            return Err(format!("ends where it starts ({start})"));
        }
        let confidence = ["confidence", "speaker_confidence"]
            .iter()
            .find_map(|name| json.get(*name).and_then(Value::as_f64));
        Ok(Turn {
            start,
            end,
            speaker: label(speaker(json))?,
            confidence,
        })
    };
    turn_list(json)?
        .iter()
        .enumerate()
        .map(|(position, json)| turn(json).map_err(|why: String| format!("its segment {} {why}", position + 1)))
        .collect()
}

/// The segments of a diarization as they are; at least one.
pub(in crate::nodes) fn turn_list(json: Value) -> Result<Vec<Value>, String> {
    did_not_fail(&json)?;
    segments_of(json, &["speaker_enhanced_segments", "segments"])
}

/// An error for the record of a diarization that gave none.
pub(in crate::nodes) fn did_not_fail(json: &Value) -> Result<(), String> {
    if json.get("success") == Some(&Value::Bool(false)) {
        return Err("it is the record of a diarization that failed".into());
    }
    Ok(())
}

/// A speaker's label, unless there is none or it is empty.
pub(in crate::nodes) fn speaker(json: &Value) -> Option<String> {
    let label = json.get("speaker").and_then(Value::as_str);
    label.filter(|label| !label.is_empty()).map(Into::into)
}

fn segments_of(json: Value, fields: &[&str]) -> Result<Vec<Value>, String> {
    let segments = match json {
        Value::Array(segments) => segments,
        Value::Object(mut object) => fields
            .iter()
            .find_map(|field| match object.get_mut(*field).map(Value::take) {
                Some(Value::Array(segments)) => Some(segments),
                _ => None,
            })
            .ok_or_else(|| format!("it has no '{}' array", fields[fields.len() - 1]))?,
        _ => return Err("it is neither an object with 'segments' nor an array".into()),
    };
    if segments.is_empty() {
        return Err("it has no segments".into());
    }
    Ok(segments)
}

fn segment(json: Value) -> Result<Segment, String> {
    let (start, end) = times(&json)?;
    let Value::Object(json) = json else {
        return Err("is no object".into());
    };
    let words = json.get("words").and_then(Value::as_array).into_iter().flatten();
    let words: Vec<_> = words.filter_map(|json| word(json, start, end)).collect();
    let text = json
        .get("text")
        .and_then(Value::as_str)
        .map_or_else(|| text_of(&words), Into::into);
    Ok(Segment {
        start,
        end,
        speaker: speaker(&Value::Object(json.clone())),
        words: spelled(words, &text),
        text,
        json,
    })
}

/// Words as the text of their segment spells them, with the punctuation that some transcribers have only there. Where the two
/// differ in more than that the words stay.
fn spelled(words: Vec<Word>, text: &str) -> Vec<Word> {
    let visible = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let said: String = words.iter().map(|word| word.word.as_str()).collect();
    if words.is_empty() || visible(&said) == visible(text) {
        return words;
    }
    let aligned = align::align(&words, text);
    let spelled = aligned.respelled(&words);
    let is_only_spelling = aligned.ratio == 1.0 && spelled.iter().all(|(word, _)| !word.word.is_empty());
    if is_only_spelling {
        spelled.into_iter().map(|(word, _)| word).collect()
    } else {
        words
    }
}

/// A word the aligner gave no times lies where its segment lies.
pub(in crate::nodes) fn word(json: &Value, start: f64, end: f64) -> Option<Word> {
    let number = |name: &str| json.get(name).and_then(Value::as_f64);
    let from = number("start").unwrap_or(start);
    Some(Word {
        word: json.get("word").or_else(|| json.get("text"))?.as_str()?.into(),
        start: from,
        end: number("end").unwrap_or(end).max(from),
        probability: number("probability").or_else(|| number("confidence")),
        speaker: speaker(json),
    })
}

fn times(json: &Value) -> Result<(f64, f64), String> {
    let time = |name: &str| {
        json.get(name)
            .and_then(Value::as_f64)
            .ok_or_else(|| format!("has no number '{name}'"))
    };
    let (start, end) = (time("start")?, time("end")?);
    if end < start {
        return Err(format!("ends ({end}) before it starts ({start})"));
    }
    Ok((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Segment>, String> {
        transcript(parse_json(text.as_bytes())?)
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
            ("", "not JSON"),
            ("{}", "'segments'"),
            ("[]", "no segments"),
            ("[3]", "segment 1 has no number 'start'"),
            (r#"[{"start":0}]"#, "segment 1 has no number 'end'"),
            (r#"[{"start":2,"end":1}]"#, "before it starts"),
            ("3", "neither"),
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
            let segments = transcript(json!([{"start": 0, "end": 4, "text": text, "words": words}])).unwrap();
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
    fn a_diarization_prefers_the_enhanced_segments() {
        let read = |text: &str| diarization(parse_json(text.as_bytes()).unwrap());
        let text = r#"{"success":true,"segments":[{"start":0,"end":1,"speaker":"A"}],
            "speaker_enhanced_segments":[{"start":0,"end":1,"speaker":"B"}]}"#;
        assert_eq!(read(text).unwrap()[0].speaker, "B");
        let failed = r#"{"success":false,"error":{"message":"x"}}"#;
        assert!(read(failed).unwrap_err().contains("failed"));
        let nobody = r#"[{"start":0,"end":1}]"#;
        assert!(read(nobody).unwrap_err().contains("speaker"));
        assert_eq!(
            diarization_or(parse_json(nobody.as_bytes()).unwrap(), "X").unwrap()[0].speaker,
            "X"
        );
        assert!(
            read(r#"[{"start":1,"end":1,"speaker":"A"}]"#)
                .unwrap_err()
                .contains("ends where")
        );
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
