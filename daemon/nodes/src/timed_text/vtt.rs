//! WebVTT: voices become speakers; notes, styles and regions are omitted.

use super::{
    record::{Record, Records},
    times::{is_broken_span, span},
};

pub(super) fn parse(text: &str) -> Records {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut found = Records::default();
    let mut number = 0;
    // The last cue continues after a blank line, unless something else begins there.
    let mut is_open = false;
    let mut at = lines.iter().position(|line| line.is_empty()).unwrap_or(lines.len());
    // A cue may follow the header without a blank line.
    if let Some(early) = lines[..at].iter().position(|line| line.contains("-->")) {
        at = early;
    }
    while at < lines.len() {
        let end = (at..lines.len())
            .find(|&line| lines[line].trim().is_empty())
            .unwrap_or(lines.len());
        let block = &lines[at..end];
        let begins_with = |word: &str| {
            block.first().is_some_and(|line| {
                line.strip_prefix(word)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', ':']))
            })
        };
        if ["NOTE", "STYLE", "REGION"].iter().any(|word| begins_with(word)) {
            is_open = false;
        } else if block.iter().any(|line| line.contains("-->")) {
            number = cues(&lines, at, end, number, &mut found);
            // What follows a head that cannot be read is not of the cue before.
            is_open = found.records.last().is_some_and(|last| last.number == number);
        } else if let Some(last) = found.records.last_mut().filter(|_| is_open && !block.is_empty()) {
            last.marked.push('\n');
            last.marked.push_str(&block.join("\n"));
        }
        at = end + 1;
    }
    for record in &mut found.records {
        record.speaker = voice(&record.marked);
    }
    found
}

/// Reads the cues of a block, more than one where the blank line between them is missing. Returns the number of the
/// last.
fn cues(lines: &[&str], from: usize, to: usize, mut number: usize, found: &mut Records) -> usize {
    let times: Vec<_> = (from..to)
        .filter(|&at| {
            span(lines[at]).is_some() || is_broken_span(lines[at]) || (lines[at].contains("-->") && at <= from + 1)
        })
        .collect();
    for (place, &at) in times.iter().enumerate() {
        number += 1;
        let until = times.get(place + 1).copied().unwrap_or(to);
        match span(lines[at]) {
            Some((start, end)) => found.records.push(Record {
                number,
                line: at + 1,
                start,
                end: Some(end),
                marked: lines[at + 1..until].join("\n"),
                ..Record::default()
            }),
            None => found.skip(
                number,
                at + 1,
                format!("has times that cannot be read: '{}'", lines[at].trim()),
            ),
        }
    }
    number
}

/// Returns the name in `<v Ann>`, if one voice speaks all of the cue.
fn voice(text: &str) -> Option<String> {
    let mut names = text.split("<v").skip(1).filter_map(|rest| {
        let (tag, _) = rest.split_once('>')?;
        let name = tag.split_once([' ', '\t'])?.1.trim();
        (rest.starts_with(['.', ' ', '\t']) && !name.is_empty()).then_some(name)
    });
    let first = names.next()?;
    names.all(|name| name == first).then(|| super::markup::plain(first))
}

#[cfg(test)]
mod tests {
    use crate::timed_text::segments;

    #[test]
    fn notes_styles_and_settings_are_left_and_voices_are_speakers() {
        let text = "WEBVTT - title\nKind: captions\n\nSTYLE\n::cue { color: red }\n\nNOTE a remark\nof two lines\n\n\
            intro\n00:01.000 --> 00:02.500 align:start position:0%\n<v Ann>Hello <c.yellow>you</c></v>\n\n\
            2\n00:00:03.000 --> 00:00:04.500\nTwo &amp; three\n\nNOTE last\n\n\
            00:00:05.000 --> 00:00:06.500\n<i>Three</i>\n\nand more\n\n3\nhalf --> 00:00:09.000\nlost\n";
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
                (1.0, 2.5, Some("Ann"), "Hello you"),
                (3.0, 4.5, None, "Two & three"),
                (5.0, 6.5, None, "Three\nand more"),
            ]
        );
        assert_eq!(segments[2].markup.as_deref(), Some("<i>Three</i>\nand more"));
        assert_eq!(notes.skipped(), 1);
    }

    #[test]
    fn cues_without_a_blank_line_between_them_are_told_apart() {
        let text = "WEBVTT\n00:01.000 --> 00:02.000\na\n00:02.000 --> 00:03.000\nb\n";
        let (segments, _) = segments(text.as_bytes(), None).unwrap();
        let texts: Vec<_> = segments.iter().map(|segment| segment.text.as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
    }

    #[test]
    fn what_follows_a_cue_that_cannot_be_read_is_not_of_the_one_before() {
        let text = "WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n\nhalf --> 00:04.000\nlost\n\nand its second part\n";
        let (segments, _) = segments(text.as_bytes(), None).unwrap();
        assert_eq!(segments.len(), 1);
        assert_eq!(segments[0].text, "Hello");
    }
}
