//! How long a request waits until it is known what stands behind it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex},
    time::Duration,
};

use lru::LruCache;
use onceover_catalog::NodeSpec;
use onceover_nodes::{self as nodes, llm::Providers};
use onceover_run::paths::Roots;
use onceover_store::ReuseRule;
use onceover_types::{Object, TaskId};
use tokio::time::Instant;

use crate::{
    blocking,
    config::Verify,
    downloads::Downloads,
    evidence::{ByParameter, as_one, disk::on_disk, given_paths, is_url, of_local_files, of_plain_files},
    objects::ObjectStorage,
};

/// Files of a request that are looked at on the thread which answers it.
const FEW: usize = 2;
/// Files that took longer are left to other threads the next time.
const QUICK: Duration = Duration::from_millis(2);
/// Stands in evidence for the language model, beside the names of parameters.
const LANGUAGE_MODEL: &str = "(language model)";
/// Sets of files that are known to be looked at quickly: 64 KiB or so.
const MOST_QUICK: usize = 1024;

/// Which files were looked at quickly the last time, by the hash of their paths. A wrong entry costs time and nothing
/// else.
#[derive(Debug)]
struct QuickFiles {
    hasher: RandomState,
    known: Mutex<LruCache<u64, ()>>,
}

impl Default for QuickFiles {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            known: Mutex::new(LruCache::unbounded()),
        }
    }
}

impl QuickFiles {
    fn hash_paths(&self, task: &TaskId, paths: &[&str]) -> u64 {
        self.hasher.hash_one((task.as_str(), paths))
    }

    fn has(&self, files: u64) -> bool {
        self.with_known(|known| known.get(&files).is_some())
    }

    /// Notes how long files took.
    fn note(&self, files: u64, took: Duration) {
        self.with_known(|known| {
            if took > QUICK {
                known.pop(&files);
                return;
            }
            known.put(files, ());
            if known.len() > MOST_QUICK {
                known.pop_lru();
            }
        });
    }

    fn with_known<T>(&self, work: impl FnOnce(&mut LruCache<u64, ()>) -> T) -> T {
        work(&mut self.known.lock().expect("no thread panics with the quick files"))
    }
}

/// How long a request waits for evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// The answer is the same without: files are looked at for a moment, and no server is asked.
    Hint,
    /// The answer depends on it.
    Decisive,
}

impl Patience {
    /// As the treatment of a stored result asks for it; None where nothing depends on it.
    fn for_mode(mode: ReuseRule) -> Option<Self> {
        match mode {
            ReuseRule::Strict | ReuseRule::Refuse => Some(Self::Decisive),
            ReuseRule::Never | ReuseRule::Off => None,
            ReuseRule::Auto => Some(Self::Hint),
        }
    }

    fn limit(self, verify: Verify) -> Duration {
        match (self, verify) {
            (Self::Hint, _) => Duration::from_millis(250),
            (Self::Decisive, Verify::Stat) => Duration::from_secs(3),
            // Large files are read whole.
            (Self::Decisive, Verify::Hash) => Duration::from_secs(30),
        }
    }
}

/// Looks at what stands behind the inputs of requests. Cheap to clone.
#[derive(Clone)]
pub struct InputEvidence {
    pub(super) roots: Arc<Roots>,
    downloads: Arc<Downloads>,
    /// How files are looked at before a result is reused.
    verify: Verify,
    /// The language models that nodes may ask.
    providers: Providers,
    quick: Arc<QuickFiles>,
}

impl InputEvidence {
    pub fn new(roots: Arc<Roots>, downloads: Arc<Downloads>, verify: Verify, providers: Providers) -> Self {
        Self {
            roots,
            downloads,
            verify,
            providers,
            quick: Arc::default(),
        }
    }

    /// Returns how files are looked at before a result is reused.
    pub fn verify(&self) -> Verify {
        self.verify
    }

    /// Returns the object store, where there is one.
    pub(super) fn objects(&self) -> Option<&Arc<ObjectStorage>> {
        self.downloads.objects()
    }

