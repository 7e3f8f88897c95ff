//! The one registry of actions: name, keys, pages, condition, whether it changes something, help text. The
//! key table, the footer and the help all come from it. What an action does is in `update`.

use crossterm::event::KeyCode;

use crate::{
    key::Key,
    model::{Model, Page},
    update::video_actions,
};

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
    NextTab,
    PreviousTab,
    DetailDown,
    DetailUp,
    Mark,
    MarkRange,
    MarkAll,
    Filter,
    PendingOnly,
    ActiveOnly,
    Resubmit,
    Force,
    Cancel,
    Delete,
    Undo,
    CopyId,
    Callbacks,
    Redeliver,
    AllCallbacks,
    Nodes,
    Submit,
    OpenForm,
    NextField,
    PreviousField,
    NextValue,
    PreviousValue,
    Confirm,
    Send,
    Videos,
    ShowTask,
    Start,
    StartAnew,
    Reprocess,
    DeleteVideo,
    Register,
    Reread,
    Redraw,
    Suspend,
    Help,
    Quit,
}

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

pub struct ActionSpec {
    pub action: Action,
    /// Its name in documentation.
    pub name: &'static str,
    pub keys: &'static [Key],
    /// Where it can be done.
    pub pages: &'static [Page],
    pub group: Group,
    /// A word or two, for the footer.
    pub label: &'static str,
    pub help: &'static str,
    /// Changes something in the daemon: refused while disconnected, asks first where it destroys.
    pub changes: bool,
    /// Whether it makes sense now; the footer shows only what does.
    pub applies: fn(&Model) -> bool,
    /// Place in the footer, lower first; None: only in the help.
    pub footer: Option<u8>,
}

fn always(_: &Model) -> bool {
    true
}

fn on_row(model: &Model) -> bool {
    match model.page {
        Page::Tasks => model.tree.cursor.is_some(),
        Page::Callbacks => model.deliveries.list.cursor().is_some(),
        Page::Nodes => model.nodes.list.cursor().is_some(),
        Page::Videos => model.videos.list.cursor().is_some(),
        Page::Form | Page::Register => false,
    }
}

fn on_stage(model: &Model) -> bool {
    on_row(model) && model.subjects().iter().any(|row| model.newest_stage_of(row).is_some())
}

fn on_flight(model: &Model) -> bool {
    model.subjects().iter().any(|row| model.in_flight(row))
}

fn on_video(model: &Model) -> bool {
    video_actions::on_video(model)
}

fn undoable(model: &Model) -> bool {
    !model.deletes.is_empty()
}

fn somewhere(model: &Model) -> bool {
    model.page != Page::Tasks || model.zoom || !model.tree.marks.is_empty() || model.tree.narrowed()
}

fn choosable(model: &Model) -> bool {
    let form = model.form.as_ref().filter(|_| model.page == Page::Form);
    form.is_some_and(|form| !form.choices(form.focused().what).is_empty())
}

const fn spec(
    action: Action,
    name: &'static str,
    keys: &'static [Key],
    group: Group,
    label: &'static str,
    help: &'static str,
) -> ActionSpec {
    ActionSpec {
        action,
        name,
        keys,
        pages: &[Page::Tasks],
        group,
        label,
        help,
        changes: false,
        applies: always,
        footer: None,
    }
}

const fn footer(place: u8, applies: fn(&Model) -> bool, mut spec: ActionSpec) -> ActionSpec {
    spec.footer = Some(place);
    spec.applies = applies;
    spec
}

/// Can be done on these pages, and not only on that of the tasks.
const fn on(pages: &'static [Page], mut spec: ActionSpec) -> ActionSpec {
    spec.pages = pages;
    spec
}

const fn changing(mut spec: ActionSpec) -> ActionSpec {
    spec.changes = true;
    spec
}

/// Pages with a list, pages whose rows can be marked, pages with text to scroll.
const LISTS: &[Page] = &[Page::Tasks, Page::Callbacks, Page::Nodes, Page::Videos];
const SCROLLED: &[Page] = &[Page::Tasks, Page::Nodes];
const MARKABLE: &[Page] = &[Page::Tasks, Page::Callbacks, Page::Videos];
/// Where videos are, and where forms are filled in.
const OF_VIDEOS: &[Page] = &[Page::Tasks, Page::Videos];
const FORMS: &[Page] = &[Page::Form, Page::Register];
const EVERYWHERE: &[Page] = &Page::ALL;

use Group::{Act, Move, Program, See};
const fn c(c: char) -> Key {
    Key::char(c)
}
const fn k(code: KeyCode) -> Key {
    Key::new(code)
}

