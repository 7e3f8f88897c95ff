//! The sound of clips. A file is open only while it is decoded and is decoded once, however many clips it has and
//! whatever lies between them; the audible parts of the clips wait in one file on the disk until their placement is
//! known.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::track::RATE;
use crate::{
    ffmpeg::{Ffmpeg, succeeded},
    input::{Input, path_text},
    speech::{clips::Clip, wav},
};
use onceover_run::{RunContext, RunError, check_in_place};

/// Reads clips as samples of the dub.
pub(super) struct ClipSounds<'a> {
    context: &'a RunContext,
    scratch: PathBuf,
    files: HashMap<PathBuf, ClipFile>,
    /// How many files were decoded.
    decoded: usize,
    /// What is heard of the clips that were read, one after the other.
    heard: File,
    heard_path: PathBuf,
    heard_samples: u64,
}

/// A file that clips lie in.
#[derive(Default)]
struct ClipFile {
    /// Clips of it that were not read yet.
    left: usize,
    /// The decoded file, or why it cannot be used; `None` before the first of its clips is read.
    decoded: Option<Result<DecodedClip, String>>,
}

/// A file that was decoded: raw samples of the dub.
struct DecodedClip {
    path: PathBuf,
    samples: u64,
}

/// Where the sound of a clip waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeardPart {
    first: u64,
    samples: u64,
}

impl HeardPart {
    pub(super) fn seconds(self) -> f64 {
        self.samples as f64 / f64::from(RATE)
    }
}

impl<'a> ClipSounds<'a> {
    /// `paths` are the files of all clips that will be read, one for each.
    pub(super) fn new(
        context: &'a RunContext,
        scratch: &Path,
        paths: impl Iterator<Item = PathBuf>,
    ) -> Result<Self, RunError> {
        let mut files: HashMap<PathBuf, ClipFile> = HashMap::new();
        for path in paths {
            files.entry(path).or_default().left += 1;
        }
        let heard_path = scratch.join("heard.raw");
        let heard = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&heard_path)
            .map_err(|why| RunError::of_file(format_args!("cannot write {}", heard_path.display()), &why))?;
        Ok(Self {
            context,
            scratch: scratch.to_owned(),
            files,
            decoded: 0,
            heard,
            heard_path,
            heard_samples: 0,
        })
    }

    /// Reads a clip without the silence around it; the inner error is why it has no sound.
    pub(super) async fn read(&mut self, clip: &Clip, path: &Path) -> Result<Result<HeardPart, String>, RunError> {
        let mut file = self.files.remove(path).unwrap_or_default();
        let decoded = match file.decoded.take() {
            Some(decoded) => decoded,
            None => self.decode(path).await?,
        };
        let sound = match &decoded {
            Ok(decoded) => decoded.audible(clip)?.ok_or_else(|| "its sound is silence".to_owned()),
            Err(why) => Err(why.clone()),
        };
        file.left = file.left.saturating_sub(1);
        match decoded {
            Ok(decoded) if file.left == 0 => decoded.remove(),
            decoded => {
                file.decoded = Some(decoded);
                self.files.insert(path.to_owned(), file);
            }
        }
        match sound {
            Ok(samples) => self.keep(&samples).map(Ok),
            Err(why) => Ok(Err(why)),
        }
    }

    /// Returns the samples of a clip that was read.
    pub(super) fn samples(&mut self, part: HeardPart) -> Result<Vec<i16>, RunError> {
        let mut bytes = vec![0; (part.samples * 2) as usize];
        let read = self
            .heard
            .seek(SeekFrom::Start(part.first * 2))
            .and_then(|_| self.heard.read_exact(&mut bytes));
        read.map_err(|why| RunError::of_file(format_args!("cannot read {}", self.heard_path.display()), &why))?;
        Ok(wav::samples(&bytes))
    }

    fn keep(&mut self, samples: &[i16]) -> Result<HeardPart, RunError> {
        let part = HeardPart {
            first: self.heard_samples,
            samples: samples.len() as u64,
        };
        let written = self
            .heard
            .seek(SeekFrom::Start(part.first * 2))
            .and_then(|_| self.heard.write_all(&wav::bytes(samples)));
        written.map_err(|why| RunError::of_file(format_args!("cannot write {}", self.heard_path.display()), &why))?;
        self.heard_samples += part.samples;
        Ok(part)
    }

    async fn decode(&mut self, path: &Path) -> Result<Result<DecodedClip, String>, RunError> {
        self.decoded += 1;
        let target = self.scratch.join(format!("decoded-{}.raw", self.decoded));
        // Unlike the other inputs of a run it does not stay open to its end: a dub has a thousand clips.
        let file = match or_why(Input(self.context).open_briefly("clips", &path_text(path)))? {
            Ok(file) => file,
            Err(why) => return Ok(Err(why)),
        };
        let decoded = or_why(decode(self.context, &file, target).await)?;
        check_in_place(&file)?;
        Ok(decoded)
    }
}

