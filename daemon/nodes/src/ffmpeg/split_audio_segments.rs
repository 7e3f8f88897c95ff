//! `ffmpeg.split_audio_segments`: one sound file per subtitle cue.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::{
    Advance, Ffmpeg,
    pieces::{AudioPiece, PCM, PieceForm, PieceOutcome},
    segments::{AudioSegment, Selection},
    sound::{Pcm, Sound},
    succeeded, wav,
};
use crate::{
    input::{Input, compute, create_folder, write},
    timed_text,
};
use onceover_run::{
    Object, RunContext, RunError,
    warnings::{Code, Warning},
};

/// Percent of the work that decoding is, where the sound cannot be cut as it is.
const DECODING: f64 = 40.0;

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let audio = input.file("audio_path")?;
    let subtitles = input.file("subtitle_path")?;
    let form = PieceForm::from_input(&input)?;
    let selection = Selection {
        min: input.number("min_segment_duration")?,
        max: input.number("max_segment_duration")?,
        include_short: input.flag("include_silence")?,
        by_speaker: input.flag("group_by_speaker")?,
    };
    if selection.min > selection.max {
        return Err(RunError::failed(format!(
            "input_data.min_segment_duration ({}) is above max_segment_duration ({}), so no cue would be kept",
            selection.min, selection.max
        )));
    }
    let cues = timed_text::cues_of(context, &subtitles).await?;
    let all = cues.len();
    let left_out = selection.left_out(&cues);
    let segments = selection.segments(cues, &form.format);
    if segments.is_empty() {
        return Err(RunError::failed(format!(
            "none of the {all} cues of {} lasts {} to {} s; change min_segment_duration, max_segment_duration or include_silence",
            subtitles.display(),
            selection.min,
            selection.max
        )));
    }
    let sound = Sound::open(context, &audio).await?;

    let folder = create_folder(context, "audio/segments")?;
    let start = Instant::now();
    let limit = TimeLimit::new(start, input.number("concurrent_timeout")?);
    let source = Source::prepare(context, &sound, &form, &limit).await?;
    let cutter = Cutter {
        context,
        source: &source,
        folder: &folder,
        form: &form,
        limit: &limit,
    };
    let pieces = cutter.cut_all(&segments, workers(&input)?).await?;
    let outcome = PieceOutcome {
        folder: &folder,
        form: &form,
        pieces,
        left_out,
        seconds: start.elapsed().as_secs_f64(),
        by_speaker: selection.by_speaker,
    };
    if outcome.cut().next().is_none() {
        return Err(RunError::failed(format!(
            "none of the {} pieces of {} could be cut; the first: {}",
            segments.len(),
            audio.display(),
            outcome.first_failure().unwrap_or_default()
        )));
    }
    warn(context, &outcome, all, &selection);
    let info = folder.join("split_info.json");
    write(&info, format!("{:#}\n", outcome.info()).as_bytes())?;
    let mut output = outcome.output(&audio, &subtitles, &info);
    output.extend(sound.track.fields());
    Ok(output)
}

/// Says which cues have no piece.
fn warn(context: &RunContext, outcome: &PieceOutcome<'_>, all: usize, selection: &Selection) {
    let of_other_length = all - outcome.pieces.len();
    if of_other_length > 0 {
        let text = format!(
            "{of_other_length} of {all} cues do not last {} to {} s and have no piece",
            selection.min, selection.max
        );
        let warning = Warning::new(Code::LinesLeftOut, text).with("lines", of_other_length);
        context.warnings.add(warning);
    }
    if let Some(why) = outcome.first_failure() {
        let failed = outcome.pieces.len() - outcome.cut().count();
        let text = format!("{failed} of {all} cues have no piece; the first: {why}");
        let warning = Warning::new(Code::LinesLeftOut, text).with("lines", failed);
        let in_time = outcome.pieces.iter().all(|piece| !piece.is_late());
        context
            .warnings
            .add(if in_time { warning } else { warning.retryable() });
    }
}

fn workers(input: &Input<'_>) -> Result<usize, RunError> {
    if !input.flag("enable_concurrent")? {
        return Ok(1);
    }
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    Ok(cores.min(input.count("max_workers")? as usize).max(1))
}

/// `concurrent_timeout`.
struct TimeLimit {
    seconds: f64,
    end: Option<Instant>,
}

impl TimeLimit {
    fn new(start: Instant, seconds: f64) -> Self {
        let end = Duration::try_from_secs_f64(seconds)
            .ok()
            .and_then(|limit| start.checked_add(limit));
        Self { seconds, end }
    }

    /// `None`: the time is over.
    async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.end {
            Some(end) => timeout_at(end, work).await.ok(),
            None => Some(work.await),
        }
    }
}

/// What the pieces are cut from: a file in which seeking gives exactly that sample. Sound is decoded once for all
/// pieces, onto the clock of players, but where it is cut as it is.
struct Source {
    path: PathBuf,
    /// Value of `-map`.
    track: String,
    is_scratch: bool,
}

