//! The table of all actions, and when each makes sense.

use crossterm::event::KeyCode;

use super::spec::{
    Action, ActionSpec,
    Group::{self, Act, Move, Program, See},
};
use crate::{
    key::Key,
    model::{Model, Page, RowId},
};

/// Pages with a list, pages whose rows can be marked, pages with text to scroll.
const LISTS: &[Page] = &[Page::Tasks, Page::Callbacks, Page::Nodes, Page::Videos];
/// These, and the page of a log, whose rows have no cursor.
const ROWS: &[Page] = &[Page::Tasks, Page::Callbacks, Page::Nodes, Page::Videos, Page::Log];
const LOG: &[Page] = &[Page::Log];
const SCROLLED: &[Page] = &[Page::Tasks, Page::Nodes];
const MARKABLE: &[Page] = &[Page::Tasks, Page::Callbacks, Page::Videos];
/// Where videos are, and where forms are filled in.
const OF_VIDEOS: &[Page] = &[Page::Tasks, Page::Videos];
const FORMS: &[Page] = &[Page::Form, Page::Register];
const EVERYWHERE: &[Page] = &Page::ALL;
/// Pages that show what the daemon has; in the submit form the key is the draft's.
const READ: &[Page] = &[Page::Tasks, Page::Callbacks, Page::Nodes, Page::Videos, Page::Register];

const fn c(c: char) -> Key {
    Key::char(c)
}

const fn k(code: KeyCode) -> Key {
    Key::new(code)
}

/// An action of the page of tasks that only the help lists; the methods below change that.
const fn spec(action: Action, name: &'static str, keys: &'static [Key], group: Group) -> ActionSpec {
    ActionSpec {
        action,
        name,
        keys,
        pages: &[Page::Tasks],
        group,
        label: name,
        help: "",
        changes: false,
        applies: always,
        footer: None,
    }
}

impl ActionSpec {
    /// Names the action in the footer, where its name is not what the footer says.
    const fn label(mut self, label: &'static str) -> Self {
        self.label = label;
        self
    }

    /// Sets what the help says, which begins with a verb.
    const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    /// Makes the action one of these pages, and not of the page of tasks alone.
    const fn on(mut self, pages: &'static [Page]) -> Self {
        self.pages = pages;
        self
    }

    /// Puts the action into the footer while it applies.
    const fn footer(mut self, order: u8, applies: fn(&Model) -> bool) -> Self {
        self.footer = Some(order);
        self.applies = applies;
        self
    }

    /// Marks the action as one that changes something in the daemon.
    const fn changing(mut self) -> Self {
        self.changes = true;
        self
    }
}

