//! Keys as actions are bound to them, and how they are written and read.

use std::{collections::BTreeMap, fmt};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

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

    /// Reads a key press; `None` for releases and for combinations that no action uses.
    pub fn from_event(event: &KeyEvent) -> Option<Self> {
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
            KeyCode::F(number) => write!(f, "f{number}"),
            code => f.write_str(&format!("{code:?}").to_lowercase()),
        }
    }
}

/// Writes a key as [`parse_keys`] reads it. A key that has no name there, which no action uses, is `<null>`.
pub fn write_key(key: Key) -> String {
    let name = match key.code {
        KeyCode::Char('<') => "lt".to_owned(),
        KeyCode::Char('>') => "gt".to_owned(),
        KeyCode::Char(c) if !key.ctrl => return c.to_string(),
        KeyCode::Char(c) => c.to_string(),
        KeyCode::F(number) => format!("f{number}"),
        code => NAMED_KEYS
            .iter()
            .find(|(_, named)| *named == code)
            .map_or("null", |(name, _)| *name)
            .to_owned(),
    };
    let ctrl = if key.ctrl { "c-" } else { "" };
    format!("<{ctrl}{name}>")
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write_key(*self))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match parse_keys(&text).map_err(D::Error::custom)?[..] {
            [key] => Ok(key),
            _ => Err(D::Error::custom(format!("'{text}' is not one key"))),
        }
    }
}

/// Keys that are written by name; of two names the first is written.
const NAMED_KEYS: [(&str, KeyCode); 23] = [
    ("enter", KeyCode::Enter),
    ("cr", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("s-tab", KeyCode::BackTab),
    ("shift-tab", KeyCode::BackTab),
    ("space", KeyCode::Char(' ')),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("ins", KeyCode::Insert),
    ("insert", KeyCode::Insert),
    ("del", KeyCode::Delete),
    ("delete", KeyCode::Delete),
    ("bs", KeyCode::Backspace),
    ("backspace", KeyCode::Backspace),
    ("lt", KeyCode::Char('<')),
    ("gt", KeyCode::Char('>')),
];

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
            .ok_or_else(|| format!("'{rest}': the name of a key must end with '>'"))?;
        keys.push(find_named_key(name).ok_or_else(|| {
            format!("<{name}> is not a key; the keys are <enter> <esc> <tab> <s-tab> <space> <up> <down> <left> <right> <pgup> <pgdn> <home> <end> <del> <bs> <lt> <c-x>")
        })?);
        rest = after;
    }
    Ok(keys)
}

/// Reads a key as a configuration file names it: `x`, `R`, `space`, `up`, `ctrl-d`, `shift-tab`, `f5`.
pub fn parse_key(text: &str) -> Result<Key, String> {
    let mut chars = text.chars();
    let key = match (chars.next(), chars.next()) {
        (Some(c), None) if !c.is_control() && !c.is_whitespace() => Some(find_arrow(c).unwrap_or(Key::char(c))),
        _ => find_named_key(text).filter(|key| !matches!(key.code, KeyCode::Null | KeyCode::F(0 | 13..))),
    };
    let key = key.ok_or_else(|| {
        format!(
            "'{text}' is not a key; a key is a character, space, enter, esc, tab, shift-tab, up, down, left, right, \
             pgup, pgdn, home, end, insert, delete, backspace, f1 to f12, or one of them after ctrl-"
        )
    })?;
    match key.code {
        KeyCode::Char('i' | 'm' | '[') if key.ctrl => {
            Err(format!("a terminal cannot tell {key} from tab, enter or esc"))
        }
        _ => Ok(key),
    }
}

/// Finds the key of an arrow as keys are shown.
fn find_arrow(c: char) -> Option<Key> {
    let code = match c {
        '↑' => KeyCode::Up,
        '↓' => KeyCode::Down,
        '←' => KeyCode::Left,
        '→' => KeyCode::Right,
        _ => return None,
    };
    Some(Key::new(code))
}

fn find_named_key(name: &str) -> Option<Key> {
    let lower = name.to_lowercase();
    if let Some(rest) = lower.strip_prefix("c-").or_else(|| lower.strip_prefix("ctrl-")) {
        let mut letters = rest.chars();
        let code = match (letters.next(), letters.next()) {
            (Some(letter), None) => KeyCode::Char(letter),
            _ => find_code(rest)?,
        };
        return Some(Key { code, ctrl: true });
    }
    find_code(&lower).map(Key::new)
}

/// Finds the key with this name, which is in lower case.
fn find_code(name: &str) -> Option<KeyCode> {
    if name == "null" {
        return Some(KeyCode::Null);
    }
    if let Some(number) = name.strip_prefix('f').and_then(|number| number.parse().ok()) {
        return Some(KeyCode::F(number));
    }
    let named = NAMED_KEYS.iter().find(|(named, _)| *named == name);
    named.map(|(_, code)| *code)
}

/// The keys that the configuration file gives to actions, by the action's name. All other actions have those of the
/// registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyBindings {
    changed: BTreeMap<&'static str, Vec<Key>>,
}

impl KeyBindings {
    /// Gives an action these keys and no others.
    pub fn bind(&mut self, action: &'static str, keys: Vec<Key>) {
        self.changed.insert(action, keys);
    }

    /// Returns the keys of an action, which has `usual` where nothing was changed.
    pub fn keys_of<'a>(&'a self, action: &str, usual: &'a [Key]) -> &'a [Key] {
        self.changed.get(action).map_or(usual, Vec::as_slice)
    }

    /// Whether the action has other keys than those of the registry.
    pub fn is_changed(&self, action: &str) -> bool {
        self.changed.contains_key(action)
    }

    /// Lists the actions that have other keys, with these.
    pub fn changed(&self) -> impl Iterator<Item = (&'static str, &[Key])> {
        self.changed.iter().map(|(action, keys)| (*action, keys.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for key in [
            "<enter>", " ", "<lt>", "<gt>", "<c-<>", "<c-gt>", "<c-left>", "<f12>", "<ins>", "강",
        ] {
            let read = parse_keys(key).unwrap();
            assert_eq!(parse_keys(&write_key(read[0])).unwrap(), read, "{key}");
        }
        assert!(parse_keys("<nope>").unwrap_err().contains("<nope>"));
        assert!(parse_keys("<enter").is_err());
    }

    #[test]
    fn tui17_a_key_reads_as_it_is_shown() {
        for text in [
            "x",
            "R",
            "?",
            "<",
            "space",
            "ctrl-d",
            "shift-tab",
            "pgup",
            "f5",
            "enter",
            "esc",
            "backspace",
            "↑",
        ] {
            assert_eq!(parse_key(text).unwrap().to_string(), text);
        }
        for text in ["", " ", "xx", "f13", "ctrl-i", "hyper-x", "\u{7}"] {
            assert!(parse_key(text).is_err(), "{text:?}");
        }
    }
}
