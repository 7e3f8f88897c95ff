//! How many colours a terminal shows, what its background is, and how a colour is shown with fewer.

use onceover_wire::command_line::variable;
use ratatui::style::Color;

/// A colour by its parts.
pub type ColourParts = (u8, u8, u8);

/// How many colours the terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColourLevel {
    Mono,
    Sixteen,
    /// The 256 of xterm.
    Many,
    /// All of 24 bits.
    Full,
}

impl ColourLevel {
    pub const ALL: [Self; 4] = [Self::Mono, Self::Sixteen, Self::Many, Self::Full];

    /// Reads from the environment what the terminal shows, and what the user wants to see.
    pub fn from_env() -> Self {
        let text = |name: &str| variable(name).unwrap_or_default();
        Self::choose(&text("TERM"), &text("COLORTERM"), &text)
    }

    /// Chooses by what the terminal says of itself, and by the variables with which users turn colours off and on.
    fn choose(term: &str, colorterm: &str, wish: &dyn Fn(&str) -> String) -> Self {
        let is_forced = !matches!(wish("CLICOLOR_FORCE").as_str(), "" | "0");
        if !wish("NO_COLOR").is_empty() || wish("CLICOLOR") == "0" && !is_forced {
            return Self::Mono;
        }
        match term {
            "dumb" => Self::Mono,
            // They have none.
            "vt100" | "vt102" | "vt220" | "vt320" => Self::Mono,
            // It takes longer sequences and shows the nearest of these.
            "linux" => Self::Sixteen,
            _ if matches!(colorterm, "truecolor" | "24bit") || term.contains("direct") => Self::Full,
            _ if term.contains("256color") || matches!(term, "foot" | "xterm-kitty" | "alacritty") => Self::Many,
            _ => Self::Sixteen,
        }
    }

    /// Returns the colour that stands for this one.
    pub fn reduce(self, colour: Color) -> Color {
        match (self, colour) {
            (Self::Full, colour) => colour,
            (Self::Mono, _) => Color::Reset,
            (Self::Many, Color::Rgb(red, green, blue)) => Color::Indexed(find_indexed((red, green, blue))),
            (Self::Sixteen, Color::Rgb(red, green, blue)) => find_named((red, green, blue)),
            (Self::Sixteen, Color::Indexed(index)) => match index {
                0..=15 => NAMED[usize::from(index)].0,
                index => find_named(parts_of_index(index)),
            },
            (_, named) => named,
        }
    }
}

/// The 16 colours, and what they are in most terminals.
const NAMED: [(Color, ColourParts); 16] = [
    (Color::Black, (0, 0, 0)),
    (Color::Red, (205, 0, 0)),
    (Color::Green, (0, 205, 0)),
    (Color::Yellow, (205, 205, 0)),
    (Color::Blue, (0, 0, 238)),
    (Color::Magenta, (205, 0, 205)),
    (Color::Cyan, (0, 205, 205)),
    (Color::Gray, (229, 229, 229)),
    (Color::DarkGray, (127, 127, 127)),
    (Color::LightRed, (255, 0, 0)),
    (Color::LightGreen, (0, 255, 0)),
    (Color::LightYellow, (255, 255, 0)),
    (Color::LightBlue, (92, 92, 255)),
    (Color::LightMagenta, (255, 0, 255)),
    (Color::LightCyan, (0, 255, 255)),
    (Color::White, (255, 255, 255)),
];

/// Steps of each part in the cube of the 256 colours.
const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
/// The first of the 24 greys behind the cube.
const FIRST_GREY: u8 = 232;

/// Finds the nearest of the 16; never colour 8, which many terminals make as dark as their background.
fn find_named(wanted: ColourParts) -> Color {
    let candidates = NAMED.iter().filter(|(colour, _)| *colour != Color::DarkGray);
    let nearest = candidates.min_by_key(|(_, parts)| measure_distance(*parts, wanted));
    nearest.map_or(Color::Gray, |(colour, _)| *colour)
}

/// Finds the nearest of the 256 beyond the first 16, which users change.
fn find_indexed(wanted: ColourParts) -> u8 {
    let nearest = (16..=255).min_by_key(|index| measure_distance(parts_of_index(*index), wanted));
    nearest.unwrap_or(FIRST_GREY)
}

