//! Which strips are kept of made-up ones: a text is a pattern of strokes, what is behind it moves or does not.

use std::convert::Infallible;

use super::*;

const SIZE: StripSize = StripSize { width: 320, height: 40 };

/// How the picture behind the text looks at a pixel of a frame.
type Behind = fn(usize, usize, usize) -> u8;

const PLAIN: Behind = |_, _, _| 60;
/// Waves that move two pixels a frame.
const MOVING: Behind = |frame, x, y| (90.0 + 50.0 * ((x + y + 2 * frame) as f64 / 9.0).sin()) as u8;

/// The strip of a frame with the strokes of a text by its number; 0: none. `contrast` is what a stroke adds.
fn strip(frame: usize, text: u64, contrast: u8, behind: Behind) -> Vec<u8> {
    let mut planes = vec![128; 3 * SIZE.plane()];
    for y in 0..SIZE.height {
        for x in 0..SIZE.width {
            let (column, inside) = (
                (x.saturating_sub(80)) / 8,
                (80..240).contains(&x) && (10..30).contains(&y),
            );
            // Letters are columns of eight pixels, each with one of a few shapes.
            let letter = (text.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (column * 3 % 60)) % 7;
            let stroke = (x % 8 < 3) && !(y as u64 / 3 + letter).is_multiple_of(3);
            let add = if text > 0 && inside && stroke { contrast } else { 0 };
            planes[y * SIZE.width + x] = behind(frame, x, y).saturating_add(add);
        }
    }
    planes
}

fn kept(frames: impl Iterator<Item = Vec<u8>>) -> Vec<KeptStrip> {
    let mut chooser = StripChooser::new(SIZE, 25.0);
    let mut all = Vec::new();
    let mut keep = |strip: KeptStrip, _| {
        all.push(strip);
        Ok::<_, Infallible>(())
    };
    for frame in frames {
        let Ok(()) = chooser.add(frame, &mut keep);
    }
    let Ok(()) = chooser.finish(&mut keep);
    all
}

/// Each frame is stood for once, in order, and no strip stands for frames of two stretches.
fn assert_whole(all: &[KeptStrip], frames: u64) {
    let mut next = 1;
    for strip in all {
        assert_eq!(strip.first, next, "{all:?}");
        assert!((strip.first..=strip.last).contains(&strip.frame), "{strip:?}");
        assert!(strip.stretch <= strip.first, "{strip:?}");
        next = strip.last + 1;
    }
    assert_eq!(next, frames + 1, "{all:?}");
}

/// The first frames of the stretches.
fn stretches(all: &[KeptStrip]) -> Vec<u64> {
    let mut starts: Vec<_> = all.iter().map(|strip| strip.stretch).collect();
    starts.dedup();
    starts
}

#[test]
fn a_picture_that_stays_is_kept_once_and_a_text_over_it_once() {
    let texts = |frame: usize| if (50..125).contains(&frame) { 3 } else { 0 };
    let all = kept((0..300).map(|frame| strip(frame, texts(frame), 170, PLAIN)));
    assert_whole(&all, 300);
    assert_eq!(stretches(&all), [1, 51, 126]);
    assert_eq!(all.len(), 3, "{all:?}");
}

#[test]
fn over_a_moving_picture_a_text_begins_and_ends_by_the_frame_and_is_kept_three_times() {
    let texts = |frame: usize| match frame {
        30..70 => 3,
        70..110 => 4,
        150..160 => 5,
        _ => 0,
    };
    let all = kept((0..200).map(|frame| strip(frame, texts(frame), 165, MOVING)));
    assert_whole(&all, 200);
    let starts = stretches(&all);
    for change in [31, 71, 111, 151, 161] {
        assert!(starts.contains(&change), "{change} is not in {starts:?}");
        assert!(
            all.iter().filter(|strip| strip.stretch == change).count() >= 3,
            "{all:?}"
        );
    }
    assert!(all.len() < 40, "{} of 200 strips are kept", all.len());
}

#[test]
fn a_faint_text_over_a_still_picture_is_a_change() {
    let texts = |frame: usize| u64::from((40..80).contains(&frame));
    let all = kept((0..120).map(|frame| strip(frame, texts(frame), 30, PLAIN)));
    assert_whole(&all, 120);
    assert_eq!(stretches(&all), [1, 41, 81]);
}

#[test]
fn one_letter_is_a_change_however_alike_the_texts_are() {
    // A stroke of three pixels moves within one letter.
    let with_dot = |frame: usize| {
        let mut planes = strip(frame, 3, 170, MOVING);
        let left = if frame < 60 { 248 } else { 253 };
        for y in 10..30 {
            for x in left..left + 3 {
                planes[y * SIZE.width + x] = 255;
            }
        }
        planes
    };
    let all = kept((0..120).map(with_dot));
    assert!(stretches(&all).contains(&61), "{all:?}");
}

#[test]
fn what_moves_for_long_is_read_once_a_second_and_the_first_frame_always() {
    let all = kept((0..500).map(|frame| strip(frame, 0, 0, MOVING)));
    assert_whole(&all, 500);
    assert!((15..=40).contains(&all.len()), "{}", all.len());
    for frames in 1..4 {
        let all = kept((0..frames).map(|frame| strip(frame, 0, 0, MOVING)));
        assert_whole(&all, frames as u64);
        assert!(all.len() <= frames && all[0].frame == 1, "{all:?}");
    }
}
