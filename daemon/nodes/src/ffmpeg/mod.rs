//! The nodes that call ffmpeg, and how it is called: on one local file, with no other file, protocol or
//! playlist reachable from it, and with progress that can be read.

pub(super) mod burn_subtitles;
pub(super) mod crop_subtitle_images;
pub(super) mod extract_audio;
pub(super) mod extract_keyframes;
pub(super) mod mix_dub;
pub(super) mod mux_subtitles;
pub(super) mod probe_media;
pub(super) mod split_audio_segments;

pub(super) mod kept_frames;
pub(super) mod timeline;
pub(super) mod tracks;

mod area;
mod language;
mod pieces;
mod probe;
mod segments;
mod sound;
mod strips;
mod wav;

pub use self::{sound::MOST_HOURS as SOUND_LIMIT, timeline::MOST_FRAMES as FRAMES_LIMIT};

use std::{ffi::OsString, ops::Range, path::Path};

use onceover_wire::VideoProbe;
use timeline::FrameTimes;
use tokio::sync::mpsc;
use tracks::Track;

use onceover_run::{
    RunContext, RunError, paths,
    tool::{Exit, Tool},
    warnings::{Code, Warning},
};

/// Why a file is not described.
#[derive(Debug)]
pub enum Undescribed {
    /// It can be read and has no picture. For people.
    NoVideo(String),
    /// ffprobe cannot make sense of what it is. For people.
    Damaged(String),
    /// ffprobe was not run to its end.
    Run(RunError),
}