/// Makes a failure the reason why one clip has no sound; other errors stay those of the run.
fn or_why<T>(result: Result<T, RunError>) -> Result<Result<T, String>, RunError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(RunError::Failed(why)) => Ok(Err(why)),
        Err(error) => Err(error),
    }
}

async fn decode(context: &RunContext, file: &Path, target: PathBuf) -> Result<DecodedClip, RunError> {
    let rate = RATE.to_string();
    let exit = Ffmpeg::new()
        .input(file)
        .args(["-map", "0:a:0", "-vn", "-ac", "1", "-ar", &rate, "-f", "s16le"])
        .output(&target)
        .run(context, |_| ())
        .await?;
    succeeded("decoding the clip", file, &exit)?;
    let samples = std::fs::metadata(&target)
        .map_err(|why| RunError::of_file(format_args!("cannot read {}", target.display()), &why))?
        .len()
        / 2;
    Ok(DecodedClip { path: target, samples })
}

impl DecodedClip {
    /// Returns a clip's part of it without the silence around; `None` if there is nothing else.
    fn audible(&self, clip: &Clip) -> Result<Option<Vec<i16>>, RunError> {
        let sample = |time: f64| ((time * f64::from(RATE)).round() as u64).min(self.samples);
        let end = clip
            .duration
            .map_or(self.samples, |seconds| sample(clip.offset + seconds));
        let start = sample(clip.offset).min(end);
        let mut bytes = vec![0; ((end - start) * 2) as usize];
        let mut read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(start * 2))?;
            file.read_exact(&mut bytes)
        };
        read().map_err(|why| RunError::of_file(format_args!("cannot read {}", self.path.display()), &why))?;
        let part = wav::samples(&bytes);
        Ok(wav::audible(&part, RATE).map(|range| part[range].to_vec()))
    }

    /// Removes the file to free its space. If that fails, it is removed with the folder.
    fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, iter, time::Duration};

    use serde_json::json;

    use super::*;
    use crate::{
        fixture::Fixture,
        speech::{clips, wav::WavWriter},
    };

    #[tokio::test]
    async fn a_clip_that_is_replaced_while_it_is_read_fails_the_run() {
        let fixture = Fixture::of_node("ffmpeg.mix_dub");
        let (path, other) = (fixture.path("clip.wav"), fixture.path("other.wav"));
        // Long enough for its decoding to be seen.
        WavWriter::silence(&path, RATE, u64::from(RATE) * 600).unwrap();
        fs::write(&other, "another").unwrap();
        let scratch = &fixture.context.dir;
        let mut sounds = ClipSounds::new(&fixture.context, scratch, iter::once(path.clone())).unwrap();
        let clip = clips::parse(json!([{"start": 0, "end": 1, "audio_path": path}])).unwrap();
        let replace = async {
            while !scratch.join("decoded-1.raw").exists() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            fs::rename(&other, &path).unwrap();
        };
        let read = async { sounds.read(&clip[0], &path).await.map(|_| ()) };
        let (read, ()) = tokio::join!(read, replace);
        let error = read.unwrap_err().to_string();
        assert!(error.contains("replaced while it was read"), "{error}");
    }
}
