//! One GPU and two masters: while existing workers use the machine's GPU, runs of the class `gpu` that go on here take the
//! same lock as these. It is best effort, as it is for the workers: where the Redis of the lock cannot be reached for a
//! while, runs go on without it.
//!
//! A daemon holds the lock once, however many of its runs use the GPU, renews it while any does, and gives it back with the
//! last one. Runs that workers carry out never take it, since the worker does.

use std::{sync::Arc, time::Duration};

use onceover_celery::{CeleryError, LockHolder, WorkerLock};
use tokio::{
    sync::Mutex,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior},
};

/// The class whose runs use the GPU.
pub const GPU_QUEUE: &str = "gpu";
/// How long this daemon holds the lock, one run after another, before it leaves it to others: workers give up after half an
/// hour.
const LONGEST_TURN: Duration = Duration::from_secs(600);
/// For how long it does. Workers ask every twelve seconds at most.
const BREAK: Duration = Duration::from_secs(15);
/// How long the Redis of the lock may be unreachable before runs go on without the lock, as workers do.
const LONGEST_OUTAGE: Duration = Duration::from_secs(30);

/// The lock, as all runs of this daemon share it.
pub struct GpuLock {
    lock: WorkerLock,
    expiry: Duration,
    state: Mutex<TurnState>,
}

/// How this daemon uses the lock. Locked while Redis is asked, so that a late renewal takes nothing that was given back.
#[derive(Default)]
struct TurnState {
    /// Runs that use the GPU now.
    runs: usize,
    /// Since when it was held with no long break.
    since: Option<Instant>,
    /// When it was given back.
    released: Option<Instant>,
    /// When Redis could not be reached first, and last, with no success between.
    outage: Option<(Instant, Instant)>,
    renewal: Option<AbortHandle>,
}

/// Why a run cannot use the GPU yet.
#[derive(Debug, thiserror::Error)]
pub enum GpuBusy {
    /// Another client has the lock, as the text says, or is given time to take it.
    #[error("{0}")]
    Held(String),
    /// Redis does not answer.
    #[error("{0}")]
    Unreachable(CeleryError),
    /// It does not for so long that runs go on without the lock.
    #[error("{0}")]
    Outage(CeleryError),
}

/// A run's use of the GPU. It is given back by `give_back`, or by a task of the runtime when it is dropped.
pub struct GpuTurn(Option<Arc<GpuLock>>);

impl GpuLock {
    /// Makes what the runs of a daemon share.
    pub fn new(lock: WorkerLock, expiry: Duration) -> Self {
        Self {
            lock,
            expiry,
            state: Mutex::default(),
        }
    }

    /// Takes the lock, or joins the runs of this daemon that have it.
    pub async fn try_take(self: &Arc<Self>) -> Result<GpuTurn, GpuBusy> {
        let mut state = self.state.lock().await;
        if state.is_break(Instant::now()) {
            let why = "left to other workers for a moment, since runs of this daemon have held it for long";
            return Err(GpuBusy::Held(why.into()));
        }
        if state.runs == 0 {
            let holder = match self.lock.take().await {
                Ok(holder) => holder,
                Err(error) if state.note_outage(Instant::now()) => return Err(GpuBusy::Outage(error)),
                Err(error) => return Err(GpuBusy::Unreachable(error)),
            };
            state.outage = None;
            match holder {
                LockHolder::Us => self.begin(&mut state),
                LockHolder::Other { name, .. } => return Err(GpuBusy::Held(format!("held by {name}"))),
            }
        }
        state.runs += 1;
        Ok(GpuTurn(Some(Arc::clone(self))))
    }

    /// Notes that the lock is held, and renews it from now on.
    fn begin(self: &Arc<Self>, state: &mut TurnState) {
        let now = Instant::now();
        let goes_on = state.released.is_some_and(|released| now - released < BREAK);
        if state.since.is_none() || !goes_on {
            state.since = Some(now);
        }
        let renewal = tokio::spawn(Arc::clone(self).renew());
        state.renewal = Some(renewal.abort_handle());
    }

