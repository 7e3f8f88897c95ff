//! Finds which cue of a proof-read reply belongs to which cue that was asked. A model merges cues, cuts them and moves
//! their times, so that neither number nor order shows it: times and text must agree, and no other cue may have a part
//! in either. A cue that none fits stays as it was.

use std::collections::BTreeMap;

use super::super::{
    similarity::text_ratio,
    spoken::{Cue, tokens::letters},
};

/// Seconds by which times may differ that count as the same.
const SAME_TIME: f64 = 0.05;
/// Cues of a reply for one that was asked.
const MOST_CUES: usize = 3;

/// How well two cues fit.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fit {
    score: f64,
    /// By their times, and not by their texts alone.
    by_time: bool,
}

/// Returns the text of each cue that has a fitting one in the reply, by its position among those asked. The error says
/// why none has.
pub(super) fn fit(reply: &[Cue], asked: &[Cue]) -> Result<BTreeMap<usize, String>, String> {
    if reply.len() > asked.len().saturating_mul(MOST_CUES) {
        return Err(format!("it has {} cues for {}", reply.len(), asked.len()));
    }
    let texts = Texts {
        reply: reply.iter().map(|cue| letters(&cue.text)).collect(),
        asked: asked.iter().map(|cue| letters(&cue.text)).collect(),
    };
    let mut pairs = best_pairs(reply, asked, &texts);
    let before = pairs.clone();
    pairs.retain(|pair| {
        !texts.is_of_another(pair) && !texts.has_neighbour(pair, &before) && !is_merged(pair, &before, reply, asked)
    });
    let before = pairs.clone();
    pairs.retain(|pair| !texts.is_cut(pair, &before) && !is_cut(pair, &before, reply, asked));
    if pairs.is_empty() {
        return Err(format!(
            "none of its {} cues fits one that was asked, by times and text",
            reply.len()
        ));
    }
    Ok(pairs
        .iter()
        .map(|pair| (pair.asked, reply[pair.reply].text.clone()))
        .collect())
}

/// A cue of the reply and the one that it may belong to, by their positions.
#[derive(Debug, Clone, Copy)]
struct Pair {
    reply: usize,
    asked: usize,
    fit: Fit,
}

/// Whether the time of an asked cue that has no other answer lies in that of this one.
fn is_merged(pair: &Pair, pairs: &[Pair], reply: &[Cue], asked: &[Cue]) -> bool {
    let is_taken = |at: usize| pairs.iter().any(|pair| pair.asked == at);
    pair.fit.by_time && (0..asked.len()).any(|at| !is_taken(at) && covered(&asked[at], &reply[pair.reply]) > 0.5)
}

/// Whether the time of a cue of the reply that answers no other lies in that of the asked one.
fn is_cut(pair: &Pair, pairs: &[Pair], reply: &[Cue], asked: &[Cue]) -> bool {
    let is_used = |at: usize| pairs.iter().any(|pair| pair.reply == at);
    pair.fit.by_time && (0..reply.len()).any(|at| !is_used(at) && covered(&reply[at], &asked[pair.asked]) > 0.5)
}

/// Letters of a text that may be in another one by chance.
const BY_CHANCE: usize = 5;

/// The letters of each cue.
struct Texts {
    reply: Vec<String>,
    asked: Vec<String>,
}

impl Texts {
    /// Whether the reply's text has that of another asked cue in it, or is more like it.
    fn is_of_another(&self, pair: &Pair) -> bool {
        let (text, own) = (&self.reply[pair.reply], &self.asked[pair.asked]);
        let alike = text_ratio(own, text);
        let mut others = self
            .asked
            .iter()
            .enumerate()
            .filter(|(at, other)| *at != pair.asked && *other != own);
        others.any(|(_, other)| {
            let is_part =
                other.chars().count() >= BY_CHANCE && text.contains(other.as_str()) && !own.contains(other.as_str());
            is_part || alike < 0.8 && text_ratio(other, text) > alike + 0.15
        })
    }