/// Every action there is.
pub static ACTIONS: &[ActionSpec] = &[
    spec(Action::Up, "up", &[c('k'), k(KeyCode::Up)], Move)
        .help("go one row up")
        .on(ROWS),
    spec(Action::Down, "down", &[c('j'), k(KeyCode::Down)], Move)
        .help("go one row down")
        .on(ROWS),
    spec(Action::PageUp, "page-up", &[k(KeyCode::PageUp), Key::ctrl('b')], Move)
        .label("page up")
        .help("go one page up")
        .on(ROWS),
    spec(
        Action::PageDown,
        "page-down",
        &[k(KeyCode::PageDown), Key::ctrl('f')],
        Move,
    )
    .label("page down")
    .help("go one page down")
    .on(ROWS),
    spec(Action::First, "first", &[c('g'), k(KeyCode::Home)], Move)
        .help("go to the first row")
        .on(ROWS),
    spec(Action::Last, "last", &[c('G'), k(KeyCode::End)], Move)
        .help("go to the last row")
        .on(ROWS),
    spec(Action::Expand, "expand", &[c('l'), k(KeyCode::Right)], Move)
        .help("show the task's stages, then go to the first"),
    spec(Action::Collapse, "collapse", &[c('h'), k(KeyCode::Left)], Move).help("go to the task, then hide its stages"),
    spec(Action::ExpandAll, "expand-all", &[c('E')], Move)
        .label("expand all")
        .help("show the stages of all tasks"),
    spec(Action::CollapseAll, "collapse-all", &[c('C')], Move)
        .label("collapse all")
        .help("hide the stages of all tasks"),
    spec(Action::Open, "open", &[k(KeyCode::Enter)], See)
        .help("open the row: show a task's stages; give the detail the whole screen, or end that")
        .footer(1, has_row),
    spec(Action::Back, "back", &[k(KeyCode::Esc), k(KeyCode::Backspace)], See)
        .help("go back: drop marks, close the page or the detail, drop the filter")
        .on(EVERYWHERE)
        .footer(2, has_way_back),
    spec(Action::NextTab, "next-tab", &[k(KeyCode::Tab), c(']')], See)
        .label("next tab")
        .help("show the next tab: overview, input, output, reuse, log; on a task: go to its stages"),
    spec(Action::PreviousTab, "previous-tab", &[k(KeyCode::BackTab), c('[')], See)
        .label("previous tab")
        .help("show the previous tab; on a task: go to its stages"),
    spec(Action::DetailDown, "detail-down", &[c('J'), Key::ctrl('d')], See)
        .label("scroll down")
        .help("scroll the detail or card down (the log: to newer lines)")
        .on(SCROLLED),
    spec(Action::DetailUp, "detail-up", &[c('K'), Key::ctrl('u')], See)
        .label("scroll up")
        .help("scroll the detail or card up (the log: to older lines)")
        .on(SCROLLED),
    spec(Action::OpenLog, "log", &[c('L')], See)
        .help("show the stage's log on the whole screen: all of it, to scroll, search and filter")
        .footer(14, has_log),
    spec(Action::SearchLog, "search", &[c('/')], See)
        .help("search the log, whatever the case; the lines around a match stay")
        .on(LOG)
        .footer(1, always),
    spec(Action::NextMatch, "next-match", &[c('n')], See)
        .label("next")
        .help("go to the next line that was found")
        .on(LOG)
        .footer(3, has_search),
    spec(Action::PreviousMatch, "previous-match", &[c('N')], See)
        .label("previous")
        .help("go to the line that was found before")
        .on(LOG)
        .footer(4, has_search),
    spec(Action::FilterLog, "filter-log", &[c('f')], See)
        .label("only lines with")
        .help("show only the lines with a text")
        .on(LOG)
        .footer(5, always),
    spec(Action::Wrap, "wrap", &[c('w')], See)
        .help("wrap long lines, or show each in one row")
        .on(LOG)
        .footer(6, always),
    spec(Action::Times, "times", &[c('t')], See)
        .help("show the time of day before lines, the time since the run began, or none")
        .on(LOG)
        .footer(7, always),
    spec(Action::Left, "left", &[k(KeyCode::Left), c('h')], Move)
        .help("scroll to the left, where lines are not wrapped")
        .on(LOG),
    spec(Action::Right, "right", &[k(KeyCode::Right), c('l')], Move)
        .help("scroll to the right, where lines are not wrapped")
        .on(LOG),
    spec(Action::NarrowTree, "narrow-tree", &[c('<')], See)
        .label("more detail")
        .help("give the detail more of the screen"),
    spec(Action::WidenTree, "widen-tree", &[c('>')], See)
        .label("more tree")
        .help("give the tree more of the screen"),
    spec(Action::Filter, "filter", &[c('/')], See)
        .help("filter tasks: state:failed node:*whisper* warned:yes age>10m id:demo \"text\" and or not; nodes: words")
        .on(SCROLLED)
        .footer(3, always),
    spec(Action::PendingOnly, "pending-only", &[c('p')], See)
        .label("pending")
        .help("show only what waits, or everything again")
        .footer(10, always),
    spec(Action::ActiveOnly, "active-only", &[c('a')], See)
        .label("active")
        .help("show only what waits or runs, or everything again")
        .footer(5, always),
    spec(Action::Order, "order", &[c('o')], See)
        .help("order the tasks: what runs, waits or has failed lately first; or the newest first"),
    spec(Action::Freeze, "freeze", &[c('F')], See)
        .help("freeze the view: changes are counted and not shown, until the same key or esc"),
    spec(Action::StepBack, "step-back", &[c(',')], See)
        .label("step back")
        .help("show the state before the last change; freezes the view")
        .footer(1, is_frozen),
    spec(Action::StepForward, "step-forward", &[c('.')], See)
        .label("forward")
        .help("show the state after the next change, in a frozen view")
        .footer(2, is_frozen),
    spec(Action::Rerun, "rerun", &[c('r')], Act)
        .help(
            "run again: auto, strict, forced, with dependents; start or restart a pipeline (shows what each would do)",
        )
        .on(OF_VIDEOS)
        .footer(4, can_rerun)
        .changing(),
    spec(Action::Cancel, "cancel", &[c('x')], Act)
        .help("cancel what waits or runs (asks first)")
        .footer(6, has_run)
        .changing(),
    spec(Action::Delete, "delete", &[c('d'), k(KeyCode::Delete)], Act)
        .help("delete the whole task (asks first, and can be taken back for 5 s)")
        .footer(7, has_row)
        .changing(),
    spec(Action::Undo, "undo", &[c('u')], Act)
        .help("take back the delete that has not been sent yet")
        .on(LISTS)
        .footer(0, has_undo),
    spec(Action::Mark, "mark", &[c(' ')], Act)
        .help("mark the row, or remove its mark")
        .on(MARKABLE)
        .footer(8, has_row),
    spec(Action::MarkRange, "mark-range", &[c('V')], Act)
        .label("mark range")
        .help("mark every row from the last mark to this one")
        .on(MARKABLE),
    spec(Action::MarkAll, "mark-all", &[c('*')], Act)
        .label("mark all")
        .help("mark everything shown, or drop all marks")
        .on(MARKABLE),
    spec(Action::CopyId, "copy-id", &[c('y')], Act)
        .label("copy id")
        .help("send the id to the clipboard of the terminal (OSC 52), and show it")
        .on(LISTS)
        .footer(11, has_row),
    spec(Action::Callbacks, "callbacks", &[c('c')], See)
        .help("show the callbacks of the row, or of all marked rows: where, state, tries, last answer")
        .footer(9, has_row),
    spec(Action::Redeliver, "redeliver", &[c('r')], Act)
        .help("send the callback again, or all marked ones (asks first)")
        .on(&[Page::Callbacks])
        .footer(4, has_row)
        .changing(),
    spec(Action::AllCallbacks, "all-callbacks", &[c('a')], See)
        .label("all tasks")
        .help("show the newest callbacks of all tasks, or the row's again")
        .on(&[Page::Callbacks])
        .footer(5, always),
    spec(Action::Nodes, "nodes", &[c('n')], See)
        .help("show every node of the daemon: what it takes and gives, and whether it can run")
        .footer(12, always),
    spec(Action::Submit, "submit", &[c('s')], Act)
        .help("submit a stage to this task or a new one: choose a node, fill in its form")
        .footer(9, always),
    spec(Action::OpenForm, "open-form", &[k(KeyCode::Enter), c('s')], Act)
        .label("submit")
        .help("fill in the node's form")
        .on(&[Page::Nodes])
        .footer(1, has_row),
    spec(Action::Videos, "videos", &[c('v')], See)
        .help("show the registered videos and how far their pipelines are; to register one")
        .footer(13, always),
    spec(Action::ShowTask, "show-task", &[k(KeyCode::Enter)], See)
        .label("task")
        .help("go to the video's task in the tree: its steps, their logs and results")
        .on(&[Page::Videos])
        .footer(1, has_row),
    spec(Action::DeleteVideo, "delete-video", &[c('D')], Act)
        .label("delete video")
        .help("delete the video, with or without its task's data (asks first, and can be taken back for 5 s)")
        .on(OF_VIDEOS)
        .footer(7, has_video)
        .changing(),
    spec(Action::Register, "register", &[c('a')], Act)
        .help("register a video: a file on the daemon's machine, or a URL")
        .on(&[Page::Videos])
        .footer(4, always),
    spec(Action::Send, "send", &[Key::ctrl('s')], Act)
        .label("submit")
        .help("send the request")
        .on(FORMS)
        .footer(1, always)
        .changing(),
    spec(
        Action::NextField,
        "next-field",
        &[k(KeyCode::Down), k(KeyCode::Tab)],
        Move,
    )
    .label("next")
    .help("go to the next field")
    .on(FORMS)
    .footer(4, always),
    spec(
        Action::PreviousField,
        "previous-field",
        &[k(KeyCode::Up), k(KeyCode::BackTab)],
        Move,
    )
    .label("previous")
    .help("go to the previous field")
    .on(FORMS),
    spec(Action::NextValue, "next-value", &[k(KeyCode::Right)], Move)
        .label("value")
        .help("take the next value of a field that has values to choose from; elsewhere go right")
        .on(FORMS)
        .footer(5, has_choices),
    spec(Action::PreviousValue, "previous-value", &[k(KeyCode::Left)], Move)
        .label("value before")
        .help("take the value before; elsewhere go left")
        .on(FORMS),
    spec(Action::Confirm, "confirm", &[k(KeyCode::Enter)], Act)
        .help("go to the next field; on the button: send the request")
        .on(FORMS),
    spec(Action::RestoreDraft, "restore-draft", &[Key::ctrl('r')], Act)
        .label("restore draft")
        .help("take over what was typed before into a form of the same row")
        .on(&[Page::Form])
        .footer(0, has_draft),
    spec(Action::Reread, "re-read", &[Key::ctrl('r'), k(KeyCode::F(5))], Program)
        .help("read everything again")
        .on(READ),
    spec(Action::Redraw, "redraw", &[Key::ctrl('l')], Program)
        .help("draw the whole screen again")
        .on(EVERYWHERE),
    spec(Action::Suspend, "suspend", &[Key::ctrl('z')], Program)
        .help("stop and go back to the shell; fg continues")
        .on(EVERYWHERE),
    spec(Action::Help, "help", &[c('?'), k(KeyCode::F(1))], Program)
        .help("show this page")
        .on(EVERYWHERE)
        .footer(20, always),
    spec(Action::Quit, "quit", &[c('q'), Key::ctrl('c')], Program)
        .help("quit; the daemon and its runs go on")
        .on(EVERYWHERE)
        .footer(21, always),
];

