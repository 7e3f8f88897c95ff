//! `ffmpeg.burn_subtitles`: draws subtitles into the picture of a video. The picture is encoded again, the sound is
//! copied, and every frame keeps its time.

mod cover;
mod style;

use std::{collections::BTreeSet, path::Path};

use serde_json::json;

use self::{
    cover::Cover,
    style::{Style, escaped},
};
use super::{
    Ffmpeg,
    probe::{self, Media},
    report_seconds, succeeded,
    tracks::{Track, TrackKind},
};
use crate::{
    input::{Input, create_folder, path_text, stem, write},
    spoken::Cue,
    timed_text,
};
use onceover_run::{
    Object, RunContext, RunError,
    warnings::{Code, Warning},
};

/// The file ffmpeg reads the subtitles from, in the folder it runs in: no path has to be quoted for its filters.
const DRAWN: &str = "subtitles.ass";

pub(crate) async fn run(context: &RunContext) -> Result<Object, RunError> {
    let input = Input(context);
    let video = input.file("video_path")?;
    let subtitles = input.file("subtitle_path")?;
    let media = probe::media(context, &video).await?;
    let track = media.track_of_request(TrackKind::Video, &input, video.display())?;
    let size = media
        .picture_of(&track)
        .ok_or_else(|| RunError::failed(format!("{} does not say how large its picture is", video.display())))?;
    let cover = Cover::from_input(&input, size)?;
    let (listed, looks) = timed_text::cues_and_styles_of(context, &subtitles).await?;
    let scratch = create_folder(context, "scratch")?;
    // The styles that a file of this kind has are kept.
    let drawn = match looks {
        Some(text) => text,
        None => Style::from_input(&input, cover.as_ref(), size)?.write(&listed, size),
    };
    write(&scratch.join(DRAWN), drawn.as_bytes())?;
    check_glyphs(context, &listed, input.text("font").unwrap_or("sans-serif"), &scratch).await?;
    let format = container(&media, input.text("output_format").unwrap_or("auto"), &video)?;
    let name = input
        .text("video_path")
        .and_then(stem)
        .unwrap_or_else(|| "video".into());
    let target = create_folder(context, "video")?.join(format!("{name}_subtitled.{format}"));
    let cover_filters = cover.and_then(|cover| cover.filters(&listed));
    let filters = filters(cover_filters.as_deref(), size);
    encode(context, &video, &media, &track, &filters, &scratch, &target).await?;
    let _ = std::fs::remove_dir_all(&scratch);
    let mut output = Object::from_iter([
        ("video_path".into(), json!(path_text(&target))),
        ("cues_count".into(), json!(listed.len())),
    ]);
    output.extend(track.fields());
    if let Some(cover) = cover {
        output.insert("covered_area".into(), json!(cover.corners()));
    }
    Ok(output)
}

/// Whether anything of a cue is drawn.
fn is_shown(cue: &Cue) -> bool {
    cue.end > cue.start && !timed_text::shown_lines(&cue.text).is_empty()
}

/// Returns the filters for each frame of a picture of this size.
fn filters(cover: Option<&str>, (width, height): (u32, u32)) -> String {
    let drawn = format!("subtitles=filename={DRAWN}");
    let is_odd = width % 2 != 0 || height % 2 != 0;
    // The colours of the encoder stand for two pixels each way.
    let padded = is_odd.then_some("pad=ceil(iw/2)*2:ceil(ih/2)*2");
    let all = [cover, Some(drawn.as_str()), padded, Some("format=yuv420p")];
    all.into_iter().flatten().collect::<Vec<_>>().join(",")
}