    /// Which language model a run would ask: the configuration decides that as well, not the request alone.
    pub fn model_evidence(&self, node: &NodeSpec, input: &Object) -> ByParameter {
        let provider = nodes::asked_provider(node, input, &self.providers);
        let asked = provider.map(|provider| {
            let model = provider.model.as_deref().unwrap_or_default();
            (LANGUAGE_MODEL.to_owned(), Some(format!("{} {model}", provider.name)))
        });
        asked.into_iter().collect()
    }

    /// What stands behind a request, files and the language model, as one text, where the treatment of a stored result
    /// (`mode`) asks for it; None: unknown.
    pub(super) async fn files_evidence(
        &self,
        task: &TaskId,
        node: &Arc<NodeSpec>,
        input: &Object,
        mode: ReuseRule,
    ) -> Option<String> {
        let patience = Patience::for_mode(mode)?;
        let verify = self.verify;
        let (local, urls): (Vec<_>, Vec<_>) = given_paths(node, input).partition(|(_, path, _)| !is_url(path));
        if !urls.is_empty() && patience == Patience::Hint {
            return None;
        }
        let mut parts = self.model_evidence(node, input);
        if urls.is_empty() && local.is_empty() {
            return as_one(&parts, verify);
        }
        let limit = patience.limit(verify);
        let look = async {
            for (name, url, _) in &urls {
                parts.insert((*name).to_owned(), self.downloads.identity(url).await);
            }
            if !local.is_empty() {
                parts.extend(self.local_evidence(task, node, input).await?);
            }
            as_one(&parts, verify)
        };
        let found = tokio::time::timeout(limit, look).await;
        found.unwrap_or_else(|_| {
            tracing::debug!(%task, task_name = %node.name, ?limit, "the inputs of a request could not be looked at in time");
            None
        })
    }

    /// The local files behind a request, by parameter; None: they could not be looked at.
    pub async fn local_evidence(&self, task: &TaskId, node: &Arc<NodeSpec>, input: &Object) -> Option<ByParameter> {
        let paths: Vec<_> = given_paths(node, input).map(|(_, path, _)| path).collect();
        if paths.iter().all(|path| is_url(path)) {
            return Some(ByParameter::new());
        }
        let may_be_quick = paths.len() <= FEW && self.verify == Verify::Stat;
        let files = may_be_quick.then(|| self.quick.hash_paths(task, &paths));
        if let Some(files) = files
            && self.quick.has(files)
            && let Some(found) = self.look_at_once(task, node, input, files)
        {
            return Some(found);
        }
        let (roots, verify) = (Arc::clone(&self.roots), self.verify);
        let (task, node, input) = (task.clone(), Arc::clone(node), input.clone());
        let start = Instant::now();
        let found = on_disk(move || of_local_files(&roots, &task, &node, &input, verify)).await;
        let is_folder = |evidence: &String| evidence.starts_with("folder");
        if let (Some(files), Some(found)) = (files, &found)
            && !found.values().flatten().any(is_folder)
        {
            self.quick.note(files, start.elapsed());
        }
        found
    }

    /// Looks at files on this thread. Returns `None` if others are looked at so, or one of them is a folder.
    fn look_at_once(&self, task: &TaskId, node: &NodeSpec, input: &Object, files: u64) -> Option<ByParameter> {
        let start = Instant::now();
        let found = blocking::try_here(|| of_plain_files(&self.roots, task, node, input))?;
        let took = if found.is_some() {
            start.elapsed()
        } else {
            Duration::MAX
        };
        self.quick.note(files, took);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_quick_until_they_take_long_and_no_more_are_remembered_than_fit() {
        let quick = QuickFiles::default();
        let files = |number: usize| {
            let task = TaskId::parse(&format!("t{number}")).unwrap();
            quick.hash_paths(&task, &["a.mp4", "b.srt"])
        };
        assert!(!quick.has(files(0)));
        quick.note(files(0), Duration::ZERO);
        assert!(quick.has(files(0)));
        quick.note(files(0), QUICK * 2);
        assert!(!quick.has(files(0)));
        for number in 0..2 * MOST_QUICK {
            quick.note(files(number), Duration::ZERO);
        }
        assert_eq!(quick.with_known(|known| known.len()), MOST_QUICK);
        assert!(!quick.has(files(0)) && quick.has(files(2 * MOST_QUICK - 1)));
    }
}
