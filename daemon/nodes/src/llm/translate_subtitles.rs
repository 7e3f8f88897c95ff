//! `wservice.translate_subtitles`: translates line by line, within a budget of characters that the line's time allows;
//! times stay. A translation that is still too long after the model was asked to shorten it is accepted, with a
//! warning: a viewer can use it better than a line in another language.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::{
    super::{
        input::{Input, create_folder, path_text, stem, write_json},
        spoken::TranscriptSegment,
        timed_text::{self, markup_around, put_text},
    },
    chat,
    client::{Chat, ChatQuestion, Unanswered},
    dialect::Shape,
    gather::{AskedLines, Matched, gather},
    kept::{self, KeptAnswers},
    keyed::{self, Asked},
    providers::Providers,
    system_prompt,
};
use onceover_run::{
    Object, RunContext, RunError,
    warnings::{Code, Warning},
};

const PROMPT: &str = include_str!("../../../../assets/prompts/translate_subtitles.md");

pub(crate) const NAME: &str = "wservice.translate_subtitles";

/// One subtitle as the model gets it.
#[derive(Debug)]
struct Line {
    /// Its position among all segments, from 1.
    index: usize,
    /// How long it is shown, in seconds.
    seconds: String,
    /// Most characters of its translation; 0 if it stays empty.
    budget: usize,
    text: String,
}

impl Line {
    /// Returns the characters above which an answer is no translation of it, but a comment or a whole scene.
    fn most(&self) -> usize {
        self.budget.saturating_mul(2).saturating_add(20)
    }
}

pub(crate) async fn run(context: &RunContext, providers: &Providers) -> Result<Object, RunError> {
    let input = Input(context);
    let file = input.file("segments_file")?;
    let segments = timed_text::segments_of(context, &file).await?;
    let target = input.required_text("target_language")?;
    let source = input.text("source_language").filter(|text| !text.trim().is_empty());
    let (cps, cpl) = (input.integer("cps_limit")?, input.integer("cpl_limit")?);
    let batch_size = usize::try_from(input.count("batch_size")?).unwrap_or(usize::MAX).max(1);
    let system = system_prompt(context, PROMPT)?;
    let chat = chat(context, providers)?;

    let lines = lines(&segments, cps, cpl);
    // Lines that stay empty are not asked: they have no text, or there is no time to read it.
    let wanted: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].budget > 0).collect();
    if wanted.is_empty() {
        return Err(RunError::failed(format!(
            "{} has no line with text that is shown long enough for a single character at {cps} characters a second",
            file.display()
        )));
    }
    let count = wanted.len();
    let batches = wanted.chunks(batch_size).map(<[usize]>::to_vec).collect();
    let translation = Translation {
        chat: &chat,
        system: &system,
        source,
        target,
        lines: &lines,
        too_long: Mutex::default(),
    };
    let gathered = gather(&chat, &KeptAnswers::open(context), &translation, batches, |done| {
        let message = format!("{done} of {count} lines translated");
        context
            .progress
            .report(done as f64 * 100.0 / count as f64, Some(message));
    })
    .await?;
    gathered.report(context, &translation, "translated")?;
    warn_of_empty(context, &lines);
    warn_of_long(context, &lines, &gathered.texts);

    let name = input
        .text("segments_file")
        .and_then(stem)
        .unwrap_or_else(|| "transcript".into());
    let path = create_folder(context, "data")?.join(format!("{name}_translated_segments.json"));
    let text_of = |(line, at): (&Line, usize)| match gathered.texts.get(&at) {
        Some(text) => text.clone(),
        None if line.budget > 0 => line.text.clone(),
        None => String::new(),
    };
    let texts: Vec<String> = lines.iter().zip(0..).map(text_of).collect();
    let array: Value = segments.into_iter().zip(texts).map(replace).collect();
    write_json(&path, &array)?;
    let output = json!({
        "translated_segments_file": path_text(&path),
        "engine": chat.provider().name,
        "model_name": chat.model(),
        "provider_used": chat.provider().name,
        "model_used": chat.model(),
        "target_language": target,
        "total_segments": lines.len(),
        "translated_segments": gathered.texts.len(),
        "untranslated_segments": gathered.stubborn.len(),
        "questions": chat.questions(),
    });
    Ok(serde_json::from_value(output).expect("an object"))
}

/// Lines that have a text and are shown too briefly for any translation of it.
fn warn_of_empty(context: &RunContext, lines: &[Line]) {
    let empty: Vec<&Line> = lines
        .iter()
        .filter(|line| line.budget == 0 && !line.text.is_empty())
        .collect();
    if let Some(first) = empty.first() {
        let (
            count,
            Line {
                index, text, seconds, ..
            },
        ) = (empty.len(), first);
        let text = format!(
            "{count} lines are empty: line {index} ('{text}') is shown {seconds} s, too briefly to read anything"
        );
        context.warnings.add(
            Warning::new(Code::LinesLeftOut, text)
                .with("lines", count)
                .with("first", *index),
        );
    }
}

