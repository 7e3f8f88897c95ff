//! How burnt-in subtitles look: cues as an ASS file that is as large as the picture.

use std::fmt::Write;

use super::{cover::Cover, is_shown};
use crate::{input::Input, spoken::Cue, timed_text::shown_lines};
use onceover_run::RunError;

/// The appearance that a request may choose.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Style {
    font: String,
    /// Height of letters and distance from the edge, in hundredths of the picture's shorter side.
    size: f64,
    margin: f64,
    /// `&HBBGGRR&`, as ASS has it.
    color: String,
    outline_color: String,
    has_box: bool,
    position: Position,
}

/// Where in the picture the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Bottom,
    Top,
    /// Its lower edge lies so many pixels above that of the picture.
    Above(u32),
}

impl Style {
    /// `cover` is what is covered of a picture of this size.
    pub(super) fn from_input(
        input: &Input<'_>,
        cover: Option<&Cover>,
        (_, height): (u32, u32),
    ) -> Result<Self, RunError> {
        let position = match (input.text("position"), cover) {
            (Some("top"), _) => Position::Top,
            (Some("covered"), Some(cover)) => Position::Above(cover.margin(height)),
            (Some("covered"), None) => {
                return Err(RunError::failed(
                    "input_data.position is 'covered', but nothing is covered; give cover = \"box\" or \"blur\" as well",
                ));
            }
            _ => Position::Bottom,
        };
        Ok(Self {
            font: font(input.text("font").unwrap_or("sans-serif"))?,
            size: input.number("font_size")?,
            margin: input.number("margin")?,
            color: color(input, "color")?,
            outline_color: color(input, "outline_color")?,
            has_box: input.flag("box")?,
            position,
        })
    }

    /// Returns the subtitles for a picture of this size.
    pub(super) fn write(&self, cues: &[Cue], (width, height): (u32, u32)) -> String {
        let side = f64::from(width.min(height));
        let part = |hundredths: f64| (side * hundredths / 100.0).round().max(1.0);
        let (border, outline) = if self.has_box {
            (3, part(self.size * 0.12))
        } else {
            (1, part(self.size * 0.06))
        };
        let (alignment, margin) = match self.position {
            Position::Bottom => (2, part(self.margin)),
            Position::Top => (8, part(self.margin)),
            Position::Above(pixels) => (2, f64::from(pixels)),
        };
        // A box lets a third of the picture through.
        let (edge, back) = (
            format!("{}{}", if self.has_box { "&H55" } else { "&H00" }, self.outline_color),
            format!("&H55{}", self.outline_color),
        );
        let mut text = format!(
            "[Script Info]\nScriptType: v4.00+\nPlayResX: {width}\nPlayResY: {height}\nWrapStyle: 0\n\
             ScaledBorderAndShadow: yes\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, \
             SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, \
             Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n\
             Style: Default,{font},{size},&H00{color},&H00{color},{edge},{back},0,0,0,0,100,100,0,0,{border},{outline},\
             0,{alignment},{side_margin},{side_margin},{margin},1\n\n[Events]\n\
             Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n",
            font = self.font,
            size = part(self.size),
            color = self.color,
            side_margin = part(4.0),
        );
        for cue in cues.iter().filter(|cue| is_shown(cue)) {
            let lines: Vec<_> = shown_lines(&cue.text).into_iter().map(escaped).collect();
            let _ = writeln!(
                text,
                "Dialogue: 0,{},{},Default,,0,0,0,,{}",
                time(cue.start),
                time(cue.end),
                lines.join("\\N")
            );
        }
        text
    }
}

/// Returns a name of a font, as the format can say it.
fn font(given: &str) -> Result<String, RunError> {
    let name = given.trim();
    if name.is_empty() || name.chars().any(|c| c == ',' || c.is_control()) {
        return Err(RunError::failed(format!(
            "input_data.font is '{given}', which is no name of a font"
        )));
    }
    Ok(name.to_owned())
}

/// `#RRGGBB` turned into the `BBGGRR` of ASS.
fn color(input: &Input<'_>, name: &str) -> Result<String, RunError> {
    let given = input.text(name).unwrap_or_default();
    let digits = given.trim().trim_start_matches('#');
    if digits.len() != 6 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(RunError::failed(format!(
            "input_data.{name} is '{given}'; a colour is written as #RRGGBB, such as #ffffff"
        )));
    }
    Ok(format!("{}{}{}", &digits[4..], &digits[2..4], &digits[..2]).to_uppercase())
}

/// Returns a text whose signs mean themselves: braces would begin an instruction, a backslash a line break.
pub(super) fn escaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for sign in line.chars() {
        match sign {
            '{' => text.push_str("\\{"),
            '}' => text.push_str("\\}"),
            // A character without width separates it from the letter after it.
            '\\' => text.push_str("\\\u{2060}"),
            _ => text.push(sign),
        }
    }
    text
}

/// `0:00:01.24`: hundredths of a second, which is finer than any frame.
fn time(seconds: f64) -> String {
    let all = (seconds.max(0.0) * 100.0).round() as u64;
    format!(
        "{}:{:02}:{:02}.{:02}",
        all / 360_000,
        all / 6000 % 60,
        all / 100 % 60,
        all % 100
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoken::cue;

    fn style() -> Style {
        Style {
            font: "DejaVu Sans".into(),
            size: 6.0,
            margin: 5.0,
            color: "00FFFF".into(),
            outline_color: "000000".into(),
            has_box: false,
            position: Position::Top,
        }
    }

    fn cue(start: f64, end: f64, text: &str) -> Cue {
        cue::cue(1, start, end, text)
    }

    #[test]
    fn a_text_is_shown_as_it_is_and_sizes_are_those_of_the_picture() {
        let cues = [
            cue(61.236, 3600.0, "a {b} \\N c\n\nd"),
            cue(1.0, 1.0, "x"),
            cue(2.0, 3.0, " "),
        ];
        let text = style().write(&cues, (1080, 1920));
        assert!(text.contains("PlayResX: 1080\nPlayResY: 1920"));
        assert!(text.contains("Style: Default,DejaVu Sans,65,&H0000FFFF,"), "{text}");
        let shown = "Dialogue: 0,0:01:01.24,1:00:00.00,Default,,0,0,0,,a \\{b\\} \\\u{2060}N c\\Nd\n";
        assert!(text.ends_with(shown), "{text}");
        assert_eq!(text.matches("Dialogue:").count(), 1);
        assert!(font("A,B").is_err() && font(" ").is_err());
    }
}
