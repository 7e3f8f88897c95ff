//! `ffmpeg.crop_subtitle_images`: every frame of a video, cut to the strip that holds the subtitles.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    Advance, Ffmpeg, clear, failed, pictures,
    probe::{self, CountBy, Media},
};
use crate::{
    executor::run::{Object, RunContext, RunError},
    nodes::input::{Input, create_folder, path_text, write},
};

/// More decoders gain nothing.
const MOST_DECODERS: u64 = 10;

pub(in crate::nodes) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let video = input.file("video_path")?;
    let media = probe::media(context, &video).await?;
    let area = Area::of(&input, &video, &media)?;
    let wanted = input.text("decoder").unwrap_or("auto");
    let decoders = decoders(wanted, gpu_is_there());
    let frames = create_folder(context, "images/cropped/frames")?;
    context.progress.report(0.0, Some("counting frames".into()));
    let work = Work {
        context,
        video: &video,
        frames: &frames,
        area,
        threads: input.count("decode_processes")?.min(MOST_DECODERS),
        total: probe::count_frames(context, &video, CountBy::Packets).await?,
    };
    let start = Instant::now();
    let (decoder, written) = work.by_the_first_that_can(&decoders).await?;
    let summary = work.summary(decoder, written, media.duration(), start.elapsed());
    let record = context.dir.join("images/cropped/task.json");
    write(&record, format!("{summary:#}\n").as_bytes())?;
    let mut output = Object::from_iter([
        ("cropped_images_path".into(), json!(path_text(&frames))),
        ("cropped_images_files_count".into(), json!(written)),
        ("decoder".into(), json!(decoder.name())),
    ]);
    if input.asks_for("upload_cropped_images_to_minio")
        && let Some(why) = input.not_uploaded()
    {
        output.insert("cropped_images_upload_error".into(), why);
    }
    Ok(output)
}

/// Pixels from the left and the top; right and bottom are the first outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Area {
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
}

