//! Splits texts into words, and joins words to texts, with and without blanks between words.

use unicode_script::{Script, UnicodeScript};
use unicode_segmentation::UnicodeSegmentation;

/// A word of a text with the punctuation that belongs to it. Scripts without blanks give one token per character, and
/// so does Korean, whose words transcribers cut anywhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token<'a> {
    /// As in the text, blanks inside included (`word -`).
    pub(crate) text: &'a str,
    /// Where it starts, in bytes.
    pub(crate) at: usize,
    /// What tokens are compared by: letters and digits in lower case; all of it where it has none.
    pub(crate) key: String,
    /// A blank stands before it.
    pub(crate) spaced: bool,
    /// A line may end before it.
    pub(crate) breaks: bool,
}

/// Returns the tokens of a text; with the blanks before them they are all of it.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut reader = Reader {
        text,
        tokens: Vec::new(),
        open: false,
        gap: Gap::Nothing,
    };
    for (at, part) in text.split_word_bound_indices() {
        if part.chars().all(char::is_whitespace) {
            reader.blank(part);
        } else if part.chars().any(char::is_alphanumeric) {
            for (offset, letters) in unspaced_apart(part) {
                reader.word(at + offset, letters);
            }
        } else {
            reader.punctuation(at, part);
        }
    }
    if reader.open {
        reader.close();
    }
    reader.tokens
}

#[derive(Clone, Copy, PartialEq)]
enum Gap {
    Nothing,
    Blank,
    Line,
}

struct Reader<'a> {
    text: &'a str,
    tokens: Vec<Token<'a>>,
    /// The last token is punctuation that waits for its word.
    open: bool,
    /// What stands before the next part.
    gap: Gap,
}

impl<'a> Reader<'a> {
    fn blank(&mut self, part: &str) {
        if self.open {
            self.close();
        }
        let is_line = part.contains(['\n', '\r']);
        self.gap = if is_line || self.gap == Gap::Line {
            Gap::Line
        } else {
            Gap::Blank
        };
    }

    /// Punctuation with a blank on either side stays with what is before it.
    fn close(&mut self) {
        self.open = false;
        if let [.., before, alone] = &mut self.tokens[..] {
            before.text = &self.text[before.at..alone.at + alone.text.len()];
            self.tokens.pop();
        }
    }

    fn word(&mut self, at: usize, part: &'a str) {
        if self.open
            && let Some(token) = self.tokens.last_mut()
        {
            token.text = &self.text[token.at..at + part.len()];
            token.key = letters(part);
            self.open = false;
            return;
        }
        self.push(at, part, letters(part));
    }

    fn punctuation(&mut self, at: usize, part: &'a str) {
        let opens = self.gap != Gap::Nothing || part.starts_with(is_opening);
        match self.tokens.last_mut() {
            Some(token) if self.open || !opens => token.text = &self.text[token.at..at + part.len()],
            // If no word follows, and none is before it, it stays a separate token.
            _ => {
                self.open = true;
                self.push(at, part, part.to_owned());
            }
        }
    }

    fn push(&mut self, at: usize, part: &'a str, key: String) {
        let before = self.tokens.last().and_then(|token| token.text.chars().next_back());
        let runs_on = match (before, part.chars().next()) {
            (Some(before), Some(next)) => is_unspaced(before) || is_unspaced(next),
            _ => true,
        };
        // In a script without blanks, the end of a line is no blank.
        let only_a_line = self.gap == Gap::Line && runs_on;
        let spaced = self.gap != Gap::Nothing && !only_a_line;
        self.tokens.push(Token {
            text: part,
            at,
            key,
            spaced,
            breaks: self.gap != Gap::Nothing || runs_on,
        });
        self.gap = Gap::Nothing;
    }
}

