//! `wservice.correct_subtitles`: proof-reads subtitles in batches; the times stay those of the original.

use std::time::Instant;

use onceover_common::FieldError;
use serde_json::{Value, json};

use super::{
    super::{
        input::{Input, create_folder, path_text, read, stem, write},
        subtitles::{
            compose_srt,
            cues::{self, Cue},
        },
    },
    chat,
    client::Unanswered,
    providers::Providers,
    system_prompt,
};
use crate::executor::run::{Object, RunContext, RunError};

pub(in crate::nodes) const NAME: &str = "wservice.correct_subtitles";

const PROMPT: &str = include_str!("../../../../assets/prompts/correct_subtitles.md");

/// Characters of SRT in one batch; the older limits of 8000 characters and 60000 tokens lie above it.
const BATCH_CHARACTERS: usize = 3000;
/// A reply with fewer or more cues than this part of what was asked is none.
const CUES: std::ops::RangeInclusive<f64> = 0.3..=3.0;
/// Seconds by which a reply's end may differ from the batch's.
const SHIFT: f64 = 5.0;

/// What the catalog cannot say about `subtitle_correction`.
pub(super) fn check(input: &Object, providers: &Providers) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let Some(Value::Object(correction)) = input.get("subtitle_correction") else {
        return errors;
    };
    let field = |name: &str| format!("input_data.subtitle_correction.{name}");
    match correction.get("enabled") {
        None | Some(Value::Null | Value::Bool(true)) => {}
        Some(Value::Bool(false)) => errors.push(FieldError::new(
            field("enabled"),
            "with false there is nothing to do; leave the request out, or enabled",
        )),
        Some(_) => errors.push(FieldError::new(field("enabled"), "it must be true or false")),
    }
    match correction.get("provider") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) => errors.extend(providers.check(&field("provider"), name)),
        Some(_) => errors.push(FieldError::new(field("provider"), "it must be a string")),
    }
    errors
}

pub(in crate::nodes) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let start = Instant::now();
    let input = Input(context);
    // Once more, for what came from an earlier stage.
    if let Some(error) = check(&context.input, &context.providers).first() {
        return Err(RunError::failed(format!("{}: {}", error.field, error.message)));
    }
    let file = input.file("subtitle_path")?;
    let given = input.text("subtitle_path").unwrap_or_default();
    let cues = cues::parse(given.as_ref(), &read(&file)?)
        .map_err(|why| RunError::failed(format!("cannot correct {}: {why}", file.display())))?;
    let system = system_prompt(context, PROMPT)?;
    let chat = chat(context)?;

    let batches = batches(&cues);
    let mut corrected: Vec<Cue> = Vec::with_capacity(cues.len());
    let mut kept = Vec::new();
    for (done, batch) in batches.iter().enumerate() {
        let about = format!(
            "cues {} to {} of {}",
            batch[0].id,
            batch[batch.len() - 1].id,
            cues.len()
        );
        match chat
            .ask(&about, &system, &srt(batch), |reply| accept(reply, batch))
            .await
        {
            Ok(cues) => corrected.extend(cues),
            Err(Unanswered::Unusable(why)) => {
                context.log.line(&format!("{about} stay as they were: {why}"));
                corrected.extend_from_slice(batch);
                kept.push(why);
            }
            Err(why) => return Err(why.into()),
        }
        context.progress.report(
            (done + 1) as f64 * 100.0 / batches.len() as f64,
            Some(format!("{} of {} batches", done + 1, batches.len())),
        );
    }
    if kept.len() == batches.len() {
        return Err(RunError::failed(format!("nothing was corrected: {}", kept[0])));
    }

    let name = stem(given).unwrap_or_else(|| "subtitles".into());
    let path = create_folder(context, "subtitles")?.join(format!("{name}_corrected_by_ai.srt"));
    write(&path, srt(&corrected).as_bytes())?;
    let characters = |cues: &[Cue]| -> usize { cues.iter().map(|cue| cue.text.chars().count()).sum() };
    let output = json!({
        "corrected_subtitle_path": path_text(&path),
        "original_subtitle_path": given,
        "provider_used": chat.provider().name,
        "statistics": {
            "original_entries": cues.len(),
            "corrected_entries": corrected.len(),
            "original_characters": characters(&cues),
            "corrected_characters": characters(&corrected),
            "processing_time": (start.elapsed().as_secs_f64() * 100.0).round() / 100.0,
            "provider": chat.provider().name,
            "model": chat.model(),
            "batches": batches.len(),
            "batches_kept_as_they_were": kept.len(),
        },
    });
    Ok(serde_json::from_value(output).expect("an object"))
}

/// As an SRT file has it; the speaker in brackets.
fn shown(cue: &Cue) -> String {
    match &cue.speaker {
        Some(speaker) => format!("[{speaker}] {}", cue.text),
        None => cue.text.clone(),
    }
}