    /// Whether the text is rather that of the asked cue and of one beside it, which has no answer.
    fn has_neighbour(&self, pair: &Pair, pairs: &[Pair]) -> bool {
        let (text, own) = (&self.reply[pair.reply], &self.asked[pair.asked]);
        let alike = text_ratio(own, text);
        let is_taken = |at: usize| pairs.iter().any(|pair| pair.asked == at);
        let lonely = |at: &usize| *at < self.asked.len() && !self.asked[*at].is_empty() && !is_taken(*at);
        let before = pair.asked.checked_sub(1).filter(lonely);
        let behind = Some(pair.asked + 1).filter(lonely);
        before.is_some_and(|at| text_ratio(&format!("{}{own}", self.asked[at]), text) > alike)
            || behind.is_some_and(|at| text_ratio(&format!("{own}{}", self.asked[at]), text) > alike)
    }

    /// Whether another cue of the reply, which answers no other, has a part of the asked text that is missing in this
    /// one.
    fn is_cut(&self, pair: &Pair, pairs: &[Pair]) -> bool {
        let (text, own) = (&self.reply[pair.reply], &self.asked[pair.asked]);
        let is_used = |at: usize| pairs.iter().any(|pair| pair.reply == at);
        self.reply.iter().enumerate().any(|(at, other)| {
            !is_used(at)
                && other.chars().count() >= BY_CHANCE
                && own.contains(other.as_str())
                && !text.contains(other.as_str())
        })
    }
}

/// Pairs of reply and asked in order whose fits add up to the most.
fn best_pairs(reply: &[Cue], asked: &[Cue], texts: &Texts) -> Vec<Pair> {
    let (given, wanted) = (&texts.reply, &texts.asked);
    let fits: Vec<Vec<Option<Fit>>> = (0..reply.len())
        .map(|row| {
            (0..asked.len())
                .map(|at| fit_of((&reply[row], &given[row]), (&asked[at], &wanted[at])))
                .collect()
        })
        .collect();
    // best[row][at]: the most that the cues from there on can add up to.
    let mut best = vec![vec![0.0_f64; asked.len() + 1]; reply.len() + 1];
    for row in (0..reply.len()).rev() {
        for at in (0..asked.len()).rev() {
            let paired = fits[row][at].map_or(0.0, |fit| fit.score + best[row + 1][at + 1]);
            best[row][at] = paired.max(best[row + 1][at]).max(best[row][at + 1]);
        }
    }
    let (mut row, mut at) = (0, 0);
    let mut pairs = Vec::new();
    while row < reply.len() && at < asked.len() {
        match fits[row][at] {
            Some(fit) if best[row][at] == fit.score + best[row + 1][at + 1] => {
                pairs.push(Pair {
                    reply: row,
                    asked: at,
                    fit,
                });
                (row, at) = (row + 1, at + 1);
            }
            _ if best[row][at] == best[row + 1][at] => row += 1,
            _ => at += 1,
        }
    }
    pairs
}

/// Returns how well two cues fit; `None` if they cannot be the same cue. The closer their times, the more the text may
/// have changed.
fn fit_of((reply, given): (&Cue, &str), (asked, wanted): (&Cue, &str)) -> Option<Fit> {
    let (start, end) = ((reply.start - asked.start).abs(), (reply.end - asked.end).abs());
    let same = start <= SAME_TIME && end <= SAME_TIME;
    let near = same || covered(reply, asked).min(covered(asked, reply)) >= 0.5 || start <= 0.6 && end <= 0.6;
    let (count, expected) = (given.chars().count(), wanted.chars().count());
    let short = count.max(expected) <= 4;
    let length = count as f64 / expected.max(1) as f64;
    let alike = text_ratio(wanted, given);
    let fits = match (same, near) {
        (true, _) => (alike >= 0.5 || short) && (0.4..=2.5).contains(&length),
        (false, true) => alike >= 0.5 && (0.6..=1.7).contains(&length),
        (false, false) => alike >= 0.75 && (0.7..=1.5).contains(&length),
    };
    // The texts have only punctuation, of which no letters are left.
    let fits = fits || same && reply.text == asked.text;
    fits.then_some(Fit {
        score: 1.0 + alike + if same { 1.0 } else { 0.0 } + if near { 0.5 } else { 0.0 },
        by_time: near,
    })
}

