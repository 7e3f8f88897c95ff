//! Edits a line of text that is typed.

use crossterm::event::KeyCode;
use tui_input::InputRequest;

use crate::key::Key;

/// Finds what a key does to the line; `None`: nothing.
pub fn find_edit(key: Key) -> Option<InputRequest> {
    Some(match (key.code, key.ctrl) {
        (KeyCode::Char('w'), true) => InputRequest::DeletePrevWord,
        (KeyCode::Char('u'), true) => InputRequest::DeleteLine,
        (KeyCode::Char('a'), true) | (KeyCode::Home, _) => InputRequest::GoToStart,
        (KeyCode::Char('e'), true) | (KeyCode::End, _) => InputRequest::GoToEnd,
        (KeyCode::Char(c), false) if !c.is_control() => InputRequest::InsertChar(c),
        (KeyCode::Backspace, _) => InputRequest::DeletePrevChar,
        (KeyCode::Delete, _) => InputRequest::DeleteNextChar,
        (KeyCode::Left, _) => InputRequest::GoToPrevChar,
        (KeyCode::Right, _) => InputRequest::GoToNextChar,
        _ => return None,
    })
}

/// Lists the characters of a pasted text that a line takes.
pub fn list_pasted(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_control())
}
