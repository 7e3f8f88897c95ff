//! The slots that runs of this daemon hold, by queue, and whose turn it is to take more runs. Other daemons may hold slots
//! too: how many are free over all is decided in Redis, but with as many as there are nobody need ask.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use onceover_store::{Claims, Fence, QueueShare};

use crate::{config::is_dispatch_queue, events::EventBus, services::Slots};

/// How long an end waits for its turn to take the next run. The call that has it is mostly answered sooner, and a separate
/// call for the next run would take longer.
const END_PATIENCE: Duration = Duration::from_millis(20);

/// What this daemon holds of each queue.
pub(super) struct HeldSlots(HashMap<String, Arc<QueueSlots>>);

struct QueueSlots {
    name: String,
    count: SlotCount,
    bus: EventBus,
    used: Mutex<SlotUse>,
    /// Locked while runs are taken: until their slots are held, a second call would take them for lost ones.
    turn: tokio::sync::Mutex<()>,
}

/// Counts the runs of a queue that the Celery workers which listen can take. Answers `None` for a queue that leads to none.
pub(super) type CountOfWorkers = Arc<dyn Fn(&str) -> Option<u32> + Send + Sync>;

/// How many runs of a queue may go on at a time.
enum SlotCount {
    Fixed(u32),
    OfWorkers(CountOfWorkers),
}

/// How the slots of a queue are used.
#[derive(Default)]
struct SlotUse {
    /// Those that are held, as [`Fence::slot`] names them.
    held: Vec<String>,
    /// Those of runs that broke off in a panic. They are free here, and named as held, so that such a run is not begun again
    /// at once for ever: its lease runs out, which counts as a loss.
    broken: Vec<String>,
    /// A run was wanted while none was free.
    is_wanted: bool,
    /// The number of the last event when the queue was found empty.
    seen: u64,
}

impl SlotUse {
    /// The slots that no claim is to take again.
    fn named(&self) -> Vec<String> {
        self.held.iter().chain(&self.broken).cloned().collect()
    }
}

impl QueueSlots {
    fn used(&self) -> MutexGuard<'_, SlotUse> {
        self.used.lock().expect("no thread panics with the slots")
    }

    fn free_beside(&self, used: &SlotUse) -> u32 {
        let held = u32::try_from(used.held.len()).unwrap_or(u32::MAX);
        let free = self.count_slots().saturating_sub(held);
        match self.count {
            SlotCount::Fixed(_) => free,
            // A run whose message is with the workers already is joined without a slot that is free.
            SlotCount::OfWorkers(_) => free.max(1),
        }
    }

    fn count_slots(&self) -> u32 {
        match &self.count {
            SlotCount::Fixed(count) => *count,
            SlotCount::OfWorkers(count) => count(&self.name).unwrap_or_default(),
        }
    }
}

impl HeldSlots {
    pub(super) fn new(slots: &Slots, bus: &EventBus, of_workers: Option<&CountOfWorkers>) -> Self {
        let of_queue = |(name, slots): (&String, &u32)| {
            let count = match of_workers {
                Some(count) if is_dispatch_queue(name) => SlotCount::OfWorkers(Arc::clone(count)),
                _ => SlotCount::Fixed(*slots),
            };
            let queue = QueueSlots {
                name: name.clone(),
                count,
                bus: bus.clone(),
                used: Mutex::default(),
                turn: tokio::sync::Mutex::default(),
            };
            (name.clone(), Arc::new(queue))
        };
        Self(slots.iter().map(of_queue).collect())
    }

    /// Whether another run of a queue may go on here. Where it may not, the next slot that is free is wanted.
    pub(super) fn is_free_or_wanted(&self, queue: &str) -> bool {
        self.0.get(queue).is_some_and(|queue| {
            let mut used = queue.used();
            let is_free = queue.free_beside(&used) > 0;
            used.is_wanted |= !is_free;
            is_free
        })
    }

    /// The number of the last event when a queue was found empty: no event up to it tells anything new about the queue.
    pub(super) fn seen(&self, queue: &str) -> u64 {
        self.0.get(queue).map_or(0, |queue| queue.used().seen)
    }

