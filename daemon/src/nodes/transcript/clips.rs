//! Clips of one speaker, neither too short nor too long, out of segments.

use std::ops::Range;

use indexmap::IndexMap;

use super::{
    millis,
    read::{Segment, Word, estimated_words, text_of},
    text::{ends_sentence, spaced},
};

/// Speaker of segments that name none.
const UNKNOWN: &str = "SPEAKER_UNKNOWN";
/// Seconds between two words that can be heard as a pause.
const PAUSE: f64 = 0.3;
/// Words looked at for one piece; some files have thousands without length.
const MOST_WORDS: usize = 2000;

/// What clips may be. Seconds.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) min: f64,
    pub(super) max: f64,
    /// Between two segments that are joined.
    pub(super) gap: f64,
    /// Nothing is joined to the end of a sentence, unless the clip would be too short.
    pub(super) ends_at_sentences: bool,
}

impl Limits {
    fn fits(&self, duration: f64) -> bool {
        millis(duration) <= self.max
    }

    fn is_short(&self, duration: f64) -> bool {
        millis(duration) < self.min
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clip {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) text: String,
    pub(super) words: Vec<Word>,
    pub(super) speaker: String,
}

impl Clip {
    fn of(segment: &Segment) -> Self {
        Self {
            start: segment.start,
            end: segment.end,
            text: segment.text.trim().to_owned(),
            words: segment.words.clone(),
            speaker: segment.speaker.clone().unwrap_or_else(|| UNKNOWN.into()),
        }
    }

    fn duration(&self) -> f64 {
        self.end - self.start
    }

    /// Seconds from its start to the end of both.
    fn span(&self, next: &Self) -> f64 {
        self.end.max(next.end) - self.start
    }

