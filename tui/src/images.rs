//! How pictures reach the terminal: by one of its protocols for graphics, as half blocks, or not at all. No terminal is
//! asked, which could hang and takes keys away: the environment decides, or `--images`.

use clap::ValueEnum;
use onceover_wire::command_line::variable;
use serde::{Deserialize, Serialize};

/// What `--images` or the configuration file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageMode {
    /// Choose by the environment what the terminal can.
    #[default]
    Auto,
    /// Use the protocol of kitty.
    Kitty,
    /// Use sixels.
    Sixel,
    /// Use the protocol of iTerm2.
    Iterm2,
    /// Draw two pixels a cell.
    Halfblocks,
    /// Describe pictures in words.
    Off,
}

/// How the pixels of a picture are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageProtocol {
    /// Two pixels a cell, as its two colours.
    #[default]
    HalfBlocks,
    Kitty,
    Sixel,
    Iterm2,
}

/// The colours that a cell can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CellColours {
    #[default]
    True,
    /// 256, of which 216 make a cube.
    Indexed,
    /// Too few for pictures.
    Few,
}

/// How this terminal shows pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Images {
    pub protocol: ImageProtocol,
    pub colours: CellColours,
    pub is_off: bool,
}

/// What of the environment tells terminals apart.
#[derive(Debug, Clone, Default)]
struct TerminalHints {
    term: String,
    program: String,
    colour_term: String,
    has_kitty_window: bool,
    has_multiplexer: bool,
}

impl Images {
    /// Chooses by the environment, or as it is asked for.
    pub fn from_env(mode: ImageMode) -> Self {
        let text = |name| variable(name).unwrap_or_default();
        let hints = TerminalHints {
            term: text("TERM"),
            program: variable("TERM_PROGRAM").unwrap_or_else(|| text("LC_TERMINAL")),
            colour_term: text("COLORTERM"),
            has_kitty_window: variable("KITTY_WINDOW_ID").is_some(),
            has_multiplexer: variable("TMUX").is_some() || variable("STY").is_some(),
        };
        Self::choose(mode, &hints)
    }

    fn choose(mode: ImageMode, hints: &TerminalHints) -> Self {
        Self {
            protocol: match mode {
                ImageMode::Auto => detect_protocol(hints),
                ImageMode::Kitty => ImageProtocol::Kitty,
                ImageMode::Sixel => ImageProtocol::Sixel,
                ImageMode::Iterm2 => ImageProtocol::Iterm2,
                ImageMode::Halfblocks | ImageMode::Off => ImageProtocol::HalfBlocks,
            },
            colours: detect_colours(hints),
            is_off: mode == ImageMode::Off,
        }
    }

    /// Whether half blocks can stand for a picture.
    pub fn has_blocks(self) -> bool {
        !self.is_off && self.colours != CellColours::Few
    }

    /// Whether pictures are sent by a protocol of the terminal.
    pub fn is_graphical(self) -> bool {
        !self.is_off && self.protocol != ImageProtocol::HalfBlocks
    }
}

/// Finds a protocol that the terminal has for certain. A multiplexer passes none on by itself: there only
/// `--images` chooses one.
fn detect_protocol(hints: &TerminalHints) -> ImageProtocol {
    if hints.has_multiplexer || hints.term.starts_with("tmux") || hints.term.starts_with("screen") {
        return ImageProtocol::HalfBlocks;
    }
    let is_kitty = hints.has_kitty_window || hints.term.contains("kitty") || hints.term.contains("ghostty");
    let program = hints.program.to_ascii_lowercase();
    if is_kitty || program == "ghostty" {
        ImageProtocol::Kitty
    } else if ["iterm", "wezterm", "mintty"].iter().any(|name| program.contains(name)) {
        ImageProtocol::Iterm2
    } else if ["foot", "mlterm", "yaft", "contour"]
        .iter()
        .any(|name| hints.term.starts_with(name))
    {
        ImageProtocol::Sixel
    } else {
        ImageProtocol::HalfBlocks
    }
}

fn detect_colours(hints: &TerminalHints) -> CellColours {
    let is_true = matches!(hints.colour_term.as_str(), "truecolor" | "24bit");
    if is_true || hints.term.contains("direct") || hints.term.contains("kitty") {
        CellColours::True
    } else if hints.term.contains("256") || hints.term.starts_with("foot") {
        CellColours::Indexed
    } else {
        CellColours::Few
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_what_its_environment_shows_that_it_can() {
        for (term, program, colour_term, tmux, protocol, colours) in [
            (
                "xterm-256color",
                "",
                "",
                false,
                ImageProtocol::HalfBlocks,
                CellColours::Indexed,
            ),
            (
                "xterm-256color",
                "",
                "truecolor",
                false,
                ImageProtocol::HalfBlocks,
                CellColours::True,
            ),
            (
                "xterm-kitty",
                "",
                "truecolor",
                false,
                ImageProtocol::Kitty,
                CellColours::True,
            ),
            (
                "xterm-256color",
                "iTerm.app",
                "truecolor",
                false,
                ImageProtocol::Iterm2,
                CellColours::True,
            ),
            ("foot", "", "", false, ImageProtocol::Sixel, CellColours::Indexed),
            (
                "tmux-256color",
                "iTerm.app",
                "",
                true,
                ImageProtocol::HalfBlocks,
                CellColours::Indexed,
            ),
            ("linux", "", "", false, ImageProtocol::HalfBlocks, CellColours::Few),
        ] {
            let hints = TerminalHints {
                term: term.into(),
                program: program.into(),
                colour_term: colour_term.into(),
                has_kitty_window: false,
                has_multiplexer: tmux,
            };
            let images = Images::choose(ImageMode::Auto, &hints);
            assert_eq!(
                (images.protocol, images.colours),
                (protocol, colours),
                "{term} {program}"
            );
            assert_eq!(Images::choose(ImageMode::Sixel, &hints).protocol, ImageProtocol::Sixel);
            let off = Images::choose(ImageMode::Off, &hints);
            assert!(!off.has_blocks() && !off.is_graphical());
        }
    }
}
