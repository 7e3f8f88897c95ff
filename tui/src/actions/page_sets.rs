//! The pages that actions have in common.

use crate::model::Page;

/// Pages with a list.
pub(super) const LISTS: &[Page] = &[
    Page::Tasks,
    Page::Callbacks,
    Page::Nodes,
    Page::Videos,
    Page::Queues,
    Page::Workers,
    Page::Events,
    Page::Commands,
    Page::Preview,
];
/// These, pages of lines, which have no cursor, and the timeline.
pub(super) const ROWS: &[Page] = &[
    Page::Tasks,
    Page::Callbacks,
    Page::Nodes,
    Page::Videos,
    Page::Queues,
    Page::Workers,
    Page::Events,
    Page::Commands,
    Page::Log,
    Page::Timeline,
    Page::Compare,
    Page::Json,
    Page::Preview,
];
pub(super) const JSON: &[Page] = &[Page::Json];
pub(super) const JSON_OR_TASKS: &[Page] = &[Page::Tasks, Page::Json];
/// Where the stage at the cursor is shown.
pub(super) const OF_STAGES: &[Page] = &[Page::Tasks, Page::Log, Page::Json];
/// These, but the page of commands, whose rows have no id.
pub(super) const IDS: &[Page] = &[
    Page::Tasks,
    Page::Callbacks,
    Page::Nodes,
    Page::Videos,
    Page::Queues,
    Page::Workers,
    Page::Events,
    Page::Preview,
];
pub(super) const SEARCHED: &[Page] = &[Page::Log, Page::Json];
pub(super) const LOG: &[Page] = &[Page::Log];
pub(super) const TIMELINE: &[Page] = &[Page::Timeline];
/// Pages where one can go to the left and to the right.
pub(super) const SIDEWAYS: &[Page] = &[Page::Log, Page::Timeline, Page::Compare];
pub(super) const COMPARE: &[Page] = &[Page::Compare];
/// Pages with a text to scroll beside a list.
pub(super) const TEXTS: &[Page] = &[Page::Tasks, Page::Nodes, Page::Preview];
pub(super) const PREVIEW: &[Page] = &[Page::Preview];
/// Pages whose rows can be filtered.
pub(super) const FILTERED: &[Page] = &[Page::Tasks, Page::Nodes, Page::Events];
pub(super) const MARKABLE: &[Page] = &[Page::Tasks, Page::Callbacks, Page::Videos];
/// Where videos are, and where forms are filled in.
pub(super) const OF_VIDEOS: &[Page] = &[Page::Tasks, Page::Videos];
pub(super) const FORMS: &[Page] = &[Page::Form, Page::Register];
pub(super) const EVERYWHERE: &[Page] = &Page::ALL;
/// Pages that show what the daemon has; in the submit form the key is the draft's.
pub(super) const READ: &[Page] = &[
    Page::Tasks,
    Page::Callbacks,
    Page::Nodes,
    Page::Videos,
    Page::Register,
    Page::Timeline,
    Page::Compare,
    Page::Queues,
    Page::Workers,
    Page::Machine,
    Page::Preview,
];
/// Pages on which no text is typed: another page can be opened from them.
pub(super) const UNTYPED: &[Page] = &[
    Page::Tasks,
    Page::Callbacks,
    Page::Nodes,
    Page::Videos,
    Page::Log,
    Page::Queues,
    Page::Workers,
    Page::Machine,
    Page::Events,
    Page::Commands,
    Page::Timeline,
    Page::Compare,
    Page::Json,
    Page::Preview,
];
