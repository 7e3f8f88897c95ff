//! Takes runs from the queues as slots allow and watches over each: lease, progress, time limit, cancel, the
//! result. What a run does is its runner's business.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use indexmap::IndexMap;
use onceover_common::{NodeName, TaskId, humane};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    folder::{self, Left, MostLeft},
    life::{self, Quarters},
    log::RunLog,
    run::{Progress, ProgressSink, RunError},
    work::{self, Earlier, Work, Worked},
};
use crate::{
    engine::{Engine, EngineError},
    hub::Queues,
    lack::Lack,
    limits::Limit,
    paths::Hold,
    python::Python,
    store::{Claim, Fence, Measured, Outcome, Reap, StageRecord, StoreError, TaskRecords},
};

/// How the executor works.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// This daemon, as runs are owned by it.
    pub owner: String,
    /// What the marks of this data directory's child processes begin with.
    pub mark: String,
    pub slots: IndexMap<String, u32>,
    pub heartbeat: Duration,
    /// What runs Python programs.
    pub python: Arc<Python>,
    /// Id of the data directory, when files of results go to the object store by themselves.
    pub upload: Option<String>,
    /// How much a run may leave in its folder.
    pub most_left: MostLeft,
}

/// Between two writes of one run's progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// When a run first looks whether it still owns its stage.
const FIRST_BEAT: Duration = Duration::from_millis(100);
/// Between two looks at leases, at most; a quarter of a lease where that is less.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long a look for what has expired may take: with many tasks, most of Redis's time is left to others.
const EXPIRE_LIMIT: Duration = Duration::from_millis(250);
/// Longest wait before a result is written again that Redis does not take.
const COMMIT_WAIT_MAX: Duration = Duration::from_secs(2);
/// Between two checks of the indexes against the records, at most; how long tasks are kept where that is less.
const REPAIR_INTERVAL: Duration = Duration::from_secs(60);

/// A run under way in this daemon.
#[derive(Clone)]
struct Watched {
    log: RunLog,
    /// Look now whether the run still owns its stage.
    nudge: Arc<Notify>,
}

#[derive(Clone)]
pub struct Executor(Arc<Inner>);

struct Inner {
    engine: Engine,
    options: Arc<ExecutorOptions>,
    watched: Mutex<HashMap<(TaskId, NodeName), Watched>>,
    /// Runs under way here by queue. Other daemons may hold slots too, but with as many as there are nobody need ask.
    held: Mutex<HashMap<String, u32>>,
    draining: CancellationToken,
    drained: CancellationToken,
    stop: CancellationToken,
}

impl Executor {
    pub fn new(engine: Engine, options: ExecutorOptions) -> Self {
        Self(Arc::new(Inner {
            engine,
            options: Arc::new(options),
            watched: Mutex::default(),
            held: Mutex::default(),
            draining: CancellationToken::new(),
            drained: CancellationToken::new(),
            stop: CancellationToken::new(),
        }))
    }

    pub fn slots(&self) -> &IndexMap<String, u32> {
        &self.0.options.slots
    }

    /// The log of a run under way here, which tells when it grows.
    pub fn live_log(&self, task: &TaskId, node: &NodeName) -> Option<RunLog> {
        let watched = self.0.watched.lock().expect("no thread panics with the list of runs");
        watched.get(&(task.clone(), node.clone())).map(|run| run.log.clone())
    }

    /// Takes no more runs; `run` returns once those under way have ended.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// No run is under way any more.
    pub async fn drained(&self) {
        self.0.drained.cancelled().await;
    }