impl Source {
    async fn prepare(
        context: &RunContext,
        sound: &Sound<'_>,
        form: &PieceForm,
        limit: &TimeLimit,
    ) -> Result<Self, RunError> {
        // WAV pieces are copied out of what was decoded, which costs less than a program for each.
        if sound.can_be_cut() && form.codec() != PCM {
            return Ok(Self {
                path: sound.source.to_owned(),
                track: sound.track.map(),
                is_scratch: false,
            });
        }
        let source = Self {
            path: create_folder(context, "scratch")?.join("sound.w64"),
            track: "0:0".into(),
            is_scratch: true,
        };
        let pcm = Pcm {
            rate: form.rate,
            channels: form.channels,
            container: "w64",
            percent: DECODING,
        };
        match limit.within(sound.decode(&source.path, &pcm)).await {
            Some(decoded) => decoded.map(|_| source),
            None => Err(RunError::failed(format!(
                "decoding {} alone took longer than concurrent_timeout ({} s); give more time",
                sound.source.display(),
                limit.seconds
            ))),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.is_scratch
            && let Some(folder) = self.path.parent()
        {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

struct Cutter<'a> {
    context: &'a RunContext,
    source: &'a Source,
    folder: &'a Path,
    form: &'a PieceForm,
    limit: &'a TimeLimit,
}

impl<'a> Cutter<'a> {
    /// Cuts all pieces. Returns them in the order of the segments, whichever was ready first. What was cut when the
    /// time is over stays.
    async fn cut_all(&self, segments: &'a [AudioSegment], workers: usize) -> Result<Vec<AudioPiece<'a>>, RunError> {
        let all = segments.len();
        let mut pieces: Vec<Option<AudioPiece<'a>>> = segments.iter().map(|_| None).collect();
        let numbered = |(at, segment)| async move { (at, self.cut(segment).await) }.boxed();
        let cuts: Vec<_> = segments.iter().enumerate().map(numbered).collect();
        let mut cuts = stream::iter(cuts).buffer_unordered(workers);
        let mut done = 0;
        while let Some(Some((at, piece))) = self.limit.within(cuts.next()).await {
            pieces[at] = Some(piece?);
            done += 1;
            let before = if self.source.is_scratch { DECODING } else { 0.0 };
            let percent = before + (100.0 - before) * done as f64 / all as f64;
            self.context
                .progress
                .report(percent, Some(format!("{done} of {all} pieces")));
        }
        // An ffmpeg that still cuts ends with the stream; a copy that has begun is written to its end.
        drop(cuts);
        let late = |segment: &'a AudioSegment| {
            let _ = std::fs::remove_file(self.folder.join(&segment.file));
            AudioPiece::late(segment, self.limit.seconds)
        };
        Ok(segments
            .iter()
            .zip(pieces)
            .map(|(segment, piece)| piece.unwrap_or_else(|| late(segment)))
            .collect())
    }

    async fn cut(&self, segment: &'a AudioSegment) -> Result<AudioPiece<'a>, RunError> {
        let path = self.folder.join(&segment.file);
        match self.encode(segment, &path).await {
            Ok(size) => Ok(AudioPiece::cut(segment, size)),
            Err(why @ (RunError::Interrupted | RunError::Lacking { .. })) => Err(why),
            Err(RunError::Failed(why)) => {
                // A damaged piece counts as none.
                let _ = std::fs::remove_file(&path);
                Ok(AudioPiece::failed(segment, why))
            }
        }
    }

    /// Writes the piece and gives its size.
    async fn encode(&self, segment: &AudioSegment, path: &Path) -> Result<u64, RunError> {
        let cue = &segment.cue;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|why| RunError::of_file(format_args!("cannot create {}", folder.display()), &why))?;
        }
        if self.form.codec() == PCM {
            return self.copy(segment, path).await;
        }
        let times = [
            "-ss".to_owned(),
            format!("{:.3}", cue.start),
            "-t".to_owned(),
            format!("{:.3}", cue.duration()),
        ];
        let mut written = 0.0;
        let exit = Ffmpeg::new()
            .args(&times)
            .input(&self.source.path)
            .args(["-map", &self.source.track, "-c:a", self.form.codec()])
            .args([
                "-ar",
                &self.form.rate.to_string(),
                "-ac",
                &self.form.channels.to_string(),
            ])
            .output(path)
            .run(self.context, |advance| {
                if let Advance::Seconds(seconds) = advance {
                    written = seconds;
                }
            })
            .await?;
        succeeded("cutting a piece of", &self.source.path, &exit)?;
        let size = std::fs::metadata(path).map_or(0, |file| file.len());
        // ffmpeg writes a file with a header only, and ends well.
        if size == 0 || written <= 0.0 {
            return Err(behind_the_end(segment));
        }
        Ok(size)
    }

    /// Copies the samples of a piece out of what was decoded in the same form, which needs no program for each of a
    /// film's cues.
    async fn copy(&self, segment: &AudioSegment, path: &Path) -> Result<u64, RunError> {
        if self.context.cancel.is_cancelled() {
            return Err(RunError::Interrupted);
        }
        let (source, target) = (self.source.path.clone(), path.to_owned());
        let (start, duration) = (segment.cue.start, segment.cue.duration());
        let (rate, channels) = self.form.in_wav()?;
        let copied = compute(move || {
            wav::copy_part(&source, &target, (rate, channels), start, duration)
                .map_err(|why| RunError::of_file(format_args!("cannot write {}", target.display()), &why))
        });
        copied.await?.ok_or_else(|| behind_the_end(segment))
    }
}

fn behind_the_end(segment: &AudioSegment) -> RunError {
    let cue = &segment.cue;
    RunError::failed(format!(
        "cue {} ({:.3} to {:.3} s) lies behind the end of the sound",
        cue.id, cue.start, cue.end
    ))
}

#[cfg(test)]
mod tests;
