//! The commonest media stages on a clip of ten minutes, beside the shell command that a person would write for the
//! same timeline: wall time and processor time.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use onceover_tests::{Daemon, processes::CpuTime};
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use crate::{
    http::{Connection, request},
    setup::Bench,
    table::{Goal, spread},
};

/// Turns, where the command line does not name their number: each takes minutes.
const ROUNDS: usize = 3;
/// The clip: 1080p at 25 frames a second, with a line of text that changes every few seconds on a black band.
const SECONDS: u32 = 600;
const SECONDS_OF_LINE: u32 = 4;
const BAND: [u32; 4] = [0, 918, 1920, 1080];
/// Changes with how the clip is made.
const VERSION: u32 = 1;

/// A stage, and the shell command beside it, which finds the clip in `$CLIP` and writes into its working folder.
struct MediaStage {
    node: &'static str,
    input: Value,
    command: &'static str,
    /// Of the command's wall time.
    most: f64,
}

fn media_stages(clip: &Path, subtitles: &Path) -> [MediaStage; 4] {
    [
        MediaStage {
            node: "ffmpeg.extract_audio",
            input: json!({"video_path": clip}),
            command: r#"ffmpeg -v error -nostdin -i "$CLIP" -map 0:a:0 -vn -af aresample=async=1:first_pts=0 \
                -c:a pcm_s16le -ar 16000 -ac 1 sound.wav"#,
            most: 1.1,
        },
        MediaStage {
            node: "ffmpeg.extract_keyframes",
            input: json!({"video_path": clip, "keyframe_sample_count": 100}),
            command: r#"frames=$(ffprobe -v error -select_streams v:0 -count_packets \
                    -show_entries stream=nb_read_packets -of csv=p=0 "$CLIP")
                ffmpeg -v error -nostdin -i "$CLIP" -map 0:v:0 -vf "select='not(mod(n,$((frames / 100))))'" \
                    -fps_mode vfr -q:v 9 frame_%04d.jpg"#,
            most: 1.3,
        },
        MediaStage {
            node: "ffmpeg.crop_subtitle_images",
            input: json!({"video_path": clip, "subtitle_area": BAND, "decoder": "cpu"}),
            // Files are named by the number of their frame.
            command: r#"ffmpeg -v error -nostdin -i "$CLIP" -map 0:v:0 -vf crop=1920:162:0:918,mpdecimate \
                -fps_mode vfr -frame_pts 1 -q:v 2 %08d.jpg"#,
            most: 1.3,
        },
        MediaStage {
            node: "ffmpeg.split_audio_segments",
            input: json!({"audio_path": clip, "subtitle_path": subtitles}),
            // Lines follow each other at once, so that one program can cut at all their ends.
            command: r#"ffmpeg -v error -nostdin -i "$CLIP" -map 0:a:0 -vn -c:a pcm_s16le -ar 16000 -ac 1 \
                -f segment -segment_time 4 segment_%03d.wav"#,
            most: 1.1,
        },
    ]
}

/// What was used, by turns.
#[derive(Default)]
struct UsedTime {
    wall: Vec<f64>,
    processor: Vec<f64>,
}

impl UsedTime {
    fn add(&mut self, wall: Duration, processor: Duration) {
        self.wall.push(wall.as_secs_f64());
        self.processor.push(processor.as_secs_f64());
    }
}

pub fn measure(bench: &mut Bench) {
    let folder = clips_folder();
    let clip = folder.join(format!("clip-{VERSION}.mp4"));
    let subtitles = folder.join(format!("clip-{VERSION}.srt"));
    make_clip(&clip);
    fs::write(&subtitles, subtitles_of_clip()).expect("the subtitles are written");
    // The first to read it would wait for the disk.
    let mut file = fs::File::open(&clip).expect("the clip is there");
    io::copy(&mut file, &mut io::sink()).expect("the clip can be read");
    let daemon = bench.runtime.block_on(bench.builder("").media_root(&folder).start());
    let redis = bench.redis(&daemon);
    for stage in media_stages(&clip, &subtitles) {
        let (mut plain, mut ours) = (UsedTime::default(), UsedTime::default());
        for round in 0..bench.options.rounds.unwrap_or(ROUNDS) {
            let (wall, processor) = run_command(stage.command, &clip);
            plain.add(wall, processor);
            let (wall, processor) = run_stage(bench, &daemon, &redis, &stage, round);
            ours.add(wall, processor);
        }
        bench.assert_none_failed(&redis);
        print(bench, &stage, plain, ours);
    }
}