/// Returns what a colour of the 256 is.
fn parts_of_index(index: u8) -> ColourParts {
    match index {
        0..=15 => NAMED[usize::from(index)].1,
        16..FIRST_GREY => {
            let at = usize::from(index - 16);
            (STEPS[at / 36], STEPS[at / 6 % 6], STEPS[at % 6])
        }
        FIRST_GREY.. => {
            let grey = 8 + (index - FIRST_GREY) * 10;
            (grey, grey, grey)
        }
    }
}

fn measure_distance(one: ColourParts, other: ColourParts) -> u32 {
    let part = |one: u8, other: u8| u32::from(one.abs_diff(other)).pow(2);
    part(one.0, other.0) + part(one.1, other.1) + part(one.2, other.2)
}

/// Returns how light a colour is, from 0 to 1, as WCAG measures it.
fn measure_luminance(colour: ColourParts) -> f64 {
    let part = |part: u8| {
        let share = f64::from(part) / 255.0;
        if share <= 0.04045 {
            share / 12.92
        } else {
            ((share + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * part(colour.0) + 0.7152 * part(colour.1) + 0.0722 * part(colour.2)
}

/// Returns the contrast of two colours, from 1 to 21.
#[cfg(test)]
pub fn measure_contrast(one: ColourParts, other: ColourParts) -> f64 {
    let (one, other) = (measure_luminance(one), measure_luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// What is known of the terminal's background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backdrop {
    #[default]
    Unknown,
    Dark,
    Light,
}

impl Backdrop {
    /// Reads `COLORFGBG`, which some terminals set.
    pub fn from_env() -> Self {
        variable("COLORFGBG").map_or(Self::Unknown, |text| Self::parse(&text))
    }

    /// Reads `15;0` or `15;default;0`: the last number is the background's.
    fn parse(text: &str) -> Self {
        match text.rsplit(';').next().map(str::parse::<u8>) {
            Some(Ok(7 | 9..=15)) => Self::Light,
            Some(Ok(0..=6 | 8)) => Self::Dark,
            _ => Self::Unknown,
        }
    }

    /// Judges a background by its lightness.
    pub fn of_colour(colour: ColourParts) -> Self {
        match measure_luminance(colour) > 0.18 {
            true => Self::Light,
            false => Self::Dark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tui24_the_level_goes_by_the_terminal_and_the_users_wish() {
        for (term, colorterm, wish, level) in [
            ("xterm-256color", "truecolor", "", ColourLevel::Full),
            ("xterm-direct", "", "", ColourLevel::Full),
            ("xterm-256color", "", "", ColourLevel::Many),
            ("screen-256color", "", "", ColourLevel::Many),
            ("screen", "", "", ColourLevel::Sixteen),
            ("xterm", "", "", ColourLevel::Sixteen),
            ("linux", "truecolor", "", ColourLevel::Sixteen),
            ("vt100", "", "", ColourLevel::Mono),
            ("dumb", "truecolor", "", ColourLevel::Mono),
            ("xterm-256color", "truecolor", "NO_COLOR=1", ColourLevel::Mono),
            ("xterm-256color", "", "CLICOLOR=0", ColourLevel::Mono),
            ("xterm-256color", "", "CLICOLOR=1", ColourLevel::Many),
        ] {
            let read = |name: &str| match wish.split_once('=') {
                Some((set, value)) if set == name => value.to_owned(),
                _ => String::new(),
            };
            assert_eq!(
                ColourLevel::choose(term, colorterm, &read),
                level,
                "{term} {colorterm} {wish}"
            );
        }
    }

    #[test]
    fn a_colour_of_the_256_is_its_own_nearest() {
        for index in 16..=255 {
            let found = find_indexed(parts_of_index(index));
            assert_eq!(parts_of_index(found), parts_of_index(index));
        }
        assert_eq!(find_named((190, 10, 10)), Color::Red);
    }

    #[test]
    fn the_background_is_judged_by_its_lightness() {
        for (text, backdrop) in [
            ("15;0", Backdrop::Dark),
            ("0;15", Backdrop::Light),
            ("0;default;7", Backdrop::Light),
            ("default", Backdrop::Unknown),
        ] {
            assert_eq!(Backdrop::parse(text), backdrop, "{text}");
        }
        assert_eq!(Backdrop::of_colour((0xfd, 0xf6, 0xe3)), Backdrop::Light);
        assert_eq!(Backdrop::of_colour((0x00, 0x2b, 0x36)), Backdrop::Dark);
    }
}
