//! Every frame by its number, and the frames that are chosen.

use serde_json::Value;

use super::*;
use crate::{ffmpeg::clip, fixture::Fixture};

fn fixture(name: &str, codec: &[&str], input: Value) -> Fixture {
    Fixture::with_input("ffmpeg.crop_subtitle_images", |fixture| {
        // Counted from the left, frame n of 60 has its first n columns of ten pixels in white.
        let source = ["-f", "lavfi", "-i", "color=black:size=600x80:rate=25:duration=2.4"];
        let bars = "geq=lum='if(lt(X,10*N+10),235,16)':cb=128:cr=128";
        let args = [&source[..], &["-vf", bars, "-pix_fmt", "yuv420p"], codec].concat();
        clip::make(&fixture.path(name), &args);
        let mut input = input;
        input["video_path"] = json!(fixture.path(name));
        input
    })
}

/// How many columns of the strip in a file are white, which is the number of its frame.
fn frame_in(path: &Path) -> (u32, u32, u32) {
    let picture = image::open(path).unwrap().to_luma8();
    let row = picture.height() / 2;
    let white = (0..picture.width())
        .filter(|x| picture.get_pixel(*x, row).0[0] > 128)
        .count();
    (white as u32, picture.width(), picture.height())
}

#[tokio::test]
async fn v3_every_frame_is_a_file_named_by_its_number_whatever_the_codec() {
    let h264 = ["-c:v", "libx264", "-g", "25", "-bf", "2"];
    for (name, codec) in [
        ("a.mp4", &h264[..]),
        ("b.avi", &["-c:v", "mpeg4"]),
        (
            "c.mkv",
            &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"],
        ),
    ] {
        let fixture = fixture(
            name,
            codec,
            json!({"subtitle_area": [0, 17, 600, 50], "decode_processes": 4, "every_frame": true}),
        );
        let output = run(&fixture.context).await.unwrap();
        assert_eq!(output["cropped_images_files_count"], 60, "{name}");
        assert_eq!(output["decoder"], "cpu");
        let folder = fixture.context.dir.join("images/cropped/frames");
        assert_eq!(output["cropped_images_path"], json!(folder));
        for number in 1..=60_u32 {
            let (white, width, height) = frame_in(&folder.join(format!("{number:08}.jpg")));
            assert!(white.abs_diff(number * 10) <= 3, "{name}: file {number} holds {white}");
            assert_eq!((width, height), (600, 33));
        }
        assert!(fixture.progress.borrow().percent >= 99.0);
        assert!(fixture.context.node.output_is_reusable(&output));
    }
}

#[tokio::test]
async fn frames_at_uneven_times_are_neither_dropped_nor_doubled() {
    // The first ten frames have the same time as far as 25 a second can tell.
    let uneven = [
        "-c:v",
        "libx264",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "1:1000",
    ];
    let times = ["-bsf:v", "setts=ts='if(lt(N,10),N,N*40)'", "-bf", "0"];
    let codec = [&uneven[..], &times].concat();
    let fixture = fixture(
        "uneven.mkv",
        &codec,
        json!({"subtitle_area": [100, 0, 600, 80], "every_frame": true}),
    );
    let output = run(&fixture.context).await.unwrap();
    assert_eq!(output["cropped_images_files_count"], 60);
    let last = frame_in(&fixture.context.dir.join("images/cropped/frames/00000060.jpg"));
    assert_eq!(last, (500, 500, 80));
}

#[tokio::test]
async fn without_a_working_gpu_the_processor_decodes_and_asked_for_a_gpu_it_is_an_error() {
    let area = json!({"subtitle_area": [0, 0, 600, 80]});
    let fixture = fixture("clip.mp4", &["-c:v", "libx264"], area);
    let video = fixture.path("clip.mp4");
    let frames = create_folder(&fixture.context, "images/cropped/frames").unwrap();
    let media = probe::media(&fixture.context, &video).await.unwrap();
    let track = media.track(TrackKind::Video, None, video.display()).unwrap();
    let work = Work {
        context: &fixture.context,
        track: &track,
        rate: 25.0,
        every: true,
        video: &video,
        frames: &frames,
        area: Area {
            left: 0,
            top: 0,
            right: 600,
            bottom: 80,
        },
        threads: 2,
        total: 60,
    };
    if has_gpu() {
        return;
    }
    let done = work
        .by_the_first_that_can(&[Decoder::Cuda, Decoder::Cpu])
        .await
        .unwrap();
    assert_eq!((done.0, done.1.frames_count), (Decoder::Cpu, 60));
    assert!(fixture.log_text().contains("decoding on cuda failed"));
    let error = work.by_the_first_that_can(&decoders("cuda", false)).await.unwrap_err();
    assert!(error.to_string().contains("decoding"), "{error}");
}

#[test]
fn a_gpu_is_tried_first_where_there_is_one() {
    assert_eq!(decoders("auto", true), [Decoder::Cuda, Decoder::Cpu]);
    assert_eq!(decoders("auto", false), [Decoder::Cpu]);
    assert_eq!(decoders("cpu", true), [Decoder::Cpu]);
    assert_eq!(decoders("cuda", false), [Decoder::Cuda]);
}

