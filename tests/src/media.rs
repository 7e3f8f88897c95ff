//! Clips that tests run real ffmpeg on.

use std::{path::Path, process::Command};

/// Makes a clip with picture and sound, `seconds` long.
pub fn clip(path: &Path, seconds: u32) {
    let made = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(["-f", "lavfi", "-i", "testsrc=size=320x240:rate=25"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440"])
        .args([
            "-t",
            &seconds.to_string(),
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-c:a",
            "aac",
        ])
        .arg(path)
        .status()
        .expect("ffmpeg is installed (make deps)");
    assert!(made.success(), "ffmpeg made the clip");
}