/// Returns the letters and digits of a text in lower case: what makes two texts the same.
pub(crate) fn letters(part: &str) -> String {
    part.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Returns a word's parts: each character of a script without blanks, or of Korean, alone; what is between them whole.
fn unspaced_apart(word: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let mut rest = 0;
    for (at, grapheme) in word.grapheme_indices(true) {
        if grapheme.starts_with(|c| is_unspaced(c) || c.script() == Script::Hangul) {
            if rest < at {
                parts.push((rest, &word[rest..at]));
            }
            parts.push((at, grapheme));
            rest = at + grapheme.len();
        }
    }
    if rest < word.len() {
        parts.push((rest, &word[rest..]));
    }
    parts
}

fn is_opening(c: char) -> bool {
    "([{<“‘«‹„‚¿¡「『《〈【〔（［｛".contains(c)
}

/// Whether a text ends like a sentence, quotes and brackets after that included.
pub(crate) fn ends_sentence(text: &str) -> bool {
    text.trim_end_matches(|c: char| c.is_whitespace() || "\"')]}”’»」』）".contains(c))
        .ends_with(['.', '!', '?', '。', '！', '？', '…'])
}

/// Whether a character is of a script that writes no blanks between words.
pub(crate) fn is_unspaced(c: char) -> bool {
    const SCRIPTS: [Script; 7] = [
        Script::Han,
        Script::Hiragana,
        Script::Katakana,
        Script::Thai,
        Script::Lao,
        Script::Myanmar,
        Script::Khmer,
    ];
    // Its punctuation and the sign for a long vowel belong to several scripts.
    matches!(c, '\u{3001}'..='\u{303f}' | '\u{30fb}' | '\u{30fc}' | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff20}')
        || SCRIPTS.contains(&c.script())
}

/// Returns the text of neighbouring words. If none of them includes a blank, they are joined with blanks.
pub(crate) fn joined<'a>(words: impl Iterator<Item = &'a str> + Clone) -> String {
    let carries_blanks = words
        .clone()
        .any(|word| word.starts_with(char::is_whitespace) || word.ends_with(char::is_whitespace));
    if carries_blanks {
        return words.collect();
    }
    spaced(words)
}

/// Joins texts with a blank between each two, where their script and punctuation need one.
pub(crate) fn spaced<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut all = String::new();
    for text in texts {
        if needs_blank(&all, text) {
            all.push(' ');
        }
        all.push_str(text);
    }
    all
}

fn needs_blank(before: &str, next: &str) -> bool {
    let (Some(last), Some(first)) = (before.chars().next_back(), next.chars().next()) else {
        return false;
    };
    let closes = next.chars().all(|c| ".,!?;:…)]}”’»%".contains(c));
    let joint = last.is_whitespace() || first.is_whitespace() || closes || is_opening(last);
    !joint && !is_unspaced(last) && !is_unspaced(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn punctuation_stays_with_its_word() {
        for (text, expected) in [
            (
                "It's wide-open, at 3.14%.",
                &["It's", "wide-", "open,", "at", "3.14%."][..],
            ),
            (
                "He said \"well then\" - and (so) left",
                &["He", "said", "\"well", "then\" -", "and", "(so)", "left"],
            ),
            ("¿Qué? $5", &["¿Qué?", "$5"]),
            ("他说：“你好，世界。”", &["他", "说：", "“你", "好，", "世", "界。”"]),
            ("カタカナとABC", &["カ", "タ", "カ", "ナ", "と", "ABC"]),
            ("안녕 세계", &["안", "녕", "세", "계"]),
            ("— yes", &["—", "yes"]),
            ("...", &["..."]),
            (" \n", &[]),
        ] {
            assert_eq!(texts(text), expected, "{text}");
        }
    }

    #[test]
    fn blanks_and_breaks_are_known() {
        let of = |text: &str| -> Vec<(bool, bool)> {
            tokens(text).iter().map(|token| (token.spaced, token.breaks)).collect()
        };
        assert_eq!(of("a wide-open"), [(false, true), (true, true), (false, false)]);
        assert_eq!(
            of("你好\n世 界"),
            [(false, true), (false, true), (false, true), (true, true)]
        );
        assert_eq!(of("안녕 세"), [(false, true), (false, false), (true, true)]);
        assert_eq!(of("a\nb"), [(false, true), (true, true)]);
        let keys: Vec<_> = tokens("“Ten,” it's").into_iter().map(|token| token.key).collect();
        assert_eq!(keys, ["ten", "its"]);
    }

    #[test]
    fn words_without_blanks_get_them_where_their_script_has_any() {
        let of = |words: &[&str]| joined(words.iter().copied());
        assert_eq!(of(&[" We", " start"]), " We start");
        assert_eq!(of(&["We", "start", ",", "now"]), "We start, now");
        assert_eq!(of(&["我", "用", "python", "写"]), "我用python写");
        assert_eq!(of(&["你好", "世界"]), "你好世界");
    }

    proptest! {
        #[test]
        fn tokens_are_all_of_a_text_but_blanks(text in "[a-z'\"(). \n\u{e9}你カ안—-]{0,40}|.{0,40}") {
            let visible = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            let tokens = tokens(&text);
            prop_assert_eq!(visible(&texts(&text).concat()), visible(&text));
            prop_assert!(tokens.iter().all(|token| text[token.at..].starts_with(token.text)));
        }
    }
}