impl From<RunError> for Undescribed {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

/// Describes a file that is a video.
pub async fn describe(context: &RunContext, video: &Path) -> Result<VideoProbe, Undescribed> {
    let media = match probe::try_media(context, video).await? {
        Ok(media) => media,
        Err(exit) => return Err(undescribed(video, &exit)),
    };
    if !media.has_video() {
        return Err(Undescribed::NoVideo(format!("{} has no video track", video.display())));
    }
    let size = tokio::fs::metadata(video)
        .await
        .map_err(|why| RunError::failed(format!("cannot read {}: {why}", video.display())))?
        .len();
    Ok(media.description(size))
}

/// Returns why an ffprobe that failed does not describe a file.
fn undescribed(video: &Path, exit: &Exit) -> Undescribed {
    let why = failed("reading", video, exit);
    // A signal ended it, which says nothing about the file.
    if exit.status.code().is_none() {
        return why.into();
    }
    match is_of_no_known_format(exit) {
        true => Undescribed::NoVideo(why.to_string()),
        false => Undescribed::Damaged(format!("{why}; is the file complete?")),
    }
}

/// Whether an ffprobe failed because the file is in no format that it reads. Of one that it reads, and that is damaged,
/// the format's reader has printed more, in lines that begin with its name in brackets.
fn is_of_no_known_format(exit: &Exit) -> bool {
    let has_reader = exit.stderr.iter().any(|line| line.starts_with('['));
    is_refused(exit) || (!has_reader && has_printed(exit, "Invalid data found when processing input"))
}

/// Whether a program failed because `FORMATS` leaves out the format of a file.
fn is_refused(exit: &Exit) -> bool {
    has_printed(exit, "Format not on whitelist")
}

fn has_printed(exit: &Exit, what: &str) -> bool {
    exit.stderr.iter().any(|line| line.contains(what))
}

/// Containers that hold their own media. Playlists and scripts (hls, concat, dash, imf, sdp ...), which make ffmpeg
/// open other files, are left out.
const FORMATS: &str = "mov,matroska,avi,flv,live_flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,ogg,wav,w64,aiff,\
caf,au,mp3,aac,ac3,eac3,dts,flac,amr,ape,wv,tta,tak,asf,mxf,rm,nut,dv,gif,wtv,mjpeg,yuv4mpegpipe";

/// `file:` keeps a name from being read as an option or a protocol.
fn file_argument(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(path);
    argument
}

/// Limits on what an input may make ffmpeg or ffprobe open; stands before the input.
fn limits() -> [&'static str; 4] {
    ["-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS]
}

/// A call of ffmpeg that reads one file.
struct Ffmpeg {
    tool: Tool,
}

impl Ffmpeg {
    fn new() -> Self {
        Self {
            tool: Tool::new("ffmpeg").args([
                "-hide_banner",
                "-nostdin",
                "-loglevel",
                "error",
                "-nostats",
                "-stats_period",
                "0.5",
                "-progress",
                "pipe:1",
                "-y",
            ]),
        }
    }

    /// Makes an ffmpeg that writes its result to standard output, without progress.
    fn for_bytes() -> Self {
        Self {
            tool: Tool::new("ffmpeg").args(["-hide_banner", "-nostdin", "-loglevel", "error", "-nostats", "-y"]),
        }
    }

    /// Sends its output in parts as they arrive.
    async fn run_for_bytes(self, context: &RunContext, to: mpsc::Sender<Vec<u8>>) -> Result<Exit, RunError> {
        self.tool.run_for_bytes(context, to).await
    }

    /// Options of the input, or, after `input`, of the output.
    fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.tool = self.tool.args(args);
        self
    }

    /// Keeps late packets of the next input late, and its holes as holes, as `timeline` has them.
    fn on_the_clock(self) -> Self {
        // With any offset ffmpeg does not move late packets to the beginning.
        self.keeping_holes().args(["-itsoffset", "0.000001"])
    }

    /// Keeps ffmpeg from taking a hole for a clock that began again.
    fn keeping_holes(self) -> Self {
        self.args(["-dts_delta_threshold", &timeline::LONGEST_HOLE.to_string()])
    }

    fn input(self, path: &Path) -> Self {
        self.args(limits()).args(["-i".into(), file_argument(path)])
    }

    fn output(self, path: &Path) -> Self {
        self.args([file_argument(path)])
    }

    /// The output as a video: the index of an MP4 goes to its beginning.
    fn output_video(self, path: &Path) -> Self {
        if path.extension().is_some_and(|suffix| suffix == "mp4") {
            self.args(["-movflags", "+faststart"]).output(path)
        } else {
            self.output(path)
        }
    }

    fn current_dir(mut self, dir: &Path) -> Self {
        self.tool = self.tool.current_dir(dir);
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.tool = self.tool.env(name, value);
        self
    }

    /// Only exit code 0 is success: an ffmpeg that was ended early prints `progress=end`, too.
    async fn run(self, context: &RunContext, mut on_advance: impl FnMut(Advance) + Send) -> Result<Exit, RunError> {
        self.tool
            .run(context, |line| {
                if let Some(advance) = Advance::parse(line) {
                    on_advance(advance);
                }
            })
            .await
    }
}

/// Reports how much of `all` seconds is done, in percent of a part of the work.
fn report_seconds(context: &RunContext, advance: Advance, all: Option<f64>, part: Range<f64>) {
    if let (Advance::Seconds(done), Some(all)) = (advance, all) {
        let percent = part.start + (part.end - part.start) * (done / all).min(1.0);
        context
            .progress
            .report(percent, Some(format!("{done:.0} of {all:.0} s")));
    }
}

/// Whether an ffmpeg ended well.
fn succeeded(doing: &str, path: &Path, exit: &Exit) -> Result<(), RunError> {
    if exit.is_success() {
        Ok(())
    } else {
        Err(failed(doing, path, exit))
    }
}

/// Returns the error for an ffmpeg that failed.
fn failed(doing: &str, path: &Path, exit: &Exit) -> RunError {
    let advice = if is_refused(exit) {
        "; playlists and other files that refer to files are not read"
    } else {
        ""
    };
    RunError::failed(format!(
        "{doing} {} failed with {}{}{advice}",
        path.display(),
        exit.in_words(),
        exit.stderr_in_words()
    ))
}

/// Warns of a picture track whose frames end long before the time the file says, as in half a file.
async fn warn_of_truncation(
    context: &RunContext,
    video: &Path,
    media: &probe::Media,
    track: &Track,
    times: &FrameTimes,
) -> Result<(), RunError> {
    /// Part of the whole that a file may be wrong about.
    const OFF: f64 = 0.02;
    let got = times.end();
    let Some(expected) = timeline::missing_end(context, video, media, track, got, OFF).await? else {
        return Ok(());
    };
    let text = format!(
        "the picture of {} ends after {got:.2} of {expected:.2} s; is the file complete?",
        video.display()
    );
    context.warnings.add(
        Warning::new(Code::TruncatedSource, text)
            .with("expected_duration", expected)
            .with("got", timeline::micros(got)),
    );
    Ok(())
}

/// Spans of seconds in the order of their starts, of which those become one that have no longer gap than this between
/// them.
fn joined_spans(spans: &[(f64, f64)], gap: f64) -> Vec<(f64, f64)> {
    let mut joined: Vec<(f64, f64)> = Vec::new();
    for (start, end) in spans {
        match joined.last_mut() {
            Some(last) if *start - last.1 <= gap => last.1 = last.1.max(*end),
            _ => joined.push((*start, *end)),
        }
    }
    joined
}

/// Returns how many pictures ffmpeg has written into a folder.
fn pictures(folder: &Path) -> Result<u64, RunError> {
    let files = std::fs::read_dir(folder)
        .map_err(|why| RunError::of_file(format_args!("cannot read {}", folder.display()), &why))?;
    let is_picture = |path: &Path| path.extension().is_some_and(|suffix| suffix == "jpg");
    Ok(files.flatten().filter(|file| is_picture(&file.path())).count() as u64)
}

/// Empties a folder of the run for another try.
fn clear(folder: &Path) -> Result<(), RunError> {
    paths::remove_content(folder, "")
        .map_err(|why| RunError::of_file(format_args!("cannot clear {}", folder.display()), &why))
}

/// One line of `-progress` that says how far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Advance {
    /// Seconds of output.
    Seconds(f64),
    /// Frames of output.
    Frames(u64),
}

