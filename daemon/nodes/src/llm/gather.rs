//! Asks for many lines in batches. Lines of a batch without a usable answer are asked again in a smaller one, down to a
//! single line; a line that stays without an answer costs no other. Each accepted answer is kept at once.

use std::{collections::BTreeMap, future::Future};

use super::{
    client::{Chat, Unanswered},
    kept::KeptAnswers,
};
use onceover_limits::Limit;
use onceover_run::{
    RunContext, RunError,
    warnings::{Code, Warning},
};

/// Questions one after another that may bring no line, before the lines that are left are given up.
pub const MOST_FRUITLESS: usize = 60;
/// Lines that may stay without an answer before the first one is accepted.
const FIRST_STUBBORN: usize = 3;

/// What a reply has of the lines that were asked.
#[derive(Debug, Default)]
pub(super) struct Matched {
    /// By position.
    pub(super) texts: BTreeMap<usize, String>,
    /// Why others are not among them, for people.
    pub(super) doubts: Vec<String>,
}

/// The lines that are asked. Positions count from 0.
pub(super) trait AskedLines: Sync {
    /// Asks for the lines at these positions; answers by position. A single line is asked again where that may help.
    fn ask(&self, positions: &[usize]) -> impl Future<Output = Result<Matched, Unanswered>> + Send;

    /// Returns what an answer to this line depends on, as a hash.
    fn key(&self, position: usize) -> String;

    /// Returns what one of them is called in messages: "line 3".
    fn name(&self, position: usize) -> String;

    /// Returns an answer that is better than none, for a line that gets no right one.
    fn second_best(&self, _position: usize) -> Option<String> {
        None
    }
}

/// The outcome of all questions.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// By position.
    pub(super) texts: BTreeMap<usize, String>,
    /// Lines without an answer, and why.
    pub(super) stubborn: Vec<(usize, String)>,
    /// Answers that an earlier run had left.
    pub(super) from_before: usize,
    /// Batches as they were first asked.
    pub(super) batches: usize,
}

/// Asks for all lines of the batches, in order. `done` hears how many lines have an answer.
pub(super) async fn gather<L: AskedLines>(
    chat: &Chat,
    kept: &KeptAnswers,
    lines: &L,
    batches: Vec<Vec<usize>>,
    done: impl Fn(usize),
) -> Result<Gathered, RunError> {
    let mut gathered = Gathered {
        batches: batches.len(),
        ..Gathered::default()
    };
    let mut open = gathered.take_kept(kept, lines, batches);
    if gathered.from_before > 0 {
        chat.line(&format!(
            "{} answers are kept from an earlier run",
            gathered.from_before
        ));
    }
    let mut fruitless = 0;
    while let Some(batch) = open.pop() {
        if gathered.is_at_its_end(fruitless) {
            open.push(batch);
            break;
        }
        let mut matched = match lines.ask(&batch).await {
            Ok(matched) => matched,
            Err(Unanswered::Unusable(why)) => Matched {
                doubts: vec![why],
                ..Matched::default()
            },
            Err(Unanswered::Interrupted) => return Err(RunError::Interrupted),
            Err(Unanswered::Failed(why)) => return Err(failed(why, &gathered)),
        };
        fruitless = if matched.texts.is_empty() { fruitless + 1 } else { 0 };
        let missing = matched.missing(&batch);
        let why = matched.take_doubt();
        gathered.accept(matched, kept, lines);
        done(gathered.texts.len());
        if !missing.is_empty() {
            chat.line(&format!(
                "{} of {} lines are asked again: {why}",
                missing.len(),
                batch.len()
            ));
        }
        ask_again(missing, batch.len(), why, &mut open, &mut gathered.stubborn);
    }
    gathered.give_up(open);
    gathered.take_second_best(kept, lines);
    gathered.stubborn.sort_unstable();
    Ok(gathered)
}

impl Matched {
    /// Returns the positions of a batch that have no text.
    fn missing(&self, batch: &[usize]) -> Vec<usize> {
        let is_missing = |at: &usize| !self.texts.contains_key(at);
        batch.iter().copied().filter(is_missing).collect()
    }