/// Returns the container that the sound can be copied into.
fn container(media: &Media, asked: &str, video: &Path) -> Result<&'static str, RunError> {
    let sounds = media.tracks(TrackKind::Audio);
    let misfit = sounds
        .iter()
        .filter_map(|track| track.codec.as_deref())
        .find(|codec| !matches!(*codec, "aac" | "mp3" | "ac3" | "eac3" | "alac" | "opus" | "flac"));
    match (asked, misfit) {
        ("mkv", _) | ("auto", Some(_)) => Ok("mkv"),
        (_, None) => Ok("mp4"),
        (_, Some(codec)) => Err(RunError::failed(format!(
            "the sound of {} is {codec}, which MP4 cannot hold; give output_format = \"mkv\" or \"auto\"",
            video.display()
        ))),
    }
}

/// Draws every letter once, small, to learn which ones no font has. Warns of some, and fails if no font has any.
async fn check_glyphs(context: &RunContext, cues: &[Cue], font: &str, scratch: &Path) -> Result<(), RunError> {
    let is_drawn = |sign: &char| !sign.is_whitespace() && !sign.is_control();
    let signs: BTreeSet<char> = cues.iter().flat_map(|cue| cue.text.chars()).filter(is_drawn).collect();
    if signs.is_empty() {
        return Err(RunError::failed(
            "the subtitles have no text, so there is nothing to draw",
        ));
    }
    let text: Vec<_> = signs.iter().map(|sign| escaped(&sign.to_string())).collect();
    let lines = text
        .chunks(40)
        .map(|line| line.join(" "))
        .collect::<Vec<_>>()
        .join("\\N");
    let probe = format!(
        "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize\n\
         Style: Default,{},10\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n\
         Dialogue: 0,0:00:00.00,0:00:09.00,Default,{lines}\n",
        font.replace(',', " ")
    );
    write(&scratch.join("glyphs.ass"), probe.as_bytes())?;
    let exit = Ffmpeg::new()
        .current_dir(scratch)
        // A report of warnings beside the errors that the log gets.
        .env("FFREPORT", "file=glyphs.log:level=24")
        .args(["-f", "lavfi", "-i", "color=c=black:s=64x64:r=1:d=1"])
        .args([
            "-vf",
            "subtitles=filename=glyphs.ass",
            "-frames:v",
            "1",
            "-f",
            "null",
            "-",
        ])
        .run(context, |_| ())
        .await?;
    succeeded("drawing the subtitles for", &scratch.join(DRAWN), &exit)?;
    let report = std::fs::read_to_string(scratch.join("glyphs.log")).unwrap_or_default();
    let missing = without_glyph(&report);
    if missing.is_empty() {
        return Ok(());
    }
    let some: String = missing.iter().take(10).collect();
    let letters = signs.iter().filter(|sign| sign.is_alphanumeric());
    if letters.clone().next().is_some() && letters.clone().all(|sign| missing.contains(sign)) {
        return Err(RunError::failed(format!(
            "no font of this machine has the letters of these subtitles ({some}), they would be boxes; install one, for \
             example with: apt-get install fonts-noto-cjk"
        )));
    }
    let text = format!(
        "{} letters are in no font of this machine and are drawn as boxes: {some}",
        missing.len()
    );
    context
        .warnings
        .add(Warning::new(Code::GlyphsMissing, text).with("letters", missing.len()));
    Ok(())
}

/// Returns the letters a report of ffmpeg says no font has.
fn without_glyph(report: &str) -> BTreeSet<char> {
    let hex = |line: &str| {
        let code = line.split("failed to find any fallback with glyph 0x").nth(1)?;
        let code = code.split_whitespace().next()?;
        char::from_u32(u32::from_str_radix(code, 16).ok()?)
    };
    // A character that only joins others has no glyph.
    let is_letter =
        |sign: &char| !matches!(sign, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}');
    report.lines().filter_map(hex).filter(is_letter).collect()
}

