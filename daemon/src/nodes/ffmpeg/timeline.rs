//! When things of a media file are shown and heard, on the clock of players: a time stamp less the container's
//! `start_time`. A frame has a time of its own, not an index that is divided by a rate.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    probe::{self, Media, ffprobe_lines},
    tracks::{Track, TrackKind},
};
use crate::{
    executor::run::{RunContext, RunError},
    limits::Limit,
};

/// A jump back by more than this is a clock that began again.
const JITTER: f64 = 0.1;

/// A hole up to this long is a hole; beyond it the clock is another one. In seconds, and for ffmpeg, which does the same
/// to sound, as its `-dts_delta_threshold`.
pub(super) const LONGEST_HOLE: u32 = 3600;

/// The shortest hole that gives a warning.
const SHORTEST_HOLE: f64 = 0.1;

/// Seconds by which a track may be shorter than its file says.
const SHORT: f64 = 0.5;

/// Packets or frames of a track whose times are kept: a day and a half at 60 a second.
pub(crate) const MOST_FRAMES: usize = 8_000_000;

/// What times are counted from, for `timeline.json`.
pub(super) const CLOCK: &str = "seconds as players show them: time stamps of the file less its start_time";

/// A frame with no duration and no neighbour is shown this long.
const ONE_FRAME: f64 = 0.04;

/// As many frames as no packets are: the track is decoded for their times.
pub(super) const DECODED: u64 = u64::MAX;

/// When each decoded frame of a picture track is shown: frame n from its own time to that of the next one, the last for as
/// long as the file says.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::nodes) struct FrameTimes {
    starts: Vec<f64>,
    end: f64,
}

impl FrameTimes {
    /// Takes times in any order.
    #[cfg(test)]
    pub(in crate::nodes) fn new(mut starts: Vec<f64>, end: f64) -> Self {
        starts.sort_by(f64::total_cmp);
        let end = starts.last().map_or(0.0, |last| end.max(*last));
        Self { starts, end }
    }

    pub(in crate::nodes) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The times at which frames begin to be shown, in shown order.
    pub(in crate::nodes) fn starts(&self) -> &[f64] {
        &self.starts
    }

    /// When the last frame ends.
    pub(in crate::nodes) fn end(&self) -> f64 {
        self.end
    }

    /// From when to when frame `number`, counted from 1, is shown; `None` when there is no such frame.
    pub(in crate::nodes) fn shown(&self, number: u64) -> Option<(f64, f64)> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        let start = *self.starts.get(at)?;
        Some((start, self.starts.get(at + 1).copied().unwrap_or(self.end)))
    }
}

/// The shown time of every frame that decoding the picture track gives. `wanted` is the request's `video_track`;
/// `at_least` is how many there are known to be. Packets tell the times without decoding, which is seconds for a film; where
/// they are not frames, or too few, the track is decoded.
pub(in crate::nodes) async fn frame_times(
    context: &RunContext,
    video: &Path,
    wanted: Option<&str>,
    at_least: u64,
) -> Result<FrameTimes, RunError> {
    let media = probe::media(context, video).await?;
    let track = media.track(TrackKind::Video, wanted, video.display())?;
    frame_times_of(context, video, &media, &track, at_least).await
}

/// The same for a file that was probed and a track that was chosen.
pub(super) async fn frame_times_of(
    context: &RunContext,
    video: &Path,
    media: &Media,
    track: &Track,
    at_least: u64,
) -> Result<FrameTimes, RunError> {
    if at_least < DECODED && !media.packets_may_not_be_frames(track) {
        let packets = read(context, video, media, track, Entries::Packets).await?;
        if packets.stamps.len() as u64 >= at_least && packets.is_decodable() {
            return Ok(packets.times(media, track));
        }
    }
    context
        .log
        .line("the packets of the picture track are not its frames; decoding it for their times");
    let frames = read(context, video, media, track, Entries::Frames).await?;
    if frames.stamps.is_empty() {
        return Err(RunError::failed(format!(
            "no frame of {} could be decoded; is the file complete?",
            video.display()
        )));
    }
    Ok(frames.times(media, track))
}

/// Where a track has no packets although there are some before and after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hole {
    /// Seconds on the players' clock.
    pub(super) at: f64,
    pub(super) duration: f64,
}

