//! The outcome for the pieces of a sound file: the node's output and its `split_info.json`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::segments::AudioSegment;
use crate::{
    input::{Input, path_text},
    spoken::{Cue, millis},
};
use onceover_run::{Object, RunError};

/// Speaker of cues without one, in summaries.
const UNKNOWN: &str = "UNKNOWN";

/// The codec of WAV pieces, and of the sound they are cut from.
pub(super) const PCM: &str = "pcm_s16le";

/// How pieces are encoded.
pub(super) struct PieceForm {
    pub(super) format: String,
    pub(super) rate: u64,
    pub(super) channels: u64,
}

impl PieceForm {
    pub(super) fn from_input(input: &Input<'_>) -> Result<Self, RunError> {
        Ok(Self {
            format: input.text("output_format").unwrap_or("wav").to_owned(),
            rate: input.count("sample_rate")?,
            channels: input.count("channels")?,
        })
    }

    /// Returns the rate and the channels, as a WAV file can have them.
    pub(super) fn in_wav(&self) -> Result<(u32, u16), RunError> {
        match (u32::try_from(self.rate), u16::try_from(self.channels)) {
            (Ok(rate), Ok(channels)) if channels > 0 => Ok((rate, channels)),
            _ => Err(RunError::failed(format!(
                "a WAV file cannot have {} samples a second of {} channels",
                self.rate, self.channels
            ))),
        }
    }

    pub(super) fn codec(&self) -> &'static str {
        match self.format.as_str() {
            "flac" => "flac",
            "mp3" => "libmp3lame",
            "aac" | "m4a" => "aac",
            _ => PCM,
        }
    }
}

/// A cue with its file's size in bytes, or why there is none.
pub(super) struct AudioPiece<'a> {
    segment: &'a AudioSegment,
    result: Result<u64, NotCut>,
}

/// Why a cue has no piece.
#[derive(Debug)]
enum NotCut {
    Failed(String),
    /// The time limit, in seconds, came before.
    Late(f64),
}

impl NotCut {
    fn in_words(&self) -> String {
        match self {
            Self::Failed(why) => why.clone(),
            Self::Late(limit) => {
                format!("concurrent_timeout ({limit} s) was over before it was cut; give more time or fewer cues")
            }
        }
    }
}

impl<'a> AudioPiece<'a> {
    pub(super) fn cut(segment: &'a AudioSegment, size: u64) -> Self {
        Self {
            segment,
            result: Ok(size),
        }
    }

    pub(super) fn failed(segment: &'a AudioSegment, why: String) -> Self {
        Self {
            segment,
            result: Err(NotCut::Failed(why)),
        }
    }

    pub(super) fn late(segment: &'a AudioSegment, limit: f64) -> Self {
        Self {
            segment,
            result: Err(NotCut::Late(limit)),
        }
    }

    /// Whether running again, with the machine less busy, could cut it.
    pub(super) fn is_late(&self) -> bool {
        matches!(self.result, Err(NotCut::Late(_)))
    }
}

/// All pieces of a run.
pub(super) struct PieceOutcome<'a> {
    pub(super) folder: &'a Path,
    pub(super) form: &'a PieceForm,
    pub(super) pieces: Vec<AudioPiece<'a>>,
    /// Cues of a length that is not kept.
    pub(super) left_out: Vec<Cue>,
    pub(super) seconds: f64,
    pub(super) by_speaker: bool,
}

