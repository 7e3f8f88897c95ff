//! When frames and sound of a media file are shown and heard, on the clock of players: a time stamp less the
//! container's `start_time`. Each frame has its own time, not an index that is divided by a rate.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    probe::{self, Media, ffprobe_lines},
    tracks::{Track, TrackKind},
};
use onceover_limits::Limit;
use onceover_run::{RunContext, RunError};

/// A jump back by more than this is a clock that began again.
const JITTER: f64 = 0.1;

/// A hole up to this long is a hole; beyond it the clock is another one. In seconds, and for ffmpeg, which does the
/// same to sound, as its `-dts_delta_threshold`.
pub(super) const LONGEST_HOLE: u32 = 3600;

/// The shortest hole that gives a warning.
const SHORTEST_HOLE: f64 = 0.1;

/// Seconds by which a track may be shorter than its file says.
const SHORT: f64 = 0.5;

/// Packets or frames of a track whose times are kept: a day and a half at 60 a second.
pub const MOST_FRAMES: usize = 8_000_000;

/// What times are counted from, for `timeline.json`.
pub(super) const CLOCK: &str = "seconds as players show them: time stamps of the file less its start_time";

/// A frame with no duration and no neighbour is shown this long.
const ONE_FRAME: f64 = 0.04;

/// As many frames as no packets are: the track is decoded for their times.
pub(super) const DECODED: u64 = u64::MAX;

/// When each decoded frame of a picture track is shown: frame n from its time to that of the next one, the last for as
/// long as the file says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FrameTimes {
    starts: Vec<f64>,
    end: f64,
}

impl FrameTimes {
    /// Takes times in any order.
    #[cfg(test)]
    pub(crate) fn new(mut starts: Vec<f64>, end: f64) -> Self {
        starts.sort_by(f64::total_cmp);
        let end = starts.last().map_or(0.0, |last| end.max(*last));
        Self { starts, end }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Returns the times at which frames begin to be shown, in shown order.
    pub(crate) fn starts(&self) -> &[f64] {
        &self.starts
    }

    /// Returns when the last frame ends.
    pub(crate) fn end(&self) -> f64 {
        self.end
    }

    /// From when to when frame `number`, counted from 1, is shown; `None` when there is no such frame.
    pub(crate) fn shown(&self, number: u64) -> Option<(f64, f64)> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        let start = *self.starts.get(at)?;
        Some((start, self.starts.get(at + 1).copied().unwrap_or(self.end)))
    }
}

/// Returns the shown time of every frame that decoding the picture track gives. `wanted` is the request's
/// `video_track`; `at_least` is how many there are known to be. Packets have the times without decoding, which is
/// seconds for a film; where they are not frames, or too few, the track is decoded.
pub(crate) async fn frame_times(
    context: &RunContext,
    video: &Path,
    wanted: Option<&str>,
    at_least: u64,
) -> Result<FrameTimes, RunError> {
    let media = probe::media(context, video).await?;
    let track = media.track(TrackKind::Video, wanted, video.display())?;
    frame_times_of(context, video, &media, &track, at_least).await
}

/// Returns the same for a file that was probed and a track that was chosen.
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

/// What the packets of a sound track show.
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

/// Returns the end the file gives for a track, where the track ends (`got`) before that; `None` if all is there. A file
/// may be wrong about its end by [`SHORT`] seconds, or by a part of the whole where that is more.
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

/// Returns when the last packet of any track ends, on the players' clock.
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
            stamps.add(stamp);
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

    fn add(&mut self, mut stamp: Stamp) {
        self.begins_with_key.get_or_insert(stamp.is_key);
        if let Some(restarts) = &mut self.restarts {
            restarts.correct(&mut stamp);
        }
        // One more than is allowed shows that there are too many.
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

    /// Whether every packet gives a frame, as far as the packets show it.
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

    /// Returns the middle one of how long packets last, as they say or else as they follow each other.
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
            // A frame without any time follows the one before it, as for a decoder of a bare stream.
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

/// Follows a clock that begins again in the middle, as ffmpeg does: what follows such a jump is moved so that it
/// continues where the clock was.
#[derive(Debug, Default)]
struct Restarts {
    offset: f64,
    next: Option<f64>,
}

impl Restarts {
    fn correct(&mut self, stamp: &mut Stamp) {
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

/// Rounds to the precision of ffmpeg's times.
pub(crate) fn micros(seconds: f64) -> f64 {
    let rounded = (seconds * 1e6).round() / 1e6;
    // No minus zero.
    rounded + 0.0
}

#[cfg(test)]
mod tests;
