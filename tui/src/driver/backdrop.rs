//! Asks the terminal for the colour of its background (OSC 11), where it is known to answer. Keys that are pressed
//! meanwhile are kept.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use onceover_wire::command_line::variable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{clipboard::Multiplexer, key::Key, theme::Backdrop};

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_millis(100);
/// The question, and another one behind it (DA1) that every terminal answers: its answer ends the wait.
const QUESTION: &str = "\x1b]11;?\x1b\\\x1b[c";
/// Characters of the longest answer.
const LONGEST: usize = 32;
/// Bytes that are read at most.
const MOST_BYTES: usize = 4_096;

/// What the terminal has answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BackdropAnswer {
    pub backdrop: Backdrop,
    /// Keys that came with the answer, or before it.
    pub keys: Vec<Key>,
    /// Whether everything was answered: what comes later are keys alone.
    is_complete: bool,
}

impl BackdropAnswer {
    /// Returns what may still come of the answer.
    pub fn late_part(&self) -> LateAnswer {
        LateAnswer {
            is_expected: !self.is_complete,
            length: None,
        }
    }
}

/// An answer that comes after the wait, which must not be taken for keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct LateAnswer {
    is_expected: bool,
    /// Characters of it that have come.
    length: Option<usize>,
}

impl LateAnswer {
    /// Whether a key is a part of the answer.
    pub fn swallow(&mut self, event: &KeyEvent) -> bool {
        if !self.is_expected {
            return false;
        }
        let is_with = |modifier: KeyModifiers| event.modifiers.contains(modifier);
        match (self.length, event.code) {
            (None, KeyCode::Char(']')) if is_with(KeyModifiers::ALT) => self.length = Some(0),
            (None, _) => return false,
            (Some(_), KeyCode::Char('\\')) if is_with(KeyModifiers::ALT) => self.is_expected = false,
            (Some(_), KeyCode::Char('g')) if is_with(KeyModifiers::CONTROL) => self.is_expected = false,
            (Some(length), KeyCode::Char(c)) if length < LONGEST && (c.is_ascii_hexdigit() || ";:/rg".contains(c)) => {
                self.length = Some(length + 1);
            }
            _ => {
                self.is_expected = false;
                return false;
            }
        }
        true
    }
}

/// Whether the terminal is one that answers, and no network or multiplexer is in between, with which an answer could
/// come late and be taken for keys.
pub fn is_known_to_answer(multiplexer: Multiplexer) -> bool {
    let is_set = |name: &str| variable(name).is_some();
    let is_far = ["SSH_CONNECTION", "SSH_TTY"].into_iter().any(is_set);
    let says_so = ["VTE_VERSION", "KONSOLE_VERSION", "XTERM_VERSION", "KITTY_WINDOW_ID"];
    let programs = ["iTerm.app", "WezTerm", "ghostty", "vscode"];
    let terminals = ["foot", "xterm-kitty", "alacritty", "xterm-ghostty", "wezterm"];
    let has_name = |name: &str, known: &[&str]| variable(name).is_some_and(|value| known.contains(&value.as_str()));
    multiplexer == Multiplexer::Absent
        && !is_far
        && (says_so.into_iter().any(is_set) || has_name("TERM_PROGRAM", &programs) || has_name("TERM", &terminals))
}

/// Asks the terminal, which has to be in raw mode and read by nobody else.
pub fn ask_terminal() -> BackdropAnswer {
    let mut bytes = Vec::new();
    let mut out = io::stdout().lock();
    if out.write_all(QUESTION.as_bytes()).and_then(|()| out.flush()).is_err() {
        return BackdropAnswer::default();
    }
    drop(out);
    let deadline = Instant::now() + PATIENCE;
    while bytes.len() < MOST_BYTES && find_attributes(&bytes).is_none() {
        if !read_some(&mut bytes, deadline) {
            break;
        }
    }
    split_answer(&bytes)
}

