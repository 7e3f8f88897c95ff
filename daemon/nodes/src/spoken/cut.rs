//! Cuts words into cues that can be read: at ends of sentences, then at weaker punctuation, at pauses, else by length.

use std::ops::Range;

use super::{Word, millis, sentences::find_sentence_starts, tokens::is_unspaced};

/// Seconds between two words that can be heard as a pause.
const PAUSE: f64 = 0.3;
/// What a cut away from the middle costs, in seconds of pause per word.
const OFF_CENTRE: f64 = 0.1;
/// Visible characters that stand alone at least.
const FEWEST: usize = 3;

/// What a cue may be.
#[derive(Debug, Clone)]
pub(crate) struct CutLimits {
    pub(crate) max_chars: usize,
    /// Characters a second: a cue that is faster stays as long as there is time after it.
    pub(crate) max_cps: f64,
    /// Seconds.
    pub(crate) min_duration: f64,
    pub(crate) max_duration: f64,
}

impl Default for CutLimits {
    fn default() -> Self {
        Self {
            max_chars: 42,
            max_cps: 18.0,
            min_duration: 1.0,
            max_duration: 7.0,
        }
    }
}

/// A cue: which words, and from when to when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CutCue {
    pub(crate) words: Range<usize>,
    pub(crate) start: f64,
    pub(crate) end: f64,
}

impl CutCue {
    fn duration(&self) -> f64 {
        millis(self.end - self.start)
    }
}

/// Cuts words, whose texts include their blanks and whose times never go back. Words without text belong to the cue
/// before them, and add no time to it.
pub(crate) fn cut_into_cues(words: &[Word], language: &str, limits: &CutLimits) -> Vec<CutCue> {
    let cutter = Cutter { words, limits };
    let pieces = cutter
        .sentences(language)
        .into_iter()
        .flat_map(|sentence| cutter.pieces(sentence));
    let cues = pieces.filter_map(|piece| cutter.cue(piece)).collect();
    cutter.timed(cues)
}

/// Returns the text of words that include their blanks.
pub(crate) fn trimmed_text(words: &[Word]) -> String {
    words
        .iter()
        .map(|word| word.word.as_str())
        .collect::<String>()
        .trim()
        .to_owned()
}

struct Cutter<'a> {
    words: &'a [Word],
    limits: &'a CutLimits,
}

