//! A text cut to lines of limited length: after punctuation, else between words, else between characters.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Part of a text, blanks on both sides left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TranscriptLine<'a> {
    pub(super) text: &'a str,
    /// Where it starts in the whole text, in bytes.
    at: usize,
}

impl<'a> TranscriptLine<'a> {
    /// Returns the parts between these positions; those of blanks alone are omitted.
    pub(super) fn cut(text: &'a str, places: &[usize]) -> Vec<Self> {
        let edges: Vec<_> = [0]
            .into_iter()
            .chain(places.iter().copied())
            .chain([text.len()])
            .collect();
        edges
            .windows(2)
            .filter_map(|edge| Self::trimmed(text, 0, edge[0]..edge[1]))
            .collect()
    }

    fn trimmed(text: &'a str, at: usize, range: Range<usize>) -> Option<Self> {
        let part = &text[range.clone()];
        let trimmed = part.trim();
        let blank = part.len() - part.trim_start().len();
        (!trimmed.is_empty()).then_some(Self {
            text: trimmed,
            at: at + range.start + blank,
        })
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }
}

/// What a line ends after, best first. The text is cut at each of the first kind; what is still too long at those of
/// the next; what is short enough together stays together.
const ENDS: [&[&str]; 6] = [
    &[", ", ",\n", "，", "、"],
    &["; ", ";\n", "；"],
    &[". ", ".\n", "。"],
    &["! ", "!\n", "！"],
    &["? ", "?\n", "？"],
    &[" ", "\n", "\t"],
];

/// Cuts a sentence; every visible character is in one line.
pub(super) fn lines(sentence: TranscriptLine<'_>, max_chars: usize) -> Vec<TranscriptLine<'_>> {
    let text = sentence.text;
    let mut edges = Vec::new();
    cut(text, 0..text.len(), max_chars.max(1), &ENDS, &mut edges);
    let mut from = 0;
    let parts = edges.into_iter().filter_map(|to| {
        let line = TranscriptLine::trimmed(text, sentence.at, from..to);
        from = to;
        line
    });
    parts.collect()
}

/// Notes where each line ends.
fn cut(text: &str, range: Range<usize>, max_chars: usize, ends: &[&[&str]], edges: &mut Vec<usize>) {
    let fits = |range: Range<usize>| text[range].trim().chars().count() <= max_chars;
    if fits(range.clone()) {
        edges.push(range.end);
        return;
    }
    let (pieces, finer) = match ends.split_first() {
        Some((ends, finer)) => (pieces(text, &range, ends), Some(finer)),
        None => (characters(text, &range), None),
    };
    let mut open = range.start;
    for (from, to) in pieces {
        if fits(open..to) {
            continue;
        }
        if open < from {
            edges.push(from);
            open = from;
        }
        if let Some(finer) = finer.filter(|_| !fits(from..to)) {
            cut(text, from..to, max_chars, finer, edges);
            open = to;
        }
    }
    if open < range.end {
        edges.push(range.end);
    }
}

fn pieces(text: &str, range: &Range<usize>, ends: &[&str]) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let (mut from, mut at) = (range.start, range.start);
    while at < range.end {
        let rest = &text[at..range.end];
        match ends.iter().find(|end| rest.starts_with(**end)) {
            Some(end) => {
                at += end.len();
                pieces.push((from, at));
                from = at;
            }
            None => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    if from < range.end {
        pieces.push((from, range.end));
    }
    pieces
}

fn characters(text: &str, range: &Range<usize>) -> Vec<(usize, usize)> {
    text[range.clone()]
        .grapheme_indices(true)
        .map(|(at, grapheme)| (range.start + at, range.start + at + grapheme.len()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_places_are_taken_first_and_short_parts_stay_together() {
        let of = |text: &'static str, max: usize| -> Vec<&str> {
            let all = TranscriptLine::cut(text, &[]);
            lines(all[0], max).into_iter().map(|line| line.text).collect()
        };
        assert_eq!(of(" a, b, c, d ", 5), ["a, b,", "c, d"]);
        assert_eq!(
            of("one two; three four, five", 10),
            ["one two;", "three", "four,", "five"]
        );
        assert_eq!(of("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(of("你好，世界。再见", 3), ["你好，", "世界。", "再见"]);
        assert_eq!(of("short", 42), ["short"]);
        assert!(TranscriptLine::cut(" \n", &[]).is_empty());
    }

    #[test]
    fn lines_know_where_they_are() {
        let text = "  One two. Three";
        let parts = TranscriptLine::cut(text, &[11]);
        assert_eq!(
            parts.iter().map(TranscriptLine::range).collect::<Vec<_>>(),
            [2..10, 11..16]
        );
        let cut = lines(parts[0], 4);
        assert_eq!(
            cut.iter().map(|line| &text[line.range()]).collect::<Vec<_>>(),
            ["One", "two."]
        );
    }
}
