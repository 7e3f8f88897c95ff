//! Times of frames, holes and clocks that begin again.

use super::*;
use crate::{ffmpeg::clip, fixture::Fixture};

async fn times(name: &str, make: impl FnOnce(&Path), at_least: u64) -> FrameTimes {
    let fixture = Fixture::bare();
    make(&fixture.path(name));
    frame_times(&fixture.context, &fixture.path(name), None, at_least)
        .await
        .unwrap()
}

/// One second of 25 frames, made with these arguments.
fn one_second(args: &[&str]) -> impl FnOnce(&Path) {
    let source = ["-f", "lavfi", "-i", "testsrc=d=1:s=64x48:r=25"];
    let args = [&source[..], args]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    move |path: &Path| clip::make(path, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

const H264: [&str; 8] = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "250"];

#[tokio::test]
async fn frames_with_b_frames_are_in_shown_order() {
    let times = times("a.mp4", one_second(&H264), 0).await;
    assert_eq!(times.len(), 25);
    assert_eq!(times.shown(1), Some((0.0, 0.04)));
    assert_eq!(times.shown(25), Some((0.96, 1.0)));
    assert_eq!((times.shown(0), times.shown(26)), (None, None));
}

#[tokio::test]
async fn frames_before_an_edit_list_begins_are_not_counted() {
    let times = times(
        "cut.mp4",
        |path| {
            let whole = path.with_file_name("whole.mp4");
            one_second(&H264)(&whole);
            clip::make(path, &["-ss", "0.5", "-i", whole.to_str().unwrap(), "-c", "copy"]);
        },
        0,
    )
    .await;
    assert!((11..=14).contains(&times.len()), "{}", times.len());
    assert!(times.starts()[0] >= 0.0 && times.starts()[0] < 0.05, "{times:?}");
}

#[tokio::test]
async fn a_clock_that_begins_elsewhere_begins_at_zero_and_a_late_picture_stays_late() {
    let offset = [&H264[..], &["-output_ts_offset", "95443.7"]].concat();
    let one = times("wrap.ts", one_second(&offset), 0).await;
    assert_eq!(one.len(), 25);
    assert!(
        one.starts()[0].abs() < 0.001 && (one.end() - 1.0).abs() < 0.001,
        "{one:?}"
    );
    let late = times(
        "late.mkv",
        |path| {
            let args = [
                "-f",
                "lavfi",
                "-i",
                "sine=d=2",
                "-itsoffset",
                "1",
                "-f",
                "lavfi",
                "-i",
                "testsrc=d=1:s=64x48:r=25",
            ];
            clip::make(path, &[&args[..], &H264].concat());
        },
        0,
    )
    .await;
    let sound_first = late.starts()[0];
    assert!((sound_first - 1.0).abs() < 0.03, "{sound_first}");
}

#[tokio::test]
async fn uneven_frames_have_their_own_times_and_one_a_second_is_one_a_second() {
    let uneven = ["-vf", "select='lt(n,10)+eq(n,20)'", "-fps_mode", "vfr"];
    let uneven = times("vfr.mkv", one_second(&[&uneven[..], &H264].concat()), 0).await;
    assert_eq!(uneven.shown(10), Some((0.36, 0.8)));
    assert_eq!(uneven.len(), 11);
    let slides = times(
        "slides.mp4",
        |path| {
            clip::make(
                path,
                &["-f", "lavfi", "-i", "testsrc=d=4:s=64x48:r=1", "-c:v", "libx264"],
            )
        },
        0,
    )
    .await;
    assert_eq!((slides.shown(2), slides.shown(4)), (Some((1.0, 2.0)), Some((3.0, 4.0))));
}

#[tokio::test]
async fn a_video_that_begins_in_the_middle_has_the_times_of_the_frames_that_can_be_decoded() {
    let middle = |path: &Path| {
        let whole = path.with_file_name("whole.ts");
        let codec = ["-c:v", "libx264", "-g", "10", "-f", "mpegts"];
        one_second(&codec)(&whole);
        let bytes = std::fs::read(&whole).unwrap();
        let from = bytes.len() / 188 / 5 * 188;
        std::fs::write(path, &bytes[from..]).unwrap();
    };
    let times = times("mid.ts", middle, 0).await;
    assert!((10..25).contains(&times.len()), "{}", times.len());
    assert!(times.starts().windows(2).all(|pair| pair[0] < pair[1]));
}

#[tokio::test]
async fn another_number_of_frames_than_packets_is_read_by_decoding() {
    let fixture = Fixture::bare();
    let path = fixture.path("a.mp4");
    one_second(&H264)(&path);
    let by_frames = frame_times(&fixture.context, &path, None, 26).await.unwrap();
    assert!(fixture.log_text().contains("decoding it"));
    assert_eq!(by_frames, frame_times(&fixture.context, &path, None, 25).await.unwrap());
}

#[test]
fn a_clock_that_begins_again_goes_on() {
    let mut stamps = Stamps::new(true, 100);
    for time in [5.0, 5.04, 5.08, 0.2, 0.24, 9.0] {
        stamps.add(Stamp {
            shown: Some(time),
            decoded: Some(time),
            duration: Some(0.04),
            is_key: true,
            is_discarded: false,
        });
    }
    let shown: Vec<_> = stamps.stamps.iter().map(|stamp| micros(stamp.shown.unwrap())).collect();
    // The hole before the last one stays.
    assert_eq!(shown, [5.0, 5.04, 5.08, 5.12, 5.16, 13.92]);
}

#[test]
fn more_frames_than_are_kept_are_refused() {
    let before = Limit::Frames.times_reached();
    let of = |count: usize| {
        let mut stamps = Stamps::new(false, 2);
        (0..count).for_each(|_| stamps.add(Stamp::default()));
        stamps.within_limit()
    };
    assert!(of(2).is_ok());
    assert!(of(9).unwrap_err().to_string().contains("more than 2"));
    assert_eq!(Limit::Frames.times_reached(), before + 1);
}

#[test]
fn holes_are_where_packets_are_missing_whether_or_not_they_tell_their_length() {
    let hole = Hole {
        at: 0.06,
        duration: 1.0,
    };
    for duration in [Some(0.02), None] {
        let mut stamps = Stamps::new(false, 100);
        for shown in [10.0, 10.02, 10.04, 11.06, 11.08] {
            let shown = Some(shown);
            stamps.add(Stamp {
                shown,
                duration,
                ..Stamp::default()
            });
        }
        assert_eq!(stamps.holes(10.0), [hole], "{duration:?}");
        // As MP4 has it.
        if duration.is_some() {
            stamps.stamps[2].duration = Some(1.02);
        }
        assert_eq!(stamps.holes(10.0), [hole]);
    }
}

#[test]
fn lines_of_ffprobe_are_read_and_others_skipped() {
    let stamp = Stamp::parse("pts_time=0.08|dts_time=N/A|duration_time=0.04|flags=KD").unwrap();
    assert_eq!(
        (stamp.shown, stamp.decoded, stamp.duration),
        (Some(0.08), None, Some(0.04))
    );
    assert!(stamp.is_key && stamp.is_discarded);
    let frame = Stamp::parse("best_effort_timestamp_time=N/A|pkt_duration_time=0.5").unwrap();
    assert_eq!((frame.shown, frame.duration), (None, Some(0.5)));
    for other in ["", "side_data|", "a=b"] {
        assert_eq!(Stamp::parse(other), None);
    }
}
