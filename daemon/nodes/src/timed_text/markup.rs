//! Markup in texts: tags, overrides of ASS and entities. SRT's is what files of other formats are turned into.

use crate::spoken::TranscriptSegment;

/// Tags that are markup; other words in angle brackets, such as `<laughs>`, are text.
const TAGS: [&str; 16] = [
    "i", "b", "u", "s", "em", "strong", "font", "span", "c", "v", "lang", "ruby", "rt", "p", "tt", "br",
];

/// Characters of the longest tag that is looked for.
const LONGEST: usize = 400;

/// Returns a text without its markup, as it is spoken, translated and compared.
pub(super) fn plain(text: &str) -> String {
    render(text, |_| "", str::to_owned)
}

/// Returns a text with the markup that players of SRT know, without the rest. It shows what the text shows: characters
/// that would be taken for markup are entities. `shown` is that text as [`plain`] gives it.
fn kept(text: &str, shown: &str) -> String {
    let marked = render(text, srt_tag, escaped);
    if plain(&marked) == shown {
        return marked;
    }
    // Characters on both sides of a tag would be taken for markup together.
    render(text, srt_tag, as_entities)
}

/// Returns a tag as SRT has it; nothing where SRT has none.
fn srt_tag(tag: &str) -> &str {
    let name = tag.trim_start_matches(['<', '/']).trim_end_matches('>');
    let name = name.split([' ', '.']).next().unwrap_or(name);
    match (tag.starts_with("</"), name.to_ascii_lowercase().as_str()) {
        (false, "i" | "em") => "<i>",
        (true, "i" | "em") => "</i>",
        (false, "b" | "strong") => "<b>",
        (true, "b" | "strong") => "</b>",
        (false, "u") => "<u>",
        (true, "u") => "</u>",
        (_, "font") => tag,
        _ if tag.starts_with("{\\an") => tag,
        _ => "",
    }
}

impl TranscriptSegment {
    /// Returns its text with SRT's markup.
    pub(crate) fn marked(&self) -> String {
        self.markup.clone().unwrap_or_else(|| escaped(&self.text))
    }
}

/// Returns a plain text written so that [`plain`] gives it back.
pub(crate) fn escaped(text: &str) -> String {
    if plain(text) == text {
        return text.to_owned();
    }
    as_entities(text)
}

fn as_entities(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('{', "&#123;")
}

/// Returns a text with each tag and each run of characters between tags replaced. A tag that is dropped parts no run.
fn render<'a>(text: &'a str, tag: impl Fn(&'a str) -> &'a str, run: impl Fn(&str) -> String) -> String {
    if !text.contains(['<', '{', '&']) {
        return text.to_owned();
    }
    let mut all = String::with_capacity(text.len());
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['<', '{', '&']) {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if let Some((c, length)) = entity(rest) {
            shown.extend(c);
            length
        } else if let Some(length) = tag_length(rest) {
            let found = &rest[..length];
            if found.to_ascii_lowercase().starts_with("<br") {
                shown.push('\n');
            }
            let kept = tag(found);
            if !kept.is_empty() {
                all.push_str(&run(&shown));
                shown.clear();
                all.push_str(kept);
            }
            length
        } else {
            shown.push_str(&rest[..1]);
            1
        };
        rest = &rest[length..];
    }
    shown.push_str(rest);
    all.push_str(&run(&shown));
    all
}

/// The parts of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// What it shows, without the label of its speaker.
    pub(super) text: String,
    /// The same with SRT's markup; `None` if there is no markup.
    pub(super) markup: Option<String>,
    /// The label before it.
    pub(super) speaker: Option<String>,
}

/// Splits a text into its parts. The label of another speaker than the known one stays part of the text.
pub(super) fn parts(marked: &str, known: Option<&str>) -> Parts {
    let shown = plain(marked);
    let (label, rest) = match split_speaker(shown.trim()) {
        (Some(label), rest) if known.is_none_or(|known| known == label) => (Some(label), rest),
        _ => (None, shown.as_str()),
    };
    let markup = kept(marked, &shown);
    let markup = match label {
        Some(label) => without_label(&markup, label),
        None => markup.trim().to_owned(),
    };
    // A label with tags inside is still in it.
    let markup = match plain(&markup).trim() == rest.trim() {
        true => markup,
        false => escaped(rest.trim()),
    };
    Parts {
        markup: (markup != rest.trim()).then_some(markup),
        speaker: label.map(ToOwned::to_owned),
        text: rest.to_owned(),
    }
}

