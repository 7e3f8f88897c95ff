//! `ffmpeg.mix_dub`: lays clips of speech onto the clock of a video, each at the time of its cue and as fast as it must
//! be to fit, beside the original sound or instead of it, at a loudness by EBU R128.

mod loudness;
mod place;
mod sounds;
mod track;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::{
    loudness::Loudness,
    place::{Placement, Spoken, StretchLimits},
    sounds::{ClipSounds, HeardPart},
    track::{RATE, Stretcher, VoiceTrack},
};
use super::{
    Advance, Ffmpeg, failed, language,
    probe::{self, Media},
    report_seconds, succeeded,
    tracks::{Track, TrackKind},
};
use crate::{
    input::{Input, create_folder, path_text, read, stem, write_json},
    speech::clips::{self, Clip},
    spoken::millis,
    timed_text::parse_json,
};
use onceover_run::{
    Object, RunContext, RunError,
    paths::Opened,
    warnings::{Code, Warning},
};

/// The filter after which late sound begins late and holes are silence: a second of it is a second of the video.
const ON_THE_CLOCK: &str = "aresample=48000:async=1:min_hard_comp=0.03:first_pts=0";

/// What happens to the sound of the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Original {
    /// Lowered during speech.
    Duck,
    /// Omitted.
    Replace,
    /// Kept as it is.
    Keep,
}

impl Original {
    fn parse(name: &str) -> Self {
        match name {
            "replace" => Self::Replace,
            "keep" => Self::Keep,
            _ => Self::Duck,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Duck => "duck",
            Self::Replace => "replace",
            Self::Keep => "keep",
        }
    }
}

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let video = input.file("video_path")?;
    let media = probe::media(context, &video).await?;
    let seconds = media.duration().ok_or_else(|| {
        RunError::failed(format!(
            "{} does not say how long it is, so a dub cannot be laid onto it; is the file complete?",
            video.display()
        ))
    })?;
    let (clips, folder) = read_clips(context)?;
    let scratch = create_folder(context, "scratch")?;
    let dub = lay_clips(context, clips, folder.as_deref(), seconds, &scratch).await?;
    let mix = Mix::new(context, &video, &media, seconds, &dub, &scratch)?;
    let loudness = mix.measure().await?;
    mix.write(&loudness).await?;
    let result = measure(context, &mix.target, "0:a:0").await?;
    let _ = std::fs::remove_dir_all(&scratch);
    dub.warn(context);
    let report = mix.target.with_file_name("dub.json");
    let loudness = json!({
        "target_lufs": mix.target_loudness,
        "before": loudness.json(),
        "after": result.json(),
        "peaks_held": loudness.is_limited(mix.target_loudness),
    });
    write_json(
        &report,
        &json!({"clips": dub.json(), "left_out": dub.left_out_json(), "loudness": loudness}),
    )?;
    let mut output = dub.counts();
    output.extend(Object::from_iter([
        ("dubbed_path".into(), json!(path_text(&mix.target))),
        ("report_path".into(), json!(path_text(&report))),
        ("duration".into(), json!(seconds)),
        ("original".into(), json!(mix.original.name())),
        ("loudness".into(), loudness),
    ]));
    output.extend(mix.track.iter().chain(&mix.picture).flat_map(Track::fields));
    Ok(output)
}

/// Returns the clips in the order of their starts, and the folder that relative paths of theirs begin in.
fn read_clips(context: &RunContext) -> Result<(Vec<Clip>, Option<PathBuf>), RunError> {
    let input = Input(context);
    let (name, folder, parsed) = match input.value("clips").filter(|clips| clips.as_array().is_some()) {
        Some(inline) => ("input_data.clips".to_owned(), None, clips::parse(inline.clone())),
        None => {
            let file = input.file("clips_file")?;
            let parsed = parse_json(&read(&file)?).and_then(clips::parse);
            (file.display().to_string(), file.parent().map(Path::to_owned), parsed)
        }
    };
    let mut clips = parsed.map_err(|why| RunError::failed(format!("{name} cannot be used: {why}")))?;
    clips.sort_by(|one, other| one.start.total_cmp(&other.start));
    Ok((clips, folder))
}

/// The clips of a dub that have sound, with the placement of each.
struct Dub {
    clips: Vec<(Clip, Spoken, Placement)>,
    /// Clips without sound, and why.
    left_out: Vec<(Clip, String)>,
}

