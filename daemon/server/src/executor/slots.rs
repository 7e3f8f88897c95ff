//! The slots that runs of this daemon hold, by queue, and whose turn it is to take more. Other daemons may hold slots too: how
//! many are free over all is decided in Redis, but with as many as there are nobody need ask.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use onceover_store::{Fence, QueueShare};

use crate::{events::EventBus, services::Slots};

/// What this daemon holds of each queue.
pub(super) struct HeldSlots {
    bus: EventBus,
    queues: HashMap<String, QueueSlots>,
}

struct QueueSlots {
    slots: u32,
    /// The slots that are held, as [`Fence::slot`] names them.
    held: Mutex<Vec<String>>,
    /// Locked while runs are taken: until their slots are in `held`, a second call would take them for lost ones.
    turn: tokio::sync::Mutex<()>,
}

impl QueueSlots {
    fn held(&self) -> MutexGuard<'_, Vec<String>> {
        self.held.lock().expect("no thread panics with the slots")
    }

    fn free(&self) -> u32 {
        let held = u32::try_from(self.held().len()).unwrap_or(u32::MAX);
        self.slots.saturating_sub(held)
    }
}

impl HeldSlots {
    pub(super) fn new(slots: &Slots, bus: EventBus) -> Self {
        let of_queue = |(name, slots): (&String, &u32)| {
            let queue = QueueSlots {
                slots: *slots,
                held: Mutex::default(),
                turn: tokio::sync::Mutex::default(),
            };
            (name.clone(), queue)
        };
        Self {
            bus,
            queues: slots.iter().map(of_queue).collect(),
        }
    }

    /// How many more runs of a queue may go on here.
    pub(super) fn free(&self, queue: &str) -> u32 {
        self.queues.get(queue).map_or(0, QueueSlots::free)
    }

    /// Waits for the turn to take runs of a queue. Returns `None` for a queue that has no slots here.
    pub(super) async fn wait_for_turn(self: &Arc<Self>, queue: &str) -> Option<ClaimTurn<'_>> {
        let (name, slots) = self.queues.get_key_value(queue)?;
        Some(ClaimTurn {
            all: self,
            name,
            queue: slots,
            _turn: slots.turn.lock().await,
        })
    }

    /// Takes the turn, unless another call has it: an end waits for nobody.
    pub(super) fn try_turn(self: &Arc<Self>, queue: &str) -> Option<ClaimTurn<'_>> {
        let (name, slots) = self.queues.get_key_value(queue)?;
        Some(ClaimTurn {
            all: self,
            name,
            queue: slots,
            _turn: slots.turn.try_lock().ok()?,
        })
    }
}

/// The turn to take runs of a queue, which one call has at a time, from what it sends of the slots that are held until what it
/// took holds some.
pub(super) struct ClaimTurn<'a> {
    all: &'a Arc<HeldSlots>,
    name: &'a str,
    queue: &'a QueueSlots,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl ClaimTurn<'_> {
    pub(super) fn free(&self) -> u32 {
        self.queue.free()
    }

    /// What is to be sent of the queue.
    pub(super) fn share(&self) -> QueueShare {
        QueueShare {
            slots: self.queue.slots,
            running: self.queue.held().clone(),
        }
    }

    /// Gives a run that was taken its slot.
    pub(super) fn occupy(&self, fence: &Fence) -> SlotGuard {
        let slot = fence.slot();
        self.queue.held().push(slot.clone());
        SlotGuard {
            all: Arc::clone(self.all),
            queue: self.name.to_owned(),
            slot,
        }
    }

    /// Gives the slot of a run that has ended to the run that was taken with its end.
    pub(super) fn hand_over(&self, guard: &mut SlotGuard, next: &Fence) {
        let slot = next.slot();
        let mut held = self.queue.held();
        if let Some(former) = held.iter_mut().find(|held| **held == guard.slot) {
            former.clone_from(&slot);
        }
        guard.slot = slot;
    }
}

/// A slot, which is given back however its run ends.
pub(super) struct SlotGuard {
    all: Arc<HeldSlots>,
    queue: String,
    slot: String,
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        if let Some(queue) = self.all.queues.get(&self.queue) {
            queue.held().retain(|held| *held != self.slot);
        }
        self.all.bus.slot_released(&self.queue);
    }
}

#[cfg(test)]
mod tests {
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

    fn slots(count: u32) -> Arc<HeldSlots> {
        let slots: Slots = Arc::new([("cpu".to_owned(), count)].into_iter().collect());
        Arc::new(HeldSlots::new(&slots, EventBus::default()))
    }

    #[tokio::test]
    async fn a_slot_that_is_handed_over_is_held_without_a_gap_and_given_back_once() {
        let slots = slots(2);
        let (first, next) = (fence("t1"), fence("t2"));
        let mut guard = {
            let turn = slots.wait_for_turn("cpu").await.unwrap();
            let guard = turn.occupy(&first);
            assert_eq!(turn.share().running, [first.slot()]);
            guard
        };
        {
            let turn = slots.try_turn("cpu").unwrap();
            turn.hand_over(&mut guard, &next);
            assert_eq!(turn.share().running, [next.slot()]);
            assert_eq!(turn.free(), 1);
        }
        drop(guard);
        assert_eq!(slots.free("cpu"), 2);
    }

    #[tokio::test]
    async fn one_call_at_a_time_takes_runs_of_a_queue_and_an_end_waits_for_none() {
        let slots = slots(1);
        let turn = slots.wait_for_turn("cpu").await.unwrap();
        assert!(slots.try_turn("cpu").is_none());
        assert!(slots.try_turn("gpu").is_none(), "it has no slots here");
        drop(turn);
        assert!(slots.try_turn("cpu").is_some());
    }
}
