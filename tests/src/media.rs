//! Clips that tests run real ffmpeg on.

use std::{path::Path, process::Command};

/// Makes a clip with picture and sound, `seconds` long.
pub fn clip(path: &Path, seconds: u32) {
    clip_of_size(path, seconds, "320x240");
}

/// Makes a clip like [`clip`] with a picture that costs next to nothing.
pub fn tiny_clip(path: &Path, seconds: u32) {
    clip_of_size(path, seconds, "64x48");
}

fn clip_of_size(path: &Path, seconds: u32, size: &str) {
    let picture = format!("testsrc=size={size}:rate=25");
    let sources = ["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", "sine=frequency=440"];
    let codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"];
    ffmpeg(&sources, &codecs, path, seconds);
}

/// Makes a plain sound file, `seconds` long: an hour costs a quarter of a second.
pub fn sound(path: &Path, seconds: u32) {
    let source = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=8000"];
    ffmpeg(&source, &["-c:a", "pcm_u8"], path, seconds);
}

/// Makes the sample: `clip.mp4` with speech and burnt-in subtitles, its `transcript.json` and `diarization.json`.
pub fn sample(folder: &Path) {
    let maker = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/sample/make-sample.sh");
    let made = Command::new(maker).arg(folder).status().expect("bash is installed");
    assert!(made.success(), "the sample could not be made (make deps)");
}

/// A clip so many times in a row, nothing encoded again.
pub fn repeated(clip: &Path, times: u32, path: &Path) {
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-stream_loop"])
        .arg((times - 1).to_string())
        .arg("-i")
        .arg(clip)
        .args(["-c", "copy"])
        .arg(path)
        .status()
        .expect("ffmpeg is installed (make deps)");
    assert!(made.success(), "ffmpeg made {}", path.display());
}

fn ffmpeg(sources: &[&str], codecs: &[&str], path: &Path, seconds: u32) {
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(sources)
        .args(["-t", &seconds.to_string()])
        .args(codecs)
        .arg(path)
        .status()
        .expect("ffmpeg is installed (make deps)");
    assert!(made.success(), "ffmpeg made {}", path.display());
}
