//! `wservice.correct_subtitles`: proof-reads subtitles in batches; the times stay those of the original. A cue is
//! corrected only by a cue of the reply that fits it by times and text.

use std::{collections::BTreeMap, time::Instant};

use onceover_types::FieldError;
use serde_json::{Value, json};

use super::{
    super::{
        input::{Input, create_folder, path_text, stem, write},
        spoken::{Cue, TranscriptSegment},
        timed_text::{self, compose_marked_srt, compose_srt, escaped, markup_around},
    },
    chat,
    client::{Chat, ChatQuestion, Unanswered},
    dialect::Shape,
    fitting::fit,
    gather::{AskedLines, Gathered, Matched, gather},
    kept::{self, KeptAnswers},
    providers::Providers,
    system_prompt,
};
use onceover_run::{Object, RunContext, RunError};

pub(crate) const NAME: &str = "wservice.correct_subtitles";

const PROMPT: &str = include_str!("../../../../assets/prompts/correct_subtitles.md");

/// Characters of SRT in one batch; the older limits of 8000 characters and 60000 tokens are above it.
const BATCH_CHARACTERS: usize = 3000;

/// Returns what the catalog cannot say about `subtitle_correction`.
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

pub(crate) async fn run(context: &RunContext, providers: &Providers) -> Result<Object, RunError> {
    let start = Instant::now();
    let input = Input(context);
    // The value is checked again, since it may come from an earlier stage.
    if let Some(error) = check(&context.input, providers).first() {
        return Err(RunError::failed(format!("{}: {}", error.field, error.message)));
    }
    let file = input.file("subtitle_path")?;
    let given = input.text("subtitle_path").unwrap_or_default();
    let segments = timed_text::segments_of(context, &file).await?;
    let cues: Vec<Cue> = segments.iter().zip(1..).map(cue).collect();
    let system = system_prompt(context, PROMPT)?;
    let chat = chat(context, providers)?;

    let batches = batches(&cues);
    let proof = Proof {
        chat: &chat,
        system: &system,
        cues: &cues,
    };
    let count = cues.len();
    let gathered = gather(&chat, &KeptAnswers::open(context), &proof, batches.clone(), |done| {
        let message = format!("{done} of {count} cues proof-read");
        context
            .progress
            .report(done as f64 * 100.0 / count as f64, Some(message));
    })
    .await?;
    gathered.report(context, &proof, "corrected")?;
    let corrected = with_texts(&cues, &gathered.texts);

    let name = stem(given).unwrap_or_else(|| "subtitles".into());
    let path = create_folder(context, "subtitles")?.join(format!("{name}_corrected_by_ai.srt"));
    write(&path, &marked_srt(&segments, &corrected))?;
    let characters = |cues: &[Cue]| -> usize { cues.iter().map(|cue| cue.text.chars().count()).sum() };
    let output = json!({
        "corrected_subtitle_path": path_text(&path),
        "original_subtitle_path": given,
        "engine": chat.provider().name,
        "model_name": chat.model(),
        "provider_used": chat.provider().name,
        "statistics": {
            "original_entries": cues.len(),
            "corrected_entries": corrected.len(),
            "original_characters": characters(&cues),
            "corrected_characters": characters(&corrected),
            "processing_time": (start.elapsed().as_secs_f64() * 100.0).round() / 100.0,
            "provider": chat.provider().name,
            "model": chat.model(),
            "batches": gathered.batches,
            "batches_kept_as_they_were": untouched(&batches, &gathered),
            "entries_kept_as_they_were": gathered.stubborn.len(),
            "questions": chat.questions(),
        },
    });
    Ok(serde_json::from_value(output).expect("an object"))
}

fn cue((segment, id): (&TranscriptSegment, u64)) -> Cue {
    Cue {
        id,
        start: segment.start,
        end: segment.end,
        text: segment.text.trim().into(),
        speaker: segment.speaker.clone(),
        confidence: None,
        words: None,
    }
}