/// Translations that are longer than their budget, although the model was asked to shorten them.
fn warn_of_long(context: &RunContext, lines: &[Line], texts: &BTreeMap<usize, String>) {
    let lengths = texts.iter().filter_map(|(at, text)| {
        let (line, length) = (lines.get(*at)?, text.chars().count());
        (length > line.budget).then_some((line, length))
    });
    let long: Vec<_> = lengths.collect();
    if let Some((Line { index, budget, .. }, length)) = long.first() {
        let count = long.len();
        let text = format!(
            "{count} translations are longer than they can be read in their time or fit into a line: that of line {index} has \
             {length} characters, its budget is {budget}"
        );
        let warning = Warning::new(Code::LinesTooLong, text).with("lines", count);
        context.warnings.add(warning.with("first", *index));
    }
}

/// Returns the segment with its translation, without the times of the words that it replaces.
fn replace((segment, text): (TranscriptSegment, String)) -> Value {
    let mut fields = segment.json;
    // Tags around the whole text are around its translation too.
    let markup = segment.markup.filter(|_| !text.is_empty());
    let markup = markup.and_then(|markup| markup_around(&markup, &segment.text, &text));
    put_text(&mut fields, &text, markup);
    if let Some(words) = fields.get_mut("words") {
        *words = json!([]);
    }
    fields.into()
}

/// Returns the lines with their budgets: min(seconds x characters a second, characters a line), both limits at least 1,
/// times to the millisecond. The budget is at least the length of the source text, of which wide letters count as two,
/// since a translation says as much. If there is no time for a single character, it is 0.
fn lines(segments: &[TranscriptSegment], cps: i64, cpl: i64) -> Vec<Line> {
    let line = |(position, segment): (usize, &TranscriptSegment)| {
        let millis = ((segment.end - segment.start).max(0.0) * 1000.0).round() as i64;
        let text = segment.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let allowed = (millis.saturating_mul(cps.max(1)) / 1000).min(cpl.max(1));
        let (seconds, hundredths) = ((millis + 5) / 1000, (millis + 5) % 1000 / 10);
        Line {
            index: position + 1,
            seconds: format!("{seconds}.{hundredths:02}"),
            budget: match usize::try_from(allowed).unwrap_or(0) {
                0 => 0,
                // A line without text needs no translation.
                _ if text.is_empty() => 0,
                allowed => allowed.max(text.width()),
            },
            text,
        }
    };
    segments.iter().enumerate().map(line).collect()
}

/// The questions about one file.
struct Translation<'a> {
    chat: &'a Chat,
    system: &'a str,
    source: Option<&'a str>,
    target: &'a str,
    lines: &'a [Line],
    /// The shortest translation of each line that was over its budget, by position, for the next question to shorten.
    too_long: Mutex<BTreeMap<usize, String>>,
}

/// Asks for one line as a run does, to try a provider.
pub(super) async fn translate_one(chat: &Chat, text: &str) -> Result<String, Unanswered> {
    let lines = [Line {
        index: 1,
        seconds: "4.00".into(),
        budget: 42,
        text: text.to_owned(),
    }];
    let translation = Translation {
        chat,
        system: PROMPT,
        source: Some("en"),
        target: "fr",
        lines: &lines,
        too_long: Mutex::default(),
    };
    let mut matched = translation.ask(&[0]).await?;
    let text = matched.texts.remove(&0);
    text.ok_or_else(|| Unanswered::Unusable("its line is not an answer".into()))
}

impl AskedLines for Translation<'_> {
    async fn ask(&self, positions: &[usize]) -> Result<Matched, Unanswered> {
        let matched = self.ask_once(positions).await?;
        match positions {
            // No later question would ask the model to shorten it.
            [one] if matched.texts.is_empty() && self.too_long().contains_key(one) => self.ask_once(positions).await,
            _ => Ok(matched),
        }
    }

    /// Returns the key of a line. The lines beside it are part of the question, so that a translation depends on them.
    fn key(&self, position: usize) -> String {
        let text = |at: Option<usize>| at.and_then(|at| self.lines.get(at)).map_or("", |line| &line.text);
        let line = &self.lines[position];
        kept::key(&[
            NAME,
            &self.chat.provider().name,
            self.chat.model(),
            self.system,
            self.source.unwrap_or_default(),
            self.target,
            &line.seconds,
            &line.budget.to_string(),
            text(position.checked_sub(1)),
            text(Some(position)),
            text(Some(position + 1)),
        ])
    }

    fn name(&self, position: usize) -> String {
        let Line { index, text, .. } = &self.lines[position];
        format!("line {index} ('{text}')")
    }

    fn second_best(&self, position: usize) -> Option<String> {
        self.too_long().get(&position).cloned()
    }
}

