//! What a corrected text changed, for people.

use std::{collections::HashMap, fmt::Write, ops::Range};

use unicode_segmentation::UnicodeSegmentation;

use super::Rebuilt;
use crate::{
    similarity::{EditOp, Popular, opcodes},
    spoken::text_of,
};

/// Both texts, and one line per change with the cues it is in.
pub(super) fn compose_report(rebuilt: &Rebuilt, wanted: &str) -> String {
    let before = text_of(&rebuilt.before);
    let mut report = format!("Original text:\n{}\n\nNew text:\n{wanted}\n\nChanges:\n", before.trim());
    let changes = changes(rebuilt, &before, wanted);
    if changes.is_empty() {
        report.push_str("no change\n");
    }
    for change in changes {
        let _ = writeln!(report, "{change}");
    }
    report
}

fn changes(rebuilt: &Rebuilt, before: &str, wanted: &str) -> Vec<String> {
    let by_blanks = before.trim().contains(char::is_whitespace) || wanted.contains(char::is_whitespace);
    let mut said = Vec::new();
    for (at, word) in rebuilt.before.iter().enumerate() {
        said.extend(parts(&word.word, by_blanks).into_iter().map(|part| (part, at)));
    }
    let old: Vec<_> = said.iter().map(|(part, _)| *part).collect();
    let new = parts(wanted, by_blanks);
    let joint = if by_blanks { " " } else { "" };
    let cues = cues_of_words(rebuilt);
    opcodes(&old, &new, Popular::Counted)
        .into_iter()
        .filter_map(|step| {
            let (left, right) = (old[step.first.clone()].join(joint), new[step.second].join(joint));
            let what = match step.change {
                EditOp::Equal => return None,
                EditOp::Replace => format!("replaced \"{left}\" with \"{right}\""),
                EditOp::Delete => format!("deleted \"{left}\""),
                EditOp::Insert => format!("inserted \"{right}\""),
            };
            let words: Vec<_> = place(&step.first, old.len()).map(|at| said[at].1).collect();
            let numbers: Vec<_> = words.iter().filter_map(|word| cues.get(word)).copied().collect();
            Some(match (numbers.iter().min(), numbers.iter().max()) {
                (Some(first), Some(last)) if first < last => format!("cues {first}-{last}: {what}"),
                (Some(only), _) => format!("cue {only}: {what}"),
                _ => what,
            })
        })
        .collect()
}

/// Returns the words that a change belongs to: an insertion belongs to the word before it.
fn place(range: &Range<usize>, all: usize) -> Range<usize> {
    if range.is_empty() {
        let at = range.start.saturating_sub(1);
        return at..(at + 1).min(all);
    }
    range.clone()
}

fn parts(text: &str, by_blanks: bool) -> Vec<&str> {
    if by_blanks {
        text.split_whitespace().collect()
    } else {
        text.graphemes(true).collect()
    }
}

/// Returns the number of the cue each of the original words is in.
fn cues_of_words(rebuilt: &Rebuilt) -> HashMap<usize, usize> {
    let mut cues = HashMap::new();
    for (cue, number) in rebuilt.cues.iter().zip(1..) {
        for (_, word) in &rebuilt.after[cue.words.clone()] {
            cues.entry(*word).or_insert(number);
        }
    }
    cues
}