fn srt(cues: &[Cue]) -> String {
    let texts: Vec<_> = cues.iter().map(shown).collect();
    let bytes = compose_srt(
        cues.iter()
            .zip(&texts)
            .map(|(cue, text)| (cue.start, cue.end, text.as_str())),
    );
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Neighbouring cues, as many as a batch may have; a cue is never cut.
fn batches(cues: &[Cue]) -> Vec<&[Cue]> {
    /// Number, times and line ends of a cue.
    const AROUND: usize = 40;
    let mut batches = Vec::new();
    let (mut from, mut size) = (0, 0);
    for (position, cue) in cues.iter().enumerate() {
        let more = shown(cue).chars().count() + AROUND;
        if size + more > BATCH_CHARACTERS && position > from {
            batches.push(&cues[from..position]);
            (from, size) = (position, 0);
        }
        size += more;
    }
    batches.push(&cues[from..]);
    batches
}

/// The corrected cues; times and speakers are the original's where their number is the same. The error says what is wrong.
fn accept(reply: &str, batch: &[Cue]) -> Result<Vec<Cue>, String> {
    let text: Vec<_> = reply
        .lines()
        .filter(|line| !line.trim_start().starts_with("```"))
        .collect();
    let text = text.join("\n");
    if text.trim().is_empty() {
        return Err("it is empty".into());
    }
    let mut cues = cues::parse("reply.srt".as_ref(), text.trim().as_bytes())?;
    let ratio = cues.len() as f64 / batch.len() as f64;
    if !CUES.contains(&ratio) {
        return Err(format!("it has {} cues for {}", cues.len(), batch.len()));
    }
    let (asked, got) = (batch[batch.len() - 1].end, cues[cues.len() - 1].end);
    if (asked - got).abs() > SHIFT {
        return Err(format!(
            "its last cue ends at {got:.3} s, that of the original at {asked:.3} s"
        ));
    }
    if cues.len() == batch.len() {
        for (cue, original) in cues.iter_mut().zip(batch) {
            (cue.start, cue.end) = (original.start, original.end);
            cue.speaker.clone_from(&original.speaker);
        }
    }
    Ok(cues)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cue(id: u64, start: f64, end: f64, text: &str) -> Cue {
        Cue {
            id,
            start,
            end,
            text: text.into(),
            speaker: None,
            confidence: None,
            words: None,
        }
    }

    fn long() -> Vec<Cue> {
        (1..=200)
            .map(|id| cue(id, id as f64 * 2.0, id as f64 * 2.0 + 1.5, "teh quick brown fox jumps"))
            .collect()
    }

    #[test]
    fn batches_are_whole_cues_of_at_most_3000_characters() {
        let cues = long();
        let batches = batches(&cues);
        assert!(batches.len() > 1);
        assert_eq!(batches.concat(), cues);
        for batch in batches {
            let text = srt(batch);
            assert!(text.chars().count() <= BATCH_CHARACTERS);
        }
        let huge = vec![cue(1, 0.0, 1.0, &"x".repeat(5000)), cue(2, 1.0, 2.0, "y")];
        assert_eq!(super::batches(&huge).len(), 2);
    }

    #[test]
    fn times_and_speakers_of_the_original_come_back() {
        let mut batch = vec![cue(1, 0.5, 2.9, "teh cat"), cue(2, 3.0, 4.0, "sat")];
        batch[0].speaker = Some("SPEAKER_00".into());
        let reply = "```srt\n7\n00:00:00,000 --> 00:00:02,000\nThe cat\n\n8\n00:00:03,100 --> 00:00:05,000\nsat.\n```";
        let cues = accept(reply, &batch).unwrap();
        assert_eq!(
            srt(&cues),
            "1\n00:00:00,500 --> 00:00:02,900\n[SPEAKER_00] The cat\n\n2\n00:00:03,000 --> 00:00:04,000\nsat.\n\n"
        );
    }

    #[test]
    fn a_reply_that_is_not_a_correction_is_refused() {
        let batch = long();
        let reply = |count: usize, shift: f64| {
            let cues: Vec<_> = batch[..count.min(batch.len())]
                .iter()
                .map(|original| cue(original.id, original.start, original.end + shift, "x"))
                .collect();
            accept(&srt(&cues), &batch[..20])
        };
        assert_eq!(reply(20, 0.0).unwrap().len(), 20);
        assert!(reply(5, 0.0).unwrap_err().contains("5 cues for 20"));
        assert!(reply(61, 0.0).unwrap_err().contains("61 cues for 20"));
        assert!(reply(20, 6.0).unwrap_err().contains("last cue ends at"));
        assert_eq!(reply(19, 0.0).unwrap().len(), 19);
        assert!(accept(" \n", &batch).unwrap_err().contains("empty"));
        assert!(accept("Sorry, I cannot do that.", &batch).is_err());
    }

    #[test]
    fn d48_short_cues_keep_their_text_once() {
        let batch = vec![cue(1, 0.0, 1.0, "a"), cue(2, 1.0, 2.0, "b"), cue(3, 2.0, 3.0, "Yes")];
        let text = srt(&batch);
        assert_eq!(text.matches("\na\n").count(), 1);
        assert_eq!(batches(&batch).len(), 1);
        assert_eq!(srt(&accept(&text, &batch).unwrap()), text);
    }

    #[test]
    fn a_switched_off_correction_is_an_error_and_not_an_empty_success() {
        let fields = |input: Value| -> Vec<String> {
            check(&serde_json::from_value(input).unwrap(), &Providers::default())
                .into_iter()
                .map(|error| error.field)
                .collect()
        };
        assert!(fields(json!({})).is_empty());
        assert!(fields(json!({"subtitle_correction": {}})).is_empty());
        assert!(fields(json!({"subtitle_correction": {"enabled": true, "provider": "gemini"}})).is_empty());
        assert_eq!(
            fields(json!({"subtitle_correction": {"enabled": false}})),
            ["input_data.subtitle_correction.enabled"]
        );
        assert_eq!(
            fields(json!({"subtitle_correction": {"enabled": 1, "provider": "nobody"}})),
            [
                "input_data.subtitle_correction.enabled",
                "input_data.subtitle_correction.provider"
            ]
        );
    }
}
