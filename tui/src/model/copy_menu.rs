//! The menu of what can be copied of the row at the cursor.

/// One text that can be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyEntry {
    /// The key that chooses it.
    pub letter: char,
    pub label: String,
    pub text: String,
}

/// The menu.
#[derive(Debug, Default)]
pub struct CopyMenu {
    pub entries: Vec<CopyEntry>,
    pub at: usize,
}

impl CopyMenu {
    pub fn chosen(&self) -> Option<&CopyEntry> {
        self.entries.get(self.at)
    }

    /// Moves the cursor by so many entries, after the last one to the first.
    pub fn step(&mut self, by: isize) {
        let count = self.entries.len().max(1) as isize;
        self.at = (self.at as isize + by).rem_euclid(count) as usize;
    }

    /// Moves the cursor to the entry with this letter. Returns `false` if there is none.
    pub fn choose_letter(&mut self, letter: char) -> bool {
        let found = self.entries.iter().position(|entry| entry.letter == letter);
        self.at = found.unwrap_or(self.at);
        found.is_some()
    }
}