#[tokio::test]
async fn an_area_that_is_none_is_refused_by_name_and_with_the_size_of_the_picture() {
    for (area, why) in [
        (json!([0, 0, 600]), "four numbers"),
        (json!([0, 0, 10, 10, 10]), "four numbers"),
        (json!([0, 50, 600, 50]), "y2 more than y1"),
        (json!([0, 0, 601, 80]), "the picture is 600 wide and 80 high"),
    ] {
        let mut fixture = fixture("a.mp4", &["-c:v", "libx264"], json!({"subtitle_area": [0, 0, 600, 80]}));
        fixture.context.input.insert("subtitle_area".into(), area);
        let error = run(&fixture.context).await.unwrap_err().to_string();
        assert!(
            error.contains("input_data.subtitle_area") && error.contains(why),
            "{error}"
        );
    }
}

/// 12 s at 25 frames a second with the subtitles in the lowest 162 of 1080 lines.
#[tokio::test]
async fn the_worked_example_of_300_frames_is_numbered_without_gaps() {
    let fixture = Fixture::with_input("ffmpeg.crop_subtitle_images", |fixture| {
        let source = "color=gray:size=1920x1080:rate=25:duration=12";
        let codec = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50"];
        clip::make(
            &fixture.path("clip.mp4"),
            &[&["-f", "lavfi", "-i", source][..], &codec].concat(),
        );
        json!({"video_path": fixture.path("clip.mp4"), "decode_processes": 4, "every_frame": true, "subtitle_area": [0, 918, 1920, 1080]})
    });
    let output = run(&fixture.context).await.unwrap();
    assert_eq!(output["cropped_images_files_count"], 300);
    let folder = fixture.context.dir.join("images/cropped/frames");
    for number in 1..=300 {
        assert!(folder.join(format!("{number:08}.jpg")).exists(), "{number}");
    }
    let size = image::image_dimensions(folder.join("00000300.jpg")).unwrap();
    assert_eq!(size, (1920, 162));
    let task = std::fs::read(fixture.context.dir.join("images/cropped/task.json")).unwrap();
    let task: Value = serde_json::from_slice(&task).unwrap();
    assert_eq!(
        (&task["total_frames"], &task["crop_area"][1]),
        (&json!(300), &json!(918))
    );
}

/// A word that is written over a moving picture from 1 s to 2 s.
#[tokio::test]
async fn only_frames_that_changed_are_kept_and_each_stands_for_those_around_it() {
    let fixture = Fixture::with_input("ffmpeg.crop_subtitle_images", |fixture| {
        let video = fixture.path("clip.mp4");
        let word = "drawbox=x=100:y=190:w=120:h=20:color=white:t=4:enable='gte(t,1)*lt(t,2)'";
        let source = ["-f", "lavfi", "-i", "mandelbrot=size=320x240:rate=25:end_pts=75"];
        clip::make(
            &video,
            &[&source[..], &["-frames:v", "75", "-vf", word, "-pix_fmt", "yuv420p"]].concat(),
        );
        json!({"video_path": video, "subtitle_area": [0, 180, 320, 221]})
    });
    let output = run(&fixture.context).await.unwrap();
    assert_eq!(output["frames_count"], 75);
    let folder = std::path::PathBuf::from(output["cropped_images_path"].as_str().unwrap());
    let frames = KeptFrames::parse(&std::fs::read(folder.join(FRAMES_FILE)).unwrap()).unwrap();
    assert_eq!(frames.frames_count, 75);
    assert_eq!(output["cropped_images_files_count"], frames.kept.len());
    assert!(frames.kept.len() < 25, "{frames:?}");
    let mut next = 1;
    for kept in &frames.kept {
        assert_eq!(kept.first, next);
        next = kept.last + 1;
        let path = folder.join(format!("{:08}.jpg", kept.frame));
        assert_eq!(image::image_dimensions(path).unwrap(), (320, 41));
        assert_eq!(kept.time, Some((kept.frame - 1) as f64 / 25.0));
    }
    assert_eq!(next, 76);
    for change in [26, 51] {
        assert!(frames.kept.iter().any(|kept| kept.stretch == change), "{frames:?}");
    }
    assert_eq!(output["video_track"], 0);
    assert!(fixture.progress.borrow().percent >= 99.0);
}

#[tokio::test]
async fn half_a_file_is_a_warning_that_says_how_much_there_is() {
    // MP4 tells a length for each track, Matroska in a tag and for the whole.
    for (name, front) in [("half.mp4", &["-movflags", "+faststart"][..]), ("half.mkv", &[])] {
        let fixture = Fixture::with_input("ffmpeg.crop_subtitle_images", |fixture| {
            let whole = fixture.path(&format!("whole-{name}"));
            let source = [
                "-f",
                "lavfi",
                "-i",
                "testsrc2=size=160x120:rate=10:duration=10",
                "-g",
                "5",
            ];
            clip::make(&whole, &[&source[..], front].concat());
            let bytes = std::fs::read(&whole).unwrap();
            let half = fixture.file(name, &bytes[..bytes.len() * 6 / 10]);
            json!({"video_path": half, "subtitle_area": [0, 60, 160, 120]})
        });
        let output = run(&fixture.context).await.unwrap();
        assert!(output["frames_count"].as_u64().unwrap() < 90);
        let mut warned = Object::new();
        fixture.context.warnings.write_into(&mut warned);
        assert_eq!(warned["warnings"][0]["code"], "truncated_source", "{name}");
        assert_eq!(warned["warnings"][0]["numbers"]["expected_duration"], 10.0, "{name}");
    }
}
