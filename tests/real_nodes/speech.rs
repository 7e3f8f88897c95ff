//! Speech to text with faster-whisper, on a model of random weights: what is loaded and how it decodes is real, the words
//! are noise. Text to speech with a voice of Piper, and what a speech model with real weights understands of it.

use std::{fs, path::Path, process::Command, time::Instant};

use onceover_tests::{events::Sse, eventually, media};
use onceover_types::{StageState, Timestamp};
use onceover_wire::{Event, EventKind};
use serde_json::{Value, json};

use super::{daemon, interpreter, json_of, output, sample};

const AUDIO: &str = "ffmpeg.extract_audio";
const TRANSCRIBE: &str = "faster_whisper.transcribe_audio";
const SUBTITLES: &str = "wservice.generate_subtitle_files";
const SPEAK: &str = "indextts.generate_speech";

/// A folder of models with the one of random weights, `noise`.
fn models() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes/make_whisper.py");
    let made = Command::new(interpreter("faster_whisper"))
        .arg(script)
        .arg(folder.path().join("noise"))
        .output()
        .expect("the interpreter starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

/// How the model of random weights is asked: without drawing, so that the answer is always the same.
fn asked() -> Value {
    json!({"model_name": "noise", "temperature": [0.0]})
}

#[tokio::test]
#[ignore = "make test-nodes runs it: it needs an environment of 460 MB from PyPI"]
async fn a_clip_is_transcribed_for_real_and_its_subtitles_are_written() {
    let models = models();
    let daemon = daemon(models.path()).media_root(&sample()).start().await;
    daemon
        .submit("clip", AUDIO, json!({"video_path": sample().join("clip.mp4")}))
        .await;
    let audio = output(&daemon, "clip", AUDIO).await["audio_path"].clone();
    daemon.submit("clip", TRANSCRIBE, asked()).await;
    let told = output(&daemon, "clip", TRANSCRIBE).await;

    let file = json_of(&told["segments_file"]);
    let metadata = &file["metadata"];
    assert_eq!(
        (&metadata["task_name"], &metadata["audio_file"]),
        (&json!(TRANSCRIBE), &audio)
    );
    assert_eq!(
        (&metadata["device"], &metadata["word_timestamps_enabled"]),
        (&json!("cpu"), &json!(true))
    );
    let length = told["audio_duration"].as_f64().unwrap();
    assert!((length - 12.0).abs() < 0.2, "{length}");
    let segments = file["segments"].as_array().unwrap();
    assert_eq!(told["segments_count"], segments.len());
    assert_eq!(told["statistics"], file["statistics"]);
    let mut words = 0;
    for segment in segments {
        let (start, end) = (segment["start"].as_f64().unwrap(), segment["end"].as_f64().unwrap());
        assert!(0.0 <= start && start <= end && end <= length + 0.1, "{segment}");
        for field in [
            "id",
            "seek",
            "tokens",
            "temperature",
            "avg_logprob",
            "compression_ratio",
            "no_speech_prob",
        ] {
            assert!(!segment[field].is_null(), "{field} of {segment}");
        }
        let mut text = String::new();
        for word in segment["words"].as_array().unwrap() {
            let (from, to) = (word["start"].as_f64().unwrap(), word["end"].as_f64().unwrap());
            assert!(
                start - 0.1 <= from && from <= to && to <= end + 0.1,
                "{word} of {segment}"
            );
            assert!((0.0..=1.0).contains(&word["probability"].as_f64().unwrap()));
            text.push_str(word["word"].as_str().unwrap());
            words += 1;
        }
        assert_eq!(text.trim(), segment["text"].as_str().unwrap().trim());
    }
    assert!(words > 0 && told["statistics"]["total_words"] == words);

    // The subtitles come from the transcript, without a parameter that says where it is.
    daemon.submit("clip", SUBTITLES, json!({})).await;
    let subtitles = output(&daemon, "clip", SUBTITLES).await;
    let srt = fs::read_to_string(subtitles["subtitle_path"].as_str().unwrap()).unwrap();
    assert_eq!(srt.matches(" --> ").count(), segments.len(), "{srt}");
    assert!(srt.contains(segments[0]["text"].as_str().unwrap().trim()), "{srt}");

    for (node, input) in [(AUDIO, json!({})), (TRANSCRIBE, asked()), (SUBTITLES, json!({}))] {
        let mut input = input;
        if node == AUDIO {
            input = json!({"video_path": sample().join("clip.mp4")});
        }
        let again = daemon.submit("clip", node, input).await;
        assert!(again.reuse_info.reuse_hit, "{node}");
        assert_eq!(again.result.unwrap().stages.len(), 3, "{node}");
    }
}

#[tokio::test]
#[ignore = "make test-nodes runs it: it needs an environment of 460 MB from PyPI"]
async fn options_of_the_request_are_honoured() {
    let models = models();
    let daemon = daemon(models.path()).media_root(&sample()).start().await;
    let sound = daemon.dir().join("sound.wav");
    media::sound(&sound, 5);
    let mut input = asked();
    input["audio_path"] = json!(sound);
    input["enable_word_timestamps"] = json!(false);
    input["compute_type"] = json!("float32");
    input["vad_filter"] = json!(false);
    daemon.submit("t1", TRANSCRIBE, input.clone()).await;
    let told = output(&daemon, "t1", TRANSCRIBE).await;
    assert_eq!(told["enable_word_timestamps"], false);
    assert!(json_of(&told["segments_file"])["segments"][0].get("words").is_none());

    // What cannot be done is reported, not passed over.
    for (task, field, value, named) in [
        ("t2", "language", json!("de"), "input_data.language"),
        ("t3", "compute_type", json!("float16"), "input_data.compute_type"),
        ("t4", "model_name", json!("nothing-here"), "input_data.model_name"),
        (
            "t5",
            "model_name",
            json!("large-v3"),
            "hf download Systran/faster-whisper-large-v3",
        ),
        (
            "t6",
            "vad_parameters",
            json!({"treshold": 1}),
            "input_data.vad_parameters",
        ),
    ] {
        let mut input = input.clone();
        input[field] = value;
        let begun = Instant::now();
        daemon.submit(task, TRANSCRIBE, input).await;
        let stage = daemon.until_ended(task, TRANSCRIBE).await;
        assert_eq!(stage.status, StageState::Failed, "{task}");
        let error = stage.error.unwrap();
        assert!(error.contains(named), "{error}");
        assert!(begun.elapsed().as_secs() < 25, "{task} took {:?}", begun.elapsed());
    }
}

#[tokio::test]
#[ignore = "make test-nodes runs it: it needs an environment of 460 MB from PyPI"]
async fn v3_progress_of_a_transcription_moves_and_its_run_can_be_cancelled() {
    let models = models();
    let daemon = daemon(models.path()).start().await;
    let sound = daemon.dir().join("long.wav");
    media::sound(&sound, 300);
    let mut input = asked();
    input["audio_path"] = json!(sound);
    let mut events = Sse::open(&daemon, None).await;
    daemon.submit("t1", TRANSCRIBE, input.clone()).await;
    let mut told: Vec<f64> = Vec::new();
    loop {
        let event: Event = serde_json::from_str(&events.next().await.data).unwrap();
        match event.kind {
            EventKind::Succeeded => break,
            EventKind::Failed => panic!("{event:?}"),
            _ => {}
        }
        told.extend(event.stage.and_then(|stage| stage.progress));
    }
    assert!(told.is_sorted(), "{told:?}");
    told.dedup();
    assert!(
        told.iter().filter(|percent| (6.0..99.0).contains(*percent)).count() >= 3,
        "{told:?}"
    );

    daemon.submit("t2", TRANSCRIBE, input).await;
    eventually("transcribing", || async {
        let stage = daemon.stage("t2", TRANSCRIBE).await?;
        (stage.progress? > 6.0).then_some(())
    })
    .await;
    assert_eq!(daemon.call("DELETE", "/v1/tasks/t2", None).await.status, 200);
    daemon.idle().await;
    assert!(daemon.children().len() <= 1, "its process may wait for the next run");
    assert_eq!(
        daemon.stage("t2", TRANSCRIBE).await.unwrap().status,
        StageState::Cancelled
    );
}

/// What the voice says, one line a cue.
const LINES: [&str; 3] = [
    "Good morning everybody.",
    "Please speak slowly and clearly, so that everybody in the room can hear you.",
    "The dog slept under the chair while the children played cards.",
];
/// The part of the spoken words that a small speech model hears.
const UNDERSTOOD: f64 = 0.9;

/// Puts a voice of Piper below a folder of models, once.
fn put_voice(models: &Path) {
    let folder = models.join("piper");
    if folder.join("en_US-joe-medium.onnx").is_file() {
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes/piper_voice.py");
    let made = Command::new(interpreter("piper"))
        .arg("-B")
        .arg(script)
        .arg(folder)
        .output()
        .expect("the interpreter starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The words of a text, in small letters.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

#[tokio::test]
#[ignore = "make test-nodes runs it: it needs onnxruntime and a voice of 63 MB from PyPI"]
async fn a_voice_of_piper_speaks_cues_faster_than_they_last_and_is_understood() {
    let models = std::env::var_os("ONCEOVER_SPEECH_MODELS").expect("make test-nodes sets it");
    let models = Path::new(&models);
    put_voice(models);
    let daemon = daemon(models).start().await;
    let cues = LINES.iter().zip(0_u32..).map(|(text, number)| {
        let start = f64::from(number) * 6.0;
        json!({"start": start, "end": start + 5.0, "text": text})
    });
    let cues: Vec<Value> = cues.collect();
    let asked = json!({"engine": "piper", "language": "en-US", "segments": cues});
    let begun = Instant::now();
    daemon.submit("spoken", SPEAK, asked.clone()).await;
    let spoken = output(&daemon, "spoken", SPEAK).await;
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(
        (&spoken["engine"], &spoken["voice"], &spoken["sample_rate"]),
        (&json!("piper"), &json!("en_US-joe-medium"), &json!(22050))
    );
    assert_eq!(
        spoken["warnings"][0]["numbers"],
        json!({"engine": "piper", "voice": "en_US-joe-medium"})
    );
    let clips = json_of(&spoken["clips_file"]);
    let clips = clips["clips"].as_array().expect("clips");
    assert_eq!(
        (clips.len(), &spoken["clips_count"]),
        (LINES.len(), &json!(LINES.len()))
    );
    let duration = spoken["duration"].as_f64().expect("seconds");
    let working = spoken["processing_time"].as_f64().expect("seconds");
    println!("piper: {duration:.1} s of speech in {working:.1} s ({took:.1} s with the start of the program)");
    assert!(working < duration, "{working} s for {duration} s");
    let again = daemon.submit("spoken", SPEAK, asked).await;
    assert!(again.reuse_info.reuse_hit);

    if !models.join("speech/model.bin").is_file() {
        println!("piper: blocked: no ASR weights, so nobody listens to it");
        return;
    }
    let asked =
        json!({"audio_path": spoken["audio_path"], "model_name": "speech", "language": "en", "compute_type": "int8"});
    daemon.submit("heard", TRANSCRIBE, asked).await;
    let heard = json_of(&output(&daemon, "heard", TRANSCRIBE).await["segments_file"]);
    let segments = heard["segments"].as_array().expect("segments");
    let texts = segments.iter().filter_map(|segment| segment["text"].as_str());
    let heard = words(&texts.collect::<Vec<_>>().join(" "));
    let said = words(&LINES.join(" "));
    let understood = said.iter().filter(|word| heard.contains(word)).count();
    println!("piper: {understood} of {} words are understood", said.len());
    assert!(understood as f64 >= UNDERSTOOD * said.len() as f64, "{heard:?}");
}

#[tokio::test]
#[ignore = "make test-nodes runs it: it needs an environment of 460 MB from PyPI"]
async fn warm_the_second_transcription_has_the_model_of_the_first_within_200_ms() {
    let models = models();
    let daemon = daemon(models.path()).start().await;
    let sound = daemon.dir().join("short.wav");
    media::sound(&sound, 10);
    let mut input = asked();
    input["audio_path"] = json!(sound);
    for (task, run) in [("first", 1), ("second", 2)] {
        let stage = daemon.done(task, TRANSCRIBE, input.clone()).await;
        let claimed = stage.started_at.expect("it was claimed");
        let took = stage.ended_at.expect("it has ended").as_millis() - claimed.as_millis();
        let path = format!("/v1/tasks/{task}/stages/{TRANSCRIBE}/log");
        let log = daemon.get(&path).await.text;
        let line = log
            .lines()
            .find(|line| line.contains(&format!("warm: run {run} of process")));
        let (time, _) = line.unwrap_or_else(|| panic!("{log}")).split_once(' ').expect("a time");
        let asked: Timestamp = time.parse().expect("a time");
        let wait = asked.as_millis() - claimed.as_millis();
        println!("transcription of 10 s, the {task}: asked {wait} ms after its claim, took {took} ms");
        assert!(run == 1 || wait < 200, "{wait} ms");
    }
}
