//! Cues of a subtitle file, SRT or JSON, as nodes that cut by subtitles read them.

use serde_json::Value;
use std::path::Path;

/// One cue; times in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::nodes) struct Cue {
    pub(in crate::nodes) id: u64,
    pub(in crate::nodes) start: f64,
    pub(in crate::nodes) end: f64,
    pub(in crate::nodes) text: String,
    pub(in crate::nodes) speaker: Option<String>,
    pub(in crate::nodes) confidence: Option<Value>,
    pub(in crate::nodes) words: Option<Value>,
}

impl Cue {
    pub(in crate::nodes) fn duration(&self) -> f64 {
        self.end - self.start
    }
}

/// Reads a subtitle file's bytes; `.json` by its suffix, else SRT. The error is a sentence's second half.
pub(in crate::nodes) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Cue>, String> {
    let is_json = path
        .extension()
        .is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"));
    let cues = if is_json { parse_json(bytes) } else { parse_srt(bytes) }?;
    if cues.is_empty() {
        return Err("it has no cues".into());
    }
    Ok(cues)
}

/// In time order, numbered from 1; cues without text or that end before they start are left out.
fn parse_srt(bytes: &[u8]) -> Result<Vec<Cue>, String> {
    let subtitles = subcue::parse_srt(bytes).map_err(|why| format!("it is not SRT: {why}"))?;
    let mut cues: Vec<_> = subtitles
        .cues
        .into_iter()
        .filter(|cue| cue.start <= cue.end && !cue.text.trim().is_empty())
        .collect();
    cues.sort_by_key(|cue| cue.start);
    let cue = |(position, cue): (usize, subcue::Cue)| {
        let (speaker, text) = split_speaker(cue.text.trim());
        Cue {
            id: position as u64 + 1,
            start: cue.start.0 as f64 / 1000.0,
            end: cue.end.0 as f64 / 1000.0,
            text: text.into(),
            speaker: speaker.map(Into::into),
            confidence: None,
            words: None,
        }
    };
    Ok(cues.into_iter().enumerate().map(cue).collect())
}

/// The `SPEAKER_xx` of `[SPEAKER_xx] text`. Other words in brackets, such as `[music]`, are text.
fn split_speaker(text: &str) -> (Option<&str>, &str) {
    let tag = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match tag {
        Some((label, rest))
            if label
                .strip_prefix("SPEAKER_")
                .is_some_and(|id| !id.is_empty() && id.chars().all(|c| c.is_alphanumeric() || c == '_')) =>
        {
            (Some(label), rest.trim_start())
        }
        _ => (None, text),
    }
}

/// An object with `segments`, or an array, in the file's order.
fn parse_json(bytes: &[u8]) -> Result<Vec<Cue>, String> {
    let json = crate::nodes::transcript::read::parse_json(bytes)?;
    let (segments, is_array) = match &json {
        Value::Array(segments) => (segments, true),
        Value::Object(object) => match object.get("segments") {
            Some(Value::Array(segments)) => (segments, false),
            _ => return Err("it has no 'segments' array".into()),
        },
        _ => return Err("it is neither an object with 'segments' nor an array".into()),
    };
    segments
        .iter()
        .enumerate()
        .map(|(position, segment)| cue_of(segment, position as u64 + 1, is_array))
        .collect()
}

fn cue_of(segment: &Value, position: u64, is_array: bool) -> Result<Cue, String> {
    let field = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| segment.get(*name).filter(|value| !value.is_null()))
    };
    let time = |names: &[&str]| {
        field(names)
            .and_then(Value::as_f64)
            .ok_or_else(|| format!("its segment {position} has no number '{}'", names[names.len() - 1]))
    };
    let text = |name: &str| field(&[name]).and_then(Value::as_str).map(str::trim);
    let (start, end, confidence): (&[_], &[_], _) = if is_array {
        (&["startTime", "start"], &["endTime", "end"], "confidence")
    } else {
        (&["start"], &["end"], "speaker_confidence")
    };
    let id = field(&["id"]).and_then(Value::as_u64).filter(|_| !is_array);
    let (tag, said) = split_speaker(text("text").unwrap_or_default());
    Ok(Cue {
        id: id.unwrap_or(position),
        start: time(start)?,
        end: time(end)?,
        text: said.into(),
        speaker: text("speaker")
            .or(tag)
            .filter(|speaker| !speaker.is_empty())
            .map(Into::into),
        confidence: field(&[confidence]).cloned(),
        words: field(&["words"]).cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(cues: &[Cue]) -> Vec<(u64, f64, f64, Option<&str>, &str)> {
        cues.iter()
            .map(|cue| (cue.id, cue.start, cue.end, cue.speaker.as_deref(), cue.text.as_str()))
            .collect()
    }

    #[test]
    fn d43_srt_cues_are_sorted_renumbered_and_know_their_speaker() {
        let srt = "\u{feff}7\r\n00:00:03,000 --> 00:00:04,500\r\n[SPEAKER_01] two\r\nlines\r\n\r\n\
            8\r\n0:00:01.000 --> 0:00:01.000\r\n[music] la\r\n\r\n\
            9\r\n00:00:09,000 --> 00:00:08,000\r\nbackwards\r\n\r\n";
        let cues = parse("a.srt".as_ref(), srt.as_bytes()).unwrap();
        assert_eq!(
            short(&cues),
            [
                (1, 1.0, 1.0, None, "[music] la"),
                (
                    2,
                    3.0,
                    4.5,
                    Some("SPEAKER_01"),
                    "two\r\nlines".replace('\r', "").as_str()
                ),
            ]
        );
    }

    #[test]
    fn json_cues_come_from_segments_or_an_array() {
        let object =
            r#"{"segments":[{"id":5,"start":1,"end":2.5,"text":" a ","speaker":"Dr. Lee","speaker_confidence":0.5}]}"#;
        let cues = parse("a.JSON".as_ref(), object.as_bytes()).unwrap();
        assert_eq!(short(&cues), [(5, 1.0, 2.5, Some("Dr. Lee"), "a")]);
        assert_eq!(cues[0].confidence, Some(0.5.into()));
        let array = r#"[{"id":9,"startTime":0.5,"endTime":1,"text":"[SPEAKER_02] b"}]"#;
        let cues = parse("a.json".as_ref(), array.as_bytes()).unwrap();
        assert_eq!(short(&cues), [(1, 0.5, 1.0, Some("SPEAKER_02"), "b")]);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let error = |path: &str, text: &str| parse(path.as_ref(), text.as_bytes()).unwrap_err();
        assert!(error("a.srt", "").contains("no cues"));
        assert!(error("a.json", "{").contains("not JSON"));
        assert!(error("a.json", "{}").contains("segments"));
        assert!(error("a.json", r#"[{"start":1}]"#).contains("segment 1 has no number 'end'"));
    }
}