/// Returns the corrected cues with the tags that the originals had, where their text is as it was or within one pair of
/// tags.
fn marked_srt(segments: &[TranscriptSegment], corrected: &[Cue]) -> Vec<u8> {
    let marked = |(segment, cue): (&TranscriptSegment, &Cue)| {
        let is_same = segment.text.trim() == cue.text;
        let markup = segment.markup.as_ref().and_then(|markup| {
            if is_same {
                Some(markup.clone())
            } else {
                markup_around(markup, &segment.text, &cue.text)
            }
        });
        let text = markup.unwrap_or_else(|| escaped(&cue.text));
        let label = cue
            .speaker
            .as_ref()
            .map_or_else(String::new, |speaker| format!("[{speaker}] "));
        (cue.start, cue.end, label + &text)
    };
    let cues: Vec<_> = segments.iter().zip(corrected).map(marked).collect();
    compose_marked_srt(cues.iter().map(|(start, end, text)| (*start, *end, text.as_str())))
}

/// Returns the cues with the texts that were corrected, by position.
fn with_texts(cues: &[Cue], texts: &BTreeMap<usize, String>) -> Vec<Cue> {
    let mut corrected = cues.to_vec();
    for (at, text) in texts {
        if let Some(cue) = corrected.get_mut(*at) {
            cue.text.clone_from(text);
        }
    }
    corrected
}

/// Batches of which no cue was corrected.
fn untouched(batches: &[Vec<usize>], gathered: &Gathered) -> usize {
    let is_untouched = |batch: &&Vec<usize>| !batch.iter().any(|at| gathered.texts.contains_key(at));
    batches.iter().filter(is_untouched).count()
}

/// The questions about one file.
struct Proof<'a> {
    chat: &'a Chat,
    system: &'a str,
    cues: &'a [Cue],
}

impl AskedLines for Proof<'_> {
    async fn ask(&self, positions: &[usize]) -> Result<Matched, Unanswered> {
        let batch: Vec<Cue> = positions.iter().map(|at| self.cues[*at].clone()).collect();
        let (first, last, all) = (positions[0] + 1, positions[positions.len() - 1] + 1, self.cues.len());
        let about = match positions {
            [_] => format!("cue {first} of {all}"),
            _ => format!("cues {first} to {last} of {all}"),
        };
        let question = ChatQuestion {
            about: &about,
            system: self.system,
            user: &srt(&batch),
            shape: Shape::Text,
            again: positions.len() == 1,
        };
        self.chat.ask(question, |reply| accept(reply, &batch, positions)).await
    }

    fn key(&self, position: usize) -> String {
        let text = |at: Option<usize>| at.and_then(|at| self.cues.get(at)).map_or("", |cue| &cue.text);
        kept::key(&[
            NAME,
            &self.chat.provider().name,
            self.chat.model(),
            self.system,
            text(position.checked_sub(1)),
            text(Some(position)),
            text(Some(position + 1)),
        ])
    }

    fn name(&self, position: usize) -> String {
        format!("cue {} ('{}')", position + 1, self.cues[position].text)
    }
}

/// Writes the cues as an SRT file has them, with the speaker in brackets.
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

/// Returns the positions of neighbouring cues, as many as a batch may have; a cue is never cut.
fn batches(cues: &[Cue]) -> Vec<Vec<usize>> {
    /// Number, times and line ends of a cue.
    const AROUND: usize = 40;
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut size = 0;
    for (position, cue) in cues.iter().enumerate() {
        let more = shown(cue).chars().count() + AROUND;
        match batches.last_mut() {
            Some(batch) if size + more <= BATCH_CHARACTERS => {
                batch.push(position);
                size += more;
            }
            _ => {
                batches.push(vec![position]);
                size = more;
            }
        }
    }
    batches
}

