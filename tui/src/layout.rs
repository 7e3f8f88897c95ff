//! Divides the screen: header, tree, detail and footer for every size from 1x1 up, in three tiers. It is arithmetic on
//! sizes alone, so that the model can ask how many rows fit, and the view where to draw them.

use ratatui::layout::Rect;
use serde::{Deserialize, Serialize};

/// Rows from which on the header has a second line, with the pages or the way to the one that is open.
const LEAST_FOR_TABS: u16 = 20;

/// How much of the tree and the detail the screen has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Tree and detail side by side.
    Wide,
    /// Tree above detail.
    Medium,
    /// One of them; Enter switches between them.
    Small,
}

/// The parts of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panes {
    pub tier: Tier,
    pub header: Rect,
    /// With its frame, if the tier has one; empty when the detail has the screen.
    pub tree: Rect,
    pub detail: Rect,
    pub footer: Rect,
}

impl Panes {
    /// Returns the first line: the state of everything.
    pub fn status_line(&self) -> Rect {
        Rect {
            height: self.header.height.min(1),
            ..self.header
        }
    }

    /// Returns the second line: the pages, or the way to the one that is open; empty on a low screen.
    pub fn tab_line(&self) -> Rect {
        let status = self.status_line();
        Rect {
            y: status.bottom(),
            height: self.header.height - status.height,
            ..self.header
        }
    }

    /// Whether the panes have frames.
    pub fn is_framed(&self) -> bool {
        self.tier != Tier::Small
    }

    /// Returns a pane without its frame.
    pub fn inner(&self, pane: Rect) -> Rect {
        if self.is_framed() { shrink_by_frame(pane) } else { pane }
    }

    /// Counts the rows of the tree that fit; where there is a frame, one is taken by the column titles.
    pub fn rows(&self) -> usize {
        let height = usize::from(self.inner(self.tree).height);
        if self.is_framed() {
            height.saturating_sub(1)
        } else {
            height
        }
    }

    /// Counts the lines of the detail that fit below its heading.
    pub fn detail_rows(&self) -> usize {
        usize::from(self.inner(self.detail).height).saturating_sub(3)
    }
}

/// Returns the area inside a frame.
fn shrink_by_frame(pane: Rect) -> Rect {
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

/// How much of the screen the tree gets beside the detail, or above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Split {
    /// Steps from the middle; more is more for the tree.
    steps: i16,
}

impl Split {
    /// Percent of one step, and steps at most.
    const STEP: i16 = 4;
    const MOST: i16 = 8;
    /// Percent of the tree in the middle: beside the detail, above it.
    const WIDE: i16 = 62;
    const MEDIUM: i16 = 55;

    /// Moves the border by so many steps.
    pub fn step(self, by: i16) -> Self {
        Self {
            steps: self.steps.saturating_add(by).clamp(-Self::MOST, Self::MOST),
        }
    }

    /// Returns the steps that put the border of a screen of this size nearest to a cell; `None` where it has no border.
    pub fn nearest_to(size: (u16, u16), column: u16, row: u16) -> Option<Self> {
        let panes = lay_out_split(size, false, Self::default());
        let (whole, at, percent) = match panes.tier {
            Tier::Wide => (size.0, column, Self::WIDE),
            Tier::Medium => {
                let middle = panes.tree.height + panes.detail.height;
                (middle, row.saturating_sub(panes.tree.y), Self::MEDIUM)
            }
            Tier::Small => return None,
        };
        let off = i32::from(at) * 100 / i32::from(whole.max(1)) - i32::from(percent);
        let step = i32::from(Self::STEP);
        let steps = (off + off.signum() * step / 2) / step;
        Some(Self::default().step(steps as i16))
    }

    /// Returns the tree's share of `whole`, which is `percent` where the border was not moved.
    fn share(self, whole: u16, percent: i16) -> u16 {
        let percent = (percent + self.steps * Self::STEP).clamp(15, 85);
        (u32::from(whole) * u32::from(percent.unsigned_abs()) / 100) as u16
    }
}

/// Divides a screen of this size; with `zoom` the detail has all of the middle.
pub fn lay_out_panes(size: (u16, u16), zoom: bool) -> Panes {
    lay_out_split(size, zoom, Split::default())
}

/// Divides a screen of this size, as [`lay_out_panes`] does, where the border between tree and detail was moved.
pub fn lay_out_split(size: (u16, u16), zoom: bool, split: Split) -> Panes {
    let (columns, rows) = size;
    let header_rows = if rows >= LEAST_FOR_TABS { 2 } else { rows.min(1) };
    let header = Rect::new(0, 0, columns, header_rows);
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
            let left = split.share(columns, Split::WIDE);
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
            let upper = split.share(middle.height, Split::MEDIUM);
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

/// The parts of a page with one list: the list, and the text about the item at the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListPage {
    pub framed: bool,
    /// With its frame, if it has one.
    pub list: Rect,
    /// Empty where there is no room for it.
    pub item: Rect,
}

impl ListPage {
    /// Returns a pane without its frame.
    pub fn inner(&self, pane: Rect) -> Rect {
        if self.framed { shrink_by_frame(pane) } else { pane }
    }

