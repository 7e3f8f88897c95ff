//! The sound of awkward files, and the warnings about it.

use std::{fs, path::Path};

use super::*;
use crate::{
    ffmpeg::clip,
    fixture::{Fixture, object},
};
use onceover_limits::Limit;
use onceover_process::marked;

fn fixture(make: impl FnOnce(&Path), name: &str) -> Fixture {
    Fixture::with_input("ffmpeg.extract_audio", |fixture| {
        make(&fixture.path(name));
        json!({"video_path": fixture.path(name)})
    })
}

#[tokio::test]
async fn v3_a_video_gives_a_16_khz_mono_wav_with_real_progress() {
    // A name with everything that is special to a shell or to ffmpeg.
    let fixture = fixture(clip::video_with_tone, "-clip %d 'a': [b].mp4");
    let output = run(&fixture.context).await.unwrap();
    let path = Path::new(output["audio_path"].as_str().unwrap());
    assert_eq!(path, fixture.context.dir.join("audio/-clip %d 'a': [b].wav"));
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..4], b"RIFF");
    assert_eq!(u16::from_le_bytes([bytes[22], bytes[23]]), 1, "channels");
    assert_eq!(u32::from_le_bytes(bytes[24..28].try_into().unwrap()), 16000, "rate");
    assert_eq!(u16::from_le_bytes([bytes[34], bytes[35]]), 16, "bits");
    let seconds = (bytes.len() - 44) as f64 / 32000.0;
    assert!((1.9..2.2).contains(&seconds), "{seconds}");
    assert!(fixture.progress.borrow().percent > 90.0);
    assert!(fixture.context.node.output_is_reusable(&output));
    assert_eq!((&output["audio_track"], &output["start"]), (&json!(0), &json!(0.0)));
    assert_eq!(warnings(&fixture), [""; 0]);
}

