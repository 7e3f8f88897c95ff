//! The review before a rerun with changes: each target with what differs.

use crate::model::{difference::InputDifference, row::RowId};

/// What becomes of one target.
#[derive(Debug, Clone, PartialEq)]
pub enum ReviewedChange {
    /// It runs again with these differences; none: with the input that it had.
    Differs(Vec<InputDifference>),
    /// It is left out, for this reason.
    LeftOut(String),
}

/// One target, as it was when the review was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewTarget {
    pub row: RowId,
    pub change: ReviewedChange,
}

/// The review.
#[derive(Debug, Default)]
pub struct Review {
    pub targets: Vec<ReviewTarget>,
    pub scroll: usize,
}

impl Review {
    /// Counts the targets that run again.
    pub fn count_sent(&self) -> usize {
        let is_sent = |target: &&ReviewTarget| matches!(target.change, ReviewedChange::Differs(_));
        self.targets.iter().filter(is_sent).count()
    }
}