impl Area {
    fn of(input: &Input<'_>, video: &Path, media: &Media) -> Result<Self, RunError> {
        let (width, height) = media
            .picture()
            .ok_or_else(|| RunError::failed(format!("{} has no video track", video.display())))?;
        let numbers = input
            .numbers("subtitle_area")?
            .ok_or_else(|| input.missing("subtitle_area"))?;
        let refused = |why: &str| {
            Err(RunError::failed(format!(
                "input_data.subtitle_area is {numbers:?}, but it must be [x1, y1, x2, y2] in pixels: {why}"
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

    /// Exactly these pixels, where ffmpeg would rather move to even ones. Frames then follow each other at equal
    /// times, as the encoder wants it, whatever the video's times are.
    fn filter(self) -> String {
        let (width, height) = (self.right - self.left, self.bottom - self.top);
        format!(
            "crop=w={width}:h={height}:x={}:y={}:exact=1,settb=1/25,setpts=N",
            self.left, self.top
        )
    }
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
}

/// In the order in which they are tried.
fn decoders(wanted: &str, gpu_is_there: bool) -> Vec<Decoder> {
    match wanted {
        "cuda" => vec![Decoder::Cuda],
        "auto" if gpu_is_there => vec![Decoder::Cuda, Decoder::Cpu],
        _ => vec![Decoder::Cpu],
    }
}

fn gpu_is_there() -> bool {
    Path::new("/dev/nvidiactl").exists()
}

struct Work<'a> {
    context: &'a RunContext,
    video: &'a Path,
    frames: &'a Path,
    area: Area,
    threads: u64,
    /// As the packets say; 0 if that is not known.
    total: u64,
}

impl Work<'_> {
    /// The decoder that did it, and how many frames it gave.
    async fn by_the_first_that_can(&self, decoders: &[Decoder]) -> Result<(Decoder, u64), RunError> {
        let mut tries = decoders.iter().peekable();
        while let Some(&decoder) = tries.next() {
            let is_last = tries.peek().is_none();
            match self.decode(decoder).await {
                // A GPU that gives up in the middle leaves fewer frames than the file has.
                Ok(written) if written > 0 && (is_last || written >= self.total) => return Ok((decoder, written)),
                Err(why) if is_last || matches!(why, RunError::Interrupted) => return Err(why),
                result => {
                    let why = match result {
                        Err(why) => why.to_string(),
                        Ok(written) => format!("{written} of {} frames came", self.total),
                    };
                    self.context
                        .log
                        .line(&format!("decoding on {} did not work ({why})", decoder.name()));
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
    async fn decode(&self, decoder: Decoder) -> Result<u64, RunError> {
        let hardware: &[&str] = match decoder {
            Decoder::Cuda => &["-hwaccel", "cuda"],
            Decoder::Cpu => &[],
        };
        // The folder is the working folder, so that a `%` in its path is no part of the pattern.
        let exit = Ffmpeg::new()
            .args(hardware)
            .args(["-threads", &self.threads.to_string()])
            .input(self.video)
            .args(["-map", "0:V:0", "-vf", &self.area.filter()])
            .args(["-fps_mode", "passthrough", "-enc_time_base", "1:25"])
            .args(["-q:v", "2", "-f", "image2", "-start_number", "1", "%08d.jpg"])
            .current_dir(self.frames)
            .run(self.context, |advance| {
                if let (Advance::Frames(done), 1..) = (advance, self.total) {
                    let percent = 100.0 * done as f64 / self.total as f64;
                    let message = format!("{done} of {} frames", self.total);
                    self.context.progress.report(percent, Some(message));
                }
            })
            .await?;
        if exit.success() {
            pictures(self.frames)
        } else {
            Err(failed("decoding", self.video, &exit))
        }
    }

    fn summary(&self, decoder: Decoder, written: u64, seconds: Option<f64>, took: Duration) -> serde_json::Value {
        let Area {
            left,
            top,
            right,
            bottom,
        } = self.area;
        json!({
            "video_path": path_text(self.video),
            "output_dir": path_text(self.frames),
            "num_processes": self.threads,
            "crop_area": [left, top, right, bottom],
            "total_frames": written,
            "total_duration": seconds,
            "decoder": decoder.name(),
            "decoding_duration": took.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{executor::fixture::Fixture, nodes::ffmpeg::clip};

    fn fixture(name: &str, codec: &[&str], input: Value) -> Fixture {
        Fixture::of("ffmpeg.crop_subtitle_images", |fixture| {
            // Counted from the left, frame n of 60 has its first n columns of ten pixels in white.
            let source = ["-f", "lavfi", "-i", "color=black:size=600x80:rate=25:duration=2.4"];
            let bars = "geq=lum='if(lt(X,10*N+10),235,16)':cb=128:cr=128";
            let args = [&source[..], &["-vf", bars, "-pix_fmt", "yuv420p"], codec].concat();
            clip::make(&fixture.path(name), &args);
            let mut input = input;
            input["video_path"] = json!(fixture.path(name));
            input
        })
    }

    /// How many columns of the strip in a file are white, which is the number of its frame.
    fn frame_in(path: &Path) -> (u32, u32, u32) {
        let picture = image::open(path).unwrap().to_luma8();
        let row = picture.height() / 2;
        let white = (0..picture.width())
            .filter(|x| picture.get_pixel(*x, row).0[0] > 128)
            .count();
        (white as u32, picture.width(), picture.height())
    }

    #[tokio::test]
    async fn v3_every_frame_is_a_file_named_by_its_number_whatever_the_codec() {
        let h264 = ["-c:v", "libx264", "-g", "25", "-bf", "2"];
        for (name, codec) in [
            ("a.mp4", &h264[..]),
            ("b.avi", &["-c:v", "mpeg4"]),
            (
                "c.mkv",
                &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"],
            ),
        ] {
            let fixture = fixture(
                name,
                codec,
                json!({"subtitle_area": [0, 17, 600, 50], "decode_processes": 4}),
            );
            let output = run(&fixture.context).await.unwrap();
            assert_eq!(output["cropped_images_files_count"], 60, "{name}");
            assert_eq!(output["decoder"], "cpu");
            let folder = fixture.context.dir.join("images/cropped/frames");
            assert_eq!(output["cropped_images_path"], json!(folder));
            for number in 1..=60_u32 {
                let (white, width, height) = frame_in(&folder.join(format!("{number:08}.jpg")));
                assert!(white.abs_diff(number * 10) <= 3, "{name}: file {number} holds {white}");
                assert_eq!((width, height), (600, 33));
            }
            assert!(fixture.progress.borrow().percent >= 99.0);
            assert!(fixture.context.node.output_is_reusable(&output));
        }
    }

    #[tokio::test]
    async fn frames_at_uneven_times_are_neither_dropped_nor_doubled() {
        // The first ten frames have the same time as far as 25 a second can tell.
        let uneven = [
            "-c:v",
            "libx264",
            "-fps_mode",
            "passthrough",
            "-enc_time_base",
            "1:1000",
        ];
        let times = ["-bsf:v", "setts=ts='if(lt(N,10),N,N*40)'", "-bf", "0"];
        let codec = [&uneven[..], &times].concat();
        let fixture = fixture("uneven.mkv", &codec, json!({"subtitle_area": [100, 0, 600, 80]}));
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(output["cropped_images_files_count"], 60);
        let last = frame_in(&fixture.context.dir.join("images/cropped/frames/00000060.jpg"));
        assert_eq!(last, (500, 500, 80));
    }

    #[tokio::test]
    async fn without_a_working_gpu_the_processor_decodes_and_asked_for_a_gpu_it_is_an_error() {
        let area = json!({"subtitle_area": [0, 0, 600, 80]});
        let fixture = fixture("clip.mp4", &["-c:v", "libx264"], area);
        let video = fixture.path("clip.mp4");
        let frames = create_folder(&fixture.context, "images/cropped/frames").unwrap();
        let work = Work {
            context: &fixture.context,
            video: &video,
            frames: &frames,
            area: Area {
                left: 0,
                top: 0,
                right: 600,
                bottom: 80,
            },
            threads: 2,
            total: 60,
        };
        if gpu_is_there() {
            return;
        }
        let done = work
            .by_the_first_that_can(&[Decoder::Cuda, Decoder::Cpu])
            .await
            .unwrap();
        assert_eq!(done, (Decoder::Cpu, 60));
        assert!(fixture.log_text().contains("decoding on cuda did not work"));
        let error = work.by_the_first_that_can(&decoders("cuda", false)).await.unwrap_err();
        assert!(error.to_string().contains("decoding"), "{error}");
    }

    #[test]
    fn a_gpu_is_tried_first_where_there_is_one() {
        assert_eq!(decoders("auto", true), [Decoder::Cuda, Decoder::Cpu]);
        assert_eq!(decoders("auto", false), [Decoder::Cpu]);
        assert_eq!(decoders("cpu", true), [Decoder::Cpu]);
        assert_eq!(decoders("cuda", false), [Decoder::Cuda]);
    }

    #[tokio::test]
    async fn an_area_that_is_none_is_refused_by_name_and_with_the_size_of_the_picture() {
        for (area, why) in [
            (json!([0, 0, 600]), "four numbers"),
            (json!([0, 0, 10, 10, 10]), "four numbers"),
            (json!([0, 50, 600, 50]), "y2 more than y1"),
            (json!([0, 0, 601, 80]), "the picture is 600 wide and 80 high"),
        ] {
            let mut fixture = fixture("a.mp4", &["-c:v", "libx264"], json!({"subtitle_area": [0, 0, 600, 80]}));
            fixture.context.input.insert("subtitle_area".into(), area);
            let error = run(&fixture.context).await.unwrap_err().to_string();
            assert!(
                error.contains("input_data.subtitle_area") && error.contains(why),
                "{error}"
            );
        }
    }

    /// 12 s at 25 frames a second with the subtitles in the lowest 162 of 1080 lines.
    #[tokio::test]
    async fn the_worked_example_of_300_frames_is_numbered_without_gaps() {
        let fixture = Fixture::of("ffmpeg.crop_subtitle_images", |fixture| {
            let source = "color=gray:size=1920x1080:rate=25:duration=12";
            let codec = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50"];
            clip::make(
                &fixture.path("clip.mp4"),
                &[&["-f", "lavfi", "-i", source][..], &codec].concat(),
            );
            json!({"video_path": fixture.path("clip.mp4"), "decode_processes": 4, "subtitle_area": [0, 918, 1920, 1080]})
        });
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(output["cropped_images_files_count"], 300);
        let folder = fixture.context.dir.join("images/cropped/frames");
        for number in 1..=300 {
            assert!(folder.join(format!("{number:08}.jpg")).exists(), "{number}");
        }
        let size = image::image_dimensions(folder.join("00000300.jpg")).unwrap();
        assert_eq!(size, (1920, 162));
        let task = std::fs::read(fixture.context.dir.join("images/cropped/task.json")).unwrap();
        let task: Value = serde_json::from_slice(&task).unwrap();
        assert_eq!(
            (&task["total_frames"], &task["crop_area"][1]),
            (&json!(300), &json!(918))
        );
    }
}
