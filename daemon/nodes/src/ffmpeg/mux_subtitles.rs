//! `ffmpeg.mux_subtitles`: puts subtitles into a video as tracks that a viewer can turn on and off. Nothing is encoded
//! again and the tracks that were there are kept.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Ffmpeg, file_argument, language,
    probe::{self, Media},
    report_seconds, succeeded,
};
use crate::{
    input::{Input, create_folder, path_text, stem, write},
    timed_text::{self, compose_srt},
};
use onceover_run::{Object, RunContext, RunError};

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let video = input.file("video_path")?;
    let media = probe::media(context, &video).await?;
    if !media.has_video() && !media.has_audio() {
        return Err(RunError::failed(format!(
            "{} has neither picture nor sound",
            video.display()
        )));
    }
    let asked = Asked::from_input(&input)?;
    let container = Container::choose(&media, input.text("output_format"), &video)?;
    let scratch = create_folder(context, "scratch")?;
    let mut tracks = Vec::with_capacity(asked.len());
    for asked in asked {
        tracks.push(SubtitleTrack::prepare(context, asked, container, &scratch, tracks.len()).await?);
    }
    let name = input
        .text("video_path")
        .and_then(stem)
        .unwrap_or_else(|| "video".into());
    let suffix = container.suffix();
    let target = create_folder(context, "video")?.join(format!("{name}_subtitles.{suffix}"));
    mux(context, &video, &media, &tracks, container, &target).await?;
    let _ = std::fs::remove_dir_all(&scratch);
    let before = media.codecs_of("subtitle").len();
    Ok(Object::from_iter([
        ("video_path".into(), json!(path_text(&target))),
        ("subtitle_tracks".into(), json!(before + tracks.len())),
        ("added".into(), tracks.iter().map(SubtitleTrack::json).collect()),
    ]))
}

/// A track as a request asks for it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(alias = "subtitle_path")]
    path: String,
    #[serde(default)]
    language: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    forced: bool,
}

impl Asked {
    /// Returns the tracks of the list, else the one of the plain parameters.
    fn from_input(input: &Input<'_>) -> Result<Vec<Self>, RunError> {
        let listed = input.value("tracks").and_then(Value::as_array);
        let Some(listed) = listed.filter(|listed| !listed.is_empty()) else {
            return Ok(vec![Self {
                path: input.required_text("subtitle_path")?.to_owned(),
                language: input.text("language").map(ToOwned::to_owned),
                title: input.text("title").map(ToOwned::to_owned),
                default: input.flag("default")?,
                forced: input.flag("forced")?,
            }]);
        };
        let track = |(position, json): (usize, &Value)| {
            serde_json::from_value(json.clone()).map_err(|why| {
                RunError::failed(format!(
                    "input_data.tracks: number {} cannot be read: {why}; each is {{path, language, title, default, forced}}",
                    position + 1
                ))
            })
        };
        listed.iter().enumerate().map(track).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Mp4,
    Matroska,
}

impl Container {
    fn choose(media: &Media, asked: Option<&str>, video: &Path) -> Result<Self, RunError> {
        let misfit = media
            .codecs_of("audio")
            .into_iter()
            .find(|codec| !sound_fits_mp4(codec));
        let misfit = misfit.or_else(|| {
            media
                .codecs_of("video")
                .into_iter()
                .find(|codec| !picture_fits_mp4(codec))
        });
        let misfit = misfit.or_else(|| media.codecs_of("subtitle").into_iter().find(|codec| !is_text(codec)));
        match (asked, misfit) {
            (Some("mkv"), _) => Ok(Self::Matroska),
            (Some("mp4"), Some(codec)) => Err(RunError::failed(format!(
                "{} has a track of {codec}, which MP4 cannot hold; give output_format = \"mkv\" or \"auto\"",
                video.display()
            ))),
            (Some("mp4"), None) => Ok(Self::Mp4),
            (_, None) if media.is_mp4() => Ok(Self::Mp4),
            _ => Ok(Self::Matroska),
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Matroska => "mkv",
        }
    }

    /// Returns what a subtitle track of the source becomes; `copy` as it is.
    fn codec_for_existing(self, codec: &str) -> &'static str {
        match (self, codec) {
            (Self::Mp4, "mov_text") => "copy",
            (Self::Mp4, _) => "mov_text",
            (Self::Matroska, "mov_text") => "srt",
            (Self::Matroska, _) => "copy",
        }
    }
}

fn sound_fits_mp4(codec: &str) -> bool {
    matches!(codec, "aac" | "mp3" | "mp2" | "ac3" | "eac3" | "alac" | "opus" | "flac")
}

fn picture_fits_mp4(codec: &str) -> bool {
    matches!(
        codec,
        "h264" | "hevc" | "mpeg4" | "av1" | "vp9" | "mpeg2video" | "mjpeg" | "png"
    )
}

fn is_text(codec: &str) -> bool {
    matches!(codec, "mov_text" | "subrip" | "srt" | "ass" | "ssa" | "webvtt" | "text")
}

