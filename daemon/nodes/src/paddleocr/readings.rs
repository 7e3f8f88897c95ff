//! What `paddleocr.perform_ocr` has read, by frame: the file of the older system, `[text, box]` by number of frame, and
//! the fields beside it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::timed_text::shown_lines;

/// What was read in a frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OcrReading {
    /// Trimmed; lines of the picture are lines.
    pub(super) text: String,
    /// Of the box around it.
    pub(super) corners: Vec<[i64; 2]>,
    /// How sure the reader was, 0 to 1; `None` where it does not say.
    pub(super) confidence: Option<f64>,
    /// The frame whose picture was read: this one, or another one that looks the same.
    pub(super) read: u64,
    /// The first frame of those around it between which the picture did not change; `None` where that is not known.
    pub(super) stretch: Option<u64>,
}

/// Returns the readings of a file by number of frame, without empty ones. The error is a sentence's second half.
pub(super) fn parse(bytes: &[u8]) -> Result<BTreeMap<u64, OcrReading>, String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|why| format!("it is not JSON: {why}"))?;
    let Value::Object(frames) = json else {
        return Err("it is not an object with a frame's number, text and box".into());
    };
    if frames.is_empty() {
        return Err("it has no frames: no text was read".into());
    }
    let mut readings = BTreeMap::new();
    for (key, value) in frames {
        let number = key
            .trim()
            .parse()
            .map_err(|_| format!("its key '{key}' is not the number of a frame"))?;
        let text = value
            .get(0)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("its frame {key} is not [text, box]"))?;
        let lines = shown_lines(text);
        if lines.is_empty() {
            continue;
        }
        let reading = OcrReading {
            text: lines.join("\n"),
            corners: value.get(1).and_then(corners).unwrap_or_default(),
            confidence: value
                .get(2)
                .and_then(Value::as_f64)
                .filter(|it| (0.0..=1.0).contains(it)),
            read: value.get(3).and_then(Value::as_u64).unwrap_or(number),
            stretch: value.get(4).and_then(Value::as_u64),
        };
        readings.insert(number, reading);
    }
    Ok(readings)
}

/// Whole pixels; None for what is not a list of points.
fn corners(json: &Value) -> Option<Vec<[i64; 2]>> {
    json.as_array()?
        .iter()
        .map(|point| match point.as_array()?.as_slice() {
            [x, y] => Some([x.as_f64()? as i64, y.as_f64()? as i64]),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_are_none_say_why() {
        let error = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(error("{").contains("not JSON"));
        assert!(error("[]").contains("not an object"));
        assert!(error("{}").contains("no text was read"));
        assert!(error(r#"{"one": ["a", []]}"#).contains("'one' is not the number"));
        assert!(error(r#"{"1": "a"}"#).contains("frame 1 is not [text, box]"));
    }

    #[test]
    fn a_file_of_the_older_system_and_one_that_tells_more_are_read() {
        let read =
            parse(br#"{"1": [" a ", [[1, "x"]]], "2": [" ", []], "7": ["b \n c", [[1.9, 2]], 0.5, 6, 4]}"#).unwrap();
        let older = OcrReading {
            text: "a".into(),
            corners: Vec::new(),
            confidence: None,
            read: 1,
            stretch: None,
        };
        assert_eq!(read[&1], older, "a malformed box is an empty one");
        let newer = OcrReading {
            text: "b\nc".into(),
            corners: vec![[1, 2]],
            confidence: Some(0.5),
            read: 6,
            stretch: Some(4),
        };
        assert_eq!(read[&7], newer);
        assert_eq!(read.len(), 2);
    }
}