#[tokio::test]
async fn a_video_without_sound_says_so() {
    let fixture = fixture(clip::video_without_sound, "silent.mp4");
    let error = run(&fixture.context).await.unwrap_err().to_string();
    assert!(error.contains("no audio track"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_video_says_so() {
    let fixture = fixture(|path| fs::write(path, "hello").unwrap(), "text.mp4");
    let error = run(&fixture.context).await.unwrap_err().to_string();
    assert!(error.contains("text.mp4") && error.contains("it printed"), "{error}");
}

#[tokio::test]
async fn a_playlist_cannot_make_ffmpeg_read_other_files() {
    for (name, playlist) in [
        (
            "list.m3u8",
            "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nother.wav\n#EXT-X-ENDLIST\n",
        ),
        ("list.ffconcat", "ffconcat version 1.0\nfile other.wav\n"),
    ] {
        let fixture = fixture(
            |path| {
                fs::write(path, playlist).unwrap();
                clip::tone(&path.with_file_name("other.wav"), 1);
            },
            name,
        );
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(error.contains("reading"), "{error}");
        assert!(!fixture.context.dir.join("audio").exists());
    }
}

#[tokio::test]
async fn cancel_ends_ffmpeg_in_the_middle() {
    let fixture = fixture(|path| clip::tone(path, 2400), "long.wav");
    let mut log = fixture.context.log.length();
    let started = async {
        while !fixture.log_text().contains("$ ffmpeg") {
            log.changed().await.unwrap();
        }
        fixture.context.cancel.cancel();
    };
    let (result, ()) = tokio::join!(run(&fixture.context), started);
    assert!(matches!(result, Err(RunError::Interrupted)), "{result:?}");
    assert_eq!(marked(&fixture.context.mark), [0; 0]);
}

/// The output for a file, and the codes of what was warned of.
async fn extracted(
    name: &str,
    make: impl FnOnce(&Path),
    more: serde_json::Value,
) -> (Fixture, Result<Object, RunError>) {
    let fixture = Fixture::with_input("ffmpeg.extract_audio", |fixture| {
        make(&fixture.path(name));
        let mut input = json!({"video_path": fixture.path(name)});
        input.as_object_mut().unwrap().extend(object(more));
        input
    });
    let output = run(&fixture.context).await;
    (fixture, output)
}

fn warnings(fixture: &Fixture) -> Vec<String> {
    let warnings = fixture.warnings();
    warnings.into_iter().map(|warning| warning.code).collect()
}

fn heard(output: &Object) -> (Vec<f64>, f64) {
    clip::heard(Path::new(output["audio_path"].as_str().unwrap()))
}

/// Whether beeps are where they should be, to 40 ms.
fn assert_beeps(name: &str, output: &Object, expected: &[f64]) {
    let (onsets, _) = heard(output);
    let close = onsets.len() == expected.len()
        && onsets
            .iter()
            .zip(expected)
            .all(|(one, other)| (one - other).abs() < 0.04);
    assert!(close, "{name}: heard at {onsets:?}, not {expected:?}");
}

#[tokio::test]
async fn sound_that_comes_late_is_late_in_every_container() {
    for (name, codec) in [("a.mkv", "aac"), ("a.mp4", "aac"), ("a.ts", "ac3")] {
        let make = |path: &Path| {
            let late = ["-itsoffset".to_owned(), "2".to_owned()];
            let maps = ["-map", "0:v", "-map", "1:a", "-c:a", codec];
            clip::make_of(path, &[&clip::picture(3), &late, &clip::beeps(2)], &maps);
        };
        let (fixture, output) = extracted(name, make, json!({})).await;
        let output = output.unwrap();
        assert_beeps(name, &output, &[2.0, 3.0]);
        assert!(
            (output["start"].as_f64().unwrap() - 2.0).abs() < 0.03,
            "{name}: {output:?}"
        );
        assert_eq!(warnings(&fixture), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn a_hole_in_the_sound_is_silence_and_is_told() {
    for (name, codec) in [("a.mkv", "pcm_s16le"), ("a.mp4", "aac"), ("a.ts", "aac")] {
        let make = |path: &Path| {
            let hole = ["-af", "aselect='not(between(t,1.5,3.5))'", "-c:a", codec];
            clip::make_of(path, &[&clip::picture(5), &clip::beeps(5)], &hole);
        };
        let (fixture, output) = extracted(name, make, json!({})).await;
        let output = output.unwrap();
        assert_beeps(name, &output, &[0.0, 1.0, 4.0]);
        let (_, length) = heard(&output);
        assert!((length - 5.0).abs() < 0.1, "{name}: {length}");
        let warning = &fixture.warnings()[0];
        let number = |name: &str| warning.numbers[name].as_f64().unwrap();
        assert_eq!(warning.code, "gap", "{name}");
        assert!(
            (number("at") - 1.5).abs() < 0.1 && (number("duration") - 2.0).abs() < 0.1,
            "{name}: {warning:?}"
        );
        let timeline = fs::read(output["timeline_path"].as_str().unwrap()).unwrap();
        let timeline: serde_json::Value = serde_json::from_slice(&timeline).unwrap();
        assert_eq!(timeline["gaps"].as_array().unwrap().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn the_track_is_the_default_one_unless_the_request_names_another() {
    let make = |path: &Path| {
        let tone = |hertz: u32| ["-f", "lavfi", "-i", &format!("sine={hertz}:d=1")].map(str::to_owned);
        let codec = [
            "-map",
            "0",
            "-map",
            "1",
            "-metadata:s:a:0",
            "language=jpn",
            "-metadata:s:a:1",
            "language=eng",
            "-disposition:a:0",
            "0",
            "-disposition:a:1",
            "default",
            "-c:a",
            "aac",
        ];
        clip::make_of(path, &[&tone(440), &tone(880)], &codec);
    };
    for (wanted, number, language) in [
        (json!({}), 1, "eng"),
        (json!({"audio_track": "ja"}), 0, "jpn"),
        (json!({"audio_track": 0}), 0, "jpn"),
        (json!({"audio_track": "default"}), 1, "eng"),
    ] {
        let (_fixture, output) = extracted("two.mkv", make, wanted).await;
        let output = output.unwrap();
        assert_eq!(
            (&output["audio_track"], &output["audio_language"]),
            (&json!(number), &json!(language))
        );
    }
    let (_, output) = extracted("two.mkv", make, json!({"audio_track": "fr"})).await;
    let error = output.unwrap_err().to_string();
    assert!(error.contains("it has 0 (jpn, aac), 1 (eng, aac, default)"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_cut_off_says_how_much_of_it_is_there() {
    for (name, codec) in [
        ("a.mp4", &["-c:a", "aac", "-movflags", "+faststart"][..]),
        ("a.mkv", &["-c:a", "aac"]),
    ] {
        let make = |path: &Path| {
            clip::make_of(path, &[&clip::picture(10), &clip::beeps(10)], codec);
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        };
        let (fixture, output) = extracted(name, make, json!({})).await;
        output.unwrap();
        let warning = &fixture.warnings()[0];
        assert_eq!(
            (warning.code.as_str(), warning.retryable),
            ("truncated_source", false),
            "{name}"
        );
        let number = |name: &str| warning.numbers[name].as_f64().unwrap();
        assert!((number("expected_duration") - 10.0).abs() < 0.1, "{name}: {warning:?}");
        assert!((1.0..8.0).contains(&number("got")), "{name}: {warning:?}");
    }
}

#[tokio::test]
async fn sound_that_ends_before_the_picture_is_not_cut_off() {
    for name in ["a.flv", "a.mkv", "a.mp4"] {
        let make = |path: &Path| {
            let codec = ["-c:a", "aac", "-ar", "44100", "-map_metadata", "-1"];
            clip::make_of(path, &[&clip::picture(4), &clip::beeps(2)], &codec);
        };
        let (fixture, output) = extracted(name, make, json!({})).await;
        assert_beeps(name, &output.unwrap(), &[0.0, 1.0]);
        assert_eq!(warnings(&fixture), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn silence_is_told_and_a_track_without_a_sample_fails() {
    let silence = |path: &Path| clip::make(path, &["-f", "lavfi", "-i", "anullsrc=r=16000", "-t", "1"]);
    let (fixture, output) = extracted("silence.wav", silence, json!({})).await;
    output.unwrap();
    assert_eq!(warnings(&fixture), ["silence"]);

    let head_only = |path: &Path| {
        clip::tone(path, 1);
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..78]).unwrap();
    };
    let empty_track = |path: &Path| {
        let codec = ["-af", "atrim=end_sample=0", "-c:a", "aac"];
        clip::make_of(path, &[&clip::picture(1), &clip::beeps(1)], &codec);
    };
    let (_, none) = extracted("none.wav", head_only, json!({})).await;
    let (_, empty) = extracted("empty.mkv", empty_track, json!({})).await;
    for output in [none, empty] {
        let error = output.unwrap_err().to_string();
        assert!(error.contains("no sound in it") || error.contains("reading"), "{error}");
    }
}

#[tokio::test]
async fn sound_days_after_the_picture_does_not_fill_the_disk_with_silence() {
    let before = Limit::MediaClock.times_reached();
    let make = |path: &Path| {
        let late = ["-itsoffset".to_owned(), "150000".to_owned()];
        clip::make_of(path, &[&clip::picture(1), &late, &clip::beeps(1)], &["-c:a", "aac"]);
    };
    let (_fixture, output) = extracted("days.mkv", make, json!({})).await;
    let error = output.unwrap_err().to_string();
    assert!(error.contains("36 hours"), "{error}");
    assert_eq!(Limit::MediaClock.times_reached(), before + 1);
}
