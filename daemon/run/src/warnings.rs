//! Warnings of a run: what makes its result partial or doubtful although it succeeded. They become `output.warnings`,
//! which every node may have and everything that shows a result includes.

use std::sync::{Mutex, MutexGuard};

pub use onceover_wire::ResultWarning as Warning;
use onceover_wire::{MORE_WARNINGS, UNVERIFIED, WARNINGS_FIELD};
use serde_json::Value;

use crate::Object;
use onceover_limits::Limit;

/// Warnings that one result has; one more says how many there were beside these.
pub const MOST_WARNINGS: usize = 100;

/// Characters of a warning's text that are kept.
const LONGEST_TEXT: usize = 500;

/// The kind of a warning. docs/results.md explains each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The source ends before the time that it declares.
    TruncatedSource,
    /// The source has a hole, which became silence.
    Gap,
    /// There is sound, and it is silent throughout.
    Silence,
    /// Records of a file that cannot be read were left out.
    RecordsSkipped,
    /// The encoding of a text was guessed.
    EncodingGuessed,
    /// Times of words were not given and were put between their neighbours.
    TimesEstimated,
    /// The same text is repeated many times in a row, as transcribers do that hear nothing.
    RepeatedText,
    /// Lines are missing in the result, or are in it without what the node makes.
    LinesLeftOut,
    /// Readings of burnt-in subtitles do not agree, or the reader was not sure of them.
    DoubtfulText,
    /// Where the subtitles are in the picture is a guess.
    DoubtfulArea,
    /// The speech is that of a voice of the engine, not of the sample.
    VoiceNotCloned,
    /// A clip is longer than its cue and the pause after it, also at the highest speed.
    ClipsTooLong,
    /// Characters have no glyph in any font.
    GlyphsMissing,
    /// Lines a language model did not answer keep their source text.
    LinesUntranslated,
    /// Translations are longer than their lines have time or room for.
    LinesTooLong,
    /// Files are on the machine of a worker, and were not looked at.
    Unverified,
    /// There are more warnings than those that are named.
    MoreWarnings,
}

impl Code {
    /// Returns the code as the result has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TruncatedSource => "truncated_source",
            Self::Gap => "gap",
            Self::Silence => "silence",
            Self::RecordsSkipped => "records_skipped",
            Self::EncodingGuessed => "encoding_guessed",
            Self::TimesEstimated => "times_estimated",
            Self::RepeatedText => "repeated_text",
            Self::LinesLeftOut => "lines_left_out",
            Self::DoubtfulText => "doubtful_text",
            Self::DoubtfulArea => "doubtful_area",
            Self::VoiceNotCloned => "voice_not_cloned",
            Self::ClipsTooLong => "clips_too_long",
            Self::GlyphsMissing => "glyphs_missing",
            Self::LinesUntranslated => "lines_untranslated",
            Self::LinesTooLong => "lines_too_long",
            Self::Unverified => UNVERIFIED,
            Self::MoreWarnings => MORE_WARNINGS,
        }
    }
}

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

/// The warnings of a run, from all of its parts.
#[derive(Debug, Default)]
pub struct RunWarnings(Mutex<Vec<Warning>>);

impl RunWarnings {
    /// Adds a warning.
    pub fn add(&self, warning: Warning) {
        self.list().push(warning);
    }

    /// Adds the warnings of the run to those that the output has, and cuts the list to what a result may have. An entry
    /// that a program wrote and that is no warning becomes one with its text.
    pub fn write_into(&self, output: &mut Object) {
        let mut all: Vec<Warning> = match output.remove(WARNINGS_FIELD) {
            None | Some(Value::Null) => Vec::new(),
            Some(list @ Value::Array(_)) => Warning::all_in(&list),
            Some(other) => vec![Warning::from_json(&other)],
        };
        all.extend(self.list().iter().cloned());
        if all.is_empty() {
            return;
        }
        let more = all.len().saturating_sub(MOST_WARNINGS);
        if more > 0 {
            // That a rerun could help must not be lost with the rest.
            let retryable = all[MOST_WARNINGS..].iter().any(|warning| warning.retryable);
            all.truncate(MOST_WARNINGS);
            Limit::ResultWarnings.reached();
            all.push(Warning {
                retryable,
                ..Warning::new(Code::MoreWarnings, format!("{more} more warnings are not named")).with("more", more)
            });
        }
        for warning in &mut all {
            if let Some((end, _)) = warning.text.char_indices().nth(LONGEST_TEXT) {
                warning.text.truncate(end);
                warning.text.push('…');
            }
        }
        output.insert(WARNINGS_FIELD.into(), serde_json::to_value(all).unwrap_or_default());
    }

    fn list(&self) -> MutexGuard<'_, Vec<Warning>> {
        self.0.lock().expect("no thread panics with the list")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn warnings_of_the_program_and_of_the_run_are_one_list() {
        let warnings = RunWarnings::default();
        warnings.add(
            Warning::new(Code::TruncatedSource, "half")
                .with("got", 4.97)
                .retryable(),
        );
        let mut output = Object::from_iter([(
            WARNINGS_FIELD.into(),
            json!([{"code": "own", "text": "mine"}, "bare", 7]),
        )]);
        warnings.write_into(&mut output);
        assert_eq!(
            output[WARNINGS_FIELD],
            json!([
                {"code": "own", "text": "mine", "retryable": false},
                {"code": "unnamed", "text": "bare", "retryable": false},
                {"code": "unnamed", "text": "7", "retryable": false},
                {"code": "truncated_source", "text": "half", "numbers": {"got": 4.97}, "retryable": true},
            ])
        );
        let mut clean = Object::new();
        RunWarnings::default().write_into(&mut clean);
        assert!(clean.is_empty());
    }

    #[test]
    fn a_thousand_warnings_are_a_hundred_and_a_number() {
        let warnings = RunWarnings::default();
        for index in 0..1000 {
            let warning = Warning::new(Code::Gap, "x".repeat(600));
            warnings.add(if index == 999 { warning.retryable() } else { warning });
        }
        let mut output = Object::new();
        warnings.write_into(&mut output);
        let list = output[WARNINGS_FIELD].as_array().unwrap();
        assert_eq!(list.len(), MOST_WARNINGS + 1);
        assert_eq!(list[0]["text"].as_str().unwrap().chars().count(), LONGEST_TEXT + 1);
        let last = list.last().unwrap();
        assert_eq!(
            (&last["code"], &last["numbers"]["more"]),
            (&json!("more_warnings"), &json!(900))
        );
        assert_eq!(last["retryable"], true);
        assert!(Limit::ResultWarnings.times_reached() > 0);
    }
}
