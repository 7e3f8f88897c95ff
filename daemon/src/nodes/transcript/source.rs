//! Where a transcript or a diarization comes from: inline data of the request, else a file it names, else an earlier
//! stage.

use serde_json::Value;

use super::read::{Segment, Turn, parse_json, transcript};
use crate::{
    executor::run::{RunContext, RunError},
    nodes::input::{Input, read, stem},
    paths::Opened,
};

/// JSON that has been found but not read.
pub(in crate::nodes) struct Source {
    content: Content,
    /// `input_data.segments_file`, or the name of a stage.
    pub(in crate::nodes) name: String,
    /// The stage it came from, if it did.
    pub(in crate::nodes) stage: Option<String>,
    /// The file's name without suffix.
    pub(in crate::nodes) stem: Option<String>,
}

enum Content {
    Inline(Value),
    File(Opened),
}

impl Source {
    /// Finds it by a node's two parameters, the one for data and the one for a file.
    pub(in crate::nodes) fn find(context: &RunContext, data: &str, file: &str) -> Result<Self, RunError> {
        let input = Input(context);
        let from_stage = |name: &str| input.source_stage(name).is_some();
        let given = |name: &str| input.value(name).is_some_and(|value| !value.is_null());
        let asked = [data, file].into_iter().find(|name| given(name) && !from_stage(name));
        let name = asked
            .or_else(|| [data, file].into_iter().find(|name| given(name)))
            .unwrap_or(file);
        match input.value(name) {
            Some(inline) if name == data => {
                let stage = input.source_stage(name).map(ToOwned::to_owned);
                Ok(Self {
                    content: Content::Inline(inline.clone()),
                    name: stage.clone().unwrap_or_else(|| format!("input_data.{name}")),
                    stage,
                    stem: None,
                })
            }
            _ => Self::file(context, name),
        }
    }

    /// The file of one parameter.
    pub(in crate::nodes) fn file(context: &RunContext, name: &str) -> Result<Self, RunError> {
        let input = Input(context);
        let stage = input.source_stage(name).map(ToOwned::to_owned);
        Ok(Self {
            content: Content::File(input.file(name)?),
            name: stage.clone().unwrap_or_else(|| format!("input_data.{name}")),
            stage,
            stem: input.text(name).and_then(stem),
        })
    }

    /// An earlier stage's data or file.
    pub(in crate::nodes) fn of_stage(
        context: &RunContext,
        stage: &str,
        field: &str,
        value: &Value,
    ) -> Result<Self, RunError> {
        let (content, stem) = match value {
            Value::String(path) => (Content::File(Input(context).open(field, path)?), stem(path)),
            data => (Content::Inline(data.clone()), None),
        };
        Ok(Self {
            content,
            name: stage.to_owned(),
            stage: Some(stage.to_owned()),
            stem,
        })
    }

    /// Reads it; the error names where it came from. May take long.
    pub(in crate::nodes) fn parse<T>(self, parse: impl FnOnce(Value) -> Result<T, String>) -> Result<T, RunError> {
        let (json, file) = match self.content {
            Content::Inline(json) => (Ok(json), String::new()),
            Content::File(file) => (parse_json(&read(&file)?), format!(" {}", file.display())),
        };
        json.and_then(parse)
            .map_err(|why| RunError::failed(format!("{}{file} cannot be used: {why}", self.name)))
    }
}

/// A transcript and who speaks when, as the merging nodes take them.
pub(in crate::nodes) struct Pair {
    pub(in crate::nodes) transcript: Source,
    turns: Source,
}

impl Pair {
    pub(in crate::nodes) fn find(context: &RunContext) -> Result<Self, RunError> {
        Ok(Self {
            transcript: Source::find(context, "segments_data", "segments_file")?,
            turns: Source::find(context, "speaker_segments_data", "diarization_file")?,
        })
    }

    pub(in crate::nodes) fn parse(
        self,
        diarization: impl FnOnce(Value) -> Result<Vec<Turn>, String>,
    ) -> Result<(Vec<Segment>, Vec<Turn>), RunError> {
        Ok((self.transcript.parse(transcript)?, self.turns.parse(diarization)?))
    }
}

/// An error for a transcript in which nothing has words.
pub(in crate::nodes) fn need_words(segments: &[Segment]) -> Result<(), RunError> {
    if segments.iter().any(|segment| !segment.words.is_empty()) {
        return Ok(());
    }
    Err(RunError::failed(format!(
        "none of the transcript's {} segments has words with times; transcribe with enable_word_timestamps",
        segments.len()
    )))
}