/// Every action there is.
pub static ACTIONS: &[ActionSpec] = &[
    on(
        LISTS,
        spec(Action::Up, "up", &[c('k'), k(KeyCode::Up)], Move, "up", "row up"),
    ),
    on(
        LISTS,
        spec(
            Action::Down,
            "down",
            &[c('j'), k(KeyCode::Down)],
            Move,
            "down",
            "row down",
        ),
    ),
    on(
        LISTS,
        spec(
            Action::PageUp,
            "page-up",
            &[k(KeyCode::PageUp), Key::ctrl('b')],
            Move,
            "page up",
            "page up",
        ),
    ),
    on(
        LISTS,
        spec(
            Action::PageDown,
            "page-down",
            &[k(KeyCode::PageDown), Key::ctrl('f')],
            Move,
            "page down",
            "page down",
        ),
    ),
    on(
        LISTS,
        spec(
            Action::First,
            "first",
            &[c('g'), k(KeyCode::Home)],
            Move,
            "first",
            "first row",
        ),
    ),
    on(
        LISTS,
        spec(
            Action::Last,
            "last",
            &[c('G'), k(KeyCode::End)],
            Move,
            "last",
            "last row",
        ),
    ),
    spec(
        Action::Expand,
        "expand",
        &[c('l'), k(KeyCode::Right)],
        Move,
        "expand",
        "show the task's stages, then go to the first",
    ),
    spec(
        Action::Collapse,
        "collapse",
        &[c('h'), k(KeyCode::Left)],
        Move,
        "collapse",
        "go to the task, then hide its stages",
    ),
    spec(
        Action::ExpandAll,
        "expand-all",
        &[c('E')],
        Move,
        "expand all",
        "show the stages of all tasks",
    ),
    spec(
        Action::CollapseAll,
        "collapse-all",
        &[c('C')],
        Move,
        "collapse all",
        "hide the stages of all tasks",
    ),
    footer(
        1,
        on_row,
        spec(
            Action::Open,
            "open",
            &[k(KeyCode::Enter)],
            See,
            "open",
            "open the row: the whole screen for its detail, or back",
        ),
    ),
    on(
        EVERYWHERE,
        footer(
            2,
            somewhere,
            spec(
                Action::Back,
                "back",
                &[k(KeyCode::Esc), k(KeyCode::Backspace)],
                See,
                "back",
                "back: drop marks, close the page or the detail, drop the filter",
            ),
        ),
    ),
    spec(
        Action::NextTab,
        "next-tab",
        &[k(KeyCode::Tab), c(']')],
        See,
        "next tab",
        "next tab of the detail: overview, input, output, reuse, log",
    ),
    spec(
        Action::PreviousTab,
        "previous-tab",
        &[k(KeyCode::BackTab), c('[')],
        See,
        "previous tab",
        "previous tab of the detail",
    ),
    on(
        SCROLLED,
        spec(
            Action::DetailDown,
            "detail-down",
            &[c('J'), Key::ctrl('d')],
            See,
            "scroll down",
            "scroll the detail or card down (the log: to newer lines)",
        ),
    ),
    on(
        SCROLLED,
        spec(
            Action::DetailUp,
            "detail-up",
            &[c('K'), Key::ctrl('u')],
            See,
            "scroll up",
            "scroll the detail or card up (the log: to older lines)",
        ),
    ),
    on(
        SCROLLED,
        footer(
            3,
            always,
            spec(
                Action::Filter,
                "filter",
                &[c('/')],
                See,
                "filter",
                "filter tasks: state:failed node:*whisper* warned:yes age>10m id:demo \"text\" and or not; nodes: words",
            ),
        ),
    ),
    footer(
        10,
        always,
        spec(
            Action::PendingOnly,
            "pending-only",
            &[c('p')],
            See,
            "pending",
            "only what waits, and back",
        ),
    ),
    spec(
        Action::ActiveOnly,
        "active-only",
        &[c('a')],
        See,
        "active",
        "only what waits or runs, and back",
    ),
    footer(
        4,
        on_stage,
        changing(spec(
            Action::Resubmit,
            "resubmit",
            &[c('r')],
            Act,
            "resubmit",
            "ask for the stage again with its stored request; a finished result is reused",
        )),
    ),
    footer(
        5,
        on_stage,
        changing(spec(
            Action::Force,
            "force-rerun",
            &[c('R')],
            Act,
            "force",
            "run the stage again whatever is stored; the former result stands until the new one succeeds",
        )),
    ),
    footer(
        6,
        on_flight,
        changing(spec(
            Action::Cancel,
            "cancel",
            &[c('x')],
            Act,
            "cancel",
            "cancel what waits or runs (asks first)",
        )),
    ),
    footer(
        7,
        on_row,
        changing(spec(
            Action::Delete,
            "delete",
            &[c('d'), k(KeyCode::Delete)],
            Act,
            "delete",
            "delete the whole task (asks first, and can be taken back for 5 s)",
        )),
    ),
    on(
        LISTS,
        footer(
            0,
            undoable,
            spec(
                Action::Undo,
                "undo",
                &[c('u')],
                Act,
                "undo",
                "take back the delete that has not been sent yet",
            ),
        ),
    ),
    on(
        MARKABLE,
        footer(
            8,
            on_row,
            spec(
                Action::Mark,
                "mark",
                &[c(' ')],
                Act,
                "mark",
                "mark the row, or remove its mark",
            ),
        ),
    ),
    on(
        MARKABLE,
        spec(
            Action::MarkRange,
            "mark-range",
            &[c('V')],
            Act,
            "mark range",
            "mark every row from the last mark to this one",
        ),
    ),
    on(
        MARKABLE,
        spec(
            Action::MarkAll,
            "mark-all",
            &[c('*')],
            Act,
            "mark all",
            "mark everything shown, or drop all marks",
        ),
    ),
    on(
        LISTS,
        footer(
            11,
            on_row,
            spec(
                Action::CopyId,
                "copy-id",
                &[c('y')],
                Act,
                "copy id",
                "copy the id to the clipboard (OSC 52)",
            ),
        ),
    ),
    footer(
        9,
        on_row,
        spec(
            Action::Callbacks,
            "callbacks",
            &[c('c')],
            See,
            "callbacks",
            "the callbacks of the row, or of all marked rows: where, state, tries, last answer",
        ),
    ),
    on(
        &[Page::Callbacks],
        footer(
            4,
            on_row,
            changing(spec(
                Action::Redeliver,
                "redeliver",
                &[c('r')],
                Act,
                "redeliver",
                "send the callback again, or all marked ones (asks first)",
            )),
        ),
    ),
    on(
        &[Page::Callbacks],
        footer(
            5,
            always,
            spec(
                Action::AllCallbacks,
                "all-callbacks",
                &[c('a')],
                See,
                "all tasks",
                "the newest callbacks of all tasks, and back",
            ),
        ),
    ),
    footer(
        12,
        always,
        spec(
            Action::Nodes,
            "nodes",
            &[c('n')],
            See,
            "nodes",
            "every node of the daemon: what it takes and gives, and whether it can run",
        ),
    ),
    footer(
        9,
        always,
        spec(
            Action::Submit,
            "submit",
            &[c('s')],
            Act,
            "submit",
            "submit a stage to this task or a new one: choose a node, fill in its form",
        ),
    ),
    on(
        &[Page::Nodes],
        footer(
            1,
            on_row,
            spec(
                Action::OpenForm,
                "open-form",
                &[k(KeyCode::Enter), c('s')],
                Act,
                "submit",
                "fill in the node's form",
            ),
        ),
    ),
    footer(
        13,
        always,
        spec(
            Action::Videos,
            "videos",
            &[c('v')],
            See,
            "videos",
            "registered videos and how far their pipelines are; to register one",
        ),
    ),
    on(
        &[Page::Videos],
        footer(
            1,
            on_row,
            spec(
                Action::ShowTask,
                "show-task",
                &[k(KeyCode::Enter)],
                See,
                "task",
                "go to the video's task in the tree: its steps, their logs and results",
            ),
        ),
    ),
    on(
        OF_VIDEOS,
        footer(
            3,
            on_video,
            changing(spec(
                Action::Start,
                "start",
                &[c('t')],
                Act,
                "start",
                "start a pipeline of the video in the background: finished steps are reused",
            )),
        ),
    ),
    on(
        OF_VIDEOS,
        footer(
            3,
            on_video,
            changing(spec(
                Action::Reprocess,
                "reprocess",
                &[c('w')],
                Act,
                "reprocess",
                "run this step of the pipeline and what depends on it again; on the video: every step (asks first)",
            )),
        ),
    ),
    on(
        OF_VIDEOS,
        footer(
            7,
            on_video,
            changing(spec(
                Action::StartAnew,
                "restart",
                &[c('T')],
                Act,
                "restart",
                "end what is under way and run every step of a pipeline again (asks first)",
            )),
        ),
    ),
    on(
        OF_VIDEOS,
        footer(
            7,
            on_video,
            changing(spec(
                Action::DeleteVideo,
                "delete-video",
                &[c('D')],
                Act,
                "delete video",
                "delete the video, with or without its task's data (asks first, and can be taken back for 5 s)",
            )),
        ),
    ),
    on(
        &[Page::Videos],
        footer(
            4,
            always,
            spec(
                Action::Register,
                "register",
                &[c('a')],
                Act,
                "register",
                "register a video: a file on the daemon's machine, or a URL",
            ),
        ),
    ),
    on(
        FORMS,
        footer(
            1,
            always,
            changing(spec(
                Action::Send,
                "send",
                &[Key::ctrl('s')],
                Act,
                "submit",
                "send the request",
            )),
        ),
    ),
    on(
        FORMS,
        footer(
            4,
            always,
            spec(
                Action::NextField,
                "next-field",
                &[k(KeyCode::Down), k(KeyCode::Tab)],
                Move,
                "next",
                "next field",
            ),
        ),
    ),
    on(
        FORMS,
        spec(
            Action::PreviousField,
            "previous-field",
            &[k(KeyCode::Up), k(KeyCode::BackTab)],
            Move,
            "previous",
            "previous field",
        ),
    ),
    on(
        FORMS,
        footer(
            5,
            choosable,
            spec(
                Action::NextValue,
                "next-value",
                &[k(KeyCode::Right)],
                Move,
                "value",
                "next value of a field that has values to choose from; elsewhere to the right",
            ),
        ),
    ),
    on(
        FORMS,
        spec(
            Action::PreviousValue,
            "previous-value",
            &[k(KeyCode::Left)],
            Move,
            "value before",
            "the value before; elsewhere to the left",
        ),
    ),
    on(
        FORMS,
        spec(
            Action::Confirm,
            "confirm",
            &[k(KeyCode::Enter)],
            Act,
            "confirm",
            "next field; on the button: send the request",
        ),
    ),
    on(
        EVERYWHERE,
        spec(
            Action::Reread,
            "re-read",
            &[Key::ctrl('r'), k(KeyCode::F(5))],
            Program,
            "re-read",
            "read everything again",
        ),
    ),
    on(
        EVERYWHERE,
        spec(
            Action::Redraw,
            "redraw",
            &[Key::ctrl('l')],
            Program,
            "redraw",
            "draw the whole screen again",
        ),
    ),
    on(
        EVERYWHERE,
        spec(
            Action::Suspend,
            "suspend",
            &[Key::ctrl('z')],
            Program,
            "suspend",
            "back to the shell; fg comes back",
        ),
    ),
    on(
        EVERYWHERE,
        footer(
            20,
            always,
            spec(
                Action::Help,
                "help",
                &[c('?'), k(KeyCode::F(1))],
                Program,
                "help",
                "this page",
            ),
        ),
    ),
    on(
        EVERYWHERE,
        footer(
            21,
            always,
            spec(
                Action::Quit,
                "quit",
                &[c('q'), Key::ctrl('c')],
                Program,
                "quit",
                "quit; the daemon and its runs go on",
            ),
        ),
    ),
];

