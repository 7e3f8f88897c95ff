//! The watch over one run: renews its lease, writes its progress, and ends it on its time limit, on cancel and when the
//! daemon stops. It never runs anything itself: the work goes on beside it, on a separate task.

use std::{sync::Arc, time::Duration};

use onceover_run::{Progress, RunError, log::RunLog};
use onceover_store::{Fence, Outcome, RequeuedRun, Store};
use onceover_types::{NodeName, humane};
use tokio::{
    sync::{Notify, watch},
    task::{JoinError, JoinHandle},
    time::{Instant, Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::{folder::Left, life::Quarters, work::Worked};

/// Between two writes of one run's progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// When a run first finds out whether it still owns its stage.
const FIRST_HEARTBEAT: Duration = Duration::from_millis(100);
/// For how long no progress is waited for once the runner reports none any more.
const NO_PROGRESS: Duration = Duration::from_secs(3600);

/// How a run ended, for its stage.
pub(super) enum RunEnd {
    With(Outcome),
    /// Cancelled, deleted or superseded: nothing to write, the slot to give back.
    Lost,
    /// It goes back to a queue, and begins again from there.
    Requeued(RequeuedRun),
    /// This daemon is stopping.
    Stopped,
}

impl RunEnd {
    pub(super) fn failed(error: String) -> Self {
        let took = Vec::new();
        Self::With(Outcome::Failed { error, took })
    }

    /// Adds the stages that a run took from to its failure: the result of a success names them itself.
    fn with_sources(mut self, sources: Vec<NodeName>) -> Self {
        if let Self::With(Outcome::Failed { took, .. }) = &mut self {
            *took = sources;
        }
        self
    }

    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::With(Outcome::Success { .. }) => "succeeded",
            Self::With(Outcome::Failed { .. }) => "failed",
            Self::Lost => "lost",
            Self::Requeued(_) => "requeued",
            Self::Stopped => "handed_back",
        }
    }
}

/// Why a run was ended before its work had.
#[derive(Clone, Copy)]
enum Interrupt {
    Lost,
    TimedOut,
    Stopped,
}

/// What happens while a run is under way.
enum RunEvent {
    /// The work has ended; the error is a panic.
    Ended(Box<Result<Worked, JoinError>>),
    DeadlineReached,
    /// The daemon stops.
    Stopping,
    /// The lease is to be renewed.
    HeartbeatDue,
    /// Another client has changed the stage.
    Changed,
    Progressed,
    /// The runner reports no progress any more; its result comes.
    ProgressClosed,
}

/// What a watch needs of a run.
pub(super) struct WatchedRun<'a> {
    pub(super) store: &'a Store,
    pub(super) fence: &'a Fence,
    pub(super) heartbeat: Duration,
    pub(super) time_limit: Duration,
    /// Cancelled when the daemon stops.
    pub(super) stop: &'a CancellationToken,
    pub(super) recheck: Arc<Notify>,
    pub(super) log: RunLog,
    /// Ends the work.
    pub(super) cancel: CancellationToken,
    pub(super) progress: watch::Receiver<Progress>,
    /// Since when the time limit counts: what a run waited for the machine does not.
    pub(super) counted_from: watch::Receiver<Instant>,
}

/// A run that is watched.
pub(super) struct RunWatch<'a> {
    run: WatchedRun<'a>,
    heartbeat: Interval,
    deadline: Instant,
    interrupted: Option<Interrupt>,
    /// What Redis knows of the progress.
    written: Progress,
    quarters: Quarters,
    /// When progress is written next, at the earliest.
    next_report: Instant,
}

impl<'a> RunWatch<'a> {
    pub(super) fn begin(run: WatchedRun<'a>) -> Self {
        // Soon once, because a cancel just after the run was taken found nobody to tell; most short runs need none.
        let first = Instant::now() + FIRST_HEARTBEAT.min(run.heartbeat);
        let mut heartbeat = tokio::time::interval_at(first, run.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            heartbeat,
            deadline: Instant::now() + run.time_limit,
            interrupted: None,
            written: Progress::default(),
            quarters: Quarters::default(),
            next_report: Instant::now(),
            run,
        }
    }

    /// Watches until the work has ended.
    pub(super) async fn run(mut self, mut work: JoinHandle<Worked>) -> (RunEnd, Left) {
        loop {
            match self.next_event(&mut work).await {
                RunEvent::Ended(worked) => return self.conclude(*worked),
                event => self.handle(event).await,
            }
        }
    }

