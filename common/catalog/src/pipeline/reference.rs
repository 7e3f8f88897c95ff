//! Texts that stand for values: `${{ video.path }}`, `${{ stages.<node>.output.<field> }}`, and `${{ a || b }}` for the
//! first of several that exists. Pipelines and requests are read by the same code.

use std::fmt;

use serde_json::Value;

/// A text that is nothing but a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    /// What stands between `${{` and `}}`.
    inside: &'a str,
}

/// What a reference names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Referent<'a> {
    Video(VideoField),
    Output {
        node: &'a str,
        /// The name of a field, or a dotted path.
        field: &'a str,
    },
    /// A name of nothing that exists.
    Unknown(&'a str),
}

/// What is known of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoField {
    Path,
    Id,
    Title,
    /// The subtitle file that lies beside it under its name.
    Subtitles,
}

impl VideoField {
    pub const ALL: [Self; 4] = [Self::Path, Self::Id, Self::Title, Self::Subtitles];

    /// Returns the name as references have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "video.path",
            Self::Id => "video.id",
            Self::Title => "video.title",
            Self::Subtitles => "video.subtitles",
        }
    }
}

impl<'a> Reference<'a> {
    /// Reads a text that is nothing but a reference.
    pub fn parse(text: &'a str) -> Option<Self> {
        let inside = text.trim().strip_prefix("${{")?.strip_suffix("}}")?;
        Some(Self { inside })
    }

    /// Reads a value that is nothing but a reference.
    pub fn parse_value(value: &'a Value) -> Option<Self> {
        Self::parse(value.as_str()?)
    }

    /// Returns what it names, the best first.
    pub fn alternatives(self) -> impl Iterator<Item = Referent<'a>> {
        self.inside.split("||").map(|text| Referent::parse(text.trim()))
    }

    /// Returns what it names, where that is one thing.
    pub fn single(self) -> Option<Referent<'a>> {
        let mut alternatives = self.alternatives();
        let first = alternatives.next()?;
        alternatives.next().is_none().then_some(first)
    }
}

impl<'a> Referent<'a> {
    fn parse(text: &'a str) -> Self {
        let video = VideoField::ALL.into_iter().find(|field| field.as_str() == text);
        let output = || text.strip_prefix("stages.")?.split_once(".output.");
        match (video, output()) {
            (Some(field), _) => Self::Video(field),
            (None, Some((node, field))) => Self::Output { node, field },
            (None, None) => Self::Unknown(text),
        }
    }

    /// Returns the reference that names this alone.
    pub fn as_reference(self) -> String {
        format!("${{{{ {self} }}}}")
    }
}

impl fmt::Display for Referent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Video(field) => f.write_str(field.as_str()),
            Self::Output { node, field } => write!(f, "stages.{node}.output.{field}"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_alternatives_and_is_written_as_it_was_read() {
        let text = " ${{ stages.a.b.output.c.0 ||video.subtitles|| video.size }} ";
        let named: Vec<_> = Reference::parse(text).unwrap().alternatives().collect();
        let output = Referent::Output {
            node: "a.b",
            field: "c.0",
        };
        assert_eq!(
            named,
            [
                output,
                Referent::Video(VideoField::Subtitles),
                Referent::Unknown("video.size")
            ]
        );
        assert_eq!(Reference::parse(text).unwrap().single(), None);
        for referent in named {
            let written = referent.as_reference();
            assert_eq!(
                Reference::parse(&written).unwrap().single(),
                Some(referent),
                "{written}"
            );
        }
        for other in ["see ${{ video.path }}", "${ video.path }", "video.path", ""] {
            assert_eq!(Reference::parse(other), None, "{other}");
        }
        let unknown = Reference::parse("${{ stages.a.b }}").unwrap().single();
        assert_eq!(unknown, Some(Referent::Unknown("stages.a.b")));
    }
}
