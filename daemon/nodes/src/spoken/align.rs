//! Aligns a text with words that have times: which word speaks which part of the text.

use super::{
    Word, share_time,
    tokens::{Token, tokens},
};
use crate::similarity::{EditOp, Popular, opcodes};

/// A text whose ratio is less is not that of the words.
pub(crate) const LEAST_ALIKE: f64 = 0.5;

/// Every token of the text with the word that speaks it; the words never go back.
#[derive(Debug)]
pub(crate) struct Aligned<'a> {
    /// Twice the number of equal tokens by the number of all, 0 to 1.
    pub(crate) ratio: f64,
    tokens: Vec<(Token<'a>, usize)>,
    /// Tokens of each word as it was.
    lengths: Vec<usize>,
}

/// Part of a text with the time in which it is spoken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timed<'a> {
    pub(crate) token: Token<'a>,
    /// Which of the words speaks it.
    pub(crate) word: usize,
    pub(crate) start: f64,
    pub(crate) end: f64,
}

/// Aligns a text with words. Tokens that differ are paired in order. Additional tokens of the words have no part of the
/// text; additional tokens of the text belong to the word before them, and at the start to the first.
pub(crate) fn align<'a>(words: &[Word], text: &'a str) -> Aligned<'a> {
    let mut keys = Vec::new();
    let mut said_by = Vec::new();
    let mut lengths = Vec::with_capacity(words.len());
    for (at, word) in words.iter().enumerate() {
        let parts = tokens(&word.word);
        lengths.push(parts.len());
        for part in parts {
            keys.push(part.key);
            said_by.push(at);
        }
    }
    let tokens = tokens(text);
    let wanted: Vec<_> = tokens.iter().map(|token| token.key.clone()).collect();
    let mut equal = 0;
    let mut assigned = Vec::with_capacity(tokens.len());
    for step in opcodes(&keys, &wanted, Popular::Counted) {
        if step.change == EditOp::Equal {
            equal += step.first.len();
        }
        let last = match step.change {
            EditOp::Insert => step.first.start.saturating_sub(1),
            _ => step.first.end.saturating_sub(1),
        };
        for offset in 0..step.second.len() {
            let at = (step.first.start + offset).min(last);
            assigned.push(said_by.get(at).copied().unwrap_or(0));
        }
    }
    let all = keys.len() + wanted.len();
    Aligned {
        ratio: if all == 0 { 0.0 } else { 2.0 * equal as f64 / all as f64 },
        tokens: tokens.into_iter().zip(assigned).collect(),
        lengths,
    }
}

