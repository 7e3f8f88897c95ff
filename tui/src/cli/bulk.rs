//! Does one thing to many targets: asks first where something is lost, then prints what became of each.

use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::{Value, json};

use super::{
    failure::{CommandResult, Failure},
    out::{print, print_json, print_note},
    select::Selected,
};
use crate::{figures::count_noun, glyphs::Glyphs, model::dialog::COUNT_ABOVE, theme::word, view::text};

/// Lines about what goes that are printed before a question.
const MOST_LINES: usize = 50;

/// What became of a target that was acted on.
#[derive(Debug)]
pub struct Done {
    /// For people.
    pub note: String,
    /// What the daemon answered.
    pub answer: Value,
}

/// What became of each target.
#[derive(Debug)]
pub struct BulkReport {
    is_json: bool,
    /// One target that was named: its answer or failure is that of the command.
    is_single: bool,
    results: Vec<Value>,
    failed: usize,
    total: usize,
}

impl BulkReport {
    pub fn new(total: usize, is_single: bool, is_json: bool) -> Self {
        Self {
            is_json,
            is_single,
            results: Vec::new(),
            failed: 0,
            total,
        }
    }

    /// Takes in what became of one target; a failure of the only one is returned.
    pub fn add(&mut self, target: &str, outcome: Result<Done, Failure>) -> Result<(), Failure> {
        match outcome {
            Err(failure) if self.is_single => return Err(failure),
            Ok(done) if self.is_json && self.is_single => self.results.push(done.answer),
            Ok(done) if self.is_json => {
                self.results
                    .push(json!({"target": target, "ok": true, "answer": done.answer}));
            }
            Ok(done) => print(&text::harmless(&format!("✔ {target}  {}", done.note)))?,
            Err(failure) => {
                self.failed += 1;
                if self.is_json {
                    let problem = failure.document();
                    self.results
                        .push(json!({"target": target, "ok": false, "problem": problem}));
                } else {
                    print(&text::harmless(&format!("✖ {target}  {}", failure.text)))?;
                }
            }
        }
        Ok(())
    }

    /// Prints what is left to print. Returns whether every target succeeded.
    pub fn finish(mut self) -> CommandResult {
        if self.is_json && self.is_single {
            if let Some(answer) = self.results.pop() {
                print_json(&answer)?;
            }
        } else if self.is_json {
            print_json(&self.results)?;
        } else if self.total == 0 {
            print_note("nothing was found to do this to");
        } else if self.failed > 0 {
            print_note(&format!(
                "{} of {} failed",
                self.failed,
                count_noun(self.total, "target")
            ));
        }
        Ok(self.failed == 0)
    }
}

/// Asks whether to go on, after a line for each thing that goes. Where nobody can be asked, that is a failure that says
/// how to answer before.
pub fn confirm(question: &str, lines: &[String], is_agreed: bool) -> CommandResult {
    if is_agreed || lines.is_empty() {
        return Ok(true);
    }
    let list = list_lines(lines);
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::new(format!("{question} Pass --yes to do it:\n{list}")));
    }
    let wanted = match lines.len() {
        count if count > COUNT_ABOVE => count.to_string(),
        _ => "y".to_owned(),
    };
    let glyphs = Glyphs::from_env();
    let mut err = io::stderr().lock();
    // Where stderr cannot be written to, the answer cannot be the wanted one either.
    let _ = write!(err, "{question}\n{}\nType {wanted} to go on: ", glyphs.shown(&list));
    let _ = err.flush();
    drop(err);
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    let is_agreed = read.is_ok() && answer.trim().eq_ignore_ascii_case(&wanted);
    if !is_agreed {
        print_note("nothing was done");
    }
    Ok(is_agreed)
}

fn list_lines(lines: &[String]) -> String {
    let mut shown: Vec<_> = lines
        .iter()
        .take(MOST_LINES)
        .map(|line| format!("  {}", text::harmless(line)))
        .collect();
    if let more @ 1.. = lines.len().saturating_sub(MOST_LINES) {
        shown.push(format!("  … and {more} more"));
    }
    shown.join("\n")
}

/// Describes a target for a question: the state of a stage, or what of a task waits or runs.
pub fn describe_target(selected: &Selected) -> String {
    let target = &selected.target;
    let Some(task) = &selected.task else {
        return format!("{target}  there is no such task");
    };
    if let Some(node) = &target.node {
        let state = task.stages.get(node).map(|stage| word(stage.status));
        return format!("{target}  {}", state.unwrap_or("there is no such stage"));
    }
    let stages = count_noun(task.stages.len(), "stage");
    match task.count_in_flight() {
        0 => format!("{target}  {stages}"),
        in_flight => format!("{target}  {stages}, {in_flight} under way"),
    }
}
