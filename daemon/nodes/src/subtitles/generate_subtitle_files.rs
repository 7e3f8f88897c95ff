//! `wservice.generate_subtitle_files`: SRT and JSON subtitles of a transcript.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::repeats;
use crate::{
    input::{Input, compute, create_folder, path_text, stem, write, write_json},
    spoken::{TranscriptSegment, Turn, Word},
    timed_text::{self, compose_marked_srt, compose_srt, srt_time},
    transcript::{source::TranscriptSource, speakers},
};
use onceover_run::{Object, RunContext, RunError};

/// Endings of a transcript's name that say only that it is one.
const TRANSCRIPT_ENDINGS: [&str; 3] = ["_segments", "_transcribe_data", "_transcription"];

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let file = input.file("segments_file")?;
    let source = input
        .source_stage("segments_file")
        .unwrap_or("input_data.segments_file");
    let files = Files {
        folder: create_folder(context, "subtitles")?,
        base: base_name(
            input.text("output_filename"),
            input.text("segments_file").unwrap_or_default(),
        ),
        language: input.text("language").unwrap_or("unknown").to_owned(),
        audio_duration: context.input.get("audio_duration").cloned().unwrap_or(json!(0)),
        source: source.to_owned(),
    };
    let turns = turns(context).await?;
    let mut segments = timed_text::segments_of(context, &file).await?;
    repeats::limit(context, &mut segments, input.count("max_repeats")?);
    let note = format!("{} segments, {} speaker turns", segments.len(), turns.len());
    let output = compute(move || files.write(&segments, &turns)).await?;
    context.log.line(&note);
    context.progress.report(100.0, None);
    Ok(output)
}

/// Who speaks when. A diarization of an earlier stage that cannot be used is none, since only one of the files needs
/// it; one the request names must be right.
async fn turns(context: &RunContext) -> Result<Vec<Turn>, RunError> {
    let input = Input(context);
    if input.text("diarization_file").is_none() {
        return Ok(Vec::new());
    }
    let turns = match TranscriptSource::file(context, "diarization_file") {
        Ok(source) => source.turns(context, None).await,
        Err(why) => Err(why),
    };
    match turns {
        Err(why) if input.source_stage("diarization_file").is_some() => {
            context.log.line(&format!("no subtitles with speakers: {why}"));
            Ok(Vec::new())
        }
        result => result,
    }
}

/// Returns what the files are called: as asked for, else like the transcript.
fn base_name(asked: Option<&str>, transcript: &str) -> String {
    if let Some(name) = asked.and_then(stem) {
        return name;
    }
    let name = stem(transcript).unwrap_or_default();
    let base = TRANSCRIPT_ENDINGS
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(&name);
    if base.is_empty() {
        "subtitles".into()
    } else {
        base.into()
    }
}

/// The files to write and what is noted in them.
struct Files {
    folder: PathBuf,
    base: String,
    language: String,
    audio_duration: Value,
    /// The file or stage the transcript came from.
    source: String,
}

impl Files {
    fn write(&self, segments: &[TranscriptSegment], turns: &[Turn]) -> Result<Object, RunError> {
        let has_words = segments.iter().any(|segment| !segment.words.is_empty());
        if segments.iter().all(|segment| segment.text.trim().is_empty()) {
            return Err(RunError::failed(format!(
                "the transcript has {} segments and no text, so there are no subtitles",
                segments.len()
            )));
        }
        let basic = self.file(".srt", &basic_srt(segments))?;
        let mut files = Object::from_iter([("basic".into(), json!(basic))]);
        if has_words && !turns.is_empty() {
            let path = self.file("_with_speakers.srt", &speaker_srt(segments, turns))?;
            files.insert("with_speakers".into(), json!(path));
        }
        if has_words {
            let path = self.json("_word_timestamps.json", &word_timestamps(segments))?;
            files.insert("word_timestamps".into(), json!(path));
        }
        let full = json!({
            "format": "yivideo_subtitle",
            "version": "1.0",
            "metadata": {
                "language": self.language,
                "audio_duration": self.audio_duration,
                "total_segments": segments.len(),
                "has_word_timestamps": has_words,
                "data_source": self.source,
            },
            "segments": segments.iter().map(|segment| &segment.json).collect::<Vec<_>>(),
        });
        let json_path = self.json("_subtitle.json", &full)?;
        files.insert("json".into(), json!(json_path));
        Ok(Object::from_iter([
            ("subtitle_path".into(), json!(basic)),
            ("json_path".into(), json!(json_path)),
            ("subtitle_files".into(), Value::Object(files)),
        ]))
    }

