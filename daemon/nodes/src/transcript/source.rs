//! The source of a transcript or a diarization: inline data of the request, else a file that it names, else an earlier
//! stage.

use serde_json::Value;

use crate::{
    input::{Input, compute, read, stem},
    spoken::{TranscriptSegment, Turn},
    timed_text::{self, Notes},
};
use onceover_run::{
    RunContext, RunError,
    paths::Opened,
    warnings::{Code, Warning},
};

/// A transcript or a diarization that has been found but not read.
pub(crate) struct TranscriptSource {
    content: Content,
    /// `input_data.segments_file`, or the name of a stage.
    pub(crate) name: String,
    /// The stage it came from, if it did.
    pub(crate) stage: Option<String>,
    /// The file's name without suffix.
    pub(crate) stem: Option<String>,
}

enum Content {
    Inline(Value),
    File(Opened),
}

impl TranscriptSource {
    /// Finds it by a node's two parameters, the one for data and the one for a file.
    pub(crate) fn find(context: &RunContext, data: &str, file: &str) -> Result<Self, RunError> {
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

    /// Returns the file of one parameter.
    pub(crate) fn file(context: &RunContext, name: &str) -> Result<Self, RunError> {
        let input = Input(context);
        let stage = input.source_stage(name).map(ToOwned::to_owned);
        Ok(Self {
            content: Content::File(input.file(name)?),
            name: stage.clone().unwrap_or_else(|| format!("input_data.{name}")),
            stage,
            stem: input.text(name).and_then(stem),
        })
    }

    /// Returns an earlier stage's data or file.
    pub(crate) fn of_stage(context: &RunContext, stage: &str, field: &str, value: &Value) -> Result<Self, RunError> {
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

    /// Reads a transcript of any format. What was left out becomes a warning.
    pub(crate) async fn segments(self, context: &RunContext) -> Result<Vec<TranscriptSegment>, RunError> {
        let encoding = Input(context).text("encoding").map(ToOwned::to_owned);
        self.read(
            context,
            move |bytes| timed_text::segments(bytes, encoding.as_deref()),
            timed_text::json_segments,
        )
        .await
    }

    /// Reads a diarization; `unknown` is the speaker of turns that name none, which are left out without it.
    pub(crate) async fn turns(
        self,
        context: &RunContext,
        unknown: Option<&'static str>,
    ) -> Result<Vec<Turn>, RunError> {
        self.read(
            context,
            move |bytes| timed_text::turns(timed_text::parse_json(bytes)?, unknown),
            move |json| timed_text::turns(json, unknown),
        )
        .await
    }

    /// Reads the source, as the two functions above do. The error names the source.
    pub(super) async fn read<T: Send + 'static>(
        self,
        context: &RunContext,
        bytes: impl FnOnce(&[u8]) -> Result<(T, Notes), String> + Send + 'static,
        json: impl FnOnce(Value) -> Result<(T, Notes), String> + Send + 'static,
    ) -> Result<T, RunError> {
        let called = match &self.content {
            Content::Inline(_) => self.name.clone(),
            Content::File(file) => format!("{} {}", self.name, file.display()),
        };
        let name = called.clone();
        let (content, notes) = compute(move || {
            let result = match self.content {
                Content::Inline(inline) => json(inline),
                Content::File(file) => bytes(&read(&file)?),
            };
            result.map_err(|why| RunError::failed(format!("{name} cannot be used: {why}")))
        })
        .await?;
        notes.tell(context, &called);
        Ok(content)
    }
}

/// A transcript and who speaks when, as the merging nodes take them.
pub(crate) struct Pair {
    pub(crate) transcript: TranscriptSource,
    turns: TranscriptSource,
}

impl Pair {
    pub(crate) fn find(context: &RunContext) -> Result<Self, RunError> {
        Ok(Self {
            transcript: TranscriptSource::find(context, "segments_data", "segments_file")?,
            turns: TranscriptSource::find(context, "speaker_segments_data", "diarization_file")?,
        })
    }

    pub(crate) async fn read(
        self,
        context: &RunContext,
        unknown: Option<&'static str>,
    ) -> Result<(Vec<TranscriptSegment>, Vec<Turn>), RunError> {
        Ok((
            self.transcript.segments(context).await?,
            self.turns.turns(context, unknown).await?,
        ))
    }
}

/// Gives the segments of a transcript without any words those of their texts, which share the time of their segment.
pub(crate) fn with_words(context: &RunContext, segments: &mut [TranscriptSegment]) {
    if segments.iter().any(|segment| !segment.words.is_empty()) {
        return;
    }
    let mut estimated = 0;
    for segment in segments.iter_mut() {
        segment.words = segment.timed_words();
        estimated += segment.words.len();
    }
    let text = format!(
        "none of the transcript's {} segments has words with times; they share the time of their segment",
        segments.len()
    );
    context
        .warnings
        .add(Warning::new(Code::TimesEstimated, text).with("words", estimated));
}