/// Returns a marked text without the first `[label]` in it and the blanks after that.
fn without_label(marked: &str, label: &str) -> String {
    match marked.split_once(&format!("[{label}]")) {
        Some((before, after)) => format!("{before}{}", after.trim_start()).trim().to_owned(),
        None => marked.trim().to_owned(),
    }
}

/// Returns the markup of a text with another text in it; `None` where tags are not around the whole text alone.
pub(crate) fn markup_around(markup: &str, text: &str, other: &str) -> Option<String> {
    let mut start = 0;
    while let Some(length) = tag_length(&markup[start..]) {
        start += length;
    }
    let mut inside = &markup[start..];
    while let Some(at) = inside.rfind(['<', '{'])
        && tag_length(&inside[at..]) == Some(inside.len() - at)
    {
        inside = &inside[..at];
    }
    let end = start + inside.len();
    let has_tag = |text: &str| {
        let mut marks = text.match_indices(['<', '{']);
        marks.any(|(at, _)| tag_length(&text[at..]).is_some())
    };
    if inside.len() == markup.len() || has_tag(inside) || plain(inside).trim() != text.trim() {
        return None;
    }
    Some(format!(
        "{}{}{}",
        &markup[..start],
        escaped(other.trim()),
        &markup[end..]
    ))
}

/// Returns the bytes of a tag or override the text begins with.
fn tag_length(text: &str) -> Option<usize> {
    if text.starts_with("{\\") {
        return text.find('}').filter(|end| *end < LONGEST).map(|end| end + 1);
    }
    let inner = text.strip_prefix('<')?;
    let end = inner.find(['>', '<']).filter(|end| *end < LONGEST)?;
    if !inner[end..].starts_with('>') {
        return None;
    }
    let inner = inner[..end].trim_start_matches('/').trim_end_matches('/');
    let name = inner.split([' ', '.', '\t', '\n']).next().unwrap_or_default();
    let is_tag = TAGS.iter().any(|tag| tag.eq_ignore_ascii_case(name)) || super::times::clock(inner).is_some();
    is_tag.then_some(end + 2)
}

/// Returns the character an entity at the start stands for, and its bytes. Marks of direction stand for nothing.
fn entity(text: &str) -> Option<(Option<char>, usize)> {
    let inner = text.strip_prefix('&')?;
    let end = inner.bytes().take(10).position(|byte| byte == b';')?;
    let name = &inner[..end];
    let c = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        "lrm" | "rlm" => None,
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            Some(char::from_u32(code).filter(|c| !c.is_control())?)
        }
    };
    Some((c, end + 2))
}