/// A track that is added, as a file that ffmpeg reads.
struct SubtitleTrack {
    file: PathBuf,
    /// The demuxer, and the codec in the result.
    format: &'static str,
    codec: &'static str,
    language: String,
    cues: usize,
    asked: Asked,
}

impl SubtitleTrack {
    async fn prepare(
        context: &RunContext,
        asked: Asked,
        container: Container,
        scratch: &Path,
        number: usize,
    ) -> Result<Self, RunError> {
        let source = Input(context).open("subtitle_path", &asked.path)?;
        let (listed, looks) = timed_text::cues_and_styles_of(context, &source).await?;
        let language = match asked
            .language
            .as_deref()
            .map(str::trim)
            .filter(|language| !language.is_empty())
        {
            Some(language) => language::tag(language)?,
            None => "und".into(),
        };
        let (format, codec, text) = match (container, looks) {
            // Its styles can only be kept in Matroska.
            (Container::Matroska, Some(text)) => ("ass", "ass", text.into_bytes()),
            (container, _) => {
                let cues = listed.iter().map(|cue| (cue.start, cue.end, cue.text.as_str()));
                let codec = if container == Container::Mp4 { "mov_text" } else { "srt" };
                ("srt", codec, compose_srt(cues))
            }
        };
        let file = scratch.join(format!("{number}.{format}"));
        write(&file, &text)?;
        Ok(Self {
            file,
            format,
            codec,
            language,
            cues: listed.len(),
            asked,
        })
    }

    fn disposition(&self) -> &'static str {
        match (self.asked.default, self.asked.forced) {
            (true, true) => "default+forced",
            (true, false) => "default",
            (false, true) => "forced",
            (false, false) => "0",
        }
    }

    fn json(&self) -> Value {
        json!({
            "path": self.asked.path,
            "language": self.language,
            "title": self.asked.title,
            "default": self.asked.default,
            "forced": self.asked.forced,
            "codec": self.codec,
            "cues": self.cues,
        })
    }
}

