//! Transcript and diarization files: JSON objects or bare arrays of segments.

use serde_json::Value;

/// A transcript's segment, with what was read from it and all of it.
#[derive(Debug, Clone)]
pub(in crate::nodes) struct Segment {
    pub(in crate::nodes) start: f64,
    pub(in crate::nodes) end: f64,
    pub(in crate::nodes) text: String,
    pub(in crate::nodes) words: Vec<Word>,
    pub(in crate::nodes) json: Value,
}

/// One word; a leading blank belongs to it.
#[derive(Debug, Clone)]
pub(in crate::nodes) struct Word {
    pub(in crate::nodes) word: String,
    pub(in crate::nodes) start: f64,
    pub(in crate::nodes) end: f64,
    /// How sure the transcriber was, 0 to 1, where it says.
    pub(in crate::nodes) probability: Option<f64>,
}

/// Who speaks from when to when.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::nodes) struct Turn {
    pub(in crate::nodes) start: f64,
    pub(in crate::nodes) end: f64,
    pub(in crate::nodes) speaker: String,
}

/// JSON text, with or without a byte-order mark. The error is a sentence's second half, as of all here.
pub(in crate::nodes) fn parse_json(bytes: &[u8]) -> Result<Value, String> {
    let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    serde_json::from_slice(text).map_err(|why| format!("it is not JSON: {why}"))
}

/// The segments of a transcript file; at least one.
pub(in crate::nodes) fn parse_transcript(bytes: &[u8]) -> Result<Vec<Segment>, String> {
    let segments = segments_of(parse_json(bytes)?, &["segments"])?;
    segments
        .into_iter()
        .enumerate()
        .map(|(position, json)| segment(json).map_err(|why| format!("its segment {} {why}", position + 1)))
        .collect()
}

/// The turns of a diarization file; at least one.
pub(in crate::nodes) fn parse_diarization(bytes: &[u8]) -> Result<Vec<Turn>, String> {
    let json = parse_json(bytes)?;
    if json.get("success") == Some(&Value::Bool(false)) {
        return Err("it is the record of a diarization that failed".into());
    }
    let segments = segments_of(json, &["speaker_enhanced_segments", "segments"])?;
    let turn = |(position, json): (usize, Value)| -> Result<Turn, String> {
        let (start, end) = times(&json).map_err(|why| format!("its segment {} {why}", position + 1))?;
        let speaker = json
            .get("speaker")
            .and_then(Value::as_str)
            .filter(|speaker| !speaker.is_empty());
        Ok(Turn {
            start,
            end,
            speaker: speaker
                .ok_or_else(|| format!("its segment {} has no 'speaker'", position + 1))?
                .into(),
        })
    };
    segments.into_iter().enumerate().map(turn).collect()
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
    let words = json.get("words").and_then(Value::as_array).into_iter().flatten();
    Ok(Segment {
        start,
        end,
        text: json.get("text").and_then(Value::as_str).unwrap_or_default().into(),
        words: words.filter_map(|json| word(json, start, end)).collect(),
        json,
    })
}

/// A word the aligner gave no times lies where its segment lies.
fn word(json: &Value, start: f64, end: f64) -> Option<Word> {
    let number = |name: &str| json.get(name).and_then(Value::as_f64);
    Some(Word {
        word: json.get("word")?.as_str()?.into(),
        start: number("start").unwrap_or(start),
        end: number("end").unwrap_or(end),
        probability: number("probability").or_else(|| number("confidence")),
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

    #[test]
    fn a_transcript_is_an_object_or_an_array_of_segments() {
        for text in [
            r#"{"metadata":{},"segments":[{"start":0,"end":1,"text":" a"}]}"#,
            r#"[{"start":0,"end":1,"text":" a"}]"#,
            "\u{feff}[{\"start\":0,\"end\":1,\"text\":\" a\"}]",
        ] {
            assert_eq!(parse_transcript(text.as_bytes()).unwrap()[0].text, " a");
        }
        for (text, why) in [
            ("", "not JSON"),
            ("{}", "'segments'"),
            ("[]", "no segments"),
            (r#"[{"start":0}]"#, "segment 1 has no number 'end'"),
            (r#"[{"start":2,"end":1}]"#, "before it starts"),
            ("3", "neither"),
        ] {
            let error = parse_transcript(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_diarization_prefers_the_enhanced_segments() {
        let text = r#"{"success":true,"segments":[{"start":0,"end":1,"speaker":"A"}],
            "speaker_enhanced_segments":[{"start":0,"end":1,"speaker":"B"}]}"#;
        assert_eq!(parse_diarization(text.as_bytes()).unwrap()[0].speaker, "B");
        let failed = r#"{"success":false,"error":{"message":"x"}}"#;
        assert!(parse_diarization(failed.as_bytes()).unwrap_err().contains("failed"));
        assert!(
            parse_diarization(br#"[{"start":0,"end":1}]"#)
                .unwrap_err()
                .contains("speaker")
        );
    }
}
