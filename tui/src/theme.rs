//! Colours and their stand-ins where there are none. A state is glyph first, then word, then colour, so
//! that nothing is lost in mono.

use onceover_types::{CallbackStatus, StageState, TaskStatus};
use onceover_wire::ProcessingStatus;
use ratatui::style::{Color, Modifier, Style};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Theme {
    /// NO_COLOR, a dumb terminal, or asked for: modifiers only.
    pub mono: bool,
}

impl Theme {
    /// What the environment asks for.
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

    /// The whole-width line that says something is wrong.
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

    /// Laid over what is no longer known to be true.
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
        self.state(like(callback))
    }
}

pub fn glyph(state: StageState) -> &'static str {
    match state {
        StageState::Pending => "◌",
        StageState::Running => "●",
        StageState::Success => "✔",
        StageState::Failed => "✖",
        StageState::Cancelled => "⊘",
    }
}

pub fn word(state: StageState) -> &'static str {
    match state {
        StageState::Pending => "pending",
        StageState::Running => "running",
        StageState::Success => "done",
        StageState::Failed => "failed",
        StageState::Cancelled => "cancelled",
    }
}

/// The stage state that looks like this callback status.
fn like(callback: CallbackStatus) -> StageState {
    match callback {
        CallbackStatus::Pending => StageState::Pending,
        CallbackStatus::Sent => StageState::Success,
        CallbackStatus::Failed => StageState::Failed,
    }
}

pub fn callback_glyph(callback: CallbackStatus) -> &'static str {
    glyph(like(callback))
}

/// The stage state that looks like this status of a pipeline.
pub fn of_processing(status: ProcessingStatus) -> StageState {
    match status {
        ProcessingStatus::Pending => StageState::Pending,
        ProcessingStatus::Processing => StageState::Running,
        ProcessingStatus::Completed => StageState::Success,
        ProcessingStatus::Failed => StageState::Failed,
        ProcessingStatus::Cancelled => StageState::Cancelled,
    }
}

/// The stage state that looks like this task status.
pub fn as_state(status: TaskStatus) -> StageState {
    match status {
        TaskStatus::Pending => StageState::Pending,
        TaskStatus::Running => StageState::Running,
        TaskStatus::Completed => StageState::Success,
        TaskStatus::Failed => StageState::Failed,
        TaskStatus::Cancelled => StageState::Cancelled,
    }
}
