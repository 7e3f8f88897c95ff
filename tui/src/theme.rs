//! Colours, and what replaces them where there are none. A state is a glyph first, then a word, then a colour, so that
//! nothing is lost without colours.

use onceover_types::{CallbackStatus, StageState, TaskStatus};
use onceover_wire::ProcessingStatus;
use ratatui::style::{Color, Modifier, Style};
use serde::{Deserialize, Serialize};

/// The styles of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Theme {
    /// Whether only modifiers are used: with NO_COLOR, on a dumb terminal, or on request.
    pub mono: bool,
}

impl Theme {
    /// Chooses what the environment asks for.
    pub fn from_env() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            mono: set("NO_COLOR") || std::env::var("TERM").is_ok_and(|term| term == "dumb"),
        }
    }

    fn fg(self, colour: Color) -> Style {
        if self.mono {
            Style::new()
        } else {
            Style::new().fg(colour)
        }
    }

    pub fn plain(self) -> Style {
        Style::new()
    }

    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub fn faint(self) -> Style {
        self.fg(Color::DarkGray)
            .add_modifier(if self.mono { Modifier::DIM } else { Modifier::empty() })
    }

    pub fn accent(self) -> Style {
        self.fg(Color::Cyan)
    }

    pub fn key(self) -> Style {
        self.accent().add_modifier(Modifier::BOLD)
    }

    pub fn good(self) -> Style {
        self.fg(Color::Green)
    }

    pub fn bad(self) -> Style {
        self.fg(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub fn warn(self) -> Style {
        self.fg(Color::Yellow)
    }

    pub fn reuse(self) -> Style {
        self.fg(Color::Magenta)
    }

    pub fn cursor(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The style of the line that reports a lost connection.
    pub fn alarm(self) -> Style {
        if self.mono {
            Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD)
        } else {
            Style::new()
                .fg(Color::White)
                .bg(Color::Red)
                .add_modifier(Modifier::BOLD)
        }
    }

    /// The style over what is no longer known to be true.
    pub fn stale(self) -> Style {
        let style = Style::new().add_modifier(Modifier::DIM);
        if self.mono { style } else { style.fg(Color::DarkGray) }
    }

    pub fn state(self, state: StageState) -> Style {
        match state {
            StageState::Pending => self.warn(),
            StageState::Running => self.accent().add_modifier(Modifier::BOLD),
            StageState::Success => self.good(),
            StageState::Failed => self.bad(),
            StageState::Cancelled => self.faint(),
        }
    }

    pub fn callback(self, callback: CallbackStatus) -> Style {
        self.state(callback_state(callback))
    }
}

/// Returns the glyph of a state.
pub fn glyph(state: StageState) -> &'static str {
    match state {
        StageState::Pending => "◌",
        StageState::Running => "●",
        StageState::Success => "✔",
        StageState::Failed => "✖",
        StageState::Cancelled => "⊘",
    }
}

/// Returns the word for a state.
pub fn word(state: StageState) -> &'static str {
    match state {
        StageState::Pending => "pending",
        StageState::Running => "running",
        StageState::Success => "done",
        StageState::Failed => "failed",
        StageState::Cancelled => "cancelled",
    }
}

/// Returns the stage state that is drawn like this callback status.
fn callback_state(callback: CallbackStatus) -> StageState {
    match callback {
        CallbackStatus::Pending => StageState::Pending,
        CallbackStatus::Sent => StageState::Success,
        CallbackStatus::Failed => StageState::Failed,
    }
}

pub fn callback_glyph(callback: CallbackStatus) -> &'static str {
    glyph(callback_state(callback))
}

/// Returns the stage state that is drawn like this status of a pipeline.
pub fn processing_state(status: ProcessingStatus) -> StageState {
    match status {
        ProcessingStatus::Pending => StageState::Pending,
        ProcessingStatus::Processing => StageState::Running,
        ProcessingStatus::Completed => StageState::Success,
        ProcessingStatus::Failed => StageState::Failed,
        ProcessingStatus::Cancelled => StageState::Cancelled,
    }
}

/// Returns the stage state that is drawn like this task status.
pub fn task_state(status: TaskStatus) -> StageState {
    match status {
        TaskStatus::Pending => StageState::Pending,
        TaskStatus::Running => StageState::Running,
        TaskStatus::Completed => StageState::Success,
        TaskStatus::Failed => StageState::Failed,
        TaskStatus::Cancelled => StageState::Cancelled,
    }
}
