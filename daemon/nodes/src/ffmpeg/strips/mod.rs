//! Which strips of a video have to be read: those that do not look like the one before. The strips of all frames come one
//! by one and go at once; what stays of each is its edges and its blocks (`look`), from which `changes` finds when
//! something appeared or went. Between two changes the text cannot change, so a few strips stand for all (`stretches`).
//!
//! Nothing here knows what text is, so that nothing is missed that is read otherwise: a change that is none costs a reading.

mod changes;
mod look;
mod stretches;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use changes::Changes;
use look::Looker;
use stretches::Stretches;

/// Width and height of a strip in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StripSize {
    pub(super) width: usize,
    pub(super) height: usize,
}

impl StripSize {
    /// Bytes of one plane; a strip has three, of which the first is its brightness.
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
    looker: Looker,
    changes: Changes,
    stretches: Stretches,
    /// Strips of which it is not known yet whether they begin a stretch.
    waiting: VecDeque<Vec<u8>>,
}

impl StripChooser {
    /// `rate` is the frames of a second, about.
    pub(super) fn new(size: StripSize, rate: f64) -> Self {
        let looker = Looker::new(size);
        Self {
            changes: Changes::new(looker.width()),
            looker,
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
        let look = self.looker.look(&strip);
        self.waiting.push_back(strip);
        self.changes.add(look);
        while let Some(change) = self.changes.next_known() {
            self.pass_on(change, keep)?;
        }
        Ok(())
    }

    /// Gives the rest.
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