    /// Renews the lock until this task is ended. One that was lost, since its Redis was restarted or a client deleted it, is
    /// taken again if it is free.
    async fn renew(self: Arc<Self>) {
        let mut ticks = tokio::time::interval_at(Instant::now() + self.expiry / 3, self.expiry / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_lost = false;
        loop {
            ticks.tick().await;
            let state = self.state.lock().await;
            let held = self.lock.take().await;
            drop(state);
            match held {
                Ok(LockHolder::Us) => is_lost = false,
                Ok(LockHolder::Other { name, .. }) if !is_lost => {
                    is_lost = true;
                    tracing::warn!(
                        holder = name,
                        "the GPU lock was lost to another holder; the runs that use the GPU go on"
                    );
                }
                Ok(LockHolder::Other { .. }) => {}
                Err(error) => tracing::debug!(%error, "the GPU lock is not renewed"),
            }
        }
    }

    async fn end_turn(&self) {
        let mut state = self.state.lock().await;
        state.runs = state.runs.saturating_sub(1);
        if state.runs > 0 {
            return;
        }
        if let Some(renewal) = state.renewal.take() {
            renewal.abort();
        }
        state.released = Some(Instant::now());
        match self.lock.release().await {
            Ok(true) => {}
            Ok(false) => tracing::debug!("the GPU lock was another's when it was given back"),
            Err(error) => tracing::warn!(%error, "the GPU lock was not given back; it expires by itself"),
        }
    }
}

impl TurnState {
    /// Whether the lock is left to others now, since this daemon has held it for long.
    fn is_break(&self, now: Instant) -> bool {
        let end = self.released.filter(|_| self.runs == 0).unwrap_or(now);
        let was_long = self.since.is_some_and(|since| end - since >= LONGEST_TURN);
        was_long && end + BREAK > now
    }

    /// Notes that Redis could not be reached. Returns whether that is so for long. What was long ago says nothing of now.
    fn note_outage(&mut self, now: Instant) -> bool {
        let known = self.outage.filter(|(_, last)| now - *last < LONGEST_OUTAGE);
        let first = known.map_or(now, |(first, _)| first);
        self.outage = Some((first, now));
        now - first >= LONGEST_OUTAGE
    }
}

impl GpuTurn {
    /// Gives the lock back, if no other run of this daemon uses the GPU.
    pub async fn give_back(mut self) {
        if let Some(lock) = self.0.take() {
            lock.end_turn().await;
        }
    }
}

impl Drop for GpuTurn {
    fn drop(&mut self) {
        // A run that broke off.
        if let Some(lock) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { lock.end_turn().await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_held_for_long_is_left_to_others_for_as_long_as_they_wait_between_two_tries() {
        let start = Instant::now();
        let (soon, late) = (start + LONGEST_TURN / 2, start + LONGEST_TURN);
        let held = |runs, released| TurnState {
            runs,
            since: Some(start),
            released,
            ..TurnState::default()
        };
        assert!(!TurnState::default().is_break(late));
        assert!(!held(1, None).is_break(soon), "other runs may join it");
        assert!(held(1, None).is_break(late), "no run joins it any more");
        assert!(held(0, Some(late)).is_break(late + BREAK / 2));
        assert!(!held(0, Some(late)).is_break(late + BREAK));
        assert!(!held(0, Some(soon)).is_break(late), "it was given back before");
    }

    #[test]
    fn a_redis_that_is_unreachable_for_long_is_waited_for_no_more_and_one_that_was_once_is() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut state = TurnState::default();
        for after in 0..30 {
            assert!(!state.note_outage(start + second * after), "{after} s");
        }
        assert!(state.note_outage(start + second * 30));
        assert!(
            state.note_outage(start + second * 45),
            "the next run does not wait again"
        );
        assert!(!state.note_outage(start + second * 90), "that is another outage");
    }
}
