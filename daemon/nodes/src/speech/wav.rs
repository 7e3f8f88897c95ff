//! 16-bit mono sound: reads and writes WAV files, and finds the audible part.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use onceover_run::RunError;

/// Bytes before the samples of a file that [`WavWriter`] makes.
pub(crate) const HEADER: usize = 44;

/// Sound that is quieter than this part of a clip's loudest sample (-40 dB) is silence.
const SILENT_SHARE: f32 = 0.01;
/// Sound that is quieter than this is silence in any clip (-60 dB of full scale).
const SILENT: f32 = 33.0;
/// Seconds that are measured together.
const WINDOW: f64 = 0.005;

/// A WAV file that is being written.
pub(crate) struct WavWriter {
    file: BufWriter<File>,
    path: PathBuf,
    rate: u32,
    samples: u64,
}

impl WavWriter {
    pub(crate) fn create(path: &Path, rate: u32) -> Result<Self, RunError> {
        let open = || {
            let mut file = BufWriter::new(File::create(path)?);
            file.write_all(&header(rate, 0))?;
            Ok(file)
        };
        Ok(Self {
            file: open().map_err(|why| cannot_write(path, &why))?,
            path: path.to_owned(),
            rate,
            samples: 0,
        })
    }

    /// Writes a file of silent samples, which takes no space on the disk before something is written into it.
    pub(crate) fn silence(path: &Path, rate: u32, samples: u64) -> Result<(), RunError> {
        let write = || {
            let mut file = File::create(path)?;
            file.write_all(&header(rate, samples))?;
            file.set_len(HEADER as u64 + samples * 2)
        };
        write().map_err(|why| cannot_write(path, &why))
    }

    /// Adds sound. Returns the seconds at which it begins.
    pub(crate) fn add(&mut self, samples: &[i16]) -> Result<f64, RunError> {
        let begins = self.seconds();
        self.file
            .write_all(&bytes(samples))
            .map_err(|why| cannot_write(&self.path, &why))?;
        self.samples += samples.len() as u64;
        Ok(begins)
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(self.rate)
    }

    pub(crate) fn finish(mut self) -> Result<f64, RunError> {
        let mut end = || {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&header(self.rate, self.samples))?;
            self.file.flush()
        };
        end().map_err(|why| cannot_write(&self.path, &why))?;
        Ok(self.seconds())
    }
}

fn cannot_write(path: &Path, why: &io::Error) -> RunError {
    RunError::of_file(format_args!("cannot write {}", path.display()), why)
}

fn header(rate: u32, samples: u64) -> Vec<u8> {
    pcm_header(rate, 1, samples * 2)
}

/// Returns the header of a file with this many bytes of 16-bit PCM.
pub(crate) fn pcm_header(rate: u32, channels: u16, bytes: u64) -> Vec<u8> {
    // A file of more than 4 GiB says so at least; programs then read to its end.
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX - HEADER as u32);
    let frame = channels.saturating_mul(2);
    let mut header = Vec::with_capacity(HEADER);
    header.extend(b"RIFF");
    header.extend((bytes + HEADER as u32 - 8).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16_u32.to_le_bytes());
    header.extend(1_u16.to_le_bytes());
    header.extend(channels.to_le_bytes());
    header.extend(rate.to_le_bytes());
    header.extend(rate.saturating_mul(u32::from(frame)).to_le_bytes());
    header.extend(frame.to_le_bytes());
    header.extend(16_u16.to_le_bytes());
    header.extend(b"data");
    header.extend(bytes.to_le_bytes());
    header
}

/// Returns the samples of a WAV file, and how many there are a second. The error is a sentence's second half.
pub(crate) fn parse(bytes: &[u8]) -> Result<(u32, Vec<i16>), String> {
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return Err("it is no WAV file".into());
    }
    let number = |at: usize| {
        let field = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(field.try_into().ok()?))
    };
    let (mut at, mut rate) = (12, None);
    while let Some(size) = number(at + 4) {
        let content = at + 8;
        match &bytes[at..at + 4] {
            b"fmt " => {
                let is_mono_16 = bytes.get(content..content + 4) == Some(&[1, 0, 1, 0])
                    && bytes.get(content + 14..content + 16) == Some(&[16, 0]);
                if !is_mono_16 {
                    return Err("it is not 16-bit mono".into());
                }
                rate = number(content + 4);
            }
            b"data" => {
                let rate = rate.filter(|rate| *rate > 0).ok_or("it has no format")?;
                // A program that wrote into a pipe did not know the size.
                let end = content.saturating_add(size as usize).min(bytes.len());
                return Ok((rate, samples(&bytes[content..end])));
            }
            _ => {}
        }
        at = content.saturating_add(size as usize).saturating_add(size as usize % 2);
    }
    Err("it has no samples".into())
}

/// Returns the samples of raw bytes, little-endian.
pub(crate) fn samples(bytes: &[u8]) -> Vec<i16> {
    let pairs = bytes.chunks_exact(2);
    pairs.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Returns the raw bytes of samples, little-endian.
pub(crate) fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// Returns the part from the first to the last that can be heard; `None` if all is silence.
pub(crate) fn audible(samples: &[i16], rate: u32) -> Option<Range<usize>> {
    let loudness = |sample: &i16| f32::from(sample.saturating_abs());
    let loudest = samples.iter().map(loudness).fold(0.0, f32::max);
    let limit = (loudest * SILENT_SHARE).max(SILENT);
    let first = samples.iter().position(|sample| loudness(sample) > limit)?;
    let last = samples.iter().rposition(|sample| loudness(sample) > limit)?;
    let window = (WINDOW * f64::from(rate)) as usize;
    Some(first.saturating_sub(window)..(last + window).min(samples.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_ffmpeg_knows_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let mut file = WavWriter::create(&path, 8000).unwrap();
        assert_eq!(file.add(&[1, -2, 3, 4]).unwrap(), 0.0);
        assert_eq!(file.add(&[0; 7996]).unwrap(), 0.0005);
        assert_eq!(file.finish().unwrap(), 1.0);
        let (rate, samples) = parse(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((rate, samples.len(), &samples[..3]), (8000, 8000, &[1, -2, 3][..]));
        let probe = std::process::Command::new("ffprobe")
            .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&probe.stdout).trim(), "1.000000");
    }

    #[test]
    fn what_is_no_such_file_says_so() {
        let stereo = [&header(8000, 1)[..22], &[2, 0], &header(8000, 1)[24..]].concat();
        for (bytes, why) in [
            (&b"ID3"[..], "no WAV"),
            (&stereo, "mono"),
            (&header(8000, 0)[..36], "samples"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn silence_before_and_after_is_told_from_a_quiet_clip() {
        for loud in [30_000, 400] {
            let sound = [vec![0; 1000], [loud, -loud].repeat(500), vec![0; 1000]].concat();
            assert_eq!(audible(&sound, 8000), Some(960..2039), "{loud}");
        }
        assert_eq!(audible(&[5; 4000], 8000), None);
        assert_eq!(audible(&[], 8000), None);
    }
}
