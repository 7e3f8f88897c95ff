//! What reads have learned of tasks, so that the next read of one is a single round trip: its list of stages, and what
//! lies under the keys that other workers may have written. It holds no content and decides nothing: a read asks again
//! for everything that it shows, and a submit never goes by it.
//!
//! What was found under the keys holds while a subscription reports every key that is written (`keyspace`), and for a
//! moment where none does. It is a cache of a fixed size: the task that was not read for longest is forgotten first.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use indexmap::IndexMap;
use lru::LruCache;
use onceover_types::{NodeName, TaskId};
use tokio::time::Instant;

/// Bytes that the memory of all tasks takes at most.
const MOST_BYTES: usize = 512 << 10;
/// How long a comparison of all keys holds where nothing reports keys that are written.
const HOLDS_UNREPORTED: Duration = Duration::from_millis(500);
/// How long it holds where a subscription does: a server that stops to report does not say so.
const HOLDS_REPORTED: Duration = Duration::from_secs(60);
/// Changed stages of a task that are remembered by name; with more, all keys of the task are compared again.
const MOST_CHANGED: usize = 32;
/// Bytes of an entry beside its names, and of a name beside its text, rounded up.
const ENTRY_BYTES: usize = 320;
const NAME_BYTES: usize = 64;

/// What a stage of ours was when its keys were last compared. As long as it is the same, and nobody has written them,
/// the comparison comes out the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StageMark {
    /// A run of ours is in flight or the record is damaged: its keys were not compared.
    Unsettled,
    /// The hash of what the comparison depends on.
    Settled(u64),
}

/// What a read has learned of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownTask {
    /// In the order of the first requests.
    pub(super) stages: Vec<NodeName>,
    /// The stages that have a record or a note. A node without a mark has neither.
    pub(super) marks: IndexMap<NodeName, StageMark>,
    /// The nodes under whose keys another worker has written what is not adopted.
    pub(super) found: Vec<NodeName>,
}

impl KnownTask {
    pub(super) fn mark(&self, node: &NodeName) -> Option<StageMark> {
        self.marks.get(node).copied()
    }

    fn bytes(&self) -> usize {
        let names = self.stages.iter().chain(&self.found).chain(self.marks.keys());
        names.map(name_bytes).sum()
    }
}

fn name_bytes(node: &NodeName) -> usize {
    NAME_BYTES + node.as_str().len()
}

/// A read that has begun: what was known of the task then.
#[derive(Debug)]
pub(super) struct Recalled {
    /// Nothing for a task that was not read before.
    pub(super) known: Option<Arc<KnownTask>>,
    /// Whether only the keys of `changed` and of what `known` names have to be compared.
    pub(super) is_compared: bool,
    /// Stages whose keys were written since.
    pub(super) changed: Vec<NodeName>,
    /// The entry of the task; another one has another number.
    entry: u64,
    /// Counts reads and notices: what has a higher number came later.
    number: u64,
    at: Instant,
    subscription: Option<u64>,
}

/// When all keys of a task were last compared, and by which subscription changes have been reported since.
#[derive(Debug, Clone, Copy)]
struct ComparisonTime {
    at: Instant,
    subscription: Option<u64>,
}

struct Entry {
    number: u64,
    known: Option<Arc<KnownTask>>,
    compared: Option<ComparisonTime>,
    /// Stages whose keys were written, each with the number of the notice.
    changed: Vec<(NodeName, u64)>,
    /// The number of the newest read whose result is kept.
    read: u64,
    bytes: usize,
}

impl Entry {
    fn new(number: u64) -> Self {
        Self {
            number,
            known: None,
            compared: None,
            changed: Vec::new(),
            read: 0,
            bytes: 0,
        }
    }

    fn count_bytes(&self, task: &TaskId) -> usize {
        let known = self.known.as_ref().map_or(0, |known| known.bytes());
        let changed: usize = self.changed.iter().map(|(node, _)| name_bytes(node)).sum();
        ENTRY_BYTES + task.as_str().len() + known + changed
    }
}

struct RememberedTasks {
    entries: LruCache<TaskId, Entry>,
    bytes: usize,
    /// Numbers entries, reads, notices and subscriptions.
    count: u64,
    /// The subscription that reports keys as they are written, while it stands.
    subscription: Option<u64>,
}

impl RememberedTasks {
    fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Counts the bytes of a task that has changed, and forgets others until all are within the limit.
    fn recount(&mut self, task: &TaskId) {
        let Some(entry) = self.entries.peek_mut(task) else {
            return;
        };
        let bytes = entry.count_bytes(task);
        self.bytes = self.bytes - entry.bytes + bytes;
        entry.bytes = bytes;
        while self.bytes > MOST_BYTES {
            let Some((_, forgotten)) = self.entries.pop_lru() else {
                break;
            };
            self.bytes -= forgotten.bytes;
        }
    }