impl Translation<'_> {
    fn too_long(&self) -> MutexGuard<'_, BTreeMap<usize, String>> {
        self.too_long.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_once(&self, positions: &[usize]) -> Result<Matched, Unanswered> {
        let name = |at: usize| self.lines[at].index;
        let about = match positions {
            [one] => format!("line {} of {}", name(*one), self.lines.len()),
            some => format!(
                "lines {} to {} of {}",
                name(some[0]),
                name(some[some.len() - 1]),
                self.lines.len()
            ),
        };
        let user = self.question(positions, self.chat.asks_for_json());
        let question = ChatQuestion {
            about: &about,
            system: self.system,
            user: &user,
            shape: Shape::Lines,
            again: positions.len() == 1,
        };
        let check = |reply: &str| self.accept(reply, positions);
        self.chat.ask(question, check).await
    }

    /// Returns the question: the languages, how to reply, and the lines. A line's key is its position in the question,
    /// since models number by that, whatever keys they are given.
    fn question(&self, positions: &[usize], json: bool) -> String {
        let source = self.source.unwrap_or("find out");
        let mut text = format!(
            "Source language: {source}\nTarget language: {}\nLines: {}\n\n",
            self.target,
            positions.len()
        );
        text.push_str(if json { REPLY_WITH_JSON } else { REPLY_WITH_LINES });
        text.push_str("\n\n");
        let too_long = self.too_long();
        for (key, at) in (1..).zip(positions) {
            if let Some(text_before) = too_long.get(at) {
                let (length, budget) = (text_before.chars().count(), self.lines[*at].budget);
                text.push_str(&format!(
                    "The translation of line {key} was too long before, {length} characters instead of at most {budget}; \
                     shorten it: {text_before}\n"
                ));
            }
        }
        text.push('\n');
        for (key, at) in (1..).zip(positions) {
            let Line {
                seconds,
                budget,
                text: words,
                ..
            } = &self.lines[*at];
            text.push_str(&format!("{key} | {seconds} | {budget} | {words}\n"));
        }
        text
    }

    /// Returns the translations by position. One over its budget is taken only where the model was asked to shorten one
    /// before. The error says which line is wrong and why, where no line can be used.
    fn accept(&self, reply: &str, positions: &[usize]) -> Result<Matched, String> {
        let columns: Vec<String> = positions
            .iter()
            .map(|at| format!("{} | {}", self.lines[*at].seconds, self.lines[*at].budget))
            .collect();
        let asked: Vec<Asked<'_>> = positions
            .iter()
            .zip(&columns)
            .zip(1..)
            .map(|((at, columns), key)| Asked {
                key,
                source: &self.lines[*at].text,
                columns,
            })
            .collect();
        let read = keyed::read(reply, &asked)?;
        // A long answer may include the line beside it, if that has none.
        let is_one_line = |key: usize| {
            let beside = [key - 1, key + 1];
            let mut asked = beside.iter().filter(|key| (1..=positions.len()).contains(*key));
            asked.all(|key| read.texts.contains_key(key))
        };
        let mut accepted = Matched::default();
        let mut is_to_shorten = false;
        for (&key, text) in &read.texts {
            let at = positions[key - 1];
            let (length, Line { budget, .. }) = (text.chars().count(), &self.lines[at]);
            if length <= *budget {
                accepted.texts.insert(at, text.clone());
                continue;
            }
            let doubt = format!(
                "{} has {length} characters, its budget is {budget}: '{text}'",
                self.name(at)
            );
            let is_translation = length <= self.lines[at].most() && is_one_line(key);
            match is_translation.then(|| self.shortest(at, text)).flatten() {
                Some(text) => {
                    accepted.texts.insert(at, text);
                }
                None => accepted.doubts.push(doubt),
            }
            is_to_shorten |= is_translation;
        }
        let doubts = read.doubts.into_iter();
        accepted
            .doubts
            .extend(doubts.map(|(key, what)| format!("{} {what}", self.name(positions[key - 1]))));
        match accepted.doubts.first() {
            Some(why) if accepted.texts.is_empty() && !is_to_shorten => Err(why.clone()),
            _ => Ok(accepted),
        }
    }

    /// Notes a translation that is over its budget. Returns the shortest of that line if it is not the first.
    fn shortest(&self, at: usize, text: &str) -> Option<String> {
        match self.too_long().entry(at) {
            Entry::Vacant(first) => {
                first.insert(text.to_owned());
                None
            }
            Entry::Occupied(mut shortest) => {
                if text.chars().count() < shortest.get().chars().count() {
                    shortest.insert(text.to_owned());
                }
                Some(shortest.get().clone())
            }
        }
    }
}

const REPLY_WITH_JSON: &str = r#"Reply with JSON and nothing else: {"lines": [{"key": 1, "source": "...", "text": "..."}]}
with one entry for each line below: its key, the first five words of the line as they are, its translation."#;
const REPLY_WITH_LINES: &str =
    r#"Reply with one line for each line below and nothing else: its key, " | ", its translation."#;

#[cfg(test)]
mod tests;
