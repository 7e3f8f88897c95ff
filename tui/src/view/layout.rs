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
        if !self.framed() || pane.is_empty() {
            return pane;
        }
        Rect {
            x: pane.x + 1,
            y: pane.y + 1,
            width: pane.width.saturating_sub(2),
            height: pane.height.saturating_sub(2),
        }
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
