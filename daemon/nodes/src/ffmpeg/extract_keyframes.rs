//! `ffmpeg.extract_keyframes`: evenly spaced frames of a video as JPEG files (not the codec's key frames).

use std::path::Path;

use serde_json::json;

use super::{
    Advance, Ffmpeg, clear, pictures, probe, succeeded,
    timeline::{self, FrameTimes},
    tracks::{Track, TrackKind},
    warn_of_truncation,
};
use crate::input::{Input, create_folder, path_text, write_json};
use onceover_run::{Object, RunContext, RunError};

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let video = input.file("video_path")?;
    let wanted = input.count("keyframe_sample_count")?;
    let media = probe::media(context, &video).await?;
    let track = media.track_of_request(TrackKind::Video, &input, video.display())?;
    let folder = create_folder(context, "images/keyframes")?;
    context.progress.report(0.0, Some("counting frames".into()));
    // Packets are counted in a moment; where they are not frames, the pictures written show it, and the frames
    // are counted one by one.
    for at_least in [0, timeline::DECODED] {
        let times = timeline::frame_times_of(context, &video, &media, &track, at_least).await?;
        let total = times.len() as u64;
        let sample = wanted.min(total);
        if sample == 0 {
            continue;
        }
        let written = extract(context, &video, &track, &folder, (sample, total)).await?;
        if written == sample || at_least > 0 && written > 0 {
            warn_of_truncation(context, &video, &media, &track, &times).await?;
            write_timeline(context, &track, &times, (sample, total))?;
            let mut output = Object::from_iter([
                ("keyframe_dir".into(), json!(path_text(&folder))),
                ("keyframe_files_count".into(), json!(written)),
            ]);
            output.extend(track.fields());
            return Ok(output);
        }
        context.log.line(&format!(
            "{written} frames came where {sample} of {total} were asked for; counting again"
        ));
        clear(&folder)?;
    }
    Err(RunError::failed(format!(
        "no frame of {} could be decoded; is the file complete?",
        video.display()
    )))
}

/// Writes `timeline.json`: when each of the frames is shown.
fn write_timeline(
    context: &RunContext,
    track: &Track,
    times: &FrameTimes,
    (sample, total): (u64, u64),
) -> Result<(), RunError> {
    let frame = |index: u64| match sample {
        1 => 1,
        _ => index * (total - 1) / (sample - 1) + 1,
    };
    let frames: Vec<_> = (0..sample)
        .map(|index| {
            let number = frame(index);
            json!({
                "file": format!("frame_{:04}.jpg", index + 1),
                "frame": number,
                "time": times.shown(number).map(|(start, _)| start),
            })
        })
        .collect();
    let timeline = json!({"video": track.json(), "frames": frames});
    write_json(&context.dir.join("images/timeline.json"), &timeline)
}

/// Writes `frame_0001.jpg` ... and gives how many there are.
async fn extract(
    context: &RunContext,
    video: &Path,
    track: &Track,
    folder: &Path,
    (sample, total): (u64, u64),
) -> Result<u64, RunError> {
    // The folder is the working folder, so that a `%` in its path is no part of the pattern.
    let exit = Ffmpeg::new()
        .input(video)
        .args([
            "-map",
            &track.map(),
            "-vf",
            &format!("select='{}'", selection(sample, total)),
        ])
        .args(["-fps_mode", "vfr", "-q:v", "9", "-f", "image2", "frame_%04d.jpg"])
        .current_dir(folder)
        .run(context, |advance| {
            if let Advance::Frames(done) = advance {
                let percent = 100.0 * done as f64 / sample as f64;
                context
                    .progress
                    .report(percent, Some(format!("{done} of {sample} frames")));
            }
        })
        .await?;
    succeeded("extracting frames of", video, &exit)?;
    pictures(folder)
}

