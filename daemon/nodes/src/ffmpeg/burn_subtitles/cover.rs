//! Subtitles that are in the picture already: the strip they lie in is painted over or blurred while new ones are
//! shown, so that no two texts lie on top of each other.

use super::is_shown;
use crate::{
    ffmpeg::{area::Area, joined_spans},
    input::Input,
    spoken::Cue,
};
use onceover_run::RunError;

/// Seconds before and after a cue for which the strip is covered as well: a cue that was read is exact to a frame.
const BEYOND: f64 = 0.05;
/// Seconds between two cues up to which the strip stays covered.
const STAYS_COVERED: f64 = 0.3;
/// Most spans of time that one filter is given: an argument of a program has 128 KiB at most.
const MOST_SPANS: usize = 2000;
/// The blur, in heights of the strip: letters are about half as high, their strokes a tenth.
const BLUR: f64 = 0.25;

/// How the strip is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CoverKind {
    Box,
    Blur,
}

/// The strip that is covered, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cover {
    kind: CoverKind,
    area: Area,
}

impl Cover {
    /// Returns the one that a request asks for, in a picture of this size; `None` if the picture stays as it is.
    pub(super) fn from_input(input: &Input<'_>, size: (u32, u32)) -> Result<Option<Self>, RunError> {
        let kind = match input.text("cover") {
            Some("box") => CoverKind::Box,
            Some("blur") => CoverKind::Blur,
            _ => return Ok(None),
        };
        let area = Area::from_input(input, "cover_area", size)?.in_whole_chroma(size);
        Ok(Some(Self { kind, area }))
    }

    /// `[x1, y1, x2, y2]`
    pub(super) fn corners(&self) -> [u32; 4] {
        self.area.corners()
    }

    /// Returns the pixels between the lower edge of a picture of that height and that of a text that lies in the strip.
    pub(super) fn margin(&self, height: u32) -> u32 {
        let (_, own_height) = self.area.size();
        (height - self.area.bottom + own_height / 10).max(1)
    }

    /// Returns the filters that cover the strip while one of the cues is shown; `None` where none is.
    pub(super) fn filters(&self, cues: &[Cue]) -> Option<String> {
        let spans = spans(cues);
        if spans.is_empty() {
            return None;
        }
        let shown: Vec<_> = spans
            .iter()
            .map(|(start, end)| format!("between(t,{start:.3},{end:.3})"))
            .collect();
        let when = format!("enable='{}'", shown.join("+"));
        let ((width, height), Area { left, top, .. }) = (self.area.size(), self.area);
        Some(match self.kind {
            CoverKind::Box => format!("drawbox=x={left}:y={top}:w={width}:h={height}:color=black:t=fill:{when}"),
            CoverKind::Blur => format!(
                "split[whole][part];[part]crop=w={width}:h={height}:x={left}:y={top}:exact=1,gblur=sigma={:.2}:steps=2[blurred];\
                 [whole][blurred]overlay=x={left}:y={top}:{when}",
                (f64::from(height) * BLUR).max(1.0)
            ),
        })
    }
}

/// Returns when the strip is covered, in order: as exactly as the number of spans allows.
fn spans(cues: &[Cue]) -> Vec<(f64, f64)> {
    let mut shown: Vec<_> = cues
        .iter()
        .filter(|cue| is_shown(cue))
        .map(|cue| ((cue.start - BEYOND).max(0.0), cue.end + BEYOND))
        .collect();
    shown.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut gap = STAYS_COVERED;
    loop {
        let joined = joined_spans(&shown, gap);
        if joined.len() <= MOST_SPANS {
            return joined;
        }
        gap *= 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spoken::{cue, millis};

    fn spans_of(times: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let cues: Vec<_> = times
            .iter()
            .map(|(start, end)| cue::cue(1, *start, *end, "x"))
            .collect();
        spans(&cues)
            .into_iter()
            .map(|(start, end)| (millis(start), millis(end)))
            .collect()
    }

    #[test]
    fn the_strip_is_covered_while_cues_are_shown_and_in_the_short_pauses_between_them() {
        let times = [(5.0, 6.0), (0.0, 2.0), (2.3, 3.0), (8.0, 8.0)];
        assert_eq!(spans_of(&times), [(0.0, 3.05), (4.95, 6.05)]);
        assert!(spans_of(&[]).is_empty());
        let blank = [" \n", ""].map(|text| cue::cue(1, 1.0, 2.0, text));
        assert!(spans(&blank).is_empty());
    }

    #[test]
    fn of_very_many_cues_there_are_no_more_spans_than_an_argument_holds() {
        let times: Vec<_> = (0..20_000)
            .map(|at| (f64::from(at) * 2.0, f64::from(at) * 2.0 + 1.0))
            .collect();
        let spans = spans_of(&times);
        assert!((1..=MOST_SPANS).contains(&spans.len()), "{}", spans.len());
        assert_eq!((spans[0].0, spans[spans.len() - 1].1), (0.0, 39_999.05));
    }
}
