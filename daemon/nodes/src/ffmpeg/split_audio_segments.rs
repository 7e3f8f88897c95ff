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
    let form = PieceForm::of(&input)?;
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
    let source = Source::of(context, &sound, &form, &limit).await?;
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

/// What the pieces are cut from: a file in which seeking gives exactly that sample. Sound is decoded once for all pieces,
/// onto the clock of players, but where it is cut as it is.
struct Source {
    path: PathBuf,
    /// Value of `-map`.
    track: String,
    is_scratch: bool,
}

impl Source {
    async fn of(
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
    /// Gives the pieces in the order of the segments, whichever was ready first. What was cut when the time is over
    /// stays.
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
                // A broken piece is no piece.
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

    /// Copies the samples of a piece out of what was decoded in its very form: no program for each of a film's cues.
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
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        ffmpeg::clip,
        fixture::{Fixture, object},
        subtitles::cues,
    };

    const NODE: &str = "ffmpeg.split_audio_segments";

    const SRT: &str = "1\n00:00:00,500 --> 00:00:02,000\n[SPEAKER_00] hello\n\n\
        2\n00:00:02,200 --> 00:00:02,900\nshort\n\n\
        3\n00:00:03,000 --> 00:00:36,500\nlong\n\n\
        4\n00:00:37,000 --> 00:00:39,000\nbye\n\n";

    const ONE_INSIDE_ONE_BEHIND: &str = "1\n00:00:01,000 --> 00:00:03,000\nx\n\n\
        2\n00:01:00,000 --> 00:01:02,000\ny\n\n";

    fn fixture(subtitles: &str, text: &str, options: Value) -> Fixture {
        Fixture::of(NODE, |fixture| {
            clip::tone(&fixture.path("tone.wav"), 40);
            let mut input = json!({
                "audio_path": fixture.path("tone.wav"),
                "subtitle_path": fixture.file(subtitles, text),
            });
            input.as_object_mut().unwrap().extend(object(options));
            input
        })
    }

