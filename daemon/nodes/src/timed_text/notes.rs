//! Notes about how a file was read, which become warnings.

use super::encoding::DecodedText;
use onceover_run::{
    RunContext,
    warnings::{Code, Warning},
};

/// Records that are named, in the log; the warning names the first of them.
const MOST_NAMED: usize = 100;
const NAMED_IN_WARNING: usize = 3;

/// A record that was left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Skipped {
    /// Which of the file's, from 1.
    pub(super) record: usize,
    /// Where it is, from 1; none in JSON.
    pub(super) line: Option<usize>,
    /// What is wrong with it: a sentence without its subject.
    pub(super) why: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "record {} (line {line}) {}", self.record, self.why),
            None => write!(f, "record {} {}", self.record, self.why),
        }
    }
}

/// How a file was read, and which records were not.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Records that are used.
    pub(super) read: usize,
    named: Vec<Skipped>,
    /// The number of each record that was left out.
    skipped: Vec<usize>,
    /// Records without an end, which was found by the next start or the text.
    pub(super) open_ends: usize,
    /// Words without times, which were put between their neighbours.
    pub(super) estimated_words: usize,
    encoding: &'static str,
    is_guessed: bool,
    is_damaged: bool,
    /// Whether the records have their own numbers.
    pub(super) has_ids: bool,
}

impl Notes {
    pub(super) fn from_decoded(decoded: &DecodedText) -> Self {
        Self {
            encoding: decoded.encoding,
            is_guessed: decoded.is_guessed,
            is_damaged: decoded.is_damaged,
            ..Self::default()
        }
    }

    pub(super) fn skip(&mut self, skipped: Skipped) {
        self.skipped.push(skipped.record);
        if self.named.len() < MOST_NAMED {
            self.named.push(skipped);
        }
    }

    /// Counts words whose times are estimated.
    pub(crate) fn estimate(&mut self, words: usize) {
        self.estimated_words += words;
    }

    /// Returns the numbers of the records that were left out, each from 1.
    pub(crate) fn skipped_records(&self) -> &[usize] {
        &self.skipped
    }

    /// Returns how many records were left out.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped.len()
    }

    /// Returns an error when nothing is left; `what` names the records: `cues`.
    pub(super) fn need_any(&self, what: &str) -> Result<(), String> {
        match self.named.first() {
            _ if self.read > 0 => Ok(()),
            None => Err(format!("it has no {what}")),
            Some(first) => Err(format!(
                "it has no {what} that can be used: {} left out; {first}",
                counted(self.skipped(), "record was", "records were")
            )),
        }
    }

    /// Adds the notes to the warnings and the log of a run; `what` is the file.
    pub(crate) fn tell(&self, context: &RunContext, what: &str) {
        for skipped in &self.named {
            context.log.line(&format!("{what}: {skipped}; it is left out"));
        }
        if self.skipped() > 0 {
            let named: Vec<_> = self
                .named
                .iter()
                .take(NAMED_IN_WARNING)
                .map(ToString::to_string)
                .collect();
            let more = if self.skipped() > NAMED_IN_WARNING { "; ..." } else { "" };
            context.warnings.add(
                Warning::new(
                    Code::RecordsSkipped,
                    format!(
                        "{what}: {} left out, {} used: {}{more}",
                        counted(self.skipped(), "record was", "records were"),
                        self.read,
                        named.join("; ")
                    ),
                )
                .with("skipped", self.skipped())
                .with("read", self.read),
            );
        }
        if self.is_guessed || self.is_damaged {
            let damage = if self.is_damaged {
                "; some bytes are no text in it"
            } else {
                ""
            };
            let how = if self.is_guessed {
                "is guessed to be"
            } else {
                "was read as"
            };
            context.warnings.add(
                Warning::new(
                    Code::EncodingGuessed,
                    format!("{what} {how} {}{damage}; input_data.encoding overrides", self.encoding),
                )
                .with("encoding", self.encoding),
            );
        }
        if self.estimated_words > 0 {
            context.warnings.add(
                Warning::new(
                    Code::TimesEstimated,
                    format!(
                        "{what}: {} without times lie between their neighbours",
                        counted(self.estimated_words, "word", "words")
                    ),
                )
                .with("words", self.estimated_words),
            );
        }
        if self.open_ends > 0 {
            context.warnings.add(
                Warning::new(
                    Code::TimesEstimated,
                    format!(
                        "{what}: {} without an end last until the next or as long as their text takes",
                        counted(self.open_ends, "record", "records")
                    ),
                )
                .with("records", self.open_ends),
            );
        }
    }
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
