//! Clips of speech, one a cue: `indextts.generate_speech` makes them, `ffmpeg.mix_dub` lays them onto a clock.

use onceover_catalog::is_empty_value;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{input::Input, spoken::Cue, timed_text};
use onceover_run::{
    RunContext, RunError,
    warnings::{Code, Warning},
};

/// The sound of one cue. Times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Clip {
    #[serde(default)]
    pub(crate) id: Option<Value>,
    /// When the cue is shown, or spoken in the original.
    pub(crate) start: f64,
    pub(crate) end: f64,
    #[serde(default)]
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) speaker: Option<String>,
    /// The file with its sound; `None` if it has no sound.
    #[serde(default, alias = "file", alias = "file_path")]
    pub(crate) audio_path: Option<String>,
    /// Where in the file it begins.
    #[serde(default)]
    pub(crate) offset: f64,
    /// How long it is; to the end of the file if omitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) duration: Option<f64>,
}

/// Returns the cues of a parameter that is a file of them or an array.
pub(crate) async fn cues(context: &RunContext, parameter: &str) -> Result<Vec<Cue>, RunError> {
    let input = Input(context);
    let value = input.value(parameter).filter(|value| !is_empty_value(value));
    match value {
        None => Err(input.missing(parameter)),
        Some(Value::String(_)) => timed_text::cues_of(context, &input.file(parameter)?).await,
        Some(inline) => {
            let name = format!("input_data.{parameter}");
            let (cues, notes) = timed_text::cues(inline.to_string().as_bytes(), Some("utf-8"))
                .map_err(|why| RunError::failed(format!("{name} cannot be used: {why}")))?;
            notes.tell(context, &name);
            Ok(cues)
        }
    }
}

/// Returns the clips of a file that names them, or of an array. The error is a sentence's second half.
pub(crate) fn parse(json: Value) -> Result<Vec<Clip>, String> {
    let listed = match json {
        Value::Array(listed) => listed,
        Value::Object(mut object) => match object.remove("clips") {
            Some(Value::Array(listed)) => listed,
            _ => return Err("it has no 'clips' array".into()),
        },
        _ => return Err("it is neither an object with 'clips' nor an array".into()),
    };
    if listed.is_empty() {
        return Err("it has no clips".into());
    }
    let clip = |(position, json): (usize, Value)| {
        let clip: Clip =
            serde_json::from_value(json).map_err(|why| format!("its clip {} cannot be read: {why}", position + 1))?;
        let times = [Some(clip.start), Some(clip.end), Some(clip.offset), clip.duration];
        if times.into_iter().flatten().any(|time| !(0.0..1e7).contains(&time)) || clip.end < clip.start {
            return Err(format!("its clip {} has impossible times", position + 1));
        }
        Ok(clip)
    };
    listed.into_iter().enumerate().map(clip).collect()
}

/// Returns what a file of clips holds.
pub(crate) fn to_json(clips: &[Clip]) -> Value {
    json!({"clips": clips})
}

/// Warns of cues that have no sound in the result.
pub(crate) fn warn_left_out(context: &RunContext, ids: &[String], all: usize, why: &str) {
    const NAMED: usize = 10;
    if ids.is_empty() {
        return;
    }
    let more = if ids.len() > NAMED { ", ..." } else { "" };
    let named = ids[..ids.len().min(NAMED)].join(", ");
    let text = format!("{} of {all} cues have no sound ({why}): {named}{more}", ids.len());
    context.warnings.add(
        Warning::new(Code::LinesLeftOut, text)
            .with("lines", ids.len())
            .with("of", all),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_clips_is_read_as_it_is_written() {
        let clip = json!({"id": 1, "start": 0.5, "end": 2, "text": "Hi", "audio_path": "speech.wav", "offset": 3.5, "duration": 1.2});
        let clips = parse(json!({"clips": [clip, {"start": 3, "end": 4}]})).unwrap();
        assert_eq!(
            (clips[0].offset, clips[0].duration, clips[1].audio_path.as_deref()),
            (3.5, Some(1.2), None)
        );
        assert_eq!(parse(to_json(&clips)).unwrap(), clips);
        for (wrong, why) in [
            (json!({}), "no 'clips'"),
            (json!([]), "no clips"),
            (json!([{"start": 1}]), "clip 1"),
            (json!([{"start": 2, "end": 1}]), "impossible"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