/// Reads, places and lays them, in this order: how fast one is depends on when the next begins.
async fn lay_clips(
    context: &RunContext,
    clips: Vec<Clip>,
    folder: Option<&Path>,
    seconds: f64,
    scratch: &Path,
) -> Result<Dub, RunError> {
    let input = Input(context);
    let limits = StretchLimits {
        min_speed: input.number("min_speed")?,
        max_speed: input.number("max_speed")?,
        overrun: input.number("overrun")?,
    };
    let files: Vec<_> = clips.iter().map(|clip| file_of(clip, folder, seconds)).collect();
    let mut sounds = ClipSounds::new(context, scratch, files.iter().flatten().cloned())?;
    let (mut heard, mut left_out) = (Vec::new(), Vec::new());
    for (clip, file) in clips.into_iter().zip(files) {
        let sound = match file {
            Ok(file) => sounds.read(&clip, &file).await?,
            Err(why) => Err(why.to_owned()),
        };
        match sound {
            Ok(part) => heard.push((clip, part)),
            Err(why) => left_out.push((clip, why)),
        }
    }
    if heard.is_empty() {
        let why = left_out.first().map_or("there are none", |(_, why)| why.as_str());
        return Err(RunError::failed(format!(
            "none of the {} clips has sound that can be laid onto the video: {why}",
            left_out.len()
        )));
    }
    let spoken = |(clip, part): &(Clip, HeardPart)| Spoken {
        start: clip.start,
        end: clip.end,
        length: part.seconds(),
    };
    let times: Vec<_> = heard.iter().map(spoken).collect();
    let places = place::place(&times, seconds, limits);
    let mut track = VoiceTrack::create(&scratch.join("voice.wav"), seconds)?;
    let mut stretcher = Stretcher::new(context, scratch);
    let mut laid = Vec::with_capacity(places.len());
    let count = places.len();
    for (((clip, part), times), place) in heard.into_iter().zip(times).zip(places) {
        let samples = sounds.samples(part)?;
        track.lay(&stretcher.played(samples, place.speed).await?, clip.start)?;
        laid.push((clip, times, place));
        let message = format!("{} of {count} clips", laid.len());
        context
            .progress
            .report(50.0 * laid.len() as f64 / count as f64, Some(message));
    }
    Ok(Dub { clips: laid, left_out })
}

/// Returns the file a clip lies in, or why it has no sound.
fn file_of(clip: &Clip, folder: Option<&Path>, seconds: f64) -> Result<PathBuf, &'static str> {
    if clip.start >= seconds {
        return Err("it begins behind the end of the video");
    }
    let Some(path) = clip.audio_path.as_deref().filter(|path| !path.is_empty()) else {
        return Err("no sound was made for it");
    };
    Ok(folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path)))
}

impl Dub {
    /// Returns when clips are heard.
    fn spans(&self) -> Vec<(f64, f64)> {
        let spans = self.clips.iter();
        spans
            .map(|(_, times, place)| (times.start, times.start + times.length / place.speed))
            .collect()
    }

    fn over(&self) -> impl Iterator<Item = &(Clip, Spoken, Placement)> {
        self.clips.iter().filter(|(_, _, place)| place.over_by > 0.0)
    }

    fn longest_over(&self) -> f64 {
        self.over().map(|(_, _, place)| place.over_by).fold(0.0, f64::max)
    }

    fn highest_speed(&self) -> f64 {
        self.clips.iter().map(|(_, _, place)| place.speed).fold(0.0, f64::max)
    }

    fn counts(&self) -> Object {
        let changed = self.clips.iter().filter(|(_, _, place)| place.speed != 1.0).count();
        Object::from_iter([
            ("clips_count".into(), json!(self.clips.len())),
            ("left_out_count".into(), json!(self.left_out.len())),
            ("stretched_count".into(), json!(changed)),
            ("too_long_count".into(), json!(self.over().count())),
            ("highest_speed".into(), json!(millis(self.highest_speed()))),
        ])
    }

    fn json(&self) -> Value {
        let clip = |(clip, times, place): &(Clip, Spoken, Placement)| {
            json!({
                "id": clip.id,
                "text": clip.text,
                "start": millis(clip.start),
                "cue_end": millis(clip.end),
                "end": millis(times.start + times.length / place.speed),
                "spoken_duration": millis(times.length),
                "speed": millis(place.speed),
                "over_by": millis(place.over_by),
            })
        };
        self.clips.iter().map(clip).collect()
    }

