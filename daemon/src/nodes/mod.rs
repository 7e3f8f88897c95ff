//! The nodes written in Rust: what each does, given its parameters and its folder. No Redis, and no HTTP but to the
//! configured language models.

mod diarization;
mod ffmpeg;
#[cfg(test)]
mod fuzz;
mod input;
pub mod llm;
mod paddleocr;
pub mod similarity;
mod speech;
mod subtitles;
#[cfg(test)]
mod synchrony;
mod timed_text;
mod transcript;

use futures_util::future::BoxFuture;
use onceover_common::{FieldError, Missing};
pub(crate) use paddleocr::MOST_BYTES as ARCHIVE_LIMIT;
use serde_json::Value;

use crate::executor::run::{Object, RunContext, RunError};

pub(crate) use ffmpeg::{FRAMES_LIMIT, SOUND_LIMIT};
pub use ffmpeg::{Undescribed, describe};

/// A builtin node.
pub type Node = for<'a> fn(&'a RunContext) -> BoxFuture<'a, Result<Object, RunError>>;

/// Every builtin, by the name node files use.
pub const BUILTINS: &[(&str, Node)] = &[
    ("ffmpeg.burn_subtitles", |context| {
        Box::pin(ffmpeg::burn_subtitles::run(context))
    }),
    ("ffmpeg.crop_subtitle_images", |context| {
        Box::pin(ffmpeg::crop_subtitle_images::run(context))
    }),
    ("ffmpeg.extract_audio", |context| {
        Box::pin(ffmpeg::extract_audio::run(context))
    }),
    ("ffmpeg.extract_keyframes", |context| {
        Box::pin(ffmpeg::extract_keyframes::run(context))
    }),
    ("ffmpeg.probe", |context| Box::pin(ffmpeg::probe_media::run(context))),
    ("ffmpeg.mix_dub", |context| Box::pin(ffmpeg::mix_dub::run(context))),
    ("ffmpeg.mux_subtitles", |context| {
        Box::pin(ffmpeg::mux_subtitles::run(context))
    }),
    ("ffmpeg.split_audio_segments", |context| {
        Box::pin(ffmpeg::split_audio_segments::run(context))
    }),
    ("indextts.generate_speech.espeak", |context| {
        Box::pin(speech::espeak::run(context))
    }),
    ("paddleocr.create_stitched_images", |context| {
        Box::pin(paddleocr::create_stitched_images::run(context))
    }),
    ("paddleocr.postprocess_and_finalize", |context| {
        Box::pin(paddleocr::postprocess_and_finalize::run(context))
    }),
    ("pyannote_audio.get_speaker_segments", |context| {
        Box::pin(diarization::get_speaker_segments::run(context))
    }),
    ("pyannote_audio.validate_diarization", |context| {
        Box::pin(diarization::validate_diarization::run(context))
    }),
    (llm::ai_optimize_text::NAME, |context| {
        Box::pin(llm::ai_optimize_text::run(context))
    }),
    (llm::correct_subtitles::NAME, |context| {
        Box::pin(llm::correct_subtitles::run(context))
    }),
    ("wservice.check_subtitles", |context| {
        Box::pin(subtitles::check_subtitles::run(context))
    }),
    ("wservice.generate_subtitle_files", |context| {
        Box::pin(subtitles::generate_subtitle_files::run(context))
    }),
    ("wservice.merge_speaker_based_subtitles", |context| {
        Box::pin(transcript::merge_speaker_based_subtitles::run(context))
    }),
    ("wservice.merge_speaker_segments", |context| {
        Box::pin(transcript::merge_speaker_segments::run(context))
    }),
    ("wservice.merge_with_word_timestamps", |context| {
        Box::pin(transcript::merge_with_word_timestamps::run(context))
    }),
    ("wservice.prepare_tts_segments", |context| {
        Box::pin(transcript::prepare_tts_segments::run(context))
    }),
    ("wservice.rebuild_subtitle_with_words", |context| {
        Box::pin(transcript::rebuild::run(context))
    }),
    ("wservice.segment_subtitles", |context| {
        Box::pin(transcript::segment_subtitles::run(context))
    }),
    (llm::translate_subtitles::NAME, |context| {
        Box::pin(llm::translate_subtitles::run(context))
    }),
];

pub fn builtin(name: &str) -> Option<Node> {
    BUILTINS
        .iter()
        .find(|(builtin, _)| *builtin == name)
        .map(|(_, node)| *node)
}

/// The names of all builtins, for messages.
pub fn names() -> String {
    BUILTINS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// What a request to a builtin says wrong that its node file cannot tell (O4).
pub fn check(builtin: &str, input: &Object, providers: &llm::Providers) -> Vec<FieldError> {
    if asks_a_model(builtin) {
        llm::check(builtin, input, providers)
    } else {
        Vec::new()
    }
}

/// What a builtin that asks a language model lacks beside programs: a setting or a variable. `value` gives the values of
/// its parameters, which may name another provider than the configured one.
pub fn missing<'a>(value: impl Fn(&str) -> Option<&'a Value>, providers: &llm::Providers) -> Option<Missing> {
    // One that is not known is refused before, with its parameter.
    providers.get(llm::wanted(value)).ok()?.missing()
}

/// Whether a builtin needs a language model.
pub fn asks_a_model(builtin: &str) -> bool {
    [
        llm::ai_optimize_text::NAME,
        llm::correct_subtitles::NAME,
        llm::translate_subtitles::NAME,
    ]
    .contains(&builtin)
}
