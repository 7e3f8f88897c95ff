//! Takes runs from the queues as slots allow and watches over each: lease, progress, time limit, cancel, the
//! result. What a run does is its runner's business.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use onceover_types::{NodeName, TaskId};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

pub use super::work::RunSupplies;
use super::{
    folder::{self, FormerContent, Left, MostLeft},
    give_back::give_back,
    life,
    slots::{ClaimTurn, CountOfWorkers, HeldSlots, SlotGuard},
    watch::{RunEnd, RunWatch, WatchedRun},
    work::{RunRequest, Work},
};
use crate::{
    events::{EventBus, WantedQueues},
    metrics::Metrics,
    python::Python,
    run_wait::{Backoff, FIRST_WAIT},
    services::{ForeignStages, ServiceError, Slots, task_folder},
};
use onceover_limits::{Limit, lack::Lack};
use onceover_run::paths::TaskLock;
use onceover_run::{Programs, ProgressSink, log::RunLog};
use onceover_store::{Claim, Fence, Outcome, Reap, StageRecord, Store, StoreError};

/// How the executor works.
#[derive(Clone)]
pub struct ExecutorOptions {
    /// This daemon, as runs are owned by it.
    pub owner: String,
    /// What the marks of this data directory's child processes begin with.
    pub mark: String,
    pub slots: Slots,
    pub heartbeat: Duration,
    /// How long a program may take to end after it was asked to.
    pub grace: Duration,
    /// What starts the programs of runs.
    pub programs: Arc<dyn Programs>,
    /// What runs Python programs.
    pub python: Arc<Python>,
    /// Id of the data directory, when files of results go to the object store by themselves.
    pub upload: Option<String>,
    /// How much a run may leave in its folder.
    pub most_left: MostLeft,
}

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
struct ActiveRun {
    log: RunLog,
    /// Asks its watch to find out now whether the run still owns its stage.
    recheck: Arc<Notify>,
}

#[derive(Clone)]
pub struct Executor(Arc<Inner>);

/// What the executor works with.
pub struct ExecutorParts {
    pub store: Store,
    pub bus: EventBus,
    pub metrics: Metrics,
    pub foreign: Arc<ForeignStages>,
    /// What runs need.
    pub supplies: Arc<RunSupplies>,
}

struct Inner {
    parts: ExecutorParts,
    options: Arc<ExecutorOptions>,
    active: Mutex<BTreeMap<(TaskId, NodeName), ActiveRun>>,
    slots: HeldSlots,
    draining: CancellationToken,
    drained: CancellationToken,
    stop: CancellationToken,
}

