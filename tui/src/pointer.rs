//! What a mouse does, as far as the dashboard goes by it.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use serde::{Deserialize, Serialize};

/// What was done with the mouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gesture {
    Press,
    /// The mouse was moved with the button down.
    Drag,
    Release,
    WheelUp,
    WheelDown,
}

/// What was done, and on which cell of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointerEvent {
    pub gesture: Gesture,
    pub column: u16,
    pub row: u16,
}

impl PointerEvent {
    /// Reads an event of the terminal; `None` for what has no meaning here, other buttons for example.
    pub fn from_event(event: &MouseEvent) -> Option<Self> {
        let gesture = match event.kind {
            MouseEventKind::Down(MouseButton::Left) => Gesture::Press,
            MouseEventKind::Drag(MouseButton::Left) => Gesture::Drag,
            MouseEventKind::Up(MouseButton::Left) => Gesture::Release,
            MouseEventKind::ScrollUp => Gesture::WheelUp,
            MouseEventKind::ScrollDown => Gesture::WheelDown,
            _ => return None,
        };
        Some(Self {
            gesture,
            column: event.column,
            row: event.row,
        })
    }
}