    fn forget(&mut self, task: &TaskId) {
        if let Some(entry) = self.entries.pop(task) {
            self.bytes -= entry.bytes;
        }
    }

    fn is_fresh(&self, compared: ComparisonTime, now: Instant) -> bool {
        let age = now.saturating_duration_since(compared.at);
        let is_reported = compared.subscription.is_some() && compared.subscription == self.subscription;
        age < HOLDS_UNREPORTED || is_reported && age < HOLDS_REPORTED
    }
}

/// The memory of a daemon. Locked for moments only, never while Redis is asked.
pub(super) struct TaskMemory(Mutex<RememberedTasks>);

impl Default for TaskMemory {
    fn default() -> Self {
        Self(Mutex::new(RememberedTasks {
            entries: LruCache::unbounded(),
            bytes: 0,
            count: 0,
            subscription: None,
        }))
    }
}

impl fmt::Debug for TaskMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskMemory").field("bytes", &self.bytes()).finish()
    }
}

impl TaskMemory {
    fn tasks(&self) -> MutexGuard<'_, RememberedTasks> {
        self.0.lock().expect("no thread panics with the memory of tasks")
    }

    /// Begins a read. From now on notices about the task are kept for its end.
    pub(super) fn recall(&self, task: &TaskId) -> Recalled {
        let now = Instant::now();
        let mut tasks = self.tasks();
        let number = tasks.next_number();
        let subscription = tasks.subscription;
        if !tasks.entries.contains(task) {
            tasks.entries.put(task.clone(), Entry::new(number));
            tasks.recount(task);
        }
        let entry = tasks.entries.get(task);
        let compared = entry.and_then(|entry| entry.compared);
        let is_compared = compared.is_some_and(|compared| tasks.is_fresh(compared, now));
        let entry = tasks.entries.peek(task);
        Recalled {
            known: entry.and_then(|entry| entry.known.clone()),
            is_compared,
            changed: entry.map_or_else(Vec::new, |entry| {
                entry.changed.iter().map(|(node, _)| node.clone()).collect()
            }),
            entry: entry.map_or(0, |entry| entry.number),
            number,
            at: now,
            subscription,
        }
    }

    /// Ends a read: remembers what it has learned, unless a later one has ended before.
    pub(super) fn remember(&self, task: &TaskId, recalled: &Recalled, known: KnownTask) {
        let mut tasks = self.tasks();
        let Some(entry) = tasks.entries.peek_mut(task) else {
            return;
        };
        if entry.number != recalled.entry || entry.read > recalled.number {
            return;
        }
        entry.read = recalled.number;
        entry.known = Some(Arc::new(known));
        if !recalled.is_compared {
            entry.compared = Some(ComparisonTime {
                at: recalled.at,
                subscription: recalled.subscription,
            });
        }
        entry.changed.retain(|(_, notice)| *notice > recalled.number);
        tasks.recount(task);
    }

    /// Notes that the keys of a stage were written.
    pub(super) fn note_changed(&self, task: &TaskId, node: &NodeName) {
        let mut tasks = self.tasks();
        let number = tasks.next_number();
        let Some(entry) = tasks.entries.peek_mut(task) else {
            return;
        };
        match entry.changed.iter().position(|(changed, _)| changed == node) {
            Some(position) => entry.changed[position].1 = number,
            None if entry.changed.len() < MOST_CHANGED => entry.changed.push((node.clone(), number)),
            // A read under way has not seen these: what it learns is not kept.
            None => {
                entry.number = number;
                entry.compared = None;
                entry.changed.clear();
            }
        }
        tasks.recount(task);
    }

    pub(super) fn forget(&self, task: &TaskId) {
        self.tasks().forget(task);
    }

    /// Begins a time in which every key that is written is reported by [`TaskMemory::note_changed`]; it ends as the
    /// guard is dropped.
    pub(super) fn begin_subscription(self: &Arc<Self>) -> StandingSubscription {
        let mut tasks = self.tasks();
        let number = tasks.next_number();
        tasks.subscription = Some(number);
        drop(tasks);
        StandingSubscription {
            memory: Arc::clone(self),
            number,
        }
    }

    /// Whether every key that is written is reported.
    #[cfg(test)]
    pub(super) fn is_reported(&self) -> bool {
        self.tasks().subscription.is_some()
    }

    /// Bytes that the memory takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.tasks().bytes
    }
}

