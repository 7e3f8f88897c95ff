//! The way back: the pages that were left for others, by which Esc goes back step by step.

use super::Page;

/// Pages that are kept; more steps back than this nobody remembers.
const MOST_PAGES: usize = 16;

/// Pages that were left, the last one last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail(Vec<Page>);

impl Trail {
    /// Returns the page that was open before this one; the tree where none was.
    pub fn last(&self) -> Page {
        self.0.last().copied().unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes that another page was opened from this one.
    pub fn leave(&mut self, page: Page) {
        if self.0.len() >= MOST_PAGES {
            self.0.remove(0);
        }
        self.0.push(page);
    }

    /// Notes a step back to a page: what was opened after it is forgotten.
    pub fn go_back_to(&mut self, page: Page) {
        if let Some(index) = self.0.iter().rposition(|other| *other == page) {
            self.0.truncate(index);
        }
    }

    /// Forgets the way: the program itself has gone to another page.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_the_way_here_and_it_is_bounded() {
        let mut trail = Trail::default();
        assert_eq!(trail.last(), Page::Tasks);
        for page in [Page::Tasks, Page::Queues, Page::Tasks] {
            trail.leave(page);
        }
        trail.go_back_to(Page::Tasks);
        assert_eq!(trail.last(), Page::Queues);
        trail.go_back_to(Page::Queues);
        assert_eq!(trail.last(), Page::Tasks);
        for _ in 0..100 {
            trail.leave(Page::Nodes);
        }
        assert_eq!(trail.0.len(), MOST_PAGES);
    }
}
