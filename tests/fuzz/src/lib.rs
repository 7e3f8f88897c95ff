//! Fuzzing of the parsers of foreign text. A target lies beside its parser and calls [`fuzz`] with the name of its corpus,
//! a folder of `tests/fuzz/corpus`. Each file of that is tried as it is, and then damaged in ways that `bolero` chooses and,
//! when one fails, makes smaller.
//!
//! `make test` tries the corpus alone, so that its outcome is always the same; `make soak` sets `ONCEOVER_FUZZ_SECONDS`. What a target
//! has found becomes a file of the corpus. `bolero` prints the seed of a failure; `BOLERO_RANDOM_SEED` tries it again. For
//! one that ends the process, such as a stack overflow, `ONCEOVER_FUZZ_LAST=FILE` keeps the text that was tried last.

use std::{fs, panic::RefUnwindSafe, path::Path, time::Duration};

use bolero::TypeGenerator;

/// Longest text that damage makes.
const LONGEST: usize = 64 * 1024;

/// Damage to one of the texts of a corpus.
#[derive(Debug, Clone, TypeGenerator)]
struct Damaged {
    text: u16,
    changes: Vec<Change>,
}

#[derive(Debug, Clone, TypeGenerator)]
enum Change {
    Insert {
        at: u16,
        byte: u8,
    },
    Remove {
        at: u16,
        length: u8,
    },
    Overwrite {
        at: u16,
        byte: u8,
    },
    /// Puts in one of the words that mean something to the parser.
    Word {
        at: u16,
        word: u8,
    },
    Repeat {
        at: u16,
        length: u8,
        times: u8,
    },
    Cut {
        at: u16,
    },
    /// Goes on with the end of another text.
    Splice {
        at: u16,
        text: u16,
        from: u16,
    },
}

impl Damaged {
    fn bytes(&self, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
        let pick = |index: u16| corpus[usize::from(index) % corpus.len()].as_slice();
        let mut bytes = pick(self.text).to_vec();
        for change in &self.changes {
            let place = |at: u16, bytes: &[u8]| usize::from(at) % (bytes.len() + 1);
            match *change {
                Change::Insert { at, byte } => bytes.insert(place(at, &bytes), byte),
                Change::Remove { at, length } => {
                    let start = place(at, &bytes);
                    let end = (start + usize::from(length)).min(bytes.len());
                    bytes.drain(start..end);
                }
                Change::Overwrite { at, byte } => {
                    let at = place(at, &bytes);
                    if let Some(old) = bytes.get_mut(at) {
                        *old = byte;
                    }
                }
                Change::Word { at, word } if !words.is_empty() => {
                    let at = place(at, &bytes);
                    let word = words[usize::from(word) % words.len()];
                    bytes.splice(at..at, word.bytes());
                }
                Change::Word { .. } => {}
                Change::Repeat { at, length, times } => {
                    let start = place(at, &bytes);
                    let end = (start + usize::from(length)).min(bytes.len());
                    let piece = bytes[start..end].repeat(usize::from(times));
                    bytes.splice(end..end, piece);
                }
                Change::Cut { at } => bytes.truncate(place(at, &bytes)),
                Change::Splice { at, text, from } => {
                    bytes.truncate(place(at, &bytes));
                    let other = pick(text);
                    bytes.extend_from_slice(&other[usize::from(from) % (other.len() + 1)..]);
                }
            }
            bytes.truncate(LONGEST);
        }
        bytes
    }
}

/// Gives the target's check every text of its corpus, and damaged ones for as long as the environment says. It fails when the check panics. `words` are those
/// that mean something to the parser.
pub fn fuzz(target: &str, words: &'static [&'static str], check: impl Fn(&[u8]) + RefUnwindSafe) {
    let seconds = std::env::var("ONCEOVER_FUZZ_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("ONCEOVER_FUZZ_SECONDS is a number"));
    fuzz_for(seconds.map(Duration::from_secs), target, words, check);
}

fn fuzz_for(
    time: Option<Duration>,
    target: &str,
    words: &'static [&'static str],
    check: impl Fn(&[u8]) + RefUnwindSafe,
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a corpus can be listed").path())
        .collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files
        .iter()
        .map(|file| fs::read(file).expect("a corpus can be read"))
        .collect();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    for (file, bytes) in files.iter().zip(&corpus) {
        eprintln!("{}", file.display());
        check(bytes);
    }
    let Some(time) = time else { return };
    let last = std::env::var_os("ONCEOVER_FUZZ_LAST");
    let target = bolero::check!(name = target).with_type::<Damaged>();
    target.with_test_time(time).for_each(|damaged| {
        let bytes = damaged.bytes(&corpus, words);
        if let Some(last) = &last {
            fs::write(last, &bytes).expect("the text can be kept");
        }
        check(&bytes);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "test failed")]
    fn a_check_that_panics_is_found() {
        fuzz_for(Some(Duration::from_secs(60)), "ids", &["!"], |bytes| {
            assert!(!bytes.contains(&b'!'))
        });
    }
}