async fn mux(
    context: &RunContext,
    video: &Path,
    media: &Media,
    tracks: &[SubtitleTrack],
    container: Container,
    target: &Path,
) -> Result<(), RunError> {
    let mut ffmpeg = Ffmpeg::new().keeping_holes().input(video);
    for track in tracks {
        let whole = ["-protocol_whitelist", "file", "-f", track.format, "-i"];
        ffmpeg = ffmpeg.args(whole).args([file_argument(&track.file)]);
    }
    ffmpeg = ffmpeg.args(["-map", "0:v?", "-map", "0:a?", "-map", "0:s?"]);
    if container == Container::Matroska {
        // Fonts of styled subtitles.
        ffmpeg = ffmpeg.args(["-map", "0:t?"]);
    }
    ffmpeg = ffmpeg.args(["-c", "copy"]);
    let existing = media.codecs_of("subtitle");
    let takes_default = tracks.iter().any(|track| track.asked.default);
    for (number, codec) in existing.iter().enumerate() {
        ffmpeg = ffmpeg.args([format!("-c:s:{number}"), container.codec_for_existing(codec).into()]);
        if takes_default {
            ffmpeg = ffmpeg.args([format!("-disposition:s:{number}"), "-default".into()]);
        }
    }
    for (position, track) in tracks.iter().enumerate() {
        let number = existing.len() + position;
        ffmpeg = ffmpeg
            .args(["-map".into(), format!("{}:0", position + 1)])
            .args([format!("-c:s:{number}"), track.codec.into()])
            .args([
                format!("-metadata:s:s:{number}"),
                format!("language={}", track.language),
            ])
            .args([format!("-disposition:s:{number}"), track.disposition().into()]);
        if let Some(title) = &track.asked.title {
            // Players of MP4 show the handler's name.
            let key = if container == Container::Mp4 {
                "handler_name"
            } else {
                "title"
            };
            ffmpeg = ffmpeg.args([format!("-metadata:s:s:{number}"), format!("{key}={title}")]);
        }
    }
    let all = media.duration();
    let exit = ffmpeg
        .output_video(target)
        .run(context, |advance| report_seconds(context, advance, all, 0.0..100.0))
        .await?;
    succeeded("adding subtitles to", video, &exit)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::{
        ffmpeg::{clip, timeline},
        fixture::Fixture,
    };

    const NODE: &str = "ffmpeg.mux_subtitles";

    const SRT: &str = "1\n00:00:01,500 --> 00:00:01,900\nHello\n\n2\n00:00:00,500 --> 00:00:01,000\nFirst\n";

    fn probe(path: &Value, entries: &str) -> Vec<String> {
        let made = Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-select_streams",
                "s",
                "-show_entries",
                entries,
                "-of",
                "csv=p=0",
            ])
            .arg(path.as_str().unwrap())
            .output()
            .unwrap();
        String::from_utf8(made.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    const STREAMS: &str = "stream=codec_name:stream_disposition=default,forced:stream_tags=language,title";

    #[tokio::test]
    async fn several_tracks_have_their_languages_and_one_is_the_default() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            clip::video_with_tone(&fixture.path("a.mp4"));
            json!({"video_path": fixture.path("a.mp4"), "tracks": [
                {"path": fixture.file("de.srt", SRT), "language": "de", "default": true},
                {"path": fixture.file("fr.json", r#"[{"start": 0.5, "end": 1, "text": "Un"}]"#), "language": "fre", "forced": true},
            ]})
        });
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(
            probe(&output["video_path"], STREAMS),
            ["mov_text,1,0,deu", "mov_text,0,1,fra"]
        );
        assert_eq!(
            (&output["subtitle_tracks"], &output["added"][0]["cues"]),
            (&json!(2), &json!(2))
        );
        let times = probe(&output["video_path"], "packet=pts_time,stream_index,size");
        assert!(times.iter().any(|line| line.contains("0.500000")), "{times:?}");
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    #[tokio::test]
    async fn tracks_that_were_there_are_kept_in_another_container_too() {
        let mut fixture = Fixture::with_input(NODE, |fixture| {
            clip::video_with_tone(&fixture.path("a.mp4"));
            json!({"video_path": fixture.path("a.mp4"), "subtitle_path": fixture.file("a.srt", SRT), "language": "eng"})
        });
        let first = run(&fixture.context).await.unwrap();
        assert_eq!(probe(&first["video_path"], STREAMS), ["mov_text,1,0,eng"]);
        let ass = "[Script Info]\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Up,Arial\n\n[Events]\n\
                   Format: Layer, Start, End, Style, Text\nDialogue: 0,0:00:01.00,0:00:02.00,Up,UP\n";
        let ass = fixture.file("b.ass", ass);
        let input = &mut fixture.context.input;
        input.insert("video_path".into(), first["video_path"].clone());
        input.insert("subtitle_path".into(), json!(ass));
        input.insert("output_format".into(), json!("mkv"));
        input.insert("title".into(), json!("Signs, 'all' of them"));
        input.insert("language".into(), json!("de"));
        let second = run(&fixture.context).await.unwrap();
        assert_eq!(
            probe(&second["video_path"], STREAMS),
            ["subrip,0,0,eng", "ass,1,0,deu,\"Signs, 'all' of them\""]
        );
        assert_eq!(second["subtitle_tracks"], 2);
        // And into Matroska again, where the sound needs it.
        let wav = fixture.path("pcm.mov");
        clip::make(
            &wav,
            &[
                "-f",
                "lavfi",
                "-i",
                "testsrc=d=1:s=64x48:r=5",
                "-f",
                "lavfi",
                "-i",
                "sine=d=1",
                "-c:a",
                "pcm_s16le",
            ],
        );
        fixture.context.input.insert("video_path".into(), json!(wav));
        fixture.context.input.insert("output_format".into(), json!("mp4"));
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(error.contains("pcm_s16le") && error.contains("mkv"), "{error}");
    }

    #[tokio::test]
    async fn cues_stay_at_their_times_where_the_clock_begins_elsewhere() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            let args = [
                "-f",
                "lavfi",
                "-i",
                "testsrc=d=3:s=64x48:r=25",
                "-output_ts_offset",
                "5000",
                "-c:v",
                "libx264",
            ];
            clip::make(&fixture.path("a.ts"), &args);
            let late = "1\n00:00:02,000 --> 00:00:02,500\nLate\n";
            json!({"video_path": fixture.path("a.ts"), "subtitle_path": fixture.file("a.srt", late)})
        });
        let output = run(&fixture.context).await.unwrap();
        let path = output["video_path"].as_str().unwrap();
        assert!(path.ends_with(".mkv"), "{path}");
        let times = probe(&output["video_path"], "packet=pts_time");
        let video = timeline::frame_times(&fixture.context, Path::new(path), None, 0)
            .await
            .unwrap();
        let off = times[0].parse::<f64>().unwrap() - 2.0 - video.starts()[0];
        assert!(off.abs() < 0.04, "{times:?} {:?}", video.starts()[0]);
    }

    #[tokio::test]
    async fn a_hole_in_the_picture_stays_a_hole() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            clip::with_a_hole(&fixture.path("hole.ts"));
            json!({"video_path": fixture.path("hole.ts"), "subtitle_path": fixture.file("a.srt", SRT)})
        });
        let output = run(&fixture.context).await.unwrap();
        clip::assert_has_the_hole(&fixture.context, &output).await;
    }

    #[tokio::test]
    async fn what_cannot_be_added_says_which_and_why() {
        let mut fixture = Fixture::with_input(NODE, |fixture| {
            clip::video_with_tone(&fixture.path("a.mp4"));
            json!({"video_path": fixture.path("a.mp4"), "tracks": [{"path": fixture.file("a.srt", SRT), "language": "xx"}]})
        });
        for (tracks, why) in [
            (None, "'xx' is no language"),
            (Some(json!([{"language": "de"}])), "number 1"),
            (Some(json!([{"path": "/gone.srt"}])), "subtitle_path"),
        ] {
            if let Some(tracks) = tracks {
                fixture.context.input.insert("tracks".into(), tracks);
            }
            let error = run(&fixture.context).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
