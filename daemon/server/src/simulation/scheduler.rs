//! The seeded scheduler: one step at a time it lets a call go, lets time pass, lets a client ask or breaks something, then
//! lets the daemons work until they wait, and looks whether every invariant holds.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use onceover_wire::ReuseMode;
use tokio::task::{JoinSet, yield_now};

use super::{
    clients::{Promise, Wish},
    daemon::{Folders, SimulatedDaemon},
    invariants::{Observer, Violation},
    plan::{DAEMONS, NODES, PROMPT, REST, TASKS},
    receivers::{GOOD, SILENT},
    world::{DaemonStart, Fate, World},
};

/// Rounds in which every task of the runtime that can go on does.
const YIELDS: usize = 20;
/// Rounds in a row in which nothing happens, after which nothing will.
const QUIET: usize = 4;
/// One simulation of as many has a crowd of callbacks.
const CROWDED: u64 = 20;
/// Callbacks to a receiver that does not answer: more than the daemons can try at once.
const CROWD_OF_SILENT: u32 = 120;
/// Submits of one crowd.
const CROWD: u32 = 8_500;

/// How a simulation ended well.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) callbacks: usize,
    pub(super) simulated: Duration,
    pub(super) trace_hash: u64,
}

/// A simulation that did not keep a rule.
#[derive(Debug)]
pub(super) struct Failure {
    seed: u64,
    step: usize,
    violation: Violation,
    trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            step,
            violation,
            trace,
        } = self;
        write!(
            f,
            "{trace}seed {seed}, step {step}: {violation}\nplay it again with: make simulate SEED={seed} STEPS={step}"
        )
    }
}

/// Runs a simulation: `steps` with faults, then until everything is at rest.
pub(super) async fn simulate(seed: u64, steps: usize) -> Result<Summary, Failure> {
    let mut simulation = Simulation::begin(seed);
    if seed.is_multiple_of(CROWDED) {
        simulation.gather_crowd().await;
    }
    simulation.world.state().is_calm = false;
    for step in 0..steps {
        simulation.step().await;
        simulation.check(step)?;
    }
    simulation.heal();
    let ended = simulation.come_to_rest().await;
    simulation.fail_on(steps, ended)?;
    let kept = simulation.check_promises();
    simulation.fail_on(steps, kept)?;
    let fair = simulation.check_fairness().await;
    simulation.fail_on(steps, fair)?;
    let state = simulation.world.state();
    Ok(Summary {
        callbacks: state.received.len(),
        simulated: simulation.world.elapsed(),
        trace_hash: state.trace_hash,
    })
}

struct Simulation {
    seed: u64,
    world: Arc<World>,
    folders: Folders,
    daemons: BTreeMap<usize, SimulatedDaemon>,
    starts: BTreeMap<usize, u32>,
    clients: JoinSet<()>,
    observer: Observer,
}

impl Simulation {
    fn begin(seed: u64) -> Self {
        fastrand::seed(seed);
        onceover_types::ids::count_ids_from(u128::from(seed) << 64);
        let mut simulation = Self {
            seed,
            world: World::begin(seed),
            folders: Folders::make(),
            daemons: BTreeMap::new(),
            starts: BTreeMap::new(),
            clients: JoinSet::new(),
            observer: Observer::default(),
        };
        for daemon in 0..DAEMONS {
            simulation.start(daemon);
        }
        simulation
    }

    /// Lets many wait for one run, with nothing broken yet.
    async fn gather_crowd(&mut self) {
        let Some(services) = self.any_services() else { return };
        let crowd = Wish::Crowd {
            task: TASKS[0],
            node: NODES[0],
            count: CROWD,
        };
        crowd.ask(Arc::clone(&self.world), services).await;
    }

    fn start(&mut self, daemon: usize) {
        let count = self.starts.entry(daemon).or_default();
        *count += 1;
        let start = DaemonStart { daemon, start: *count };
        let started = SimulatedDaemon::begin(&self.world, &self.folders, start);
        self.daemons.insert(daemon, started);
    }

    fn kill(&mut self, daemon: usize) {
        if let Some(killed) = self.daemons.remove(&daemon) {
            killed.kill(&self.world);
        }
    }

