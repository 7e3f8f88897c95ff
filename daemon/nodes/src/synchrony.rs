//! One clock for all nodes: files with a beep and a white picture at known moments, made awkward in every way that
//! files of the real world are, and every time a node makes of them within 40 ms, or one frame where frames decide.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    builtin,
    ffmpeg::{clip, timeline::frame_times},
};
use crate::fixture::Fixture;
use crate::llm::Providers;
use onceover_run::Object;

/// Seconds by which a time may be off.
const EXACT: f64 = 0.04;

/// How a file is made: groups of arguments, in their order.
struct Recipe {
    name: &'static str,
    picture: Picture,
    sound: Sound,
    /// Before the sound's input, and before the picture's.
    sound_offset: Option<&'static str>,
    picture_offset: Option<&'static str>,
    codec: &'static [&'static str],
    after: After,
    expected: Expected,
}

/// A black picture that is white from `white.0` to `white.1`.
#[derive(Clone, Copy)]
struct Picture {
    seconds: u32,
    rate: &'static str,
    white: (f64, f64),
}

/// Silence with beeps of 0.2 s.
#[derive(Clone, Copy)]
struct Sound {
    seconds: u32,
    beeps: [f64; 2],
}

/// What becomes of the file once it is made.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Nothing,
    /// Copied from this second on, with what cannot be shown left in for decoders.
    CutAt(&'static str),
    /// The first part of its bytes is not there.
    LosesItsBeginning,
}

/// What players show and let hear.
struct Expected {
    white: (f64, f64),
    beeps: &'static [f64],
    /// Seconds a frame lasts.
    frame: f64,
}

const PICTURE: Picture = Picture {
    seconds: 4,
    rate: "25",
    white: (1.0, 3.0),
};
const SOUND: Sound = Sound {
    seconds: 4,
    beeps: [1.0, 3.0],
};
const PLAIN: Recipe = Recipe {
    name: "plain.mp4",
    picture: PICTURE,
    sound: SOUND,
    sound_offset: None,
    picture_offset: None,
    codec: &[
        "-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "250", "-c:a", "aac",
    ],
    after: After::Nothing,
    expected: Expected {
        white: (1.0, 3.0),
        beeps: &[1.0, 3.0],
        frame: 0.04,
    },
};
const AC3: &[&str] = &[
    "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "12", "-c:a", "ac3",
];

/// Makes a test of each file: as `PLAIN`, but for these fields.
macro_rules! files {
    ($($test:ident $name:literal { $($field:ident: $value:expr),* $(,)? })*) => {
        $(#[tokio::test]
        async fn $test() {
            is_on_the_clock(&Recipe { name: $name, $($field: $value,)* ..PLAIN }).await;
        })*
    };
}

const fn expect(white: (f64, f64), beeps: &'static [f64], frame: f64) -> Expected {
    Expected { white, beeps, frame }
}

