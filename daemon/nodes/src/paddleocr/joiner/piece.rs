//! Frames that are taken for one text, and what was read in them.

use std::collections::BTreeMap;

use super::{CLOSE, FIRM, Joined};
use crate::{ffmpeg::timeline::FrameTimes, paddleocr::readings::OcrReading, similarity};

/// One text that was read in a piece.
#[derive(Debug, Clone)]
struct Vote {
    /// It without blanks, of which readers leave out narrow ones.
    key: String,
    /// With its blanks, as they were read; never empty.
    spellings: Vec<Spelling>,
    /// How long it was read.
    seconds: f64,
    /// The same, each second weighted by how sure the reader was.
    weight: f64,
    /// Sum and number of the readings' confidences.
    confidence: (f64, usize),
    readings: usize,
    /// The picture it was last read in.
    last_read: u64,
}

/// A text with its blanks.
#[derive(Debug, Clone)]
struct Spelling {
    text: String,
    corners: Vec<[i64; 2]>,
    seconds: f64,
}

/// Part of its time for which a text must be read with a blank that others leave out.
const SPELT: f64 = 0.15;

/// Frames in a row, or with gaps that were joined over.
#[derive(Debug, Clone)]
pub(super) struct TextPiece {
    first: u64,
    last: u64,
    pub(super) start: f64,
    pub(super) end: f64,
    /// Of the last frame.
    pub(super) stretch: Option<u64>,
    /// In the order in which they were first read; never empty.
    votes: Vec<Vote>,
    /// Which vote has the most weight.
    best: usize,
    /// The vote of the last frame.
    latest: usize,
}

impl TextPiece {
    /// Returns a piece for each run of frames with the same text, or part of one in a stretch.
    pub(super) fn of_readings(readings: &BTreeMap<u64, OcrReading>, times: &FrameTimes) -> Vec<Self> {
        let mut pieces: Vec<Self> = Vec::new();
        for (&number, reading) in readings {
            let Some((start, end)) = times.shown(number) else {
                continue;
            };
            match pieces.last_mut() {
                Some(open)
                    if open.last + 1 == number
                        && open.stretch == reading.stretch
                        && open.key() == key(&reading.text) =>
                {
                    open.last = number;
                    open.end = end;
                    open.votes[0].add(reading, end - start);
                }
                _ => pieces.push(Self {
                    first: number,
                    last: number,
                    start,
                    end,
                    stretch: reading.stretch,
                    votes: vec![Vote::new(reading, end - start)],
                    best: 0,
                    latest: 0,
                }),
            }
        }
        pieces
    }

    /// Takes the frames and the readings of a later piece.
    pub(super) fn append(&mut self, other: Self) {
        self.last = other.last;
        self.end = other.end;
        self.stretch = other.stretch;
        for (index, vote) in other.votes.into_iter().enumerate() {
            let at = match self.votes.iter().position(|own| own.key == vote.key) {
                Some(at) => {
                    self.votes[at].merge(vote);
                    at
                }
                None => {
                    self.votes.push(vote);
                    self.votes.len() - 1
                }
            };
            if index == other.latest {
                self.latest = at;
            }
        }
        self.best = self.most_agreed();
    }

    /// Returns the text most readings agree on; of equal ones the longest.
    fn most_agreed(&self) -> usize {
        let order = |at: &usize| (self.votes[*at].weight, letters(&self.votes[*at].key).len());
        (0..self.votes.len())
            .max_by(|a, b| {
                let ((weight_a, length_a), (weight_b, length_b)) = (order(a), order(b));
                let by_weight = if (weight_a - weight_b).abs() < CLOSE {
                    std::cmp::Ordering::Equal
                } else {
                    weight_a.total_cmp(&weight_b)
                };
                // The first one, where they are alike in everything.
                by_weight.then(length_a.cmp(&length_b)).then(b.cmp(a))
            })
            .unwrap_or(0)
    }

    /// Returns the text most agree on, without blanks.
    pub(super) fn key(&self) -> &str {
        &self.votes[self.best].key
    }

    pub(super) fn text(&self) -> &str {
        &self.votes[self.best].spelling().text
    }

    pub(super) fn first_text(&self) -> &str {
        &self.votes[0].spelling().text
    }

    pub(super) fn last_text(&self) -> &str {
        &self.votes[self.latest].spelling().text
    }

    /// Whether one of its texts stays long enough to be no misreading.
    pub(super) fn is_firm(&self) -> bool {
        self.votes.iter().any(|vote| vote.seconds >= FIRM - CLOSE)
    }

    /// Of its text; `None` where the reader does not say.
    pub(super) fn confidence(&self) -> Option<f64> {
        self.votes[self.best].mean_confidence()
    }