    fn choose(&self, count: usize) -> usize {
        self.world.state().rng.usize(..count)
    }

    async fn step(&mut self) {
        let roll = self.world.state().rng.u32(..1000);
        match roll {
            0..620 => self.release_one().await,
            620..760 => {
                self.world.spread_to_one();
            }
            760..880 => self.pass_time().await,
            880..970 => self.ask(),
            970..980 => {
                self.world.release_late();
            }
            _ => self.break_something(),
        }
        self.settle().await;
    }

    async fn release_one(&mut self) {
        let ready = self.world.ready_calls();
        if ready.is_empty() {
            return self.pass_time().await;
        }
        let at = ready[self.choose(ready.len())];
        let fate = match self.choose(100) {
            0 | 1 => Fate::RequestLost,
            2 | 3 => Fate::ReplyLost,
            4 => Fate::Late,
            _ => Fate::Answered,
        };
        self.world.release(at, fate);
    }

    async fn pass_time(&self) {
        let waits = [1, 1, 20, 20, 100, 250, 1_000, 4_000];
        let wait = waits[self.choose(waits.len())];
        tokio::time::advance(Duration::from_millis(wait)).await;
    }

    fn ask(&mut self) {
        let Some(services) = self.any_services() else { return };
        let wish = Wish::choose(&self.world);
        self.clients.spawn(wish.ask(Arc::clone(&self.world), services));
    }

    fn any_services(&self) -> Option<Arc<crate::app::compose::Services>> {
        if self.daemons.is_empty() {
            return None;
        }
        let at = self.choose(self.daemons.len());
        self.daemons.values().nth(at).map(|daemon| Arc::clone(&daemon.services))
    }

    fn break_something(&mut self) {
        let daemon = self.choose(DAEMONS);
        match self.choose(6) {
            0 => self.kill(daemon),
            1 | 2 if !self.daemons.contains_key(&daemon) => self.start(daemon),
            1 => self.cut_off(daemon),
            2 => self.world.break_subscriptions(daemon),
            3 => self.world.break_calls(daemon),
            4 => {
                let step = [-7_200_000, -60_000, 60_000][self.choose(3)];
                self.observer.excuse_leases(&self.world);
                self.world.set_clock(step);
                self.observer.excuse_leases(&self.world);
            }
            _ => self.start_copy(daemon),
        }
    }

    /// Cuts a daemon off from Redis, or connects it again.
    fn cut_off(&self, daemon: usize) {
        let mut state = self.world.state();
        if state.cut_off.contains(&daemon) {
            state.cut_off.retain(|other| *other != daemon);
        } else {
            state.cut_off.push(daemon);
        }
    }

    /// Starts a daemon on a copy of another one's folder, once.
    fn start_copy(&mut self, of: usize) {
        let copy = DAEMONS + of;
        if self.starts.contains_key(&copy) || !self.starts.contains_key(&of) {
            return;
        }
        self.folders.copy(of, copy);
        self.start(copy);
    }

    /// Lets everything work until it waits for the scheduler or for time.
    async fn settle(&self) {
        let mut quiet = 0;
        while quiet < QUIET {
            let before = self.world.activity();
            for _ in 0..YIELDS {
                yield_now().await;
            }
            quiet = if self.world.activity() == before { quiet + 1 } else { 0 };
        }
        self.world.end_step();
    }

    fn check(&mut self, step: usize) -> Result<(), Failure> {
        let held = self.observer.check(&self.world);
        self.fail_on(step, held)
    }

    fn fail_on(&self, step: usize, result: Result<(), Violation>) -> Result<(), Failure> {
        result.map_err(|violation| Failure {
            seed: self.seed,
            step,
            violation,
            trace: self.world.trace(),
        })
    }

    /// Mends everything that was broken.
    fn heal(&mut self) {
        self.world.note("nothing is broken any more");
        self.world.state().cut_off.clear();
        for daemon in 0..DAEMONS {
            if !self.daemons.contains_key(&daemon) {
                self.start(daemon);
            }
        }
    }

