//! The one registry of actions: name, keys, condition, whether it changes something, help text. The key
//! table, the footer and the help all come from it. What an action does is in `update`.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::model::Model;

/// A key as actions are bound to it. Shift is part of the character (`R`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub code: KeyCode,
    pub ctrl: bool,
}

impl Key {
    pub const fn new(code: KeyCode) -> Self {
        Self { code, ctrl: false }
    }

    pub const fn char(c: char) -> Self {
        Self::new(KeyCode::Char(c))
    }

    pub const fn ctrl(c: char) -> Self {
        Self {
            code: KeyCode::Char(c),
            ctrl: true,
        }
    }

    /// None for releases and for combinations no action uses.
    pub fn of(event: &KeyEvent) -> Option<Self> {
        if event.kind == KeyEventKind::Release
            || event
                .modifiers
                .intersects(KeyModifiers::ALT | KeyModifiers::SUPER | KeyModifiers::META)
        {
            return None;
        }
        let code = match event.code {
            KeyCode::Char(c) if event.modifiers.contains(KeyModifiers::SHIFT) && c.is_ascii_lowercase() => {
                KeyCode::Char(c.to_ascii_uppercase())
            }
            code => code,
        };
        Some(Self {
            code,
            ctrl: event.modifiers.contains(KeyModifiers::CONTROL),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("ctrl-")?;
        }
        match self.code {
            KeyCode::Char(' ') => f.write_str("space"),
            KeyCode::Char(c) => write!(f, "{c}"),
            KeyCode::Up => f.write_str("↑"),
            KeyCode::Down => f.write_str("↓"),
            KeyCode::Left => f.write_str("←"),
            KeyCode::Right => f.write_str("→"),
            KeyCode::PageUp => f.write_str("pgup"),
            KeyCode::PageDown => f.write_str("pgdn"),
            KeyCode::BackTab => f.write_str("shift-tab"),
            code => f.write_str(&format!("{code:?}").to_lowercase()),
        }
    }
}

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
    model.tree.cursor.is_some()
}

fn on_stage(model: &Model) -> bool {
    on_row(model) && model.subjects().iter().any(|row| model.newest_stage_of(row).is_some())
}

fn on_flight(model: &Model) -> bool {
    model.subjects().iter().any(|row| model.in_flight(row))
}

fn undoable(model: &Model) -> bool {
    !model.deletes.is_empty()
}

