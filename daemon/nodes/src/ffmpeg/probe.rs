//! What ffprobe reports about a media file.

use std::path::Path;

use onceover_wire::VideoProbe;
use serde::Deserialize;

use super::{
    failed, file_argument, limits, succeeded,
    tracks::{Track, TrackKind},
};
use onceover_run::{
    RunContext, RunError,
    tool::{Exit, Tool},
};

/// A media file's streams and length.
#[derive(Debug, Deserialize)]
pub(crate) struct Media {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Deserialize)]
pub(super) struct Stream {
    #[serde(default)]
    pub(super) index: u32,
    codec_type: Option<String>,
    pub(super) codec_name: Option<String>,
    pub(super) start_time: Option<String>,
    pub(super) duration: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    avg_frame_rate: Option<String>,
    field_order: Option<String>,
    r_frame_rate: Option<String>,
    #[serde(default)]
    side_data_list: Vec<SideData>,
    #[serde(default)]
    pub(super) disposition: Disposition,
    #[serde(default)]
    pub(super) tags: Tags,
}

#[derive(Debug, Deserialize)]
struct SideData {
    /// Degrees by which the picture is turned before it is shown.
    rotation: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Disposition {
    #[serde(default)]
    pub(super) default: u8,
    #[serde(default)]
    attached_pic: u8,
    #[serde(default)]
    timed_thumbnails: u8,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Tags {
    pub(super) language: Option<String>,
    pub(super) title: Option<String>,
    /// When the last packet ends, or how long the track is: Matroska, `00:00:10.001000000`.
    #[serde(rename = "DURATION", alias = "DURATION-eng")]
    duration: Option<String>,
}

/// Where a track ends on the players' clock, as the file says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ExpectedEnd {
    pub(super) seconds: f64,
    /// The container says it, of whichever track is the longest.
    pub(super) is_of_container: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Format {
    #[serde(default)]
    format_name: String,
    start_time: Option<String>,
    duration: Option<String>,
}

impl Media {
    pub(super) fn has_audio(&self) -> bool {
        self.streams_of(TrackKind::Audio).next().is_some()
    }

    /// A cover picture is no video.
    pub(super) fn has_video(&self) -> bool {
        self.streams_of(TrackKind::Video).next().is_some()
    }

    /// Returns the codecs of all streams of a type, cover pictures included.
    pub(super) fn codecs_of(&self, codec_type: &str) -> Vec<&str> {
        let streams = self.streams.iter();
        let of_type = streams.filter(|stream| stream.codec_type.as_deref() == Some(codec_type));
        of_type
            .map(|stream| stream.codec_name.as_deref().unwrap_or("unknown"))
            .collect()
    }

    /// Whether it is MP4 or its elder brother QuickTime.
    pub(super) fn is_mp4(&self) -> bool {
        self.format.format_name.split(',').any(|name| name == "mp4")
    }

    /// Returns the streams of a kind, without cover pictures and thumbnails.
    pub(super) fn streams_of(&self, kind: TrackKind) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(move |stream| {
            let Disposition {
                attached_pic,
                timed_thumbnails,
                ..
            } = stream.disposition;
            stream.codec_type.as_deref() == Some(kind.name()) && attached_pic == 0 && timed_thumbnails == 0
        })
    }

    /// Returns the video stream that is taken unless a request names one.
    fn video(&self) -> Option<&Stream> {
        let mut videos = self.streams_of(TrackKind::Video);
        let first = videos.next()?;
        std::iter::once(first)
            .chain(videos)
            .find(|stream| stream.disposition.default != 0)
            .or(Some(first))
    }

    fn stream(&self, track: &Track) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.index == track.stream)
    }

    /// Returns the time stamp that players show as 0, in seconds.
    pub(super) fn clock_start(&self) -> f64 {
        let start = self.format.start_time.as_ref();
        start.and_then(|text| text.parse().ok()).unwrap_or(0.0)
    }

    /// Whether time stamps of the container may begin again in the middle.
    pub(super) fn may_restart_its_clock(&self) -> bool {
        matches!(self.format.format_name.as_str(), "mpegts" | "mpeg")
    }

    /// Returns ffmpeg's name of the format; several names of one format have commas between them.
    pub(super) fn format_name(&self) -> &str {
        &self.format.format_name
    }

    /// Whether a track's packets may be more or fewer than its frames: invisible ones, two frames in one, fields.
    pub(super) fn packets_may_not_be_frames(&self, track: &Track) -> bool {
        let codec = track.codec.as_deref().unwrap_or_default();
        let fields = self.stream(track).and_then(|stream| stream.field_order.as_deref());
        let is_interlaced = fields.is_some_and(|order| !matches!(order, "progressive" | "unknown"));
        match codec {
            "vp8" => true,
            "h264" => is_interlaced && self.may_restart_its_clock(),
            "mpeg4" | "msmpeg4v1" | "msmpeg4v2" | "msmpeg4v3" => self.format.format_name == "avi",
            _ => false,
        }
    }

    /// Returns the width and height of the picture as ffmpeg decodes it, turned the way it is shown.
    pub(super) fn picture(&self) -> Option<(u32, u32)> {
        picture(self.video()?)
    }

    /// Returns the same of a track that was chosen.
    pub(super) fn picture_of(&self, track: &Track) -> Option<(u32, u32)> {
        picture(self.stream(track)?)
    }

    /// Returns frames a second: the average where the file says, else what its time stamps suggest.
    pub(super) fn frame_rate(&self) -> Option<f64> {
        frame_rate(self.video()?)
    }

    /// Returns the same of a track that was chosen.
    pub(super) fn frame_rate_of(&self, track: &Track) -> Option<f64> {
        frame_rate(self.stream(track)?)
    }

    /// Returns seconds, where the file says.
    pub(super) fn duration(&self) -> Option<f64> {
        let of_streams = self.streams.iter().map(|stream| &stream.duration);
        std::iter::once(&self.format.duration)
            .chain(of_streams)
            .find_map(|text| text.as_ref()?.parse::<f64>().ok())
            .filter(|seconds| *seconds > 0.0)
    }

    /// Returns where a track should end. Transport and program streams do not say: for them ffprobe reports what is
    /// there.
    pub(super) fn expected_end(&self, track: &Track) -> Option<ExpectedEnd> {
        if self.may_restart_its_clock() {
            return None;
        }
        let of_track = track.duration.map(|duration| duration + track.start.unwrap_or(0.0));
        let tag = self.stream(track).and_then(|stream| stream.tags.duration.as_deref());
        // Some write the end, some the length; what is less is not more than is there.
        let of_tag = tag.and_then(clock_time).map(|end| end - self.clock_start().max(0.0));
        if let Some(seconds) = of_track.or(of_tag).filter(|seconds| *seconds > 0.0) {
            return Some(ExpectedEnd {
                seconds,
                is_of_container: false,
            });
        }
        let of_container = self.format.duration.as_ref()?.parse().ok()?;
        Some(ExpectedEnd {
            seconds: of_container,
            is_of_container: true,
        })
    }

    /// Whether the container has no time stamps: time is the number of samples, so there is no hole.
    pub(super) fn counts_samples(&self) -> bool {
        let formats = [
            "wav", "w64", "aiff", "caf", "au", "mp3", "flac", "aac", "ac3", "eac3", "dts", "amr", "ape", "wv", "tta",
            "tak",
        ];
        formats.contains(&self.format.format_name.as_str())
    }

    /// Returns the description of a registered video.
    pub(super) fn description(&self, size: u64) -> VideoProbe {
        let audio = self.streams_of(TrackKind::Audio);
        VideoProbe {
            duration: self.duration(),
            size,
            format: self.format.format_name.clone(),
            width: self.picture().map(|(width, _)| width),
            height: self.picture().map(|(_, height)| height),
            frame_rate: self.frame_rate(),
            video_codec: self.video().and_then(|stream| stream.codec_name.clone()),
            audio_codecs: audio
                .map(|stream| stream.codec_name.clone().unwrap_or_else(|| "unknown".into()))
                .collect(),
        }
    }

    /// Whether seeking to a time gives exactly that sample.
    pub(super) fn seeks_exactly(&self) -> bool {
        matches!(self.format.format_name.as_str(), "wav" | "w64" | "flac")
    }
}

