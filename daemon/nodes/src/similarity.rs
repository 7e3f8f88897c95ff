//! Compares two sequences exactly as Python's `difflib.SequenceMatcher` does, by which the nodes for subtitles are
//! specified: the longest common run, the leftmost among equals, then the same on either side of it.

use std::{collections::HashMap, hash::Hash, ops::Range};

/// Elements that make up more than a hundredth of a second sequence of 200 elements or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Popular {
    /// They begin no common run, only lengthen one (Python's `autojunk=True`, its default).
    Ignored,
    /// They count like all other elements (`autojunk=False`).
    Counted,
}

/// A run that both sequences have: where it begins in each, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatchingBlock {
    pub first: usize,
    pub second: usize,
    pub len: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditOp {
    Equal,
    Replace,
    Delete,
    Insert,
}

/// One step of turning the first sequence into the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opcode {
    pub change: EditOp,
    pub first: Range<usize>,
    pub second: Range<usize>,
}

/// Twice the number of common elements by the number of all, 0 to 1; 1 for two empty sequences.
/// It may differ when the sequences change places.
pub fn ratio<T: Eq + Hash>(first: &[T], second: &[T], popular: Popular) -> f64 {
    let all = first.len() + second.len();
    if all == 0 {
        return 1.0;
    }
    let common: usize = blocks(first, second, popular).iter().map(|block| block.len).sum();
    2.0 * common as f64 / all as f64
}

/// Returns the `ratio` of two texts by code points, popular ones ignored.
pub fn text_ratio(first: &str, second: &str) -> f64 {
    let [first, second] = [first, second].map(|text| text.chars().collect::<Vec<_>>());
    ratio(&first, &second, Popular::Ignored)
}

/// Returns the common runs in order; no two of them touch in both sequences.
pub fn blocks<T: Eq + Hash>(first: &[T], second: &[T], popular: Popular) -> Vec<MatchingBlock> {
    let mut matcher = Matcher::new(first, second, popular);
    let mut found = Vec::new();
    let mut open = vec![(0..first.len(), 0..second.len())];
    while let Some((left, right)) = open.pop() {
        let block = matcher.longest(left.clone(), right.clone());
        if block.len == 0 {
            continue;
        }
        open.push((left.start..block.first, right.start..block.second));
        open.push((block.first + block.len..left.end, block.second + block.len..right.end));
        found.push(block);
    }
    found.sort_unstable();
    found.dedup_by(|next, block| {
        let touch = block.first + block.len == next.first && block.second + block.len == next.second;
        if touch {
            block.len += next.len;
        }
        touch
    });
    found
}

/// Returns the steps that turn the first sequence into the second, in order and without gaps.
pub fn opcodes<T: Eq + Hash>(first: &[T], second: &[T], popular: Popular) -> Vec<Opcode> {
    let end = MatchingBlock {
        first: first.len(),
        second: second.len(),
        len: 0,
    };
    let (mut i, mut j) = (0, 0);
    let mut steps = Vec::new();
    for block in blocks(first, second, popular).into_iter().chain([end]) {
        let (left, right) = (i..block.first, j..block.second);
        let change = match (left.is_empty(), right.is_empty()) {
            (false, false) => Some(EditOp::Replace),
            (false, true) => Some(EditOp::Delete),
            (true, false) => Some(EditOp::Insert),
            (true, true) => None,
        };
        steps.extend(change.map(|change| Opcode {
            change,
            first: left,
            second: right,
        }));
        (i, j) = (block.first + block.len, block.second + block.len);
        if block.len > 0 {
            steps.push(Opcode {
                change: EditOp::Equal,
                first: block.first..i,
                second: block.second..j,
            });
        }
    }
    steps
}

struct Matcher<'a, T> {
    first: &'a [T],
    second: &'a [T],
    /// Where each element of the second sequence stands, in order.
    places: HashMap<&'a T, Vec<usize>>,
    /// For each position in the second sequence, one further: the length of the common run that ends there and at the
    /// current, or the previous, element of the first. All are zero between two searches.
    now: Vec<usize>,
    before: Vec<usize>,
}