impl Cutter<'_> {
    fn sentences(&self, language: &str) -> Vec<Range<usize>> {
        let all: String = self.words.iter().map(|word| word.word.as_str()).collect();
        let starts = find_sentence_starts(&all, language);
        let mut starts = starts.into_iter().peekable();
        let (mut sentences, mut from, mut at) = (Vec::new(), 0, 0);
        for (number, word) in self.words.iter().enumerate() {
            let blank = word.word.len() - word.word.trim_start().len();
            let mut begins = false;
            while starts.next_if(|start| *start <= at + blank).is_some() {
                begins = true;
            }
            if begins && number > from && !word.word.trim().is_empty() {
                sentences.push(from..number);
                from = number;
            }
            at += word.word.len();
        }
        sentences.push(from..self.words.len());
        sentences
    }

    /// Cuts until nothing is too long, or cannot be cut.
    fn pieces(&self, sentence: Range<usize>) -> Vec<Range<usize>> {
        let (mut pieces, mut open) = (Vec::new(), vec![sentence]);
        while let Some(piece) = open.pop() {
            match self.is_too_long(&piece).then(|| self.place(&piece)).flatten() {
                Some(at) => open.extend([at..piece.end, piece.start..at]),
                None => pieces.push(piece),
            }
        }
        pieces
    }

    fn is_too_long(&self, piece: &Range<usize>) -> bool {
        self.chars(piece) > self.limits.max_chars
            || self
                .cue(piece.clone())
                .is_some_and(|cue| cue.duration() > self.limits.max_duration)
    }

    fn chars(&self, piece: &Range<usize>) -> usize {
        trimmed_text(&self.words[piece.clone()]).chars().count()
    }

    /// Returns the word before which a piece is cut best.
    fn place(&self, piece: &Range<usize>) -> Option<usize> {
        let places = self.places(piece);
        let visible: usize = places.last()?.whole;
        let wide: Vec<_> = places
            .iter()
            .filter(|place| place.before >= FEWEST && visible - place.before >= FEWEST)
            .collect();
        let places = if wide.is_empty() { places.iter().collect() } else { wide };
        let weak = places
            .iter()
            .filter(|place| self.ends_weakly(place.last))
            .min_by_key(|place| place.off);
        let score = |place: &Place| place.gap - OFF_CENTRE * place.off as f64;
        let pause =
            places
                .iter()
                .filter(|place| place.gap > PAUSE)
                .fold(None, |best: Option<&&Place>, place| match best {
                    Some(best) if score(best) >= score(place) => Some(best),
                    _ => Some(place),
                });
        let chars = self.chars(piece);
        let parts = chars.div_ceil(self.limits.max_chars.max(1)).max(2);
        let by_length = places
            .iter()
            .min_by_key(|place| (place.before * parts).abs_diff(visible));
        Some(weak.or(pause).or(by_length)?.at)
    }

    /// Returns where a line may end inside a piece.
    fn places(&self, piece: &Range<usize>) -> Vec<Place> {
        let spoken: Vec<_> = piece
            .clone()
            .filter(|at| !self.words[*at].word.trim().is_empty())
            .collect();
        let visible = |at: usize| self.words[at].word.chars().filter(|c| !c.is_whitespace()).count();
        let whole = spoken.iter().map(|at| visible(*at)).sum();
        let mut before = 0;
        spoken
            .windows(2)
            .enumerate()
            .filter_map(|(number, pair)| {
                let (last, next) = (pair[0], pair[1]);
                before += visible(last);
                self.may_break(last, next).then(|| Place {
                    at: next,
                    last,
                    off: (number + 1).abs_diff(spoken.len() / 2),
                    gap: millis(self.words[next].start - self.words[last].end),
                    before,
                    whole,
                })
            })
            .collect()
    }

    fn may_break(&self, last: usize, next: usize) -> bool {
        let (last, next) = (&self.words[last].word, &self.words[next].word);
        let runs_on = last.ends_with(is_unspaced) || next.starts_with(is_unspaced);
        runs_on || last.ends_with(char::is_whitespace) || next.starts_with(char::is_whitespace)
    }

    fn ends_weakly(&self, word: usize) -> bool {
        let word = self.words[word].word.trim();
        let alone = word.rsplit(char::is_whitespace).next().unwrap_or(word);
        word.ends_with([',', '，', '、', ';', ':', '：', '；']) || ["-", "–", "—"].contains(&alone)
    }

    /// Makes the cue of words. Returns `None` for words without text.
    fn cue(&self, words: Range<usize>) -> Option<CutCue> {
        let mut spoken = self.words[words.clone()]
            .iter()
            .filter(|word| !word.word.trim().is_empty());
        let first = spoken.next()?;
        Some(CutCue {
            words,
            start: first.start,
            end: spoken.map(|word| word.end).fold(first.end, f64::max),
        })
    }

    /// Gives short and fast cues the time after them, and joins what is still too short.
    fn timed(&self, mut cues: Vec<CutCue>) -> Vec<CutCue> {
        self.lengthen(&mut cues);
        let mut at = 0;
        while at < cues.len() {
            if cues[at].duration() >= self.limits.min_duration {
                at += 1;
                continue;
            }
            let gap = |first: usize| cues[first + 1].start - cues[first].end;
            let with_next = (at + 1 < cues.len() && self.joins(&cues[at], &cues[at + 1])).then_some(at);
            let with_last = (at > 0 && self.joins(&cues[at - 1], &cues[at])).then(|| at - 1);
            match [with_next, with_last]
                .into_iter()
                .flatten()
                .min_by(|a, b| gap(*a).total_cmp(&gap(*b)))
            {
                Some(first) => {
                    let next = cues.remove(first + 1);
                    cues[first].words.end = next.words.end;
                    cues[first].end = cues[first].end.max(next.end);
                    at = first;
                }
                None => at += 1,
            }
        }
        cues
    }

    fn lengthen(&self, cues: &mut [CutCue]) {
        for at in 0..cues.len() {
            let next = cues.get(at + 1).map_or(f64::INFINITY, |next| next.start);
            let cue = &cues[at];
            let readable = self.chars(&cue.words) as f64 / self.limits.max_cps;
            let wanted = cue.start + readable.max(self.limits.min_duration);
            let end = cue.end.max(millis(wanted)).min(next).max(cue.start);
            cues[at].end = end;
        }
    }

    fn joins(&self, first: &CutCue, next: &CutCue) -> bool {
        let both = first.words.start..next.words.end;
        self.chars(&both) <= self.limits.max_chars
            && millis(next.end - first.start) <= self.limits.max_duration
            && next.start - first.end <= PAUSE
            && self.speaker(&first.words) == self.speaker(&next.words)
    }

    fn speaker(&self, words: &Range<usize>) -> Option<&str> {
        one_speaker(&self.words[words.clone()])
    }
}

