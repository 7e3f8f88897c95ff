//! Which results were reused last, and their files: the next request checks these before it asks Redis, and is answered
//! in one round trip. Nothing is decided by this memory. The store refuses a result that does not stand any more, and
//! the files are checked for each request, so an entry may be wrong or forgotten at any time.

use std::sync::{Arc, Mutex};

use lru::LruCache;
use onceover_store::ReusedResult;
use onceover_types::{NodeName, TaskId};

use super::artifacts::RecordedFiles;

/// Bytes of all entries together: more than five hundred results with a file or two.
const MOST_BYTES: usize = 512 << 10;
/// Bytes of one entry. To check more files than that takes longer than to ask for them.
const MOST_BYTES_OF_RESULT: usize = MOST_BYTES / 16;
/// Bytes that an entry takes beside its texts: the links of the list, the slot of the map, the ends of texts.
const BYTES_BESIDE: usize = 400;

/// A result that was reused.
#[derive(Debug)]
pub(super) struct KnownResult {
    pub(super) result: Arc<ReusedResult>,
    pub(super) files: Arc<RecordedFiles>,
}

/// The results that were reused last, by stage.
#[derive(Debug)]
pub(super) struct KnownResults(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    results: LruCache<String, Arc<KnownResult>>,
    bytes: usize,
}

impl Default for KnownResults {
    fn default() -> Self {
        Self(Mutex::new(Entries {
            results: LruCache::unbounded(),
            bytes: 0,
        }))
    }
}

impl KnownResults {
    /// Returns the result of a stage that was reused last.
    pub(super) fn recall(&self, task: &TaskId, node: &NodeName) -> Option<Arc<KnownResult>> {
        let key = build_key(task, node);
        self.with_entries(|entries| entries.results.get(&key).cloned())
    }

    /// Keeps a result, which replaces the one before.
    pub(super) fn remember(&self, task: &TaskId, node: &NodeName, result: Arc<KnownResult>) {
        let key = build_key(task, node);
        let bytes = count_bytes(&key, &result);
        // A record of before has a result without a name.
        if bytes > MOST_BYTES_OF_RESULT || result.result.token.is_empty() {
            return self.forget(task, node);
        }
        self.with_entries(|entries| {
            entries.remove(&key);
            entries.bytes += bytes;
            entries.results.put(key, result);
            while entries.bytes > MOST_BYTES
                && let Some((key, result)) = entries.results.pop_lru()
            {
                entries.bytes -= count_bytes(&key, &result);
            }
        });
    }

    /// Forgets the result of a stage.
    pub(super) fn forget(&self, task: &TaskId, node: &NodeName) {
        let key = build_key(task, node);
        self.with_entries(|entries| entries.remove(&key));
    }

    fn with_entries<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> T {
        work(&mut self.0.lock().expect("no thread panics with the known results"))
    }
}

impl Entries {
    fn remove(&mut self, key: &str) {
        if let Some(result) = self.results.pop(key) {
            self.bytes -= count_bytes(key, &result);
        }
    }
}

fn build_key(task: &TaskId, node: &NodeName) -> String {
    format!("{task}|{node}")
}

fn count_bytes(key: &str, result: &KnownResult) -> usize {
    BYTES_BESIDE + key.len() + result.result.text_size() + result.files.memory_size()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(token: &str, files: usize) -> Arc<KnownResult> {
        let files: Vec<_> = (0..files)
            .map(|number| format!(r#"{{"path":"/share/{number:05}","stamp":[1,2]}}"#))
            .collect();
        Arc::new(KnownResult {
            result: Arc::new(ReusedResult {
                token: token.to_owned(),
                ..ReusedResult::default()
            }),
            files: Arc::new(RecordedFiles::parse(&format!("[{}]", files.join(","))).unwrap()),
        })
    }

    #[test]
    fn the_results_used_last_are_kept_within_their_bytes() {
        let (known, node) = (KnownResults::default(), NodeName::parse("a.one").unwrap());
        let task = |number: usize| TaskId::parse(&format!("t{number}")).unwrap();
        for number in 0..10_000 {
            known.remember(&task(number), &node, result("r/1/2", 3));
            // It is used again and again.
            assert!(known.recall(&task(0), &node).is_some());
            assert!(known.with_entries(|entries| entries.bytes) <= MOST_BYTES);
        }
        assert!(known.recall(&task(1), &node).is_none());
        assert!(known.recall(&task(9_999), &node).is_some());
        for number in 0..10_000 {
            known.forget(&task(number), &node);
        }
        assert_eq!(
            known.with_entries(|entries| (entries.bytes, entries.results.len())),
            (0, 0)
        );
    }

    #[test]
    fn a_result_replaces_the_one_before_also_where_it_is_too_large_to_be_kept() {
        let known = KnownResults::default();
        let (task, node) = (TaskId::parse("t1").unwrap(), NodeName::parse("a.one").unwrap());
        let token = || known.recall(&task, &node).map(|known| known.result.token.clone());
        known.remember(&task, &node, result("first/1/2", 1));
        known.remember(&task, &node, result("second/1/2", 0));
        assert_eq!(token().as_deref(), Some("second/1/2"));
        known.remember(&task, &node, result("third/1/2", 5_000));
        assert_eq!(token(), None);
    }
}
