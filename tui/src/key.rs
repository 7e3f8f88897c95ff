//! Keys as actions are bound to them, and how they are written and read.

use std::{collections::BTreeMap, fmt};

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

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
        (Some(c), None) if !c.is_control() && !c.is_whitespace() => find_arrow(c).unwrap_or(Key::char(c)),
        _ => find_named_key(text).ok_or_else(|| {
            format!(
                "'{text}' is not a key; a key is a character, space, enter, esc, tab, shift-tab, up, down, left, \
                 right, pgup, pgdn, home, end, insert, delete, backspace, f1 to f12, or one of them after ctrl-"
            )
        })?,
    };
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
    Some(match name {
        "enter" | "cr" => KeyCode::Enter,
        "esc" => KeyCode::Esc,
        "tab" => KeyCode::Tab,
        "s-tab" | "shift-tab" => KeyCode::BackTab,
        "space" => KeyCode::Char(' '),
        "up" => KeyCode::Up,
        "down" => KeyCode::Down,
        "left" => KeyCode::Left,
        "right" => KeyCode::Right,
        "pgup" => KeyCode::PageUp,
        "pgdn" => KeyCode::PageDown,
        "home" => KeyCode::Home,
        "end" => KeyCode::End,
        "insert" => KeyCode::Insert,
        "del" | "delete" => KeyCode::Delete,
        "bs" | "backspace" => KeyCode::Backspace,
        "lt" => KeyCode::Char('<'),
        _ => {
            let number = name.strip_prefix('f')?.parse().ok()?;
            return (1..=12).contains(&number).then_some(KeyCode::F(number));
        }
    })
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
