//! Loudness by EBU R128: it is measured, then brought to the requested value by one gain for the whole, so that quiet
//! parts stay quiet.

use serde_json::{Value, json};

/// Below this there is nothing to be heard, and nothing to be made louder.
const SILENCE: f64 = -69.0;

/// dB of full scale that no sample may exceed, between samples as well.
const MOST_PEAK: f64 = -1.5;

/// What ffmpeg's filter `ebur128` measured for the whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Loudness {
    /// LUFS.
    pub(super) integrated: f64,
    /// LU.
    pub(super) range: f64,
    /// dB of full scale.
    pub(super) peak: f64,
}

impl Loudness {
    /// Reads the summary that the filter writes last; None: it wrote none.
    pub(super) fn parse(lines: &[String]) -> Option<Self> {
        let start = lines.iter().rposition(|line| line.contains("Summary:"))?;
        let number = |name: &str| {
            let line = lines[start..].iter().find_map(|line| line.trim().strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        Some(Self {
            integrated: number("I:")?,
            range: number("LRA:").unwrap_or(0.0),
            peak: number("Peak:").filter(|peak| peak.is_finite()).unwrap_or(0.0),
        })
    }

    pub(super) fn is_silence(&self) -> bool {
        self.integrated <= SILENCE
    }

    /// Returns the dB to the target.
    pub(super) fn gain(&self, target: f64) -> f64 {
        target - self.integrated
    }

    /// Returns the filters that bring it there. Peaks that would be too high are held, which is the only thing that is
    /// not linear.
    pub(super) fn filters(&self, target: f64) -> String {
        let gain = self.gain(target);
        let mut filters = format!("volume={gain:.2}dB");
        if self.is_limited(target) {
            let limit = 10_f64.powf(MOST_PEAK / 20.0);
            filters.push_str(&format!(",alimiter=level=0:attack=2:release=60:limit={limit:.4}"));
        }
        filters
    }

    pub(super) fn is_limited(&self, target: f64) -> bool {
        self.peak + self.gain(target) > MOST_PEAK
    }

    pub(super) fn json(&self) -> Value {
        json!({"integrated_lufs": self.integrated, "range_lu": self.range, "peak_dbfs": self.peak})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_read_and_peaks_decide_whether_they_are_held() {
        let text = "[Parsed_ebur128_0 @ 0x1] Summary:\n\n  Integrated loudness:\n    I:         -21.9 LUFS\n    Threshold: -32.0 LUFS\n\n\
            \x20 Loudness range:\n    LRA:         4.5 LU\n    Threshold: -41.0 LUFS\n\n  True peak:\n    Peak:      -10.2 dBFS";
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let loudness = Loudness::parse(&lines).unwrap();
        assert_eq!(
            (loudness.integrated, loudness.range, loudness.peak),
            (-21.9, 4.5, -10.2)
        );
        assert_eq!(loudness.filters(-20.0), "volume=1.90dB");
        assert!(loudness.filters(-12.0).contains("alimiter"));
        assert_eq!(Loudness::parse(&lines[..1]), None);
    }
}
