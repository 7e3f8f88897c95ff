//! Between which strips something appeared or went. Two signs count: strong edges that come and stay, or stood and
//! went, at once in many pixels, which is what text does over any background; and a block that changes while it was
//! still before and is after, which is what faint text does over a picture that stands still.

use std::collections::VecDeque;

use super::features::{Bits, StripFeatures};

/// Strips for which an edge must stand, or be missing, to count.
const STANDS: usize = 3;
/// Strips around one whose edges say what is usual there.
const AROUND: usize = 12;
/// How many times more edges than usual a change has.
const UNUSUAL: f64 = 2.5;
/// Mean difference of a block's pixels, of 255, from which on it changed.
const CHANGED: f32 = 3.0;
/// The same up to which it is still.
const STILL: f32 = 1.2;
/// Strips a block must be still before and after.
const STILL_FOR: usize = 3;
/// Part of the blocks that are still where the picture stands still. Where much moves, blocks change for no reason.
const MOST: f32 = 0.9;

/// What is known of the next strip.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// Whether something changed between the strip before and this one.
    pub(super) begins: bool,
    pub(super) blocks: Vec<f32>,
}

#[derive(Debug)]
struct Entry {
    /// Pixels whose edge came or went here; `None` until it is known that it stands.
    edges: Option<u32>,
    blocks: Vec<f32>,
    moved: Vec<f32>,
}

/// Finds the changes in a row of strips. It knows of a strip when a dozen more have come.
#[derive(Debug)]
pub(super) struct Changes {
    /// Fewest pixels of a change.
    least: f64,
    /// Pixels that have an edge, as long as nothing else is sure.
    standing: Bits,
    /// Of the last strips, the newest last.
    strong: VecDeque<Bits>,
    calm: VecDeque<Bits>,
    entries: VecDeque<Entry>,
    /// How many of the entries were given out and are kept as neighbours.
    given: usize,
}

impl Changes {
    /// For strips of this width.
    pub(super) fn new(width: usize) -> Self {
        Self {
            least: (width as f64 / 100.0).max(6.0),
            standing: Bits::new(),
            strong: VecDeque::new(),
            calm: VecDeque::new(),
            entries: VecDeque::new(),
            given: 0,
        }
    }

    pub(super) fn add(&mut self, features: StripFeatures) {
        self.entries.push_back(Entry {
            edges: None,
            blocks: features.blocks,
            moved: features.moved,
        });
        self.strong.push_back(features.strong);
        self.calm.push_back(features.calm);
        if self.strong.len() == STANDS {
            let edges = self.turned();
            let at = self.entries.len() - STANDS;
            self.entries[at].edges = Some(edges);
            self.strong.pop_front();
            self.calm.pop_front();
        }
    }

    /// Returns how many edges stand from the oldest of the last strips on, or are missing from there on.
    fn turned(&mut self) -> u32 {
        if self.standing.is_empty() {
            self.standing = vec![0; self.strong[0].len()];
        }
        let mut count = 0;
        for (at, standing) in self.standing.iter_mut().enumerate() {
            let all = |rows: &VecDeque<Bits>| rows.iter().fold(u64::MAX, |all, bits| all & bits[at]);
            let (come, gone) = (all(&self.strong) & !*standing, all(&self.calm) & *standing);
            count += (come | gone).count_ones();
            *standing = (*standing | come) & !gone;
        }
        count
    }

    /// Returns the next strip, once enough have come after it.
    pub(super) fn next_known(&mut self) -> Option<Known> {
        (self.entries.len() > self.given + AROUND + STANDS).then(|| self.give())
    }

    /// Returns the next strip, where no more come.
    pub(super) fn next_of_rest(&mut self) -> Option<Known> {
        (self.entries.len() > self.given).then(|| self.give())
    }

    fn give(&mut self) -> Known {
        let at = self.given;
        let known = Known {
            begins: self.edges_turn(at) || self.a_still_block_changes(at),
            blocks: std::mem::take(&mut self.entries[at].blocks),
        };
        self.given += 1;
        if self.given > AROUND {
            self.entries.pop_front();
            self.given -= 1;
        }
        known
    }

    fn edges_at(&self, at: usize) -> u32 {
        self.entries.get(at).and_then(|entry| entry.edges).unwrap_or(0)
    }

    /// More edges than usual, and most of those around it.
    fn edges_turn(&self, at: usize) -> bool {
        let own = self.edges_at(at);
        if f64::from(own) < self.least {
            return false;
        }
        let near = at.saturating_sub(2)..=at + 2;
        let is_peak = near.clone().all(|other| match other.cmp(&at) {
            std::cmp::Ordering::Less => self.edges_at(other) < own,
            _ => self.edges_at(other) <= own,
        });
        let around = at.saturating_sub(AROUND)..=at + AROUND;
        let mut others: Vec<_> = around
            .filter(|other| !near.contains(other))
            .map(|other| self.edges_at(other))
            .collect();
        others.sort_unstable();
        let usual = others.get(others.len() * 4 / 5).copied().unwrap_or(0);
        is_peak && f64::from(own) >= UNUSUAL * f64::from(usual)
    }

    fn a_still_block_changes(&self, at: usize) -> bool {
        let entry = &self.entries[at];
        let around = at.saturating_sub(STILL_FOR)..=at + STILL_FOR;
        let is_still = |other: usize| {
            self.entries.get(other).is_none_or(|entry| {
                let still = entry.moved.iter().filter(|moved| **moved <= STILL).count();
                still as f32 >= MOST * entry.moved.len() as f32
            })
        };
        if !around.clone().filter(|other| *other != at).all(is_still) {
            return false;
        }
        entry.moved.iter().enumerate().any(|(block, moved)| {
            *moved >= CHANGED
                && around
                    .clone()
                    .filter(|other| *other != at)
                    .filter_map(|other| self.entries.get(other))
                    .all(|other| other.moved[block] <= STILL)
        })
    }
}