/// For actions that always make sense.
fn always(_: &Model) -> bool {
    true
}

/// Whether the cursor is on a row.
fn has_row(model: &Model) -> bool {
    match model.page {
        Page::Tasks => model.tree.cursor.is_some(),
        Page::Callbacks => model.deliveries.list.cursor().is_some(),
        Page::Nodes => model.nodes.list.cursor().is_some(),
        Page::Videos => model.videos.list.cursor().is_some(),
        Page::Form | Page::Register | Page::Log => false,
    }
}

/// Whether the cursor is on a stage, which has a log.
fn has_log(model: &Model) -> bool {
    model.tree.cursor.as_ref().is_some_and(|row| row.node.is_some())
}

/// Whether something is searched in the log.
fn has_search(model: &Model) -> bool {
    model.log_view.search.is_some()
}

/// Whether a row that an action is about has a stage.
fn has_stage(model: &Model) -> bool {
    has_row(model) && model.subjects().iter().any(|row| model.newest_stage_of(row).is_some())
}

/// Whether anything can run again, or a pipeline can be started.
fn can_rerun(model: &Model) -> bool {
    model.page == Page::Tasks && has_stage(model) || has_video(model)
}

/// Whether anything waits or runs in the rows that an action is about.
fn has_run(model: &Model) -> bool {
    model.subjects().iter().any(|row| model.in_flight(row))
}