/// Waits for bytes and reads them. Returns `false` where there are none in time.
fn read_some(bytes: &mut Vec<u8>, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return false;
    }
    let input = io::stdin();
    let mut polled = [PollFd::new(&input, PollFlags::IN)];
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    match poll(&mut polled, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => true,
        Ok(1..) => {
            let mut some = [0_u8; 256];
            match rustix::io::read(&input, &mut some) {
                Ok(count @ 1..) => {
                    bytes.extend_from_slice(&some[..count]);
                    true
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// Finds the answer to the second question: `ESC [ ? ... c`. Returns where it begins and ends.
fn find_attributes(bytes: &[u8]) -> Option<(usize, usize)> {
    let start = bytes.windows(3).position(|window| window == b"\x1b[?")?;
    let length = bytes[start..].iter().position(|byte| *byte == b'c')?;
    Some((start, start + length + 1))
}

/// Finds the colour: `ESC ] 11 ; rgb:rrrr/gggg/bbbb`, ended by BEL or `ESC \`.
fn find_colour(bytes: &[u8]) -> Option<(usize, usize)> {
    let start = bytes.windows(5).position(|window| window == b"\x1b]11;")?;
    let rest = &bytes[start..];
    let bell = rest.iter().position(|byte| *byte == 0x07).map(|at| at + 1);
    let terminator = rest.windows(2).position(|window| window == b"\x1b\\").map(|at| at + 2);
    let length = bell.into_iter().chain(terminator).min()?;
    Some((start, start + length))
}

/// Takes the answers out of what was read; the rest are keys.
fn split_answer(bytes: &[u8]) -> BackdropAnswer {
    let mut rest = bytes.to_vec();
    let mut backdrop = Backdrop::Unknown;
    if let Some((start, end)) = find_colour(&rest) {
        let answer: Vec<u8> = rest.drain(start..end).collect();
        backdrop = read_colour(&String::from_utf8_lossy(&answer)).unwrap_or_default();
    }
    let attributes = find_attributes(&rest);
    if let Some((start, end)) = attributes {
        rest.drain(start..end);
    }
    BackdropAnswer {
        backdrop,
        is_complete: attributes.is_some(),
        keys: read_keys(&String::from_utf8_lossy(&rest)),
    }
}

/// Reads `rgb:1e1e/1e1e/1e1e`, with one to four digits each.
fn read_colour(answer: &str) -> Option<Backdrop> {
    let parts = answer.split_once("rgb:")?.1;
    let mut parts = parts.split('/').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_hexdigit).take(2).collect();
        u8::from_str_radix(&digits, 16).ok()
    });
    Some(Backdrop::of_colour((parts.next()??, parts.next()??, parts.next()??)))
}

/// Reads the keys that a person may press within a moment: characters, control keys, arrows.
fn read_keys(text: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let arrows = [
            ("A", KeyCode::Up),
            ("B", KeyCode::Down),
            ("C", KeyCode::Right),
            ("D", KeyCode::Left),
        ];
        let sequence = rest.strip_prefix("\x1b[").or_else(|| rest.strip_prefix("\x1bO"));
        let arrow = sequence.and_then(|end| {
            let found = arrows.iter().find(|(letter, _)| end.starts_with(letter));
            found.map(|(letter, code)| (&end[letter.len()..], *code))
        });
        if let Some((after, code)) = arrow {
            keys.push(Key::new(code));
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        keys.push(match c {
            '\r' => Key::new(KeyCode::Enter),
            '\t' => Key::new(KeyCode::Tab),
            '\x1b' => Key::new(KeyCode::Esc),
            '\x7f' => Key::new(KeyCode::Backspace),
            '\x01'..='\x1a' => Key::ctrl(char::from(b'a' + c as u8 - 1)),
            c if c.is_control() => continue,
            c => Key::char(c),
        });
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tui24_an_answer_is_no_key_and_a_key_no_answer() {
        let dark = "\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\";
        let light = "\x1b]11;rgb:ff/ff/e0\x07";
        let attributes = "\x1b[?62;4c";
        for (bytes, backdrop, keys) in [
            (format!("{dark}{attributes}"), Backdrop::Dark, ""),
            (format!("j{light}k{attributes}q"), Backdrop::Light, "jkq"),
            (format!("ab{attributes}"), Backdrop::Unknown, "ab"),
            ("jj".to_owned(), Backdrop::Unknown, "jj"),
            (String::new(), Backdrop::Unknown, ""),
        ] {
            let answer = split_answer(bytes.as_bytes());
            assert_eq!(answer.backdrop, backdrop, "{bytes:?}");
            let wanted: Vec<_> = keys.chars().map(Key::char).collect();
            assert_eq!(answer.keys, wanted, "{bytes:?}");
        }
        assert_eq!(
            read_keys("\x1b[A\r\x03x"),
            [
                Key::new(KeyCode::Up),
                Key::new(KeyCode::Enter),
                Key::ctrl('c'),
                Key::char('x')
            ]
        );
    }

    #[test]
    fn tui24_a_late_answer_is_no_key() {
        let mut late = split_answer(b"j").late_part();
        let key = |c: char, modifiers| KeyEvent::new(KeyCode::Char(c), modifiers);
        assert!(!late.swallow(&key('k', KeyModifiers::NONE)));
        assert!(late.swallow(&key(']', KeyModifiers::ALT)));
        for c in "11;rgb:1e1e/1e1e/2e2e".chars() {
            assert!(late.swallow(&key(c, KeyModifiers::NONE)), "{c}");
        }
        assert!(late.swallow(&key('\\', KeyModifiers::ALT)));
        assert!(!late.swallow(&key('r', KeyModifiers::NONE)));
        let mut none = split_answer(b"\x1b[?62c").late_part();
        assert!(!none.swallow(&key(']', KeyModifiers::ALT)));
    }
}
