//! Diarizations: who speaks from when to when.

use serde_json::Value;

use super::{
    json::{seconds, speaker},
    notes::{Notes, Skipped},
};
use crate::spoken::Turn;

/// Returns the turns of a diarization; at least one. One without a speaker is that of `unknown`, or is left out where
/// that is none; one of no length is passed over, and one without times is left out and named.
pub(crate) fn turns(json: Value, unknown: Option<&str>) -> Result<(Vec<Turn>, Notes), String> {
    did_not_fail(&json)?;
    let items = match json {
        Value::Array(items) => items,
        Value::Object(mut object) => ["speaker_enhanced_segments", "segments"]
            .into_iter()
            .find_map(|name| match object.get_mut(name).map(Value::take) {
                Some(Value::Array(items)) => Some(items),
                _ => None,
            })
            .ok_or("it has no 'segments' array")?,
        _ => return Err("it is neither an object with 'segments' nor an array".into()),
    };
    if items.is_empty() {
        return Err("it has no segments".into());
    }
    let mut notes = Notes::default();
    let (mut turns, mut empty) = (Vec::with_capacity(items.len()), 0);
    for (record, item) in (1..).zip(&items) {
        match turn(item, unknown) {
            Ok(turn) if turn.end == turn.start => empty += 1,
            Ok(turn) => turns.push(turn),
            Err(why) => notes.skip(Skipped {
                record,
                line: None,
                why,
            }),
        }
    }
    notes.read = turns.len();
    if turns.is_empty() && empty == items.len() {
        return Err("each of its segments ends where it starts".into());
    }
    notes.need_any("segments")?;
    Ok((turns, notes))
}

fn turn(json: &Value, unknown: Option<&str>) -> Result<Turn, String> {
    let (start, end) = seconds(json);
    let start = start.ok_or("has no number 'start'")?;
    let end = end.ok_or("has no number 'end'")?;
    if end < start {
        return Err(format!("ends ({end}) before it starts ({start})"));
    }
    let confidence = ["confidence", "speaker_confidence"]
        .iter()
        .find_map(|name| json.get(*name).and_then(Value::as_f64));
    Ok(Turn {
        start,
        end,
        speaker: speaker(json)
            .or_else(|| unknown.map(Into::into))
            .ok_or("has no 'speaker'")?,
        confidence,
    })
}

/// Returns an error for the record of a diarization that failed.
pub(crate) fn did_not_fail(json: &Value) -> Result<(), String> {
    if json.get("success") == Some(&Value::Bool(false)) {
        return Err("it is the record of a diarization that failed".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_diarization_prefers_the_enhanced_segments() {
        let of = |json: Value| turns(json, None).map(|(turns, _)| turns);
        let both = json!({"success": true, "segments": [{"start": 0, "end": 1, "speaker": "A"}],
            "speaker_enhanced_segments": [{"start": 0, "end": 1, "speaker": "B"}]});
        assert_eq!(of(both).unwrap()[0].speaker, "B");
        assert!(of(json!({"success": false})).unwrap_err().contains("failed"));
        let nobody = json!([{"start": 0, "end": 1}]);
        assert!(of(nobody.clone()).unwrap_err().contains("speaker"));
        assert_eq!(turns(nobody, Some("X")).unwrap().0[0].speaker, "X");
    }

    #[test]
    fn turns_of_no_length_are_passed_over_and_broken_ones_named() {
        let (turns, notes) = turns(
            json!([{"start": 1, "end": 1, "speaker": "A"}, {"start": 2, "end": 1, "speaker": "A"}, {"start": 1, "end": 2, "speaker": 3}]),
            None,
        )
        .unwrap();
        assert_eq!((turns.len(), turns[0].speaker.as_str(), notes.skipped()), (1, "3", 1));
        let empty = super::turns(json!([{"start": 1, "end": 1, "speaker": "A"}]), None).unwrap_err();
        assert!(empty.contains("ends where"), "{empty}");
    }
}
