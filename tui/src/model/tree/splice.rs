//! Changes of a list of rows, made in one go: what is before, between and after them is moved as it is.

use crate::model::{row::RowId, sort::SortKey};

/// One change; positions are those before all changes.
#[derive(Debug)]
pub(super) enum Edit {
    /// So many rows go.
    Cut { at: usize, rows: usize },
    /// Rows come before the one at the position.
    Add { at: usize, key: SortKey, rows: Vec<RowId> },
}

impl Edit {
    /// Returns what orders changes: what comes to a position stands before what goes from there, in its own order.
    fn order(&self) -> (usize, bool, Option<&SortKey>) {
        match self {
            Self::Add { at, key, .. } => (*at, false, Some(key)),
            Self::Cut { at, .. } => (*at, true, None),
        }
    }
}

/// Makes the changes.
pub(super) fn apply_edits(before: Vec<RowId>, mut edits: Vec<Edit>) -> Vec<RowId> {
    edits.sort_by(|one, other| one.order().cmp(&other.order()));
    let mut after = Vec::with_capacity(before.len() + edits.len());
    let mut rest = before.into_iter();
    let mut position = 0;
    for edit in edits {
        let (at, ..) = edit.order();
        after.extend(rest.by_ref().take(at - position));
        position = at;
        match edit {
            Edit::Add { rows, .. } => after.extend(rows),
            Edit::Cut { rows, .. } => {
                rest.by_ref().take(rows).for_each(drop);
                position += rows;
            }
        }
    }
    after.extend(rest);
    after
}