    /// Waits for the turn to take runs of a queue. Returns `None` for a queue that has no slots here.
    pub(super) async fn wait_for_turn(&self, queue: &str) -> Option<ClaimTurn<'_>> {
        let queue = self.0.get(queue)?;
        let turn = queue.turn.lock().await;
        Some(ClaimTurn { queue, _turn: turn })
    }

    /// Takes the turn for an end, unless other calls have it for long: an end is not held up by them.
    pub(super) async fn wait_briefly_for_turn(&self, queue: &str) -> Option<ClaimTurn<'_>> {
        let queue = self.0.get(queue)?;
        let turn = match queue.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => tokio::time::timeout(END_PATIENCE, queue.turn.lock()).await.ok()?,
        };
        Some(ClaimTurn { queue, _turn: turn })
    }
}

/// The turn to take runs of a queue. One call has it at a time, from what it sends of the slots that are held until what it
/// took holds some.
pub(super) struct ClaimTurn<'a> {
    queue: &'a Arc<QueueSlots>,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl ClaimTurn<'_> {
    pub(super) fn free(&self) -> u32 {
        self.queue.free_beside(&self.queue.used())
    }

    /// What is to be sent of the queue.
    pub(super) fn share(&self) -> QueueShare {
        QueueShare {
            slots: self.queue.count_slots(),
            running: self.queue.used().named(),
        }
    }

    /// Gives a run that was taken its slot.
    pub(super) fn occupy(&self, fence: &Fence) -> SlotGuard {
        let slot = fence.slot();
        self.queue.used().held.push(slot.clone());
        SlotGuard {
            queue: Arc::clone(self.queue),
            slot,
            is_unused: false,
        }
    }

    /// Notes that the queue was found empty, if it was.
    pub(super) fn note_empty(&self, found: &Claims) {
        if !found.others_wait {
            self.queue.used().seen = found.seen;
        }
    }

    /// Gives the slot of a run that has ended to the run that was taken with its end.
    pub(super) fn hand_over(&self, guard: &mut SlotGuard, next: &Fence) {
        let slot = next.slot();
        if let Some(former) = self.queue.used().held.iter_mut().find(|held| **held == guard.slot) {
            former.clone_from(&slot);
        }
        guard.slot = slot;
        self.queue.bus.processes_ended();
    }
}

/// A slot, which is given back however its run ends.
pub(super) struct SlotGuard {
    queue: Arc<QueueSlots>,
    slot: String,
    /// No run waited for it when the last one had ended.
    is_unused: bool,
}