impl PieceOutcome<'_> {
    /// Returns the pieces that were cut, with their sizes.
    pub(super) fn cut(&self) -> impl Iterator<Item = (&AudioSegment, u64)> {
        self.pieces
            .iter()
            .filter_map(|piece| Some((piece.segment, *piece.result.as_ref().ok()?)))
    }

    /// Returns why the first missing piece is missing.
    pub(super) fn first_failure(&self) -> Option<String> {
        let why = self.pieces.iter().find_map(|piece| piece.result.as_ref().err())?;
        Some(why.in_words())
    }

    fn duration(&self) -> f64 {
        millis(self.cut().map(|(segment, _)| segment.cue.duration()).sum())
    }

    fn path(&self, segment: &AudioSegment) -> PathBuf {
        self.folder.join(&segment.file)
    }

    /// Per speaker, first heard first: count, seconds and files.
    fn speakers(&self) -> Map<String, Value> {
        let mut speakers = Map::new();
        for (segment, _) in self.cut() {
            let name = segment.cue.speaker.as_deref().unwrap_or(UNKNOWN);
            let group = speakers
                .entry(name)
                .or_insert_with(|| json!({"count": 0, "duration": 0.0, "files": []}));
            let count = group["count"].as_u64().unwrap_or(0) + 1;
            let duration = group["duration"].as_f64().unwrap_or(0.0) + segment.cue.duration();
            group["count"] = json!(count);
            group["duration"] = json!(millis(duration));
            if let Value::Array(files) = &mut group["files"] {
                files.push(json!(path_text(&self.path(segment))));
            }
        }
        speakers
    }

    /// Returns the contents of `split_info.json`.
    pub(super) fn info(&self) -> Value {
        let (cut, all) = (self.cut().count(), self.pieces.len());
        let segments: Vec<_> = self.cut().map(|(segment, size)| self.info_of(segment, size)).collect();
        let failed: Vec<_> = self
            .pieces
            .iter()
            .filter_map(|piece| {
                let error = piece.result.as_ref().err()?;
                Some(json!({"id": piece.segment.cue.id, "error": error.in_words()}))
            })
            .collect();
        let mut info = json!({
            "metadata": {
                "total_segments": all,
                "successful_segments": cut,
                "failed_segments": all - cut,
                "success_rate": cut as f64 / all as f64,
                "total_duration": self.duration(),
                "processing_time": millis(self.seconds),
                "processing_speed": millis(self.duration() / self.seconds.max(0.001)),
                "audio_format": self.form.format,
                "sample_rate": self.form.rate,
                "channels": self.form.channels,
                "output_directory": path_text(self.folder),
                "created_at": onceover_types::Timestamp::now().as_millis() / 1000,
            },
            "segments": segments,
            "failures": failed,
            "left_out": self.left_out.iter().map(left_out).collect::<Vec<_>>(),
        });
        if self.by_speaker {
            info["speaker_groups"] = Value::Object(self.speakers());
        }
        info
    }

    fn info_of(&self, segment: &AudioSegment, size: u64) -> Value {
        let cue = &segment.cue;
        let mut info = json!({
            "id": cue.id,
            "start_time": cue.start,
            "end_time": cue.end,
            "duration": millis(cue.duration()),
            "text": cue.text,
        });
        if let Some(speaker) = &cue.speaker {
            info["speaker"] = json!(speaker);
        }
        info["file_path"] = json!(path_text(&self.path(segment)));
        info["file_size"] = json!(size);
        if let Some(confidence) = &cue.confidence {
            info["confidence"] = confidence.clone();
        }
        if let Some(words) = &cue.words {
            info["words"] = words.clone();
        }
        info
    }

    pub(super) fn output(&self, audio: &Path, subtitles: &Path, info: &Path) -> Object {
        let (cut, all) = (self.cut().count(), self.pieces.len());
        let mut output = Object::from_iter([
            ("audio_segments_dir".into(), json!(path_text(self.folder))),
            ("audio_source".into(), json!(path_text(audio))),
            ("subtitle_source".into(), json!(path_text(subtitles))),
            ("total_segments".into(), json!(all)),
            ("successful_segments".into(), json!(cut)),
            ("failed_segments".into(), json!(all - cut)),
            ("left_out_segments".into(), json!(self.left_out.len())),
            ("total_duration".into(), json!(self.duration())),
            ("processing_time".into(), json!(millis(self.seconds))),
            ("audio_format".into(), json!(self.form.format)),
            ("sample_rate".into(), json!(self.form.rate)),
            ("channels".into(), json!(self.form.channels)),
            ("split_info_file".into(), json!(path_text(info))),
            ("segments_count".into(), json!(cut)),
        ]);
        if self.by_speaker {
            let mut summary = self.speakers();
            for group in summary.values_mut().filter_map(Value::as_object_mut) {
                group.remove("files");
            }
            output.insert("speaker_summary".into(), Value::Object(summary));
        }
        output
    }
}

fn left_out(cue: &Cue) -> Value {
    json!({
        "id": cue.id,
        "start_time": cue.start,
        "end_time": cue.end,
        "duration": millis(cue.duration()),
        "text": cue.text,
    })
}