/// What can be done on a page.
pub fn on_page(page: Page) -> impl Iterator<Item = &'static ActionSpec> {
    ACTIONS.iter().filter(move |spec| spec.pages.contains(&page))
}

/// The keys an action has on a page: where text is typed, none that is text or edits it.
pub fn keys_on(spec: &ActionSpec, page: Page) -> impl Iterator<Item = &Key> {
    let free = move |key: &&Key| {
        let types = matches!(key.code, KeyCode::Char(_) | KeyCode::Backspace | KeyCode::Delete) && !key.ctrl;
        !page.is_typed() || !types
    };
    spec.keys.iter().filter(free)
}

/// The action a key stands for on a page.
pub fn action_of(page: Page, key: Key) -> Option<&'static ActionSpec> {
    on_page(page).find(|spec| keys_on(spec, page).any(|other| *other == key))
}

pub fn spec_of(action: Action) -> &'static ActionSpec {
    ACTIONS
        .iter()
        .find(|spec| spec.action == action)
        .expect("every action is in the registry (a test holds it)")
}

/// The keys of one action, `r` or `k ↑`.
pub fn keys_text(spec: &ActionSpec, page: Page) -> String {
    let keys: Vec<_> = keys_on(spec, page).map(Key::to_string).collect();
    keys.join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_means_two_things_on_a_page_and_no_action_is_without_one() {
        let mut names = HashSet::new();
        for spec in ACTIONS {
            assert!(!spec.keys.is_empty(), "{} has no key", spec.name);
            assert!(!spec.pages.is_empty(), "{} can be done nowhere", spec.name);
            assert!(names.insert(spec.name), "{} is there twice", spec.name);
            assert_eq!(spec_of(spec.action).name, spec.name);
        }
        for page in Page::ALL {
            let mut keys = HashSet::new();
            for spec in on_page(page) {
                assert!(
                    keys_on(spec, page).next().is_some(),
                    "{} has no key on {page:?}",
                    spec.name
                );
                for key in keys_on(spec, page) {
                    assert!(keys.insert(*key), "{key} is bound twice on {page:?}");
                    assert_eq!(action_of(page, *key).unwrap().action, spec.action);
                }
            }
        }
    }
}
