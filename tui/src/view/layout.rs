//! Where things are: header, tree, detail and footer for every size from 1x1 up, in three tiers.

use ratatui::layout::Rect;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Tree and detail side by side.
    Wide,
    /// Tree above detail.
    Medium,
    /// One of them; Enter changes between them.
    Small,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panes {
    pub tier: Tier,
    pub header: Rect,
    /// With its frame, where the tier has one; empty when the detail has the screen.
    pub tree: Rect,
    pub detail: Rect,
    pub footer: Rect,
}

impl Panes {
    pub fn framed(&self) -> bool {
        self.tier != Tier::Small
    }

    pub fn inner(&self, pane: Rect) -> Rect {
        if self.framed() { inside(pane) } else { pane }
    }

    /// Rows of the tree that fit; one is the column titles where there is a frame.
    pub fn rows(&self) -> usize {
        let height = usize::from(self.inner(self.tree).height);
        if self.framed() {
            height.saturating_sub(1)
        } else {
            height
        }
    }

    /// Lines of the detail that fit below its heading.
    pub fn detail_rows(&self) -> usize {
        usize::from(self.inner(self.detail).height).saturating_sub(3)
    }
}

/// What a frame leaves.
fn inside(pane: Rect) -> Rect {
    if pane.is_empty() {
        return pane;
    }
    Rect {
        x: pane.x + 1,
        y: pane.y + 1,
        width: pane.width.saturating_sub(2),
        height: pane.height.saturating_sub(2),
    }
}

pub fn panes(size: (u16, u16), zoom: bool) -> Panes {
    let (columns, rows) = size;
    let header = Rect::new(0, 0, columns, rows.min(1));
    let footer_rows = u16::from(rows > 2);
    let footer = Rect::new(0, rows - footer_rows, columns, footer_rows);
    let middle = Rect::new(0, header.height, columns, rows - header.height - footer_rows);
    let nothing = Rect::new(0, middle.y, 0, 0);
    let tier = if columns >= 100 && rows >= 12 {
        Tier::Wide
    } else if columns >= 70 && rows >= 24 {
        Tier::Medium
    } else {
        Tier::Small
    };
    let (tree, detail) = match tier {
        _ if zoom => (nothing, middle),
        Tier::Small => (middle, nothing),
        Tier::Wide => {
            let left = (u32::from(columns) * 62 / 100) as u16;
            (
                Rect { width: left, ..middle },
                Rect {
                    x: left,
                    width: columns - left,
                    ..middle
                },
            )
        }
        Tier::Medium => {
            let upper = middle.height * 55 / 100;
            (
                Rect {
                    height: upper,
                    ..middle
                },
                Rect {
                    y: middle.y + upper,
                    height: middle.height - upper,
                    ..middle
                },
            )
        }
    };
    Panes {
        tier,
        header,
        tree,
        detail,
        footer,
    }
}

/// A page with one list: the list above what is known of the item at the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPage {
    pub framed: bool,
    /// With its frame, where it has one.
    pub list: Rect,
    /// Empty where there is no room for it.
    pub item: Rect,
}

impl ListPage {
    pub fn inner(&self, pane: Rect) -> Rect {
        if self.framed { inside(pane) } else { pane }
    }

    /// Room for the text about the item.
    pub fn item_text(&self) -> Rect {
        let inner = self.inner(self.item);
        let rule = u16::from(!self.framed);
        Rect {
            x: inner.x + 1,
            y: inner.y + rule,
            width: inner.width.saturating_sub(2),
            height: inner.height.saturating_sub(rule),
        }
    }

    /// Rows of the list that fit below its column titles.
    pub fn rows(&self) -> usize {
        usize::from(self.inner(self.list).height).saturating_sub(1)
    }
}

/// The page of callbacks.
pub fn callbacks(size: (u16, u16)) -> ListPage {
    let panes = panes(size, true);
    let middle = panes.detail;
    let about = if panes.framed() { 9 } else { 7.min(middle.height / 2) };
    ListPage {
        framed: panes.framed(),
        ..above(middle, about)
    }
}

/// The page of videos: the list above what is known of the one at the cursor, its steps included.
pub fn videos(size: (u16, u16)) -> ListPage {
    let panes = panes(size, true);
    let middle = panes.detail;
    ListPage {
        framed: panes.framed(),
        ..above(middle, (middle.height / 2).min(24))
    }
}

/// The page of nodes: the list beside the node's card, where that has room, else above it.
pub fn nodes(size: (u16, u16)) -> ListPage {
    let panes = panes(size, true);
    let middle = panes.detail;
    if panes.tier == Tier::Wide {
        let left = middle.width * 52 / 100;
        return ListPage {
            framed: true,
            list: Rect { width: left, ..middle },
            item: Rect {
                x: left,
                width: middle.width - left,
                ..middle
            },
        };
    }
    ListPage {
        framed: panes.framed(),
        ..above(middle, middle.height / 2)
    }
}

/// The list above `about` lines of its item, if that leaves a list.
fn above(middle: Rect, about: u16) -> ListPage {
    let about = if middle.height >= about + 4 { about } else { 0 };
    ListPage {
        framed: false,
        list: Rect {
            height: middle.height - about,
            ..middle
        },
        item: Rect {
            y: middle.bottom() - about,
            height: about,
            ..middle
        },
    }
}