    /// Whether its text is a part of the other's that does not stay, as while letters come or fade in.
    pub(super) fn is_part_of(&self, other: &Self) -> bool {
        let (part, whole) = (letters(self.key()), letters(other.key()));
        if self.is_firm() || part.is_empty() || part.len() >= whole.len() {
            return false;
        }
        let mut rest = whole.into_iter();
        part.into_iter().all(|letter| rest.any(|other| other == letter))
    }

    pub(super) fn into_joined(self) -> Joined {
        let whole = self.as_typed().unwrap_or(self.best);
        let all: f64 = self.votes.iter().map(|vote| vote.seconds).sum();
        let vote = &self.votes[whole];
        // Texts that grew into this one agree with it.
        let agreeing: f64 = if whole == self.best { vote.seconds } else { all };
        Joined {
            start: self.start,
            end: self.end,
            text: vote.spelling().text.clone(),
            corners: vote.spelling().corners.clone(),
            frames: [self.first, self.last],
            readings: self.votes.iter().map(|vote| vote.readings).sum(),
            confidence: vote.mean_confidence(),
            agreement: if all > 0.0 { agreeing / all } else { 1.0 },
        }
    }

    /// Returns the whole text of one that came letter by letter or word by word and did not stay: others grew into it.
    fn as_typed(&self) -> Option<usize> {
        if self.is_firm() {
            return None;
        }
        let texts: Vec<_> = self.votes.iter().map(|vote| letters(&vote.key)).collect();
        let longest = (0..texts.len()).rev().max_by_key(|at| texts[*at].len())?;
        let whole = &texts[longest];
        let grown = (0..longest).filter(|at| texts[*at].len() < whole.len() && whole.starts_with(&texts[*at]));
        let is_growing = grown.clone().count() >= 2 && grown.clone().any(|at| at == self.best);
        is_growing.then_some(longest)
    }
}

impl Vote {
    fn new(reading: &OcrReading, seconds: f64) -> Self {
        let mut vote = Self {
            key: key(&reading.text),
            spellings: Vec::new(),
            seconds: 0.0,
            weight: 0.0,
            confidence: (0.0, 0),
            readings: 0,
            last_read: 0,
        };
        vote.add(reading, seconds);
        vote
    }

    fn add(&mut self, reading: &OcrReading, seconds: f64) {
        self.spelt(Spelling {
            text: reading.text.clone(),
            corners: reading.corners.clone(),
            seconds,
        });
        self.seconds += seconds;
        self.weight += seconds * reading.confidence.unwrap_or(1.0);
        if self.last_read != reading.read {
            self.last_read = reading.read;
            self.readings += 1;
            if let Some(confidence) = reading.confidence {
                self.confidence.0 += confidence;
                self.confidence.1 += 1;
            }
        }
    }

    fn spelt(&mut self, spelling: Spelling) {
        match self.spellings.iter_mut().find(|own| own.text == spelling.text) {
            Some(own) => own.seconds += spelling.seconds,
            None => self.spellings.push(spelling),
        }
    }

    /// Returns the one with most blanks of those that are no exception: a reader leaves out narrow blanks and invents
    /// none.
    fn spelling(&self) -> &Spelling {
        let least = SPELT * self.seconds - CLOSE;
        let order = |spelling: &&Spelling| (blanks(&spelling.text), spelling.seconds);
        self.spellings
            .iter()
            .filter(|spelling| spelling.seconds >= least)
            .max_by(|a, b| {
                let ((blanks_a, seconds_a), (blanks_b, seconds_b)) = (order(a), order(b));
                blanks_a.cmp(&blanks_b).then(seconds_a.total_cmp(&seconds_b))
            })
            .unwrap_or(&self.spellings[0])
    }

    fn merge(&mut self, other: Self) {
        for spelling in other.spellings {
            self.spelt(spelling);
        }
        self.seconds += other.seconds;
        self.weight += other.weight;
        self.readings += other.readings;
        self.confidence.0 += other.confidence.0;
        self.confidence.1 += other.confidence.1;
        self.last_read = other.last_read;
    }

    fn mean_confidence(&self) -> Option<f64> {
        let (sum, count) = self.confidence;
        (count > 0).then(|| sum / count as f64)
    }
}

fn key(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Blanks between letters or digits of writings that have them.
fn blanks(text: &str) -> usize {
    let all: Vec<_> = text.chars().collect();
    let is_of_a_word = |c: char| c.is_alphanumeric() && (c.is_lowercase() || c.is_uppercase() || c.is_ascii_digit());
    let is_blank = |three: &&[char]| three[1].is_whitespace() && is_of_a_word(three[0]) && is_of_a_word(three[2]);
    all.windows(3).filter(is_blank).count()
}

/// Letters and digits alone.
fn letters(text: &str) -> Vec<char> {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Returns how alike two texts are, 0 to 1.
pub(super) fn ratio(first: &str, second: &str) -> f64 {
    if first == second {
        return 1.0;
    }
    similarity::text_ratio(first, second)
}
