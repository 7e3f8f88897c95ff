//! The pages that the second line of the screen names, in the order of their number keys.

use crate::model::Page;

/// A page in the second line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageTab {
    pub page: Page,
    pub title: &'static str,
}

const fn tab(page: Page, title: &'static str) -> PageTab {
    PageTab { page, title }
}

/// The pages in their order: the first one has the key 1. There are nine number keys.
pub const TABS: [PageTab; 8] = [
    tab(Page::Tasks, "Tasks"),
    tab(Page::Queues, "Queues"),
    tab(Page::Machine, "Machine"),
    tab(Page::Callbacks, "Callbacks"),
    tab(Page::Nodes, "Nodes"),
    tab(Page::Videos, "Videos"),
    tab(Page::Events, "Events"),
    tab(Page::Commands, "Commands"),
];

/// Returns the page of the second line that a page belongs to.
pub fn owner_of(page: Page) -> Page {
    match page {
        Page::Log | Page::Timeline | Page::Compare | Page::Json | Page::Preview => Page::Tasks,
        Page::Form => Page::Nodes,
        Page::Register => Page::Videos,
        Page::Workers => Page::Queues,
        other => other,
    }
}

/// Returns the title of the page that a page belongs to.
pub fn title_of(page: Page) -> &'static str {
    let owner = owner_of(page);
    let tab = TABS.iter().find(|tab| tab.page == owner);
    tab.map_or("", |tab| tab.title)
}

/// Returns the page with this number, from 1.
pub fn page_of_digit(digit: char) -> Option<Page> {
    let number = digit.to_digit(10)?.checked_sub(1)?;
    TABS.get(number as usize).map(|tab| tab.page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_a_title_and_every_tab_a_key() {
        for page in Page::ALL {
            assert!(!title_of(page).is_empty(), "{page:?}");
        }
        for (index, tab) in TABS.iter().enumerate() {
            let digit = char::from_digit(index as u32 + 1, 10).unwrap();
            assert_eq!(page_of_digit(digit), Some(tab.page));
        }
        assert_eq!((page_of_digit('0'), page_of_digit('9')), (None, None));
    }
}
