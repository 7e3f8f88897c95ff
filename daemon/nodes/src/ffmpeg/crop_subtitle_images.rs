//! `ffmpeg.crop_subtitle_images`: the frames of a video, cut to the strip that holds the subtitles. Frames that look
//! like the one before are left out, unless a request wants every one.

mod chosen;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    Advance, Ffmpeg,
    area::Area,
    clear,
    kept_frames::{FRAMES_FILE, KeptFrame, KeptFrames},
    pictures, probe, succeeded,
    timeline::{self, FrameTimes},
    tracks::{Track, TrackKind},
    warn_of_truncation,
};
use crate::input::{Input, create_folder, path_text, write};
use onceover_run::{Object, RunContext, RunError};

/// More decoders gain nothing.
const MOST_DECODERS: u64 = 10;

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let video = input.file("video_path")?;
    let media = probe::media(context, &video).await?;
    let track = media.track_of_request(TrackKind::Video, &input, video.display())?;
    let picture = media
        .picture_of(&track)
        .ok_or_else(|| RunError::failed(format!("the size of the picture of {} is not known", video.display())))?;
    let area = Area::from_input(&input, "subtitle_area", picture)?;
    let wanted = input.text("decoder").unwrap_or("auto");
    let decoders = decoders(wanted, has_gpu());
    let frames = create_folder(context, "images/cropped/frames")?;
    context.progress.report(0.0, Some("counting frames".into()));
    let times = timeline::frame_times_of(context, &video, &media, &track, 0).await?;
    let work = Work {
        context,
        video: &video,
        track: &track,
        frames: &frames,
        area,
        threads: input.count("decode_processes")?.min(MOST_DECODERS),
        total: times.len() as u64,
        rate: media.frame_rate_of(&track).unwrap_or(25.0),
        every: input.flag("every_frame")?,
    };
    let start = Instant::now();
    let (decoder, mut kept) = work.by_the_first_that_can(&decoders).await?;
    warn_of_truncation(context, &video, &media, &track, &times).await?;
    kept.tell_times(&times);
    let text = serde_json::to_vec(&kept).map_err(|why| RunError::failed(why.to_string()))?;
    write(&frames.join(FRAMES_FILE), &text)?;
    let summary = work.summary(decoder, &kept, media.duration(), start.elapsed());
    let record = context.dir.join("images/cropped/task.json");
    write(&record, format!("{summary:#}\n").as_bytes())?;
    let (count, strips) = (kept.frames_count, kept.kept.len() as u64);
    let mut output = Object::from_iter([
        ("cropped_images_path".into(), json!(path_text(&frames))),
        ("cropped_images_files_count".into(), json!(strips)),
        ("frames_count".into(), json!(count)),
        (
            "statistics".into(),
            json!({"frames": count, "kept": strips, "skipped": count.saturating_sub(strips)}),
        ),
        ("decoder".into(), json!(decoder.name())),
    ]);
    output.extend(track.fields());
    if input.asks_for("upload_cropped_images_to_minio")
        && let Some(why) = input.not_uploaded()
    {
        output.insert("cropped_images_upload_error".into(), why);
    }
    Ok(output)
}

/// What decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decoder {
    Cuda,
    Cpu,
}

impl Decoder {
    fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Cpu => "cpu",
        }
    }

    /// ffmpeg's options before the input.
    fn hardware(self) -> &'static [&'static str] {
        match self {
            Self::Cuda => &["-hwaccel", "cuda"],
            Self::Cpu => &[],
        }
    }
}

/// In the order in which they are tried.
fn decoders(wanted: &str, has_gpu: bool) -> Vec<Decoder> {
    match wanted {
        "cuda" => vec![Decoder::Cuda],
        "auto" if has_gpu => vec![Decoder::Cuda, Decoder::Cpu],
        _ => vec![Decoder::Cpu],
    }
}

fn has_gpu() -> bool {
    Path::new("/dev/nvidiactl").exists()
}

