//! The cues of a subtitle file or a transcript, for those who look at it: read as nodes read them, judged as
//! `wservice.check_subtitles` judges them.

use onceover_wire::{CueItem, CueList};

use super::{
    spoken::millis,
    subtitles::check_subtitles::reading_speed,
    timed_text::{Document, RawCue, shown_lines},
};

/// Letters that a viewer reads in a second: the default of `wservice.check_subtitles`.
const READABLE: f64 = 20.0;

/// Reads a file of any format that nodes read. The error is the second half of a sentence. Blocks.
pub fn read_cues(bytes: &[u8]) -> Result<CueList, String> {
    let (raw, notes) = Document::read(bytes, None)?.raw_cues()?;
    let mut list = CueList {
        left_out: notes.skipped() as u64,
        max_characters_per_second: READABLE,
        ..CueList::default()
    };
    let mut before: Option<&RawCue> = None;
    for cue in &raw {
        let item = describe_cue(cue, before);
        list.overlaps += u64::from(item.gap.is_some_and(|gap| gap < 0.0));
        list.too_fast += u64::from(item.characters_per_second.is_some_and(|speed| speed > READABLE));
        list.cues.push(item);
        before = Some(cue);
    }
    Ok(list)
}

/// Describes a cue beside the one above it.
fn describe_cue(cue: &RawCue, before: Option<&RawCue>) -> CueItem {
    let lines = shown_lines(&cue.text);
    let seconds = millis(cue.end - cue.start);
    CueItem {
        start: millis(cue.start),
        end: millis(cue.end),
        characters_per_second: (seconds > 0.0).then(|| millis(reading_speed(&lines, seconds))),
        gap: before.map(|before| millis(cue.start - before.end)),
        text: lines.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn cues_have_their_speed_and_what_overlaps_is_counted() {
        let srt = "1\n00:00:01,000 --> 00:00:03,000\nA <i>good</i> line.\n\n\
            2\n00:00:02,500 --> 00:00:03,500\n\u{d55c}\u{ad6d}\u{c5b4} \u{c790}\u{b9c9}\n\n\
            00:00:xx,000 --> 00:00:29,000\nNobody knows when\n\n\
            3\n00:00:05,000 --> 00:00:06,000\nSo many letters that nobody reads it\n\n\
            4\n00:00:07,000 --> 00:00:07,000\nNo time\n";
        let list = read_cues(srt.as_bytes()).unwrap();
        assert_eq!((list.overlaps, list.too_fast, list.left_out), (1, 1, 1));
        let cues: Vec<_> = list
            .cues
            .iter()
            .map(|cue| (cue.characters_per_second, cue.gap))
            .collect();
        // Two words of wide letters take eleven columns with the blank between them.
        let expected = [
            (Some(6.0), None),
            (Some(11.0), Some(-0.5)),
            (Some(36.0), Some(1.5)),
            (None, Some(1.0)),
        ];
        assert_eq!(cues, expected);
        assert_eq!(list.cues[0].text, "A good line.");
    }

    #[test]
    fn the_speed_that_can_be_read_is_that_of_the_node() {
        let fixture = Fixture::of_node("wservice.check_subtitles");
        let parameters = &fixture.context.node.parameters;
        let speed = parameters
            .iter()
            .find(|parameter| parameter.name == "max_characters_per_second");
        assert_eq!(speed.unwrap().default, Some(serde_json::json!(READABLE as u64)));
    }

    #[test]
    fn what_is_no_text_with_times_says_why() {
        assert!(read_cues(b"Dear reader").unwrap_err().contains("no cues"));
        assert!(read_cues(b"").is_err());
    }
}