fn zoomed(model: &Model) -> bool {
    model.zoom || !model.tree.marks.is_empty() || model.tree.narrowed()
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

const fn changing(mut spec: ActionSpec) -> ActionSpec {
    spec.changes = true;
    spec
}

use Group::{Act, Move, Program, See};
const fn c(c: char) -> Key {
    Key::char(c)
}
const fn k(code: KeyCode) -> Key {
    Key::new(code)
}

/// Every action there is.
pub static ACTIONS: &[ActionSpec] = &[
    spec(Action::Up, "up", &[c('k'), k(KeyCode::Up)], Move, "up", "row up"),
    spec(
        Action::Down,
        "down",
        &[c('j'), k(KeyCode::Down)],
        Move,
        "down",
        "row down",
    ),
    spec(
        Action::PageUp,
        "page-up",
        &[k(KeyCode::PageUp), Key::ctrl('b')],
        Move,
        "page up",
        "page up",
    ),
    spec(
        Action::PageDown,
        "page-down",
        &[k(KeyCode::PageDown), Key::ctrl('f')],
        Move,
        "page down",
        "page down",
    ),
    spec(
        Action::First,
        "first",
        &[c('g'), k(KeyCode::Home)],
        Move,
        "first",
        "first row",
    ),
    spec(
        Action::Last,
        "last",
        &[c('G'), k(KeyCode::End)],
        Move,
        "last",
        "last row",
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
    footer(
        2,
        zoomed,
        spec(
            Action::Back,
            "back",
            &[k(KeyCode::Esc), k(KeyCode::Backspace)],
            See,
            "back",
            "back: close the detail, drop marks, drop the filter",
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
    spec(
        Action::DetailDown,
        "detail-down",
        &[c('J'), Key::ctrl('d')],
        See,
        "scroll down",
        "scroll the detail down (the log: to newer lines)",
    ),
    spec(
        Action::DetailUp,
        "detail-up",
        &[c('K'), Key::ctrl('u')],
        See,
        "scroll up",
        "scroll the detail up (the log: to older lines)",
    ),
    footer(
        3,
        always,
        spec(
            Action::Filter,
            "filter",
            &[c('/')],
            See,
            "filter",
            "filter: state:failed node:*whisper* age>10m id:demo \"text\" and or not",
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
    footer(
        8,
        on_row,
        spec(
            Action::Mark,
            "mark",
            &[c(' ')],
            Act,
            "mark",
            "mark the row, or take its mark away",
        ),
    ),
    spec(
        Action::MarkRange,
        "mark-range",
        &[c('V')],
        Act,
        "mark range",
        "mark every row from the last mark to this one",
    ),
    spec(
        Action::MarkAll,
        "mark-all",
        &[c('*')],
        Act,
        "mark all",
        "mark every task shown, or drop all marks",
    ),
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
    spec(
        Action::Reread,
        "re-read",
        &[Key::ctrl('r'), k(KeyCode::F(5))],
        Program,
        "re-read",
        "read everything again",
    ),
    spec(
        Action::Redraw,
        "redraw",
        &[Key::ctrl('l')],
        Program,
        "redraw",
        "draw the whole screen again",
    ),
    spec(
        Action::Suspend,
        "suspend",
        &[Key::ctrl('z')],
        Program,
        "suspend",
        "back to the shell; fg comes back",
    ),
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
];

/// The action a key stands for.
pub fn action_of(key: Key) -> Option<&'static ActionSpec> {
    ACTIONS.iter().find(|spec| spec.keys.contains(&key))
}

pub fn spec_of(action: Action) -> &'static ActionSpec {
    ACTIONS
        .iter()
        .find(|spec| spec.action == action)
        .expect("every action is in the registry (a test holds it)")
}

/// The keys of one action, `r` or `k ↑`.
pub fn keys_text(spec: &ActionSpec) -> String {
    let keys: Vec<_> = spec.keys.iter().map(Key::to_string).collect();
    keys.join(" ")
}

/// Reads `jj<enter>/abc<esc>`: characters stand for themselves, names stand in angle brackets, `<lt>` is `<`.
pub fn parse_keys(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c != '<' {
            keys.push(Key::char(c));
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (name, after) = rest[1..]
            .split_once('>')
            .ok_or_else(|| format!("'{rest}': a key name ends with '>'"))?;
        keys.push(named_key(name).ok_or_else(|| {
            format!("<{name}> is no key; there are <enter> <esc> <tab> <s-tab> <space> <up> <down> <left> <right> <pgup> <pgdn> <home> <end> <del> <bs> <lt> <c-x>")
        })?);
        rest = after;
    }
    Ok(keys)
}

fn named_key(name: &str) -> Option<Key> {
    let name = name.to_lowercase();
    if let Some(letter) = name.strip_prefix("c-").or_else(|| name.strip_prefix("ctrl-")) {
        let mut letters = letter.chars();
        return match (letters.next(), letters.next()) {
            (Some(letter), None) => Some(Key::ctrl(letter)),
            _ => None,
        };
    }
    Some(Key::new(match name.as_str() {
        "enter" | "cr" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "s-tab" => KeyCode::BackTab,
        "space" => KeyCode::Char(' '),
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "pgup" => KeyCode::PageUp,
        "pgdn" => KeyCode::PageDown,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "del" => KeyCode::Delete,
        "bs" => KeyCode::Backspace,
        "f1" => KeyCode::F(1),
        "f5" => KeyCode::F(5),
        "lt" => KeyCode::Char('<'),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_means_two_things_and_no_action_is_without_one() {
        let mut keys = HashSet::new();
        let mut names = HashSet::new();
        for spec in ACTIONS {
            assert!(!spec.keys.is_empty(), "{} has no key", spec.name);
            assert!(names.insert(spec.name), "{} is there twice", spec.name);
            for key in spec.keys {
                assert!(keys.insert(*key), "{key} is bound twice");
                assert_eq!(action_of(*key).unwrap().action, spec.action);
            }
            assert_eq!(spec_of(spec.action).name, spec.name);
        }
    }

    #[test]
    fn key_texts_read_as_keys() {
        assert_eq!(
            parse_keys("j<enter><c-d><lt>R").unwrap(),
            [
                Key::char('j'),
                Key::new(KeyCode::Enter),
                Key::ctrl('d'),
                Key::char('<'),
                Key::char('R')
            ]
        );
        assert!(parse_keys("<nope>").unwrap_err().contains("<nope>"));
        assert!(parse_keys("<enter").is_err());
    }
}
