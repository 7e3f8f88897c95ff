//! Makes clips of one speaker out of segments, neither too short nor too long where possible. Every word is in one of
//! them, and no clip includes what another speaker says.

use std::ops::Range;

use crate::spoken::{
    TranscriptSegment, Word, estimate_words, millis, text_of,
    tokens::{ends_sentence, spaced},
};

/// Speaker of segments that name none.
const UNKNOWN: &str = "SPEAKER_UNKNOWN";
/// Seconds between two words that can be heard as a pause.
const PAUSE: f64 = 0.3;
/// Words that are tried for one piece; some files have thousands without length.
const MOST_WORDS: usize = 2000;

/// The limits of clips, in seconds.
#[derive(Debug, Clone)]
pub(super) struct ClipLimits {
    pub(super) min: f64,
    pub(super) max: f64,
    /// Between two segments that are joined.
    pub(super) gap: f64,
    /// Nothing is joined to the end of a sentence, unless the clip would be too short.
    pub(super) ends_at_sentences: bool,
    /// Whether clips that stay too short or too long are kept.
    pub(super) keeps_all: bool,
}

impl ClipLimits {
    fn fits(&self, duration: f64) -> bool {
        millis(duration) <= self.max
    }

    /// Whether a clip is as long as wished.
    pub(super) fn has(&self, clip: &CutClip) -> bool {
        !self.is_short(clip.duration()) && self.fits(clip.duration())
    }

    fn is_short(&self, duration: f64) -> bool {
        millis(duration) < self.min
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct CutClip {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) text: String,
    pub(super) words: Vec<Word>,
    pub(super) speaker: String,
}

impl CutClip {
    fn from_segment(segment: &TranscriptSegment) -> Self {
        Self {
            start: segment.start,
            end: segment.end,
            text: segment.text.trim().to_owned(),
            words: segment.words.clone(),
            speaker: speaker_of(segment).to_owned(),
        }
    }

    fn of_words(words: &[Word], speaker: &str) -> Self {
        Self {
            start: words[0].start,
            end: words.iter().map(|word| word.end).fold(words[0].end, f64::max),
            text: text_of(words).trim().to_owned(),
            speaker: speaker.to_owned(),
            words: words.to_vec(),
        }
    }

    fn duration(&self) -> f64 {
        self.end - self.start
    }

