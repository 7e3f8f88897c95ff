//! Markup in texts: tags, overrides of ASS and entities. SRT's is what files of other formats are turned into.

/// Tags that are markup; other words in angle brackets, such as `<laughs>`, are text.
const TAGS: [&str; 16] = [
    "i", "b", "u", "s", "em", "strong", "font", "span", "c", "v", "lang", "ruby", "rt", "p", "tt", "br",
];

/// Characters of the longest tag that is looked for.
const LONGEST: usize = 400;

/// A text without its markup, as it is spoken, translated and compared.
pub(super) fn plain(text: &str) -> String {
    render(text, |_| "")
}

/// A text with the markup that players of SRT know, without the rest.
pub(super) fn kept(text: &str) -> String {
    render(text, |tag| {
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
    })
}

/// A plain text written so that [`plain`] gives it back.
pub(in crate::nodes) fn escaped(text: &str) -> String {
    if plain(text) == text {
        return text.to_owned();
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('{', "&#123;")
}

fn render<'a>(text: &'a str, tag: impl Fn(&'a str) -> &'a str) -> String {
    if !text.contains(['<', '{', '&']) {
        return text.to_owned();
    }
    let mut all = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', '{', '&']) {
        all.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((c, length)) = entity(rest) {
            all.extend(c);
            rest = &rest[length..];
        } else if let Some(length) = tag_length(rest) {
            let found = &rest[..length];
            if found.to_ascii_lowercase().starts_with("<br") {
                all.push('\n');
            }
            all.push_str(tag(found));
            rest = &rest[length..];
        } else {
            all.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    all.push_str(rest);
    all
}

/// The bytes of a tag or override the text begins with.
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

/// The character an entity at the start stands for, and its bytes. Marks of direction stand for nothing.
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

/// The `SPEAKER_xx` of `[SPEAKER_xx] text`, and the text. Other words in brackets, such as `[music]`, are text.
pub(super) fn split_speaker(text: &str) -> (Option<&str>, &str) {
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
        assert_eq!(
            kept("{\\an8}{\\pos(1,2)}<em>Hi</em> <c.x>you</c> <b>&amp;</b>"),
            "{\\an8}<i>Hi</i> you <b>&</b>"
        );
    }

    #[test]
    fn a_speakers_label_is_known() {
        assert_eq!(split_speaker("[SPEAKER_01] a"), (Some("SPEAKER_01"), "a"));
        for text in ["[music] a", "[SPEAKER_01]", "[SPEAKER_] a", "a"] {
            assert_eq!(split_speaker(text), (None, text));
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "(<i>|</b>|&amp;|&lt;|\\{\\\\an8\\}|<|&|;|[a-z ]{1,3}|你){0,12}") {
            prop_assert_eq!(plain(&escaped(&text)), text);
        }
    }
}
