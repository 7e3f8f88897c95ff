//! Cues of a subtitle file, as the nodes have them that cut and correct by subtitles.

use serde_json::Value;

/// One cue; times in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cue {
    pub(crate) id: u64,
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) text: String,
    pub(crate) speaker: Option<String>,
    pub(crate) confidence: Option<Value>,
    pub(crate) words: Option<Value>,
}

impl Cue {
    pub(crate) fn duration(&self) -> f64 {
        self.end - self.start
    }
}

/// A cue for tests.
#[cfg(test)]
pub(crate) fn cue(id: u64, start: f64, end: f64, text: &str) -> Cue {
    Cue {
        id,
        start,
        end,
        text: text.into(),
        speaker: None,
        confidence: None,
        words: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timed_text;

    fn parse(bytes: &[u8]) -> Result<Vec<Cue>, String> {
        timed_text::cues(bytes, None).map(|(cues, _)| cues)
    }

    fn short(cues: &[Cue]) -> Vec<(u64, f64, f64, Option<&str>, &str)> {
        cues.iter()
            .map(|cue| (cue.id, cue.start, cue.end, cue.speaker.as_deref(), cue.text.as_str()))
            .collect()
    }

    #[test]
    fn d43_srt_cues_are_sorted_renumbered_and_know_their_speaker() {
        let srt = "\u{feff}7\r\n00:00:03,000 --> 00:00:04,500\r\n[SPEAKER_01] two\r\nlines\r\n\r\n\
            8\r\n0:00:01.000 --> 0:00:01.000\r\n[music] la\r\n\r\n\
            9\r\n00:00:09,000 --> 00:00:08,000\r\nbackwards\r\n\r\n";
        let cues = parse(srt.as_bytes()).unwrap();
        assert_eq!(
            short(&cues),
            [
                (1, 1.0, 1.0, None, "[music] la"),
                (
                    2,
                    3.0,
                    4.5,
                    Some("SPEAKER_01"),
                    "two\r\nlines".replace('\r', "").as_str()
                ),
            ]
        );
    }

    #[test]
    fn json_cues_come_from_segments_or_an_array() {
        let object =
            r#"{"segments":[{"id":5,"start":1,"end":2.5,"text":" a ","speaker":"Dr. Lee","speaker_confidence":0.5}]}"#;
        let cues = parse(object.as_bytes()).unwrap();
        assert_eq!(short(&cues), [(5, 1.0, 2.5, Some("Dr. Lee"), "a")]);
        assert_eq!(cues[0].confidence, Some(0.5.into()));
        let array = r#"[{"id":9,"startTime":0.5,"endTime":1,"text":"[SPEAKER_02] b"}]"#;
        let cues = parse(array.as_bytes()).unwrap();
        assert_eq!(short(&cues), [(1, 0.5, 1.0, Some("SPEAKER_02"), "b")]);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let error = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(error("").contains("no cues"));
        assert!(error("{").contains("not JSON"));
        assert!(error("{}").contains("segments"));
        assert!(error(r#"[{"end":1}]"#).contains("record 1 has no number 'start'"));
    }
}
