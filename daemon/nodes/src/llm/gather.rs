//! Asks for many lines in batches. What of a batch cannot be used is asked for again in a smaller one, down to a single
//! line; a line that stays without an answer costs no other. Each accepted answer is kept at once.

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

/// Questions one after another that may bring nothing, before the lines that are left are given up.
pub const MOST_FRUITLESS: usize = 60;
/// Lines that may stay without an answer before the first one is accepted.
const FIRST_STUBBORN: usize = 3;

/// What a reply has of the lines that were asked.
#[derive(Debug, Default)]
pub(super) struct Matched {
    /// By position.
    pub(super) texts: BTreeMap<usize, String>,
    /// Why others are not among them, in words.
    pub(super) doubts: Vec<String>,
}

/// What is asked, line by line. Positions count from 0.
pub(super) trait AskedLines: Sync {
    /// Asks for the lines at these positions; answers by position. A single line is asked again where that may help.
    fn ask(&self, positions: &[usize]) -> impl Future<Output = Result<Matched, Unanswered>> + Send;

    /// What an answer to this line depends on, as a hash.
    fn key(&self, position: usize) -> String;

    /// What one of them is called in messages: "line 3".
    fn name(&self, position: usize) -> String;

    /// An answer that is better than none, for a line that gets no right one.
    fn second_best(&self, _position: usize) -> Option<String> {
        None
    }
}

/// What came of it.
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
    let mut open = Vec::new();
    for batch in batches {
        let (have, lack): (Vec<_>, Vec<_>) = batch.into_iter().partition(|position| {
            let answer = kept.get(&lines.key(*position));
            answer.is_some_and(|text| gathered.texts.insert(*position, text).is_none())
        });
        gathered.from_before += have.len();
        open.extend((!lack.is_empty()).then_some(lack));
    }
    if gathered.from_before > 0 {
        chat.line(&format!(
            "{} answers are kept from an earlier run",
            gathered.from_before
        ));
    }
    open.reverse();
    let mut fruitless = 0;
    while let Some(batch) = open.pop() {
        let is_hopeless = gathered.texts.is_empty() && gathered.stubborn.len() >= FIRST_STUBBORN;
        if is_hopeless || fruitless >= MOST_FRUITLESS {
            if !is_hopeless {
                Limit::FruitlessQuestions.reached();
            }
            open.push(batch);
            break;
        }
        let matched = match lines.ask(&batch).await {
            Ok(matched) => matched,
            Err(Unanswered::Unusable(why)) => Matched {
                doubts: vec![why],
                ..Matched::default()
            },
            Err(Unanswered::Interrupted) => return Err(RunError::Interrupted),
            Err(Unanswered::Failed(why)) => return Err(failed(why, &gathered)),
        };
        fruitless = if matched.texts.is_empty() { fruitless + 1 } else { 0 };
        let missing: Vec<usize> = batch
            .iter()
            .copied()
            .filter(|at| !matched.texts.contains_key(at))
            .collect();
        kept.add(
            matched
                .texts
                .iter()
                .map(|(at, text)| (lines.key(*at), text.clone()))
                .collect(),
        );
        gathered.texts.extend(matched.texts);
        done(gathered.texts.len());
        let why = matched
            .doubts
            .into_iter()
            .next()
            .unwrap_or_else(|| "it has no answer".into());
        if !missing.is_empty() {
            chat.line(&format!(
                "{} of {} lines are asked again: {why}",
                missing.len(),
                batch.len()
            ));
        }
        again(missing, batch.len(), why, &mut open, &mut gathered.stubborn);
    }
    let why = "it was not asked any more, because nothing came of the questions before";
    let left = open.into_iter().flatten();
    gathered.stubborn.extend(left.map(|at| (at, why.to_owned())));
    gathered.take_second_best(kept, lines);
    gathered.stubborn.sort_unstable();
    Ok(gathered)
}

/// What is missing of a batch is asked in halves, or as one where it is but a small part.
fn again(
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
    /// Gives the lines that are left the answers that are better than none.
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

    /// Puts a warning about the lines without an answer into the run. An error where no line has one.
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