    fn info(output: &Object) -> Value {
        serde_json::from_slice(&fs::read(output["split_info_file"].as_str().unwrap()).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn v3_d43_the_worked_example_gives_two_pieces_of_exact_length_and_knows_its_speaker() {
        let fixture = fixture("a.srt", SRT, json!({"group_by_speaker": true}));
        let output = run(&fixture.context).await.unwrap();
        let folder = fixture.context.dir.join("audio/segments");
        assert_eq!(output["audio_segments_dir"], json!(folder));
        for (field, value) in [
            ("total_segments", json!(2)),
            ("successful_segments", json!(2)),
            ("failed_segments", json!(0)),
            ("segments_count", json!(2)),
            ("total_duration", json!(3.5)),
            ("audio_format", json!("wav")),
            ("sample_rate", json!(16000)),
            ("channels", json!(1)),
            (
                "speaker_summary",
                json!({"SPEAKER_00": {"count": 1, "duration": 1.5}, "UNKNOWN": {"count": 1, "duration": 2.0}}),
            ),
        ] {
            assert_eq!(output[field], value, "{field}");
        }
        let first = folder.join("by_speaker/SPEAKER_00/segment_001_SPEAKER_00.wav");
        assert_eq!(fs::metadata(&first).unwrap().len(), 48_044);
        assert_eq!(
            fs::metadata(folder.join("segments/segment_004.wav")).unwrap().len(),
            64_044
        );
        let info = info(&output);
        assert_eq!(
            info["segments"][0],
            json!({
                "id": 1, "start_time": 0.5, "end_time": 2.0, "duration": 1.5, "text": "hello",
                "speaker": "SPEAKER_00", "file_path": first, "file_size": 48_044,
            })
        );
        assert_eq!(info["speaker_groups"]["SPEAKER_00"]["files"], json!([first]));
        assert_eq!(fixture.progress.borrow().percent, 100.0);
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    #[tokio::test]
    async fn d33_d47_options_of_the_request_are_honoured_and_labels_made_safe() {
        let cues = r#"{"segments":[{"id":5,"start":1,"end":3,"text":"x","speaker":"Dr. Lee"},
            {"id":6,"start":4,"end":4.5,"text":"y","speaker":"../.."}]}"#;
        let fixture = fixture(
            "a.json",
            cues,
            json!({"output_format": "flac", "group_by_speaker": true, "include_silence": true,
                "sample_rate": 22050, "channels": 2, "enable_concurrent": false}),
        );
        let output = run(&fixture.context).await.unwrap();
        let folder = fixture.context.dir.join("audio/segments/by_speaker");
        assert!(folder.join("Dr__Lee/segment_005_Dr__Lee.flac").is_file());
        assert!(folder.join("_____/segment_006______.flac").is_file());
        assert_eq!(output["sample_rate"], 22050);
    }

    #[tokio::test]
    async fn every_format_can_be_written_and_cut_from_compressed_sound() {
        for format in ["flac", "mp3", "aac", "m4a"] {
            let fixture = Fixture::of(NODE, |fixture| {
                clip::tone(&fixture.path("tone.mp3"), 5);
                json!({
                    "audio_path": fixture.path("tone.mp3"),
                "subtitle_path": fixture.file("a.srt", ONE_INSIDE_ONE_BEHIND),
                    "output_format": format,
                })
            });
            let output = run(&fixture.context).await.unwrap();
            assert_eq!(output["failed_segments"], 1, "{format}");
            let path = info(&output)["segments"][0]["file_path"].as_str().unwrap().to_owned();
            let media = crate::ffmpeg::probe::media(&fixture.context, path.as_ref())
                .await
                .unwrap();
            let seconds = media.duration().unwrap();
            assert!((1.8..2.3).contains(&seconds), "{format}: {seconds}");
        }
    }

    #[tokio::test]
    async fn pieces_are_listed_by_id_and_those_behind_the_end_are_counted_as_failed() {
        let cue = |id: u32, start: f64| json!({"id": id, "start": start, "end": start + 1.0, "text": id.to_string()});
        let cues: Vec<_> = (1..=12)
            .rev()
            .map(|id| cue(id, f64::from(id)))
            .chain([cue(13, 99.0)])
            .collect();
        let fixture = fixture("a.json", &json!({"segments": cues}).to_string(), json!({}));
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(
            (&output["segments_count"], &output["failed_segments"]),
            (&json!(12), &json!(1))
        );
        let info = info(&output);
        let ids: Vec<_> = info["segments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["id"].as_u64().unwrap())
            .collect();
        assert_eq!(ids, (1..=12).collect::<Vec<_>>());
        assert_eq!(info["failures"][0]["id"], 13);
    }

    #[tokio::test]
    async fn nothing_cut_is_a_failure() {
        let late = "1\n00:02:00,000 --> 00:02:02,000\nx\n\n";
        let error = run(&fixture("a.srt", late, json!({})).context)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("none of the 1 pieces") && error.contains("behind the end"),
            "{error}"
        );
        let long = json!({"min_segment_duration": 50, "max_segment_duration": 60});
        let error = run(&fixture("a.srt", SRT, long).context).await.unwrap_err().to_string();
        assert!(error.contains("none of the 4 cues"), "{error}");
    }

    #[tokio::test]
    async fn pieces_of_compressed_sound_that_comes_late_are_on_the_clock_of_the_video() {
        let fixture = Fixture::of(NODE, |fixture| {
            let late = ["-itsoffset".to_owned(), "2".to_owned()];
            let maps = ["-map", "0:v", "-map", "1:a", "-c:a", "aac"];
            clip::make_of(
                &fixture.path("a.mp4"),
                &[&clip::picture(3), &late, &clip::beeps(4)],
                &maps,
            );
            let cues = "1\n00:00:02,700 --> 00:00:04,200\nx\n\n2\n00:00:00,000 --> 00:00:00,400\nshort\n\n";
            json!({"audio_path": fixture.path("a.mp4"), "subtitle_path": fixture.file("a.srt", cues)})
        });
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(output["audio_track"], 0);
        let path = info(&output)["segments"][0]["file_path"].as_str().unwrap().to_owned();
        let (onsets, length) = clip::heard(Path::new(&path));
        assert!(
            (length - 1.5).abs() < 0.001 && onsets.len() == 2,
            "{onsets:?} in {length}"
        );
        assert!(
            (onsets[0] - 0.3).abs() < 0.04 && (onsets[1] - 1.3).abs() < 0.04,
            "{onsets:?}"
        );
        // What was decoded for all pieces is not left.
        assert!(!fixture.context.dir.join("scratch").exists());
        let warning = &fixture.warnings()[0];
        assert_eq!(
            (warning.code.as_str(), &warning.numbers["lines"]),
            ("lines_left_out", &json!(1))
        );
    }

    #[tokio::test]
    async fn compressed_sound_is_decoded_once_for_all_pieces() {
        let fixture = Fixture::of(NODE, |fixture| {
            clip::tone(&fixture.path("tone.mp3"), 30);
            let cue = |n: u32| json!({"id": n, "start": n, "end": n + 1, "text": "x"});
            let cues: Vec<_> = (1..20).map(cue).collect();
            let cues = fixture.file("a.json", json!({"segments": cues}).to_string());
            json!({"audio_path": fixture.path("tone.mp3"), "subtitle_path": cues})
        });
        assert_eq!(run(&fixture.context).await.unwrap()["segments_count"], 19);
        assert_eq!(
            fixture.log_text().matches("tone.mp3 -map").count(),
            1,
            "{}",
            fixture.log_text()
        );
    }

    #[tokio::test]
    async fn what_was_cut_stays_when_the_time_is_over() {
        let cue =
            |n: u32| json!({"id": n, "start": f64::from(n) / 100.0, "end": f64::from(n) / 100.0 + 2.0, "text": "x"});
        let cues: Vec<_> = (1..1000).map(cue).collect();
        let options = json!({"concurrent_timeout": 3, "enable_concurrent": false, "output_format": "flac"});
        let fixture = fixture("a.json", &json!({"segments": cues}).to_string(), options);
        let output = run(&fixture.context).await.unwrap();
        let cut = output["successful_segments"].as_u64().unwrap();
        assert!((1..999).contains(&cut), "{cut}");
        assert_eq!(output["failed_segments"], 999 - cut);
        let files = fs::read_dir(fixture.context.dir.join("audio/segments/segments")).unwrap();
        assert_eq!(files.count() as u64, cut);
        let warning = &fixture.warnings()[0];
        assert!(
            warning.retryable && warning.text.contains("concurrent_timeout"),
            "{warning:?}"
        );
    }

    #[tokio::test]
    async fn a_cancelled_run_copies_no_more_pieces() {
        let fixture = Fixture::of_node(NODE);
        let source = Source {
            path: create_folder(&fixture.context, "scratch").unwrap().join("sound.wav"),
            track: "0:0".into(),
            is_scratch: true,
        };
        clip::tone(&source.path, 1);
        let form = PieceForm {
            format: "wav".into(),
            rate: 44_100,
            channels: 1,
        };
        let selection = Selection {
            min: 0.0,
            max: 9.0,
            include_short: false,
            by_speaker: false,
        };
        let segments = selection.segments(vec![cues::cue(1, 0.0, 0.5, "x")], &form.format);
        let cutter = Cutter {
            context: &fixture.context,
            source: &source,
            folder: &fixture.context.dir,
            form: &form,
            limit: &TimeLimit::new(Instant::now(), 60.0),
        };
        assert_eq!(cutter.cut_all(&segments, 1).await.unwrap().len(), 1);
        let piece = fixture.context.dir.join(&segments[0].file);
        fs::remove_file(&piece).unwrap();
        fixture.context.cancel.cancel();
        let cut = cutter.cut_all(&segments, 1).await;
        assert!(matches!(cut, Err(RunError::Interrupted)));
        assert!(!piece.exists());
    }

    #[tokio::test]
    async fn files_of_earlier_stages_are_found_vocals_and_speakers_first() {
        let mut fixture = fixture("speakers.srt", SRT, json!({}));
        let (tone, speakers) = (fixture.path("tone.wav"), fixture.path("speakers.srt"));
        fixture.stage("ffmpeg.extract_audio", json!({"audio_path": "/other.wav"}));
        fixture.stage("audio_separator.separate_vocals", json!({"vocal_audio": tone}));
        fixture.stage(
            "wservice.generate_subtitle_files",
            json!({"subtitle_path": "/other.srt", "subtitle_files": {"with_speakers": speakers}}),
        );
        fixture.resolve(&Object::new());
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(output["audio_source"], json!(tone));
        assert_eq!(output["subtitle_source"], json!(speakers));
    }

    #[test]
    fn a_missing_input_says_what_could_provide_it() {
        let error = Fixture::of_node(NODE)
            .try_resolve(&Object::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("audio_path") && error.contains("ffmpeg.extract_audio"),
            "{error}"
        );
    }
}
