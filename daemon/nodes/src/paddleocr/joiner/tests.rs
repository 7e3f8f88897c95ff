//! What becomes of readings: the promises one by one, then cues with noise in them.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

const RULE: Rule = Rule {
    min_duration: 0.2,
    similarity: 0.6,
};

fn times(frames: u64, fps: f64) -> FrameTimes {
    FrameTimes::new(
        (0..frames).map(|frame| frame as f64 / fps).collect(),
        frames as f64 / fps,
    )
}

fn reading(number: u64, text: &str) -> OcrReading {
    OcrReading {
        text: text.into(),
        corners: Vec::new(),
        confidence: None,
        read: number,
        stretch: None,
    }
}

/// Readings from frame 1 on, `(frames, text)` each; an empty text is none.
fn read(runs: &[(u64, &str)]) -> BTreeMap<u64, OcrReading> {
    let mut readings = BTreeMap::new();
    let mut number = 1;
    for &(frames, text) in runs {
        for _ in 0..frames {
            if !text.is_empty() {
                readings.insert(number, reading(number, text));
            }
            number += 1;
        }
    }
    readings
}

/// Texts and frames of the cues at 25 frames a second.
fn cues(readings: &BTreeMap<u64, OcrReading>) -> Vec<(String, [u64; 2])> {
    let joined = RULE.join(readings, &times(10_000, 25.0));
    joined.into_iter().map(|cue| (cue.text, cue.frames)).collect()
}

fn texts(runs: &[(u64, &str)]) -> Vec<String> {
    cues(&read(runs)).into_iter().map(|(text, _)| text).collect()
}

#[test]
fn a_reader_that_misses_a_frame_now_and_then_makes_one_cue() {
    let flicker: Vec<_> = (0..5).flat_map(|_| [(4, "Where are you"), (1, "")]).collect();
    assert_eq!(cues(&read(&flicker)), [("Where are you".into(), [1, 24])]);
    let misread = [
        (3, "Where are you"),
        (1, "|||"),
        (3, "Where are you"),
        (2, "Whcrc arc y"),
        (3, "Where are you"),
    ];
    assert_eq!(cues(&read(&misread)), [("Where are you".into(), [1, 12])]);
}

#[test]
fn the_text_is_the_one_most_readings_agree_on_and_not_the_first() {
    let fade = [
        (1, "Whcrc arc y"),
        (1, "Where arc you"),
        (48, "Where are you?"),
        (20, ""),
        (1, "你 好"),
        (39, "你好，世界"),
    ];
    assert_eq!(
        cues(&read(&fade)),
        [("Where are you?".into(), [1, 50]), ("你好，世界".into(), [71, 110])]
    );
}

#[test]
fn a_blank_that_some_readings_leave_out_is_there_and_one_that_a_single_one_has_is_not() {
    let runs = [
        (20, "He isdead."),
        (8, "He is dead."),
        (20, "He isdead."),
        (2, "H e is dead."),
    ];
    assert_eq!(cues(&read(&runs)), [("He is dead.".into(), [1, 50])]);
    let apostrophe = [
        (20, "I can't do it"),
        (10, "I can 't do it"),
        (20, "第 一章"),
        (30, "第一章"),
    ];
    assert_eq!(texts(&apostrophe), ["I can't do it", "第一章"]);
    let lines = [(10, "Two lines"), (40, "Two\nlines")];
    assert_eq!(texts(&lines), ["Two\nlines"]);
}

#[test]
fn a_sure_reading_outweighs_an_unsure_one_that_lasts_as_long() {
    let mut readings = read(&[(6, "We lost 3 men"), (6, "We lost 8 men")]);
    for (number, reading) in &mut readings {
        reading.confidence = Some(if *number > 6 { 0.97 } else { 0.6 });
    }
    assert_eq!(cues(&readings), [("We lost 8 men".into(), [1, 12])]);
}

#[test]
fn two_texts_that_each_stay_are_two_cues_however_alike() {
    for (first, second) in [
        ("Chapter 1", "Chapter 2"),
        ("I can do it", "I can't do it"),
        ("第一章", "第二章"),
        ("I love you", "I love you too"),
        ("Is he dead?", "He is dead."),
    ] {
        assert_eq!(texts(&[(8, first), (8, second)]), [first, second]);
        assert_eq!(texts(&[(8, first), (8, second), (8, first)]), [first, second, first]);
        assert_eq!(texts(&[(8, first), (2, ""), (8, second)]), [first, second]);
    }
}

#[test]
fn an_unsure_text_between_two_of_the_same_is_a_misreading_even_where_it_stays() {
    let mut readings = read(&[(20, "Where are you"), (8, "Where arc yau"), (20, "Where are you")]);
    for (number, reading) in &mut readings {
        reading.confidence = Some(if (21..=28).contains(number) { 0.7 } else { 0.98 });
    }
    assert_eq!(cues(&readings), [("Where are you".into(), [1, 48])]);
}