impl SlotGuard {
    /// Notes that no run waits for the slot.
    pub(super) fn leave_unused(&mut self) {
        self.is_unused = true;
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let QueueSlots { name, bus, .. } = &*self.queue;
        let is_wanted = {
            let mut used = self.queue.used();
            used.held.retain(|held| *held != self.slot);
            if std::thread::panicking() {
                used.broken.push(self.slot.clone());
            }
            std::mem::take(&mut used.is_wanted)
        };
        if self.is_unused && !is_wanted {
            bus.processes_ended();
        } else {
            bus.slot_released(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use onceover_types::{NodeName, RunId, TaskId};

    use super::*;

    fn fence(task: &str) -> Fence {
        Fence {
            task: TaskId::parse(task).unwrap(),
            node: NodeName::parse("demo.node").unwrap(),
            run: RunId::generate(),
            attempt: 1,
            owner: "d#1".into(),
            queue: "cpu".into(),
        }
    }

    /// So many slots of one queue, and what hears when one is free.
    fn slots(count: u32) -> (HeldSlots, EventBus) {
        let slots: Slots = Arc::new([("cpu".to_owned(), count)].into_iter().collect());
        let bus = EventBus::default();
        (HeldSlots::new(&slots, &bus, None), bus)
    }

    /// Whether the daemon would ask the queue for a run, now that its slot is given back.
    async fn is_queue_wanted(bus: &EventBus) -> bool {
        let wanted = tokio::time::timeout(Duration::ZERO, bus.run_wanted()).await;
        wanted.is_ok_and(|wanted| wanted.names("cpu"))
    }

    #[tokio::test]
    async fn a_slot_that_is_handed_over_is_held_without_a_gap_and_given_back_once() {
        let (slots, bus) = slots(2);
        let (first, next) = (fence("t1"), fence("t2"));
        let mut guard = {
            let turn = slots.wait_for_turn("cpu").await.unwrap();
            let guard = turn.occupy(&first);
            assert_eq!(turn.share().running, [first.slot()]);
            guard
        };
        {
            let turn = slots.wait_briefly_for_turn("cpu").await.unwrap();
            turn.hand_over(&mut guard, &next);
            assert_eq!(turn.share().running, [next.slot()]);
            assert_eq!(turn.free(), 1);
        }
        drop(guard);
        assert_eq!(slots.wait_briefly_for_turn("cpu").await.unwrap().free(), 2);
        assert!(is_queue_wanted(&bus).await, "a run may wait for it");
    }

    #[tokio::test]
    async fn a_queue_of_workers_has_the_slots_that_these_have_now_and_is_asked_for_runs_to_join_without_any() {
        let workers = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&workers);
        let count: CountOfWorkers = Arc::new(move |queue: &str| {
            assert_eq!(queue, "celery:demo_queue");
            Some(counted.load(Ordering::Relaxed))
        });
        let slots: Slots = Arc::new(
            [("celery:demo_queue".to_owned(), 0), ("cpu".to_owned(), 0)]
                .into_iter()
                .collect(),
        );
        let slots = HeldSlots::new(&slots, &EventBus::default(), Some(&count));
        let turn = slots.wait_briefly_for_turn("celery:demo_queue").await.unwrap();
        assert_eq!((turn.share().slots, turn.free()), (0, 1));
        workers.store(3, Ordering::Relaxed);
        assert_eq!((turn.share().slots, turn.free()), (3, 3));
        let _guard = turn.occupy(&fence("t1"));
        assert_eq!((turn.share().slots, turn.free()), (3, 2));
        workers.store(1, Ordering::Relaxed);
        assert_eq!((turn.share().slots, turn.free()), (1, 1));
        let cpu = slots.wait_briefly_for_turn("cpu").await.unwrap();
        assert_eq!(cpu.free(), 0);
    }

    #[tokio::test]
    async fn a_run_that_broke_off_in_a_panic_is_not_taken_again() {
        let (slots, _) = slots(1);
        let fence = fence("t1");
        let guard = slots.wait_briefly_for_turn("cpu").await.unwrap().occupy(&fence);
        let broken = tokio::spawn(async move {
            let _guard = guard;
            assert!(std::hint::black_box(false), "a defect");
        });
        assert!(broken.await.is_err());
        let turn = slots.wait_briefly_for_turn("cpu").await.unwrap();
        assert_eq!((turn.free(), turn.share().running), (1, vec![fence.slot()]));
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_at_a_time_takes_runs_of_a_queue_and_an_end_does_not_wait_for_long() {
        let (slots, _) = slots(1);
        let turn = slots.wait_for_turn("cpu").await.unwrap();
        assert!(
            slots.wait_briefly_for_turn("cpu").await.is_none(),
            "a call is not answered"
        );
        assert!(
            slots.wait_briefly_for_turn("gpu").await.is_none(),
            "it has no slots here"
        );
        let answered = async {
            tokio::task::yield_now().await;
            drop(turn);
        };
        let (turn, ()) = tokio::join!(slots.wait_briefly_for_turn("cpu"), answered);
        assert!(turn.is_some(), "the call was answered meanwhile");
    }

    #[tokio::test]
    async fn a_queue_that_was_found_empty_is_looked_at_again_when_something_happens() {
        let (slots, bus) = slots(1);
        let turn = slots.wait_for_turn("cpu").await.unwrap();
        let found = |others_wait, seen| Claims {
            runs: Vec::new(),
            others_wait,
            seen,
        };
        turn.note_empty(&found(false, 7));
        turn.note_empty(&found(true, 9));
        assert_eq!(slots.seen("cpu"), 7, "others waited at the second look");
        let mut guard = turn.occupy(&fence("t1"));
        guard.leave_unused();
        drop(guard);
        assert!(!is_queue_wanted(&bus).await);
        // A run came after the queue was found empty, and before the slot was given back.
        let mut guard = turn.occupy(&fence("t2"));
        guard.leave_unused();
        assert!(!slots.is_free_or_wanted("cpu"));
        drop(guard);
        assert!(is_queue_wanted(&bus).await);
        assert!(slots.is_free_or_wanted("cpu"));
    }
}
