//! Reads the words of a segment, puts them in order, and gives times to those that have none.

use serde_json::Value;

use super::json::{seconds, speaker};
use crate::spoken::{Word, align, put_in_order, share_time};

/// Seconds a word without times takes: by its characters, since numbers such as 2014 are long, and at least.
const SECONDS_A_CHARACTER: f64 = 0.25;
const SHORTEST_WORD: f64 = 0.4;
/// Seconds a word may lie outside its segment; times further away are wrong.
const OUTSIDE: f64 = 2.0;

/// A word as it was found.
struct Raw {
    word: String,
    start: Option<f64>,
    end: Option<f64>,
    probability: Option<f64>,
    speaker: Option<String>,
}

impl Raw {
    fn read(json: &Value) -> Option<Self> {
        let number = |name: &str| {
            json.get(name)
                .and_then(Value::as_f64)
                .filter(|number| number.is_finite())
        };
        let (start, end) = seconds(json);
        Some(Self {
            word: ["word", "text", "punctuated_word"]
                .iter()
                .find_map(|name| json.get(*name)?.as_str())?
                .into(),
            start,
            end,
            probability: ["probability", "confidence", "score"].into_iter().find_map(number),
            speaker: speaker(json),
        })
    }

    fn with_times(&self, start: f64, end: f64) -> Word {
        Word {
            word: self.word.clone(),
            start,
            end,
            probability: self.probability,
            speaker: self.speaker.clone(),
        }
    }

    /// Returns the seconds it takes when nothing else is known.
    fn length(&self) -> f64 {
        let characters = self.word.chars().filter(|c| !c.is_whitespace()).count();
        (characters as f64 * SECONDS_A_CHARACTER).max(SHORTEST_WORD)
    }
}

/// Returns the words of a list in order, and how many had no times or impossible ones. Those lie between their
/// neighbours.
pub(super) fn words<'a>(list: impl IntoIterator<Item = &'a Value>, start: f64, end: Option<f64>) -> (Vec<Word>, usize) {
    let mut raws: Vec<Raw> = list.into_iter().filter_map(Raw::read).collect();
    let latest = end
        .filter(|end| *end > start)
        .map_or(f64::INFINITY, |end| end + OUTSIDE);
    for raw in &mut raws {
        let is_possible = |time: &f64| *time >= start - OUTSIDE && *time <= latest;
        let times = [raw.start, raw.end].into_iter().flatten();
        if !times.clone().all(|time| is_possible(&time)) && times.count() > 0 {
            (raw.start, raw.end) = (None, None);
        }
    }
    let mut all: Vec<Word> = Vec::with_capacity(raws.len());
    let (mut at, mut estimated) = (0, 0);
    while at < raws.len() {
        let raw = &raws[at];
        let before = all.last().map(|word| word.end);
        let timed = |raw: &Raw| raw.start.is_some() || raw.end.is_some();
        // The first time after it, also behind words that have none.
        let found = raws[at + 1..].iter().find_map(|next| next.start.or(next.end));
        let single = match (raw.start, raw.end) {
            (None, None) => None,
            (Some(from), Some(to)) => Some(raw.with_times(from, to.max(from))),
            (Some(from), None) => {
                let is_after = |time: &f64| *time >= from;
                let latest = found.filter(is_after).or(end.filter(is_after));
                let latest = latest.unwrap_or(f64::INFINITY);
                Some(raw.with_times(from, (from + raw.length()).min(latest)))
            }
            (None, Some(to)) => Some(raw.with_times(before.unwrap_or(start).max(to - raw.length()).min(to), to)),
        };
        if let Some(word) = single {
            estimated += usize::from(raw.start.is_none() || raw.end.is_none());
            all.push(word);
            at += 1;
            continue;
        }
        let until = (at..raws.len()).find(|&next| timed(&raws[next])).unwrap_or(raws.len());
        let run = &raws[at..until];
        estimated += run.len();
        let whole_is_untimed = at == 0 && until == raws.len();
        all.extend(between(run, before, start, found.or(end), whole_is_untimed));
        at = until;
    }
    (put_in_order(all), estimated)
}

/// Returns the words of a list that is of no segment, in order, and how many of them had no times. `None` if not one
/// has a time.
pub(crate) fn timed_words(list: &[Value]) -> Option<(Vec<Word>, usize)> {
    let has_time = |json: &Value| {
        let (start, end) = seconds(json);
        start.or(end).is_some()
    };
    list.iter().any(has_time).then(|| words(list, 0.0, None))
}