/// Returns the `SPEAKER_xx` of `[SPEAKER_xx] text`, and the text. Other words in brackets, such as `[music]`, are text.
fn split_speaker(text: &str) -> (Option<&str>, &str) {
    let tag = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match tag {
        Some((label, rest))
            if !rest.trim().is_empty()
                && label
                    .strip_prefix("SPEAKER_")
                    .is_some_and(|id| !id.is_empty() && id.chars().all(|c| c.is_alphanumeric() || c == '_')) =>
        {
            (Some(label), rest.trim_start())
        }
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_is_taken_off_and_other_brackets_stay() {
        for (text, expected) in [
            ("{\\an8}<i>Hello</i> <font color=\"#ff0000\">you</font>", "Hello you"),
            ("Tom &amp; Jerry &lt;3 &#9835; AT&T; &c", "Tom & Jerry <3 ♫ AT&T; &c"),
            ("<v Ann>Hello <c.yellow>you</c></v>", "Hello you"),
            ("a <00:00:01.000>b<BR/>c", "a b\nc"),
            (
                "I <3 you, 1 < 2 > 0, <laughs> {ok}",
                "I <3 you, 1 < 2 > 0, <laughs> {ok}",
            ),
            ("&lt;i&gt;", "<i>"),
            ("<i unclosed", "<i unclosed"),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
        let marked = "{\\an8}{\\pos(1,2)}<em>Hi</em> <c.x>you</c> <b>&amp;</b>";
        assert_eq!(kept(marked, &plain(marked)), "{\\an8}<i>Hi</i> you <b>&</b>");
    }

    #[test]
    fn a_speakers_label_is_known() {
        assert_eq!(split_speaker("[SPEAKER_01] a"), (Some("SPEAKER_01"), "a"));
        for text in ["[music] a", "[SPEAKER_01]", "[SPEAKER_] a", "a"] {
            assert_eq!(split_speaker(text), (None, text));
        }
    }

    #[test]
    fn what_is_no_tag_becomes_none_beside_one_that_is() {
        for (text, marked) in [
            ("<i>a</i> &lt;b&gt;", "<i>a</i> &lt;b>"),
            ("<i>Tom &amp;amp; Jerry</i>", "<i>Tom &amp;amp; Jerry</i>"),
            ("&#123;\\an8}<i>a</i>", "&#123;\\an8}<i>a</i>"),
            // Neither side of the tag is an override.
            ("&#123;\\x<i>y</i>}", "&#123;\\x<i>y</i>}"),
            ("&<c>lt;</c>i>", "&amp;lt;i>"),
        ] {
            let shown = plain(text);
            assert_eq!(kept(text, &shown), marked, "{text}");
            assert_eq!(plain(&kept(text, &shown)), shown, "{text}");
        }
    }

    #[test]
    fn a_text_is_taken_apart() {
        let of = |text: &str, known: Option<&str>| {
            let Parts { text, markup, speaker } = parts(text, known);
            (text, markup.unwrap_or_default(), speaker.unwrap_or_default())
        };
        let is = |text: &str, markup: &str, speaker: &str| (text.to_owned(), markup.to_owned(), speaker.to_owned());
        assert_eq!(of(" a  b", None), is(" a  b", "", ""));
        assert_eq!(of(" &amp; <c>b</c>", None), is(" & b", "", ""));
        assert_eq!(of("<b>&lt;b&gt;</b>", None), is("<b>", "<b>&lt;b></b>", ""));
        // What shows a tag is not to be taken for one by the next reader.
        assert_eq!(of("&lt;b&gt;", None), is("<b>", "&lt;b>", ""));
        assert_eq!(of("[SPEAKER_01]  a  b", None), is("a  b", "", "SPEAKER_01"));
        assert_eq!(
            of("{\\an8}[SPEAKER_01] <i>a</i>", Some("SPEAKER_01")),
            is("a", "{\\an8}<i>a</i>", "SPEAKER_01")
        );
        assert_eq!(of("[SPEAKER_01] a", Some("Ann")), is("[SPEAKER_01] a", "", ""));
    }

    #[test]
    fn tags_around_a_text_are_around_another_one() {
        for (markup, text, around) in [
            ("<i>i</i>", "i", Some("<i>ja &lt;b></i>")),
            ("{\\an8}<i>One\ntwo</i>", "One\ntwo", Some("{\\an8}<i>ja &lt;b></i>")),
            ("<i>&lt;b></i>", "<b>", Some("<i>ja &lt;b></i>")),
            ("<i>a</i> b", "a b", None),
            ("a <i>b</i>", "a b", None),
            ("<i>a</i>\n<i>b</i>", "a\nb", None),
            ("&lt;b>", "<b>", None),
            ("<i>another</i>", "a", None),
        ] {
            assert_eq!(markup_around(markup, text, " ja <b> ").as_deref(), around, "{markup}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "(<i>|</b>|&amp;|&lt;|\\{\\\\an8\\}|<|&|;|[a-z ]{1,3}|你){0,12}") {
            prop_assert_eq!(plain(&escaped(&text)), text);
        }
    }
}