impl<'a> Aligned<'a> {
    /// Returns the tokens with times. The tokens of one word share its time by their length.
    pub(crate) fn timed(&self, words: &[Word]) -> Vec<Timed<'a>> {
        self.tokens
            .chunk_by(|(_, a), (_, b)| a == b)
            .flat_map(|tokens| {
                let word = &words[tokens[0].1];
                let lengths: Vec<_> = tokens.iter().map(|(token, _)| token.text.chars().count()).collect();
                let times = share_time(word.start, word.end, &lengths);
                tokens.iter().zip(times).map(|((token, word), (start, end))| Timed {
                    token: token.clone(),
                    word: *word,
                    start,
                    end,
                })
            })
            .collect()
    }

    /// Returns the words with the text's spelling, each with the number of the word it was. A word that now has more
    /// text becomes several, and one that is not in the text stays with an empty text.
    pub(crate) fn respelled(&self, words: &[Word]) -> Vec<(Word, usize)> {
        let timed = self.timed(words);
        let mut spelled = Vec::with_capacity(words.len());
        let mut rest = timed.as_slice();
        for (at, word) in words.iter().enumerate() {
            let (mine, others) = rest.split_at(rest.iter().take_while(|part| part.word == at).count());
            rest = others;
            let more = mine.len() > self.lengths[at].max(1);
            let mut parts: Vec<Word> = Vec::new();
            for part in mine {
                let blank = if part.token.spaced { " " } else { "" };
                match parts.last_mut() {
                    Some(last) if !(more && part.token.breaks) => {
                        last.word = format!("{}{blank}{}", last.word, part.token.text);
                        last.end = part.end;
                    }
                    _ => parts.push(Word {
                        word: format!("{blank}{}", part.token.text),
                        start: part.start,
                        end: part.end,
                        ..word.clone()
                    }),
                }
            }
            match parts.last_mut() {
                Some(last) => last.end = word.end,
                None => parts.push(Word {
                    word: String::new(),
                    ..word.clone()
                }),
            }
            spelled.extend(parts.into_iter().map(|part| (part, at)));
        }
        spelled
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transcript::fixture::{any_transcript, visible};

    /// Returns the words of one second each.
    fn words(texts: &[&str]) -> Vec<Word> {
        (0_u32..)
            .zip(texts)
            .map(|(at, text)| Word {
                word: (*text).into(),
                start: f64::from(at),
                end: f64::from(at + 1),
                probability: None,
                speaker: None,
            })
            .collect()
    }

    fn respelled(texts: &[&str], text: &str) -> Vec<String> {
        let words = words(texts);
        align(&words, text)
            .respelled(&words)
            .into_iter()
            .map(|(word, _)| word.word)
            .collect()
    }

    #[test]
    fn d48_what_is_added_at_the_start_comes_before_the_first_word() {
        assert_eq!(
            respelled(&[" we", " left"], "Yesterday we left."),
            ["Yesterday", " we", " left."]
        );
    }

    #[test]
    fn d48_added_words_are_not_glued() {
        assert_eq!(
            respelled(&[" it", " was", " open"], "It was wide open."),
            ["It", " was", " wide", " open."]
        );
        let words = words(&[" it", " was", " open"]);
        let spelled = align(&words, "It was wide open.").respelled(&words);
        assert_eq!(
            (spelled[1].0.start, spelled[1].0.end, spelled[2].0.end),
            (1.0, 1.429, 2.0)
        );
        assert_eq!(spelled[2].1, 1);
    }

    #[test]
    fn d48_chinese_is_laid_over_words_of_any_length() {
        for texts in [
            &["我", "们", "今", "天", "去"][..],
            &["我们", "今天", "去"],
            &["我们今天去"],
        ] {
            let words = words(texts);
            let aligned = align(&words, "我们，今天去。");
            assert_eq!(aligned.ratio, 1.0);
            let spelled = aligned.respelled(&words);
            assert_eq!(spelled.len(), texts.len());
            assert_eq!(
                spelled.iter().map(|(word, _)| word.word.as_str()).collect::<String>(),
                "我们，今天去。"
            );
        }
    }

    #[test]
    fn what_is_not_in_the_text_stays_empty_and_what_differs_is_paired() {
        assert_eq!(
            respelled(&[" the", " lap", " um", " is"], "The lab is"),
            ["The", " lab", "", " is"]
        );
        assert_eq!(respelled(&[" a"], ""), [""]);
        assert_eq!(align(&[], "a").ratio, 0.0);
    }

    proptest! {
        #[test]
        fn the_words_say_the_whole_text_in_order(
            segments in any_transcript(),
            text in "([a-z]{1,4}[,.]?[ \n]|we got the |你好，){0,20}",
        ) {
            let words: Vec<_> = segments.iter().flat_map(|segment| segment.timed_words()).collect();
            let aligned = align(&words, &text);
            let spelled = aligned.respelled(&words);
            let said: String = spelled.iter().map(|(word, _)| word.word.as_str()).collect();
            prop_assert_eq!(visible(&said), visible(&text));
            for pair in spelled.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].1 && pair[0].0.start <= pair[1].0.start);
                prop_assert!(pair[0].0.start <= pair[0].0.end);
            }
        }
    }
}