files! {
    a_plain_file "plain.mp4" {}
    sound_that_comes_late "late-sound.mkv" { sound_offset: Some("1"), expected: expect((1.0, 3.0), &[2.0, 4.0], 0.04) }
    sound_that_comes_late_in_a_transport_stream "late-sound.ts" {
        sound_offset: Some("1"),
        codec: AC3,
        expected: expect((1.0, 3.0), &[2.0, 4.0], 0.04),
    }
    a_picture_that_comes_late "late-picture.mp4" {
        picture_offset: Some("1"),
        codec: &[
            "-fps_mode", "passthrough", "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-c:a", "aac",
        ],
        expected: expect((2.0, 4.0), &[1.0, 3.0], 0.04),
    }
    a_picture_that_comes_late_in_flash_video "late-picture.flv" {
        picture_offset: Some("0.8"),
        codec: &["-c:v", "flv", "-c:a", "aac", "-ar", "44100"],
        expected: expect((1.8, 3.8), &[1.0, 3.0], 0.04),
    }
    a_gap "gap.mkv" { codec: &["-af", "aselect='not(between(t,1.5,2.5))'", "-c:v", "libx264", "-c:a", "pcm_s16le"] }
    a_gap_that_a_packet_fills "gap.mp4" {
        codec: &["-af", "aselect='not(between(t,1.5,2.5))'", "-c:v", "libx264", "-c:a", "aac"],
    }
    a_hole_in_everything "hole.ts" {
        picture: Picture { seconds: 18, rate: "5", white: (15.0, 17.0) },
        sound: Sound { seconds: 18, beeps: [1.0, 15.0] },
        codec: &[
            "-vf", "select='not(between(t,2.1,14.1))'", "-af", "aselect='not(between(t,2.1,14.1))'",
            "-fps_mode", "vfr", "-c:v", "libx264", "-c:a", "aac",
        ],
        expected: expect((15.0, 17.0), &[1.0, 15.0], 0.04),
    }
    a_clock_that_begins_elsewhere "offset.ts" {
        codec: &["-c:v", "mpeg2video", "-c:a", "mp2", "-output_ts_offset", "5000"],
    }
    // The clock of a transport stream is full after 26.5 hours, here after one second.
    a_clock_that_wraps "wrap.ts" {
        codec: &["-c:v", "libx264", "-g", "12", "-c:a", "aac", "-output_ts_offset", "95441.3"],
    }
    frames_that_come_unevenly "vfr.mkv" {
        codec: &["-vf", "select='lt(t,1.5)+not(mod(n,5))'", "-fps_mode", "vfr", "-c:v", "libx264", "-c:a", "aac"],
        expected: expect((1.0, 3.0), &[1.0, 3.0], 0.2),
    }
    one_frame_a_second "slides.mp4" { picture: Picture { rate: "1", ..PICTURE } }
    frames_of_film "film.mkv" {
        picture: Picture { rate: "24000/1001", ..PICTURE },
        expected: expect((1.0, 3.0), &[1.0, 3.0], 0.042),
    }
    fifty_fields_a_second "interlaced.ts" {
        codec: &["-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-top", "1", "-bf", "2", "-c:a", "mp2"],
    }
    an_edit_list_with_b_frames "edit-list.mp4" {
        after: After::CutAt("0.5"),
        expected: expect((0.5, 2.5), &[0.5, 2.5], 0.04),
    }
    no_keyframe_at_the_beginning "no-keyframe.ts" { codec: AC3, after: After::LosesItsBeginning }
    frames_that_are_not_shown "web.webm" { codec: &["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"] }
    an_old_container "old.avi" { codec: &["-c:v", "mpeg4", "-c:a", "pcm_s16le"] }
}

impl Recipe {
    fn make(&self, path: &Path) {
        let Picture { seconds, rate, white } = self.picture;
        let (from, to) = (white.0 - 0.001, white.1 - 0.001);
        let picture = format!(
            "color=black:s=64x48:r={rate}:d={seconds},drawbox=color=white:t=fill:enable='between(t,{from},{to})'"
        );
        let [first, second] = self.sound.beeps;
        let sound = format!(
            "aevalsrc='if(between(t,{first},{first}+0.2)+between(t,{second},{second}+0.2),0.5*sin(2*PI*1000*t),0)':s=48000:d={}",
            self.sound.seconds
        );
        let offset = |seconds: Option<&'static str>| seconds.map(|seconds| ["-itsoffset", seconds]);
        let mut args: Vec<&str> = offset(self.picture_offset).into_iter().flatten().collect();
        args.extend(["-f", "lavfi", "-i", &picture]);
        args.extend(offset(self.sound_offset).into_iter().flatten());
        args.extend([
            "-f", "lavfi", "-i", &sound, "-map", "0", "-map", "1", "-pix_fmt", "yuv420p",
        ]);
        args.extend(self.codec);
        let whole = path.with_file_name(format!("whole-{}", self.name));
        match self.after {
            After::Nothing => clip::make(path, &args),
            After::CutAt(second) => {
                clip::make(&whole, &args);
                clip::make(path, &["-ss", second, "-i", whole.to_str().unwrap(), "-c", "copy"]);
            }
            After::LosesItsBeginning => {
                clip::make(&whole, &args);
                let bytes = std::fs::read(&whole).unwrap();
                std::fs::write(path, &bytes[bytes.len() / 188 / 12 * 188..]).unwrap();
            }
        }
    }
}