struct Work<'a> {
    context: &'a RunContext,
    video: &'a Path,
    track: &'a Track,
    frames: &'a Path,
    area: Area,
    threads: u64,
    /// Frames of the track; 0 if that is not known.
    total: u64,
    /// Frames of a second, about.
    rate: f64,
    /// Whether also frames are kept that look like the one before.
    every: bool,
}

impl Work<'_> {
    /// Decodes with the first decoder that can. Returns the decoder and the frames that are kept.
    async fn by_the_first_that_can(&self, decoders: &[Decoder]) -> Result<(Decoder, KeptFrames), RunError> {
        let mut tries = decoders.iter().peekable();
        while let Some(&decoder) = tries.next() {
            let is_last = tries.peek().is_none();
            let done = match self.every {
                true => self.decode(decoder).await,
                false => self.choose(decoder).await,
            };
            match done {
                // A GPU that fails in the middle leaves fewer frames than the file has.
                Ok(kept) if kept.frames_count > 0 && (is_last || kept.frames_count >= self.total) => {
                    return Ok((decoder, kept));
                }
                Err(why) if is_last || !matches!(why, RunError::Failed(_)) => return Err(why),
                result => {
                    let why = match result {
                        Err(why) => why.to_string(),
                        Ok(kept) => format!("{} of {} frames came", kept.frames_count, self.total),
                    };
                    self.context
                        .log
                        .line(&format!("decoding on {} failed ({why})", decoder.name()));
                    clear(self.frames)?;
                }
            }
        }
        Err(RunError::failed(format!(
            "no frame of {} could be decoded; is the file complete?",
            self.video.display()
        )))
    }

    /// Writes `00000001.jpg` ..., a file for each frame the decoder gives, numbered as they come.
    async fn decode(&self, decoder: Decoder) -> Result<KeptFrames, RunError> {
        // The folder is the working folder, so that a `%` in its path is no part of the pattern.
        let exit = Ffmpeg::new()
            .args(decoder.hardware())
            .args(["-threads", &self.threads.to_string()])
            .input(self.video)
            .args(["-map", &self.track.map(), "-vf", &self.area.filter()])
            .args(["-fps_mode", "passthrough", "-enc_time_base", "1:25"])
            .args(["-q:v", "2", "-f", "image2", "-start_number", "1", "%08d.jpg"])
            .current_dir(self.frames)
            .run(self.context, |advance| {
                if let Advance::Frames(done) = advance {
                    self.tell(done);
                }
            })
            .await?;
        succeeded("decoding", self.video, &exit)?;
        Ok(KeptFrames::every_frame(pictures(self.frames)?))
    }

    fn tell(&self, done: u64) {
        if self.total > 0 {
            let percent = 100.0 * done as f64 / self.total as f64;
            let message = format!("{done} of {} frames", self.total);
            self.context.progress.report(percent, Some(message));
        }
    }

    fn summary(&self, decoder: Decoder, kept: &KeptFrames, seconds: Option<f64>, took: Duration) -> serde_json::Value {
        json!({
            "video_path": path_text(self.video),
            "output_dir": path_text(self.frames),
            "num_processes": self.threads,
            "crop_area": self.area.corners(),
            "total_frames": kept.frames_count,
            "kept_frames": kept.kept.len(),
            "total_duration": seconds,
            "decoder": decoder.name(),
            "decoding_duration": took.as_secs_f64(),
        })
    }
}

impl KeptFrames {
    /// Makes the list in which each frame stands for itself.
    fn every_frame(frames_count: u64) -> Self {
        let kept = |frame| KeptFrame {
            frame,
            time: None,
            first: frame,
            last: frame,
            stretch: frame,
        };
        Self {
            frames_count,
            kept: (1..=frames_count).map(kept).collect(),
        }
    }

    fn tell_times(&mut self, times: &FrameTimes) {
        for kept in &mut self.kept {
            kept.time = times.shown(kept.frame).map(|(start, _)| timeline::micros(start));
        }
    }
}
