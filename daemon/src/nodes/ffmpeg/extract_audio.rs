//! `ffmpeg.extract_audio`: the sound of a video as a 16 kHz mono PCM WAV file.

use serde_json::json;

use super::{Advance, Ffmpeg, failed, probe};
use crate::{
    executor::run::{Object, RunContext, RunError},
    nodes::input::{Input, create_folder, path_text, stem},
};

pub(in crate::nodes) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let video = input.file("video_path")?;
    let media = probe::media(context, &video).await?;
    if !media.has_audio() {
        return Err(RunError::failed(format!(
            "{} has no audio track to extract",
            video.display()
        )));
    }
    // Named as the request names it, which may be through a link.
    let name = input
        .text("video_path")
        .and_then(stem)
        .unwrap_or_else(|| "audio".into());
    let audio = create_folder(context, "audio")?.join(format!("{name}.wav"));
    let duration = media.duration();
    let exit = Ffmpeg::new()
        .input(&video)
        .args([
            "-vn",
            "-sn",
            "-dn",
            "-c:a",
            "pcm_s16le",
            "-ar",
            "16000",
            "-ac",
            "1",
            "-f",
            "wav",
        ])
        .output(&audio)
        .run(context, |advance| {
            if let (Advance::Seconds(done), Some(all)) = (advance, duration) {
                context
                    .progress
                    .report(100.0 * done / all, Some(format!("{done:.0} of {all:.0} s")));
            }
        })
        .await?;
    if !exit.success() {
        return Err(failed("extracting the audio of", &video, &exit));
    }
    if std::fs::metadata(&audio).map_or(0, |file| file.len()) == 0 {
        return Err(RunError::failed(format!(
            "ffmpeg wrote nothing to {}; is the disk full?",
            audio.display()
        )));
    }
    Ok(Object::from_iter([("audio_path".into(), json!(path_text(&audio)))]))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        executor::{fixture::Fixture, process::marked},
        nodes::ffmpeg::clip,
    };

    fn fixture(make: impl FnOnce(&Path), name: &str) -> Fixture {
        Fixture::of("ffmpeg.extract_audio", |fixture| {
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
        assert!(error.contains("text.mp4") && error.contains("it said"), "{error}");
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
}
