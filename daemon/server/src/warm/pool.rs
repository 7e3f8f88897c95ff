//! The processes that keep their models. A run gets the one that was started with the same, or starts one; after it, the
//! process stays for the next, unless it is of no use any more. Slots bound how many runs go on at a time, so a second
//! process for the same node costs no more during the runs than one of a single run would; when there are
//! `warm.max_processes`, the one that was used longest ago gives way, and where all are at work, a run has a process that
//! ends with it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::join_all;
use onceover_limits::Limit;
use onceover_process::ServedProgram;
use onceover_run::{RunError, tool::Tool};
use onceover_types::{NodeName, Timestamp};
use onceover_wire::{WarmProcess, WarmState};
use tokio::{
    sync::{OnceCell, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    arbiter::{IdleProcess, MemoryBudget, choose_ended},
    protocol::RunEnding,
    worker::{EndReason, WarmKey, WarmWorker},
};
use crate::{
    config::WarmConfig,
    machine_load::{memory, read_gpu_memory},
    metrics::WarmCounts,
};

/// The share of the machine's memory that warm processes may have where nothing is configured.
const SHARE: u64 = 2;

/// The processes of this daemon that keep their models. Cheap to clone.
#[derive(Clone)]
pub struct WarmPool(Arc<Inner>);

struct Inner {
    config: WarmConfig,
    /// What the marks of this start's processes begin with.
    mark: String,
    /// How long a process may take to end by itself.
    grace: Duration,
    counts: WarmCounts,
    state: Mutex<PoolState>,
    /// How many processes there are.
    count: watch::Sender<usize>,
    /// Bytes of the GPU's memory, once they were asked for.
    gpu_total: OnceCell<Option<u64>>,
}

#[derive(Default)]
struct PoolState {
    entries: BTreeMap<u64, PoolEntry>,
    /// How many processes there have been.
    started: u64,
    /// How often a process was used, by which they are ordered.
    uses: u64,
    /// Nothing is kept any more.
    is_closed: bool,
    /// What the newest process of each node held of the GPU's memory.
    measured: HashMap<NodeName, u64>,
}

/// A process as the pool knows it.
struct PoolEntry {
    key: WarmKey,
    gpu: Option<GpuNeed>,
    shown: WarmProcess,
    /// The number of its newest use.
    used: u64,
    /// What reads it while it does nothing.
    idle: Option<IdleWorker>,
}

struct IdleWorker {
    claim: CancellationToken,
    task: JoinHandle<Option<WarmWorker>>,
}

/// What a run that holds a slot of the GPU needs of its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuNeed {
    /// Bytes that the node file declares.
    pub declared: Option<u64>,
}

/// What a run wants.
pub struct WarmWant {
    pub key: WarmKey,
    /// `None` for a run that holds no slot of the GPU.
    pub gpu: Option<GpuNeed>,
}

/// What a run gets.
pub enum Acquired {
    /// A process that is there.
    Kept(Box<WarmWorker>),
    /// The right to start one.
    New(Seat),
    /// Neither: all that there may be are at work.
    Full,
}

/// A process's place in the pool's list, which ends when this is dropped.
pub struct Seat {
    pool: WarmPool,
    id: u64,
}

impl WarmPool {
    /// Makes an empty pool. `mark` is what the marks of this start's processes begin with.
    pub fn new(config: WarmConfig, mark: &str, grace: Duration, counts: WarmCounts) -> Self {
        Self(Arc::new(Inner {
            config,
            mark: format!("{mark}/warm"),
            grace,
            counts,
            state: Mutex::default(),
            count: watch::Sender::new(0),
            gpu_total: OnceCell::new(),
        }))
    }

    /// Whether processes are kept at all.
    pub fn is_enabled(&self) -> bool {
        self.0.config.enabled
    }