    fn left_out_json(&self) -> Value {
        let clip = |(clip, why): &(Clip, String)| json!({"id": clip.id, "start": millis(clip.start), "text": clip.text, "why": why});
        self.left_out.iter().map(clip).collect()
    }

    fn warn(&self, context: &RunContext) {
        let name = |clip: &Clip| match &clip.id {
            Some(Value::String(id)) => id.clone(),
            Some(id) => id.to_string(),
            None => format!("{:.3} s", clip.start),
        };
        if let Some((_, why)) = self.left_out.first() {
            let ids: Vec<_> = self.left_out.iter().map(|(clip, _)| name(clip)).collect();
            clips::warn_left_out(context, &ids, self.clips.len() + self.left_out.len(), why);
        }
        let over: Vec<_> = self.over().collect();
        if let Some((worst, _, place)) = over
            .iter()
            .max_by(|(_, _, one), (_, _, other)| one.over_by.total_cmp(&other.over_by))
        {
            let text = format!(
                "{} of {} clips are too long for their cues also at {:.2} times the speed; the worst is {} (over by {:.2} s)",
                over.len(),
                self.clips.len(),
                place.speed,
                name(worst),
                place.over_by
            );
            context.warnings.add(
                Warning::new(Code::ClipsTooLong, text)
                    .with("clips", over.len())
                    .with("over_by", millis(self.longest_over()))
                    .with("speed", millis(place.speed)),
            );
        }
    }
}

/// The files that are mixed, and what is made of them.
struct Mix<'a> {
    context: &'a RunContext,
    video: &'a Path,
    seconds: f64,
    original: Original,
    /// The track whose sound is in the mix.
    track: Option<Track>,
    /// The picture, where the result has one.
    picture: Option<Track>,
    background: Option<Opened>,
    voice_gain: f64,
    target_loudness: f64,
    language: Option<String>,
    scratch: PathBuf,
    target: PathBuf,
}

impl<'a> Mix<'a> {
    fn new(
        context: &'a RunContext,
        video: &'a Opened,
        media: &Media,
        seconds: f64,
        dub: &Dub,
        scratch: &Path,
    ) -> Result<Self, RunError> {
        let input = Input(context);
        let chosen = |kind: TrackKind| media.track_of_request(kind, &input, video.display());
        let mut original = Original::parse(input.text("original").unwrap_or_default());
        if !media.has_audio() {
            original = Original::Replace;
        }
        let track = if original == Original::Replace {
            None
        } else {
            Some(chosen(TrackKind::Audio)?)
        };
        let has_picture = media.has_video() && input.text("output_format") != Some("wav");
        let picture = if has_picture {
            Some(chosen(TrackKind::Video)?)
        } else {
            None
        };
        let suffix = match (&picture, input.text("output_format")) {
            (None, _) => "wav",
            (Some(_), Some(format @ ("mp4" | "mkv"))) => format,
            (Some(picture), _) => container_for(picture),
        };
        let name = input
            .text("video_path")
            .and_then(stem)
            .unwrap_or_else(|| "video".into());
        if original == Original::Duck {
            let quiet = 10_f64.powf(input.number("duck_db")? / 20.0);
            track::write_envelope(&scratch.join("envelope.wav"), seconds, &dub.spans(), quiet)?;
        }
        Ok(Self {
            context,
            video,
            seconds,
            original,
            track,
            picture,
            background: match original {
                Original::Replace => input.optional_file("background_path")?,
                Original::Duck | Original::Keep => None,
            },
            voice_gain: input.number("voice_gain_db")?,
            target_loudness: input.number("loudness_target")?,
            language: input.text("language").map(language::tag).transpose()?,
            scratch: scratch.to_owned(),
            target: create_folder(context, "dub")?.join(format!("{name}_dubbed.{suffix}")),
        })
    }

    /// Returns an ffmpeg with all inputs: the video, the voice, then the envelope or the background.
    fn inputs(&self) -> Ffmpeg {
        let inputs = Ffmpeg::new()
            .on_the_clock()
            .input(self.video)
            .input(&self.scratch.join("voice.wav"));
        match (&self.original, &self.background) {
            (Original::Duck, _) => inputs.input(&self.scratch.join("envelope.wav")),
            (_, Some(background)) => inputs.input(background),
            _ => inputs,
        }
    }