    /// Ends every run and hands it back; `run` returns once all are gone.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Works until stopped.
    pub async fn run(self) {
        let inner = self.0;
        let mut runs = JoinSet::new();
        let mut nudges = inner.engine.hub.nudges();
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL.min(inner.engine.store.options().lease / 4));
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let repair = REPAIR_INTERVAL.min(inner.engine.store.options().ttl);
        let mut repaired: Option<Instant> = None;
        let mut draining = false;
        loop {
            if draining && runs.is_empty() {
                inner.drained.cancel();
                break;
            }
            tokio::select! {
                () = inner.stop.cancelled() => break,
                () = inner.draining.cancelled(), if !draining => draining = true,
                wanted = inner.engine.hub.run_wanted() => inner.claim_all(&wanted, &mut runs).await,
                Some(_) = runs.join_next(), if !runs.is_empty() => {}
                nudge = nudges.recv() => inner.nudge(nudge.ok().as_ref()),
                _ = sweep.tick() => {
                    inner.reap_expired().await;
                    inner.look_at_watched().await;
                    inner.keep_house().await;
                    if repaired.is_none_or(|at| at.elapsed() >= repair) && inner.redis_settled() {
                        match inner.engine.store.repair().await {
                            Ok(()) => {
                                repaired = Some(Instant::now());
                                inner.engine.hub.outbox_grew();
                            }
                            Err(error) => tracing::debug!(%error, "indexes not checked"),
                        }
                    }
                    inner.claim_all(&Queues::All, &mut runs).await;
                }
            }
        }
        while runs.join_next().await.is_some() {}
        for queue in inner.options.slots.keys() {
            if let Err(error) = inner
                .engine
                .store
                .reap(queue, Reap::HandedBack(&inner.options.owner))
                .await
            {
                tracing::warn!(%error, queue, "runs could not be handed back; their lease will run out");
            }
        }
    }
}

impl Inner {
    /// Redis has been there for a whole lease, so that every owner could say that its runs go on.
    fn redis_settled(&self) -> bool {
        let since = *self.engine.hub.connected().borrow();
        since.is_some_and(|since| since.elapsed() >= self.engine.store.options().lease)
    }

    async fn reap_expired(&self) {
        if !self.redis_settled() {
            return;
        }
        for queue in self.options.slots.keys() {
            match self.engine.store.reap(queue, Reap::Expired).await {
                Ok(0) => {}
                Ok(count) => tracing::warn!(queue, count, "took back runs that were not heard of"),
                Err(error) => return tracing::debug!(%error, "leases not looked at"),
            }
        }
    }

    async fn look_at_watched(&self) {
        match self.engine.look_at_watched().await {
            Err(EngineError::Store(StoreError::Unavailable(error))) => {
                tracing::debug!(error, "stages of other workers not looked at");
            }
            Err(error) => tracing::error!(%error, "a stage of another worker cannot be looked at"),
            Ok(()) => {}
        }
    }

    /// Forgets what has expired, and looks how full Redis is.
    async fn keep_house(&self) {
        let store = &self.engine.store;
        let kept = async {
            store.look_at_memory().await?;
            store.expire(EXPIRE_LIMIT).await
        };
        if let Err(error) = kept.await {
            tracing::debug!(%error, "what has expired is not forgotten yet");
        }
    }

    fn nudge(&self, task: Option<&TaskId>) {
        let watched = self.watched.lock().expect("no thread panics with the list of runs");
        for ((of, _), run) in watched.iter() {
            if task.is_none_or(|task| task == of) {
                run.nudge.notify_one();
            }
        }
    }

    async fn claim_all(self: &Arc<Self>, wanted: &Queues, runs: &mut JoinSet<()>) {
        for (queue, slots) in &self.options.slots {
            if wanted.names(queue) && self.held(queue, |held| *held) >= *slots {
                Limit::RunsAtOnce.reached();
            }
            while wanted.contains(queue) && self.held(queue, |held| *held) < *slots {
                if self.stop.is_cancelled() || self.draining.is_cancelled() {
                    return;
                }
                match self.engine.store.claim(queue, *slots, &self.options.owner).await {
                    Ok(Some(claim)) => {
                        let held = self.held(queue, |held| {
                            *held += 1;
                            *held
                        });
                        if claim.others_wait && held >= *slots {
                            Limit::RunsAtOnce.reached();
                        }
                        let inner = Arc::clone(self);
                        runs.spawn(inner.take(queue.clone(), claim));
                    }
                    Ok(None) => break,
                    Err(error) => return tracing::debug!(%error, queue, "no run taken"),
                }
            }
        }
    }