    /// Describes the processes, the oldest first.
    pub fn describe(&self) -> Vec<WarmProcess> {
        self.lock().entries.values().map(|entry| entry.shown.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.0
            .state
            .lock()
            .expect("no thread panics with the list of processes")
    }

    /// Finds a process for a run, or makes room for a new one.
    pub async fn acquire(&self, want: &WarmWant) -> Acquired {
        loop {
            if let Some(idle) = self.claim_kept(&want.key) {
                match idle.claim().await {
                    Some(worker) => {
                        self.0.counts.reused(want.key.node.as_str());
                        return Acquired::Kept(Box::new(worker));
                    }
                    // It ended before it could be claimed.
                    None => continue,
                }
            }
            if self.lock().is_closed {
                return Acquired::Full;
            }
            if let Some(seat) = self.take_seat(want) {
                return Acquired::New(seat);
            }
            Limit::WarmProcesses.reached();
            let oldest = self.lock().idle_in_order().first().copied();
            match oldest {
                Some(id) => self.end_idle(&[id], EndReason::Processes).await,
                None => return Acquired::Full,
            }
        }
    }

    /// Takes the process that was started with the same and used last from those that do nothing.
    fn claim_kept(&self, key: &WarmKey) -> Option<IdleWorker> {
        let mut state = self.lock();
        let fitting = state
            .entries
            .iter()
            .filter(|(_, entry)| entry.idle.is_some() && entry.key == *key);
        let id = fitting.max_by_key(|(_, entry)| entry.used).map(|(id, _)| *id)?;
        state.claim(id, WarmState::Busy)
    }

    fn take_seat(&self, want: &WarmWant) -> Option<Seat> {
        let mut state = self.lock();
        if state.entries.len() >= self.0.config.max_processes {
            return None;
        }
        state.started += 1;
        state.uses += 1;
        let (id, now) = (state.started, Timestamp::now());
        let entry = PoolEntry {
            key: want.key.clone(),
            gpu: want.gpu,
            shown: WarmProcess {
                task_name: want.key.node.clone(),
                device: want.key.device.clone(),
                state: WarmState::Starting,
                pid: 0,
                runs: 0,
                memory: None,
                gpu_memory: None,
                started_at: now,
                since: now,
            },
            used: state.uses,
            idle: None,
        };
        state.entries.insert(id, entry);
        self.0.count.send_replace(state.entries.len());
        Some(Seat { pool: self.clone(), id })
    }

    /// Keeps a process after its run, or ends it where it is of no use.
    pub fn give_back(&self, mut worker: WarmWorker, ending: &RunEnding) {
        let growth = worker.note_run(ending);
        if let Some(reason) = self.find_reason_to_end(ending, worker.runs(), growth) {
            // The run need not wait for that.
            tokio::spawn(worker.end(reason));
            return;
        }
        let id = worker.seat().id;
        let mut state = self.lock();
        if state.is_closed {
            drop(state);
            tokio::spawn(worker.end(EndReason::Shutdown));
            return;
        }
        if let Some(entry) = state.entries.get_mut(&id) {
            let claim = CancellationToken::new();
            let waiting = worker.wait_for_claim(claim.clone(), self.0.config.idle);
            entry.show(WarmState::Idle);
            entry.idle = Some(IdleWorker {
                claim,
                task: tokio::spawn(waiting),
            });
        }
        drop(state);
        let pool = self.clone();
        tokio::spawn(async move { pool.keep_to_memory().await });
    }

    /// Says why a process is not kept after a run.
    fn find_reason_to_end(&self, ending: &RunEnding, runs: u64, growth: u64) -> Option<EndReason> {
        let config = &self.0.config;
        if !ending.usable {
            Some(EndReason::Spent)
        } else if !ending.keeps {
            Some(EndReason::KeepsNothing)
        } else if runs >= config.max_runs {
            Limit::WarmRuns.reached();
            Some(EndReason::MaxRuns)
        } else if growth > config.max_growth {
            Limit::WarmGrowth.reached();
            Some(EndReason::Growth)
        } else {
            None
        }
    }

    /// Ends processes that do nothing while all of them have more memory than they may.
    async fn keep_to_memory(&self) {
        let configured = self.0.config.max_memory;
        let Some(total) = configured.or_else(|| memory::read_total().map(|total| total / SHARE)) else {
            return;
        };
        // A process that does not say what it has is taken to have nothing.
        let held = |entry: &PoolEntry| Some(entry.shown.memory.or(Some(0)));
        let ended = self.lock().choose_ended(Some(total), Some(0), None, held);
        if !ended.is_empty() {
            Limit::WarmMemory.reached();
            self.end_idle(&ended, EndReason::Memory).await;
        }
    }

    /// Ends processes that do nothing and hold the memory of the GPU that a run needs whose process ends with it.
    pub async fn make_room_on_gpu(&self, node: &NodeName, need: GpuNeed) {
        self.make_room_for(node, need, None).await;
    }

    /// Does the same for the process that has the place `own`, whose need counts once.
    async fn make_room_for(&self, node: &NodeName, need: GpuNeed, own: Option<u64>) {
        if self.lock().idle_on_gpu().is_empty() {
            return;
        }
        let total = match self.0.config.gpu_memory {
            Some(total) => Some(total),
            None => self.read_gpu_total().await,
        };
        let ended = {
            let state = self.lock();
            let need = state.measured.get(node).copied().or(need.declared);
            let held = |entry: &PoolEntry| entry.gpu.map(|gpu| entry.shown.gpu_memory.or(gpu.declared));
            state.choose_ended(total, need, own, held)
        };
        if !ended.is_empty() {
            Limit::WarmGpuMemory.reached();
            self.end_idle(&ended, EndReason::GpuMemory).await;
        }
    }

    /// Ends every process that does nothing and may hold memory of the GPU.
    pub async fn leave_gpu(&self) {
        let ended = self.lock().idle_on_gpu();
        self.end_idle(&ended, EndReason::GpuLock).await;
    }

    async fn read_gpu_total(&self) -> Option<u64> {
        let read = || async { tokio::task::spawn_blocking(read_gpu_memory).await.ok().flatten() };
        *self.0.gpu_total.get_or_init(read).await
    }

    /// Ends these processes, as far as they still do nothing, and waits for it.
    async fn end_idle(&self, ids: &[u64], reason: EndReason) {
        let claimed: Vec<_> = {
            let mut state = self.lock();
            ids.iter()
                .filter_map(|id| state.claim(*id, WarmState::Ending))
                .collect()
        };
        join_all(claimed.into_iter().map(|idle| async move {
            if let Some(worker) = idle.claim().await {
                // Its end is nobody's business.
                let _ = worker.end(reason).await;
            }
        }))
        .await;
    }

    /// Keeps nothing any more, ends what does nothing, and waits until the others have ended with their runs.
    pub async fn shut_down(&self) {
        let idle = {
            let mut state = self.lock();
            state.is_closed = true;
            state.idle_in_order()
        };
        self.end_idle(&idle, EndReason::Shutdown).await;
        // The sender lives as long as this.
        let _ = self.0.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl PoolState {
    /// Lists the processes that do nothing, the one that was used longest ago first.
    fn idle_in_order(&self) -> Vec<u64> {
        let idle = self.entries.iter().filter(|(_, entry)| entry.idle.is_some());
        let mut idle: Vec<_> = idle.map(|(id, entry)| (entry.used, *id)).collect();
        idle.sort_unstable();
        idle.into_iter().map(|(_, id)| id).collect()
    }

    /// Takes a process from those that do nothing.
    fn claim(&mut self, id: u64, state: WarmState) -> Option<IdleWorker> {
        self.uses += 1;
        let uses = self.uses;
        let entry = self.entries.get_mut(&id)?;
        let idle = entry.idle.take()?;
        entry.used = uses;
        entry.show(state);
        Some(idle)
    }

    /// Does the same of those that may hold memory of the GPU.
    fn idle_on_gpu(&self) -> Vec<u64> {
        let mut idle = self.idle_in_order();
        idle.retain(|id| self.entries.get(id).is_some_and(|entry| entry.gpu.is_some()));
        idle
    }

    /// Chooses the processes to end for memory that they share; that of `own` is the need. `held` is `None` for a process
    /// that has no part in it, and `Some(None)` where it is not known how much it holds.
    fn choose_ended(
        &self,
        total: Option<u64>,
        need: Option<u64>,
        own: Option<u64>,
        held: impl Fn(&PoolEntry) -> Option<Option<u64>>,
    ) -> Vec<u64> {
        let others = self.entries.iter().filter(|(id, _)| Some(**id) != own);
        let busy = others.filter(|(_, entry)| entry.idle.is_none());
        let busy = busy
            .filter_map(|(_, entry)| held(entry).flatten())
            .fold(0, u64::saturating_add);
        let idle = self.idle_in_order().into_iter().filter_map(|id| {
            let holds = held(self.entries.get(&id)?)?;
            Some(IdleProcess { id, holds })
        });
        choose_ended(MemoryBudget { total, busy, need }, &idle.collect::<Vec<_>>())
    }
}

impl PoolEntry {
    fn show(&mut self, state: WarmState) {
        self.shown.state = state;
        self.shown.since = Timestamp::now();
    }
}

impl IdleWorker {
    /// Takes the worker from what reads it; `None` if it has ended.
    async fn claim(self) -> Option<WarmWorker> {
        self.claim.cancel();
        self.task.await.ok().flatten()
    }
}

impl Seat {
    /// Ends processes that do nothing and hold the memory of the GPU that this one will need.
    pub async fn make_room_on_gpu(&self) {
        let want = {
            let state = self.pool.lock();
            let entry = state.entries.get(&self.id);
            entry.and_then(|entry| Some((entry.key.node.clone(), entry.gpu?)))
        };
        if let Some((node, need)) = want {
            self.pool.make_room_for(&node, need, Some(self.id)).await;
        }
    }

    /// Starts the process that has this place.
    pub fn start(self, tool: &Tool) -> Result<WarmWorker, RunError> {
        let inner = &self.pool.0;
        let program = ServedProgram::start(tool, format!("{}/{}", inner.mark, self.id))?;
        let mut state = self.pool.lock();
        if let Some(entry) = state.entries.get_mut(&self.id) {
            entry.shown.pid = program.pid();
            inner.counts.started(entry.key.node.as_str());
        }
        drop(state);
        Ok(WarmWorker::new(program, self))
    }

    /// Notes that the process takes a run.
    pub fn note_busy(&self) {
        if let Some(entry) = self.pool.lock().entries.get_mut(&self.id) {
            entry.show(WarmState::Busy);
        }
    }

    pub(super) fn note_run(&self, runs: u64, ending: &RunEnding) {
        let mut state = self.pool.lock();
        let PoolState { entries, measured, .. } = &mut *state;
        if let Some(entry) = entries.get_mut(&self.id) {
            entry.shown.runs = runs;
            entry.shown.memory = ending.memory;
            entry.shown.gpu_memory = ending.gpu_memory;
            measured.extend(ending.gpu_memory.map(|bytes| (entry.key.node.clone(), bytes)));
        }
    }

    pub(super) fn note_end(&self, reason: EndReason) {
        self.pool.0.counts.ended(reason.as_str());
        if let Some(entry) = self.pool.lock().entries.get_mut(&self.id) {
            entry.idle = None;
            entry.show(WarmState::Ending);
        }
    }

    pub(super) fn note_late_line(&self) {
        self.pool.0.counts.dropped_late_line();
    }

    pub(super) fn grace(&self) -> Duration {
        self.pool.0.grace
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.entries.remove(&self.id);
        self.pool.0.count.send_replace(state.entries.len());
    }
}