    /// Returns why a line is not among the texts.
    fn take_doubt(&mut self) -> String {
        let doubt = self.doubts.drain(..).next();
        doubt.unwrap_or_else(|| "it has no answer".into())
    }
}

/// Puts the missing lines of a batch among those that are asked next: in halves, or as one batch if they are a small
/// part.
fn ask_again(
    missing: Vec<usize>,
    asked: usize,
    why: String,
    open: &mut Vec<Vec<usize>>,
    stubborn: &mut Vec<(usize, String)>,
) {
    match missing.as_slice() {
        [] => {}
        [one] if asked == 1 => stubborn.push((*one, why)),
        some if some.len() * 2 <= asked => open.push(missing),
        some => {
            let (first, second) = some.split_at(some.len() / 2);
            open.push(second.to_vec());
            open.push(first.to_vec());
        }
    }
}

fn failed(why: String, gathered: &Gathered) -> RunError {
    match gathered.texts.len() {
        0 => RunError::Failed(why),
        count => RunError::Failed(format!(
            "{why}; {count} accepted answers are kept, and a run again asks only for the others"
        )),
    }
}

impl Gathered {
    /// Takes the answers that an earlier run left. Returns the batches of the other lines, the first one last.
    fn take_kept<L: AskedLines>(&mut self, kept: &KeptAnswers, lines: &L, batches: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
        let mut open = Vec::new();
        for batch in batches {
            let (have, lack): (Vec<_>, Vec<_>) = batch.into_iter().partition(|position| {
                let answer = kept.get(&lines.key(*position));
                answer.is_some_and(|text| self.texts.insert(*position, text).is_none())
            });
            self.from_before += have.len();
            open.extend((!lack.is_empty()).then_some(lack));
        }
        open.reverse();
        open
    }

    /// Whether no more is asked: nothing was accepted of the first lines, or too many questions brought nothing.
    fn is_at_its_end(&self, fruitless: usize) -> bool {
        if self.texts.is_empty() && self.stubborn.len() >= FIRST_STUBBORN {
            return true;
        }
        let is_fruitless = fruitless >= MOST_FRUITLESS;
        if is_fruitless {
            Limit::FruitlessQuestions.reached();
        }
        is_fruitless
    }

    /// Takes the texts of a reply, and keeps them for a later run.
    fn accept<L: AskedLines>(&mut self, matched: Matched, kept: &KeptAnswers, lines: &L) {
        let texts = matched.texts.iter();
        kept.add(texts.map(|(at, text)| (lines.key(*at), text.clone())).collect());
        self.texts.extend(matched.texts);
    }

    /// Leaves the lines of these batches without an answer.
    fn give_up(&mut self, open: Vec<Vec<usize>>) {
        let why = "it was not asked any more, because the questions before it brought no line";
        let left = open.into_iter().flatten();
        self.stubborn.extend(left.map(|at| (at, why.to_owned())));
    }

    /// Gives the remaining lines the answers that are better than none.
    fn take_second_best<L: AskedLines>(&mut self, kept: &KeptAnswers, lines: &L) {
        let Self { texts, stubborn, .. } = self;
        let mut answers = Vec::new();
        stubborn.retain(|(at, _)| {
            let Some(text) = lines.second_best(*at) else {
                return true;
            };
            answers.push((lines.key(*at), text.clone()));
            texts.insert(*at, text);
            false
        });
        kept.add(answers);
    }

    /// Adds a warning about the lines without an answer to the run. It is an error if no line has one.
    pub(super) fn report<L: AskedLines>(&self, context: &RunContext, lines: &L, done: &str) -> Result<(), RunError> {
        let Some((position, why)) = self.stubborn.first() else {
            return Ok(());
        };
        if self.texts.is_empty() {
            return Err(RunError::failed(format!("nothing was {done}: {why}")));
        }
        let count = self.stubborn.len();
        let all = count + self.texts.len();
        let name = lines.name(*position);
        let text = format!("{count} of {all} lines keep their source text; {name}: {why}");
        let warning = Warning::new(Code::LinesUntranslated, text)
            .with("lines", count)
            .with("first", position + 1)
            .retryable();
        context.warnings.add(warning);
        Ok(())
    }
}