/// Returns the condition by which ffmpeg keeps the frames `trunc(k * (total-1) / (sample-1))`, k from 0. It says so of
/// each frame number `n` rather than listing them, so its length does not grow with the sample: the only k that may
/// give n is the smallest with k * (total-1) / (sample-1) >= n. Quotients of whole numbers below 2^53 that are no whole
/// numbers themselves are far enough from one for the rounding of a double not to matter.
fn selection(sample: u64, total: u64) -> String {
    match (sample.saturating_sub(1), total.saturating_sub(1)) {
        (0, _) | (_, 0) => "eq(n,0)".into(),
        (steps, last) => format!("eq(n,floor(ceil(n*{steps}/{last})*{last}/{steps}))"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{ffmpeg::clip, fixture::Fixture};

    /// What the contract says.
    fn indices(sample: u64, total: u64) -> Vec<u64> {
        match sample {
            1 => vec![0],
            _ => (0..sample).map(|k| k * (total - 1) / (sample - 1)).collect(),
        }
    }

    /// Returns what the selection keeps, computed as ffmpeg does, in doubles.
    fn selected(sample: u64, total: u64) -> Vec<u64> {
        if sample == 1 || total == 1 {
            return vec![0];
        }
        let (steps, last) = ((sample - 1) as f64, (total - 1) as f64);
        (0..total)
            .filter(|n| {
                let n = *n as f64;
                n == ((n * steps / last).ceil() * last / steps).floor()
            })
            .collect()
    }

    #[test]
    fn the_worked_example_of_30_frames() {
        assert_eq!(indices(4, 30), [0, 9, 19, 29]);
        assert_eq!(selected(4, 30), [0, 9, 19, 29]);
        assert_eq!(selection(4, 30), "eq(n,floor(ceil(n*3/29)*29/3))");
        assert_eq!(selection(1, 30), "eq(n,0)");
    }

    #[test]
    fn the_selection_keeps_exactly_the_evenly_spaced_frames() {
        for total in 1..=130 {
            for sample in 1..=total {
                assert_eq!(selected(sample, total), indices(sample, total), "{sample} of {total}");
            }
        }
        for (sample, total) in [(100, 107_892), (9_999, 215_784), (7, 1_000_003)] {
            assert_eq!(selected(sample, total), indices(sample, total), "{sample} of {total}");
        }
    }

    fn fixture(name: &str, count: Value) -> Fixture {
        Fixture::with_input("ffmpeg.extract_keyframes", |fixture| {
            clip::video_with_tone(&fixture.path(name));
            json!({"video_path": fixture.path(name), "keyframe_sample_count": count})
        })
    }

    #[tokio::test]
    async fn v3_a_video_gives_the_frames_asked_for() {
        let fixture = fixture("clip.mp4", json!(4));
        let output = run(&fixture.context).await.unwrap();
        let folder = fixture.context.dir.join("images/keyframes");
        assert_eq!(output["keyframe_dir"], json!(folder));
        assert_eq!(output["keyframe_files_count"], 4);
        let timeline = std::fs::read(fixture.context.dir.join("images/timeline.json")).unwrap();
        let timeline: Value = serde_json::from_slice(&timeline).unwrap();
        let last = json!({"file": "frame_0004.jpg", "frame": 30, "time": 1.933333});
        assert_eq!((&timeline["frames"][3], &output["video_track"]), (&last, &json!(0)));
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["frame_0001.jpg", "frame_0002.jpg", "frame_0003.jpg", "frame_0004.jpg"]
        );
        assert!(fixture.progress.borrow().percent >= 99.0);
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    #[tokio::test]
    async fn more_frames_than_there_are_gives_all_and_one_gives_the_first() {
        for (count, frames) in [(json!(null), 30), (json!(1), 1), (json!(29), 29)] {
            let fixture = fixture("clip.mkv", count);
            assert_eq!(run(&fixture.context).await.unwrap()["keyframe_files_count"], frames);
        }
    }

    #[tokio::test]
    async fn a_sound_file_has_no_frames_and_says_so() {
        let fixture = Fixture::with_input("ffmpeg.extract_keyframes", |fixture| {
            clip::tone(&fixture.path("a.wav"), 1);
            json!({"video_path": fixture.path("a.wav")})
        });
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(error.contains("no video track"), "{error}");
    }
}