fn picture(video: &Stream) -> Option<(u32, u32)> {
    let (width, height) = (video.width?, video.height?);
    let turn = video
        .side_data_list
        .iter()
        .find_map(|data| data.rotation)
        .unwrap_or(0.0);
    let lies = (turn / 90.0).round().rem_euclid(2.0) == 1.0;
    Some(if lies { (height, width) } else { (width, height) })
}

fn frame_rate(video: &Stream) -> Option<f64> {
    [&video.avg_frame_rate, &video.r_frame_rate]
        .into_iter()
        .find_map(|text| fraction(text.as_ref()?))
        .filter(|rate| (0.001..100_000.0).contains(rate))
}

/// Returns the seconds of `00:00:10.001000000`.
fn clock_time(text: &str) -> Option<f64> {
    let mut parts = text.split(':').rev();
    let seconds: f64 = parts.next()?.parse().ok()?;
    let minutes: f64 = parts.next()?.parse().ok()?;
    let hours: f64 = parts.next()?.parse().ok()?;
    Some(hours * 3600.0 + minutes * 60.0 + seconds)
}

/// `30000/1001`; `0/0` is none.
fn fraction(text: &str) -> Option<f64> {
    let (above, below) = text.split_once('/')?;
    let value = above.parse::<f64>().ok()? / below.parse::<f64>().ok()?;
    (value.is_finite() && value > 0.0).then_some(value)
}

