//! The strips between two changes, and which of them are read: one where they all look the same or are too few for a
//! text that stays, else three, so that most of them can agree, and one a second where nothing changes for long.

use super::{KeptStrip, changes::Known};

/// Seconds after which a part of a long stretch is closed.
const PART: f64 = 3.0;
/// Strips that are read of a part.
const READ: usize = 3;
/// Seconds a text stays when it is no part of another one.
const STAYS: f64 = 0.3;
/// Strips of a part that are at hand to be chosen from.
const AT_HAND: usize = 12;
/// Difference of a block's mean brightness, of 255, from which on strips do not look the same.
const OTHER: f32 = 1.0;

/// Gathers stretches.
#[derive(Debug)]
pub(super) struct Stretches {
    /// Frames of a second and of a part.
    second: f64,
    part: u64,
    /// The number of the next strip.
    next: u64,
    stretch: u64,
    /// Blocks of the first strip of the stretch.
    first_look: Vec<f32>,
    is_still: bool,
    open: Part,
    /// The one strip of a still stretch, kept and not yet given.
    still: Option<(KeptStrip, Vec<u8>)>,
}

/// A part of a stretch that continues.
#[derive(Debug, Default)]
struct Part {
    first: u64,
    last: u64,
    /// Some of its strips, by number, evenly spread.
    at_hand: Vec<(u64, Vec<u8>)>,
    /// Every how many strips one is taken.
    every: u64,
}

impl Part {
    fn new(first: u64, strip: Vec<u8>) -> Self {
        Self {
            first,
            last: first,
            at_hand: vec![(first, strip)],
            every: 1,
        }
    }

    fn len(&self) -> u64 {
        self.last + 1 - self.first
    }

    fn add(&mut self, number: u64, strip: Vec<u8>) {
        self.last = number;
        if !(number - self.first).is_multiple_of(self.every) {
            return;
        }
        if self.at_hand.len() == AT_HAND {
            self.every *= 2;
            let (first, every) = (self.first, self.every);
            self.at_hand
                .retain(|(number, _)| (number - first).is_multiple_of(every));
            if !(number - first).is_multiple_of(every) {
                return;
            }
        }
        self.at_hand.push((number, strip));
    }

    /// Takes the strips in the middle of `count` equal parts, or the first strip of all instead of the first of these.
    fn choose(mut self, count: usize, with_first: bool) -> Vec<(u64, Vec<u8>)> {
        let count = count.min(self.at_hand.len());
        let mut chosen = Vec::with_capacity(count);
        for index in 0..count {
            let due = if index == 0 && with_first {
                self.first as f64
            } else {
                self.first as f64 + (index as f64 + 0.5) * self.len() as f64 / count as f64 - 0.5
            };
            let distance = |(number, _): &(u64, Vec<u8>)| (*number as f64 - due).abs();
            // Enough are left for those to come.
            let until = self.at_hand.len() - (count - 1 - index);
            let nearest = (0..until).min_by(|a, b| distance(&self.at_hand[*a]).total_cmp(&distance(&self.at_hand[*b])));
            let Some(nearest) = nearest else { break };
            let rest = self.at_hand.split_off(nearest + 1);
            chosen.extend(self.at_hand.pop());
            self.at_hand = rest;
        }
        chosen
    }
}

impl Stretches {
    pub(super) fn new(rate: f64) -> Self {
        Self {
            second: rate.max(1.0),
            part: (PART * rate).max(READ as f64) as u64,
            next: 1,
            stretch: 0,
            first_look: Vec::new(),
            is_still: true,
            open: Part::default(),
            still: None,
        }
    }

    pub(super) fn add<E>(
        &mut self,
        known: Known,
        strip: Vec<u8>,
        keep: &mut impl FnMut(KeptStrip, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let number = self.next;
        self.next += 1;
        if known.begins || number == 1 {
            self.end(keep)?;
            (self.stretch, self.first_look, self.is_still) = (number, known.blocks, true);
            self.open = Part::new(number, strip);
            return Ok(());
        }
        let differs = |(one, other): (&f32, &f32)| (one - other).abs() >= OTHER;
        if self.is_still && self.first_look.iter().zip(&known.blocks).any(differs) {
            self.is_still = false;
            if self.still.is_some() {
                // The part that was still stands for itself.
                self.end(keep)?;
                self.open = Part::new(number, strip);
                return Ok(());
            }
        }
        if let Some((kept, _)) = &mut self.still {
            kept.last = number;
            return Ok(());
        }
        if self.open.at_hand.is_empty() {
            self.open = Part::new(number, strip);
        } else {
            self.open.add(number, strip);
        }
        if self.open.len() >= self.part {
            self.close(keep)?;
        }
        Ok(())
    }

    /// Ends the stretch.
    pub(super) fn end<E>(&mut self, keep: &mut impl FnMut(KeptStrip, Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        if !self.open.at_hand.is_empty() {
            self.close(keep)?;
        }
        match self.still.take() {
            Some((kept, strip)) => keep(kept, strip),
            None => Ok(()),
        }
    }

    /// Chooses among the strips of the open part.
    fn close<E>(&mut self, keep: &mut impl FnMut(KeptStrip, Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let part = std::mem::take(&mut self.open);
        let (first, last) = (part.first, part.last);
        let is_first_of_all = first == 1;
        let count = if self.is_still || (part.len() as f64) < STAYS * self.second {
            1
        } else if first == self.stretch {
            READ
        } else {
            // What is left of a long stretch.
            (part.len() as f64 / self.second).ceil().min(READ as f64) as usize
        };
        let chosen = part.choose(count, is_first_of_all);
        let numbers: Vec<_> = chosen.iter().map(|(number, _)| *number).collect();
        for (index, (frame, strip)) in chosen.into_iter().enumerate() {
            let from = match index {
                0 => first,
                _ => u64::midpoint(numbers[index - 1], frame) + 1,
            };
            let to = match numbers.get(index + 1) {
                Some(next) => u64::midpoint(frame, *next),
                None => last,
            };
            let kept = KeptStrip {
                frame,
                first: from,
                last: to,
                stretch: self.stretch,
            };
            if self.is_still {
                self.still = Some((kept, strip));
            } else {
                keep(kept, strip)?;
            }
        }
        Ok(())
    }
}