impl Hole {
    pub(super) fn json(&self) -> Value {
        json!({"at": self.at, "duration": self.duration})
    }
}

/// What the packets of a sound track tell.
pub(super) struct SoundPackets {
    pub(super) holes: Vec<Hole>,
    /// When the last one ends; 0 where there is none.
    pub(super) end: f64,
}

/// Reads the packets of a sound track.
pub(super) async fn packets_of(
    context: &RunContext,
    file: &Path,
    media: &Media,
    track: &Track,
) -> Result<SoundPackets, RunError> {
    let packets = read(context, file, media, track, Entries::Packets).await?;
    Ok(SoundPackets {
        holes: packets.holes(media.clock_start()),
        end: packets.times(media, track).end,
    })
}

/// The end the file gives for a track, where the track ends (`got`) before that; `None`: all is there. A file may be wrong
/// about its end by [`SHORT`] seconds, or by a part of the whole where that is more.
pub(super) async fn missing_end(
    context: &RunContext,
    file: &Path,
    media: &Media,
    track: &Track,
    got: f64,
    part: f64,
) -> Result<Option<f64>, RunError> {
    let Some(expected) = media.expected_end(track) else {
        return Ok(None);
    };
    let is_short = |end: f64| end < expected.seconds - SHORT.max(part * expected.seconds);
    if !is_short(got) || probe::duration_is_estimated(context, file).await? {
        return Ok(None);
    }
    // One track may end before another; the file is cut off only if nothing reaches its end.
    if expected.is_of_container && !is_short(end_of_packets(context, file, media).await?) {
        return Ok(None);
    }
    Ok(Some(micros(expected.seconds)))
}

/// When the last packet of any track ends, on the players' clock.
async fn end_of_packets(context: &RunContext, file: &Path, media: &Media) -> Result<f64, RunError> {
    let mut end: f64 = 0.0;
    let args = ["-show_entries", Entries::Packets.section(), "-of", "compact=p=0"];
    ffprobe_lines(context, file, &args, |line| {
        if let Some(stamp) = Stamp::parse(line)
            && let Some(shown) = stamp.shown.or(stamp.decoded)
        {
            end = end.max(shown + stamp.duration.unwrap_or(0.0));
        }
    })
    .await?;
    Ok(micros(end - media.clock_start()))
}

/// What ffprobe is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entries {
    Packets,
    Frames,
}

impl Entries {
    const fn section(self) -> &'static str {
        match self {
            Self::Packets => "packet=pts_time,dts_time,duration_time,flags",
            // The name of the duration changed with ffmpeg 6.
            Self::Frames => "frame=best_effort_timestamp_time,pkt_duration_time,duration_time",
        }
    }
}

async fn read(
    context: &RunContext,
    video: &Path,
    media: &Media,
    track: &Track,
    entries: Entries,
) -> Result<Stamps, RunError> {
    let mut stamps = Stamps::new(media.may_restart_its_clock(), MOST_FRAMES);
    let stream = track.stream.to_string();
    let args = [
        "-threads",
        "0",
        "-select_streams",
        &stream,
        "-show_entries",
        entries.section(),
        "-of",
        "compact=p=0",
    ];
    ffprobe_lines(context, video, &args, |line| {
        if let Some(stamp) = Stamp::parse(line) {
            stamps.take(stamp);
        }
    })
    .await?;
    stamps
        .within_limit()
        .map_err(|why| why.about(format_args!("the {} track of {}", track.kind.name(), video.display())))
}

/// One packet or frame, in seconds of the file's own clock.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Stamp {
    shown: Option<f64>,
    decoded: Option<f64>,
    duration: Option<f64>,
    is_key: bool,
    /// Decoded only for the sake of others, as an edit list says.
    is_discarded: bool,
}

impl Stamp {
    /// Reads `pts_time=0.08|dts_time=0.0|duration_time=0.04|flags=K_`; `None`: a line of something else.
    fn parse(line: &str) -> Option<Self> {
        let mut stamp = Self::default();
        let mut is_stamp = false;
        for (key, value) in line.split('|').filter_map(|field| field.split_once('=')) {
            let seconds = value.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
            match key {
                "pts_time" | "best_effort_timestamp_time" => {
                    is_stamp = true;
                    stamp.shown = seconds;
                }
                "dts_time" => stamp.decoded = seconds,
                "duration_time" | "pkt_duration_time" => stamp.duration = stamp.duration.or(seconds),
                "flags" => {
                    stamp.is_key = value.contains('K');
                    stamp.is_discarded = value.contains('D');
                }
                _ => {}
            }
        }
        is_stamp.then_some(stamp)
    }
}