    /// Returns the area of the text about the item.
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

    /// Returns the area of what a file says, below the line about it.
    pub fn preview_text(&self) -> Rect {
        let text = self.item_text();
        let head = text.height.min(1);
        Rect {
            y: text.y + head,
            height: text.height - head,
            ..text
        }
    }

    /// Counts the rows of the list that fit below its column titles.
    pub fn rows(&self) -> usize {
        usize::from(self.inner(self.list).height).saturating_sub(1)
    }
}

/// Divides the page of callbacks.
pub fn lay_out_callbacks(size: (u16, u16)) -> ListPage {
    let panes = lay_out_panes(size, true);
    let middle = panes.detail;
    let about = if panes.is_framed() { 9 } else { 7.min(middle.height / 2) };
    ListPage {
        framed: panes.is_framed(),
        ..split_above(middle, about)
    }
}

/// Divides the page of videos: the list above the text about the video at the cursor, its steps included.
pub fn lay_out_videos(size: (u16, u16)) -> ListPage {
    lay_out_above(size, 24)
}

/// Divides the page of queues: the list above what was counted and how long nodes take.
pub fn lay_out_queues(size: (u16, u16)) -> ListPage {
    lay_out_above(size, 18)
}

/// Divides the page of workers: the list above all of the queue, the stage or the worker at the cursor.
pub fn lay_out_workers(size: (u16, u16)) -> ListPage {
    lay_out_above(size, 11)
}

/// Divides the page of events: the list above all of the event at the cursor.
pub fn lay_out_events(size: (u16, u16)) -> ListPage {
    lay_out_above(size, 6)
}

/// Divides the page of commands: the list above the whole command at the cursor.
pub fn lay_out_commands(size: (u16, u16)) -> ListPage {
    lay_out_above(size, 9)
}

/// Puts a list above so many lines about the item at the cursor.
fn lay_out_above(size: (u16, u16), about: u16) -> ListPage {
    let panes = lay_out_panes(size, true);
    let middle = panes.detail;
    ListPage {
        framed: panes.is_framed(),
        ..split_above(middle, about.min(middle.height / 2))
    }
}

/// Divides the page of nodes: the list beside the node's card if there is room, else above it.
pub fn lay_out_nodes(size: (u16, u16)) -> ListPage {
    let panes = lay_out_panes(size, true);
    let middle = panes.detail;
    if panes.tier == Tier::Wide {
        return split_beside(middle, 52);
    }
    ListPage {
        framed: panes.is_framed(),
        ..split_above(middle, middle.height / 2)
    }
}

/// The parts of the page of a task's timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineRoom {
    pub framed: bool,
    /// With its frame, if it has one.
    pub pane: Rect,
    /// The row of the times.
    pub axis: Rect,
    /// The rows of stages: their names and their bars.
    pub rows: Rect,
    /// What the glyphs stand for; empty where there is no room.
    pub legend: Rect,
    /// Columns of the names.
    pub names: u16,
}

impl TimelineRoom {
    /// Counts the columns of the bars.
    pub fn columns(&self) -> u16 {
        self.rows.width.saturating_sub(self.names)
    }
}

/// Divides the page of a task's timeline.
pub fn lay_out_timeline(size: (u16, u16)) -> TimelineRoom {
    let panes = lay_out_panes(size, true);
    let inner = panes.inner(panes.detail);
    let axis_rows = inner.height.min(1);
    let legend_rows = u16::from(inner.height >= 4);
    let names = match inner.width {
        0..30 => inner.width / 3,
        30..110 => inner.width * 3 / 10,
        _ => 40,
    };
    TimelineRoom {
        framed: panes.is_framed(),
        pane: panes.detail,
        axis: Rect {
            height: axis_rows,
            ..inner
        },
        rows: Rect {
            y: inner.y + axis_rows,
            height: inner.height - axis_rows - legend_rows,
            ..inner
        },
        legend: Rect {
            y: inner.bottom() - legend_rows,
            height: legend_rows,
            ..inner
        },
        names,
    }
}

/// Divides the page of a result's files: the list beside what the file says if there is room, else above it; or the file
/// alone.
pub fn lay_out_preview(size: (u16, u16), is_whole: bool) -> ListPage {
    let panes = lay_out_panes(size, true);
    let middle = panes.detail;
    if is_whole {
        let list = Rect {
            width: 0,
            height: 0,
            ..middle
        };
        return ListPage {
            framed: panes.is_framed(),
            list,
            item: middle,
        };
    }
    if panes.tier == Tier::Wide {
        return split_beside(middle, 38);
    }
    ListPage {
        framed: panes.is_framed(),
        ..split_above(middle, middle.height * 2 / 3)
    }
}

/// Puts the list beside its item: each with its frame, the list with so many percent of the columns.
fn split_beside(middle: Rect, percent: u16) -> ListPage {
    let left = middle.width * percent / 100;
    ListPage {
        framed: true,
        list: Rect { width: left, ..middle },
        item: Rect {
            x: left,
            width: middle.width - left,
            ..middle
        },
    }
}

/// Puts the list above `about` lines of its item, if that leaves rows for the list.
fn split_above(middle: Rect, about: u16) -> ListPage {
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
