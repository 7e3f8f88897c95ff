//! The characters that are drawn, and what replaces them where there is only ASCII: without a UTF-8 locale, and on the
//! console of Linux, whose fonts do not have most of them. Views draw the first column of the table; all output to a
//! terminal or a pipe is translated here.

use std::{
    borrow::Cow,
    io::{self, IsTerminal},
};

use onceover_wire::command_line::variable;
use ratatui::buffer::{Buffer, CellWidth};
use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

/// Every character beyond ASCII that is drawn, each a column wide, and its replacement.
const STAND_INS: [(char, char); 54] = [
    // States.
    ('◌', 'o'),
    ('●', '*'),
    ('✔', '+'),
    ('✖', 'x'),
    ('⊘', '/'),
    ('↺', '='),
    ('↷', ')'),
    ('✂', '%'),
    // Rows.
    ('▸', '>'),
    ('▾', 'v'),
    ('◆', '#'),
    ('⚠', '!'),
    ('⚑', 'w'),
    // Text.
    ('…', '~'),
    ('·', '-'),
    ('—', '-'),
    ('›', '>'),
    ('‹', '<'),
    ('→', '>'),
    ('←', '<'),
    ('↑', '^'),
    ('↓', 'v'),
    // Lines.
    ('─', '-'),
    ('│', '|'),
    ('┌', '+'),
    ('┐', '+'),
    ('└', '+'),
    ('┘', '+'),
    ('├', '+'),
    ('┤', '+'),
    ('┬', '+'),
    ('┴', '+'),
    ('┼', '+'),
    // Bars.
    ('█', '#'),
    ('▉', '='),
    ('▊', '='),
    ('▋', '='),
    ('▌', '='),
    ('▍', '-'),
    ('▎', '-'),
    ('▏', '-'),
    // The timeline.
    ('░', '.'),
    ('▓', '='),
    ('▶', '>'),
    // Bars over time.
    ('▁', '_'),
    ('▂', '_'),
    ('▃', '-'),
    ('▄', '-'),
    ('▅', '='),
    ('▆', '='),
    ('▇', '#'),
    // Control characters are shown as these.
    ('␛', '^'),
    ('␊', '^'),
    ('␍', '^'),
];

/// Replaces characters of others, which have no stand-in.
const UNKNOWN: char = '?';

/// The characters that may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Glyphs {
    #[default]
    Unicode,
    Ascii,
}

impl Glyphs {
    /// Chooses by standard output and the environment.
    pub fn from_env() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
        let terminal = io::stdout().is_terminal().then(|| variable("TERM")).flatten();
        Self::choose(locale.as_deref(), terminal.as_deref())
    }

    /// Chooses by the locale in force, and by the terminal that is written to.
    fn choose(locale: Option<&str>, terminal: Option<&str>) -> Self {
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let is_utf8 = locale.contains("utf-8") || locale.contains("utf8");
        match is_utf8 && terminal != Some("linux") {
            true => Self::Unicode,
            false => Self::Ascii,
        }
    }

    /// Translates a text; it has as many columns as before.
    pub fn shown(self, text: &str) -> Cow<'_, str> {
        if self == Self::Unicode || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let shown = text.graphemes(true).map(|grapheme| match find_stand_in(grapheme) {
            None => Cow::Borrowed(grapheme),
            Some(c) => Cow::Owned(c.to_string().repeat(usize::from(grapheme.cell_width()))),
        });
        Cow::Owned(shown.collect())
    }

    /// Translates a whole frame.
    pub fn apply(self, buffer: &mut Buffer) {
        if self == Self::Unicode {
            return;
        }
        let area = buffer.area;
        for y in area.top()..area.bottom() {
            let mut x = area.left();
            while x < area.right() {
                let (columns, c) = buffer.cell((x, y)).map_or((1, None), |cell| {
                    (cell.cell_width().max(1), find_stand_in(cell.symbol()))
                });
                let end = x.saturating_add(columns).min(area.right());
                for x in x..end {
                    if let (Some(c), Some(cell)) = (c, buffer.cell_mut((x, y))) {
                        cell.set_char(c);
                    }
                }
                x = end;
            }
        }
    }
}

/// Finds what replaces the grapheme, in each of its columns; `None` for one of ASCII.
fn find_stand_in(grapheme: &str) -> Option<char> {
    if grapheme.is_ascii() {
        return None;
    }
    let known = STAND_INS.iter().find(|(glyph, _)| {
        let mut chars = grapheme.chars();
        chars.next() == Some(*glyph) && chars.next().is_none()
    });
    Some(known.map_or(UNKNOWN, |(_, c)| *c))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn only_a_utf8_locale_has_more_than_ascii() {
        for (locale, terminal, expected) in [
            (Some("en_US.UTF-8"), Some("xterm"), Glyphs::Unicode),
            (Some("C.utf8"), None, Glyphs::Unicode),
            (Some("ko_KR.eucKR"), Some("xterm"), Glyphs::Ascii),
            (Some("C"), None, Glyphs::Ascii),
            (None, Some("xterm-256color"), Glyphs::Ascii),
            (Some("C.UTF-8"), Some("linux"), Glyphs::Ascii),
        ] {
            assert_eq!(Glyphs::choose(locale, terminal), expected, "{locale:?} {terminal:?}");
        }
    }

    #[test]
    fn foreign_text_is_shown_as_wide_as_it_was() {
        assert_eq!(Glyphs::Ascii.shown("한국 ✔ e\u{301}ä…"), "???? + ??~");
        assert_eq!(Glyphs::Unicode.shown("한국 ✔"), "한국 ✔");
    }

    /// Characters in the code of a source file, without its comments and tests.
    fn drawn(source: &str) -> BTreeSet<char> {
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.flat_map(str::chars).filter(|c| !c.is_ascii()).collect()
    }

    fn collect(folder: &Path, all: &mut BTreeSet<char>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, all);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                all.extend(drawn(&fs::read_to_string(path).unwrap()));
            }
        }
    }

    #[test]
    fn every_glyph_that_is_drawn_has_a_stand_in_and_states_have_different_ones() {
        let mut all = BTreeSet::new();
        collect(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut all);
        let missing: Vec<_> = all
            .into_iter()
            .filter(|c| !STAND_INS.iter().any(|(glyph, _)| glyph == c))
            .collect();
        assert_eq!(missing, Vec::<char>::new());
        let states: BTreeSet<_> = STAND_INS[..8].iter().map(|(_, c)| c).collect();
        assert_eq!(states.len(), 8);
        assert!(
            STAND_INS
                .iter()
                .all(|(glyph, c)| c.is_ascii_graphic() && glyph.to_string().as_str().cell_width() == 1)
        );
    }
}
