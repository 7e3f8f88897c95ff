//! The sound of a media file on the clock of players: it begins at 0 of that clock, with silence where sound comes
//! later, and what is missing in the middle is silence, so that a second in it is a second of the video. Warns of what
//! is not as it seems: a source that ends early, holes, silence throughout.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    Ffmpeg,
    pieces::PCM,
    probe::{self, Media},
    report_seconds, succeeded,
    timeline::{self, Hole, micros},
    tracks::{Track, TrackKind},
};
use crate::input::{Input, compute};
use onceover_limits::Limit;
use onceover_run::{
    RunContext, RunError,
    warnings::{Code, Warning},
};

/// The filter that fills holes and late starts with silence and drops what would come twice. Steps below 30 ms are
/// jitter of time stamps.
const ON_THE_CLOCK: &str = "aresample=async=1:min_hard_comp=0.03:first_pts=0";

/// Hours of a clock on which sound can lie: more is a WAV file of over 4 GiB, mostly of silence that was filled in.
pub const MOST_HOURS: u64 = 36;

/// Samples of 16 bits up to this are not audible.
const SILENT: u16 = 3;

/// The sound track of a file.
pub(super) struct Sound<'a> {
    context: &'a RunContext,
    pub(super) source: &'a Path,
    media: Media,
    pub(super) track: Track,
}

/// What was decoded.
pub(super) struct DecodedSound {
    /// Seconds, from 0 of the clock to the last sample.
    pub(super) duration: f64,
    holes: Vec<Hole>,
    expected: Option<f64>,
}

/// How sound is written.
pub(super) struct Pcm {
    pub(super) rate: u64,
    pub(super) channels: u64,
    pub(super) container: &'static str,
    /// Percent of the run's work that the decoding is.
    pub(super) percent: f64,
}

impl<'a> Sound<'a> {
    /// Probes a file and chooses the track by the request's `audio_track`.
    pub(super) async fn open(context: &'a RunContext, source: &'a Path) -> Result<Self, RunError> {
        let media = probe::media(context, source).await?;
        let track = media.track_of_request(TrackKind::Audio, &Input(context), source.display())?;
        Ok(Self {
            context,
            source,
            media,
            track,
        })
    }

    /// Whether a part can be read from the file as it is: seeking gives exactly that sample, and the clock begins with
    /// the sound.
    pub(super) fn can_be_cut(&self) -> bool {
        self.media.seeks_exactly()
    }

    /// Writes the sound as 16-bit PCM and warns of what is not as it seems. Without any sample it fails.
    pub(super) async fn decode(&self, target: &Path, pcm: &Pcm) -> Result<DecodedSound, RunError> {
        let holes = self.holes().await?;
        let longest = MOST_HOURS * 3600;
        let all = self.media.duration();
        let exit = Ffmpeg::new()
            .on_the_clock()
            .input(self.source)
            .args(["-map", &self.track.map(), "-vn", "-sn", "-dn", "-map_metadata", "-1"])
            .args(["-af", ON_THE_CLOCK, "-c:a", PCM, "-t", &longest.to_string()])
            .args(["-ar", &pcm.rate.to_string(), "-ac", &pcm.channels.to_string()])
            .args(["-f", pcm.container])
            .output(target)
            .run(self.context, |advance| {
                report_seconds(self.context, advance, all, 0.0..pcm.percent)
            })
            .await?;
        succeeded("extracting the audio of", self.source, &exit)?;
        let measured = Measured::read(target.to_owned(), pcm.channels).await?;
        let duration = measured.samples as f64 / pcm.rate as f64;
        if measured.samples == 0 {
            return Err(RunError::failed(format!(
                "{} has no sound in it: its audio track {} holds no sample that can be decoded; is the file complete?",
                self.source.display(),
                self.track.number
            )));
        }
        if duration >= longest as f64 {
            return Err(self.too_long());
        }
        let expected =
            timeline::missing_end(self.context, self.source, &self.media, &self.track, duration, 0.0).await?;
        let decoded = DecodedSound {
            duration: micros(duration),
            holes,
            expected,
        };
        self.warn(&decoded, measured.is_silent);
        Ok(decoded)
    }