pub(super) async fn media(context: &RunContext, path: &Path) -> Result<Media, RunError> {
    let tried = try_media(context, path).await?;
    tried.map_err(|exit| failed("reading", path, &exit))
}

/// Probes a file, as `media` does. The inner error is the exit of an ffprobe that could not read the file.
pub(super) async fn try_media(context: &RunContext, path: &Path) -> Result<Result<Media, Exit>, RunError> {
    let mut json = String::new();
    let args = ["-of", "json", "-show_format", "-show_streams"];
    let exit = ffprobe(context, path, &args, |line| {
        json.push_str(line);
        json.push('\n');
    })
    .await?;
    if !exit.is_success() {
        return Ok(Err(exit));
    }
    let media = serde_json::from_str(&json).map_err(|why| {
        RunError::failed(format!(
            "ffprobe's answer about {} is not understood: {why}",
            path.display()
        ))
    })?;
    Ok(Ok(media))
}

/// Whether the length that ffprobe reports is a guess from the size and the bit rate of the beginning.
pub(super) async fn duration_is_estimated(context: &RunContext, path: &Path) -> Result<bool, RunError> {
    let exit = Tool::new("ffprobe")
        .args(["-hide_banner", "-v", "warning"])
        .args(limits())
        .arg(file_argument(path))
        .run(context, |_| {})
        .await?;
    Ok(exit.stderr.iter().any(|line| line.contains("Estimating duration")))
}

/// Passes on each line that ffprobe writes.
pub(super) async fn ffprobe_lines(
    context: &RunContext,
    path: &Path,
    args: &[&str],
    on_line: impl FnMut(&str) + Send,
) -> Result<(), RunError> {
    let exit = ffprobe(context, path, args, on_line).await?;
    succeeded("reading", path, &exit)
}

async fn ffprobe(
    context: &RunContext,
    path: &Path,
    args: &[&str],
    on_line: impl FnMut(&str) + Send,
) -> Result<Exit, RunError> {
    Tool::new("ffprobe")
        .args(["-hide_banner", "-v", "error"])
        .args(args)
        .args(limits())
        .arg(file_argument(path))
        .run(context, on_line)
        .await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn media(video: Value) -> Media {
        let cover = json!({"codec_type": "video", "width": 9, "height": 9, "disposition": {"attached_pic": 1}});
        serde_json::from_value(json!({"streams": [cover, video]})).unwrap()
    }

    #[test]
    fn a_turned_picture_is_as_high_as_it_was_wide() {
        for (turn, shown) in [
            (json!([]), (640, 360)),
            (json!([{"side_data_type": "other"}, {"rotation": -90}]), (360, 640)),
            (json!([{"rotation": 270}]), (360, 640)),
            (json!([{"rotation": 180}]), (640, 360)),
        ] {
            let video = json!({"codec_type": "video", "width": 640, "height": 360, "side_data_list": turn});
            assert_eq!(media(video).picture(), Some(shown));
        }
    }

    #[test]
    fn the_frame_rate_is_the_average_where_there_is_one() {
        for (average, usual, rate) in [
            ("25/1", "50/1", Some(25.0)),
            ("30000/1001", "30/1", Some(30_000.0 / 1001.0)),
            ("0/0", "24/1", Some(24.0)),
            ("0/0", "0/0", None),
        ] {
            let video = json!({"codec_type": "video", "avg_frame_rate": average, "r_frame_rate": usual});
            assert_eq!(media(video).frame_rate(), rate, "{average} {usual}");
        }
    }
}