impl<'a, T: Eq + Hash> Matcher<'a, T> {
    fn new(first: &'a [T], second: &'a [T], popular: Popular) -> Self {
        let mut places: HashMap<&T, Vec<usize>> = HashMap::new();
        for (place, element) in second.iter().enumerate() {
            places.entry(element).or_default().push(place);
        }
        if popular == Popular::Ignored && second.len() >= 200 {
            let most = second.len() / 100 + 1;
            places.retain(|_, places| places.len() <= most);
        }
        Self {
            first,
            second,
            places,
            now: vec![0; second.len() + 1],
            before: vec![0; second.len() + 1],
        }
    }

    fn places(&self, element: &T, within: &Range<usize>) -> &[usize] {
        let places = self.places.get(element).map_or(&[][..], Vec::as_slice);
        let start = places.partition_point(|place| *place < within.start);
        let end = places.partition_point(|place| *place < within.end);
        &places[start..end]
    }

    /// Returns the longest common run of both ranges; the leftmost in the first sequence, then in the second. Length 0
    /// where there is none.
    fn longest(&mut self, left: Range<usize>, right: Range<usize>) -> MatchingBlock {
        let mut best = MatchingBlock {
            first: left.start,
            second: right.start,
            len: 0,
        };
        let (mut now, mut before) = (std::mem::take(&mut self.now), std::mem::take(&mut self.before));
        for i in left.clone() {
            for &j in self.places(&self.first[i], &right) {
                let len = before[j] + 1;
                now[j + 1] = len;
                if len > best.len {
                    best = MatchingBlock {
                        first: i + 1 - len,
                        second: j + 1 - len,
                        len,
                    };
                }
            }
            if i > left.start {
                self.clear(&mut before, &self.first[i - 1], &right);
            }
            std::mem::swap(&mut now, &mut before);
        }
        if let Some(last) = left.clone().last() {
            self.clear(&mut before, &self.first[last], &right);
        }
        (self.now, self.before) = (now, before);
        self.extend(best, &left, &right)
    }

    fn clear(&self, lengths: &mut [usize], element: &T, within: &Range<usize>) {
        for &j in self.places(element, within) {
            lengths[j + 1] = 0;
        }
    }

    /// Lengthens a run by equal elements on both sides, which may be popular ones.
    fn extend(&self, mut block: MatchingBlock, left: &Range<usize>, right: &Range<usize>) -> MatchingBlock {
        while block.first > left.start
            && block.second > right.start
            && self.first[block.first - 1] == self.second[block.second - 1]
        {
            block.first -= 1;
            block.second -= 1;
            block.len += 1;
        }
        while block.first + block.len < left.end
            && block.second + block.len < right.end
            && self.first[block.first + block.len] == self.second[block.second + block.len]
        {
            block.len += 1;
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    };

    use proptest::{
        collection::vec,
        prelude::*,
        sample::select,
        test_runner::{Config, TestRunner},
    };
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_ratio_is_of_code_points() {
        assert_eq!(text_ratio("", ""), 1.0);
        assert_eq!(text_ratio("abcd", "bcde"), 0.75);
        assert_eq!(text_ratio("Where are you", "Where are yau"), 24.0 / 26.0);
        assert_eq!(text_ratio("你好吗", "你好"), 0.8);
        assert_eq!(text_ratio("a", ""), 0.0);
    }

    #[test]
    fn the_leftmost_of_equally_long_runs_is_taken() {
        let [first, second] = ["ab--ab", "ab"].map(|text| text.chars().collect::<Vec<_>>());
        let expected = MatchingBlock {
            first: 0,
            second: 0,
            len: 2,
        };
        assert_eq!(blocks(&first, &second, Popular::Ignored), [expected]);
        let expected = MatchingBlock { second: 4, ..expected };
        let [first, second] = [" abcd", "abcd abcd"].map(|text| text.chars().collect::<Vec<_>>());
        assert_eq!(
            blocks(&first, &second, Popular::Ignored),
            [MatchingBlock { len: 5, ..expected }]
        );
    }

    #[test]
    fn popular_elements_begin_no_run() {
        let [first, second] = ["b", "c"].map(|start| (start.to_owned() + &"a".repeat(199)).chars().collect::<Vec<_>>());
        assert_eq!(ratio(&first, &second, Popular::Ignored), 0.0);
        assert_eq!(ratio(&first, &second, Popular::Counted), 2.0 * 199.0 / 400.0);
        assert_eq!(ratio(&first, &second[..199], Popular::Ignored), 2.0 * 198.0 / 399.0);
    }

    /// Python's own, asked line by line.
    struct Python {
        child: Child,
        stdin: ChildStdin,
        stdout: BufReader<ChildStdout>,
    }

    impl Python {
        fn start() -> Self {
            const PROGRAM: &str = "
import difflib, json, sys
for line in sys.stdin:
    a, b, autojunk = json.loads(line)
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=autojunk)
    blocks = [list(block) for block in matcher.get_matching_blocks()[:-1]]
    print(json.dumps([repr(matcher.ratio()), blocks, matcher.get_opcodes()]), flush=True)
";
            let mut child = Command::new("python3")
                .args(["-c", PROGRAM])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            Self {
                stdin: child.stdin.take().unwrap(),
                stdout: BufReader::new(child.stdout.take().unwrap()),
                child,
            }
        }

        fn ask(&mut self, question: &Value) -> Value {
            writeln!(self.stdin, "{question}").unwrap();
            let mut answer = String::new();
            self.stdout.read_line(&mut answer).unwrap();
            serde_json::from_str(&answer).unwrap()
        }
    }

