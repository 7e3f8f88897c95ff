//! The voice as one track on the clock of the video, and how loud the original is beside it.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{
    ffmpeg::{Ffmpeg, joined_spans, succeeded},
    speech::wav::{self, WavWriter},
};
use onceover_run::{RunContext, RunError};

/// Samples a second of the dub.
pub(super) const RATE: u32 = 48_000;

/// Values a second of the envelope, and the seconds the original takes to become quiet and to come back.
const ENVELOPE_RATE: u32 = 1000;
const FALL: f64 = 0.15;
const RISE: f64 = 0.35;
/// Up to so many seconds between two lines it stays quiet.
const STAYS_QUIET: f64 = 0.8;

/// A WAV file of silence into which clips are laid.
pub(super) struct VoiceTrack {
    file: File,
    path: PathBuf,
    samples: u64,
}

impl VoiceTrack {
    pub(super) fn create(path: &Path, seconds: f64) -> Result<Self, RunError> {
        let samples = (seconds * f64::from(RATE)).round() as u64;
        WavWriter::silence(path, RATE, samples)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|why| RunError::of_file(format_args!("cannot write {}", path.display()), &why))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            samples,
        })
    }

    /// Adds sound to what is there; what would lie behind the end is cut.
    pub(super) fn lay(&mut self, samples: &[i16], at: f64) -> Result<(), RunError> {
        let first = (at.max(0.0) * f64::from(RATE)).round() as u64;
        let fits = self.samples.saturating_sub(first).min(samples.len() as u64) as usize;
        let mut bytes = vec![0; fits * 2];
        let place = SeekFrom::Start(wav::HEADER as u64 + first * 2);
        let mut lay = || {
            self.file.seek(place)?;
            self.file.read_exact(&mut bytes)?;
            let mixed = wav::samples(&bytes);
            let mixed = mixed.iter().zip(samples).map(|(one, other)| one.saturating_add(*other));
            let mixed: Vec<_> = mixed.collect();
            self.file.seek(place)?;
            self.file.write_all(&wav::bytes(&mixed))
        };
        lay().map_err(|why| RunError::of_file(format_args!("cannot write {}", self.path.display()), &why))
    }
}

/// Writes how loud the original is: 1 where no clip is heard, `quiet` while one is. Spans are in order of their
/// starts.
pub(super) fn write_envelope(path: &Path, seconds: f64, spans: &[(f64, f64)], quiet: f64) -> Result<(), RunError> {
    let spans = joined_spans(spans, STAYS_QUIET);
    let mut spans = spans.iter().peekable();
    let mut file = WavWriter::create(path, ENVELOPE_RATE)?;
    let step = 1.0 / f64::from(ENVELOPE_RATE);
    let mut values = Vec::new();
    let mut time = 0.0;
    // A little longer than what it is laid on.
    while time < seconds + 1.0 {
        while spans.peek().is_some_and(|(_, end)| end + RISE < time) {
            spans.next();
        }
        let loud = spans.peek().map_or(1.0, |(start, end)| {
            let before = (start - time) / FALL;
            let after = (time - end) / RISE;
            before.max(after).clamp(0.0, 1.0)
        });
        let gain = quiet + (1.0 - quiet) * loud;
        values.push((gain * f64::from(i16::MAX)).round() as i16);
        time += step;
    }
    file.add(&values)?;
    file.finish()?;
    Ok(())
}

/// Plays clips faster or slower.
pub(super) struct Stretcher<'a> {
    context: &'a RunContext,
    scratch: PathBuf,
    filter: Option<&'static str>,
}

impl<'a> Stretcher<'a> {
    pub(super) fn new(context: &'a RunContext, scratch: &Path) -> Self {
        Self {
            context,
            scratch: scratch.to_owned(),
            filter: None,
        }
    }

    /// Returns the same sound at another speed and the same pitch.
    pub(super) async fn played(&mut self, samples: Vec<i16>, speed: f64) -> Result<Vec<i16>, RunError> {
        if speed == 1.0 {
            return Ok(samples);
        }
        let filter = match self.filter {
            Some(filter) => filter,
            None => *self.filter.insert(stretcher(self.context).await?),
        };
        let (from, to) = (self.scratch.join("spoken.wav"), self.scratch.join("played.wav"));
        let mut file = WavWriter::create(&from, RATE)?;
        file.add(&samples)?;
        file.finish()?;
        let exit = Ffmpeg::new()
            .input(&from)
            .args([
                "-af",
                &format!("{filter}={speed:.4}"),
                "-ar",
                &RATE.to_string(),
                "-c:a",
                "pcm_s16le",
            ])
            .output(&to)
            .run(self.context, |_| ())
            .await?;
        succeeded("changing the speed of", &from, &exit)?;
        let played = self.read_samples(&to)?;
        let range = wav::audible(&played, RATE).unwrap_or(0..played.len());
        Ok(played[range].to_vec())
    }

    fn read_samples(&self, path: &Path) -> Result<Vec<i16>, RunError> {
        let bytes = std::fs::read(path)
            .map_err(|why| RunError::of_file(format_args!("cannot read {}", path.display()), &why))?;
        let parsed = wav::parse(&bytes);
        parsed
            .map(|(_, samples)| samples)
            .map_err(|why| RunError::failed(format!("{} cannot be used: {why}", path.display())))
    }
}

/// Returns the filter that changes speed: the better one, where this ffmpeg has it.
async fn stretcher(context: &RunContext) -> Result<&'static str, RunError> {
    let mut found = false;
    let tool = onceover_run::tool::Tool::new("ffmpeg").args(["-hide_banner", "-v", "error", "-filters"]);
    tool.run(context, |line| {
        found |= line.split_whitespace().nth(1) == Some("rubberband")
    })
    .await?;
    Ok(if found { "rubberband=tempo" } else { "atempo" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Vec<i16> {
        wav::parse(&std::fs::read(path).unwrap()).unwrap().1
    }

    #[test]
    fn clips_lie_where_they_should_add_up_and_end_with_the_track() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("voice.wav");
        let mut track = VoiceTrack::create(&path, 0.001).unwrap();
        track.lay(&[100; 10], 0.0).unwrap();
        track.lay(&[i16::MAX; 40], 5.0 / 48_000.0).unwrap();
        track.lay(&[7; 40], 9.0).unwrap();
        let samples = read(&path);
        assert_eq!(samples.len(), 48);
        assert_eq!(
            (samples[4], samples[5], samples[44], samples[45]),
            (100, i16::MAX, i16::MAX, 0)
        );
    }

    #[test]
    fn the_original_is_quiet_while_somebody_speaks_and_in_short_pauses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("envelope.wav");
        write_envelope(&path, 9.0, &[(1.0, 2.0), (2.5, 3.0), (6.0, 7.0)], 0.2).unwrap();
        let samples = read(&path);
        let at = |time: f64| f64::from(samples[(time * 1000.0) as usize]) / 32767.0;
        for (time, gain) in [
            (0.5, 1.0),
            (1.0, 0.2),
            (2.2, 0.2),
            (3.0, 0.2),
            (4.0, 1.0),
            (6.5, 0.2),
            (9.5, 1.0),
        ] {
            assert!((at(time) - gain).abs() < 0.01, "{time}: {}", at(time));
        }
        assert!((0.3..0.9).contains(&at(3.2)), "{}", at(3.2));
    }
}
