//! The sound of clips. A file is open only while it is decoded and is decoded once, however many clips lie in it and
//! whatever lies between them; what is heard of the clips waits in one file on the disk until it is known where it goes.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::track::RATE;
use crate::{
    executor::run::{OpenedInputs, RunContext, RunError},
    nodes::{
        ffmpeg::{Ffmpeg, failed},
        input::path_text,
        speech::{clips::Clip, wav},
    },
};

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
    /// What became of it, or why it cannot be used; `None` before the first of its clips is read.
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

    /// The samples of a clip that was read.
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
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let part = HeardPart {
            first: self.heard_samples,
            samples: samples.len() as u64,
        };
        let written = self
            .heard
            .seek(SeekFrom::Start(part.first * 2))
            .and_then(|_| self.heard.write_all(&bytes));
        written.map_err(|why| RunError::of_file(format_args!("cannot write {}", self.heard_path.display()), &why))?;
        self.heard_samples += part.samples;
        Ok(part)
    }

    async fn decode(&mut self, path: &Path) -> Result<Result<DecodedClip, String>, RunError> {
        self.decoded += 1;
        let target = self.scratch.join(format!("decoded-{}.raw", self.decoded));
        match decode(self.context, path, target).await {
            Ok(decoded) => Ok(Ok(decoded)),
            Err(RunError::Failed(why)) => Ok(Err(why)),
            Err(error) => Err(error),
        }
    }
}

async fn decode(context: &RunContext, path: &Path, target: PathBuf) -> Result<DecodedClip, RunError> {
    // Unlike the other inputs of a run it does not stay open to its end: a dub has a thousand clips.
    let file = context
        .roots
        .open_file(&path_text(path))
        .map_err(|why| why.about(format_args!("input_data.clips")))?;
    let opened = OpenedInputs::default();
    opened.note(&file);
    let rate = RATE.to_string();
    let exit = Ffmpeg::new()
        .input(&file)
        .args(["-map", "0:a:0", "-vn", "-ac", "1", "-ar", &rate, "-f", "s16le"])
        .output(&target)
        .run(context, |_| ())
        .await?;
    if !exit.success() {
        return Err(failed("decoding the clip", &file, &exit));
    }
    opened.still_in_place()?;
    let samples = std::fs::metadata(&target)
        .map_err(|why| RunError::of_file(format_args!("cannot read {}", target.display()), &why))?
        .len()
        / 2;
    Ok(DecodedClip { path: target, samples })
}

impl DecodedClip {
    /// A clip's part of it without the silence around; `None`: there is nothing else.
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

    /// Gives its room back; what stays goes with the folder.
    fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
