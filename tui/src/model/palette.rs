//! The command palette: what can be done and gone to from here, by what is typed of its name.

use onceover_types::{NodeName, TaskId};
use tui_input::Input;

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaletteTarget {
    /// An action of the page, by its name in the registry.
    Action(&'static str),
    /// An action of the page of tasks, which opens another page.
    Page(&'static str),
    Task(TaskId),
    Node(NodeName),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaletteEntry {
    pub target: PaletteTarget,
    pub name: String,
    pub about: String,
    /// The keys that do the same.
    pub keys: String,
}

/// The palette while it is open.
#[derive(Debug, Default)]
pub struct Palette {
    pub input: Input,
    /// Everything that does not depend on what is typed.
    pub all: Vec<PaletteEntry>,
    /// What is shown, best first.
    pub shown: Vec<PaletteEntry>,
    pub at: usize,
}

impl Palette {
    pub fn new(all: Vec<PaletteEntry>) -> Self {
        Self {
            shown: all.clone(),
            all,
            ..Self::default()
        }
    }

    pub fn chosen(&self) -> Option<&PaletteEntry> {
        self.shown.get(self.at)
    }

    /// Moves the cursor by so many entries, after the last one to the first.
    pub fn step(&mut self, by: isize) {
        let count = self.shown.len().max(1) as isize;
        self.at = (self.at as isize + by).rem_euclid(count) as usize;
    }

    /// Shows the entries that match what is typed, best first; `more` come before those in whose names it is not.
    pub fn narrow(&mut self, more: Vec<PaletteEntry>) {
        let typed = self.input.value().trim().to_lowercase();
        let mut ranked: Vec<(u32, usize)> = Vec::new();
        for (index, entry) in self.all.iter().enumerate() {
            // What an action does counts less than what it is called.
            let by_name = rank(&typed, &entry.name.to_lowercase());
            let by_about = || rank(&typed, &entry.about.to_lowercase()).map(|rank| rank + LESS);
            if let Some(rank) = by_name.or_else(by_about) {
                ranked.push((rank, index));
            }
        }
        ranked.sort();
        let near = ranked.partition_point(|(rank, _)| *rank < FAR);
        let (near, far) = ranked.split_at(near);
        let entry = |(_, index): &(u32, usize)| self.all[*index].clone();
        let near = near.iter().map(entry);
        self.shown = near.chain(more).chain(far.iter().map(entry)).collect();
        self.at = 0;
    }
}

/// By how much a match in the description counts less, and by how much one with gaps.
const LESS: u32 = 1_000;
const FAR: u32 = 200;

/// Returns how far a text is from what is typed, 0 for the nearest; `None` where its letters are not in this order.
fn rank(typed: &str, text: &str) -> Option<u32> {
    if typed.is_empty() || text.starts_with(typed) {
        return Some(0);
    }
    if let Some(at) = text.find(typed) {
        let is_word = text[..at]
            .chars()
            .next_back()
            .is_none_or(|before| !before.is_alphanumeric());
        let inside_word = if is_word { 1 } else { 10 };
        return Some(inside_word + at.min(100) as u32);
    }
    // Letters with gaps between them: the fewer and shorter the gaps, the nearer.
    let mut letters = text.char_indices();
    let mut gaps = 0;
    let mut last: Option<usize> = None;
    for wanted in typed.chars().filter(|letter| *letter != ' ') {
        let (at, _) = letters.find(|(_, letter)| *letter == wanted)?;
        gaps += last.map_or(at, |last| at - last - 1);
        last = Some(at);
    }
    // Letters that are far apart are in every long text.
    (gaps <= 3 * typed.len() + 8).then_some(FAR + gaps as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, about: &str) -> PaletteEntry {
        PaletteEntry {
            target: PaletteTarget::Page("callbacks"),
            name: name.into(),
            about: about.into(),
            keys: String::new(),
        }
    }

    #[test]
    fn the_nearest_name_is_first_and_a_description_counts_less() {
        let mut palette = Palette::new(vec![
            entry("rerun", "run again"),
            entry("callbacks", "show the callbacks of the row"),
            entry("cancel", "cancel what runs"),
            entry("collapse-all", "hide the stages of all tasks"),
        ]);
        for (typed, names) in [
            ("can", &["cancel"][..]),
            ("call", &["callbacks", "collapse-all"]),
            ("all", &["collapse-all", "callbacks"]),
            ("run", &["rerun", "cancel"]),
            ("clbk", &["callbacks"]),
            ("zzz", &[]),
        ] {
            palette.input = Input::new(typed.to_owned());
            palette.narrow(Vec::new());
            let shown: Vec<_> = palette.shown.iter().map(|entry| entry.name.as_str()).collect();
            assert_eq!(shown, names, "{typed}");
        }
    }
}