async fn encode(
    context: &RunContext,
    video: &Path,
    media: &Media,
    track: &Track,
    filters: &str,
    scratch: &Path,
    target: &Path,
) -> Result<(), RunError> {
    let input = Input(context);
    let ffmpeg = Ffmpeg::new()
        .current_dir(scratch)
        .on_the_clock()
        .input(video)
        .args(["-map", &track.map(), "-map", "0:a?", "-c:a", "copy", "-vf", filters])
        // Each frame at its own time, in the steps of the source.
        .args(["-fps_mode", "vfr", "-enc_time_base", "-1", "-c:v", "libx264"])
        .args(["-crf", &input.count("crf")?.to_string()])
        .args(["-preset", input.required_text("preset")?]);
    let all = media.duration();
    let exit = ffmpeg
        .output_video(target)
        .run(context, |advance| report_seconds(context, advance, all, 0.0..100.0))
        .await?;
    succeeded("drawing subtitles into", video, &exit)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::Value;

    use super::*;
    use crate::{
        ffmpeg::{clip, timeline},
        fixture::Fixture,
    };

    const NODE: &str = "ffmpeg.burn_subtitles";

    /// Four seconds of black with a tone, made with these arguments for the output.
    fn black(path: &Path, args: &[&str]) {
        let source = [
            "-f",
            "lavfi",
            "-i",
            "color=black:s=320x180:r=25:d=4",
            "-f",
            "lavfi",
            "-i",
            "sine=d=4",
        ];
        clip::make(path, &[&source, args].concat());
    }

    fn srt() -> &'static str {
        "1\n00:00:01,000 --> 00:00:02,000\nHello 'there' [a]: {b}, 100%\n\n2\n00:00:03,000 --> 00:00:03,500\nSecond\nline\n"
    }

    /// Bright pixels of the frames shown at these times, in the upper and in the lower half.
    fn bright(path: &Value, times: &[f64]) -> Vec<(usize, usize)> {
        let count = |time: &f64| {
            let made = Command::new("ffmpeg")
                .args(["-v", "error", "-i", path.as_str().unwrap(), "-ss", &time.to_string()])
                .args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"])
                .output()
                .unwrap();
            let half = made.stdout.len() / 2;
            let bright = |part: &[u8]| part.iter().filter(|value| **value > 150).count();
            (bright(&made.stdout[..half]), bright(&made.stdout[half..]))
        };
        times.iter().map(count).collect()
    }

    fn codecs(path: &Value) -> String {
        let probe = Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-show_entries",
                "stream=codec_name",
                "-of",
                "csv=p=0",
                path.as_str().unwrap(),
            ])
            .output()
            .unwrap();
        String::from_utf8(probe.stdout).unwrap().trim().replace('\n', " ")
    }

    #[tokio::test]
    async fn the_text_is_in_the_picture_at_its_time_and_the_sound_is_as_it_was() {
        // A name with everything that is special to ffmpeg's filters.
        let fixture = Fixture::with_input(NODE, |fixture| {
            let video = fixture.path("-clip 'a':b,[c]\\.mp4");
            black(&video, &["-c:a", "mp3"]);
            json!({"video_path": video, "subtitle_path": fixture.file("it's [1].srt", srt())})
        });
        let output = run(&fixture.context).await.unwrap();
        let path = &output["video_path"];
        assert!(path.as_str().unwrap().ends_with("_subtitled.mp4"), "{path}");
        let seen = bright(path, &[0.92, 1.04, 1.92, 2.04, 3.2]);
        let texts: Vec<_> = seen.iter().map(|(upper, lower)| (*upper > 0, *lower > 50)).collect();
        assert_eq!(
            texts,
            [
                (false, false),
                (false, true),
                (false, true),
                (false, false),
                (false, true)
            ],
            "{seen:?}"
        );
        assert_eq!(codecs(path), "h264 mp3");
        assert_eq!(output["video_track"], 0);
        assert!(fixture.context.node.output_is_reusable(&output));
        assert!(!fixture.context.dir.join("scratch").exists());
        assert!(fixture.progress.borrow().percent > 50.0);
    }

    #[tokio::test]
    async fn looks_can_be_chosen_and_those_of_an_ass_file_are_kept() {
        let look =
            json!({"position": "top", "box": true, "font_size": 12, "color": "#00ff00", "outline_color": "#0000ff"});
        let mut fixture = Fixture::with_input(NODE, |fixture| {
            black(&fixture.path("a.mkv"), &["-c:a", "pcm_s16le"]);
            let mut input = json!({"video_path": fixture.path("a.mkv"), "subtitle_path": fixture.file("a.srt", srt())});
            input.as_object_mut().unwrap().extend(look.as_object().unwrap().clone());
            input
        });
        let output = run(&fixture.context).await.unwrap();
        // Sound that MP4 cannot hold is copied all the same.
        assert!(output["video_path"].as_str().unwrap().ends_with(".mkv"));
        let seen = bright(&output["video_path"], &[1.5]);
        assert!(seen[0].0 == 0 && seen[0].1 == 0 || seen[0].0 > 50, "{seen:?}");
        let ass = "[Script Info]\nPlayResX: 320\nPlayResY: 180\n\n[V4+ Styles]\nFormat: Name, Fontname, Fontsize, PrimaryColour, Alignment\n\
                   Style: Up,DejaVu Sans,30,&H00FFFFFF,8\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n\
                   Dialogue: 0,0:00:01.00,0:00:02.00,Up,UP\n";
        fixture.context.input["subtitle_path"] = json!(fixture.file("b.ass", ass));
        let output = run(&fixture.context).await.unwrap();
        let seen = bright(&output["video_path"], &[1.5]);
        assert!(seen[0].0 > 50 && seen[0].1 == 0, "{seen:?}");
        fixture.context.input["output_format"] = json!("mp4");
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(
            error.contains("pcm_s16le") && error.contains("output_format"),
            "{error}"
        );
    }

    /// Returns a video whose lines 130 to 170 of 180 hold stripes, as if letters stood there, and what is asked of it.
    fn striped(fixture: &Fixture, more: &Value) -> Value {
        let video = fixture.path("a.mp4");
        let stripes = "geq=lum='if(between(X,40,279)*between(Y,130,169),if(lt(mod(X,16),8),235,16),80)':cb=128:cr=128";
        let source = ["-f", "lavfi", "-i", "color=gray:s=320x180:r=25:d=4", "-vf", stripes];
        clip::make(&video, &[&source[..], &["-pix_fmt", "yuv420p"]].concat());
        let mut input =
            json!({"video_path": video, "subtitle_path": fixture.file("a.srt", srt()), "preset": "ultrafast"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    }

    /// Returns the darkest and the brightest pixel of these lines of the frame shown at a time.
    fn range(path: &Value, time: f64, lines: std::ops::Range<usize>) -> (u8, u8) {
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-i", path.as_str().unwrap(), "-ss", &time.to_string()])
            .args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"])
            .output()
            .unwrap();
        let pixels = &made.stdout[lines.start * 320..lines.end * 320];
        (*pixels.iter().min().unwrap(), *pixels.iter().max().unwrap())
    }

    #[tokio::test]
    async fn what_was_in_the_picture_is_covered_while_new_subtitles_are_shown_and_nothing_else_is() {
        for (cover, darkest, brightest) in [("box", 0, 40), ("blur", 70, 160)] {
            let asked = json!({"cover": cover, "cover_area": [0, 129, 320, 170], "position": "top", "font_size": 8});
            let fixture = Fixture::with_input(NODE, |fixture| striped(fixture, &asked));
            let output = run(&fixture.context).await.unwrap();
            assert_eq!(output["covered_area"], json!([0, 128, 320, 170]));
            let path = &output["video_path"];
            let covered = range(path, 1.52, 132..166);
            assert!(covered.0 >= darkest && covered.1 <= brightest, "{cover}: {covered:?}");
            let (dark, bright) = range(path, 2.52, 132..166);
            assert!(dark < 50 && bright > 200, "{cover}: {dark} {bright}");
            let (dark, bright) = range(path, 1.52, 90..124);
            assert!(dark > 60 && bright < 100, "{cover}: {dark} {bright}");
            // The new text stands at the top.
            assert!(range(path, 1.52, 0..60).1 > 200, "{cover}");
        }
    }

    #[tokio::test]
    async fn a_text_can_stand_where_the_covered_one_was() {
        let asked = json!({"cover": "box", "cover_area": [0, 130, 320, 170], "position": "covered", "font_size": 8});
        let mut fixture = Fixture::with_input(NODE, |fixture| striped(fixture, &asked));
        let output = run(&fixture.context).await.unwrap();
        let path = &output["video_path"];
        assert!(range(path, 1.52, 134..168).1 > 200);
        assert!(range(path, 1.52, 0..126).1 < 100);
        for (input, named) in [
            (json!({"cover": "none", "position": "covered"}), "input_data.position"),
            (json!({"cover_area": [0, 130, 320, 190]}), "320 wide and 180 high"),
            (json!({"cover_area": null}), "input_data.cover_area"),
        ] {
            let mut asked = asked.clone();
            asked
                .as_object_mut()
                .unwrap()
                .extend(input.as_object().unwrap().clone());
            let input = striped(&fixture, &asked);
            fixture.resolve(input.as_object().unwrap());
            let error = run(&fixture.context).await.unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[tokio::test]
    async fn frames_keep_their_times_also_when_they_are_uneven_or_late() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            let video = fixture.path("vfr.mkv");
            let late = [
                "-f",
                "lavfi",
                "-i",
                "sine=d=4",
                "-itsoffset",
                "0.5",
                "-f",
                "lavfi",
                "-i",
                "testsrc=s=64x48:r=25:d=3",
            ];
            let uneven = [
                "-vf",
                "select='lt(n,10)+eq(n,37)+eq(n,61)'",
                "-fps_mode",
                "vfr",
                "-c:v",
                "libx264",
                "-bf",
                "0",
            ];
            clip::make(&video, &[&late[..], &uneven].concat());
            json!({"video_path": video, "subtitle_path": fixture.file("a.srt", srt()), "output_format": "mkv"})
        });
        let output = run(&fixture.context).await.unwrap();
        let times = async |path: &str| {
            let times = timeline::frame_times(&fixture.context, Path::new(path), None, 0).await;
            times.unwrap().starts().to_vec()
        };
        let (before, after) = (
            times(fixture.context.input["video_path"].as_str().unwrap()).await,
            times(output["video_path"].as_str().unwrap()).await,
        );
        assert_eq!(before.len(), 12);
        for (before, after) in before.iter().zip(&after) {
            assert!((before - after).abs() < 0.03, "{before} {after}");
        }
        assert_eq!(before.len(), after.len());
    }

    #[tokio::test]
    async fn a_hole_in_the_picture_stays_a_hole() {
        let fixture = Fixture::with_input(NODE, |fixture| {
            clip::with_a_hole(&fixture.path("hole.ts"));
            json!({"video_path": fixture.path("hole.ts"), "subtitle_path": fixture.file("a.srt", srt())})
        });
        let output = run(&fixture.context).await.unwrap();
        clip::assert_has_the_hole(&fixture.context, &output).await;
    }

    #[tokio::test]
    async fn letters_that_no_font_has_are_told_before_hours_of_work() {
        // Letters of a private range: nobody's font has them.
        let text = |text: &str| format!("1\n00:00:01,000 --> 00:00:02,000\n{text}\n");
        let mut fixture = Fixture::with_input(NODE, |fixture| {
            black(&fixture.path("a.mp4"), &[]);
            json!({"video_path": fixture.path("a.mp4"), "subtitle_path": fixture.file("a.srt", text("Hi \u{1fbff}\u{1f8b1}"))})
        });
        run(&fixture.context).await.unwrap();
        let mut output = Object::new();
        fixture.context.warnings.write_into(&mut output);
        assert_eq!(output["warnings"][0]["code"], "glyphs_missing", "{output:?}");
        fixture.context.input["subtitle_path"] = json!(fixture.file("b.srt", text("\u{12000}\u{12001}")));
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(error.contains("no font") && error.contains("apt-get"), "{error}");
    }
}
