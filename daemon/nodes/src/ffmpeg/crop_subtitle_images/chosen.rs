//! Decoding in which only the strips are written that have to be read.

use std::path::{Path, PathBuf};

use image::{RgbImage, codecs::jpeg::JpegEncoder};
use tokio::sync::mpsc;

use super::{Decoder, Work};
use crate::{
    ffmpeg::{
        Ffmpeg,
        kept_frames::{KeptFrame, KeptFrames},
        strips::{KeptStrip, StripChooser, StripSize},
        succeeded,
    },
    input::{compute, write},
};
use onceover_run::{ProgressSink, RunError};

/// Of the JPEG files: text is read as well as at higher ones, and they stay.
const QUALITY: u8 = 75;
/// Parts of ffmpeg's output that wait to be read.
const WAITING: usize = 4;

impl Work<'_> {
    /// Writes `00000001.jpg` and so on for the frames that have to be read, numbered by frame.
    pub(super) async fn choose(&self, decoder: Decoder) -> Result<KeptFrames, RunError> {
        let (width, height) = self.area.size();
        let size = StripSize {
            width: width as usize,
            height: height as usize,
        };
        // As JPEG has it: full range, one sample of each plane a pixel.
        let filter = format!(
            "{},scale=out_range=full:out_color_matrix=bt601,format=yuv444p",
            self.area.filter()
        );
        let tool = Ffmpeg::for_bytes()
            .args(decoder.hardware())
            .args(["-threads", &self.threads.to_string()])
            .input(self.video)
            .args(["-map", &self.track.map(), "-vf", &filter])
            .args(["-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"]);
        let (to, parts) = mpsc::channel(WAITING);
        let choosing = Choosing {
            size,
            chooser: StripChooser::new(size, self.rate),
            folder: self.frames.to_owned(),
            progress: self.context.progress.clone(),
            total: self.total,
        };
        let (exit, kept) = tokio::join!(
            tool.run_for_bytes(self.context, to),
            compute(move || choosing.through(parts))
        );
        let exit = exit?;
        // Where the strips could not be written, that is what ended ffmpeg.
        let kept = kept?;
        succeeded("decoding", self.video, &exit)?;
        Ok(kept)
    }
}

struct Choosing {
    size: StripSize,
    chooser: StripChooser,
    folder: PathBuf,
    progress: ProgressSink,
    total: u64,
}

impl Choosing {
    /// Takes all strips, and writes those that are chosen.
    fn through(mut self, mut parts: mpsc::Receiver<Vec<u8>>) -> Result<KeptFrames, RunError> {
        let bytes = 3 * self.size.plane();
        let mut frames = KeptFrames::default();
        let mut strip = Vec::with_capacity(bytes);
        let mut keep = |strip: KeptStrip, planes: Vec<u8>| {
            let path = self.folder.join(format!("{:08}.jpg", strip.frame));
            encode(&path, self.size, &planes)?;
            frames.kept.push(KeptFrame {
                frame: strip.frame,
                time: None,
                first: strip.first,
                last: strip.last,
                stretch: strip.stretch,
            });
            Ok::<_, RunError>(())
        };
        let mut count = 0;
        while let Some(part) = parts.blocking_recv() {
            let mut part = &part[..];
            while !part.is_empty() {
                let (now, later) = part.split_at(part.len().min(bytes - strip.len()));
                strip.extend_from_slice(now);
                part = later;
                if strip.len() == bytes {
                    let whole = std::mem::replace(&mut strip, Vec::with_capacity(bytes));
                    self.chooser.add(whole, &mut keep)?;
                    count += 1;
                    if self.total > 0 {
                        let percent = 100.0 * count as f64 / self.total as f64;
                        let message = format!("{count} of {} frames", self.total);
                        self.progress.report(percent, Some(message));
                    }
                }
            }
        }
        self.chooser.finish(&mut keep)?;
        frames.frames_count = count;
        Ok(frames)
    }
}

/// Writes the planes of a strip as a JPEG file.
fn encode(path: &Path, size: StripSize, planes: &[u8]) -> Result<(), RunError> {
    let cannot = |why: &str| RunError::failed(format!("cannot encode {}: {why}", path.display()));
    let (luma, chroma) = planes.split_at(size.plane());
    let (blue, red) = chroma.split_at(size.plane());
    let mut pixels = Vec::with_capacity(planes.len());
    for ((y, cb), cr) in luma.iter().zip(blue).zip(red) {
        pixels.extend(rgb(*y, *cb, *cr));
    }
    let picture = u32::try_from(size.width)
        .ok()
        .zip(u32::try_from(size.height).ok())
        .and_then(|(width, height)| RgbImage::from_raw(width, height, pixels))
        .ok_or_else(|| cannot("its pixels are not complete"))?;
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode_image(&picture)
        .map_err(|why| cannot(&why.to_string()))?;
    write(path, &jpeg)
}

/// Returns a pixel of ITU-R BT.601 in full range, in 16 bits after the point.
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y) << 16, i32::from(cb) - 128, i32::from(cr) - 128);
    let whole = |value: i32| ((value + (1 << 15)) >> 16).clamp(0, 255) as u8;
    [
        whole(y + 91_881 * cr),
        whole(y - 22_554 * cb - 46_802 * cr),
        whole(y + 116_130 * cb),
    ]
}
