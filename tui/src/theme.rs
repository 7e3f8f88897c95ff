//! Colours, and what replaces them where there are fewer or none. A state is a glyph first, then a word, then a colour,
//! so that nothing is lost without colours.

mod colour;
mod palettes;

use onceover_types::{CallbackStatus, StageState, TaskStatus};
use onceover_wire::ProcessingStatus;
use ratatui::style::{Color, Modifier, Style};
use serde::{Deserialize, Serialize};

use palettes::{ColourPalette, choose_palette, colour_names};

pub use colour::{Backdrop, ColourLevel};
pub use palettes::{Role, ThemeName};

/// What the user asks for: a theme, and colours that replace some of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThemeChoice {
    pub name: ThemeName,
    pub colours: Vec<(Role, Color)>,
}

/// The styles of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Theme {
    /// Whether only modifiers are used: with NO_COLOR, on a dumb terminal, or on request.
    mono: bool,
    /// The colour of each role; `None`: the terminal's own.
    #[serde(with = "colour_names")]
    colours: ColourPalette,
}

impl Default for Theme {
    fn default() -> Self {
        Self::new(&ThemeChoice::default(), ColourLevel::Sixteen, Backdrop::Unknown)
    }
}

impl Theme {
    /// A theme without colours.
    pub const fn mono() -> Self {
        Self {
            mono: true,
            colours: [None; Role::COUNT],
        }
    }

    /// Makes the theme that was chosen, of the colours that the terminal has.
    pub fn new(choice: &ThemeChoice, level: ColourLevel, backdrop: Backdrop) -> Self {
        if level == ColourLevel::Mono || choice.name == ThemeName::Mono {
            return Self::mono();
        }
        let mut colours = choose_palette(choice.name, level, backdrop);
        for (role, colour) in &choice.colours {
            colours[*role as usize] = Some(*colour);
        }
        Self {
            mono: false,
            colours: colours.map(|colour| colour.map(|colour| level.reduce(colour))),
        }
    }

    /// Whether nothing has a colour.
    pub fn is_mono(self) -> bool {
        self.mono
    }

    fn fg(self, role: Role) -> Style {
        match self.colours[role as usize] {
            Some(colour) => Style::new().fg(colour),
            None => Style::new(),
        }
    }

    pub fn plain(self) -> Style {
        Style::new()
    }

    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The style of what stands beside what matters. Colour 8 is never used for it: on the console of Linux and in
    /// Solarized it is all but the background's.
    pub fn faint(self) -> Style {
        match self.colours[Role::Faint as usize] {
            Some(colour) => Style::new().fg(colour),
            None => Style::new().add_modifier(Modifier::DIM),
        }
    }

    pub fn accent(self) -> Style {
        self.fg(Role::Accent)
    }

    pub fn key(self) -> Style {
        self.accent().add_modifier(Modifier::BOLD)
    }

    pub fn good(self) -> Style {
        self.fg(Role::Good)
    }

    pub fn bad(self) -> Style {
        self.fg(Role::Bad).add_modifier(Modifier::BOLD)
    }

    pub fn warn(self) -> Style {
        self.fg(Role::Warn)
    }

    pub fn reuse(self) -> Style {
        self.fg(Role::Reuse)
    }

    pub fn cursor(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The style of the line that reports a lost connection.
    pub fn alarm(self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        let colour = |role: Role| self.colours[role as usize];
        match (colour(Role::AlarmText), colour(Role::Alarm)) {
            (Some(text), Some(behind)) => style.fg(text).bg(behind),
            _ => style.add_modifier(Modifier::REVERSED),
        }
    }

    /// The style over what is no longer known to be true.
    pub fn stale(self) -> Style {
        self.faint().add_modifier(Modifier::DIM)
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const STATES: [StageState; 5] = [
        StageState::Pending,
        StageState::Running,
        StageState::Success,
        StageState::Failed,
        StageState::Cancelled,
    ];
    const NAMES: [ThemeName; 5] = [
        ThemeName::Auto,
        ThemeName::Dark,
        ThemeName::Light,
        ThemeName::Mono,
        ThemeName::HighContrast,
    ];
    const BACKDROPS: [Backdrop; 3] = [Backdrop::Unknown, Backdrop::Dark, Backdrop::Light];

    fn list_themes() -> Vec<(Theme, ColourLevel, String)> {
        let mut themes = Vec::new();
        for name in NAMES {
            for level in ColourLevel::ALL {
                for backdrop in BACKDROPS {
                    let choice = ThemeChoice {
                        name,
                        colours: Vec::new(),
                    };
                    let of = format!("{name:?} {level:?} {backdrop:?}");
                    themes.push((Theme::new(&choice, level, backdrop), level, of));
                }
            }
        }
        themes
    }

    #[test]
    fn tui24_every_state_is_told_apart_at_every_level_of_colours() {
        let words: HashSet<_> = STATES.iter().map(|state| (glyph(*state), word(*state))).collect();
        assert_eq!(words.len(), STATES.len(), "without any colour");
        for (theme, _, of) in list_themes() {
            if !theme.is_mono() {
                let styles: HashSet<_> = STATES.iter().map(|state| theme.state(*state)).collect();
                assert_eq!(styles.len(), STATES.len(), "{of}");
            }
            // The selection is no colour, so that it is there at every level.
            assert!(theme.cursor().add_modifier.contains(Modifier::REVERSED), "{of}");
            assert_ne!(theme.faint(), theme.plain(), "{of}");
            assert_ne!(theme.faint(), theme.strong(), "{of}");
        }
    }

    #[test]
    fn tui24_no_level_is_given_a_colour_that_it_does_not_have() {
        for (theme, level, of) in list_themes() {
            for colour in theme.colours.into_iter().flatten() {
                let has = match level {
                    ColourLevel::Mono => false,
                    ColourLevel::Sixteen => !matches!(colour, Color::Rgb(..) | Color::Indexed(_)),
                    ColourLevel::Many => !matches!(colour, Color::Rgb(..)),
                    ColourLevel::Full => true,
                };
                assert!(has, "{of}: {colour:?}");
            }
            assert_ne!(theme.faint().fg, Some(Color::DarkGray), "{of}");
        }
    }

    #[test]
    fn tui24_a_colour_of_the_user_replaces_the_themes() {
        let choice = ThemeChoice {
            name: ThemeName::Dark,
            colours: vec![(Role::Accent, Color::from_u32(0x5f_af_ff))],
        };
        let accent = |level| Theme::new(&choice, level, Backdrop::Unknown).accent().fg;
        assert_eq!(accent(ColourLevel::Full), Some(Color::Rgb(0x5f, 0xaf, 0xff)));
        assert_eq!(accent(ColourLevel::Many), Some(Color::Indexed(75)));
        assert_eq!(accent(ColourLevel::Sixteen), Some(Color::LightBlue));
        assert_eq!(accent(ColourLevel::Mono), None);
    }
}