    /// Returns the filters that end in the mix, which is named `[mix]`.
    fn filters(&self) -> String {
        let stereo = "aformat=sample_fmts=fltp:channel_layouts=stereo";
        let both = "pan=stereo|c0=c0|c1=c0";
        let voice = format!(
            "[1:a]aformat=sample_fmts=fltp,{both},volume={}dB[voice]",
            self.voice_gain
        );
        let length = format!("apad,atrim=end={:.6}", self.seconds);
        let sum = "amix=inputs=2:duration=longest:normalize=0[mix]";
        let sound = self.track.as_ref().map_or_else(|| "2:a:0".to_owned(), Track::map);
        match (self.original, &self.background) {
            (Original::Replace, None) => voice.replace("[voice]", "[mix]"),
            (Original::Replace, Some(_)) | (Original::Keep, _) => {
                format!("{voice};[{sound}]{ON_THE_CLOCK},{stereo},{length}[bed];[bed][voice]{sum}")
            }
            (Original::Duck, _) => format!(
                "{voice};[2:a]aresample={RATE},aformat=sample_fmts=fltp,{both}[envelope];\
                 [{sound}]{ON_THE_CLOCK},{stereo},apad[loud];[loud][envelope]amultiply,{length}[bed];[bed][voice]{sum}"
            ),
        }
    }

    async fn measure(&self) -> Result<Loudness, RunError> {
        let filters = format!("{};[mix]{}[out]", self.filters(), MEASURE);
        let exit = self
            .inputs()
            .args([
                "-loglevel",
                "info",
                "-filter_complex",
                &filters,
                "-map",
                "[out]",
                "-f",
                "null",
                "-",
            ])
            .run(self.context, |advance| self.report(advance, 50.0))
            .await?;
        let loudness = Loudness::parse(&exit.stderr).filter(|_| exit.is_success());
        loudness.ok_or_else(|| failed("mixing the sound of", self.video, &exit))
    }

    async fn write(&self, loudness: &Loudness) -> Result<(), RunError> {
        let level = if loudness.is_silence() {
            "anull".to_owned()
        } else {
            loudness.filters(self.target_loudness)
        };
        let filters = format!("{};[mix]{level}[out]", self.filters());
        let mut ffmpeg = self.inputs().args(["-filter_complex", &filters]);
        if let Some(picture) = &self.picture {
            ffmpeg = ffmpeg.args(["-map", &picture.map(), "-c:v", "copy"]);
        }
        ffmpeg = ffmpeg.args(["-map", "[out]", "-ar", &RATE.to_string()]);
        ffmpeg = match &self.picture {
            Some(_) => ffmpeg.args(["-c:a", "aac", "-b:a", "192k", "-map_chapters", "0"]),
            None => ffmpeg.args(["-c:a", "pcm_s16le", "-f", "wav"]),
        };
        if let Some(language) = &self.language {
            ffmpeg = ffmpeg.args(["-metadata:s:a:0", &format!("language={language}")]);
        }
        let exit = ffmpeg
            .output_video(&self.target)
            .run(self.context, |advance| self.report(advance, 75.0))
            .await?;
        succeeded("writing the dub of", self.video, &exit)
    }

    /// Each of the two passes is a quarter of the work.
    fn report(&self, advance: Advance, from: f64) {
        report_seconds(self.context, advance, Some(self.seconds), from..from + 25.0);
    }
}

/// The filter whose summary [`Loudness::parse`] reads.
const MEASURE: &str = "ebur128=peak=true:framelog=verbose";

/// Returns the loudness of a file's sound.
async fn measure(context: &RunContext, file: &Path, track: &str) -> Result<Loudness, RunError> {
    let exit = Ffmpeg::new()
        .args(["-loglevel", "info"])
        .input(file)
        .args(["-map", track, "-af", MEASURE, "-f", "null", "-"])
        .run(context, |_| ())
        .await?;
    let loudness = Loudness::parse(&exit.stderr).filter(|_| exit.is_success());
    loudness.ok_or_else(|| failed("measuring", file, &exit))
}

/// MP4, where it can hold the picture as it is.
fn container_for(picture: &Track) -> &'static str {
    match picture.codec.as_deref() {
        Some("h264" | "hevc" | "mpeg4" | "av1" | "vp9" | "mpeg2video" | "mjpeg") => "mp4",
        _ => "mkv",
    }
}

#[cfg(test)]
mod tests;