    async fn next_event(&mut self, work: &mut JoinHandle<Worked>) -> RunEvent {
        let goes_on = self.interrupted.is_none();
        let (next_report, progress) = (self.next_report, &mut self.run.progress);
        tokio::select! {
            biased;
            worked = work => RunEvent::Ended(Box::new(worked)),
            () = tokio::time::sleep_until(self.deadline), if goes_on => RunEvent::DeadlineReached,
            () = self.run.stop.cancelled(), if goes_on => RunEvent::Stopping,
            _ = self.heartbeat.tick() => RunEvent::HeartbeatDue,
            () = self.run.recheck.notified() => RunEvent::Changed,
            changed = async {
                // A timer for what is past already would wake the watch of every run once more.
                if next_report > Instant::now() {
                    tokio::time::sleep_until(next_report).await;
                }
                progress.changed().await
            } => match changed {
                Ok(()) => RunEvent::Progressed,
                Err(_) => RunEvent::ProgressClosed,
            },
        }
    }

    async fn handle(&mut self, event: RunEvent) {
        match event {
            // `run` takes it.
            RunEvent::Ended(_) => {}
            RunEvent::DeadlineReached => {
                let due = *self.run.counted_from.borrow() + self.run.time_limit;
                if due > Instant::now() {
                    self.deadline = due;
                } else {
                    let limit = humane::duration(self.run.time_limit);
                    let why = format!("time limit of {limit} reached, ending the run");
                    self.interrupt(Interrupt::TimedOut, &why);
                }
            }
            RunEvent::Stopping => self.interrupt(Interrupt::Stopped, "the daemon is stopping, ending the run"),
            RunEvent::ProgressClosed => self.next_report = Instant::now() + NO_PROGRESS,
            RunEvent::Progressed => {
                self.next_report = Instant::now() + PROGRESS_INTERVAL;
                self.send_heartbeat().await;
            }
            RunEvent::HeartbeatDue | RunEvent::Changed => self.send_heartbeat().await,
        }
    }

    fn interrupt(&mut self, interrupt: Interrupt, why: &str) {
        self.interrupted = Some(interrupt);
        self.run.log.line(why);
        self.run.cancel.cancel();
    }

    /// Renews the lease and writes the progress, if the run still owns its stage.
    async fn send_heartbeat(&mut self) {
        let now = self.run.progress.borrow_and_update().clone();
        let news = (now != self.written).then_some(&now);
        let percent = news.map(|progress| progress.percent);
        let message = news.and_then(|progress| progress.message.as_deref());
        match self.run.store.heartbeat(self.run.fence, percent, message).await {
            Ok(true) => {
                self.quarters.log(self.run.fence, &now);
                self.written = now;
            }
            Ok(false) if self.interrupted.is_none() => self.interrupt(Interrupt::Lost, "cancelled, ending the run"),
            Ok(false) => self.interrupted = Some(Interrupt::Lost),
            // The run goes on; the lease is renewed when Redis is back.
            Err(error) => tracing::debug!(%error, "lease not renewed"),
        }
    }

    fn conclude(&self, worked: Result<Worked, JoinError>) -> (RunEnd, Left) {
        let Worked {
            result,
            took,
            left,
            requeue,
        } = worked.unwrap_or_else(|error| Worked {
            result: Err(RunError::failed(format!("the node's task ended unexpectedly: {error}"))),
            took: Vec::new(),
            left: Left::default(),
            requeue: None,
        });
        if let Some(to) = requeue
            && !matches!(self.interrupted, Some(Interrupt::Lost | Interrupt::TimedOut))
        {
            return (RunEnd::Requeued(to), left);
        }
        let ended = match (self.interrupted, result) {
            (Some(Interrupt::Lost), _) => RunEnd::Lost,
            (_, Ok(outcome)) => RunEnd::With(outcome),
            (Some(Interrupt::TimedOut), Err(_)) => RunEnd::failed(format!(
                "it took longer than its time limit of {} and was ended",
                humane::duration(self.run.time_limit)
            )),
            (Some(Interrupt::Stopped), Err(RunError::Interrupted)) => RunEnd::Stopped,
            (_, Err(RunError::Interrupted)) => {
                RunEnd::failed("the node stopped as if cancelled, but no cancel was requested".into())
            }
            (_, Err(RunError::Failed(message) | RunError::Lacking { message, .. })) => RunEnd::failed(message),
        };
        (ended.with_sources(took), left)
    }
}
