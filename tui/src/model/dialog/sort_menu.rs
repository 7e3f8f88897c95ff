//! The choice of the column by which tasks are sorted.

use crate::model::sort::SortColumn;

/// The open choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortMenu {
    pub chosen: SortColumn,
}

impl SortMenu {
    /// Returns where the chosen column is among all.
    pub fn position(&self) -> usize {
        let mut columns = SortColumn::ALL.into_iter();
        columns.position(|column| column == self.chosen).unwrap_or(0)
    }

    /// Goes on by so many columns, from the last one to the first.
    pub fn step(&mut self, by: isize) {
        let count = SortColumn::ALL.len() as isize;
        let next = (self.position() as isize + by).rem_euclid(count);
        self.chosen = SortColumn::ALL[next as usize];
    }
}
