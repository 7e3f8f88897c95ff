//! How the user is notified of an end: by a bell, by a notification of the terminal, or by a command of the
//! configuration.

use serde::Deserialize;

use crate::{
    clipboard::{Multiplexer, pass_through},
    update::Announcement,
    view::text::{cut, harmless},
};

/// Columns of a title and of a body that a terminal is sent at most.
const MOST_TITLE: u16 = 80;
const MOST_BODY: u16 = 240;

/// The ways to notify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotifyBy {
    #[default]
    Bell,
    /// A notification of iTerm2, WezTerm, Ghostty, Windows Terminal.
    Osc9,
    /// A notification of urxvt, foot, Ghostty, VTE.
    Osc777,
    Command,
    None,
}

/// What the configuration says of notifications.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NotifySettings {
    pub by: NotifyBy,
    /// The program and its arguments; title and body follow them.
    pub command: Vec<String>,
    /// Whether each stage that fails is announced, watched or not.
    pub failures: bool,
}

impl NotifySettings {
    /// Encodes an announcement for the terminal; `None` where it is not for the terminal.
    pub fn encode(&self, announcement: &Announcement, multiplexer: Multiplexer) -> Option<String> {
        let title = cut(&harmless(&announcement.title), MOST_TITLE);
        let body = cut(&harmless(&announcement.body), MOST_BODY);
        let sequence = match self.by {
            // A multiplexer passes bells on.
            NotifyBy::Bell => return Some("\x07".to_owned()),
            // What begins with a number would be another command.
            NotifyBy::Osc9 => format!("\x1b]9;onceover: {body}\x07"),
            NotifyBy::Osc777 => format!(
                "\x1b]777;notify;{};{}\x07",
                title.replace(';', ","),
                body.replace(';', ",")
            ),
            NotifyBy::Command | NotifyBy::None => return None,
        };
        Some(pass_through(&sequence, multiplexer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tui25_an_announcement_is_one_sequence_whatever_its_text_holds() {
        let announcement = Announcement {
            title: "film; \x1b]0;x\x07 failed".to_owned(),
            body: "film failed: \x07\x1b[31mno text".to_owned(),
        };
        let encode = |by, multiplexer| {
            let settings = NotifySettings {
                by,
                ..NotifySettings::default()
            };
            settings.encode(&announcement, multiplexer)
        };
        assert_eq!(encode(NotifyBy::Bell, Multiplexer::Tmux).unwrap(), "\x07");
        for by in [NotifyBy::Osc9, NotifyBy::Osc777] {
            let bare = encode(by, Multiplexer::Absent).unwrap();
            assert_eq!(bare.matches('\x1b').count(), 1, "{bare:?}");
            assert_eq!(bare.find('\x07'), Some(bare.len() - 1), "{bare:?}");
            let wrapped = encode(by, Multiplexer::Tmux).unwrap();
            assert!(
                wrapped.starts_with("\x1bPtmux;\x1b\x1b]") && wrapped.ends_with("\x1b\\"),
                "{wrapped:?}"
            );
        }
        assert_eq!(encode(NotifyBy::None, Multiplexer::Absent), None);
    }
}