impl Advance {
    fn parse(line: &str) -> Option<Self> {
        let (key, value) = line.split_once('=')?;
        let value = value.trim();
        match key {
            // `out_time_ms` is in microseconds as well.
            "out_time_us" => Some(Self::Seconds(value.parse::<f64>().ok()? / 1e6)),
            "frame" => value.parse().ok().map(Self::Frames),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn progress_lines_are_read_and_others_skipped() {
        assert_eq!(Advance::parse("out_time_us=2500000"), Some(Advance::Seconds(2.5)));
        assert_eq!(Advance::parse("frame= 12"), Some(Advance::Frames(12)));
        for other in [
            "out_time_us=N/A",
            "out_time_ms=5",
            "progress=end",
            "bitrate= 471.3kbits/s",
            "",
        ] {
            assert_eq!(Advance::parse(other), None, "{other}");
        }
    }

    #[test]
    fn an_ffprobe_that_a_signal_ended_says_nothing_about_the_file() {
        let ended = |status: i32, stderr: &str| {
            let exit = Exit {
                status: ExitStatus::from_raw(status),
                stderr: vec![stderr.into()],
            };
            undescribed(Path::new("a.mp4"), &exit)
        };
        let reader = "[mov,mp4 @ 0x1] moov atom not found";
        let found = ended(9, reader);
        assert!(
            matches!(&found, Undescribed::Run(RunError::Failed(why)) if why.contains("signal 9")),
            "{found:?}"
        );
        let found = ended(1 << 8, reader);
        assert!(matches!(found, Undescribed::Damaged(_)), "{found:?}");
    }

    #[tokio::test]
    async fn what_is_no_video_is_distinguished_from_what_cannot_be_read() {
        let fixture = Fixture::of_node("ffmpeg.extract_audio");
        let at = |name: &str| fixture.context.dir.join(name);
        clip::video_with_tone(&at("clip.mp4"));
        clip::tone(&at("tone.m4a"), 1);
        std::fs::write(at("types.ts"), "export type A = string;\n").unwrap();
        std::fs::write(at("list.m3u8"), "#EXTM3U\n#EXTINF:1,\nclip.mp4\n").unwrap();
        let whole = std::fs::read(at("clip.mp4")).unwrap();
        std::fs::write(at("half.mp4"), &whole[..whole.len() / 2]).unwrap();
        let described = async |name: &str| describe(&fixture.context, &at(name)).await;
        assert!(described("clip.mp4").await.is_ok());
        for name in ["tone.m4a", "types.ts", "list.m3u8"] {
            let found = described(name).await;
            assert!(matches!(found, Err(Undescribed::NoVideo(_))), "{name}: {found:?}");
        }
        let found = described("half.mp4").await;
        assert!(matches!(found, Err(Undescribed::Damaged(_))), "{found:?}");
        fixture.context.cancel.cancel();
        let found = described("clip.mp4").await;
        assert!(
            matches!(found, Err(Undescribed::Run(RunError::Interrupted))),
            "{found:?}"
        );
    }
}

/// Tiny media for the tests of the nodes.
#[cfg(test)]
pub(super) mod clip {
    use std::{path::Path, process::Command};

    use super::timeline;
    use onceover_run::{Object, RunContext};

    /// Two seconds: 30 frames of a test picture (the first number shown counts up) and a tone.
    pub(crate) fn video_with_tone(path: &Path) {
        make(
            path,
            &[
                "-f",
                "lavfi",
                "-i",
                "testsrc=duration=2:size=160x120:rate=15",
                "-f",
                "lavfi",
                "-i",
                "sine=duration=2",
                "-pix_fmt",
                "yuv420p",
                "-shortest",
            ],
        );
    }

    pub(crate) fn video_without_sound(path: &Path) {
        make(path, &["-f", "lavfi", "-i", "testsrc=duration=1:size=160x120:rate=15"]);
    }

    /// A tone of the given length.
    pub(crate) fn tone(path: &Path, seconds: u32) {
        make(
            path,
            &[
                "-f",
                "lavfi",
                "-i",
                &format!("sine=duration={seconds}:sample_rate=44100"),
            ],
        );
    }

    /// Returns a beep of 0.1 s at each whole second, as arguments of an input.
    pub(crate) fn beeps(seconds: u32) -> Vec<String> {
        let tone = format!("aevalsrc='if(lt(mod(t,1),0.1),0.5*sin(2*PI*1000*t),0)':s=48000:d={seconds}");
        ["-f", "lavfi", "-i", &tone].map(str::to_owned).into()
    }

    /// Returns a small picture of this length, as arguments of an input.
    pub(crate) fn picture(seconds: u32) -> Vec<String> {
        let source = format!("testsrc=d={seconds}:s=64x48:r=10");
        ["-f", "lavfi", "-i", &source].map(str::to_owned).into()
    }

    /// Makes a file with several groups of arguments.
    pub(crate) fn make_of(path: &Path, groups: &[&[String]], codec: &[&str]) {
        let args: Vec<&str> = groups
            .iter()
            .flat_map(|group| group.iter().map(String::as_str))
            .chain(["-c:v", "libx264", "-preset", "ultrafast"])
            .chain(codec.iter().copied())
            .collect();
        make(path, &args);
    }

    /// Returns the seconds of a WAV file and where beeps begin in it.
    pub(crate) fn heard(path: &Path) -> (Vec<f64>, f64) {
        let bytes = std::fs::read(path).unwrap();
        let data = bytes.windows(4).position(|four| four == b"data").unwrap() + 8;
        let rate = f64::from(u32::from_le_bytes(bytes[24..28].try_into().unwrap()));
        let channels = usize::from(bytes[22]);
        let (mut onsets, mut last) = (Vec::new(), f64::NEG_INFINITY);
        let samples = bytes[data..].chunks_exact(2 * channels);
        let length = samples.len() as f64 / rate;
        for (at, sample) in samples.enumerate() {
            let now = at as f64 / rate;
            if i16::from_le_bytes([sample[0], sample[1]]).unsigned_abs() > 3000 {
                if now - last > 0.3 {
                    onsets.push(now);
                }
                last = now;
            }
        }
        (onsets, length)
    }

    /// 18 s at 5 a second, of which 12 are not there, in a container whose clock ffmpeg does not trust.
    pub(crate) fn with_a_hole(path: &Path) {
        let source = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=5:d=18"];
        let hole = [
            "-vf",
            "select='not(between(t,2.1,14.1))'",
            "-fps_mode",
            "vfr",
            "-c:v",
            "libx264",
        ];
        make(path, &[&source[..], &hole].concat());
    }

    /// Asserts that the video a run made of that one has the hole as well.
    pub(crate) async fn assert_has_the_hole(context: &RunContext, output: &Object) {
        let seconds = async |of: &Object| {
            let path = Path::new(of["video_path"].as_str().unwrap());
            let times = timeline::frame_times(context, path, None, 0).await.unwrap();
            times.starts()[times.len() - 1] - times.starts()[0]
        };
        let (before, after) = (seconds(&context.input).await, seconds(output).await);
        assert!(before > 17.0 && (before - after).abs() < 0.05, "{before} {after}");
    }

    pub(crate) fn make(path: &Path, args: &[&str]) {
        let status = Command::new("ffmpeg")
            .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"])
            .args(args)
            .arg(path)
            .status()
            .unwrap();
        assert!(status.success(), "ffmpeg could not make {}", path.display());
    }
}
