//! What ffprobe says of a media file.

use std::path::Path;

use serde::{Deserialize, de::DeserializeOwned};

use super::{failed, file_argument, limits};
use crate::executor::{
    process::Tool,
    run::{RunContext, RunError},
};

/// A media file's streams and length.
#[derive(Debug, Deserialize)]
pub(super) struct Media {
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    format: Format,
}

#[derive(Debug, Deserialize)]
struct Stream {
    codec_type: Option<String>,
    duration: Option<String>,
    #[serde(default)]
    disposition: Disposition,
}

#[derive(Debug, Default, Deserialize)]
struct Disposition {
    #[serde(default)]
    attached_pic: u8,
}

#[derive(Debug, Default, Deserialize)]
struct Format {
    #[serde(default)]
    format_name: String,
    duration: Option<String>,
}

impl Media {
    pub(super) fn has_audio(&self) -> bool {
        self.streams
            .iter()
            .any(|stream| stream.codec_type.as_deref() == Some("audio"))
    }

    /// A cover picture is no video.
    pub(super) fn has_video(&self) -> bool {
        self.streams
            .iter()
            .any(|stream| stream.codec_type.as_deref() == Some("video") && stream.disposition.attached_pic == 0)
    }

    /// Seconds, where the file says.
    pub(super) fn duration(&self) -> Option<f64> {
        let of_streams = self.streams.iter().map(|stream| &stream.duration);
        std::iter::once(&self.format.duration)
            .chain(of_streams)
            .find_map(|text| text.as_ref()?.parse::<f64>().ok())
            .filter(|seconds| *seconds > 0.0)
    }

    /// Whether seeking to a time gives exactly that sample.
    pub(super) fn seeks_exactly(&self) -> bool {
        matches!(self.format.format_name.as_str(), "wav" | "w64" | "flac")
    }
}

pub(super) async fn media(context: &RunContext, path: &Path) -> Result<Media, RunError> {
    ffprobe(context, path, &["-show_format", "-show_streams"]).await
}

/// How a video's frames are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CountBy {
    /// Fast; right for all but a few files.
    Packets,
    /// Decodes the whole video.
    Frames,
}

/// The number of frames of the first video stream; 0 if it cannot be found out.
pub(super) async fn count_frames(context: &RunContext, path: &Path, by: CountBy) -> Result<u64, RunError> {
    #[derive(Deserialize)]
    struct Counted {
        #[serde(default)]
        streams: Vec<Counts>,
    }
    #[derive(Deserialize)]
    struct Counts {
        #[serde(alias = "nb_read_frames", alias = "nb_read_packets")]
        count: Option<String>,
    }
    let args = match by {
        CountBy::Packets => ["-count_packets", "stream=nb_read_packets"],
        CountBy::Frames => ["-count_frames", "stream=nb_read_frames"],
    };
    let args = ["-select_streams", "V:0", args[0], "-show_entries", args[1]];
    let counted: Counted = ffprobe(context, path, &args).await?;
    Ok(counted
        .streams
        .first()
        .and_then(|stream| stream.count.as_ref()?.parse().ok())
        .unwrap_or(0))
}

async fn ffprobe<T: DeserializeOwned>(context: &RunContext, path: &Path, args: &[&str]) -> Result<T, RunError> {
    let mut json = String::new();
    let exit = Tool::new("ffprobe")
        .args(["-hide_banner", "-v", "error", "-of", "json"])
        .args(args)
        .args(limits())
        .arg(file_argument(path))
        .run(context, |line| {
            json.push_str(line);
            json.push('\n');
        })
        .await?;
    if !exit.success() {
        return Err(failed("reading", path, &exit));
    }
    serde_json::from_str(&json).map_err(|why| {
        RunError::failed(format!(
            "ffprobe's answer about {} is not understood: {why}",
            path.display()
        ))
    })
}
