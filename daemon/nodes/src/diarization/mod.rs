//! The nodes about a diarization, that is, who speaks when.

pub(super) mod get_speaker_segments;
pub(super) mod validate_diarization;

use serde_json::Value;

use super::{
    input::{Input, read},
    timed_text::{did_not_fail, parse_json},
};
use onceover_run::{RunContext, RunError};

/// Opens the diarization. Returns the whole file, and its segments.
fn open(context: &RunContext) -> Result<(Value, Vec<Value>), RunError> {
    let file = Input(context).file("diarization_file")?;
    let cannot = |why: String| RunError::failed(format!("the diarization {} cannot be used: {why}", file.display()));
    let json = parse_json(&read(&file)?).map_err(cannot)?;
    did_not_fail(&json).map_err(cannot)?;
    let segments = match &json {
        Value::Array(segments) => Some(segments),
        json => json.get("segments").and_then(Value::as_array),
    };
    let segments = segments
        .cloned()
        .ok_or_else(|| cannot("it has no 'segments' array".into()))?;
    Ok((json, segments))
}