    fn held<T>(&self, queue: &str, with: impl FnOnce(&mut u32) -> T) -> T {
        let mut held = self.held.lock().expect("no thread panics with the counts of runs");
        match held.get_mut(queue) {
            Some(held) => with(held),
            None => with(held.entry(queue.to_owned()).or_default()),
        }
    }

    /// Runs what was taken from the queue to its end.
    async fn take(self: Arc<Self>, queue: String, claim: Claim) {
        /// Gives the place back however the run ends.
        struct Place(Arc<Inner>, String);
        impl Drop for Place {
            fn drop(&mut self) {
                self.0.held(&self.1, |held| *held -= 1);
                self.0.engine.hub.slot_released(&self.1);
            }
        }
        let _place = Place(Arc::clone(&self), queue);
        self.supervise(claim).await;
    }

    async fn supervise(self: Arc<Self>, claim: Claim) {
        let Claim {
            task,
            node,
            record,
            records,
            others_wait: _,
        } = claim;
        let Some(run) = record.run() else {
            tracing::error!(task_id = %task, task_name = %node, "a claimed record has no run id");
            return;
        };
        let fence = Fence {
            task: task.clone(),
            node: node.clone(),
            run,
            attempt: record.attempt(),
            owner: self.options.owner.clone(),
            queue: record.queue().to_owned(),
        };
        let known = self.engine.catalog.get(node.as_str());
        life::log_start(&fence, known.map_or("none", |node| node.runner.kind()));
        let start = Instant::now();
        let (ended, left) = self.attend(&fence, &record, &records).await;
        self.engine
            .metrics
            .ran(known.map(|node| node.name.as_str()), ended.as_str(), start.elapsed());
        let measured = left.measured;
        match ended {
            Ended::With(outcome) => {
                let took = start.elapsed();
                if self.commit(&fence, &outcome, &measured).await {
                    life::log_end(&fence, &outcome, took, &record);
                }
            }
            Ended::Lost => {
                tracing::info!(task_id = %task, task_name = %node, run_id = %fence.run, "run no longer owns its stage");
                if let Err(error) = self.engine.store.release(&fence, &measured).await {
                    tracing::warn!(%error, run_id = %fence.run, "a slot was not given back; its lease will run out");
                }
            }
            // Handed back with all others, when the executor has stopped.
            Ended::Stopped => {
                tracing::info!(task_id = %task, task_name = %node, run_id = %fence.run, "run handed back");
            }
        }
        self.watched
            .lock()
            .expect("no thread panics with the list of runs")
            .remove(&(task, node));
    }