impl Executor {
    pub fn new(parts: ExecutorParts, options: ExecutorOptions) -> Self {
        let dispatcher = Arc::clone(&parts.supplies.dispatcher);
        let of_workers: CountOfWorkers = Arc::new(move |queue: &str| dispatcher.count_slots(queue));
        let slots = HeldSlots::new(&options.slots, &parts.bus, Some(&of_workers));
        Self(Arc::new(Inner {
            parts,
            options: Arc::new(options),
            active: Mutex::default(),
            slots,
            draining: CancellationToken::new(),
            drained: CancellationToken::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// The log of a run under way here, which tells when it grows.
    pub fn live_log(&self, task: &TaskId, node: &NodeName) -> Option<RunLog> {
        let active = self.0.active.lock().expect("no thread panics with the list of runs");
        active.get(&(task.clone(), node.clone())).map(|run| run.log.clone())
    }

    /// Lists the runs under way here, at most so many. Returns with them how many there are in all.
    pub fn list_active(&self, most: usize) -> (Vec<(TaskId, NodeName)>, usize) {
        let active = self.0.active.lock().expect("no thread panics with the list of runs");
        (active.keys().take(most).cloned().collect(), active.len())
    }

    /// Takes no more runs; `run` returns once those under way have ended.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// No run is under way any more.
    pub async fn drained(&self) {
        self.0.drained.cancelled().await;
    }

    /// Ends every run and hands it back; `run` returns once all have ended.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Works until stopped.
    pub async fn run(self) {
        let inner = self.0;
        let mut runs = JoinSet::new();
        let mut rechecks = inner.parts.bus.rechecks();
        // Beside the loop: a check of many records takes long, and runs begin meanwhile. On a separate task, since what the
        // loop waits for may be held by a sweep that nobody polls; it ends when this is dropped.
        let mut sweeps = JoinSet::new();
        sweeps.spawn(Arc::clone(&inner).sweep_regularly());
        // A claim whose answer was lost is answered again.
        let mut claims = inner.sweep_ticks();
        let mut draining = false;
        loop {
            if draining && runs.is_empty() {
                inner.drained.cancel();
                break;
            }
            tokio::select! {
                biased;
                () = inner.stop.cancelled() => break,
                () = inner.draining.cancelled(), if !draining => draining = true,
                Some(_) = runs.join_next(), if !runs.is_empty() => {}
                task = rechecks.recv() => inner.recheck_runs(task.ok().as_ref()),
                _ = claims.tick() => inner.claim_all(&WantedQueues::All, &mut runs).await,
                // Last: there may always be one more.
                wanted = inner.parts.bus.run_wanted() => inner.claim_all(&wanted, &mut runs).await,
            }
        }
        sweeps.shutdown().await;
        let ended = async { while runs.join_next().await.is_some() {} };
        tokio::join!(ended, inner.parts.supplies.warm.shut_down());
        inner.hand_back().await;
    }
}

impl Inner {
    /// Ticks as often as leases are looked at.
    fn sweep_ticks(&self) -> Interval {
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL.min(self.parts.store.options().lease / 4));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// Sweeps until it is aborted.
    async fn sweep_regularly(self: Arc<Self>) {
        let mut ticks = self.sweep_ticks();
        let mut repaired = None;
        loop {
            ticks.tick().await;
            self.sweep(&mut repaired).await;
        }
    }

    /// Takes back what has expired, forgets what is to be forgotten, and checks the indexes once in a while: `repaired` is
    /// when they were checked last.
    async fn sweep(&self, repaired: &mut Option<Instant>) {
        self.reap_expired().await;
        self.look_at_watched().await;
        self.keep_house().await;
        let interval = REPAIR_INTERVAL.min(self.parts.store.options().ttl);
        if repaired.is_some_and(|at| at.elapsed() < interval) || !self.redis_settled() {
            return;
        }
        match self.parts.store.repair().await {
            Ok(()) => {
                *repaired = Some(Instant::now());
                self.parts.bus.outbox_grew();
            }
            Err(error) => tracing::debug!(%error, "indexes not checked"),
        }
    }

    /// Hands back the runs that were ended because the daemon stops.
    async fn hand_back(&self) {
        let reap = Reap::HandedBack(&self.options.owner);
        for queue in self.options.slots.keys() {
            if let Err(error) = self.parts.store.reap(queue, reap).await {
                tracing::warn!(%error, queue, "runs could not be handed back; their lease will run out");
            }
        }
    }

    /// Redis has been there for a whole lease, so that every owner could say that its runs go on.
    fn redis_settled(&self) -> bool {
        let since = *self.parts.bus.connected().borrow();
        since.is_some_and(|since| since.elapsed() >= self.parts.store.options().lease)
    }

    async fn reap_expired(&self) {
        if !self.redis_settled() {
            return;
        }
        for queue in self.options.slots.keys() {
            match self.parts.store.reap(queue, Reap::Expired).await {
                Ok(0) => {}
                Ok(count) => {
                    tracing::warn!(queue, count, "took back runs that were not heard of");
                    self.parts.bus.run_queued(queue);
                }
                Err(error) => return tracing::debug!(%error, "leases not looked at"),
            }
        }
    }

    async fn look_at_watched(&self) {
        match self.parts.foreign.check_watched().await {
            Err(ServiceError::Unavailable(error)) => {
                tracing::debug!(error, "stages of other workers not looked at");
            }
            Err(error) => tracing::error!(%error, "a stage of another worker cannot be looked at"),
            Ok(()) => {}
        }
    }

    /// Forgets what has expired, and looks how full Redis is.
    async fn keep_house(&self) {
        let store = &self.parts.store;
        let kept = async {
            store.look_at_memory().await?;
            store.expire(EXPIRE_LIMIT).await
        };
        if let Err(error) = kept.await {
            tracing::debug!(%error, "what has expired is not forgotten yet");
        }
    }

    fn recheck_runs(&self, task: Option<&TaskId>) {
        let active = self.active.lock().expect("no thread panics with the list of runs");
        for ((of, _), run) in active.iter() {
            if task.is_none_or(|task| task == of) {
                run.recheck.notify_one();
            }
        }
    }

    /// Whether this daemon stops, or ends once its runs have.
    fn takes_no_more(&self) -> bool {
        self.stop.is_cancelled() || self.draining.is_cancelled()
    }

    async fn claim_all(self: &Arc<Self>, wanted: &WantedQueues, runs: &mut JoinSet<()>) {
        for queue in self.options.slots.keys() {
            if self.takes_no_more() {
                return;
            }
            if !wanted.is_news(queue, self.slots.seen(queue)) {
                continue;
            }
            // An end makes room, and takes the next run or has the queue looked at.
            if !self.slots.is_free_or_wanted(queue) {
                if wanted.names(queue) {
                    Limit::RunsAtOnce.reached();
                }
                continue;
            }
            if let Err(error) = self.claim_runs(queue, runs).await {
                return tracing::debug!(%error, queue, "no run taken");
            }
        }
    }

    /// Takes as many runs of a queue as may go on here, and begins them.
    async fn claim_runs(self: &Arc<Self>, queue: &str, runs: &mut JoinSet<()>) -> Result<(), StoreError> {
        let Some(turn) = self.slots.wait_for_turn(queue).await else {
            return Ok(());
        };
        let free = turn.free();
        if free == 0 {
            return Ok(());
        }
        let owner = &self.options.owner;
        let claims = self.parts.store.claim(queue, owner, &turn.share(), free).await?;
        turn.note_empty(&claims);
        for claim in claims.runs {
            let slot = turn.occupy(&claim.fence);
            runs.spawn(Arc::clone(self).work_through(slot, claim));
        }
        if claims.others_wait && turn.free() == 0 {
            Limit::RunsAtOnce.reached();
        }
        Ok(())
    }

    /// Runs what was taken from a queue to its end, then what was taken with that end, for as long as there is any.
    async fn work_through(self: Arc<Self>, mut slot: SlotGuard, claim: Claim) {
        let mut next = Some(claim);
        while let Some(claim) = next {
            next = self.supervise(claim, &mut slot).await;
        }
    }

    /// Runs what was taken from a queue to its end. Returns the run that was taken with the end.
    async fn supervise(&self, claim: Claim, slot: &mut SlotGuard) -> Option<Claim> {
        let Claim { fence, record } = claim;
        let known = self.parts.supplies.catalog_for(&fence.queue).get(fence.node.as_str());
        life::log_start(&fence, known.map_or("none", |node| node.runner.kind().as_str()));
        let start = Instant::now();
        let (ended, left) = self.attend(&fence, &record).await;
        self.parts
            .metrics
            .ran(known.map(|node| node.name.as_str()), ended.as_str(), start.elapsed());
        let mut next = None;
        match ended {
            RunEnd::With(outcome) => {
                let took = start.elapsed();
                let committed = self.commit(&fence, &outcome, &left, slot).await;
                if committed.counts {
                    life::log_end(&fence, &outcome, took, &record);
                }
                next = committed.next;
            }
            RunEnd::Lost => {
                tracing::info!(task_id = %fence.task, task_name = %fence.node, run_id = %fence.run,
                    "run no longer owns its stage");
                if let Err(error) = self.parts.store.release(&fence, &left.measured).await {
                    tracing::warn!(%error, run_id = %fence.run, "a slot was not given back; its lease will run out");
                }
            }
            RunEnd::Requeued(to) => give_back(&self.parts.store, &self.stop, &fence, &to, &left).await,
            // Handed back with all others, when the executor has stopped.
            RunEnd::Stopped => {
                tracing::info!(task_id = %fence.task, task_name = %fence.node, run_id = %fence.run, "run handed back");
            }
        }
        self.active
            .lock()
            .expect("no thread panics with the list of runs")
            .remove(&(fence.task, fence.node));
        next
    }

    /// Runs the node and keeps its lease, until it has ended one way or another and no process is left.
    async fn attend(&self, fence: &Fence, record: &StageRecord) -> (RunEnd, Left) {
        let catalog = self.parts.supplies.catalog_for(&fence.queue);
        let Some(spec) = catalog.shared(fence.node.as_str()) else {
            let error = format!("there is no node '{}' any more; the catalog has changed", fence.node);
            return (RunEnd::failed(error), Left::default());
        };
        let supplies = &self.parts.supplies;
        let request = RunRequest::read(catalog, spec, record);
        let former = match record.dispatch() {
            Some(_) => FormerContent::Kept,
            None => FormerContent::Removed,
        };
        let read_records = async {
            match &request {
                Ok(request) => request.read_records(&supplies.views, fence).await,
                Err(_) => None,
            }
        };
        let recheck = Arc::new(Notify::new());
        // Its log is there as soon as the folder is, and is followed as that of a run under way.
        let open = async {
            let opened = self.open_folder(fence, former).await?;
            let active = ActiveRun {
                log: opened.1.clone(),
                recheck: Arc::clone(&recheck),
            };
            self.active
                .lock()
                .expect("no thread panics with the list of runs")
                .insert((fence.task.clone(), fence.node.clone()), active);
            Ok(opened)
        };
        let (opened, records) = tokio::join!(open, read_records);
        let (_hold, log) = match opened {
            Ok(opened) => opened,
            Err(ended) => return (ended, Left::default()),
        };
        let cancel = CancellationToken::new();
        let (sink, progress) = ProgressSink::new();
        let (began, counted_from) = watch::channel(Instant::now());
        let work = Work {
            supplies: Arc::clone(supplies),
            options: Arc::clone(&self.options),
            fence: fence.clone(),
            request,
            records,
            dir: task_folder(&supplies.roots, &fence.task).join(fence.folder()),
            log: log.clone(),
            progress: sink,
            cancel: cancel.clone(),
            began,
            took: OnceLock::new(),
            sent_before: record.dispatch().map(str::to_owned),
            stop: self.stop.clone(),
            requeue: OnceLock::new(),
        };
        let watch = RunWatch::begin(WatchedRun {
            store: &self.parts.store,
            fence,
            heartbeat: self.options.heartbeat,
            time_limit: Duration::from_secs(spec.timeout_seconds),
            stop: &self.stop,
            recheck,
            log,
            cancel,
            progress,
            counted_from,
        });
        // On a separate task: waiting for Redis must not hold up reading a program's output.
        watch.run(tokio::spawn(work.run())).await
    }

    /// Holds the task's folder and makes the run's, as soon as the machine has what that needs. The lease is kept meanwhile.
    async fn open_folder(&self, fence: &Fence, former: FormerContent) -> Result<(TaskLock, RunLog), RunEnd> {
        let mut waits = Backoff::default();
        loop {
            let folder_of_task = task_folder(&self.parts.supplies.roots, &fence.task);
            let dir = folder_of_task.join(fence.folder());
            let error = match folder::open(folder_of_task, fence, former).await {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            let text = format!("the run's folder {} could not be made: {error}", dir.display());
            let Some(lack) = Lack::in_preparing(&error) else {
                return Err(RunEnd::failed(text));
            };
            Limit::MachineResources.reached();
            let wait = waits.next_wait();
            if wait == FIRST_WAIT {
                tracing::warn!(run_id = %fence.run, "a run waits for {lack}: {text}");
            }
            let message = format!("waiting for {lack}: {error}");
            match self.parts.store.heartbeat(fence, Some(0.0), Some(&message)).await {
                Ok(true) => {}
                Ok(false) => return Err(RunEnd::Lost),
                Err(error) => tracing::debug!(%error, "lease not renewed"),
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(RunEnd::Stopped),
                () = tokio::time::sleep(wait.min(self.options.heartbeat)) => {}
            }
        }
    }

    /// Reports that a result cannot be written, in the log once for each error. What is damaged can be mended, so the result
    /// is kept for as long as the run owns its stage.
    async fn report_unwritten(&self, fence: &Fence, error: &StoreError, reported: &mut Option<String>) {
        let text = error.to_string();
        if reported.as_ref() != Some(&text) {
            tracing::error!(%error, task_id = %fence.task, task_name = %fence.node, run_id = %fence.run,
                "a result cannot be written; it is tried again (`onceoverd check --repair` mends records)");
            *reported = Some(text);
        }
        let message = format!("its result cannot be written yet: {error}");
        // No answer says no more than the write did.
        let _ = self.parts.store.heartbeat(fence, None, Some(&message)).await;
    }

    /// Links the files of a result that counts.
    fn link_winner(&self, fence: &Fence, has_files: bool) {
        let task_folder = task_folder(&self.parts.supplies.roots, &fence.task);
        if let Err(error) = folder::link_winner(&task_folder, fence, has_files) {
            tracing::warn!(%error, task_id = %fence.task, task_name = %fence.node, "the nodes/ link was not set");
        }
    }

    /// Reports an end to Redis, and takes the next run of its queue in the same call, unless this daemon takes no more or
    /// other calls that take runs of the queue are not answered soon.
    async fn report_end(
        &self,
        fence: &Fence,
        outcome: &Outcome,
        left: &Left,
        slot: &mut SlotGuard,
    ) -> Result<Committed, StoreError> {
        let turn = match self.takes_no_more() {
            true => None,
            false => self.slots.wait_briefly_for_turn(&fence.queue).await,
        };
        // It may have waited for its turn.
        let turn = turn.filter(|_| !self.takes_no_more());
        let share = turn.as_ref().map(ClaimTurn::share);
        let store = &self.parts.store;
        let mut finished = store.finish(fence, outcome, &left.measured, share.as_ref()).await?;
        let next = finished.next.runs.pop();
        match (&turn, &next) {
            (Some(turn), Some(next)) => {
                turn.hand_over(slot, &next.fence);
                if finished.next.others_wait && turn.free() == 0 {
                    Limit::RunsAtOnce.reached();
                }
            }
            (Some(turn), None) if !finished.next.others_wait => {
                turn.note_empty(&finished.next);
                slot.leave_unused();
            }
            _ => {}
        }
        Ok(Committed {
            counts: finished.counts,
            next,
        })
    }

    /// Writes how the run ended, however long Redis is unreachable or does not take it; then links the winner's files.
    async fn commit(&self, fence: &Fence, outcome: &Outcome, left: &Left, slot: &mut SlotGuard) -> Committed {
        let mut wait = Duration::from_millis(100);
        let mut reported = None;
        loop {
            match self.report_end(fence, outcome, left, slot).await {
                Ok(committed) => {
                    self.note_commit(fence, outcome, left, &committed);
                    return committed;
                }
                Err(StoreError::Unavailable(error)) => {
                    tracing::warn!(error, run_id = %fence.run, "a result waits for Redis");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(COMMIT_WAIT_MAX);
                }
                Err(error) => {
                    self.report_unwritten(fence, &error, &mut reported).await;
                    tokio::select! {
                        biased;
                        // Handed back with all others.
                        () = self.stop.cancelled() => return Committed::default(),
                        () = tokio::time::sleep(wait) => {}
                    }
                    wait = (wait * 2).min(COMMIT_WAIT_MAX.min(self.options.heartbeat));
                }
            }
        }
    }

    /// Links and counts what a success has left, or logs that the end came too late.
    fn note_commit(&self, fence: &Fence, outcome: &Outcome, left: &Left, committed: &Committed) {
        match outcome {
            _ if !committed.counts => tracing::info!(
                task_id = %fence.task,
                task_name = %fence.node,
                run_id = %fence.run,
                "a late result was dropped"
            ),
            Outcome::Success { warnings, .. } => {
                self.parts.metrics.warned(fence.node.as_str(), warnings);
                self.link_winner(fence, left.has_files);
            }
            Outcome::Failed { .. } => {}
        }
    }
}

/// What became of a run's end.
#[derive(Default)]
struct Committed {
    /// Whether it counts: the run had not lost its stage.
    counts: bool,
    /// The run that was taken with it.
    next: Option<Claim>,
}