fn print(bench: &mut Bench, stage: &MediaStage, plain: UsedTime, ours: UsedTime) {
    let ratio = |ours: &[f64], plain: &[f64]| spread(ours.iter().zip(plain).map(|(ours, plain)| ours / plain));
    let wall = ratio(&ours.wall, &plain.wall);
    let processor = ratio(&ours.processor, &plain.processor);
    let (node, table) = (stage.node, &mut bench.table);
    table.say(&format!("{node}, plain command"), "s", spread(plain.wall));
    table.say("  processor time", "s", spread(plain.processor));
    table.say(&format!("{node}, onceover"), "s", spread(ours.wall));
    table.say("  processor time", "s", spread(ours.processor));
    let name = format!("{node} / plain command");
    table.goal(&name, Goal::AtMost(stage.most), "x", wall);
    table.say("  processor time", "x", processor);
}

/// Runs a shell command in a folder that is removed after it. Returns its wall time and its processor time.
fn run_command(command: &str, clip: &Path) -> (Duration, Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let own = i32::try_from(std::process::id()).expect("a pid");
    let before = CpuTime::of_process(own).children;
    let start = Instant::now();
    let status = Command::new("sh")
        .args(["-ec", command])
        .env("CLIP", clip)
        .current_dir(folder.path())
        .status()
        .expect("a shell starts");
    let wall = start.elapsed();
    assert!(status.success(), "it failed: {command}");
    (wall, CpuTime::of_process(own).children - before)
}

/// Runs the stage under a new task, from before it is submitted until its result is recorded. Returns its wall time
/// and the processor time of the daemon and of the programs it started.
fn run_stage(
    bench: &Bench,
    daemon: &Daemon,
    redis: &MultiplexedConnection,
    stage: &MediaStage,
    round: usize,
) -> (Duration, Duration) {
    let task = format!("{}-{round}", stage.node);
    let body = json!({"task_name": stage.node, "task_id": task, "input_data": stage.input}).to_string();
    let submit = request("POST", "/v1/tasks", &body);
    let mut client = Connection::open(daemon.port());
    let before = CpuTime::of_process(daemon.pid()).in_all();
    let start = Instant::now();
    client.send(&submit);
    bench.wait_until_settled(redis);
    let wall = start.elapsed();
    (wall, CpuTime::of_process(daemon.pid()).in_all() - before)
}

/// Where clips are kept from one run to the next: in the build folder.
fn clips_folder() -> PathBuf {
    let own = std::env::current_exe().expect("it knows its path");
    let mut folders = own.ancestors().skip_while(|folder| !folder.ends_with("deps"));
    let target = folders.nth(2).expect("cargo builds into target/<profile>/deps");
    let folder = target.join("bench-clips");
    fs::create_dir_all(&folder).expect("a folder for clips");
    folder
}

/// Makes the clip unless it was made before.
fn make_clip(clip: &Path) {
    if clip.is_file() {
        return;
    }
    println!("  making {}, once", clip.display());
    io::stdout().flush().expect("stdout");
    let [left, top, right, bottom] = BAND;
    let (width, height) = (right - left, bottom - top);
    let font = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";
    let font = match Path::new(font).is_file() {
        true => format!("fontfile={font}"),
        false => "font=Sans".to_owned(),
    };
    let filter = format!(
        "drawbox=x={left}:y={top}:w={width}:h={height}:color=black:t=fill,\
         drawtext={font}:text='Line %{{eif\\:trunc(t/{SECONDS_OF_LINE})\\:d}} of what is spoken'\
         :fontsize=54:fontcolor=white:x=(w-tw)/2:y={top}+54"
    );
    let draft = clip.with_extension("draft.mp4");
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(["-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=25"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-t", &SECONDS.to_string(), "-vf", &filter])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-crf",
            "30",
            "-pix_fmt",
            "yuv420p",
            "-g",
            "50",
        ])
        .args(["-c:a", "aac", "-b:a", "96k", "-ac", "2"])
        .arg(&draft)
        .status()
        .expect("ffmpeg is installed (make deps)");
    assert!(made.success(), "ffmpeg makes {}", draft.display());
    fs::rename(&draft, clip).expect("the clip gets its name");
}

/// One line after another as SubRip has them, each for as long as its text is shown.
fn subtitles_of_clip() -> String {
    let time = |seconds: u32| format!("00:{:02}:{:02},000", seconds / 60, seconds % 60);
    (0..SECONDS / SECONDS_OF_LINE)
        .map(|line| {
            let (start, end) = (line * SECONDS_OF_LINE, (line + 1) * SECONDS_OF_LINE);
            format!(
                "{}\n{} --> {}\nLine {line} of what is spoken\n\n",
                line + 1,
                time(start),
                time(end)
            )
        })
        .collect()
}