    /// Writes a file and gives its path.
    fn file(&self, ending: &str, bytes: &[u8]) -> Result<String, RunError> {
        let path = self.path(ending);
        write(&path, bytes)?;
        Ok(path_text(&path))
    }

    fn json(&self, ending: &str, json: &Value) -> Result<String, RunError> {
        let path = self.path(ending);
        write_json(&path, json)?;
        Ok(path_text(&path))
    }

    fn path(&self, ending: &str) -> PathBuf {
        self.folder.join(format!("{}{ending}", self.base))
    }
}

fn basic_srt(segments: &[TranscriptSegment]) -> Vec<u8> {
    let marked: Vec<_> = segments.iter().map(TranscriptSegment::marked).collect();
    let cues = segments.iter().zip(&marked);
    compose_marked_srt(cues.map(|(segment, text)| (segment.start, segment.end, text.as_str())))
}

fn speaker_srt(segments: &[TranscriptSegment], turns: &[Turn]) -> Vec<u8> {
    let cues: Vec<_> = speakers::merge(segments, turns)
        .into_iter()
        .filter(|piece| !piece.text.trim().is_empty())
        .map(|piece| {
            (
                piece.start,
                piece.end,
                format!("[{}] {}", piece.speaker, piece.text.trim()),
            )
        })
        .collect();
    compose_srt(cues.iter().map(|(start, end, text)| (*start, *end, text.as_str())))
}

