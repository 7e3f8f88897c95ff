//! Texts that are repeated many times in a row: transcribers that hear nothing repeat their last sentence.

use std::ops::Range;

use serde_json::Value;

use crate::spoken::{TranscriptSegment, millis};
use onceover_run::{
    RunContext,
    warnings::{Code, Warning},
};

/// How often in a row a text is repeated before it is doubtful.
const MANY: usize = 5;
/// The value from which a transcriber's own doubt that there was speech counts.
const NO_SPEECH: f64 = 0.6;

/// Warns of texts that are repeated many times in a row. Removes those after the first `most`; keeps all if that is 0.
pub(super) fn limit(context: &RunContext, segments: &mut Vec<TranscriptSegment>, most: u64) {
    let runs = runs(segments);
    for run in &runs {
        context.warnings.add(warning(&segments[run.clone()]));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if most == 0 {
        return;
    }
    let all = segments.len();
    for run in runs.into_iter().rev().filter(|run| run.len() > most) {
        segments.drain(run.start + most..run.end);
    }
    let lines = all - segments.len();
    if lines > 0 {
        context.warnings.add(
            Warning::new(
                Code::LinesLeftOut,
                format!("{lines} lines that repeat the one before are left out, since max_repeats is {most}"),
            )
            .with("lines", lines),
        );
    }
}

fn runs(segments: &[TranscriptSegment]) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut from = 0;
    for run in segments.chunk_by(|a, b| a.text.trim() == b.text.trim()) {
        if run.len() >= MANY && !run[0].text.trim().is_empty() {
            runs.push(from..from + run.len());
        }
        from += run.len();
    }
    runs
}

fn warning(run: &[TranscriptSegment]) -> Warning {
    let (start, end) = (run[0].start, run[run.len() - 1].end);
    let doubts = run.iter().filter(|segment| {
        let doubt = segment.json.get("no_speech_prob").and_then(Value::as_f64);
        doubt.is_some_and(|doubt| doubt >= NO_SPEECH)
    });
    let doubts = doubts.count();
    let doubted = if doubts > 0 {
        format!("; the transcriber doubted that there is speech in {doubts} of them")
    } else {
        String::new()
    };
    Warning::new(
        Code::RepeatedText,
        format!(
            "'{}' is repeated {} times in a row from {start:.1} to {end:.1} s{doubted}",
            run[0].text.trim(),
            run.len()
        ),
    )
    .with("times", run.len())
    .with("start", millis(start))
    .with("end", millis(end))
}
