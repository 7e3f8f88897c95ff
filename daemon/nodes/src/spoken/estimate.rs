//! Estimates times of words that have none, and corrects times that go back or overlap.

use super::{millis, segment::Word, tokens::tokens};

/// Corrects the times of words that go back or overlap.
pub(crate) fn put_in_order(mut words: Vec<Word>) -> Vec<Word> {
    let mut reached = f64::NEG_INFINITY;
    for word in &mut words {
        word.start = word.start.max(reached);
        word.end = word.end.max(word.start);
        reached = word.start;
    }
    let mut next = f64::INFINITY;
    for word in words.iter_mut().rev() {
        word.end = word.end.min(next).max(word.start);
        next = word.start;
    }
    words
}

/// Returns the words of a text that is spoken from start to end, each with a part of the time by its length.
pub(crate) fn estimate_words(text: &str, start: f64, end: f64) -> Vec<Word> {
    let words = written_words(text);
    let lengths: Vec<_> = words.iter().map(|word| word.chars().count()).collect();
    share_time(start, end, &lengths)
        .into_iter()
        .zip(words)
        .map(|((start, end), word)| Word {
            word,
            start,
            end,
            probability: None,
            speaker: None,
        })
        .collect()
}

/// Returns the parts of a text that are spoken as one word, each with the blank before it.
pub(crate) fn written_words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for token in tokens(text) {
        match words.last_mut() {
            Some(word) if !token.breaks => word.push_str(token.text),
            _ => {
                let blank = if token.spaced { " " } else { "" };
                words.push(format!("{blank}{}", token.text));
            }
        }
    }
    words
}

/// Divides a span of time by weight; into equal parts where all weights are 0.
pub(crate) fn share_time(start: f64, end: f64, weights: &[usize]) -> Vec<(f64, f64)> {
    let total: usize = weights.iter().sum();
    let weight = |weight: usize| if total == 0 { 1 } else { weight };
    let all = if total == 0 { weights.len() } else { total } as f64;
    let mut seen = 0;
    let mut from = start;
    weights
        .iter()
        .map(|share| {
            seen += weight(*share);
            let to = millis(start + (end - start) * seen as f64 / all).clamp(from, end.max(from));
            let span = (from, to);
            from = to;
            span
        })
        .collect()
}
