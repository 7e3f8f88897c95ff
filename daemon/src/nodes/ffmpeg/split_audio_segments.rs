//! `ffmpeg.split_audio_segments`: one sound file per subtitle cue.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, StreamExt, stream};

use super::{
    Advance, Ffmpeg, failed,
    pieces::{Form, Outcome, Piece},
    probe,
    segments::{Segment, Selection},
};
use crate::{
    executor::run::{Object, RunContext, RunError},
    nodes::{
        input::{Input, create_folder, read, write},
        subtitles::cues,
    },
};

pub(in crate::nodes) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let audio = input.file("audio_path")?;
    let subtitles = input.file("subtitle_path")?;
    let form = Form::of(&input)?;
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
    let cues = cues::parse(&subtitles, &read(&subtitles)?)
        .map_err(|why| RunError::failed(format!("the subtitles {} cannot be used: {why}", subtitles.display())))?;
    let all = cues.len();
    let segments = selection.segments(cues, &form.format);
    if segments.is_empty() {
        return Err(RunError::failed(format!(
            "none of the {all} cues of {} lasts {} to {} s; change min_segment_duration, max_segment_duration or include_silence",
            subtitles.display(),
            selection.min,
            selection.max
        )));
    }
    let media = probe::media(context, &audio).await?;
    if !media.has_audio() {
        return Err(RunError::failed(format!("{} has no audio track", audio.display())));
    }

    let folder = create_folder(context, "audio/segments")?;
    let start = Instant::now();
    let cutter = Cutter {
        context,
        audio: &audio,
        folder: &folder,
        form: &form,
        seeks_exactly: media.seeks_exactly(),
    };
    let pieces = cutter
        .cut_all(&segments, workers(&input)?, input.number("concurrent_timeout")?)
        .await?;
    let outcome = Outcome {
        folder: &folder,
        form: &form,
        pieces,
        seconds: start.elapsed().as_secs_f64(),
        by_speaker: selection.by_speaker,
    };
    if outcome.cut().next().is_none() {
        let why = outcome.pieces.iter().find_map(|piece| piece.result.as_ref().err());
        return Err(RunError::failed(format!(
            "none of the {} pieces of {} could be cut; the first: {}",
            segments.len(),
            audio.display(),
            why.map_or("", String::as_str)
        )));
    }
    let info = folder.join("split_info.json");
    write(&info, format!("{:#}\n", outcome.info()).as_bytes())?;
    Ok(outcome.output(&audio, &subtitles, &info))
}

fn workers(input: &Input<'_>) -> Result<usize, RunError> {
    if !input.flag("enable_concurrent")? {
        return Ok(1);
    }
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    Ok(cores.min(input.count("max_workers")? as usize).max(1))
}

struct Cutter<'a> {
    context: &'a RunContext,
    audio: &'a Path,
    folder: &'a Path,
    form: &'a Form,
    seeks_exactly: bool,
}

impl<'a> Cutter<'a> {
    /// Gives the pieces in the order of the segments, whichever was ready first.
    async fn cut_all(&self, segments: &'a [Segment], workers: usize, seconds: f64) -> Result<Vec<Piece<'a>>, RunError> {
        let all = segments.len();
        let cutting = async {
            let mut pieces = Vec::with_capacity(all);
            let cuts: Vec<_> = segments.iter().map(|segment| self.cut(segment).boxed()).collect();
            let mut cuts = stream::iter(cuts).buffered(workers);
            while let Some(piece) = cuts.next().await {
                pieces.push(piece?);
                let done = pieces.len();
                let percent = 100.0 * done as f64 / all as f64;
                self.context
                    .progress
                    .report(percent, Some(format!("{done} of {all} pieces")));
            }
            Ok(pieces)
        };
        // What is still being cut ends with the future.
        let limit = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        tokio::time::timeout(limit, cutting).await.unwrap_or_else(|_| {
            Err(RunError::failed(format!(
                "cutting {all} pieces took longer than concurrent_timeout ({seconds} s); give more time or fewer cues"
            )))
        })
    }

    async fn cut(&self, segment: &'a Segment) -> Result<Piece<'a>, RunError> {
        let path = self.folder.join(&segment.file);
        let result = match self.encode(segment, &path).await {
            Ok(size) => Ok(size),
            Err(why @ (RunError::Interrupted | RunError::Lacking { .. })) => return Err(why),
            Err(RunError::Failed(why)) => {
                // A broken piece is no piece.
                let _ = std::fs::remove_file(&path);
                Err(why)
            }
        };
        Ok(Piece { segment, result })
    }

    /// Writes the piece and gives its size.
    async fn encode(&self, segment: &Segment, path: &Path) -> Result<u64, RunError> {
        let cue = &segment.cue;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|why| RunError::of_file(format_args!("cannot create {}", folder.display()), &why))?;
        }
        let times = [
            "-ss".to_owned(),
            format!("{:.3}", cue.start),
            "-t".to_owned(),
            format!("{:.3}", cue.duration()),
        ];
        // Before the input is fast; after it, everything before is decoded and dropped, which is right for any codec.
        let ffmpeg = if self.seeks_exactly {
            Ffmpeg::new().args(&times).input(self.audio)
        } else {
            Ffmpeg::new().input(self.audio).args(&times)
        };
        let mut written = 0.0;
        let exit = ffmpeg
            .args(["-map", "0:a:0", "-c:a", self.form.codec()])
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
        if !exit.success() {
            return Err(failed("cutting a piece of", self.audio, &exit));
        }
        let size = std::fs::metadata(path).map_or(0, |file| file.len());
        // ffmpeg writes a file with a header only, and ends well.
        if size == 0 || written <= 0.0 {
            return Err(RunError::failed(format!(
                "cue {} ({:.3} to {:.3} s) lies behind the end of the sound",
                cue.id, cue.start, cue.end
            )));
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        executor::fixture::{Fixture, object},
        nodes::ffmpeg::clip,
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
        assert_eq!(fs::metadata(&first).unwrap().len(), 48_078);
        assert_eq!(
            fs::metadata(folder.join("segments/segment_004.wav")).unwrap().len(),
            64_078
        );
        let info = info(&output);
        assert_eq!(
            info["segments"][0],
            json!({
                "id": 1, "start_time": 0.5, "end_time": 2.0, "duration": 1.5, "text": "hello",
                "speaker": "SPEAKER_00", "file_path": first, "file_size": 48_078,
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
            let media = probe::media(&fixture.context, path.as_ref()).await.unwrap();
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