/// A subscription that stands.
#[derive(Debug)]
pub(super) struct StandingSubscription {
    memory: Arc<TaskMemory>,
    number: u64,
}

impl Drop for StandingSubscription {
    fn drop(&mut self) {
        let mut tasks = self.memory.tasks();
        if tasks.subscription == Some(self.number) {
            tasks.subscription = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str) -> TaskId {
        TaskId::parse(name).unwrap()
    }

    fn node(name: &str) -> NodeName {
        NodeName::parse(name).unwrap()
    }

    fn known(names: &[&str]) -> KnownTask {
        KnownTask {
            stages: names.iter().map(|name| node(name)).collect(),
            ..KnownTask::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_comparison_holds_for_a_moment_and_longer_while_keys_are_reported() {
        let memory = Arc::new(TaskMemory::default());
        let read = || memory.remember(&task("t"), &memory.recall(&task("t")), known(&["a.b"]));
        let is_compared = || memory.recall(&task("t")).is_compared;
        assert!(!is_compared(), "before the first read");
        read();
        assert!(is_compared());
        tokio::time::advance(HOLDS_UNREPORTED).await;
        assert!(!is_compared(), "nothing reports keys");
        assert_eq!(memory.recall(&task("t")).known.unwrap().stages, [node("a.b")]);

        let subscription = memory.begin_subscription();
        read();
        tokio::time::advance(HOLDS_REPORTED - Duration::from_millis(1)).await;
        assert!(is_compared());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!is_compared(), "a server may have stopped to report");
        read();
        tokio::time::advance(HOLDS_UNREPORTED).await;
        drop(subscription);
        assert!(!is_compared(), "the subscription is lost");
        let _later = memory.begin_subscription();
        assert!(!is_compared(), "changes may have been missed before");
    }

    #[tokio::test]
    async fn a_notice_during_a_read_is_there_for_the_next_one() {
        let memory = Arc::new(TaskMemory::default());
        let _subscription = memory.begin_subscription();
        let first = memory.recall(&task("t"));
        memory.note_changed(&task("t"), &node("a.b"));
        memory.remember(&task("t"), &first, known(&[]));
        let second = memory.recall(&task("t"));
        assert_eq!(second.changed, [node("a.b")]);
        assert!(second.is_compared);
        memory.remember(&task("t"), &second, known(&["a.b"]));
        assert!(memory.recall(&task("t")).changed.is_empty());
    }

    #[tokio::test]
    async fn an_earlier_read_that_ends_later_is_not_kept() {
        let memory = TaskMemory::default();
        let (earlier, later) = (memory.recall(&task("t")), memory.recall(&task("t")));
        memory.remember(&task("t"), &later, known(&["a.b", "a.c"]));
        memory.remember(&task("t"), &earlier, known(&["a.b"]));
        let kept = memory.recall(&task("t")).known.unwrap();
        assert_eq!(kept.stages.len(), 2);
        // Nor one that began before the task was forgotten.
        memory.forget(&task("t"));
        memory.recall(&task("t"));
        memory.remember(&task("t"), &later, known(&["a.b"]));
        assert!(memory.recall(&task("t")).known.is_none());
    }

    #[tokio::test]
    async fn with_many_changed_stages_all_keys_are_compared_again() {
        let memory = TaskMemory::default();
        memory.remember(&task("t"), &memory.recall(&task("t")), known(&[]));
        for number in 0..MOST_CHANGED {
            memory.note_changed(&task("t"), &node(&format!("a.b{number}")));
        }
        let under_way = memory.recall(&task("t"));
        assert_eq!((under_way.changed.len(), under_way.is_compared), (MOST_CHANGED, true));
        memory.note_changed(&task("t"), &node("a.last"));
        memory.remember(&task("t"), &under_way, known(&[]));
        assert!(!memory.recall(&task("t")).is_compared);
    }

    #[tokio::test]
    async fn the_memory_of_tasks_keeps_its_limit_and_those_read_last() {
        let memory = TaskMemory::default();
        let names: Vec<_> = (0..3).map(|number| format!("service.method_{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for number in 0..10_000 {
            let task = task(&format!("task-{number}"));
            memory.remember(&task, &memory.recall(&task), known(&names));
        }
        assert!(memory.bytes() <= MOST_BYTES, "{} bytes", memory.bytes());
        assert!(memory.recall(&task("task-9999")).known.is_some());
        assert!(memory.recall(&task("task-0")).known.is_none());
        for number in 0..10_000 {
            memory.forget(&task(&format!("task-{number}")));
        }
        assert_eq!(memory.bytes(), 0);
    }
}
