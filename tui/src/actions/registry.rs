//! The table of all actions.

use crossterm::event::KeyCode;

use super::{
    conditions::{
        always, can_rerun, has_choices, has_draft, has_result, has_row, has_run, has_samples, has_search, has_stage,
        has_undo, has_video, has_way_back, is_frozen, is_json_page, leads_to_stage,
    },
    page_sets::{
        COMPARE, EVERYWHERE, FILTERED, FORMS, IDS, JSON, JSON_OR_TASKS, LISTS, LOG, MARKABLE, OF_STAGES, OF_VIDEOS,
        PREVIEW, READ, ROWS, SEARCHED, SIDEWAYS, TEXTS, TIMELINE, UNTYPED,
    },
    spec::{
        Action, ActionSpec,
        Group::{self, Act, Move, Program, See},
    },
};
use crate::{
    key::Key,
    model::{Model, Page},
};

/// The number keys.
const DIGITS: &[Key] = &[c('1'), c('2'), c('3'), c('4'), c('5'), c('6'), c('7'), c('8'), c('9')];

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
        prepares: false,
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

    /// Marks the action as one that only leads to a change.
    const fn preparing(mut self) -> Self {
        self.prepares = true;
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
    spec(Action::ShowTab, "show-tab", DIGITS, See)
        .label("page")
        .help("show the page with this number in the second line")
        .on(UNTYPED),
    spec(Action::NextTab, "next-tab", &[k(KeyCode::Tab), c(']')], See)
        .label("next tab")
        .help("show the next tab: overview, input, output, reuse, log; on a task: go to its stages")
        .on(JSON_OR_TASKS),
    spec(Action::PreviousTab, "previous-tab", &[k(KeyCode::BackTab), c('[')], See)
        .label("previous tab")
        .help("show the previous tab; on a task: go to its stages")
        .on(JSON_OR_TASKS),
    spec(Action::DetailDown, "detail-down", &[c('J'), Key::ctrl('d')], See)
        .label("scroll down")
        .help("scroll the detail or card down (the log: to newer lines)")
        .on(TEXTS),
    spec(Action::DetailUp, "detail-up", &[c('K'), Key::ctrl('u')], See)
        .label("scroll up")
        .help("scroll the detail or card up (the log: to older lines)")
        .on(TEXTS),
    spec(Action::OpenLog, "log", &[c('L')], See)
        .help(
            "show the stage's log on the whole screen, or those of all stages of a task; to scroll, search and filter",
        )
        .footer(14, has_row),
    spec(Action::WholeTask, "whole-task", &[c('A')], See)
        .label("whole task")
        .help("show the logs of all stages of the task as one, or the log of the stage again")
        .on(LOG)
        .footer(8, always),
    spec(Action::Timeline, "timeline", &[c('t')], See)
        .help("show the runs of the task's stages in time: waiting, running, attempts, reuse, the critical path")
        .footer(15, has_row),
    spec(Action::OpenStage, "open-stage", &[k(KeyCode::Enter)], See)
        .label("stage")
        .help("go to the stage at the cursor: its detail on the whole screen")
        .on(TIMELINE)
        .footer(1, always),
    spec(Action::ZoomIn, "zoom-in", &[c('+')], See)
        .label("zoom in")
        .help("show less time, in more detail")
        .on(TIMELINE)
        .footer(3, always),
    spec(Action::ZoomOut, "zoom-out", &[c('-')], See)
        .label("zoom out")
        .help("show more time, earlier runs too")
        .on(TIMELINE)
        .footer(4, always),
    spec(Action::ZoomFit, "zoom-fit", &[c('0')], See)
        .label("fit")
        .help("fit the newest runs onto the screen")
        .on(TIMELINE)
        .footer(5, always),
    spec(Action::Compare, "compare", &[c('=')], See)
        .help("compare the stage's newest two runs, or two marked stages of one node: input, output, time, log"),
    spec(Action::OtherSide, "other-side", &[k(KeyCode::Tab)], See)
        .label("other side")
        .help("choose the runs of the other side with the arrows")
        .on(COMPARE)
        .footer(2, always),
    spec(Action::SearchJson, "search-json", &[c('/')], See)
        .label("search")
        .help("search names and values of the tree, whatever the case; what they are in unfolds")
        .on(JSON)
        .footer(1, always),
    spec(Action::Fold, "fold", &[c('z')], See)
        .help("fold the list or object at the cursor of the input or output, or unfold it")
        .on(JSON_OR_TASKS)
        .footer(6, is_json_page),
    spec(Action::FoldAll, "fold-all", &[c('Z')], See)
        .label("fold all")
        .help("fold the whole tree, or unfold it")
        .on(JSON)
        .footer(7, always),
    spec(
        Action::OpenValue,
        "open-value",
        &[k(KeyCode::Enter), c('l'), k(KeyCode::Right)],
        See,
    )
    .label("open")
    .help("unfold what is folded, go into it, or show a long text whole")
    .on(JSON)
    .footer(5, always),
    spec(Action::CloseValue, "close-value", &[c('h'), k(KeyCode::Left)], See)
        .label("close")
        .help("fold what is unfolded, or go to what it is in")
        .on(JSON),
    spec(Action::ShowResult, "result", &[c('i')], See)
        .help("show the files of the stage's result: pictures, subtitles, texts")
        .footer(7, has_result),
    spec(Action::PreviousFile, "previous-file", &[k(KeyCode::Left), c('h')], Move)
        .label("previous")
        .help("go to the file before")
        .on(PREVIEW),
    spec(Action::NextFile, "next-file", &[k(KeyCode::Right), c('l')], Move)
        .label("next")
        .help("go to the next file")
        .on(PREVIEW)
        .footer(3, has_row),
    spec(Action::WholePage, "whole-page", &[c('+'), k(KeyCode::Enter)], See)
        .label("whole page")
        .help("give the file the whole page, or end that")
        .on(PREVIEW)
        .footer(1, has_row),
    spec(Action::SearchLog, "search", &[c('/')], See)
        .help("search the log, whatever the case; the lines around a match stay")
        .on(LOG)
        .footer(1, always),
    spec(Action::NextMatch, "next-match", &[c('n')], See)
        .label("next")
        .help("go to the next line that was found")
        .on(SEARCHED)
        .footer(3, has_search),
    spec(Action::PreviousMatch, "previous-match", &[c('N')], See)
        .label("previous")
        .help("go to the line that was found before")
        .on(SEARCHED)
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
        .help("scroll to the left, where lines are not wrapped; in time: to what was earlier")
        .on(SIDEWAYS),
    spec(Action::Right, "right", &[k(KeyCode::Right), c('l')], Move)
        .help("scroll to the right, where lines are not wrapped; in time: to what was later")
        .on(SIDEWAYS),
    spec(Action::NarrowTree, "narrow-tree", &[c('<')], See)
        .label("more detail")
        .help("give the detail more of the screen"),
    spec(Action::WidenTree, "widen-tree", &[c('>')], See)
        .label("more tree")
        .help("give the tree more of the screen"),
    spec(Action::Filter, "filter", &[c('/')], See)
        .help("filter tasks: state:failed node:*whisper* warned:yes age>10m id:demo \"text\" and or not; others: words")
        .on(FILTERED)
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
    spec(Action::Sort, "sort", &[c('S')], See).help("choose the column to sort by; the same column again reverses"),
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
    spec(Action::EditRequest, "edit", &[c('e')], Act)
        .help("run again with changes: opens the stored request as a form, and shows what differs before it is sent")
        .footer(5, has_stage)
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
        .on(IDS)
        .footer(11, has_row),
    spec(Action::CopyMenu, "copy-menu", &[c('Y')], Act)
        .label("copy")
        .help("choose what to copy: id, error, file, JSON, a value, a curl or onceover command")
        .on(OF_STAGES)
        .footer(15, is_json_page),
    spec(Action::OpenPager, "pager", &[c('O')], See)
        .help("open the text of the tab in $PAGER: the whole log, JSON with a line for each value")
        .on(OF_STAGES)
        .footer(16, is_json_page),
    spec(Action::Watch, "watch", &[c('W')], Act)
        .help("watch the task or stage, or stop: its end is announced as the configuration says (a bell if omitted)")
        .footer(15, has_row),
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
        .footer(9, always)
        .preparing(),
    spec(Action::OpenForm, "open-form", &[k(KeyCode::Enter), c('s')], Act)
        .label("submit")
        .help("fill in the node's form")
        .on(&[Page::Nodes])
        .footer(1, has_row)
        .preparing(),
    spec(Action::Videos, "videos", &[c('v')], See)
        .help("show the registered videos and how far their pipelines are; to register one")
        .footer(13, always),
    spec(Action::Queues, "queues", &[c('Q')], See)
        .help("show what waits in each queue and why, what was counted in the last hour, how long nodes take")
        .on(UNTYPED),
    spec(Action::Machine, "machine", &[c('M')], See)
        .help("show how busy the daemon's machine was in the last ten minutes, and which stages ran then")
        .on(UNTYPED),
    spec(Action::Workers, "workers", &[c('B')], See)
        .help("show the Celery workers, the queues that they listen to, and which stage runs where")
        .on(UNTYPED),
    spec(
        Action::EarlierSample,
        "earlier",
        &[k(KeyCode::Left), c('h'), k(KeyCode::Up), c('k')],
        Move,
    )
    .help("go to the time before")
    .on(&[Page::Machine])
    .footer(3, has_samples),
    spec(
        Action::LaterSample,
        "later",
        &[k(KeyCode::Right), c('l'), k(KeyCode::Down), c('j')],
        Move,
    )
    .help("go to the time after; the newest one is followed")
    .on(&[Page::Machine])
    .footer(4, has_samples),
    spec(Action::Events, "events", &[c('X')], See)
        .help("show the newest events as they come")
        .on(UNTYPED),
    spec(Action::CommandLog, "command-log", &[c('H')], See)
        .label("commands")
        .help("show what was done in this session, as the commands that do the same")
        .on(UNTYPED),
    spec(Action::ShowStage, "show-stage", &[k(KeyCode::Enter)], See)
        .label("stage")
        .help("go to the row's stage or task in the tree")
        .on(&[Page::Queues, Page::Workers, Page::Events])
        .footer(1, leads_to_stage),
    spec(Action::CopyCommand, "copy-command", &[k(KeyCode::Enter)], Act)
        .label("copy")
        .help("send the onceover command to the clipboard of the terminal, and show it")
        .on(&[Page::Commands])
        .footer(1, has_row),
    spec(Action::CopyCurl, "copy-curl", &[c('y')], Act)
        .label("copy curl")
        .help("send the command with curl to the clipboard of the terminal, and show it")
        .on(&[Page::Commands])
        .footer(3, has_row),
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
        .footer(4, always)
        .preparing(),
    spec(Action::Send, "send", &[Key::ctrl('s')], Act)
        .label("submit")
        .help("send the request")
        .on(FORMS)
        .footer(1, always)
        .changing(),
    spec(Action::EditText, "edit-text", &[Key::ctrl('e')], Act)
        .label("$EDITOR")
        .help("open the request as JSON in $VISUAL or $EDITOR")
        .on(&[Page::Form])
        .footer(6, always),
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
    spec(Action::Mouse, "mouse", &[c('m')], Program)
        .help("use the mouse here, or leave it to the terminal, which selects text with it")
        .on(UNTYPED),
    spec(Action::Suspend, "suspend", &[Key::ctrl('z')], Program)
        .help("stop and go back to the shell; fg continues")
        .on(EVERYWHERE),
    spec(Action::Palette, "palette", &[c(':'), Key::ctrl('p')], Program)
        .help("find by its name what can be done here, a page, a task or a node")
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