/// Returns the corrected texts by position. The error says what is wrong with the reply.
fn accept(reply: &str, batch: &[Cue], positions: &[usize]) -> Result<Matched, String> {
    if reply.trim().is_empty() {
        return Err("it is empty".into());
    }
    let (cues, _) = timed_text::cues(reply.trim().as_bytes(), Some("utf-8"))?;
    let texts = fit(&cues, batch)?;
    let missing = (0..batch.len()).filter(|at| !texts.contains_key(at));
    let doubts = missing
        .map(|at| format!("no cue of the reply fits cue {}", positions[at] + 1))
        .collect();
    let texts = texts.into_iter().map(|(at, text)| (positions[at], text)).collect();
    Ok(Matched { texts, doubts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoken::cue::cue;

    fn long() -> Vec<Cue> {
        (1..=200)
            .map(|id| cue(id, id as f64 * 2.0, id as f64 * 2.0 + 1.5, "teh quick brown fox jumps"))
            .collect()
    }

    fn accepted(reply: &str, batch: &[Cue]) -> Result<Vec<Cue>, String> {
        let positions: Vec<_> = (0..batch.len()).collect();
        Ok(with_texts(batch, &accept(reply, batch, &positions)?.texts))
    }

    #[test]
    fn batches_are_whole_cues_of_at_most_3000_characters() {
        let cues = long();
        let batches = batches(&cues);
        assert!(batches.len() > 1);
        assert_eq!(batches.concat(), (0..200).collect::<Vec<_>>());
        for batch in batches {
            let cues: Vec<_> = batch.into_iter().map(|at| cues[at].clone()).collect();
            assert!(srt(&cues).chars().count() <= BATCH_CHARACTERS);
        }
        let huge = vec![cue(1, 0.0, 1.0, &"x".repeat(5000)), cue(2, 1.0, 2.0, "y")];
        assert_eq!(super::batches(&huge).len(), 2);
    }

    #[test]
    fn times_and_speakers_of_the_original_come_back() {
        let mut batch = vec![cue(1, 0.5, 2.9, "teh cat"), cue(2, 3.0, 4.0, "sat")];
        batch[0].speaker = Some("SPEAKER_00".into());
        let reply = "7\n00:00:00,000 --> 00:00:02,500\nThe cat\n\n8\n00:00:03,100 --> 00:00:04,500\nsat.";
        let cues = accepted(reply, &batch).unwrap();
        assert_eq!(
            srt(&cues),
            "1\n00:00:00,500 --> 00:00:02,900\n[SPEAKER_00] The cat\n\n2\n00:00:03,000 --> 00:00:04,000\nsat.\n\n"
        );
    }

    #[test]
    fn a_reply_that_is_not_a_correction_is_refused() {
        let batch = &long()[..20];
        let reply = |count: usize| srt(&long()[..count]).replace("teh", "the");
        assert_eq!(
            accepted(&reply(20), batch).unwrap()[19].text,
            "the quick brown fox jumps"
        );
        assert!(accepted(&reply(61), batch).unwrap_err().contains("61 cues for 20"));
        // What is missing stays as it was.
        let some = accepted(&reply(5), batch).unwrap();
        assert_eq!((some.len(), some[5].text.as_str()), (20, "teh quick brown fox jumps"));
        assert!(accepted(" \n", batch).unwrap_err().contains("empty"));
        assert!(accepted("Sorry, I cannot do that.", batch).is_err());
    }

    #[test]
    fn tags_stay_around_a_corrected_text() {
        let file = "1\n00:00:01,000 --> 00:00:02,000\n<i>teh end</i>\n\n2\n00:00:03,000 --> 00:00:04,000\n[SPEAKER_01] a <b>b</b>\n";
        let (segments, _) = timed_text::segments(file.as_bytes(), None).unwrap();
        let mut cues: Vec<_> = segments.iter().zip(1..).map(super::cue).collect();
        cues[0].text = "the end".into();
        assert_eq!(
            String::from_utf8(marked_srt(&segments, &cues)).unwrap(),
            "1\n00:00:01,000 --> 00:00:02,000\n<i>the end</i>\n\n2\n00:00:03,000 --> 00:00:04,000\n[SPEAKER_01] a <b>b</b>\n\n"
        );
    }

    #[test]
    fn d48_short_cues_keep_their_text_once() {
        let batch = vec![cue(1, 0.0, 1.0, "a"), cue(2, 1.0, 2.0, "b"), cue(3, 2.0, 3.0, "Yes")];
        let text = srt(&batch);
        assert_eq!(text.matches("\na\n").count(), 1);
        assert_eq!(batches(&batch).len(), 1);
        assert_eq!(srt(&accepted(&text, &batch).unwrap()), text);
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
