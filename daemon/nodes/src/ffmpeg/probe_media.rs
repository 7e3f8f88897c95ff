//! `ffmpeg.probe`: what a media file holds and its clock: tracks, when sound and picture begin and end, gaps, the time
//! of every frame.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    probe::{self, Media},
    timeline::{self, FrameTimes, Hole, micros},
    tracks::{Track, TrackKind},
};
use crate::input::{Input, path_text, write_json};
use onceover_run::{
    Object, RunContext, RunError,
    warnings::{Code, Warning},
};

/// Frames whose spacing differs by more than this do not come at one rate.
const EVEN: f64 = 0.002;

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let file = input.file("video_path")?;
    let media = probe::media(context, &file).await?;
    if !media.has_audio() && !media.has_video() {
        return Err(RunError::failed(format!(
            "{} has no audio track and no video track",
            file.display()
        )));
    }
    let chosen = |kind: TrackKind| -> Result<Option<Track>, RunError> {
        let wanted = kind.wanted(&input);
        // A missing kind of track is no failure, unless the request names one of it.
        if wanted.is_none() && media.tracks(kind).is_empty() {
            return Ok(None);
        }
        media.track(kind, wanted.as_deref(), file.display()).map(Some)
    };
    let (audio, video) = (chosen(TrackKind::Audio)?, chosen(TrackKind::Video)?);
    let probed = Probed {
        context,
        file: &file,
        media: &media,
    };
    let sound = match &audio {
        Some(track) => Some(probed.sound(track).await?),
        None => None,
    };
    let frames = match &video {
        Some(track) if input.flag("frame_times")? => Some(probed.frames(track).await?),
        _ => None,
    };
    let timeline = context.dir.join("timeline.json");
    let mut contents = probed.timeline(audio.as_ref(), video.as_ref(), sound.as_deref());
    if let Some(frames) = &frames {
        contents["frame_times"] = json!(frames.starts());
        contents["frames_end"] = json!(frames.end());
    }
    write_json(&timeline, &contents)?;
    let mut output = probed.output(video.as_ref(), frames.as_ref());
    output.insert("timeline_path".into(), json!(path_text(&timeline)));
    output.extend(audio.iter().chain(&video).flat_map(Track::fields));
    if let Some(sound) = &sound {
        output.insert("gaps_count".into(), json!(sound.len()));
    }
    Ok(output)
}

/// A file and what ffprobe reports about it.
struct Probed<'a> {
    context: &'a RunContext,
    file: &'a Path,
    media: &'a Media,
}

impl Probed<'_> {
    async fn sound(&self, track: &Track) -> Result<Vec<Hole>, RunError> {
        if self.media.counts_samples() {
            return Ok(Vec::new());
        }
        let packets = timeline::packets_of(self.context, self.file, self.media, track).await?;
        let name = self.file.display();
        for Hole { at, duration } in packets.holes.iter().copied() {
            let text = format!("{name} has no sound from {at:.2} s for {duration:.2} s");
            let warning = Warning::new(Code::Gap, text).with("at", at).with("duration", duration);
            self.context.warnings.add(warning);
        }
        self.warn_if_short(track, packets.end).await?;
        Ok(packets.holes)
    }

    async fn frames(&self, track: &Track) -> Result<FrameTimes, RunError> {
        let frames = timeline::frame_times_of(self.context, self.file, self.media, track, 0).await?;
        self.warn_if_short(track, frames.end()).await?;
        Ok(frames)
    }

    /// Warns of a track that ends early, if the track itself says how long it is; a container's length may be that of
    /// another track.
    async fn warn_if_short(&self, track: &Track, got: f64) -> Result<(), RunError> {
        let expected = self.media.expected_end(track);
        if expected.is_none_or(|end| end.is_of_container) {
            return Ok(());
        }
        if let Some(expected) = timeline::missing_end(self.context, self.file, self.media, track, got, 0.0).await? {
            let text = format!(
                "the {} track {} of {} ends after {got:.2} of {expected:.2} s; it may be cut off",
                track.kind.name(),
                track.number,
                self.file.display()
            );
            let warning = Warning::new(Code::TruncatedSource, text)
                .with("expected_duration", expected)
                .with("got", micros(got));
            self.context.warnings.add(warning);
        }
        Ok(())
    }

    fn tracks(&self, kind: TrackKind) -> Value {
        self.media.tracks(kind).iter().map(Track::json).collect()
    }

    fn timeline(&self, audio: Option<&Track>, video: Option<&Track>, holes: Option<&[Hole]>) -> Value {
        let gaps: Option<Vec<_>> = holes.map(|holes| holes.iter().map(Hole::json).collect());
        json!({
            "clock": timeline::CLOCK,
            "start_time": micros(self.media.clock_start()),
            "duration": self.media.duration(),
            "audio": audio.map(Track::json),
            "video": video.map(Track::json),
            "gaps": gaps,
        })
    }

    fn output(&self, video: Option<&Track>, frames: Option<&FrameTimes>) -> Object {
        let mut output = Object::from_iter([
            ("format".into(), json!(self.media.format_name())),
            ("start_time".into(), json!(micros(self.media.clock_start()))),
            ("audio_tracks".into(), self.tracks(TrackKind::Audio)),
            ("video_tracks".into(), self.tracks(TrackKind::Video)),
            ("subtitle_tracks".into(), self.tracks(TrackKind::Subtitle)),
        ]);
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                output.insert(name.into(), value);
            }
        };
        add("duration", self.media.duration().map(|seconds| json!(seconds)));
        let picture = video.and_then(|track| self.media.picture_of(track));
        add("width", picture.map(|(width, _)| json!(width)));
        add("height", picture.map(|(_, height)| json!(height)));
        let rate = video.and_then(|track| self.media.frame_rate_of(track));
        add("frame_rate", rate.map(|rate| json!(micros(rate))));
        add("frames_count", frames.map(|frames| json!(frames.len())));
        add(
            "variable_frame_rate",
            frames.map(|frames| json!(is_variable(frames.starts()))),
        );
        output
    }
}

