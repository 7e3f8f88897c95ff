//! The contract, row by row, in the order of its sections.

mod addresses;
mod callbacks;
mod files;
mod lifecycle;
mod names;
mod records;
mod status;
mod submit;
mod system;

use serde_json::{Value, json};

use crate::check::Check;

/// A node that is done at once from what the request holds.
pub const MERGE: &str = "wservice.merge_speaker_segments";
/// Another one, which fails where nothing is long enough.
pub const PREPARE: &str = "wservice.prepare_tts_segments";
/// A node that reads a file and writes one.
pub const AUDIO: &str = "ffmpeg.extract_audio";

pub fn merge_input() -> Value {
    json!({
        "segments_data": [{"start": 0.0, "end": 2.0, "text": "We start now."}],
        "speaker_segments_data": [{"start": 0.0, "end": 2.0, "speaker": "SPEAKER_00"}],
    })
}

pub fn prepare_input() -> Value {
    json!({"segments_data": [{"start": 0.0, "end": 5.0, "text": "We start now, and we go on."}]})
}

/// Input that [`PREPARE`] takes and fails on.
pub fn too_short() -> Value {
    json!({"segments_data": [{"start": 0.0, "end": 0.5, "text": "Ok."}], "keep_short": false})
}

/// Every check, in order.
pub fn all_checks() -> Vec<Check> {
    [
        submit::checks(),
        status::checks(),
        lifecycle::checks(),
        system::checks(),
        names::checks(),
        callbacks::checks(),
        files::checks(),
        addresses::checks(),
        records::checks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
