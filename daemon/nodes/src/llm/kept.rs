//! Answers of language models that were accepted, kept beside the runs of their task, so that a run after one that
//! failed, was cancelled or lost its daemon pays only for what is missing. They are distinguished by model, prompt and
//! source text: a change of one of these leads to new answers. The file is removed with the task's folder.

use std::{
    collections::HashMap,
    fs::OpenOptions,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use onceover_limits::Limit;
use onceover_run::RunContext;

/// Bytes of the answers that are kept for one node of a task.
pub const MOST_KEPT: u64 = 16 * 1024 * 1024;

/// The answers of one node for one task.
pub(super) struct KeptAnswers {
    path: Option<PathBuf>,
    run: String,
    known: Mutex<HashMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    /// A hash of all that the answer depends on.
    key: String,
    /// The run that got it.
    run: String,
    text: String,
}

impl KeptAnswers {
    /// Reads what is kept. A run that must reuse nothing takes only what its own earlier attempts have left.
    pub(super) fn open(context: &RunContext) -> Self {
        let run = context.run_id.to_string();
        let folder = context.dir.ancestors().nth(2);
        let path = folder.map(|folder| folder.join(format!(".{}.answers.jsonl", context.node.name)));
        let text = path.as_ref().map(read).unwrap_or_default();
        // The last line may be incomplete.
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
        let known = entries
            .filter(|entry| !context.fresh || entry.run == run)
            .map(|entry| (entry.key, entry.text))
            .collect();
        Self {
            path,
            run,
            known: Mutex::new(known),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        self.known().get(key).cloned()
    }

    /// Keeps answers. Not being able to write them fails no run: the next one asks again.
    pub(super) fn add(&self, answers: Vec<(String, String)>) {
        if answers.is_empty() {
            return;
        }
        // This ends a line that a crash left incomplete.
        let mut lines = String::from("\n");
        for (key, text) in answers {
            let entry = Entry {
                key,
                run: self.run.clone(),
                text,
            };
            if let Ok(line) = serde_json::to_string(&entry) {
                lines.push_str(&line);
                lines.push('\n');
            }
            self.known().insert(entry.key, entry.text);
        }
        if let Some(path) = &self.path
            && let Err(error) = append(path, lines.as_bytes())
        {
            tracing::debug!(%error, path = %path.display(), "answers of a language model are not kept");
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // A link that a program of a node may have put there is not followed.
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}

fn read(path: &PathBuf) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = options().read(true).open(path) {
        // An incomplete file counts as none.
        let _ = file.take(MOST_KEPT).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Adds lines at the end. A full file is emptied first: its answers are of older prompts or models, or can be asked
/// again.
fn append(path: &PathBuf, lines: &[u8]) -> std::io::Result<()> {
    let mut file = options().create(true).append(true).mode(0o640).open(path)?;
    let more = lines.len() as u64;
    if file.metadata()?.len() + more > MOST_KEPT {
        Limit::KeptAnswers.reached();
        file.set_len(0)?;
        if more > MOST_KEPT {
            return Ok(());
        }
    }
    file.write_all(lines)
}

/// Returns the key of an answer: a hash of all the parts that it depends on.
pub(super) fn key(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn an_answer_is_kept_for_the_next_run_and_not_for_one_that_reuses_nothing() {
        let mut fixture = Fixture::of_node("wservice.translate_subtitles");
        let kept = KeptAnswers::open(&fixture.context);
        kept.add(vec![(key(&["model", "a"]), "Bonjour\n".into())]);
        assert_eq!(
            KeptAnswers::open(&fixture.context)
                .get(&key(&["model", "a"]))
                .as_deref(),
            Some("Bonjour\n")
        );
        assert_eq!(kept.get(&key(&["modela", ""])), None);

        fixture.context.fresh = true;
        assert!(
            KeptAnswers::open(&fixture.context).get(&key(&["model", "a"])).is_some(),
            "an attempt of the same run"
        );
        fixture.context.run_id = onceover_types::RunId::generate();
        assert_eq!(KeptAnswers::open(&fixture.context).get(&key(&["model", "a"])), None);
        fixture.context.fresh = false;
        assert!(KeptAnswers::open(&fixture.context).get(&key(&["model", "a"])).is_some());
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_torn_line_is_passed_over() {
        let fixture = Fixture::of_node("wservice.translate_subtitles");
        let kept = KeptAnswers::open(&fixture.context);
        let path = kept.path.clone().unwrap();
        kept.add(vec![("a".into(), "1".into())]);
        std::fs::write(
            &path,
            [std::fs::read(&path).unwrap(), b"{\"key\":\"b".to_vec()].concat(),
        )
        .unwrap();
        assert_eq!(KeptAnswers::open(&fixture.context).get("a").as_deref(), Some("1"));
        // And is not glued to the one that follows.
        kept.add(vec![("b".into(), "2".into())]);
        assert_eq!(KeptAnswers::open(&fixture.context).get("b").as_deref(), Some("2"));

        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(MOST_KEPT)
            .unwrap();
        let before = Limit::KeptAnswers.times_reached();
        kept.add(vec![("c".into(), "3".into())]);
        assert!(Limit::KeptAnswers.times_reached() > before);
        assert!(std::fs::metadata(&path).unwrap().len() < 1000);
        let again = KeptAnswers::open(&fixture.context);
        assert_eq!((again.get("a"), again.get("c").as_deref()), (None, Some("3")));

        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(fixture.context.dir.join("elsewhere"), &path).unwrap();
        kept.add(vec![("d".into(), "4".into())]);
        assert!(!fixture.context.dir.join("elsewhere").exists());
    }
}