/// Whether an action on videos has one to act on.
fn has_video(model: &Model) -> bool {
    if model.page == Page::Videos {
        return model.videos.at_cursor().is_some();
    }
    let has_pipeline = |row: &RowId| model.store.get(&row.task).is_some_and(|task| task.pipeline.is_some());
    if model.tree.marks.is_empty() {
        model.tree.cursor.as_ref().is_some_and(has_pipeline)
    } else {
        model.tree.marks.iter().any(has_pipeline)
    }
}

/// Whether a delete can be taken back.
fn has_undo(model: &Model) -> bool {
    !model.deletes.is_empty()
}

/// Whether the view stands still.
fn is_frozen(model: &Model) -> bool {
    model.store.is_frozen()
}

/// Whether there are marks, filters or pages to go back from.
fn has_way_back(model: &Model) -> bool {
    model.page != Page::Tasks
        || model.zoom
        || model.store.is_frozen()
        || !model.tree.marks.is_empty()
        || model.tree.is_narrowed()
}

/// Whether a draft of the form's row is kept.
fn has_draft(model: &Model) -> bool {
    let form = model.form.as_ref();
    form.is_some_and(|form| model.drafts.find(&form.row).is_some())
}

/// Whether the focused field of the form has values to choose from.
fn has_choices(model: &Model) -> bool {
    let form = model.form.as_ref().filter(|_| model.page == Page::Form);
    form.is_some_and(|form| !form.choices(form.focused().what).is_empty())
}