/// Packets or frames in the order of the file.
#[derive(Debug)]
struct Stamps {
    stamps: Vec<Stamp>,
    /// Whether the first of them can be decoded by itself.
    begins_with_key: Option<bool>,
    restarts: Option<Restarts>,
    most: usize,
}

impl Stamps {
    fn new(may_restart: bool, most: usize) -> Self {
        Self {
            most,
            stamps: Vec::new(),
            begins_with_key: None,
            restarts: may_restart.then(Restarts::default),
        }
    }

    fn take(&mut self, mut stamp: Stamp) {
        self.begins_with_key.get_or_insert(stamp.is_key);
        if let Some(restarts) = &mut self.restarts {
            restarts.mend(&mut stamp);
        }
        // One more than is allowed tells that there are too many.
        if !stamp.is_discarded && self.stamps.len() <= self.most {
            self.stamps.push(stamp);
        }
    }

    fn within_limit(self) -> Result<Self, RunError> {
        if self.stamps.len() <= self.most {
            return Ok(self);
        }
        Limit::Frames.reached();
        let why = format!("it has more than {} packets or frames; cut the file", self.most);
        Err(RunError::failed(why))
    }

    /// Whether every packet gives a frame, as far as they tell.
    fn is_decodable(&self) -> bool {
        self.begins_with_key == Some(true) && !self.stamps.is_empty()
    }

    fn holes(&self, clock_start: f64) -> Vec<Hole> {
        let usual = self.usual_duration();
        let mut holes = Vec::new();
        let mut end: Option<f64> = None;
        for stamp in &self.stamps {
            let Some(shown) = stamp.shown.or(stamp.decoded) else {
                continue;
            };
            if let Some(end) = end
                && shown - end >= SHORTEST_HOLE
            {
                holes.push(Hole {
                    at: micros(end - clock_start),
                    duration: micros(shown - end),
                });
            }
            // MP4 has a hole as a packet that lasts until the next one.
            let own = stamp.duration.filter(|own| *own < usual + SHORTEST_HOLE);
            let own_end = shown + own.unwrap_or(usual);
            end = Some(end.map_or(own_end, |end| end.max(own_end)));
        }
        holes
    }

    /// The middle one of how long packets last, as they say or else as they follow each other.
    fn usual_duration(&self) -> f64 {
        let told = self.stamps.iter().filter_map(|stamp| stamp.duration);
        let mut durations: Vec<f64> = told.filter(|duration| *duration > 0.0).collect();
        if durations.is_empty() {
            let shown: Vec<_> = self.stamps.iter().filter_map(|stamp| stamp.shown).collect();
            durations = shown.windows(2).map(|pair| pair[1] - pair[0]).collect();
        }
        let middle = durations.len() / 2;
        if durations.is_empty() {
            return 0.0;
        }
        *durations.select_nth_unstable_by(middle, f64::total_cmp).1
    }

    fn times(&self, media: &Media, track: &Track) -> FrameTimes {
        let clock_start = media.clock_start();
        let frame = media.frame_rate_of(track).map_or(ONE_FRAME, |rate| 1.0 / rate);
        let mut shown: Vec<(f64, Option<f64>)> = Vec::with_capacity(self.stamps.len());
        for stamp in &self.stamps {
            // What has no time at all follows what was before it, as a decoder of a bare stream has it.
            let time = stamp.shown.or(stamp.decoded).map(|time| micros(time - clock_start));
            let time = time.unwrap_or_else(|| shown.last().map_or(0.0, |(last, _)| micros(last + frame)));
            shown.push((time, stamp.duration.filter(|duration| *duration > 0.0)));
        }
        shown.sort_by(|one, other| one.0.total_cmp(&other.0));
        let end = shown
            .last()
            .map_or(0.0, |(last, duration)| micros(last + duration.unwrap_or(frame)));
        FrameTimes {
            starts: shown.into_iter().map(|(start, _)| start).collect(),
            end,
        }
    }
}