    fn join(&mut self, next: Self) {
        self.text = spaced([self.text.as_str(), &next.text].into_iter());
        self.end = self.end.max(next.end);
        self.words.extend(next.words);
    }
}

pub(super) struct Prepared {
    /// By when they start.
    pub(super) clips: Vec<Clip>,
    /// How many were too short, or too long and could not be cut.
    pub(super) left_out: usize,
}

pub(super) fn prepare(segments: &[Segment], limits: &Limits) -> Prepared {
    let mut speakers: IndexMap<String, Vec<Clip>> = IndexMap::new();
    for segment in segments.iter().filter(|segment| !segment.text.trim().is_empty()) {
        let clip = Clip::of(segment);
        speakers.entry(clip.speaker.clone()).or_default().push(clip);
    }
    let mut prepared = Prepared {
        clips: Vec::new(),
        left_out: 0,
    };
    for (_, mut said) in speakers {
        said.sort_by(|a, b| a.start.total_cmp(&b.start));
        let cut = join_near(said, limits)
            .into_iter()
            .flat_map(|clip| split(clip, limits))
            .collect();
        for clip in join_short(cut, limits) {
            if limits.is_short(clip.duration()) || !limits.fits(clip.duration()) {
                prepared.left_out += 1;
            } else {
                prepared.clips.push(clip);
            }
        }
    }
    prepared.clips.sort_by(|a, b| a.start.total_cmp(&b.start));
    prepared
}

/// Joins what follows closely.
fn join_near(said: Vec<Clip>, limits: &Limits) -> Vec<Clip> {
    let mut clips: Vec<Clip> = Vec::new();
    for next in said {
        match clips.last_mut() {
            Some(clip)
                if millis(next.start - clip.end) <= limits.gap
                    && limits.fits(clip.span(&next))
                    && !(limits.ends_at_sentences && ends_sentence(&clip.text)) =>
            {
                clip.join(next);
            }
            _ => clips.push(next),
        }
    }
    clips
}

/// Joins what is too short to what comes next, or before, however far that is, if both together are not too long.
fn join_short(mut clips: Vec<Clip>, limits: &Limits) -> Vec<Clip> {
    let mut at = 0;
    while at < clips.len() {
        let joins = |first: usize| {
            clips
                .get(first + 1)
                .is_some_and(|next| limits.fits(clips[first].span(next)))
        };
        let is_short = limits.is_short(clips[at].duration());
        if is_short && joins(at) {
            let next = clips.remove(at + 1);
            clips[at].join(next);
        } else if is_short && at > 0 && joins(at - 1) {
            let last = clips.remove(at);
            at -= 1;
            clips[at].join(last);
        } else {
            at += 1;
        }
    }
    clips
}

/// Cuts a clip that is too long between words; one that cannot be cut stays.
fn split(clip: Clip, limits: &Limits) -> Vec<Clip> {
    if limits.fits(clip.duration()) {
        return vec![clip];
    }
    if clip.words.is_empty() {
        return split_evenly(clip, limits);
    }
    best_cuts(&clip.words, limits)
        .into_iter()
        .map(|words| {
            let words = clip.words[words].to_vec();
            Clip {
                start: words[0].start,
                end: words.iter().map(|word| word.end).fold(words[0].end, f64::max),
                text: text_of(&words).trim().to_owned(),
                speaker: clip.speaker.clone(),
                words,
            }
        })
        .filter(|clip| !clip.text.is_empty())
        .collect()
}

/// Equal parts, the words of the text shared out over its time, at least one to each.
fn split_evenly(clip: Clip, limits: &Limits) -> Vec<Clip> {
    let parts = (clip.duration() / limits.max).floor() + 1.0;
    let words = estimated_words(&clip.text, clip.start, clip.end);
    if parts.is_nan() || parts > words.len() as f64 {
        return vec![clip];
    }
    let part = clip.duration() / parts;
    let parts = parts as usize;
    let mut at = 0;
    let mut shared: Vec<Vec<Word>> = vec![Vec::new(); parts];
    let all = words.len();
    for (number, word) in words.into_iter().enumerate() {
        let wanted = ((word.middle() - clip.start) / part) as usize;
        let (least, most) = (
            at.max((parts + number).saturating_sub(all)),
            number.min(at + 1).min(parts - 1),
        );
        at = wanted.clamp(least.min(most), most);
        shared[at].push(word);
    }
    let edge = |number: usize| {
        if number == parts {
            clip.end
        } else {
            clip.start + part * number as f64
        }
    };
    shared
        .into_iter()
        .enumerate()
        .map(|(number, words)| Clip {
            start: millis(edge(number)),
            end: millis(edge(number + 1)),
            text: text_of(&words).trim().to_owned(),
            words: Vec::new(),
            speaker: clip.speaker.clone(),
        })
        .collect()
}

/// What a way to cut costs: pieces of no use, cuts in bad places, pieces. Less is better, in this order.
type Cost = (usize, usize, usize);

/// The best way to cut words into pieces within the limits: at ends of sentences rather than at pauses, there rather than
/// anywhere; else few pieces, the first ones as long as may be.
fn best_cuts(words: &[Word], limits: &Limits) -> Vec<Range<usize>> {
    let all = words.len();
    // From the end: the cost of the words from here on, and where the piece that starts here ends.
    let mut best: Vec<(Cost, usize)> = vec![((0, 0, 0), all); all + 1];
    for from in (0..all).rev() {
        let mut chosen: Option<(Cost, usize)> = None;
        let mut end = words[from].end;
        for to in from + 1..=all.min(from + MOST_WORDS) {
            end = end.max(words[to - 1].end);
            let duration = end - words[from].start;
            // A single word is a piece however long it is.
            if !limits.fits(duration) && to > from + 1 {
                break;
            }
            let useless = limits.is_short(duration) || !limits.fits(duration);
            let (rest, _) = best[to];
            let place = if to == all {
                0
            } else {
                badness(&words[to - 1], &words[to])
            };
            let cost = (rest.0 + usize::from(useless), rest.1 + place, rest.2 + 1);
            if chosen.is_none_or(|(least, _)| cost <= least) {
                chosen = Some((cost, to));
            }
        }
        best[from] = chosen.unwrap_or(((0, 0, 0), all));
    }
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < all {
        let to = best[from].1;
        pieces.push(from..to);
        from = to;
    }
    pieces
}

fn badness(before: &Word, next: &Word) -> usize {
    let word = before.word.trim_end();
    if ends_sentence(word) {
        0
    } else if next.start - before.end > PAUSE || word.ends_with([',', ';', ':', '，', '、', '；', '：']) {
        1
    } else {
        2
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::nodes::transcript::{
        fixture::{any_transcript, visible},
        read::transcript,
    };

    const LIMITS: Limits = Limits {
        min: 3.0,
        max: 10.0,
        gap: 1.0,
        ends_at_sentences: false,
    };

    /// One segment with a word of this length each, without pauses.
    fn with_words(words: &[(&str, f64)]) -> Vec<Segment> {
        let mut at = 0.0;
        let timed: Vec<Value> = words
            .iter()
            .map(|(word, length)| {
                let start = at;
                at += length;
                json!({"word": word, "start": start, "end": at})
            })
            .collect();
        transcript(json!([{"start": 0, "end": at, "text": words.iter().map(|word| word.0).collect::<String>(), "words": timed}]))
            .unwrap()
    }

    fn short(segments: &[Segment]) -> Vec<(f64, f64, String)> {
        let clips = prepare(segments, &LIMITS).clips;
        clips
            .into_iter()
            .map(|clip| (clip.start, clip.end, clip.text))
            .collect()
    }

    #[test]
    fn d46_a_long_segment_with_words_is_cut_at_the_end_of_a_sentence() {
        let segments = with_words(&[
            (" One", 4.0),
            (" two.", 3.0),
            (" Three", 2.0),
            (" four", 3.0),
            (" five", 4.0),
        ]);
        assert_eq!(
            short(&segments),
            [(0.0, 7.0, "One two.".into()), (7.0, 16.0, "Three four five".into())]
        );
        let clips = prepare(&segments, &LIMITS).clips;
        assert_eq!(clips[1].words.len(), 3);
    }

    #[test]
    fn d46_without_ends_of_sentences_the_pieces_are_few_long_and_none_too_short() {
        let segments = with_words(&[(" a", 3.0), (" b", 3.0), (" c", 3.0), (" d", 3.0), (" e", 0.5)]);
        assert_eq!(
            short(&segments),
            [(0.0, 9.0, "a b c".into()), (9.0, 12.5, "d e".into())]
        );
        let segments = with_words(&[(" a", 5.0), (" b", 4.0), (" c", 2.0)]);
        // Nine and two seconds would lose " c".
        assert_eq!(short(&segments), [(0.0, 5.0, "a".into()), (5.0, 11.0, "b c".into())]);
    }

    #[test]
    fn a_word_that_is_longer_than_a_clip_may_be_is_left_out() {
        let segments = with_words(&[(" a", 4.0), (" b", 40.0), (" c", 4.0)]);
        let prepared = prepare(&segments, &LIMITS);
        let texts: Vec<_> = prepared.clips.iter().map(|clip| clip.text.as_str()).collect();
        assert_eq!((texts.as_slice(), prepared.left_out), (&["a", "c"][..], 1));
        let one = transcript(json!([{"start": 0, "end": 40, "text": "Aaah"}])).unwrap();
        assert_eq!(prepare(&one, &LIMITS).left_out, 1);
    }

    #[test]
    fn what_is_short_is_joined_to_the_next_or_the_one_before() {
        let segments = transcript(json!([
            {"start": 0, "end": 5, "text": "long enough"},
            {"start": 7, "end": 8, "text": "short"},
            {"start": 12, "end": 19, "text": "fine"},
        ]))
        .unwrap();
        assert_eq!(
            short(&segments),
            [(0.0, 8.0, "long enough short".into()), (12.0, 19.0, "fine".into())]
        );
    }

    proptest! {
        #[test]
        fn clips_are_within_the_limits_and_double_nothing(
            segments in any_transcript(),
            min in 0.0..4.0_f64,
            more in 0.0..8.0_f64,
            gap in 0.0..3.0_f64,
        ) {
            let limits = Limits { min: millis(min), max: millis(min + more + 0.1), gap, ends_at_sentences: gap > 2.0 };
            let prepared = prepare(&segments, &limits);
            let all: String = segments.iter().map(|segment| visible(&segment.text)).collect();
            let mut rest = all.as_str();
            for clip in &prepared.clips {
                // Both ends are rounded.
                let length = millis(clip.duration());
                prop_assert!(length >= limits.min - 0.0011 && length <= limits.max + 0.0011, "{} {:?}", length, limits);
                let text = visible(&clip.text);
                let at = rest.find(&text);
                prop_assert!(at.is_some(), "'{}' is not in '{}'", text, rest);
                rest = &rest[at.unwrap_or(0) + text.len()..];
            }
            prop_assert!(prepared.clips.windows(2).all(|pair| pair[0].start <= pair[1].start));
            prop_assert!(prepared.left_out > 0 || rest.is_empty());
        }
    }
}
