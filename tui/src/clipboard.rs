//! Encodes a text for the clipboard of the terminal (OSC 52), also through tmux and GNU screen. No terminal answers to
//! it: whether the text has arrived is never known here, so nothing may say that it was copied.

use crossterm::{Command, clipboard::CopyToClipboard};
use onceover_wire::command_line::variable;
use serde::{Deserialize, Serialize};

/// Bytes of a text that are sent at most: terminals drop more than 100,000 characters once they are encoded.
pub const MOST_BYTES: usize = 74_994;
/// Bytes that GNU screen passes on at a time; it drops a string of more than 768.
const SCREEN_PIECE: usize = 512;

/// The program between this one and the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Multiplexer {
    #[default]
    Absent,
    Tmux,
    Screen,
}

impl Multiplexer {
    /// Reads from the environment what this program runs in.
    pub fn from_env() -> Self {
        let is_set = |name| variable(name).is_some();
        Self::detect(is_set("TMUX"), is_set("STY"), &variable("TERM").unwrap_or_default())
    }

    /// Tells them apart; over ssh only `TERM` is left, which is `screen` in an older tmux, too.
    fn detect(has_tmux: bool, has_screen: bool, term: &str) -> Self {
        if has_tmux {
            Self::Tmux
        } else if has_screen {
            Self::Screen
        } else if term.starts_with("tmux") || term.starts_with("screen") {
            Self::Tmux
        } else {
            Self::Absent
        }
    }

    /// Says what becomes of a text that is sent, as far as it is known.
    pub fn describe_copy(self) -> &'static str {
        match self {
            Self::Absent => "sent to the terminal (OSC 52)",
            Self::Tmux => "sent to the terminal (OSC 52); tmux needs: set -g allow-passthrough on",
            Self::Screen => "sent to the terminal (OSC 52), in pieces through screen",
        }
    }
}

/// Encodes a text. tmux gets it twice: bare for `set-clipboard`, and wrapped for `allow-passthrough`.
pub fn encode(text: &str, multiplexer: Multiplexer) -> String {
    let mut bare = String::new();
    // Writing to a string does not fail.
    let _ = CopyToClipboard::to_clipboard_from(text).write_ansi(&mut bare);
    match multiplexer {
        Multiplexer::Tmux => bare.clone() + &pass_through(&bare, multiplexer),
        other => pass_through(&bare, other),
    }
}

/// Wraps a sequence, so that what runs between this program and the terminal passes it on.
pub fn pass_through(sequence: &str, multiplexer: Multiplexer) -> String {
    match multiplexer {
        Multiplexer::Absent => sequence.to_owned(),
        Multiplexer::Tmux => {
            let wrapped = sequence.replace('\x1b', "\x1b\x1b");
            format!("\x1bPtmux;{wrapped}\x1b\\")
        }
        Multiplexer::Screen => {
            // The long end of the sequence would end the piece that it is in.
            let short = sequence.replace("\x1b\\", "\x07");
            let mut pieces = String::new();
            let mut piece = String::new();
            for c in short.chars() {
                if piece.len() + c.len_utf8() > SCREEN_PIECE {
                    pieces += &format!("\x1bP{piece}\x1b\\");
                    piece.clear();
                }
                piece.push(c);
            }
            if !piece.is_empty() {
                pieces += &format!("\x1bP{piece}\x1b\\");
            }
            pieces
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_multiplexer_is_told_apart_by_what_it_sets() {
        for (tmux, screen, term, found) in [
            (false, false, "xterm-256color", Multiplexer::Absent),
            (true, false, "tmux-256color", Multiplexer::Tmux),
            (true, true, "screen", Multiplexer::Tmux),
            (false, true, "screen", Multiplexer::Screen),
            (false, false, "screen-256color", Multiplexer::Tmux),
        ] {
            assert_eq!(Multiplexer::detect(tmux, screen, term), found, "{term}");
        }
    }

    #[test]
    fn t24_a_copy_passes_tmux_wrapped_and_screen_in_pieces() {
        assert_eq!(encode("film", Multiplexer::Absent), "\x1b]52;c;ZmlsbQ==\x1b\\");
        assert_eq!(
            encode("film", Multiplexer::Tmux),
            "\x1b]52;c;ZmlsbQ==\x1b\\\x1bPtmux;\x1b\x1b]52;c;ZmlsbQ==\x1b\x1b\\\x1b\\"
        );
        let long = encode(&"강의".repeat(500), Multiplexer::Screen);
        let pieces: Vec<&str> = long.split_terminator("\x1b\\").collect();
        assert!(pieces.len() > 1);
        for piece in &pieces {
            let inside = piece
                .strip_prefix("\x1bP")
                .expect("each piece is a device control string");
            assert!(inside.len() <= SCREEN_PIECE);
        }
        let joined: String = pieces.iter().map(|piece| &piece[2..]).collect();
        let whole = encode(&"강의".repeat(500), Multiplexer::Absent).replace("\x1b\\", "\x07");
        assert_eq!(joined, whole);
        // Once encoded, the longest text is below the 100,000 characters.
        assert_eq!(MOST_BYTES.div_ceil(3) * 4, 99_992);
    }
}