/// Words without times after what is before them, or before what is after them, each as long as it takes; all of the
/// time between their neighbours where that is less, or where nothing is known.
fn between(run: &[Raw], before: Option<f64>, start: f64, after: Option<f64>, is_all: bool) -> Vec<Word> {
    let from = before.unwrap_or(start);
    let wanted: f64 = run.iter().map(Raw::length).sum();
    let to = after.unwrap_or(from + wanted).max(from);
    let (from, to) = if is_all || to - from <= wanted {
        (from, to)
    } else if before.is_some() {
        (from, from + wanted)
    } else {
        (to - wanted, to)
    };
    let lengths: Vec<_> = run.iter().map(|raw| raw.word.chars().count()).collect();
    share_time(from, to, &lengths)
        .into_iter()
        .zip(run)
        .map(|((start, end), raw)| raw.with_times(start, end))
        .collect()
}

/// Returns the words as the text of their segment spells them, with the punctuation that some transcribers have only
/// there. Where the two differ in more than that the words stay.
pub(super) fn spelled(words: Vec<Word>, text: &str) -> Vec<Word> {
    let visible = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let said: String = words.iter().map(|word| word.word.as_str()).collect();
    if words.is_empty() || visible(&said) == visible(text) {
        return words;
    }
    let aligned = align::align(&words, text);
    let spelled = aligned.respelled(&words);
    let is_only_spelling = aligned.ratio == 1.0 && spelled.iter().all(|(word, _)| !word.word.is_empty());
    if is_only_spelling {
        spelled.into_iter().map(|(word, _)| word).collect()
    } else {
        words
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn of(list: Value, start: f64, end: f64) -> (Vec<(String, f64, f64)>, usize) {
        let (words, estimated) = words(list.as_array().unwrap(), start, Some(end));
        (
            words
                .into_iter()
                .map(|word| (word.word, word.start, word.end))
                .collect(),
            estimated,
        )
    }

    #[test]
    fn a_word_without_times_lies_between_its_neighbours() {
        let (words, estimated) = of(
            json!([{"word": "in", "start": 0.9, "end": 1.2}, {"word": "2014."}, {"word": "Yes", "start": 8.0, "end": 8.4}]),
            0.0,
            12.0,
        );
        assert_eq!((&words[1], estimated), (&("2014.".into(), 1.2, 2.45), 1));
        let (words, _) = of(
            json!([{"word": "a"}, {"word": "b", "start": 5.0, "end": 6.0}, {"word": "ccc"}, {"word": "d", "start": 6.4, "end": 6.5}]),
            0.0,
            7.0,
        );
        assert_eq!((words[0].1, words[0].2), (4.6, 5.0));
        assert_eq!((words[2].1, words[2].2), (6.0, 6.4));
        // All of them: the whole segment.
        let (words, estimated) = of(json!([{"word": "a"}, {"word": "b"}]), 0.0, 7.0);
        assert_eq!((words[0].2, words[1].2, estimated), (3.5, 7.0, 2));
        let (words, estimated) = of(
            json!([{"word": "a", "start": 1}, {"word": "b", "end": 2.0, "start": null}]),
            0.0,
            3.0,
        );
        assert_eq!((words[0].2, words[1].1, estimated), (1.4, 1.6, 2));
    }

    #[test]
    fn a_word_without_an_end_lasts_no_longer_than_its_segment() {
        let (words, estimated) = of(
            json!([{"word": "a", "start": 1.0, "end": 1.5}, {"word": "indeed", "start": 2.8}]),
            1.0,
            3.0,
        );
        assert_eq!((words[1].1, words[1].2, estimated), (2.8, 3.0, 1));
    }

    #[test]
    fn a_word_without_an_end_moves_no_word_that_has_its_times() {
        let list = json!([{"word": "indeed", "start": 1.0}, {"word": "b"}, {"word": "c", "start": 1.2, "end": 1.5}]);
        let (words, estimated) = of(list, 0.0, 3.0);
        assert_eq!((words[2].1, words[2].2, estimated), (1.2, 1.5, 2));
        assert!(words[0].2 <= words[1].1 && words[1].2 <= 1.2, "{words:?}");
    }

    #[test]
    fn times_far_outside_the_segment_are_none() {
        let (words, estimated) = of(
            json!([{"word": "a", "start": 500.0, "end": 501.0}, {"word": "b", "start": 1.0, "end": 2.0}]),
            0.0,
            3.0,
        );
        assert_eq!((words[0].2, words[1].1, estimated), (1.0, 1.0, 1));
    }

    proptest! {
        #[test]
        fn words_never_go_back_and_never_overlap(
            list in proptest::collection::vec((proptest::option::of(0.0..20.0_f64), proptest::option::of(0.0..20.0_f64), "[a-z0-9]{1,6}"), 0..12),
        ) {
            let list: Vec<_> = list.iter().map(|(start, end, word)| json!({"start": start, "end": end, "word": word})).collect();
            let (words, _) = words(&list, 1.0, Some(18.0));
            prop_assert_eq!(words.len(), list.len());
            prop_assert!(words.iter().all(|word| word.start <= word.end && word.start.is_finite() && word.end.is_finite()));
            prop_assert!(words.windows(2).all(|pair| pair[0].end <= pair[1].start), "{:?}", words);
        }
    }
}
