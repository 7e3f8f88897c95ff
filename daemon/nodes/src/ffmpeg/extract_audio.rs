//! `ffmpeg.extract_audio`: the sound of a video as a 16 kHz mono PCM WAV file, on the clock of the video: what is heard
//! at 2 s of the video is at 2 s of the file.

use serde_json::json;

use super::{
    sound::{Pcm, Sound},
    timeline::micros,
};
use crate::input::{Input, create_folder, path_text, stem, write_json};
use onceover_run::{Object, RunContext, RunError};

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let video = input.file("video_path")?;
    let sound = Sound::open(context, &video).await?;
    // Named as the request names it, which may be through a link.
    let name = input
        .text("video_path")
        .and_then(stem)
        .unwrap_or_else(|| "audio".into());
    let folder = create_folder(context, "audio")?;
    let audio = folder.join(format!("{name}.wav"));
    let pcm = Pcm {
        rate: 16000,
        channels: 1,
        container: "wav",
        percent: 100.0,
    };
    let decoded = sound.decode(&audio, &pcm).await?;
    let timeline = folder.join("timeline.json");
    write_json(&timeline, &sound.timeline(&decoded))?;
    let mut output = Object::from_iter([
        ("audio_path".into(), json!(path_text(&audio))),
        ("timeline_path".into(), json!(path_text(&timeline))),
        ("duration".into(), json!(decoded.duration)),
        ("start".into(), json!(micros(sound.track.start.unwrap_or(0.0).max(0.0)))),
    ]);
    output.extend(sound.track.fields());
    Ok(output)
}

#[cfg(test)]
mod tests;