/// Follows a clock that begins again in the middle, as ffmpeg does: what follows such a jump is moved so that it goes on
/// where the clock was.
#[derive(Debug, Default)]
struct Restarts {
    offset: f64,
    next: Option<f64>,
}

impl Restarts {
    fn mend(&mut self, stamp: &mut Stamp) {
        let Some(time) = stamp.decoded.or(stamp.shown) else {
            return;
        };
        let mut now = time + self.offset;
        if let Some(next) = self.next
            && (now < next - JITTER || now > next + f64::from(LONGEST_HOLE))
        {
            self.offset += next - now;
            now = next;
        }
        for time in [&mut stamp.shown, &mut stamp.decoded].into_iter().flatten() {
            *time += self.offset;
        }
        let next = now + stamp.duration.unwrap_or(0.0);
        self.next = Some(self.next.map_or(next, |last| last.max(next)));
    }
}

/// Rounded to what ffmpeg tells times with.
pub(in crate::nodes) fn micros(seconds: f64) -> f64 {
    let rounded = (seconds * 1e6).round() / 1e6;
    // No minus zero.
    rounded + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{executor::fixture::Fixture, nodes::ffmpeg::clip};

    async fn times(name: &str, make: impl FnOnce(&Path), at_least: u64) -> FrameTimes {
        let fixture = Fixture::bare();
        make(&fixture.path(name));
        frame_times(&fixture.context, &fixture.path(name), None, at_least)
            .await
            .unwrap()
    }

    /// One second of 25 frames, made with these arguments.
    fn one_second(args: &[&str]) -> impl FnOnce(&Path) {
        let source = ["-f", "lavfi", "-i", "testsrc=d=1:s=64x48:r=25"];
        let args = [&source[..], args]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        move |path: &Path| clip::make(path, &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    const H264: [&str; 8] = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "250"];

    #[tokio::test]
    async fn frames_with_b_frames_are_in_shown_order() {
        let times = times("a.mp4", one_second(&H264), 0).await;
        assert_eq!(times.len(), 25);
        assert_eq!(times.shown(1), Some((0.0, 0.04)));
        assert_eq!(times.shown(25), Some((0.96, 1.0)));
        assert_eq!((times.shown(0), times.shown(26)), (None, None));
    }

    #[tokio::test]
    async fn frames_before_an_edit_list_begins_are_not_counted() {
        let times = times(
            "cut.mp4",
            |path| {
                let whole = path.with_file_name("whole.mp4");
                one_second(&H264)(&whole);
                clip::make(path, &["-ss", "0.5", "-i", whole.to_str().unwrap(), "-c", "copy"]);
            },
            0,
        )
        .await;
        assert!((11..=14).contains(&times.len()), "{}", times.len());
        assert!(times.starts()[0] >= 0.0 && times.starts()[0] < 0.05, "{times:?}");
    }

    #[tokio::test]
    async fn a_clock_that_begins_elsewhere_begins_at_zero_and_a_late_picture_stays_late() {
        let offset = [&H264[..], &["-output_ts_offset", "95443.7"]].concat();
        let one = times("wrap.ts", one_second(&offset), 0).await;
        assert_eq!(one.len(), 25);
        assert!(
            one.starts()[0].abs() < 0.001 && (one.end() - 1.0).abs() < 0.001,
            "{one:?}"
        );
        let late = times(
            "late.mkv",
            |path| {
                let args = [
                    "-f",
                    "lavfi",
                    "-i",
                    "sine=d=2",
                    "-itsoffset",
                    "1",
                    "-f",
                    "lavfi",
                    "-i",
                    "testsrc=d=1:s=64x48:r=25",
                ];
                clip::make(path, &[&args[..], &H264].concat());
            },
            0,
        )
        .await;
        let sound_first = late.starts()[0];
        assert!((sound_first - 1.0).abs() < 0.03, "{sound_first}");
    }

    #[tokio::test]
    async fn uneven_frames_have_their_own_times_and_one_a_second_is_one_a_second() {
        let uneven = ["-vf", "select='lt(n,10)+eq(n,20)'", "-fps_mode", "vfr"];
        let uneven = times("vfr.mkv", one_second(&[&uneven[..], &H264].concat()), 0).await;
        assert_eq!(uneven.shown(10), Some((0.36, 0.8)));
        assert_eq!(uneven.len(), 11);
        let slides = times(
            "slides.mp4",
            |path| {
                clip::make(
                    path,
                    &["-f", "lavfi", "-i", "testsrc=d=4:s=64x48:r=1", "-c:v", "libx264"],
                )
            },
            0,
        )
        .await;
        assert_eq!((slides.shown(2), slides.shown(4)), (Some((1.0, 2.0)), Some((3.0, 4.0))));
    }

    #[tokio::test]
    async fn a_video_that_begins_in_the_middle_has_the_times_of_the_frames_that_can_be_decoded() {
        let middle = |path: &Path| {
            let whole = path.with_file_name("whole.ts");
            let codec = ["-c:v", "libx264", "-g", "10", "-f", "mpegts"];
            one_second(&codec)(&whole);
            let bytes = std::fs::read(&whole).unwrap();
            let from = bytes.len() / 188 / 5 * 188;
            std::fs::write(path, &bytes[from..]).unwrap();
        };
        let times = times("mid.ts", middle, 0).await;
        assert!((10..25).contains(&times.len()), "{}", times.len());
        assert!(times.starts().windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[tokio::test]
    async fn another_number_of_frames_than_packets_is_read_by_decoding() {
        let fixture = Fixture::bare();
        let path = fixture.path("a.mp4");
        one_second(&H264)(&path);
        let by_frames = frame_times(&fixture.context, &path, None, 26).await.unwrap();
        assert!(fixture.log_text().contains("decoding it"));
        assert_eq!(by_frames, frame_times(&fixture.context, &path, None, 25).await.unwrap());
    }

    #[test]
    fn a_clock_that_begins_again_goes_on() {
        let mut stamps = Stamps::new(true, 100);
        for time in [5.0, 5.04, 5.08, 0.2, 0.24, 9.0] {
            stamps.take(Stamp {
                shown: Some(time),
                decoded: Some(time),
                duration: Some(0.04),
                is_key: true,
                is_discarded: false,
            });
        }
        let shown: Vec<_> = stamps.stamps.iter().map(|stamp| micros(stamp.shown.unwrap())).collect();
        // The hole before the last one stays.
        assert_eq!(shown, [5.0, 5.04, 5.08, 5.12, 5.16, 13.92]);
    }

    #[test]
    fn more_frames_than_are_kept_are_refused() {
        let before = Limit::Frames.times_reached();
        let of = |count: usize| {
            let mut stamps = Stamps::new(false, 2);
            (0..count).for_each(|_| stamps.take(Stamp::default()));
            stamps.within_limit()
        };
        assert!(of(2).is_ok());
        assert!(of(9).unwrap_err().to_string().contains("more than 2"));
        assert_eq!(Limit::Frames.times_reached(), before + 1);
    }

    #[test]
    fn holes_are_where_packets_are_missing_whether_or_not_they_tell_their_length() {
        let hole = Hole {
            at: 0.06,
            duration: 1.0,
        };
        for duration in [Some(0.02), None] {
            let mut stamps = Stamps::new(false, 100);
            for shown in [10.0, 10.02, 10.04, 11.06, 11.08] {
                let shown = Some(shown);
                stamps.take(Stamp {
                    shown,
                    duration,
                    ..Stamp::default()
                });
            }
            assert_eq!(stamps.holes(10.0), [hole], "{duration:?}");
            // As MP4 has it.
            if duration.is_some() {
                stamps.stamps[2].duration = Some(1.02);
            }
            assert_eq!(stamps.holes(10.0), [hole]);
        }
    }

    #[test]
    fn lines_of_ffprobe_are_read_and_others_skipped() {
        let stamp = Stamp::parse("pts_time=0.08|dts_time=N/A|duration_time=0.04|flags=KD").unwrap();
        assert_eq!(
            (stamp.shown, stamp.decoded, stamp.duration),
            (Some(0.08), None, Some(0.04))
        );
        assert!(stamp.is_key && stamp.is_discarded);
        let frame = Stamp::parse("best_effort_timestamp_time=N/A|pkt_duration_time=0.5").unwrap();
        assert_eq!((frame.shown, frame.duration), (None, Some(0.5)));
        for other in ["", "side_data|", "a=b"] {
            assert_eq!(Stamp::parse(other), None);
        }
    }
}