/// Whether frames do not follow each other at one distance, as exactly as containers have times.
fn is_variable(starts: &[f64]) -> bool {
    let distances = || starts.windows(2).map(|pair| pair[1] - pair[0]);
    let shortest = distances().fold(f64::INFINITY, f64::min);
    let longest = distances().fold(0.0, f64::max);
    longest - shortest > EVEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ffmpeg::clip, fixture::Fixture};

    const NODE: &str = "ffmpeg.probe";

    fn timeline(output: &Object) -> Value {
        serde_json::from_slice(&std::fs::read(output["timeline_path"].as_str().unwrap()).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_clock_of_a_file_its_tracks_and_its_frames_are_told() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            let late = ["-itsoffset".to_owned(), "1".to_owned()];
            let codec = [
                "-map",
                "0",
                "-map",
                "1",
                "-c:a",
                "aac",
                "-metadata:s:a:0",
                "language=eng",
                "-output_ts_offset",
                "50",
            ];
            clip::make_of(
                &fixture.path("a.ts"),
                &[&clip::picture(2), &late, &clip::beeps(2)],
                &codec,
            );
            json!({"video_path": fixture.path("a.ts")})
        });
        let output = run(&fixture.context).await.unwrap();
        for (field, value) in [
            ("format", json!("mpegts")),
            ("video_track", json!(0)),
            ("audio_track", json!(0)),
            ("audio_language", json!("eng")),
            ("width", json!(64)),
            ("height", json!(48)),
            ("frames_count", json!(20)),
            ("variable_frame_rate", json!(false)),
            ("gaps_count", json!(0)),
        ] {
            assert_eq!(output[field], value, "{field}");
        }
        assert!(output["start_time"].as_f64().unwrap() > 49.0);
        let timeline = timeline(&output);
        let times = timeline["frame_times"].as_array().unwrap();
        assert!(times[0].as_f64().unwrap().abs() < 0.01 && (times[19].as_f64().unwrap() - 1.9).abs() < 0.01);
        assert!(
            (timeline["audio"]["start"].as_f64().unwrap() - 1.0).abs() < 0.04,
            "{timeline}"
        );
        assert!(fixture.context.node.output_is_reusable(&output));
        assert_eq!(fixture.warnings(), []);
    }

    #[tokio::test]
    async fn uneven_frames_gaps_and_a_cut_end_are_told() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            let path = fixture.path("a.mkv");
            let filters = [
                "-vf",
                "select='lt(n,20)+not(mod(n,7))'",
                "-fps_mode",
                "vfr",
                "-af",
                "aselect='not(between(t,1.1,2.1))'",
                "-c:a",
                "aac",
            ];
            clip::make_of(&path, &[&clip::picture(10), &clip::beeps(10)], &filters);
            let bytes = std::fs::read(&path).unwrap();
            std::fs::write(&path, &bytes[..bytes.len() * 6 / 10]).unwrap();
            json!({"video_path": path})
        });
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(
            (&output["variable_frame_rate"], &output["gaps_count"]),
            (&json!(true), &json!(1))
        );
        let codes: Vec<_> = fixture.warnings().into_iter().map(|warning| warning.code).collect();
        assert_eq!(codes, ["gap", "truncated_source", "truncated_source"]);
    }

    #[tokio::test]
    async fn sound_alone_has_no_picture_and_a_track_that_is_not_there_is_refused() {
        let of = |more: Value| {
            Fixture::with_input(NODE, |fixture| {
                clip::tone(&fixture.path("a.mp3"), 1);
                let mut input = json!({"video_path": fixture.path("a.mp3")});
                input.as_object_mut().unwrap().extend(crate::fixture::object(more));
                input
            })
        };
        let output = run(&of(json!({})).context).await.unwrap();
        assert!(!output.contains_key("video_track") && !output.contains_key("frames_count"));
        assert_eq!(output["audio_tracks"].as_array().unwrap().len(), 1);
        let error = run(&of(json!({"video_track": 0})).context)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("no video track"), "{error}");
    }
}