    /// Answers every call, and lets time pass, until nothing is left to do.
    async fn come_to_rest(&mut self) -> Result<(), Violation> {
        let begun = self.world.elapsed();
        while self.world.elapsed() - begun < REST {
            self.work_off().await;
            self.observer.check(&self.world)?;
            if self.is_at_rest() {
                return Ok(());
            }
            tokio::time::advance(Duration::from_millis(200)).await;
        }
        Err(Violation(format!(
            "not everything has ended {} s after the last fault: {}",
            REST.as_secs(),
            self.unfinished()
        )))
    }

    async fn work_off(&mut self) {
        loop {
            self.settle().await;
            let ready = self.world.ready_calls();
            if !ready.is_empty() {
                let at = ready[self.choose(ready.len())];
                self.world.release(at, Fate::Answered);
            } else if !self.world.spread_to_one() && !self.world.release_late() {
                return;
            }
        }
    }

    fn unfinished(&self) -> String {
        let mut left = Vec::new();
        for status in ["pending", "running"] {
            let count: u64 = self
                .world
                .ask(redis::cmd("ZCARD").arg(format!("onceover:tasks:status:{status}")));
            left.push(format!("{count} tasks {status}"));
        }
        let ends: u64 = self.world.ask(redis::cmd("ZCARD").arg("onceover:telling"));
        left.push(format!("callbacks of {ends} ends not in the outbox"));
        let due = self.unheard().len();
        left.push(format!("{due} callbacks not received"));
        left.join(", ")
    }

    fn is_at_rest(&mut self) -> bool {
        while self.clients.try_join_next().is_some() {}
        let in_flight: u64 = ["pending", "running"]
            .iter()
            .map(|status| -> u64 {
                self.world
                    .ask(redis::cmd("ZCARD").arg(format!("onceover:tasks:status:{status}")))
            })
            .sum();
        let ends: u64 = self.world.ask(redis::cmd("ZCARD").arg("onceover:telling"));
        in_flight == 0 && ends == 0 && self.clients.is_empty() && self.unheard().is_empty()
    }

    /// Promised callbacks that their receivers, which answer, have not received.
    fn unheard(&self) -> Vec<Promise> {
        let state = self.world.state();
        let is_due = |promise: &&Promise| {
            let deletions = state.deletions.get(promise.task).copied().unwrap_or_default();
            !promise.url.contains(SILENT)
                && promise.deletions == deletions
                && !state.received.contains_key(&promise.url)
        };
        state.promises.iter().filter(is_due).cloned().collect()
    }

    fn check_promises(&self) -> Result<(), Violation> {
        match self.unheard().first() {
            None => Ok(()),
            Some(promise) => Err(Violation(format!(
                "{} was promised a callback and got none",
                promise.url
            ))),
        }
    }

    /// A callback to a receiver that answers is not held up by one that does not.
    async fn check_fairness(&mut self) -> Result<(), Violation> {
        if !self.make_result().await? {
            return Ok(());
        }
        for number in 0..CROWD_OF_SILENT {
            self.submit(Some(format!("http://{SILENT}/fair/{number}")));
        }
        // Until every daemon tries as many as it may.
        for _ in 0..4 {
            self.work_off().await;
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        let url = format!("http://{GOOD}/fair");
        self.submit(Some(url.clone()));
        let begun = self.world.elapsed();
        self.come_to_rest().await?;
        let took = self.world.elapsed() - begun;
        if took > PROMPT {
            return Err(Violation(format!(
                "{url} was called after {} s, behind a receiver that does not answer",
                took.as_secs_f64()
            )));
        }
        Ok(())
    }

    /// Lets a stage succeed, so that submits are hits. Returns `false` if it has failed too often.
    async fn make_result(&mut self) -> Result<bool, Violation> {
        let stage = format!("onceover:stage:{}:{}", TASKS[0], NODES[0]);
        for _ in 0..5 {
            self.submit(None);
            self.come_to_rest().await?;
            let state: Option<String> = self.world.ask(redis::cmd("HGET").arg(&stage).arg("state"));
            if state.as_deref() == Some("SUCCESS") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn submit(&mut self, callback: Option<String>) {
        let wish = Wish::Submit {
            task: TASKS[0],
            node: NODES[0],
            mode: ReuseMode::Auto,
            text: 0,
            callback,
        };
        if let Some(services) = self.any_services() {
            self.clients.spawn(wish.ask(Arc::clone(&self.world), services));
        }
    }
}