/// Every node that makes times of a file makes the right ones.
async fn is_on_the_clock(recipe: &Recipe) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(recipe.name);
    recipe.make(&file);
    let sound = sound_heard(&file).await;
    let white = white_cue(&file).await;
    // Where a file lost its beginning, that is when its clock begins: what is seen is when it is heard.
    let lost = match recipe.after {
        After::LosesItsBeginning => recipe.expected.beeps[0] - sound[0],
        After::Nothing | After::CutAt(_) => 0.0,
    };
    assert!(lost.abs() < 0.8, "{}: {lost}", recipe.name);
    let Expected {
        white: expected,
        beeps,
        frame,
    } = recipe.expected;
    let beeps: Vec<_> = beeps.iter().map(|beep| beep - lost).collect();
    assert_times(recipe.name, "sound", &sound, &beeps, EXACT);
    let shown = [white.0, white.1];
    assert_times(
        recipe.name,
        "picture",
        &shown,
        &[expected.0 - lost, expected.1 - lost],
        EXACT.max(frame) + 0.001,
    );
    assert_times(recipe.name, "piece", &piece_heard(&file, beeps[1]).await, &[0.3], EXACT);
}

fn assert_times(name: &str, what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    let close = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(one, other)| (one - other).abs() <= tolerance);
    assert!(close, "{name}: {what} at {found:?}, not at {expected:?}");
}

/// Runs a node on a copy of a file.
async fn run(node: &str, parameter: &str, file: &Path, more: impl FnOnce(&Fixture) -> Value) -> (Fixture, Object) {
    let fixture = Fixture::with_input(node, |fixture| {
        let name = file.file_name().unwrap().to_str().unwrap();
        std::fs::copy(file, fixture.path(name)).unwrap();
        let mut input = more(fixture);
        input[parameter] = json!(fixture.path(name));
        input
    });
    let output = builtin(node)
        .unwrap()
        .run(&fixture.context, &Providers::default())
        .await;
    let output = output.unwrap_or_else(|why| panic!("{node} of {}: {why}", file.display()));
    (fixture, output)
}

/// Returns when `ffmpeg.extract_audio` lets beeps be heard.
async fn sound_heard(file: &Path) -> Vec<f64> {
    let (_fixture, output) = run("ffmpeg.extract_audio", "video_path", file, |_| json!({})).await;
    clip::heard(Path::new(output["audio_path"].as_str().unwrap())).0
}

/// Returns when a beep is heard in a piece that `ffmpeg.split_audio_segments` cuts from 0.3 s before it.
async fn piece_heard(file: &Path, beep: f64) -> Vec<f64> {
    let from = beep - 0.3;
    let cues = json!({"segments": [{"id": 1, "start": from, "end": from + 0.6, "text": "beep"}]}).to_string();
    let (_fixture, output) = run(
        "ffmpeg.split_audio_segments",
        "audio_path",
        file,
        |fixture| json!({"subtitle_path": fixture.file("a.json", cues), "min_segment_duration": 0.1}),
    )
    .await;
    let info = std::fs::read(output["split_info_file"].as_str().unwrap()).unwrap();
    let info: Value = serde_json::from_slice(&info).unwrap();
    clip::heard(Path::new(info["segments"][0]["file_path"].as_str().unwrap())).0
}