#[test]
fn what_is_typed_or_fades_in_ends_as_the_whole_text() {
    let whole = "Meanwhile, in Berlin";
    let typed: Vec<_> = (1..=whole.len()).map(|end| (2, &whole[..end])).collect();
    assert_eq!(cues(&read(&typed)), [(whole.into(), [1, 40])]);
    let stays = [&typed[..], &[(30, whole)]].concat();
    assert_eq!(cues(&read(&stays)), [(whole.into(), [1, 70])]);
    let by_words = [(6, "Meanwhile,"), (6, "Meanwhile, in"), (5, "Meanwhile, in Berlin")];
    assert_eq!(texts(&by_words), [whole]);
    let fade = [
        (1, "eanw"),
        (1, "eanwile in Bln"),
        (40, whole),
        (1, "Menwhile, Berln"),
        (1, "nwle"),
    ];
    assert_eq!(texts(&fade), [whole]);
}

#[test]
fn within_a_stretch_that_does_not_change_most_readings_decide() {
    let mut readings = read(&[(25, "We lost 3 men"), (25, "We lost 8 men"), (25, "We lost 3 men")]);
    for (number, reading) in &mut readings {
        reading.stretch = Some(1);
        reading.read = (*number - 1) / 25 * 25 + 12;
    }
    let joined = RULE.join(&readings, &times(100, 25.0));
    assert_eq!(joined.len(), 1);
    assert_eq!((joined[0].text.as_str(), joined[0].readings), ("We lost 3 men", 3));
    assert!((joined[0].agreement - 2.0 / 3.0).abs() < 0.01);
    // With a change of the picture between them they are different texts.
    for (number, reading) in &mut readings {
        reading.stretch = Some((*number - 1) / 25);
    }
    assert_eq!(RULE.join(&readings, &times(100, 25.0)).len(), 3);
}

#[test]
fn short_texts_go_after_joining_and_a_slide_of_one_frame_stays() {
    assert_eq!(texts(&[(5, "a sign"), (40, ""), (4, "gone")]), ["a sign"]);
    let slides = read(&[(3, "Welcome"), (2, ""), (1, "One slide only")]);
    let joined = RULE.join(&slides, &times(10, 1.0));
    let shown: Vec<_> = joined
        .iter()
        .map(|cue| (cue.start, cue.end, cue.text.as_str()))
        .collect();
    assert_eq!(shown, [(0.0, 3.0, "Welcome"), (5.0, 6.0, "One slide only")]);
}

#[test]
fn five_frames_at_25_a_second_are_a_fifth_of_a_second_wherever_they_stand() {
    for first in 1..200 {
        let frames = (first..first + 5)
            .map(|number| (number, reading(number, "a")))
            .collect();
        assert_eq!(RULE.join(&frames, &times(300, 25.0)).len(), 1, "from {first}");
    }
}

const LINES: [&str; 8] = [
    "Where are you going tonight?",
    "I have to meet someone",
    "Chapter 1",
    "Chapter 2",
    "你好，世界",
    "Nobody warned me about it.\nIt was supposed to be a secret.",
    "So we leave now",
    "No",
];

proptest! {
    #[test]
    fn any_readings_give_ordered_cues_that_do_not_overlap_and_stay_long_enough(
        runs in vec((1..12_u64, select(vec!["", "where are you", "where are yau", "where", "at home", "你好吗", "x"])), 0..80),
        fps in select(vec![1.0, 15.0, 24_000.0 / 1001.0, 25.0, 60.0, 240.0]),
        min_duration in 0.0..1.0_f64,
        similarity in 0.0..=1.0_f64,
    ) {
        let readings = read(&runs);
        let rule = Rule { min_duration, similarity };
        let joined = rule.join(&readings, &times(1000, fps));
        for cue in &joined {
            prop_assert!(cue.end - cue.start >= min_duration - 0.001, "{cue:?}");
            let [first, last] = cue.frames;
            prop_assert!(readings.contains_key(&first) && readings.contains_key(&last));
            prop_assert!(readings.range(first..=last).any(|(_, reading)| reading.text == cue.text));
            prop_assert!((0.0..=1.001).contains(&cue.agreement) && cue.readings > 0);
        }
        for pair in joined.windows(2) {
            prop_assert!(pair[0].end <= pair[1].start + 1e-9 && pair[0].frames[1] < pair[1].frames[0], "{pair:?}");
        }
    }

    #[test]
    fn cues_come_back_through_missed_frames_and_misreadings(
        shown in vec((10..60_u64, 0..3_usize, 0..LINES.len()), 1..12),
        noise in vec(0..100_u32, 800),
    ) {
        // Neighbours of the same text would be one cue, as they should.
        let mut before = usize::MAX;
        let (mut readings, mut due, mut number) = (BTreeMap::new(), Vec::new(), 1);
        for (frames, gap, line) in shown {
            if line == before {
                continue;
            }
            before = line;
            let text = LINES[line];
            due.push((text.to_owned(), [number, number + frames - 1]));
            for at in 0..frames {
                // The edges are read, so that it is known where a cue begins; a tenth of the rest is missed or misread.
                let is_edge = at < 3 || at + 3 >= frames;
                match noise[(number as usize) % noise.len()] {
                    0..5 if !is_edge => {}
                    5..10 if !is_edge => {
                        let misread = text.replace(['e', 'a', '好'], "c");
                        readings.insert(number, reading(number, &misread));
                    }
                    _ => {
                        readings.insert(number, reading(number, text));
                    }
                }
                number += 1;
            }
            number += [0, 3, 40][gap];
        }
        let joined = RULE.join(&readings, &times(number, 25.0));
        let found: Vec<_> = joined.into_iter().map(|cue| (cue.text, cue.frames)).collect();
        prop_assert_eq!(found, due);
    }
}
