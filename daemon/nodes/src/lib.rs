//! The nodes written in Rust: what each does, given its parameters and its folder. They use no Redis, and no HTTP but
//! to the configured language models.

#![deny(clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), warn(clippy::too_many_lines, clippy::excessive_nesting))]

mod cue_list;
mod diarization;
mod ffmpeg;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fuzz;
mod input;
pub mod llm;
mod paddleocr;
pub mod similarity;
mod speech;
mod spoken;
mod subtitles;
#[cfg(test)]
mod synchrony;
mod timed_text;
mod transcript;

use futures_util::future::BoxFuture;
use onceover_catalog::{NodeSpec, RunnerSpec};
use onceover_types::FieldError;
pub use paddleocr::MOST_BYTES as ARCHIVE_LIMIT;

use onceover_run::{Object, RunContext, RunError};

use self::llm::{Provider, Providers};

pub use cue_list::read_cues;
pub use ffmpeg::{FRAMES_LIMIT, SOUND_LIMIT, Undescribed, describe};

/// What a builtin node gives: its output, or why there is none.
type Answer<'a> = BoxFuture<'a, Result<Object, RunError>>;

/// A builtin node.
#[derive(Clone, Copy)]
pub enum Node {
    Plain(for<'a> fn(&'a RunContext) -> Answer<'a>),
    /// One that asks a language model.
    Asking(for<'a> fn(&'a RunContext, &'a Providers) -> Answer<'a>),
}

impl Node {
    /// Runs it to its end.
    pub fn run<'a>(self, context: &'a RunContext, providers: &'a Providers) -> Answer<'a> {
        match self {
            Self::Plain(run) => run(context),
            Self::Asking(run) => run(context, providers),
        }
    }
}

/// Every builtin, by the name node files use.
pub const BUILTINS: &[(&str, Node)] = &[
    (
        "ffmpeg.burn_subtitles",
        Node::Plain(|context| Box::pin(ffmpeg::burn_subtitles::run(context))),
    ),
    (
        "ffmpeg.crop_subtitle_images",
        Node::Plain(|context| Box::pin(ffmpeg::crop_subtitle_images::run(context))),
    ),
    (
        "ffmpeg.extract_audio",
        Node::Plain(|context| Box::pin(ffmpeg::extract_audio::run(context))),
    ),
    (
        "ffmpeg.extract_keyframes",
        Node::Plain(|context| Box::pin(ffmpeg::extract_keyframes::run(context))),
    ),
    (
        "ffmpeg.probe",
        Node::Plain(|context| Box::pin(ffmpeg::probe_media::run(context))),
    ),
    (
        "ffmpeg.mix_dub",
        Node::Plain(|context| Box::pin(ffmpeg::mix_dub::run(context))),
    ),
    (
        "ffmpeg.mux_subtitles",
        Node::Plain(|context| Box::pin(ffmpeg::mux_subtitles::run(context))),
    ),
    (
        "ffmpeg.split_audio_segments",
        Node::Plain(|context| Box::pin(ffmpeg::split_audio_segments::run(context))),
    ),
    (
        "indextts.generate_speech.espeak",
        Node::Plain(|context| Box::pin(speech::espeak::run(context))),
    ),
    (
        "paddleocr.create_stitched_images",
        Node::Plain(|context| Box::pin(paddleocr::create_stitched_images::run(context))),
    ),
    (
        "paddleocr.postprocess_and_finalize",
        Node::Plain(|context| Box::pin(paddleocr::postprocess_and_finalize::run(context))),
    ),
    (
        "pyannote_audio.get_speaker_segments",
        Node::Plain(|context| Box::pin(diarization::get_speaker_segments::run(context))),
    ),
    (
        "pyannote_audio.validate_diarization",
        Node::Plain(|context| Box::pin(diarization::validate_diarization::run(context))),
    ),
    (
        llm::ai_optimize_text::NAME,
        Node::Asking(|context, providers| Box::pin(llm::ai_optimize_text::run(context, providers))),
    ),
    (
        llm::correct_subtitles::NAME,
        Node::Asking(|context, providers| Box::pin(llm::correct_subtitles::run(context, providers))),
    ),
    (
        "wservice.check_subtitles",
        Node::Plain(|context| Box::pin(subtitles::check_subtitles::run(context))),
    ),
    (
        "wservice.generate_subtitle_files",
        Node::Plain(|context| Box::pin(subtitles::generate_subtitle_files::run(context))),
    ),
    (
        "wservice.merge_speaker_based_subtitles",
        Node::Plain(|context| Box::pin(transcript::merge_speaker_based_subtitles::run(context))),
    ),
    (
        "wservice.merge_speaker_segments",
        Node::Plain(|context| Box::pin(transcript::merge_speaker_segments::run(context))),
    ),
    (
        "wservice.merge_with_word_timestamps",
        Node::Plain(|context| Box::pin(transcript::merge_with_word_timestamps::run(context))),
    ),
    (
        "wservice.prepare_tts_segments",
        Node::Plain(|context| Box::pin(transcript::prepare_tts_segments::run(context))),
    ),
    (
        "wservice.rebuild_subtitle_with_words",
        Node::Plain(|context| Box::pin(transcript::rebuild::run(context))),
    ),
    (
        "wservice.segment_subtitles",
        Node::Plain(|context| Box::pin(transcript::segment_subtitles::run(context))),
    ),
    (
        llm::translate_subtitles::NAME,
        Node::Asking(|context, providers| Box::pin(llm::translate_subtitles::run(context, providers))),
    ),
];

pub fn builtin(name: &str) -> Option<Node> {
    BUILTINS
        .iter()
        .find(|(builtin, _)| *builtin == name)
        .map(|(_, node)| *node)
}

/// Returns the names of all builtins, for messages.
pub fn names() -> String {
    BUILTINS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Returns the faults of a request to a builtin that its node file cannot describe (O4).
pub fn check(builtin: &str, input: &Object, providers: &Providers) -> Vec<FieldError> {
    if asks_a_model(builtin) {
        llm::check(builtin, input, providers)
    } else {
        Vec::new()
    }
}

/// Returns the provider that a node asks for this input: the configured one where the input names none. `None` for a node
/// that asks no language model, and for an unknown provider, which was refused before with its parameter.
pub fn asked_provider<'a>(node: &NodeSpec, input: &Object, providers: &'a Providers) -> Option<&'a Provider> {
    let asks = matches!(&node.runner, RunnerSpec::Builtin(builtin) if asks_a_model(builtin));
    if !asks {
        return None;
    }
    let value = |name: &str| {
        let parameter = node.parameter(name);
        parameter
            .and_then(|parameter| parameter.value(input))
            .or_else(|| input.get(name))
    };
    providers.get(llm::wanted(value)).ok()
}

/// Whether a builtin needs a language model.
pub fn asks_a_model(name: &str) -> bool {
    matches!(builtin(name), Some(Node::Asking(_)))
}
