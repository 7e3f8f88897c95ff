//! The themes that can be chosen, and the colours of each.

use ratatui::style::Color;
use serde::Deserialize;

use super::colour::{Backdrop, ColourLevel};

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What stands beside what matters: frames, titles of columns, labels.
    Faint,
    /// Keys, and what runs.
    Accent,
    Good,
    Bad,
    Warn,
    Reuse,
    /// The text of the line that reports a lost connection, and what is behind it.
    AlarmText,
    Alarm,
}

impl Role {
    pub const COUNT: usize = 8;
}

/// The themes that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThemeName {
    /// Dark or light as the terminal's background is; the terminal's own colours where that is not known.
    #[default]
    Auto,
    Dark,
    Light,
    Mono,
    HighContrast,
}

/// The colours of a theme, in the order of the roles; `None`: the terminal's own.
pub type ColourPalette = [Option<Color>; Role::COUNT];

/// Writes the colours of a theme by their names.
pub mod colour_names {
    use ratatui::style::Color;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::{ColourPalette, Role};

    pub fn serialize<S: Serializer>(palette: &ColourPalette, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(palette.iter().map(|colour| colour.map(|colour| colour.to_string())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ColourPalette, D::Error> {
        let names = <[Option<String>; Role::COUNT]>::deserialize(deserializer)?;
        let mut palette = [None; Role::COUNT];
        for (colour, name) in palette.iter_mut().zip(names) {
            let Some(name) = name else { continue };
            let read = name.parse::<Color>();
            *colour = Some(read.map_err(|_| D::Error::custom(format!("'{name}' is no colour")))?);
        }
        Ok(palette)
    }
}

const fn rgb(colour: u32) -> Option<Color> {
    Some(Color::from_u32(colour))
}

/// Pastel colours for a dark background.
const DARK: ColourPalette = [
    rgb(0x9e_9e_9e),
    rgb(0x5f_d7_ff),
    rgb(0x87_d7_87),
    rgb(0xff_87_87),
    rgb(0xff_d7_5f),
    rgb(0xd7_af_ff),
    rgb(0xff_ff_ff),
    rgb(0xaf_00_00),
];

/// Deep colours for a light background.
const LIGHT: ColourPalette = [
    rgb(0x5f_5f_5f),
    rgb(0x00_5f_af),
    rgb(0x00_5f_00),
    rgb(0xaf_00_00),
    rgb(0x5f_5f_00),
    rgb(0x87_00_87),
    rgb(0xff_ff_ff),
    rgb(0xaf_00_00),
];

const CONTRAST_ON_DARK: ColourPalette = [
    rgb(0xd7_d7_d7),
    rgb(0x00_ff_ff),
    rgb(0x00_ff_00),
    rgb(0xff_87_87),
    rgb(0xff_ff_00),
    rgb(0xff_87_ff),
    rgb(0xff_ff_ff),
    rgb(0xaf_00_00),
];

const CONTRAST_ON_LIGHT: ColourPalette = [
    rgb(0x30_30_30),
    rgb(0x00_00_af),
    rgb(0x00_5f_00),
    rgb(0x87_00_00),
    rgb(0x5f_5f_00),
    rgb(0x5f_00_5f),
    rgb(0xff_ff_ff),
    rgb(0x87_00_00),
];

/// The terminal's own colours, which its user has made readable; faint is its dimmed text.
const OWN: ColourPalette = [
    None,
    Some(Color::Cyan),
    Some(Color::Green),
    Some(Color::Red),
    Some(Color::Yellow),
    Some(Color::Magenta),
    Some(Color::White),
    Some(Color::Red),
];

/// The same on a light background, where cyan is hard to read.
const OWN_ON_LIGHT: ColourPalette = [
    None,
    Some(Color::Blue),
    Some(Color::Green),
    Some(Color::Red),
    Some(Color::Yellow),
    Some(Color::Magenta),
    Some(Color::White),
    Some(Color::Red),
];

/// The bright half of the terminal's own colours.
const OWN_CONTRAST: ColourPalette = [
    Some(Color::Gray),
    Some(Color::LightCyan),
    Some(Color::LightGreen),
    Some(Color::LightRed),
    Some(Color::LightYellow),
    Some(Color::LightMagenta),
    Some(Color::White),
    Some(Color::Red),
];

/// Chooses the colours of a theme for a terminal.
pub fn choose_palette(name: ThemeName, level: ColourLevel, backdrop: Backdrop) -> ColourPalette {
    let is_light = match name {
        ThemeName::Light => true,
        ThemeName::Dark => false,
        _ => backdrop == Backdrop::Light,
    };
    let has_few = level <= ColourLevel::Sixteen || name == ThemeName::Auto && backdrop == Backdrop::Unknown;
    match (name == ThemeName::HighContrast, is_light, has_few) {
        (true, false, true) => OWN_CONTRAST,
        (true, false, false) => CONTRAST_ON_DARK,
        (true, true, false) => CONTRAST_ON_LIGHT,
        (_, true, true) => OWN_ON_LIGHT,
        (false, false, true) => OWN,
        (false, true, false) => LIGHT,
        (false, false, false) => DARK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::colour::measure_contrast;

    #[test]
    fn tui24_faint_text_and_all_other_is_readable_in_solarized_and_on_black_and_white() {
        let dark = [(0x00, 0x2b, 0x36), (0, 0, 0)];
        let light = [(0xfd, 0xf6, 0xe3), (0xff, 0xff, 0xff)];
        for (palette, backdrops) in [
            (DARK, dark),
            (LIGHT, light),
            (CONTRAST_ON_DARK, dark),
            (CONTRAST_ON_LIGHT, light),
        ] {
            for role in [
                Role::Faint,
                Role::Accent,
                Role::Good,
                Role::Bad,
                Role::Warn,
                Role::Reuse,
            ] {
                let Some(Color::Rgb(red, green, blue)) = palette[role as usize] else {
                    panic!("{role:?} has no colour");
                };
                for backdrop in backdrops {
                    let contrast = measure_contrast((red, green, blue), backdrop);
                    assert!(contrast >= 4.5, "{role:?} on {backdrop:?}: {contrast:.1}");
                }
            }
        }
        // On the console of Linux, and wherever there are 16 colours, it is dimmed text of the usual colour.
        assert_eq!(OWN[Role::Faint as usize], None);
    }
}