fn word_timestamps(segments: &[TranscriptSegment]) -> Value {
    let words = |segment: &TranscriptSegment| -> Vec<Value> {
        if segment.words.is_empty() {
            // One word that stands for all of them.
            return vec![json!({
                "word": segment.text,
                "start": segment.start,
                "end": segment.end,
                "confidence": 1.0,
            })];
        }
        let word = |word: &Word| {
            json!({
                "word": word.word,
                "start": word.start,
                "end": word.end,
                // null where the transcriber does not say.
                "confidence": word.probability,
            })
        };
        segment.words.iter().map(word).collect()
    };
    let listed: Vec<_> = segments
        .iter()
        .enumerate()
        .map(|(position, segment)| {
            json!({
                "id": position + 1,
                "start": segment.start,
                "end": segment.end,
                "text": segment.text.trim(),
                "srt_time": format!("{} --> {}", srt_time(segment.start), srt_time(segment.end)),
                "words": words(segment),
            })
        })
        .collect();
    json!({"format": "word_timestamps", "total_segments": segments.len(), "segments": listed})
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::fixture::Fixture;

    const NODE: &str = "wservice.generate_subtitle_files";

    fn transcript() -> String {
        let word =
            |word: &str, start: f64, end: f64| json!({"word": word, "start": start, "end": end, "probability": 0.5});
        json!({"metadata": {}, "segments": [
            {"id": 1, "start": 0.5, "end": 2.9, "text": " Good morning all.", "words": [
                word(" Good", 0.5, 1.0), word(" morning", 1.0, 1.6), word(" all.", 1.7, 2.9)]},
            {"id": 2, "start": 3.0, "end": 61.2345, "text": " Hi Ann, ready?", "words": [
                word(" Hi", 3.0, 4.0), word(" Ann,", 4.0, 5.0), word(" ready?", 60.0, 61.2345)]},
        ]})
        .to_string()
    }

    fn diarization() -> String {
        json!({"success": true, "segments": [
            {"start": 0.0, "end": 2.0, "speaker": "SPEAKER_00"},
            {"start": 2.2, "end": 70.0, "speaker": "SPEAKER_01"},
        ]})
        .to_string()
    }

    fn text(path: &Value) -> String {
        fs::read_to_string(path.as_str().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_worked_example_with_rounded_milliseconds() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            json!({
                "segments_file": fixture.file("meeting_transcribe_data.json", transcript()),
                "diarization_file": fixture.file("diarization.json", diarization()),
                "language": "en",
            })
        });
        let output = run(&fixture.context).await.unwrap();
        let folder = fixture.context.dir.join("subtitles");
        assert_eq!(output["subtitle_path"], json!(folder.join("meeting.srt")));
        assert_eq!(output["json_path"], json!(folder.join("meeting_subtitle.json")));
        assert_eq!(
            output["subtitle_files"],
            json!({
                "basic": folder.join("meeting.srt"),
                "with_speakers": folder.join("meeting_with_speakers.srt"),
                "word_timestamps": folder.join("meeting_word_timestamps.json"),
                "json": folder.join("meeting_subtitle.json"),
            })
        );
        assert_eq!(
            text(&output["subtitle_path"]),
            "1\n00:00:00,500 --> 00:00:02,900\nGood morning all.\n\n\
             2\n00:00:03,000 --> 00:01:01,235\nHi Ann, ready?\n\n"
        );
        assert_eq!(
            text(&output["subtitle_files"]["with_speakers"]),
            "1\n00:00:00,500 --> 00:00:01,600\n[SPEAKER_00] Good morning\n\n\
             2\n00:00:01,700 --> 00:00:02,900\n[SPEAKER_01] all.\n\n\
             3\n00:00:03,000 --> 00:01:01,235\n[SPEAKER_01] Hi Ann, ready?\n\n"
        );
        let words: Value = serde_json::from_str(&text(&output["subtitle_files"]["word_timestamps"])).unwrap();
        assert_eq!(words["format"], "word_timestamps");
        assert_eq!(words["total_segments"], 2);
        assert_eq!(words["segments"][1]["srt_time"], "00:00:03,000 --> 00:01:01,235");
        assert_eq!(
            words["segments"][0]["words"][0],
            json!({"word": " Good", "start": 0.5, "end": 1.0, "confidence": 0.5})
        );
        let full: Value = serde_json::from_str(&text(&output["json_path"])).unwrap();
        let given: Value = serde_json::from_str(&transcript()).unwrap();
        assert_eq!(full["segments"], given["segments"]);
        assert_eq!(
            full["metadata"],
            json!({
                "language": "en",
                "audio_duration": 0,
                "total_segments": 2,
                "has_word_timestamps": true,
                "data_source": "input_data.segments_file",
            })
        );
        assert!(fixture.context.node.output_is_reusable(&output));
    }

    /// Returns a run whose files come from earlier stages.
    fn after_stages(transcriber: &str, diarization: &str) -> Fixture {
        let mut fixture = Fixture::of_node(NODE);
        let transcript = fixture.file("transcribe_data_t1.json", transcript());
        fixture.stage(
            transcriber,
            json!({"segments_file": transcript, "audio_duration": 61.5, "language": "en"}),
        );
        let file = fixture.file("diarization.json", diarization);
        fixture.stage("pyannote_audio.diarize_speakers", json!({"diarization_file": file}));
        fixture.resolve(&Object::new());
        fixture
    }

    #[tokio::test]
    async fn d42_files_of_earlier_stages_are_found() {
        for service in ["faster_whisper", "funasr", "qwen3_asr"] {
            let transcriber = format!("{service}.transcribe_audio");
            let fixture = after_stages(&transcriber, &diarization());
            let output = run(&fixture.context).await.unwrap();
            assert!(output["subtitle_files"].get("with_speakers").is_some());
            let full: Value = serde_json::from_str(&text(&output["json_path"])).unwrap();
            let metadata = &full["metadata"];
            assert_eq!(metadata["data_source"], json!(transcriber));
            assert_eq!(
                (&metadata["audio_duration"], &metadata["language"]),
                (&json!(61.5), &json!("en"))
            );
        }
    }

    #[tokio::test]
    async fn a_broken_diarization_of_an_earlier_stage_costs_only_the_file_with_speakers() {
        let fixture = after_stages("faster_whisper.transcribe_audio", r#"{"success":false}"#);
        let output = run(&fixture.context).await.unwrap();
        assert!(output["subtitle_files"].get("with_speakers").is_none());
        assert!(output["subtitle_files"].get("word_timestamps").is_some());
        assert!(fixture.log_text().contains("no subtitles with speakers"));
    }

    #[tokio::test]
    async fn a_broken_diarization_the_request_names_is_an_error() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            json!({
                "segments_file": fixture.file("a.json", transcript()),
                "diarization_file": fixture.file("diarization.json", "[]"),
            })
        });
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(
            error.contains("diarization.json") && error.contains("no segments"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn without_words_there_are_no_word_files() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            json!({
                "segments_file": fixture.file("a_segments.json", r#"[{"start":0,"end":1,"text":"안녕"}]"#),
                "output_filename": "../../talk.v2",
            })
        });
        let output = run(&fixture.context).await.unwrap();
        let keys: Vec<_> = output["subtitle_files"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["basic", "json"]);
        assert_eq!(
            output["subtitle_path"],
            json!(fixture.context.dir.join("subtitles/talk.srt"))
        );
        assert!(text(&output["json_path"]).contains("안녕"));
    }

    #[tokio::test]
    async fn subtitles_of_another_format_become_srt_with_their_markup_and_what_is_broken_is_named() {
        let vtt = "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann><i>Hi</i> &lt;3</v>\n\n00:02.000 -->\nlost\n\n00:03.000 --> 00:04.000\n5 < 6\n";
        let fixture = Fixture::with_input(NODE, |fixture| json!({"segments_file": fixture.file("a.txt", vtt)}));
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(
            text(&output["subtitle_path"]),
            "1\n00:00:01,000 --> 00:00:02,000\n<i>Hi</i> <3\n\n2\n00:00:03,000 --> 00:00:04,000\n5 < 6\n\n"
        );
        let full: Value = serde_json::from_str(&text(&output["json_path"])).unwrap();
        assert_eq!(
            full["segments"][0],
            json!({"id": 1, "start": 1.0, "end": 2.0, "text": "Hi <3", "markup": "<i>Hi</i> <3", "speaker": "Ann"})
        );
        assert_eq!(fixture.warning_codes(), ["records_skipped"]);
        assert!(
            fixture.log_text().contains("record 2 (line 6)"),
            "{}",
            fixture.log_text()
        );
    }

    #[tokio::test]
    async fn a_sentence_said_over_and_over_is_named_and_may_be_limited() {
        let segment = |at: u32| json!({"start": at * 2, "end": at * 2 + 2, "text": " Thank you for watching.", "no_speech_prob": 0.95});
        let segments: Vec<_> = (0..30).map(segment).collect();
        for (limit, cues, codes) in [
            (0, 30, vec!["repeated_text"]),
            (2, 2, vec!["repeated_text", "lines_left_out"]),
        ] {
            let fixture = Fixture::with_input(
                NODE,
                |fixture| json!({"segments_file": fixture.file("a.json", json!(segments).to_string()), "max_repeats": limit}),
            );
            let output = run(&fixture.context).await.unwrap();
            assert_eq!(text(&output["subtitle_path"]).matches("-->").count(), cues);
            assert_eq!(fixture.warning_codes(), codes);
        }
    }

    #[tokio::test]
    async fn d54_a_transcript_without_text_gives_no_empty_subtitles() {
        let fixture = Fixture::with_input(
            NODE,
            |fixture| json!({"segments_file": fixture.file("a.json", r#"[{"start":0,"end":1,"text":" "}]"#)}),
        );
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(error.contains("no text"), "{error}");
    }

    #[test]
    fn a_missing_transcript_says_what_could_provide_it() {
        let error = Fixture::of_node(NODE)
            .try_resolve(&Object::new())
            .unwrap_err()
            .to_string();
        assert!(error.contains("input_data.segments_file"), "{error}");
        assert!(error.contains("faster_whisper.transcribe_audio"), "{error}");
    }

    #[test]
    fn files_are_named_like_the_transcript_or_as_asked() {
        for (asked, transcript, base) in [
            (None, "/x/meeting_transcribe_data.json", "meeting"),
            (None, "/x/meeting_segments.json", "meeting"),
            (None, "/x/_transcription.json", "subtitles"),
            (Some("talk.v2"), "/x/a.json", "talk"),
            (Some(".."), "/x/a.json", "a"),
        ] {
            assert_eq!(base_name(asked, transcript), base);
        }
    }
}