    impl Drop for Python {
        fn drop(&mut self) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }

    fn ours<T: Eq + Hash>(first: &[T], second: &[T], popular: Popular) -> Value {
        let blocks: Vec<_> = blocks(first, second, popular)
            .iter()
            .map(|block| [block.first, block.second, block.len])
            .collect();
        let opcodes: Vec<_> = opcodes(first, second, popular)
            .into_iter()
            .map(|Opcode { change, first, second }| {
                let tag = format!("{change:?}").to_lowercase();
                json!([tag, first.start, first.end, second.start, second.end])
            })
            .collect();
        // As text, since the digits of a number in JSON may be read with the last one changed.
        json!([format!("{:?}", ratio(first, second, popular)), blocks, opcodes])
    }

    /// Returns a sequence and one made from it by cutting, repeating and changing, so that there are runs to find.
    fn pairs<T: Clone + std::fmt::Debug + 'static>(
        elements: &'static [T],
        longest: usize,
    ) -> impl Strategy<Value = (Vec<T>, Vec<T>)> {
        let edits = vec((any::<prop::sample::Index>(), 0..4u8, select(elements)), 0..12);
        (vec(select(elements), 0..longest), edits).prop_map(|(first, edits)| {
            let mut second = first.clone();
            for (place, kind, element) in edits {
                if second.is_empty() {
                    second.push(element);
                    continue;
                }
                let at = place.index(second.len());
                match kind {
                    0 => second.insert(at, element),
                    1 => second[at] = element,
                    2 => {
                        second.remove(at);
                    }
                    _ => second.rotate_left(at),
                }
            }
            (first, second)
        })
    }

    #[test]
    fn texts_and_words_match_as_pythons_sequence_matcher_matches_them() {
        const LETTERS: &[char] = &['a', 'b', 'c', ' ', 'é', '你', '😀'];
        const WORDS: &[&str] = &[
            "we", " start", "now", "and", "then", "stop", ".", "你好", "a", "b", "c", "d",
        ];
        let mut python = Python::start();
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::with_cases(250)
        });
        let cases = (pairs(LETTERS, 420), pairs(WORDS, 260), any::<bool>());
        let python = std::cell::RefCell::new(&mut python);
        runner
            .run(&cases, |((a, b), (words, others), ignored)| {
                let popular = if ignored { Popular::Ignored } else { Popular::Counted };
                let ask = |question: Value| python.borrow_mut().ask(&question);
                let texts = [String::from_iter(&a), String::from_iter(&b)];
                prop_assert_eq!(ours(&a, &b, popular), ask(json!([texts[0], texts[1], ignored])));
                prop_assert_eq!(ours(&words, &others, popular), ask(json!([words, others, ignored])));
                Ok(())
            })
            .unwrap();
    }
}
