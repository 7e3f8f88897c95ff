//! LRC, the lyrics of songs: a line is shown until the next. Times inside lines are those of words.

use super::{
    markup::escaped,
    record::{Record, Records},
    times::{clock, is_shown},
};
use crate::spoken::{Word, millis, put_in_order};

/// Times one line may have; a longer list is a broken record.
const MOST_TIMES: usize = 100;

/// Whether only LRC has such a line.
pub(super) fn is_lrc(line: &str) -> bool {
    stamp(line).is_some()
}

/// Returns the seconds of `[00:12.34]` at the beginning, and what follows.
fn stamp(line: &str) -> Option<(f64, &str)> {
    let (time, rest) = line.strip_prefix('[')?.split_once(']')?;
    Some((clock(time)?, rest))
}

pub(super) fn parse(text: &str) -> Records {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut found = Records::default();
    let (mut number, mut offset) = (0, 0.0);
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        if let Some(value) = content.strip_prefix("[offset:").and_then(|rest| rest.strip_suffix(']')) {
            // The milliseconds by which everything is shown earlier.
            let millis = value.trim().parse::<f64>().ok();
            offset = millis.map(|millis| millis / 1000.0).filter(is_shown).unwrap_or(0.0);
            continue;
        }
        let (mut starts, mut rest) = (Vec::new(), content);
        while let Some((start, after)) = stamp(rest.trim_start()) {
            starts.push(start);
            rest = after;
            if starts.len() > MOST_TIMES {
                break;
            }
        }
        if starts.is_empty() {
            continue;
        }
        number += 1;
        if starts.len() > MOST_TIMES {
            found.skip(number, line, format!("has more than {MOST_TIMES} times"));
            continue;
        }
        let (said, words) = said(rest.trim());
        for start in &starts {
            let place = |time: f64| millis((time - offset).max(0.0));
            // Times of words are those of the first time the line is sung.
            let words = if starts.len() == 1 { words.clone() } else { Vec::new() };
            let words = words.into_iter().map(|word| Word {
                start: place(word.start),
                end: place(word.end),
                ..word
            });
            found.records.push(Record {
                number,
                line,
                start: place(*start),
                marked: escaped(&said),
                words: words.collect(),
                ..Record::default()
            });
        }
    }
    found.records.sort_by(|a, b| a.start.total_cmp(&b.start));
    end_at_empty_lines(&mut found.records);
    found
}

/// A line without text ends the one before it; that is not an end that was missing.
fn end_at_empty_lines(records: &mut [Record]) {
    for at in 1..records.len() {
        let (before, rest) = records.split_at_mut(at);
        let (before, next) = (&mut before[at - 1], &rest[0]);
        if next.start > before.start {
            let longest = before.start + (before.marked.chars().count() as f64 / 8.0).max(10.0);
            before.end = Some(next.start.min(longest));
        }
    }
}

/// Returns a line's text, and its words where it has times for them: `<00:12.00> like <00:12.40> this`.
fn said(line: &str) -> (String, Vec<Word>) {
    let mut parts = line.split('<');
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut words: Vec<Word> = Vec::new();
    for part in parts {
        let Some((start, said)) = part.split_once('>').and_then(|(time, said)| Some((clock(time)?, said))) else {
            text.push('<');
            text.push_str(part);
            continue;
        };
        if let Some(last) = words.last_mut() {
            last.end = start;
        }
        text.push_str(said);
        if !said.trim().is_empty() {
            words.push(Word {
                word: said.to_owned(),
                start,
                end: start,
                probability: None,
                speaker: None,
            });
        }
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (text, put_in_order(words))
}

#[cfg(test)]
mod tests {
    use crate::timed_text::segments;

    #[test]
    fn lines_last_until_the_next_and_may_be_sung_twice() {
        let text = "[ti:Song]\n[offset:500]\n[00:01.50]One\n[00:03.50][00:09.50]Chorus\n[00:05.50]\n[00:11.5]End\n";
        let (segments, notes) = segments(text.as_bytes(), None).unwrap();
        let short: Vec<_> = segments
            .iter()
            .map(|segment| (segment.start, segment.end, segment.text.as_str()))
            .collect();
        assert_eq!(
            short,
            [
                (1.0, 3.0, "One"),
                (3.0, 5.0, "Chorus"),
                (9.0, 11.0, "Chorus"),
                (11.0, 12.0, "End")
            ]
        );
        assert_eq!((notes.open_ends, notes.skipped()), (1, 0));
    }

    #[test]
    fn an_offset_is_bounded_in_seconds() {
        for (offset, start) in [("-4000000000", 4_000_001.0), ("-4e12", 1.0), ("NaN", 1.0)] {
            let text = format!("[offset:{offset}]\n[00:01.00]a\n");
            let (segments, _) = segments(text.as_bytes(), None).unwrap();
            assert_eq!(segments[0].start, start, "{offset}");
        }
    }

    #[test]
    fn words_with_times_are_kept() {
        let text = "[00:01.00]<00:01.00>Two <00:01.50>words<00:02.00>\n[00:04.00]x\n";
        let (segments, _) = segments(text.as_bytes(), None).unwrap();
        assert_eq!((segments[0].text.as_str(), segments[0].words.len()), ("Two words", 2));
        assert_eq!((segments[0].words[1].start, segments[0].words[1].end), (1.5, 2.0));
        let many = format!("{}x\n[00:01.00]y", "[00:02.00]".repeat(101));
        let (segments, notes) = super::super::segments(many.as_bytes(), None).unwrap();
        assert_eq!((segments.len(), notes.skipped()), (1, 1));
    }
}
