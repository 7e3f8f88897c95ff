//! A list with a cursor that belongs to an item, not to a position: items that are added or removed do not move it.

use std::collections::BTreeSet;

/// Items by key, in the order shown.
#[derive(Debug)]
pub struct List<K> {
    keys: Vec<K>,
    index: usize,
    /// First item on screen.
    top: usize,
}

impl<K> Default for List<K> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            index: 0,
            top: 0,
        }
    }
}

/// The cursor of a list, whatever its items are.
pub trait ListCursor {
    /// Returns the index of the item at the cursor.
    fn index(&self) -> usize;
    /// Puts the cursor on the item with this index, or on the last one.
    fn go(&mut self, index: usize);
}

impl<K: Clone + PartialEq> ListCursor for List<K> {
    fn index(&self) -> usize {
        self.index
    }

    fn go(&mut self, index: usize) {
        List::go(self, index);
    }
}

impl<K: Clone + PartialEq> List<K> {
    /// Replaces the items. The cursor stays on its item, or goes to the next one that is left.
    pub fn set(&mut self, keys: Vec<K>) {
        let position = |key: &K| keys.iter().position(|other| other == key);
        let below = self.keys.iter().skip(self.index);
        let above = self.keys.iter().take(self.index).rev();
        self.index = below.chain(above).find_map(position).unwrap_or(0);
        self.keys = keys;
    }

    pub fn keys(&self) -> &[K] {
        &self.keys
    }

    pub fn index(&self) -> usize {
        self.index
    }

    pub fn cursor(&self) -> Option<&K> {
        self.keys.get(self.index)
    }

    /// Puts the cursor on the item with this index, or on the last one.
    pub fn go(&mut self, index: usize) {
        self.index = index.min(self.keys.len().saturating_sub(1));
    }

    /// Puts the cursor on the item, if it is in the list.
    pub fn go_to(&mut self, key: &K) {
        if let Some(index) = self.keys.iter().position(|other| other == key) {
            self.index = index;
        }
    }

    /// Marks the item at the cursor or removes its mark; a range can begin there. Returns `false` if there is no item.
    pub fn mark(&self, marks: &mut BTreeSet<K>, anchor: &mut Option<K>) -> bool
    where
        K: Ord,
    {
        let Some(key) = self.cursor() else { return false };
        if !marks.remove(key) {
            marks.insert(key.clone());
        }
        *anchor = Some(key.clone());
        true
    }

    /// Marks everything from the anchor to the cursor.
    pub fn mark_range(&self, marks: &mut BTreeSet<K>, anchor: Option<&K>)
    where
        K: Ord,
    {
        let from = anchor.and_then(|anchor| self.keys.iter().position(|key| key == anchor));
        let from = from.unwrap_or(self.index);
        let (low, high) = (from.min(self.index), from.max(self.index));
        marks.extend(self.keys.iter().take(high + 1).skip(low).cloned());
    }

    /// Marks everything, or removes all marks if there are some.
    pub fn mark_all(&self, marks: &mut BTreeSet<K>)
    where
        K: Ord,
    {
        if marks.is_empty() {
            marks.extend(self.keys.iter().cloned());
        } else {
            marks.clear();
        }
    }

    /// Returns the items on a screen of so many rows, and before them the index of the first; the cursor's is among
    /// them.
    pub fn shown(&self, rows: usize) -> (usize, &[K]) {
        let top = self.top_for(rows);
        (top, &self.keys[top..self.keys.len().min(top + rows)])
    }

    /// Keeps the cursor on a screen of so many rows from now on.
    pub fn scroll(&mut self, rows: usize) {
        self.top = self.top_for(rows);
    }

    fn top_for(&self, rows: usize) -> usize {
        let rows = rows.max(1);
        let top = self.top.min(self.index).max((self.index + 1).saturating_sub(rows));
        top.min(self.keys.len().saturating_sub(rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_stays_on_its_item_or_goes_to_its_neighbour() {
        let mut list = List::default();
        list.set(vec!["a", "b", "c", "d"]);
        list.go(2);
        list.set(vec!["new", "a", "b", "c"]);
        assert_eq!(list.cursor(), Some(&"c"));
        list.set(vec!["new", "a", "b"]);
        assert_eq!(list.cursor(), Some(&"b"), "the last one is left");
        list.set(vec![]);
        assert_eq!(list.cursor(), None);
        list.set(vec!["x"]);
        assert_eq!(list.cursor(), Some(&"x"));
    }

    #[test]
    fn the_cursor_is_on_every_screen() {
        let mut list = List::default();
        list.set((0..20).collect());
        for (index, rows) in [(0, 5), (19, 5), (7, 3), (7, 40), (3, 1), (19, 0)] {
            list.go(index);
            list.scroll(rows);
            let (top, shown) = list.shown(rows);
            assert!(
                shown.len() <= rows && (rows == 0 || shown.contains(&index)),
                "{index} of {rows}"
            );
            assert!(rows == 0 || shown.first() == list.keys().get(top));
        }
    }
}