    /// Returns the seconds from its start to the end of both.
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
    pub(super) clips: Vec<CutClip>,
    /// How many were too short, or too long and could not be cut.
    pub(super) left_out: usize,
}

pub(super) fn prepare(segments: &[TranscriptSegment], limits: &ClipLimits) -> Prepared {
    let cut = join_near(utterances(segments), limits)
        .into_iter()
        .flat_map(|clip| split(clip, limits))
        .collect();
    let clips = join_short(cut, limits);
    let all = clips.len();
    let mut clips: Vec<_> = clips
        .into_iter()
        .filter(|clip| limits.keeps_all || limits.has(clip))
        .collect();
    clips.sort_by(|a, b| a.start.total_cmp(&b.start));
    Prepared {
        left_out: all - clips.len(),
        clips,
    }
}

fn speaker_of(segment: &TranscriptSegment) -> &str {
    segment.speaker.as_deref().unwrap_or(UNKNOWN)
}

/// Returns the segments by when they start, cut where another speaker says something in a pause of one.
fn utterances(segments: &[TranscriptSegment]) -> Vec<CutClip> {
    let segments: Vec<_> = segments
        .iter()
        .filter(|segment| !segment.text.trim().is_empty())
        .collect();
    let mut said: Vec<(f64, f64, &str)> = Vec::new();
    for segment in &segments {
        let words = segment.timed_words();
        said.extend(words.iter().map(|word| (word.start, word.end, speaker_of(segment))));
    }
    said.sort_by(|a, b| a.0.total_cmp(&b.0));
    let somebody_else = |before: &Word, next: &Word, speaker: &str| {
        let from = said.partition_point(|(start, ..)| *start < before.start);
        said[from..]
            .iter()
            .take_while(|(start, ..)| *start < next.start)
            .any(|(_, end, other)| *other != speaker && *end > before.end)
    };
    let mut clips = Vec::new();
    for segment in segments {
        let speaker = speaker_of(segment);
        let mut parts: Vec<&[Word]> = Vec::new();
        let mut from = 0;
        for at in 1..segment.words.len() {
            if somebody_else(&segment.words[at - 1], &segment.words[at], speaker) {
                parts.push(&segment.words[from..at]);
                from = at;
            }
        }
        if parts.is_empty() {
            clips.push(CutClip::from_segment(segment));
            continue;
        }
        parts.push(&segment.words[from..]);
        let parts = parts.into_iter().map(|words| CutClip::of_words(words, speaker));
        clips.extend(parts.filter(|clip| !clip.text.is_empty()));
    }
    clips.sort_by(|a, b| a.start.total_cmp(&b.start));
    clips
}

/// Joins clips that follow closely, if no other speaker is between them.
fn join_near(said: Vec<CutClip>, limits: &ClipLimits) -> Vec<CutClip> {
    let mut clips: Vec<CutClip> = Vec::new();
    for next in said {
        match clips.last_mut() {
            Some(clip)
                if clip.speaker == next.speaker
                    && millis(next.start - clip.end) <= limits.gap
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

/// Joins a clip that is too short to what the same speaker says next, or before, however far that is, if no other
/// speaker is between them and both together are not too long.
fn join_short(clips: Vec<CutClip>, limits: &ClipLimits) -> Vec<CutClip> {
    let joins = |first: &CutClip, next: &CutClip| first.speaker == next.speaker && limits.fits(first.span(next));
    let mut joined: Vec<CutClip> = Vec::with_capacity(clips.len());
    let mut rest = clips.into_iter().peekable();
    while let Some(mut clip) = rest.next() {
        while limits.is_short(clip.duration())
            && let Some(next) = rest.next_if(|next| joins(&clip, next))
        {
            clip.join(next);
        }
        match joined.last_mut() {
            Some(last) if limits.is_short(clip.duration()) && joins(last, &clip) => last.join(clip),
            _ => joined.push(clip),
        }
    }
    joined
}

/// Cuts a clip that is too long between words; one that cannot be cut stays.
fn split(clip: CutClip, limits: &ClipLimits) -> Vec<CutClip> {
    if limits.fits(clip.duration()) {
        return vec![clip];
    }
    if clip.words.is_empty() {
        return split_evenly(clip, limits);
    }
    best_cuts(&clip.words, limits)
        .into_iter()
        .map(|words| CutClip::of_words(&clip.words[words], &clip.speaker))
        .filter(|clip| !clip.text.is_empty())
        .collect()
}

/// Equal parts, the words of the text shared out over its time, at least one to each.
fn split_evenly(clip: CutClip, limits: &ClipLimits) -> Vec<CutClip> {
    let parts = (clip.duration() / limits.max).floor() + 1.0;
    let words = estimate_words(&clip.text, clip.start, clip.end);
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
        .map(|(number, words)| CutClip {
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

/// Returns the best way to cut words into pieces within the limits: at ends of sentences rather than at pauses, there
/// rather than anywhere; else few pieces, the first ones as long as may be.
fn best_cuts(words: &[Word], limits: &ClipLimits) -> Vec<Range<usize>> {
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
    use crate::{
        timed_text,
        transcript::{
            fixture::{any_transcript, any_turns, visible},
            speakers,
        },
    };

    fn transcript(segments: Value) -> Vec<TranscriptSegment> {
        timed_text::json_segments(segments).unwrap().0
    }

    const LIMITS: ClipLimits = ClipLimits {
        min: 3.0,
        max: 10.0,
        gap: 1.0,
        ends_at_sentences: false,
        keeps_all: true,
    };

    /// Returns one segment with a word of this length each, without pauses.
    fn with_words(words: &[(&str, f64)]) -> Vec<TranscriptSegment> {
        let mut at = 0.0;
        let timed: Vec<Value> = words
            .iter()
            .map(|(word, length)| {
                let start = at;
                at += length;
                json!({"word": word, "start": start, "end": at})
            })
            .collect();
        transcript(
            json!([{"start": 0, "end": at, "text": words.iter().map(|word| word.0).collect::<String>(), "words": timed}]),
        )
    }

    fn short(segments: &[TranscriptSegment]) -> Vec<(f64, f64, String)> {
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
    fn a_word_that_is_longer_than_a_clip_may_be_stays_unless_only_good_clips_are_asked_for() {
        let segments = with_words(&[(" a", 4.0), (" b", 40.0), (" c", 4.0)]);
        let texts = |limits: &ClipLimits| -> (Vec<String>, usize) {
            let prepared = prepare(&segments, limits);
            (
                prepared.clips.into_iter().map(|clip| clip.text).collect(),
                prepared.left_out,
            )
        };
        assert_eq!(texts(&LIMITS), (vec!["a".into(), "b".into(), "c".into()], 0));
        let good = ClipLimits {
            keeps_all: false,
            ..LIMITS
        };
        assert_eq!(texts(&good), (vec!["a".into(), "c".into()], 1));
        let one = transcript(json!([{"start": 0, "end": 40, "text": "Aaah"}]));
        assert_eq!(
            (prepare(&one, &LIMITS).clips.len(), prepare(&one, &good).left_out),
            (1, 1)
        );
    }

    #[test]
    fn nothing_is_joined_across_what_another_speaker_says() {
        let segment = |speaker: &str, start: f64, end: f64, text: &str| json!({"speaker": speaker, "start": start, "end": end, "text": text});
        let segments = transcript(json!([
            segment("A", 0.0, 1.0, "One"),
            segment("B", 1.2, 1.8, "Yes"),
            segment("A", 2.0, 3.0, "two"),
            segment("A", 3.2, 5.0, "three"),
        ]));
        let texts = |segments: &[TranscriptSegment]| -> Vec<String> {
            prepare(segments, &LIMITS)
                .clips
                .into_iter()
                .map(|clip| clip.text)
                .collect()
        };
        assert_eq!(texts(&segments), ["One", "Yes", "two three"]);
        // Also inside a segment.
        let word = |word: &str, start: f64| json!({"word": word, "start": start, "end": start + 1.0});
        let segments = transcript(json!([
            {"speaker": "A", "start": 0, "end": 6, "text": "One two", "words": [word("One", 0.0), word(" two", 5.0)]},
            {"speaker": "B", "start": 2, "end": 3, "text": "Yes", "words": [word("Yes", 2.0)]},
        ]));
        assert_eq!(texts(&segments), ["One", "Yes", "two"]);
    }

    #[test]
    fn what_is_short_is_joined_to_the_next_or_the_one_before() {
        let segments = transcript(json!([
            {"start": 0, "end": 5, "text": "long enough"},
            {"start": 7, "end": 8, "text": "short"},
            {"start": 12, "end": 19, "text": "fine"},
        ]));
        assert_eq!(
            short(&segments),
            [(0.0, 8.0, "long enough short".into()), (12.0, 19.0, "fine".into())]
        );
    }

    /// Returns a transcript whose segments have speakers and may overlap in time.
    fn any_talk() -> impl Strategy<Value = Vec<TranscriptSegment>> {
        let speech = (any_transcript(), any_transcript(), any_turns(), 0..8000_u32);
        speech.prop_map(|(mut segments, others, turns, shift)| {
            let shift = f64::from(shift) / 1000.0;
            segments.extend(others.into_iter().map(|mut segment| {
                segment.start += shift;
                segment.end += shift;
                for word in &mut segment.words {
                    word.start += shift;
                    word.end += shift;
                }
                segment
            }));
            let pieces = speakers::merge(&segments, &turns);
            let of = |piece: speakers::SpeakerPiece<'_>| TranscriptSegment {
                start: piece.start,
                end: piece.end,
                text: piece.text,
                speaker: Some(piece.speaker),
                words: piece.words,
                ..piece.segment.clone()
            };
            pieces.into_iter().map(of).collect()
        })
    }

    fn overlap(a: (f64, f64), b: (f64, f64)) -> bool {
        a.0.max(b.0) < a.1.min(b.1) - 0.0011
    }

    /// Whether two words overlap; one that takes no time may lie inside of the other.
    fn words_overlap(a: (f64, f64), b: (f64, f64)) -> bool {
        let is_inside = |a: (f64, f64), b: (f64, f64)| a.0 == a.1 && b.0 < a.0 && a.0 < b.1;
        overlap(a, b) || is_inside(a, b) || is_inside(b, a)
    }

    proptest! {
        #[test]
        fn every_word_is_in_exactly_one_clip_and_clips_overlap_only_where_words_do(
            segments in any_talk(),
            min in 0.0..4.0_f64,
            more in 0.0..8.0_f64,
            gap in 0.0..3.0_f64,
        ) {
            let limits = ClipLimits { min: millis(min), max: millis(min + more + 0.1), gap, ends_at_sentences: gap > 2.0, keeps_all: true };
            let prepared = prepare(&segments, &limits);
            let letters = |texts: &mut dyn Iterator<Item = &str>| {
                let mut all: Vec<char> = texts.flat_map(|text| visible(text).chars().collect::<Vec<_>>()).collect();
                all.sort_unstable();
                all
            };
            prop_assert_eq!(
                letters(&mut prepared.clips.iter().map(|clip| clip.text.as_str())),
                letters(&mut segments.iter().map(|segment| segment.text.as_str()))
            );
            let spoken: Vec<_> = segments.iter().filter(|segment| !segment.text.trim().is_empty()).collect();
            let words_of = |speaker: &str| -> Vec<(f64, f64)> {
                let mine = spoken.iter().filter(|segment| segment.speaker.as_deref() == Some(speaker));
                mine.flat_map(|segment| segment.timed_words()).map(|word| (word.start, word.end)).collect()
            };
            for (at, clip) in prepared.clips.iter().enumerate() {
                for other in prepared.clips[at + 1..].iter().filter(|other| other.speaker != clip.speaker) {
                    let (mine, theirs) = ((clip.start, clip.end), (other.start, other.end));
                    if overlap(mine, theirs) {
                        let both = words_of(&clip.speaker).into_iter().any(|word| {
                            words_of(&other.speaker).into_iter().any(|their| words_overlap(word, their))
                        });
                        prop_assert!(both, "{:?} {:?}", clip, other);
                    }
                }
            }
            prop_assert!(prepared.clips.windows(2).all(|pair| pair[0].start <= pair[1].start));
        }

        #[test]
        fn clips_that_must_be_good_are_within_the_limits(
            segments in any_transcript(),
            min in 0.0..4.0_f64,
            more in 0.0..8.0_f64,
            gap in 0.0..3.0_f64,
        ) {
            let limits = ClipLimits { min: millis(min), max: millis(min + more + 0.1), gap, ends_at_sentences: gap > 2.0, keeps_all: false };
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
            prop_assert!(prepared.left_out > 0 || rest.is_empty());
        }
    }
}
