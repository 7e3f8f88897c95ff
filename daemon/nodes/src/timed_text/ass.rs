//! ASS and SSA: the lines of dialogue. Overrides become SRT's markup, and drawings are omitted.

use std::fmt::Write;

use super::{
    record::{Record, Records},
    times::clock,
};

/// Whether only ASS has such a line.
pub(super) fn is_ass(line: &str) -> bool {
    ["[script info]", "[events]"]
        .iter()
        .any(|section| line.eq_ignore_ascii_case(section))
        || line
            .strip_prefix("Dialogue:")
            .is_some_and(|rest| rest.matches(',').count() > 3)
}

/// Which field of a dialogue stands where.
struct Columns {
    start: usize,
    end: usize,
    name: Option<usize>,
    all: usize,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            start: 1,
            end: 2,
            name: Some(4),
            all: 10,
        }
    }
}

impl Columns {
    fn parse(format: &str) -> Option<Self> {
        let names: Vec<_> = format.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        let place = |name: &str| names.iter().position(|other| other == name);
        Some(Self {
            start: place("start")?,
            end: place("end")?,
            name: place("name").or_else(|| place("actor")),
            all: names.len(),
        })
    }
}

pub(super) fn parse(text: &str) -> Records {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut found = Records::default();
    let mut columns = Columns::default();
    let (mut number, mut in_events) = (0, true);
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        if content.starts_with('[') && content.ends_with(']') {
            in_events = content.eq_ignore_ascii_case("[events]");
        } else if let Some(format) = content.strip_prefix("Format:").filter(|_| in_events) {
            columns = Columns::parse(format).unwrap_or_default();
        } else if let Some(dialogue) = content.strip_prefix("Dialogue:") {
            number += 1;
            match record(dialogue, &columns) {
                Some(record) => found.records.push(Record { number, line, ..record }),
                None => found.skip(number, line, "has times that cannot be read, or no text"),
            }
        }
    }
    found
}

fn record(dialogue: &str, columns: &Columns) -> Option<Record> {
    // The text is last, and may have commas.
    let fields: Vec<_> = dialogue.splitn(columns.all, ',').collect();
    let field = |at: usize| fields.get(at).map(|field| field.trim());
    let text = fields.get(columns.all.checked_sub(1)?)?;
    let speaker = columns.name.and_then(field).filter(|name| !name.is_empty());
    Some(Record {
        start: clock(field(columns.start)?)?,
        end: Some(clock(field(columns.end)?)?),
        marked: marked(text),
        speaker: speaker.map(Into::into),
        ..Record::default()
    })
}

/// Returns a text of ASS with SRT's markup.
fn marked(text: &str) -> String {
    let mut marked = MarkedText::default();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((overrides, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            for code in overrides.split('\\').skip(1) {
                marked.apply(code);
            }
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if c == '\\' && rest.starts_with(['N', 'n', 'h']) {
            marked.text.push(if rest.starts_with('N') { '\n' } else { ' ' });
            rest = &rest[1..];
            continue;
        }
        marked.push(c);
    }
    marked.finish()
}

/// A text with SRT's markup as it is put together.
#[derive(Default)]
struct MarkedText {
    text: String,
    /// Tags that are open, the last one last.
    open: Vec<char>,
    /// Whether what follows is a drawing and no text.
    is_drawing: bool,
}

impl MarkedText {
    /// Applies one override of ASS.
    fn apply(&mut self, code: &str) {
        let digits = |prefix: char| code.strip_prefix(prefix).and_then(|digits| digits.parse::<u32>().ok());
        if let Some(number) = code.strip_prefix("an").filter(|number| number.len() == 1) {
            let _ = write!(self.text, "{{\\an{number}}}");
        } else if let Some(level) = digits('p') {
            self.is_drawing = level > 0;
        } else {
            for tag in ['i', 'b', 'u'] {
                if let Some(value) = digits(tag) {
                    self.switch(tag, value > 0);
                }
            }
        }
    }

    fn switch(&mut self, tag: char, on: bool) {
        match (on, self.open.iter().position(|other| *other == tag)) {
            (true, None) => {
                self.open.push(tag);
                let _ = write!(self.text, "<{tag}>");
            }
            (false, Some(at)) => {
                self.open.remove(at);
                let _ = write!(self.text, "</{tag}>");
            }
            _ => {}
        }
    }

    fn push(&mut self, c: char) {
        match c {
            _ if self.is_drawing => {}
            '<' => self.text.push_str("&lt;"),
            '&' => self.text.push_str("&amp;"),
            _ => self.text.push(c),
        }
    }

    /// Closes what is open.
    fn finish(mut self) -> String {
        while let Some(tag) = self.open.pop() {
            let _ = write!(self.text, "</{tag}>");
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use crate::timed_text::segments;

    #[test]
    fn dialogues_are_cues_and_overrides_are_markup() {
        let text = "[Script Info]\nTitle: x\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n[Events]\n\
            Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n\
            Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not shown\n\
            Dialogue: 0,0:00:03.00,0:00:04.50,Default,Bob,0,0,0,,Two, <three>\\Nlines & more\n\
            Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\an8\\i1}Hello{\\i0} {\\c&HFF&}you\n\
            Dialogue: 0,0:00:0x.00,0:00:02.50,Default,,0,0,0,,lost\n\
            Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,{\\p1}m 0 0 l 1 1{\\p0}\n";
        let (segments, notes) = segments(text.as_bytes(), None).unwrap();
        let short: Vec<_> = segments
            .iter()
            .map(|segment| {
                (
                    segment.start,
                    segment.end,
                    segment.speaker.as_deref(),
                    segment.text.as_str(),
                )
            })
            .collect();
        assert_eq!(
            short,
            [
                (1.0, 2.5, None, "Hello you"),
                (3.0, 4.5, Some("Bob"), "Two, <three>\nlines & more")
            ]
        );
        assert_eq!(segments[0].markup.as_deref(), Some("{\\an8}<i>Hello</i> you"));
        assert_eq!((segments[1].markup.as_deref(), notes.skipped()), (None, 1));
    }
}
