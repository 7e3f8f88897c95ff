//! The part of the picture that holds the subtitles, as a request names it.

use crate::input::Input;
use onceover_run::RunError;

/// Pixels from the left and the top; right and bottom are the first outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) right: u32,
    pub(super) bottom: u32,
}

impl Area {
    /// Returns the one that a parameter of the request names, for a picture of this size.
    pub(super) fn from_input(
        input: &Input<'_>,
        parameter: &str,
        (width, height): (u32, u32),
    ) -> Result<Self, RunError> {
        let numbers = input.numbers(parameter)?.ok_or_else(|| input.missing(parameter))?;
        let refused = |why: &str| {
            Err(RunError::failed(format!(
                "input_data.{parameter} is {numbers:?}, but it must be [x1, y1, x2, y2] in pixels: {why}"
            )))
        };
        let whole = |number: &f64| number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number);
        let [left, top, right, bottom] = numbers[..] else {
            return refused("four numbers");
        };
        if !numbers.iter().all(whole) {
            return refused("whole numbers from 0");
        }
        let [left, top, right, bottom] = [left, top, right, bottom].map(|number| number as u32);
        if left >= right || top >= bottom {
            return refused("x2 is more than x1, and y2 more than y1");
        }
        if right > width || bottom > height {
            return refused(&format!("the picture is {width} wide and {height} high"));
        }
        Ok(Self {
            left,
            top,
            right,
            bottom,
        })
    }

    /// `[x1, y1, x2, y2]`
    pub(super) fn corners(self) -> [u32; 4] {
        [self.left, self.top, self.right, self.bottom]
    }

    pub(super) fn size(self) -> (u32, u32) {
        (self.right - self.left, self.bottom - self.top)
    }

    /// With a few pixels more where samples of colour, each of which stands for two pixels each way, would be cut.
    pub(super) fn in_whole_chroma(self, (width, height): (u32, u32)) -> Self {
        Self {
            left: self.left - self.left % 2,
            top: self.top - self.top % 2,
            right: self.right.next_multiple_of(2).min(width),
            bottom: self.bottom.next_multiple_of(2).min(height),
        }
    }

    /// Exactly these pixels, where ffmpeg would rather move to even ones. Frames then follow each other at equal
    /// times, as the encoder wants it, whatever the video's times are.
    pub(super) fn filter(self) -> String {
        let (width, height) = self.size();
        format!(
            "crop=w={width}:h={height}:x={}:y={}:exact=1,settb=1/25,setpts=N",
            self.left, self.top
        )
    }
}
