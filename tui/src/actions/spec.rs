//! What is known of an action: its name, its keys, its pages, its texts.

use crate::{
    key::Key,
    model::{Model, Page},
};

/// What a key can do. What it does is in `update`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Expand,
    Collapse,
    ExpandAll,
    CollapseAll,
    Open,
    Back,
    ShowTab,
    Machine,
    Queues,
    Workers,
    Events,
    CommandLog,
    ShowStage,
    EarlierSample,
    LaterSample,
    CopyCommand,
    CopyCurl,
    NextTab,
    PreviousTab,
    DetailDown,
    DetailUp,
    Mark,
    MarkRange,
    MarkAll,
    Filter,
    OpenLog,
    WholeTask,
    Timeline,
    ZoomIn,
    ZoomOut,
    ZoomFit,
    OpenStage,
    Compare,
    OtherSide,
    SearchJson,
    Fold,
    FoldAll,
    OpenValue,
    CloseValue,
    ShowResult,
    PreviousFile,
    NextFile,
    WholePage,
    SearchLog,
    FilterLog,
    NextMatch,
    PreviousMatch,
    Wrap,
    Times,
    Left,
    Right,
    NarrowTree,
    WidenTree,
    PendingOnly,
    ActiveOnly,
    Order,
    Sort,
    Freeze,
    StepBack,
    StepForward,
    Rerun,
    EditRequest,
    Cancel,
    Delete,
    Undo,
    CopyId,
    CopyMenu,
    OpenPager,
    Callbacks,
    Redeliver,
    AllCallbacks,
    Nodes,
    Submit,
    OpenForm,
    RestoreDraft,
    NextField,
    PreviousField,
    NextValue,
    PreviousValue,
    Confirm,
    Send,
    EditText,
    Videos,
    ShowTask,
    DeleteVideo,
    Register,
    Reread,
    Redraw,
    Watch,
    Mouse,
    Suspend,
    Palette,
    Help,
    Quit,
}

/// The part of the help that an action is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Move,
    See,
    Act,
    Program,
}

impl Group {
    pub const ALL: [Self; 4] = [Self::Move, Self::See, Self::Act, Self::Program];

    pub fn title(self) -> &'static str {
        match self {
            Self::Move => "Move",
            Self::See => "See",
            Self::Act => "Act on the row, or on all marked rows",
            Self::Program => "Program",
        }
    }
}

/// An action as the registry has it.
pub struct ActionSpec {
    pub action: Action,
    /// The name in documentation.
    pub name: &'static str,
    pub keys: &'static [Key],
    /// The pages where it can be done.
    pub pages: &'static [Page],
    pub group: Group,
    /// A word or two for the footer.
    pub label: &'static str,
    pub help: &'static str,
    /// Whether it changes something in the daemon: refused while disconnected, asks first where it destroys.
    pub changes: bool,
    /// Whether it only leads to a change: it opens a form, or takes a delete back. Without the right to change anything
    /// it is not offered.
    pub prepares: bool,
    /// Whether it makes sense now; the footer shows only what does.
    pub applies: fn(&Model) -> bool,
    /// The order in the footer, lower first; `None`: only the help has it.
    pub footer: Option<u8>,
}

impl ActionSpec {
    /// Whether it is of no use without the right to change something.
    pub fn needs_change(&self) -> bool {
        self.changes || self.prepares
    }
}
