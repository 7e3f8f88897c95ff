//! Parts of decoded sound as WAV files of 16-bit PCM.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::sound::to_samples;
use crate::speech::wav::pcm_header;

/// Writes `duration` seconds from `start` of a PCM file of this form, as far as it reaches, into a new file. Returns
/// the size of that, or `None`, without a file, where the sound has ended before.
pub(super) fn copy_part(
    source: &Path,
    target: &Path,
    (rate, channels): (u32, u16),
    start: f64,
    duration: f64,
) -> io::Result<Option<u64>> {
    let mut source = File::open(source)?;
    let Some(data) = to_samples(&mut source)? else {
        return Ok(None);
    };
    let frame = 2 * u64::from(channels);
    let frames = source.metadata()?.len().saturating_sub(data) / frame;
    let at = |seconds: f64| ((seconds * f64::from(rate)).round() as u64).min(frames);
    let (first, end) = (at(start), at(start + duration));
    if first >= end {
        return Ok(None);
    }
    let bytes = (end - first) * frame;
    let header = pcm_header(rate, channels, bytes);
    source.seek(SeekFrom::Start(data + first * frame))?;
    let mut file = File::create(target)?;
    file.write_all(&header)?;
    io::copy(&mut source.take(bytes), &mut file)?;
    Ok(Some(header.len() as u64 + bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_part_has_exactly_its_samples_and_none_lies_behind_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (source, part) = (folder.path().join("a.wav"), folder.path().join("b.wav"));
        // A second of two channels that count up.
        let samples: Vec<u8> = (0..2000_u16).flat_map(u16::to_le_bytes).collect();
        fs::write(&source, [pcm_header(1000, 2, 4000), samples.clone()].concat()).unwrap();
        let size = copy_part(&source, &part, (1000, 2), 0.25, 0.5).unwrap();
        let written = fs::read(&part).unwrap();
        assert_eq!(size, Some(written.len() as u64));
        assert_eq!(
            written,
            [pcm_header(1000, 2, 2000), samples[1000..3000].to_vec()].concat()
        );
        assert_eq!(copy_part(&source, &part, (1000, 2), 0.9, 5.0).unwrap(), Some(44 + 400));
        let none = folder.path().join("none.wav");
        assert_eq!(copy_part(&source, &none, (1000, 2), 1.0, 1.0).unwrap(), None);
        assert!(!none.exists());
    }
}