/// Returns which part of a cue's time another one has too.
fn covered(cue: &Cue, by: &Cue) -> f64 {
    let common = cue.end.min(by.end) - cue.start.max(by.start);
    if cue.duration() <= 0.0 {
        return if (by.start..=by.end).contains(&cue.start) {
            1.0
        } else {
            0.0
        };
    }
    (common / cue.duration()).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spoken::cue;

    fn cue(start: f64, end: f64, text: &str) -> Cue {
        cue::cue(1, start, end, text)
    }

    fn talk() -> Vec<Cue> {
        vec![
            cue(0.0, 2.0, "and the corect sequence"),
            cue(2.0, 4.0, "of its editing"),
            cue(10.0, 12.0, "God morning"),
            cue(20.0, 24.0, "I am here. And you are ther."),
        ]
    }

    fn fitted(reply: &[Cue]) -> Vec<(usize, String)> {
        fit(reply, &talk()).unwrap_or_default().into_iter().collect()
    }

    #[test]
    fn merged_and_cut_cues_are_not_taken_and_the_others_keep_their_times() {
        let reply = [
            cue(0.0, 4.0, "and the correct sequence of its editing"),
            cue(10.0, 12.0, "Good morning"),
            cue(20.0, 22.0, "I am here."),
            cue(22.0, 24.0, "And you are there."),
        ];
        assert_eq!(fitted(&reply), [(2, "Good morning".into())]);
        // The count is right, and the texts have slipped: one is found again by its text.
        let slipped = [
            cue(0.0, 2.0, "and the correct sequence of its editing"),
            cue(2.0, 4.0, "Good morning"),
            cue(10.0, 12.0, "I am here."),
            cue(20.0, 24.0, "And you are there."),
        ];
        assert_eq!(fitted(&slipped), [(2, "Good morning".into())]);
    }

    #[test]
    fn a_cue_with_the_text_of_one_that_is_missing_is_not_taken() {
        let reply = [
            cue(0.0, 2.0, "and the correct sequence of its editting"),
            cue(10.0, 12.0, "Good morning"),
        ];
        assert_eq!(fitted(&reply), [(2, "Good morning".into())]);
    }

    #[test]
    fn moved_times_and_missing_cues_do_not_matter_where_the_text_tells() {
        let reply = [
            cue(0.3, 2.2, "and the correct sequence"),
            cue(21.0, 25.0, "I am here. And you are there."),
        ];
        let texts: Vec<_> = fitted(&reply).into_iter().map(|(at, _)| at).collect();
        assert_eq!(texts, [0, 3]);
        let rebased = [cue(100.0, 102.0, "of its editing"), cue(108.0, 110.0, "Good morning")];
        let texts: Vec<_> = fitted(&rebased).into_iter().map(|(at, _)| at).collect();
        assert_eq!(texts, [1, 2]);
        assert!(fit(&[cue(500.0, 501.0, "Sorry, I cannot do that")], &talk()).is_err());
        let many: Vec<_> = (0..13).map(|at| cue(f64::from(at), f64::from(at) + 1.0, "x")).collect();
        assert!(fit(&many, &talk()).unwrap_err().contains("13 cues for 4"));
    }

    #[test]
    fn short_cues_and_marks_may_change_wholly_at_their_time() {
        let asked = [cue(0.0, 1.0, "ya"), cue(1.0, 2.0, "♪")];
        let reply = [cue(0.0, 1.0, "Yes"), cue(1.0, 2.0, "♪")];
        assert_eq!(fit(&reply, &asked).unwrap().len(), 2);
    }

    proptest! {
        /// Any part of a proof-read reply, whole cues of it: each text goes to its own cue.
        #[test]
        fn any_subset_of_a_reply_goes_to_its_own_cues(
            count in 1usize..20,
            kept in prop::collection::vec(any::<bool>(), 20),
            moved in 0.0f64..0.04,
        ) {
            let text = |at: usize| format!("this is the spoken line about subject{}", at * 7919 % 1000);
            let asked: Vec<_> = (0..count)
                .map(|at| cue(at as f64 * 3.0, at as f64 * 3.0 + 2.0, &text(at).replace("spoken", "spokken")))
                .collect();
            let reply: Vec<_> = (0..count)
                .filter(|at| kept[*at])
                .map(|at| cue(at as f64 * 3.0 + moved, at as f64 * 3.0 + 2.0 + moved, &text(at)))
                .collect();
            let fitted = fit(&reply, &asked).unwrap_or_default();
            prop_assert_eq!(fitted.len(), reply.len());
            for (at, given) in fitted {
                prop_assert_eq!(given, text(at));
            }
        }
    }
}