    async fn holes(&self) -> Result<Vec<Hole>, RunError> {
        if self.media.counts_samples() {
            return Ok(Vec::new());
        }
        let packets = timeline::packets_of(self.context, self.source, &self.media, &self.track).await?;
        if packets.end > (MOST_HOURS * 3600) as f64 {
            return Err(self.too_long());
        }
        Ok(packets.holes)
    }

    fn too_long(&self) -> RunError {
        Limit::MediaClock.reached();
        RunError::failed(format!(
            "the sound of {} reaches beyond {MOST_HOURS} hours of its clock; correct its time stamps, or cut it",
            self.source.display()
        ))
    }

    fn warn(&self, decoded: &DecodedSound, is_silent: bool) {
        let name = self.source.display();
        let warnings = &self.context.warnings;
        if let Some(expected) = decoded.expected {
            let got = decoded.duration;
            let text = format!("{name} ends after {got:.2} of {expected:.2} s; it may be cut off");
            let warning = Warning::new(Code::TruncatedSource, text)
                .with("expected_duration", expected)
                .with("got", got);
            warnings.add(warning);
        }
        for hole in &decoded.holes {
            let Hole { at, duration } = *hole;
            let text = format!("{name} has no sound from {at:.2} s for {duration:.2} s; it is silence in the result");
            let warning = Warning::new(Code::Gap, text).with("at", at).with("duration", duration);
            warnings.add(warning);
        }
        if is_silent {
            let text = format!(
                "the audio track {} of {name} is silent throughout{}",
                self.track.number,
                self.other_tracks()
            );
            warnings.add(Warning::new(Code::Silence, text));
        }
    }

    fn other_tracks(&self) -> String {
        match self.media.tracks(TrackKind::Audio).len() {
            1 => String::new(),
            all => format!("; audio_track can name another of its {all}"),
        }
    }

    /// Returns the contents of `timeline.json`.
    pub(super) fn timeline(&self, decoded: &DecodedSound) -> Value {
        let holes: Vec<_> = decoded.holes.iter().map(Hole::json).collect();
        json!({
            "clock": timeline::CLOCK,
            "start_time": micros(self.media.clock_start()),
            "duration": self.media.duration(),
            "audio": self.track.json(),
            "decoded_duration": decoded.duration,
            "expected_duration": decoded.expected,
            "gaps": holes,
        })
    }
}

/// What is in a file of 16-bit PCM.
struct Measured {
    /// Of each channel.
    samples: u64,
    is_silent: bool,
}

impl Measured {
    async fn read(path: PathBuf, channels: u64) -> Result<Self, RunError> {
        compute(move || {
            Self::of_file(&path, channels)
                .map_err(|why| RunError::of_file(format_args!("cannot read {}", path.display()), &why))
        })
        .await
    }

    fn of_file(path: &Path, channels: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        if length == 0 {
            let why = "ffmpeg wrote nothing; is the disk full?";
            return Err(io::Error::other(why));
        }
        let Some(data) = to_samples(&mut file)? else {
            return Ok(Self {
                samples: 0,
                is_silent: true,
            });
        };
        let is_silent = is_silent(BufReader::with_capacity(1 << 16, file))?;
        let samples = length.saturating_sub(data) / (2 * channels.max(1));
        Ok(Self { samples, is_silent })
    }
}

/// Seeks to the first sample of a WAV or W64 file. Returns its position, or `None` if there is none.
pub(super) fn to_samples(file: &mut File) -> io::Result<Option<u64>> {
    let mut head = Vec::new();
    file.take(4096).read_to_end(&mut head)?;
    let data = data_offset(&head);
    if let Some(data) = data {
        file.seek(SeekFrom::Start(data))?;
    }
    Ok(data)
}

/// Returns where the samples begin in a WAV or W64 file.
fn data_offset(head: &[u8]) -> Option<u64> {
    let at = head.windows(4).position(|bytes| bytes == b"data")?;
    // W64 has 16 bytes of name and 8 of length, WAV 4 and 4.
    let header = if head.starts_with(b"RIFF") { 8 } else { 24 };
    Some((at + header) as u64)
}

/// Reads no further than to the first sample that can be heard.
fn is_silent(mut pcm: impl Read) -> io::Result<bool> {
    let mut block = vec![0; 1 << 16];
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match pcm.read(&mut block[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        let mut samples = block[..filled].chunks_exact(2);
        if samples.any(|pair| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs() > SILENT) {
            return Ok(false);
        }
        if filled < block.len() {
            return Ok(true);
        }
    }
}
