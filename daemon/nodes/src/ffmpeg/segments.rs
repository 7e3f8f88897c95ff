//! Which cues are cut from a sound file, and what the pieces are called. No files are touched here.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use crate::spoken::{Cue, millis};

/// Which cues are kept and how they are grouped.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Selection {
    /// Seconds, inclusive.
    pub(super) min: f64,
    pub(super) max: f64,
    /// Also those shorter than `min`.
    pub(super) include_short: bool,
    pub(super) by_speaker: bool,
}

/// One piece to cut.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AudioSegment {
    pub(super) cue: Cue,
    /// Below the node's folder: `segments/segment_001_SPEAKER_00.wav`.
    pub(super) file: PathBuf,
}

impl Selection {
    fn keeps(&self, cue: &Cue) -> bool {
        // Whole milliseconds: 3.1 - 2.1 is not 1.
        let duration = millis(cue.duration());
        let long_enough = self.include_short || duration >= self.min;
        duration > 0.0 && cue.start >= 0.0 && long_enough && duration <= self.max
    }

    /// Returns the cues that get no piece.
    pub(super) fn left_out(&self, cues: &[Cue]) -> Vec<Cue> {
        cues.iter().filter(|cue| !self.keeps(cue)).cloned().collect()
    }

    /// Returns the pieces in the order of their ids, each with its own file.
    pub(super) fn segments(&self, cues: Vec<Cue>, format: &str) -> Vec<AudioSegment> {
        let mut kept: Vec<_> = cues.into_iter().filter(|cue| self.keeps(cue)).collect();
        kept.sort_by_key(|cue| cue.id);
        let mut taken = HashSet::new();
        let segment = |cue: Cue| {
            let speaker = cue.speaker.as_deref().map(safe_name);
            let folder = match &speaker {
                Some(speaker) if self.by_speaker => Path::new("by_speaker").join(speaker),
                _ => "segments".into(),
            };
            let name = match &speaker {
                Some(speaker) => format!("segment_{:03}_{speaker}", cue.id),
                None => format!("segment_{:03}", cue.id),
            };
            // Ids of a JSON file may repeat.
            let file = std::iter::once(String::new())
                .chain((2..).map(|n| format!("_{n}")))
                .map(|suffix| folder.join(format!("{name}{suffix}.{format}")))
                .find(|file| taken.insert(file.clone()))
                .expect("numbers do not run out");
            AudioSegment { cue, file }
        };
        kept.into_iter().map(segment).collect()
    }
}

/// Returns a speaker's label as part of a file name: letters, digits and `_`.
fn safe_name(label: &str) -> String {
    const LONGEST: usize = 60;
    label
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoken::cue;

    fn cue(id: u64, start: f64, end: f64, speaker: Option<&str>) -> Cue {
        Cue {
            speaker: speaker.map(Into::into),
            ..cue::cue(id, start, end, "")
        }
    }

    fn selection() -> Selection {
        Selection {
            min: 1.0,
            max: 30.0,
            include_short: false,
            by_speaker: true,
        }
    }

    fn files(selection: &Selection, cues: Vec<Cue>) -> Vec<String> {
        selection
            .segments(cues, "wav")
            .into_iter()
            .map(|segment| segment.file.display().to_string())
            .collect()
    }

    #[test]
    fn the_worked_example_keeps_two_of_four() {
        let cues = vec![
            cue(1, 0.5, 2.0, Some("SPEAKER_00")),
            cue(2, 2.2, 2.9, None),
            cue(3, 3.0, 36.5, None),
            cue(4, 37.0, 39.0, None),
        ];
        assert_eq!(
            files(&selection(), cues.clone()),
            [
                "by_speaker/SPEAKER_00/segment_001_SPEAKER_00.wav",
                "segments/segment_004.wav"
            ]
        );
        let short = Selection {
            include_short: true,
            ..selection()
        };
        assert_eq!(files(&short, cues).len(), 3);
    }

    #[test]
    fn limits_include_cues_of_exactly_that_length() {
        let cues = vec![cue(1, 2.1, 3.1, None), cue(2, 4.1, 34.1, None), cue(3, 5.0, 5.0, None)];
        assert_eq!(selection().segments(cues, "wav").len(), 2);
    }

    #[test]
    fn d33_a_speakers_label_cannot_leave_the_folder() {
        let cues = ["../../etc", "..", "/", "Dr. Lee", "안녕"]
            .iter()
            .zip(1..)
            .map(|(label, id)| cue(id, 0.0, 2.0, Some(label)))
            .collect();
        assert_eq!(
            files(&selection(), cues),
            [
                "by_speaker/______etc/segment_001_______etc.wav",
                "by_speaker/__/segment_002___.wav",
                "by_speaker/_/segment_003__.wav",
                "by_speaker/Dr__Lee/segment_004_Dr__Lee.wav",
                "by_speaker/안녕/segment_005_안녕.wav",
            ]
        );
    }

    #[test]
    fn pieces_are_ordered_by_id_and_none_overwrites_another() {
        let cues = vec![cue(7, 0.0, 2.0, None), cue(2, 0.0, 2.0, None), cue(7, 3.0, 5.0, None)];
        let flat = Selection {
            by_speaker: false,
            ..selection()
        };
        assert_eq!(
            files(&flat, cues),
            [
                "segments/segment_002.wav",
                "segments/segment_007.wav",
                "segments/segment_007_2.wav"
            ]
        );
    }
}
