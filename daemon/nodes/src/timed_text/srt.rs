//! SRT as it is found: with blank lines inside cues, without blank lines between them, with broken times.

use super::{
    record::{Record, Records},
    times::{is_broken_span, span},
};

pub(super) fn parse(text: &str) -> Records {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let heads = heads(&lines);
    let mut found = Records::default();
    for (at, head) in heads.iter().enumerate() {
        let number = at + 1;
        let Some((start, end)) = span(lines[head.times]) else {
            found.skip(
                number,
                head.times + 1,
                format!("has times that cannot be read: '{}'", shortened(lines[head.times])),
            );
            continue;
        };
        let until = heads.get(at + 1).map_or(lines.len(), |next| next.first);
        found.records.push(Record {
            number,
            line: head.times + 1,
            start,
            end: Some(end),
            marked: lines[head.times + 1..until].join("\n"),
            ..Record::default()
        });
    }
    found
}

/// Where a cue begins: the line of its times, and the line of its number where it has one.
struct Head {
    first: usize,
    times: usize,
}

fn heads(lines: &[&str]) -> Vec<Head> {
    let is_number = |at: usize| !lines[at].is_empty() && lines[at].bytes().all(|byte| byte.is_ascii_digit());
    let is_blank = |at: usize| lines[at].is_empty();
    // A number stands alone: at the beginning or after a blank line.
    let numbered_block = |at: usize| at > 0 && is_number(at - 1) && (at < 2 || is_blank(at - 2));
    let times: Vec<_> = (0..lines.len())
        .filter(|&at| {
            let line = lines[at];
            line.contains("-->") && (span(line).is_some() || is_broken_span(line) || numbered_block(at))
        })
        .collect();
    // Its number, with a blank line below it in some files.
    let number_of = |at: usize| {
        if at > 0 && is_number(at - 1) {
            return Some(at - 1);
        }
        let is_apart = at > 1 && is_blank(at - 1) && numbered_block(at - 1);
        is_apart.then(|| at - 2)
    };
    // A line of digits before the times is text in a file whose cues have no numbers.
    let with_number = times.iter().filter(|at| number_of(**at).is_some()).count();
    let is_numbered = with_number * 2 > times.len();
    let mut floor = 0;
    times
        .into_iter()
        .map(|times| {
            let number = number_of(times).filter(|number| is_numbered && *number >= floor);
            let first = number.unwrap_or(times);
            floor = times + 1;
            Head { first, times }
        })
        .collect()
}

fn shortened(line: &str) -> String {
    const LONGEST: usize = 60;
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::timed_text::segments;

    fn texts(text: &str) -> Vec<String> {
        let (segments, _) = segments(text.as_bytes(), None).unwrap();
        segments.into_iter().map(|segment| segment.text).collect()
    }

    const PLAIN: &str = "1\n00:00:01,000 --> 00:00:02,500\nOne\nline two\n\n2\n00:00:03,000 --> 00:00:04,500\nTwo\n\n\
        3\n00:00:05,000 --> 00:00:06,500\nThree";

    #[test]
    fn line_ends_and_blanks_of_all_kinds_are_read() {
        for text in [
            PLAIN.to_owned(),
            format!("\u{feff}{}", PLAIN.replace('\n', "\r\n")),
            PLAIN.replace('\n', "\r"),
            PLAIN.replacen("\n\n", "\r\n\r\n", 1),
            format!("\n\n \n{PLAIN}"),
            PLAIN.replace("\n\n", "\n \n"),
            PLAIN.replace('\n', " \t\n"),
            PLAIN.replace("\n\n", "\n\n\n\n"),
            PLAIN.replace("\n\n", "\n"),
            PLAIN.replace("\n00:", "\n\n00:"),
            format!("\u{feff}\u{feff}{PLAIN}"),
        ] {
            assert_eq!(texts(&text), ["One\nline two", "Two", "Three"], "{text:?}");
        }
    }

    #[test]
    fn numbers_that_are_text_stay_text_and_blank_lines_end_no_cue() {
        let numbers = "1\n00:00:01,000 --> 00:00:02,500\nHow many?\n\n2\n00:00:03,000 --> 00:00:04,500\n40\n\n\
            3\n00:00:05,000 --> 00:00:06,500\nForty\n2024\n\n4\n00:00:07,000 --> 00:00:07,000\n\n\
            5\n00:00:08,000 --> 00:00:09,500\n3\n2\n1\n\n6\n00:00:10,000 --> 00:00:11,500\nGo\n";
        assert_eq!(texts(numbers), ["How many?", "40", "Forty\n2024", "3\n2\n1", "Go"]);
        let unnumbered = "00:00:01,000 --> 00:00:02,500\n40\n00:00:03,000 --> 00:00:04,500\nTwo";
        assert_eq!(texts(unnumbered), ["40", "Two"]);
        let blank = "1\n00:00:01,000 --> 00:00:02,500\nJe suis au boulot,\n\nj'aurai du retard.\n\n\
            305\n00:00:03 --> 00:00:04\nJohn\n\n\nall the stuff\n\n306\n00:00:05,000 --> 00:00:06,500\n\nFine!\n\n";
        assert_eq!(
            texts(blank),
            ["Je suis au boulot,\nj'aurai du retard.", "John\nall the stuff", "Fine!"]
        );
        assert_eq!(
            texts("1\n00:00:01,0 --> 00:00:02,0\nfrom a --> to b"),
            ["from a --> to b"]
        );
    }

    #[test]
    fn one_broken_cue_costs_only_itself_and_is_named() {
        for times in [
            "-00:00:01,500 --> 00:00:00,500",
            "00:00:0O,100 --> 00:00:01,000",
            "00:00:01,000 -->",
            "go --> there",
            "00:00:09,000 --> 00:00:08,000",
        ] {
            let text = format!(
                "1\n00:00:00,000 --> 00:00:00,900\nOne\n\n2\n{times}\nlost\n\n3\n00:00:03,000 --> 00:00:04,500\nThree\n"
            );
            let (segments, notes) = segments(text.as_bytes(), None).unwrap();
            let texts: Vec<_> = segments.iter().map(|segment| segment.text.as_str()).collect();
            assert_eq!(
                (texts.as_slice(), notes.skipped()),
                (&["One", "Three"][..], 1),
                "{times}"
            );
        }
        let error = segments(b"1\ngo --> there\nx\n", None).unwrap_err();
        assert!(
            error.contains("record 1 (line 2)") && error.contains("go --> there"),
            "{error}"
        );
    }

    #[test]
    fn markup_is_beside_the_text_and_the_speaker_known_behind_it() {
        let text = "1\n00:00:01,000 --> 00:00:02,500\n{\\an8}<i>Hello</i> you\n\n\
            2\n00:00:03,000 --> 00:00:04,500\n{\\an8}[SPEAKER_01] Tom &amp; Jerry\n";
        let (segments, _) = segments(text.as_bytes(), None).unwrap();
        assert_eq!(
            (segments[0].text.as_str(), segments[0].markup.as_deref()),
            ("Hello you", Some("{\\an8}<i>Hello</i> you"))
        );
        assert_eq!(
            (segments[1].text.as_str(), segments[1].speaker.as_deref()),
            ("Tom & Jerry", Some("SPEAKER_01"))
        );
        assert_eq!(segments[1].markup.as_deref(), Some("{\\an8}Tom & Jerry"));
    }
}
