//! Pieces of sounds with awkward clocks, names and cues.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::{
    ffmpeg::clip,
    fixture::{Fixture, object},
    spoken::cue,
};

const NODE: &str = "ffmpeg.split_audio_segments";

const SRT: &str = "1\n00:00:00,500 --> 00:00:02,000\n[SPEAKER_00] hello\n\n\
    2\n00:00:02,200 --> 00:00:02,900\nshort\n\n\
    3\n00:00:03,000 --> 00:00:36,500\nlong\n\n\
    4\n00:00:37,000 --> 00:00:39,000\nbye\n\n";

const ONE_INSIDE_ONE_BEHIND: &str = "1\n00:00:01,000 --> 00:00:03,000\nx\n\n\
    2\n00:01:00,000 --> 00:01:02,000\ny\n\n";

fn fixture(subtitles: &str, text: &str, options: Value) -> Fixture {
    Fixture::with_input(NODE, |fixture| {
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
        let fixture = Fixture::with_input(NODE, |fixture| {
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
    let fixture = Fixture::with_input(NODE, |fixture| {
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
    let fixture = Fixture::with_input(NODE, |fixture| {
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
    let cue = |n: u32| json!({"id": n, "start": f64::from(n) / 100.0, "end": f64::from(n) / 100.0 + 2.0, "text": "x"});
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
    let segments = selection.segments(vec![cue::cue(1, 0.0, 0.5, "x")], &form.format);
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