/// Returns the one subtitle that `ffmpeg.crop_subtitle_images` and `paddleocr.postprocess_and_finalize` make of a
/// picture that is white for a while, where a reader of text stands that reads "white" in white strips.
async fn white_cue(file: &Path) -> (f64, f64) {
    let (_fixture, output) = run(
        "ffmpeg.crop_subtitle_images",
        "video_path",
        file,
        |_| json!({"subtitle_area": [0, 32, 64, 48]}),
    )
    .await;
    let strips = Path::new(output["cropped_images_path"].as_str().unwrap());
    let readings = white_frames(strips)
        .into_iter()
        .map(|frame| (frame.to_string(), json!(["white", []])));
    let readings = Value::Object(readings.collect()).to_string();
    let (_fixture, output) = run(
        "paddleocr.postprocess_and_finalize",
        "video_path",
        file,
        |fixture| json!({"ocr_results_path": fixture.file("ocr.json", readings)}),
    )
    .await;
    let cues = std::fs::read(output["json_file"].as_str().unwrap()).unwrap();
    let cues: Value = serde_json::from_slice(&cues).unwrap();
    assert_eq!(cues.as_array().unwrap().len(), 1, "{}: {cues}", file.display());
    let seconds = |field: &str| cues[0][field].as_f64().unwrap();
    (seconds("startTime"), seconds("endTime"))
}

/// Returns the numbers of frames whose strip is white, those that a strip stands for included.
fn white_frames(strips: &Path) -> Vec<u64> {
    let is_white = |name: String| {
        let picture = image::open(strips.join(name)).unwrap().to_luma8();
        picture.get_pixel(picture.width() / 2, picture.height() / 2).0[0] > 128
    };
    let kept: Vec<(u64, u64, u64)> = match std::fs::read(strips.join("frames.json")) {
        Ok(frames) => {
            let frames: Value = serde_json::from_slice(&frames).unwrap();
            let number = |kept: &Value, field: &str| kept[field].as_u64().unwrap();
            let kept = frames["kept"].as_array().unwrap().iter();
            kept.map(|kept| (number(kept, "frame"), number(kept, "first"), number(kept, "last")))
                .collect()
        }
        Err(_) => {
            let files = std::fs::read_dir(strips).unwrap();
            let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
            let numbers = names.filter_map(|name| name.strip_suffix(".jpg")?.parse().ok());
            numbers.map(|number: u64| (number, number, number)).collect()
        }
    };
    kept.into_iter()
        .filter(|(frame, ..)| is_white(format!("{frame:08}.jpg")))
        .flat_map(|(_, first, last)| first..=last)
        .collect()
}

/// Two tracks of each kind, of which a request names one.
#[tokio::test]
async fn two_tracks_of_each_kind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("two.mkv");
    let beep = |at: f64| format!("aevalsrc='if(between(t,{at},{at}+0.2),0.5*sin(2*PI*1000*t),0)':s=16000:d=3");
    let (first, second) = (beep(1.0), beep(2.0));
    let args = [
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=64x48:r=10:d=3",
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=64x48:r=5:d=3",
    ];
    let sounds = ["-f", "lavfi", "-i", &first, "-f", "lavfi", "-i", &second];
    let maps = [
        "-map",
        "0",
        "-map",
        "1",
        "-map",
        "2",
        "-map",
        "3",
        "-metadata:s:a:1",
        "language=spa",
    ];
    clip::make(
        &file,
        &[&args[..], &sounds, &maps, &["-c:v", "libx264", "-c:a", "flac"]].concat(),
    );
    for (wanted, heard) in [
        (json!({}), 1.0),
        (json!({"audio_track": "es"}), 2.0),
        (json!({"audio_track": 0}), 1.0),
    ] {
        let (_fixture, output) = run("ffmpeg.extract_audio", "video_path", &file, |_| wanted).await;
        let (beeps, _) = clip::heard(Path::new(output["audio_path"].as_str().unwrap()));
        assert_times("two.mkv", "sound", &beeps, &[heard], EXACT);
    }
    let bare = Fixture::bare();
    for (wanted, frames) in [(None, 30), (Some("1"), 15)] {
        assert_eq!(
            frame_times(&bare.context, &file, wanted, 0).await.unwrap().len(),
            frames
        );
    }
}