    /// Runs the node and keeps its lease, until it has ended one way or another and no process is left.
    async fn attend(&self, fence: &Fence, record: &StageRecord, records: &TaskRecords) -> (Ended, Left) {
        let Some(spec) = self.engine.catalog.shared(fence.node.as_str()) else {
            let error = format!("there is no node '{}' any more; the catalog has changed", fence.node);
            return (Ended::failed(error), Left::default());
        };
        let (_hold, log) = match self.open_folder(fence).await {
            Ok(opened) => opened,
            Err(ended) => return (ended, Left::default()),
        };
        let nudge = Arc::new(Notify::new());
        let watched = Watched {
            log: log.clone(),
            nudge: Arc::clone(&nudge),
        };
        self.watched
            .lock()
            .expect("no thread panics with the list of runs")
            .insert((fence.task.clone(), fence.node.clone()), watched);

        let cancel = CancellationToken::new();
        let (sink, mut progress) = ProgressSink::new();
        let (began, counted_from) = watch::channel(Instant::now());
        let work = Work {
            engine: self.engine.clone(),
            options: Arc::clone(&self.options),
            fence: fence.clone(),
            spec: Arc::clone(spec),
            earlier: Earlier::new(&self.engine, fence, record, records),
            dir: self.engine.task_folder(&fence.task).join(fence.folder()),
            log: log.clone(),
            progress: sink,
            cancel: cancel.clone(),
            began,
        };
        // On a task of its own: waiting for Redis must not hold up reading a program's output.
        let mut work = tokio::spawn(work.run());
        // Soon once, because a cancel just after the run was taken found nobody to tell; most short runs need none.
        let first = Instant::now() + FIRST_BEAT.min(self.options.heartbeat);
        let mut beat = tokio::time::interval_at(first, self.options.heartbeat);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let time_limit = Duration::from_secs(spec.timeout_seconds);
        let deadline = tokio::time::sleep(time_limit);
        let limit = humane::duration(time_limit);
        tokio::pin!(deadline);
        let mut interrupted: Option<Interrupt> = None;
        let mut told = Progress::default();
        let mut quarters = Quarters::default();
        let mut next_report = Instant::now();
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                () = &mut deadline, if interrupted.is_none() => {
                    // What it waited for the machine does not count.
                    let due = *counted_from.borrow() + time_limit;
                    if due > Instant::now() {
                        deadline.as_mut().reset(due);
                        continue;
                    }
                    interrupted = Some(Interrupt::TimedOut);
                    log.line(&format!("time limit of {limit} reached, ending the run"));
                    cancel.cancel();
                    continue;
                }
                () = self.stop.cancelled(), if interrupted.is_none() => {
                    interrupted = Some(Interrupt::Stopped);
                    log.line("the daemon is stopping, ending the run");
                    cancel.cancel();
                    continue;
                }
                _ = beat.tick() => {}
                () = nudge.notified() => {}
                changed = async {
                    tokio::time::sleep_until(next_report).await;
                    progress.changed().await
                } => {
                    if changed.is_err() {
                        // The runner is done with reporting; its result comes.
                        next_report = Instant::now() + Duration::from_secs(3600);
                        continue;
                    }
                    next_report = Instant::now() + PROGRESS_INTERVAL;
                }
            }
            let now = progress.borrow_and_update().clone();
            let news = (now != told).then_some(&now);
            let percent = news.map(|progress| progress.percent);
            let message = news.and_then(|progress| progress.message.as_deref());
            match self.engine.store.beat(fence, percent, message).await {
                Ok(true) => {
                    quarters.log(fence, &now);
                    told = now;
                }
                Ok(false) if interrupted.is_none() => {
                    interrupted = Some(Interrupt::Lost);
                    log.line("cancelled, ending the run");
                    cancel.cancel();
                }
                Ok(false) => interrupted = Some(Interrupt::Lost),
                // The run goes on; the lease is renewed when Redis is back.
                Err(error) => tracing::debug!(%error, "lease not renewed"),
            }
        };
        let Worked { result, left } = result.unwrap_or_else(|error| Worked {
            result: Err(RunError::failed(format!("the node's task ended unexpectedly: {error}"))),
            left: Left::default(),
        });
        let ended = match (interrupted, result) {
            (Some(Interrupt::Lost), _) => Ended::Lost,
            (_, Ok(outcome)) => Ended::With(outcome),
            (Some(Interrupt::TimedOut), Err(_)) => {
                Ended::failed(format!("it took longer than its time limit of {limit} and was ended"))
            }
            (Some(Interrupt::Stopped), Err(RunError::Interrupted)) => Ended::Stopped,
            (_, Err(RunError::Interrupted)) => {
                Ended::failed("the node stopped as if cancelled, but no cancel was requested".into())
            }
            (_, Err(RunError::Failed(message) | RunError::Lacking { message, .. })) => Ended::failed(message),
        };
        (ended, left)
    }

    /// Holds the task's folder and makes the run's, as soon as the machine has what that needs. The lease is kept meanwhile.
    async fn open_folder(&self, fence: &Fence) -> Result<(Hold, RunLog), Ended> {
        let mut wait = work::FIRST_WAIT;
        loop {
            let task_folder = self.engine.task_folder(&fence.task);
            let dir = task_folder.join(fence.folder());
            let error = match folder::open(task_folder, fence).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            let text = format!("the run's folder {} could not be made: {error}", dir.display());
            let Some(lack) = Lack::in_preparing(&error) else {
                return Err(Ended::failed(text));
            };
            Limit::MachineResources.reached();
            if wait == work::FIRST_WAIT {
                tracing::warn!(run_id = %fence.run, "a run waits for {lack}: {text}");
            }
            let message = format!("waiting for {lack}: {error}");
            match self.engine.store.beat(fence, Some(0.0), Some(&message)).await {
                Ok(true) => {}
                Ok(false) => return Err(Ended::Lost),
                Err(error) => tracing::debug!(%error, "lease not renewed"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(Ended::Stopped),
                () = tokio::time::sleep(wait.min(self.options.heartbeat)) => {}
            }
            wait = (wait * 2).min(work::LONGEST_WAIT);
        }
    }

    /// Writes how the run ended, however long Redis is away or does not take it; then links the winner's files. Returns
    /// whether that counts.
    async fn commit(&self, fence: &Fence, outcome: &Outcome, measured: &Measured) -> bool {
        let mut wait = Duration::from_millis(100);
        let mut told = None;
        loop {
            match self.engine.store.finish(fence, outcome, measured).await {
                Ok(true) => {
                    if let Outcome::Success { warnings, .. } = outcome {
                        self.engine.metrics.warned(fence.node.as_str(), warnings);
                        if let Err(error) = folder::link_winner(&self.engine.task_folder(&fence.task), fence) {
                            tracing::warn!(%error, task_id = %fence.task, task_name = %fence.node, "the nodes/ link was not set");
                        }
                    }
                    return true;
                }
                Ok(false) => {
                    tracing::info!(
                        task_id = %fence.task,
                        task_name = %fence.node,
                        run_id = %fence.run,
                        "a late result was dropped"
                    );
                    return false;
                }
                Err(StoreError::Unavailable(error)) => {
                    tracing::warn!(error, run_id = %fence.run, "a result waits for Redis");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(COMMIT_WAIT_MAX);
                }
                Err(error) => {
                    // What is damaged can be mended, so the result is kept for as long as the run owns its stage.
                    let text = error.to_string();
                    if told.as_ref() != Some(&text) {
                        tracing::error!(%error, task_id = %fence.task, task_name = %fence.node, run_id = %fence.run,
                            "a result cannot be written; it is tried again (`onceoverd check --repair` mends records)");
                        told = Some(text);
                    }
                    let message = format!("its result cannot be written yet: {error}");
                    // No answer says no more than the write did.
                    let _ = self.engine.store.beat(fence, None, Some(&message)).await;
                    tokio::select! {
                        // Handed back with all others.
                        () = self.stop.cancelled() => return false,
                        () = tokio::time::sleep(wait) => {}
                    }
                    wait = (wait * 2).min(COMMIT_WAIT_MAX.min(self.options.heartbeat));
                }
            }
        }
    }
}

/// How a run ended, for its stage.
enum Ended {
    With(Outcome),
    /// Cancelled, deleted or superseded: nothing to write, the slot to give back.
    Lost,
    /// This daemon is stopping.
    Stopped,
}

impl Ended {
    fn failed(error: String) -> Self {
        Self::With(Outcome::Failed { error })
    }

    fn as_str(&self) -> &'static str {
        match self {
            Self::With(Outcome::Success { .. }) => "succeeded",
            Self::With(Outcome::Failed { .. }) => "failed",
            Self::Lost => "lost",
            Self::Stopped => "handed_back",
        }
    }
}

#[derive(Clone, Copy)]
enum Interrupt {
    Lost,
    TimedOut,
    Stopped,
}
