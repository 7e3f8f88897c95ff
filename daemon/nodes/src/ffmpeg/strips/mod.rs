//! Chooses the strips of a video that have to be read: those that do not look like the one before. The strips of all
//! frames pass one by one; only the edges and blocks of each are kept (`features`), from which `changes` finds when
//! something appeared or disappeared. Between two changes the text cannot change, so a few strips stand for all
//! (`stretches`).
//!
//! No part of it knows what text is, so that no text is missed; a change that is none costs one more reading.

mod changes;
mod features;
mod stretches;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use changes::Changes;
use features::FeatureReader;
use stretches::Stretches;

/// Width and height of a strip in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StripSize {
    pub(super) width: usize,
    pub(super) height: usize,
}

impl StripSize {
    /// Returns the bytes of one plane; a strip has three, of which the first is its brightness.
    pub(super) const fn plane(self) -> usize {
        self.width * self.height
    }
}

/// A strip that is to be read, and the frames it stands for; all from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeptStrip {
    pub(super) frame: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    /// The first frame of all those around it between which nothing changed.
    pub(super) stretch: u64,
}

/// Chooses among the strips of a video as they come.
#[derive(Debug)]
pub(super) struct StripChooser {
    reader: FeatureReader,
    changes: Changes,
    stretches: Stretches,
    /// Strips of which it is not known yet whether they begin a stretch.
    waiting: VecDeque<Vec<u8>>,
}

impl StripChooser {
    /// `rate` is the frames of a second, about.
    pub(super) fn new(size: StripSize, rate: f64) -> Self {
        let reader = FeatureReader::new(size);
        Self {
            changes: Changes::new(reader.width()),
            reader,
            stretches: Stretches::new(rate),
            waiting: VecDeque::new(),
        }
    }

    /// Takes the three planes of the next strip, and gives those that are now known to be kept.
    pub(super) fn add<E>(
        &mut self,
        strip: Vec<u8>,
        keep: &mut impl FnMut(KeptStrip, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let features = self.reader.read(&strip);
        self.waiting.push_back(strip);
        self.changes.add(features);
        while let Some(change) = self.changes.next_known() {
            self.pass_on(change, keep)?;
        }
        Ok(())
    }

    /// Passes on the rest.
    pub(super) fn finish<E>(mut self, keep: &mut impl FnMut(KeptStrip, Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        while let Some(change) = self.changes.next_of_rest() {
            self.pass_on(change, keep)?;
        }
        self.stretches.end(keep)
    }

    fn pass_on<E>(
        &mut self,
        change: changes::Known,
        keep: &mut impl FnMut(KeptStrip, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.waiting.pop_front() {
            Some(strip) => self.stretches.add(change, strip, keep),
            None => Ok(()),
        }
    }
}