/// Returns the speaker of all words that name one; `None` if they name several.
pub(crate) fn one_speaker(words: &[Word]) -> Option<&str> {
    let mut speakers = words.iter().filter_map(|word| word.speaker.as_deref());
    let first = speakers.next()?;
    speakers.all(|speaker| speaker == first).then_some(first)
}

/// A place to cut.
struct Place {
    /// The word after it, and the one before it.
    at: usize,
    last: usize,
    /// Words away from the middle.
    off: usize,
    /// Seconds of silence.
    gap: f64,
    /// Visible characters before it, and in all.
    before: usize,
    whole: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transcript::fixture::{any_transcript, visible};

    /// Returns the words one after another, each this long.
    fn words(text: &str, seconds: f64) -> Vec<Word> {
        text.split_inclusive(' ')
            .enumerate()
            .map(|(at, word)| Word {
                word: if at == 0 {
                    word.trim().into()
                } else {
                    format!(" {}", word.trim())
                },
                start: millis(at as f64 * seconds),
                end: millis((at + 1) as f64 * seconds),
                probability: None,
                speaker: None,
            })
            .collect()
    }

    fn texts(words: &[Word]) -> Vec<String> {
        cut_into_cues(words, "en", &CutLimits::default())
            .into_iter()
            .map(|cue| trimmed_text(&words[cue.words]))
            .collect()
    }

    #[test]
    fn sentences_are_cues_and_long_ones_are_cut_at_weak_punctuation_first() {
        assert_eq!(
            texts(&words(
                "We left. When the rain had stopped at last, we went on to the old lab.",
                0.4
            )),
            [
                "We left.",
                "When the rain had stopped at last,",
                "we went on to the old lab."
            ]
        );
    }

    #[test]
    fn without_punctuation_a_pause_wins_and_else_the_length_decides() {
        let long = "one two three four five six seven eight nine ten eleven";
        assert_eq!(
            texts(&words(long, 0.4)),
            ["one two three four five six", "seven eight nine ten eleven"]
        );
        let mut paused = words(long, 0.4);
        for word in &mut paused[4..] {
            word.start += 1.0;
            word.end += 1.0;
        }
        assert_eq!(
            texts(&paused),
            ["one two three four", "five six seven eight nine ten eleven"]
        );
    }

    #[test]
    fn fast_speech_is_not_shattered_into_cues_of_one_word() {
        // Twice as fast as can be read: cutting would not make it slower.
        let fast = words("Nobody reads thirty-six letters a second", 0.18);
        let cues = cut_into_cues(&fast, "en", &CutLimits::default());
        assert_eq!(cues.len(), 1);
        // It stays until it can be read, since nothing follows.
        assert_eq!(cues[0].duration(), 2.222);
    }

    #[test]
    fn the_shortest_time_has_an_effect() {
        let mut spoken = words("Yes. We can go now.", 0.2);
        // A second until the next: it gets that.
        for word in &mut spoken[1..] {
            word.start += 2.0;
            word.end += 2.0;
        }
        let apart = cut_into_cues(&spoken, "en", &CutLimits::default());
        assert_eq!((apart.len(), apart[0].duration()), (2, 1.0));
        // No time until the next: they are joined.
        assert_eq!(texts(&words("Yes. We can go now.", 0.2)), ["Yes. We can go now."]);
    }

    #[test]
    fn chinese_is_cut_between_any_characters_but_words_are_not_cut_at_a_hyphen() {
        let one = |text: &str| Word {
            word: text.into(),
            start: 0.0,
            end: 0.0,
            probability: None,
            speaker: None,
        };
        let chinese: Vec<_> = (0..60).map(|_| one("字")).collect();
        assert_eq!(
            texts(&chinese)
                .iter()
                .map(|text| text.chars().count())
                .collect::<Vec<_>>(),
            [30, 30]
        );
        let hyphens: Vec<_> = (0..20).map(|_| one("half-")).collect();
        assert_eq!(texts(&hyphens).len(), 1);
    }

    proptest! {
        #[test]
        fn cues_have_every_word_in_order_and_times_never_go_back(segments in any_transcript()) {
            let words: Vec<_> = segments.iter().flat_map(|segment| segment.timed_words()).collect();
            let cues = cut_into_cues(&words, "en", &CutLimits::default());
            let said: String = cues.iter().map(|cue| visible(&trimmed_text(&words[cue.words.clone()]))).collect();
            prop_assert_eq!(said, visible(&trimmed_text(&words)));
            prop_assert!(cues.iter().all(|cue| cue.start <= cue.end));
            prop_assert!(cues.windows(2).all(|pair| pair[0].end <= pair[1].start), "{:?}", cues);
        }
    }
}
