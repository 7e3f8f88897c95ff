//! What simulated daemons share: one real Redis and its time, the calls on their way to it, who hears its events, and the
//! programs that run. It decides nothing: the scheduler says which call goes next and what becomes of it.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use onceover_store::{Notice, Transport};
use onceover_types::Timestamp;
use redis::{FromRedisValue, RedisError, RedisFuture, RedisResult, Value};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    clients::Promise,
    command::{SentCommand, SentStep},
    programs::ProgramId,
    receivers::Received,
};
use crate::tenure::TenureError;

/// Milliseconds since 1970 at which every simulation begins.
const BEGIN: i64 = 1_800_000_000_000;
/// Lines of the trace that a violation is reported with.
const TRACE: usize = 60;
/// Notices that a subscription holds, as a real one does.
const UNREAD: usize = 1024;

/// A daemon of the simulation, by its number and the count of its starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DaemonStart {
    pub(super) daemon: usize,
    pub(super) start: u32,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    /// It never reaches Redis, and the connection breaks.
    RequestLost,
    /// Redis carries it out, and the connection breaks before the reply.
    ReplyLost,
    /// Its caller hears nothing, and Redis carries it out later.
    Late,
}

/// A call that waits for the scheduler.
struct Call {
    from: DaemonStart,
    step: SentStep,
    reply: oneshot::Sender<RedisResult<Vec<Value>>>,
}

/// A subscription to the channel of events.
struct Listener {
    owner: DaemonStart,
    unheard: VecDeque<Notice>,
    heard: mpsc::Sender<Notice>,
}

/// What is known of a run's heartbeats, to tell a lost owner from a living one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heartbeat {
    pub(super) at: Timestamp,
    pub(super) from: DaemonStart,
}

pub(super) struct State {
    pub(super) rng: fastrand::Rng,
    /// By how much the clock of Redis was set.
    clock_step: i64,
    calls: Vec<Call>,
    /// Calls whose callers have given up, which Redis still carries out.
    late: Vec<SentStep>,
    /// Callers that wait for a reply that never comes.
    unanswered: Vec<oneshot::Sender<RedisResult<Vec<Value>>>>,
    listeners: Vec<Listener>,
    last_event: u64,
    /// Calls of these daemons stay where they are.
    pub(super) cut_off: Vec<usize>,
    /// Everything is answered at once.
    pub(super) is_calm: bool,
    pub(super) programs: BTreeMap<ProgramId, DaemonStart>,
    /// The newest claim or heartbeat of a run that Redis has carried out.
    pub(super) heartbeats: BTreeMap<String, Heartbeat>,
    /// The newest start of each daemon that was not killed.
    pub(super) alive: BTreeMap<usize, u32>,
    /// Callbacks that clients were promised.
    pub(super) promises: Vec<Promise>,
    /// What receivers have taken.
    pub(super) received: Received,
    /// How often clients have deleted each task.
    pub(super) deletions: BTreeMap<String, u32>,
    /// What no daemon may do and one has done.
    pub(super) fault: Option<String>,
    /// Numbers given to clients.
    count: u32,
    /// Lines of this step.
    fresh: Vec<String>,
    trace: VecDeque<String>,
    /// Of every line of the trace: equal for two simulations that went the same way.
    pub(super) trace_hash: u64,
    activity: u64,
}

impl State {
    pub(super) fn next_number(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    pub(super) fn last_event(&self) -> u64 {
        self.last_event
    }

    /// Whether this start of a daemon was not killed.
    pub(super) fn is_alive(&self, start: DaemonStart) -> bool {
        self.alive.get(&start.daemon) == Some(&start.start)
    }
}

/// See the module.
pub(super) struct World {
    redis: Mutex<redis::Connection>,
    seed: u64,
    begun: Instant,
    state: Mutex<State>,
    server: Mutex<Child>,
    _folder: TempDir,
    pub(super) url: String,
}

impl Drop for World {
    fn drop(&mut self) {
        let mut server = self.server.lock().expect("no thread panics with the server");
        let _ = server.kill();
        let _ = server.wait();
    }
}

impl World {
    pub(super) fn begin(seed: u64) -> Arc<Self> {
        let folder = tempfile::Builder::new()
            .prefix("sim")
            .tempdir()
            .expect("a folder can be made");
        let socket = folder.path().join("redis.sock");
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed (make deps)");
        let begun = std::time::Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "Redis does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        let url = format!("redis+unix://{}?db=0", socket.display());
        let client = redis::Client::open(format!("{url}&protocol=resp3")).expect("the URL is one of Redis");
        let redis = client.get_connection().expect("Redis listens");
        Arc::new(Self {
            redis: Mutex::new(redis),
            seed,
            begun: Instant::now(),
            state: Mutex::new(State {
                rng: fastrand::Rng::with_seed(seed),
                clock_step: 0,
                calls: Vec::new(),
                late: Vec::new(),
                unanswered: Vec::new(),
                listeners: Vec::new(),
                last_event: 0,
                cut_off: Vec::new(),
                is_calm: true,
                programs: BTreeMap::new(),
                heartbeats: BTreeMap::new(),
                alive: BTreeMap::new(),
                promises: Vec::new(),
                received: Received::new(),
                deletions: BTreeMap::new(),
                fault: None,
                count: 0,
                fresh: Vec::new(),
                trace: VecDeque::new(),
                trace_hash: 0xcbf2_9ce4_8422_2325,
                activity: 0,
            }),
            server: Mutex::new(server),
            _folder: folder,
            url,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the world")
    }

    /// The time of Redis.
    pub(super) fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.begun.elapsed().as_millis()).expect("a simulation is not that long");
        Timestamp::from_millis(BEGIN + passed + self.state().clock_step)
    }

    /// How long the simulation has gone on, whatever the clock of Redis says.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(super) fn set_clock(&self, step: i64) {
        self.state().clock_step += step;
        self.note(format!("the clock of Redis is set by {} s", step / 1000));
    }

    pub(super) fn note(&self, line: impl Into<String>) {
        let line = format!("[{:9.3} s] {}", self.elapsed().as_secs_f64(), line.into());
        let mut state = self.state();
        state.fresh.push(line);
        state.activity += 1;
    }

    /// Ends a step of the trace. What happened in it at one time has no order: work on files takes its own time.
    pub(super) fn end_step(&self) {
        let mut state = self.state();
        let mut lines = std::mem::take(&mut state.fresh);
        lines.sort_unstable();
        for line in lines {
            state.trace_hash = add_to_hash(state.trace_hash, &line);
            if std::env::var_os("ONCEOVER_SIMULATE_TRACE").is_some() {
                super::print(&line);
            }
            if state.trace.len() == TRACE {
                state.trace.pop_front();
            }
            state.trace.push_back(line);
        }
    }

    /// Returns numbers for what the name stands for: the same ones, whatever happens before.
    pub(super) fn numbers_of(&self, name: &str) -> fastrand::Rng {
        fastrand::Rng::with_seed(add_to_hash(self.seed, name))
    }

    pub(super) fn trace(&self) -> String {
        let state = self.state();
        state
            .trace
            .iter()
            .chain(&state.fresh)
            .fold(String::new(), |mut text, line| {
                let _ = writeln!(text, "{line}");
                text
            })
    }

    /// A number that changes with all that happens.
    pub(super) fn activity(&self) -> u64 {
        self.state().activity
    }

    /// Asks Redis itself.
    pub(super) fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let mut redis = self.redis.lock().expect("no thread panics with the connection");
        command
            .query(&mut *redis)
            .expect("Redis answers a question of the test")
    }

    fn carry_out(&self, from: Option<DaemonStart>, step: &SentStep) -> RedisResult<Vec<Value>> {
        let replies = {
            let mut redis = self.redis.lock().expect("no thread panics with the connection");
            step.carry_out(&mut redis)
        };
        for (command, reply) in step.commands().iter().zip(replies.iter().flatten()) {
            if matches!(reply, Value::ServerError(_)) {
                continue;
            }
            if let Some(from) = from {
                self.take_heartbeat(from, command, reply);
            }
            if let Some(task) = command.deleted_task() {
                *self.state().deletions.entry(task.to_owned()).or_default() += 1;
            }
        }
        self.spread_events();
        replies
    }

    /// Notes that the owner of a run was heard of.
    fn take_heartbeat(&self, from: DaemonStart, command: &SentCommand, reply: &Value) {
        let Some(run) = command.heard_run(reply) else { return };
        let at = self.now();
        self.state().heartbeats.insert(run, Heartbeat { at, from });
    }

    /// Gives events that a command has published to every subscription.
    fn spread_events(&self) {
        let last = self.state().last_event;
        let mut range = redis::cmd("XRANGE");
        range.arg("onceover:events").arg(format!("({last}-0")).arg("+");
        let entries: Vec<(String, Vec<String>)> = self.ask(&range);
        let mut state = self.state();
        for (id, fields) in entries {
            let sequence = id.split('-').next().and_then(|number| number.parse().ok());
            state.last_event = sequence.expect("an event's id begins with its number");
            let Some(json) = fields.into_iter().nth(1) else {
                continue;
            };
            for listener in &mut state.listeners {
                listener.unheard.push_back(Notice::Event(json.clone()));
            }
        }
    }

    /// Numbers of the calls that may go next.
    pub(super) fn ready_calls(&self) -> Vec<usize> {
        let mut state = self.state();
        // Their callers have ended: a daemon that was killed, or one that has given up.
        state.calls.retain(|call| !call.reply.is_closed());
        state.calls.sort_by_cached_key(|call| (call.from, call.step.in_words()));
        let free = |call: &Call| !state.cut_off.contains(&call.from.daemon);
        (0..state.calls.len()).filter(|at| free(&state.calls[*at])).collect()
    }

    /// Lets a call go.
    pub(super) fn release(&self, at: usize, fate: Fate) {
        let Call { from, step, reply } = self.state().calls.remove(at);
        let broken = || {
            Err(RedisError::from(std::io::Error::from(
                std::io::ErrorKind::ConnectionReset,
            )))
        };
        self.note(format!("daemon {} {}: {fate:?}", from.daemon, step.in_words()));
        match fate {
            Fate::Answered => {
                let answer = self.carry_out(Some(from), &step);
                if let Err(error) = &answer {
                    self.note(format!("  Redis refuses: {error}"));
                }
                let _ = reply.send(answer);
            }
            Fate::RequestLost => {
                let _ = reply.send(broken());
            }
            Fate::ReplyLost => {
                let _ = self.carry_out(Some(from), &step);
                let _ = reply.send(broken());
            }
            Fate::Late => {
                let mut state = self.state();
                state.late.push(step);
                state.unanswered.push(reply);
            }
        }
    }

    /// Carries out a call whose caller has given up.
    pub(super) fn release_late(&self) -> bool {
        let step = {
            let mut state = self.state();
            state.unanswered.retain(|reply| !reply.is_closed());
            match state.late.is_empty() {
                true => return false,
                false => {
                    let count = state.late.len();
                    let at = state.rng.usize(..count);
                    state.late.remove(at)
                }
            }
        };
        self.note(format!("late: {}", step.in_words()));
        let _ = self.carry_out(None, &step);
        true
    }

    /// Lets one subscription hear what it has not yet.
    pub(super) fn spread_to_one(&self) -> bool {
        let mut state = self.state();
        state.listeners.retain(|listener| !listener.heard.is_closed());
        let cut_off = state.cut_off.clone();
        let due: Vec<usize> = (0..state.listeners.len())
            .filter(|at| {
                let listener = &state.listeners[*at];
                !listener.unheard.is_empty() && !cut_off.contains(&listener.owner.daemon)
            })
            .collect();
        if due.is_empty() {
            return false;
        }
        let at = due[state.rng.usize(..due.len())];
        let listener = &mut state.listeners[at];
        while let Some(notice) = listener.unheard.pop_front() {
            if let Err(error) = listener.heard.try_send(notice) {
                listener.unheard.push_front(error.into_inner());
                break;
            }
        }
        state.activity += 1;
        true
    }

    /// Breaks the subscriptions of a daemon and makes them again; what it had not heard is lost.
    pub(super) fn break_subscriptions(&self, daemon: usize) {
        self.note(format!("the subscription of daemon {daemon} breaks"));
        for listener in &mut self.state().listeners {
            if listener.owner.daemon == daemon {
                listener.unheard.clear();
                listener.unheard.extend([Notice::Disconnected, Notice::Connected]);
            }
        }
    }

    /// Breaks every call of a daemon that waits.
    pub(super) fn break_calls(&self, daemon: usize) {
        let broken: Vec<_> = {
            let mut state = self.state();
            let (broken, kept) = std::mem::take(&mut state.calls)
                .into_iter()
                .partition(|call| call.from.daemon == daemon);
            state.calls = kept;
            broken
        };
        for Call { reply, .. } in broken {
            let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            let _ = reply.send(Err(error.into()));
        }
    }

    /// Notes that a daemon has ended by itself, which is a fault unless its folder is a copy in use.
    pub(super) fn end_daemon(&self, start: DaemonStart, error: &anyhow::Error) {
        let line = format!("daemon {} ends: {error:#}", start.daemon);
        let is_right = matches!(
            error.downcast_ref(),
            Some(TenureError::InUse { .. } | TenureError::Lost { .. })
        );
        if !is_right {
            self.state().fault = Some(line.clone());
        }
        self.note(line);
    }

    /// Takes everything from a daemon that was killed.
    pub(super) fn bury(&self, start: DaemonStart) {
        let mut state = self.state();
        state.alive.remove(&start.daemon);
        state.programs.retain(|_, owner| *owner != start);
        state.listeners.retain(|listener| listener.owner != start);
        state.calls.retain(|call| call.from != start);
        state.activity += 1;
    }

    pub(super) fn transport(self: &Arc<Self>, owner: DaemonStart) -> Arc<dyn Transport> {
        Arc::new(WorldTransport {
            world: Arc::clone(self),
            owner,
        })
    }
}

/// Adds a text to a hash that is the same in every process (FNV-1a).
fn add_to_hash(hash: u64, text: &str) -> u64 {
    text.bytes().fold(hash, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What one start of a daemon speaks to Redis over.
struct WorldTransport {
    world: Arc<World>,
    owner: DaemonStart,
}

impl WorldTransport {
    fn send_step(&self, step: SentStep) -> RedisFuture<'_, Vec<Value>> {
        if !self.world.state().is_alive(self.owner) {
            // Nothing of a daemon that was killed goes anywhere.
            return Box::pin(std::future::pending());
        }
        if self.world.state().is_calm || step.is_of_setup() {
            let answer = self.world.carry_out(Some(self.owner), &step);
            return Box::pin(std::future::ready(answer));
        }
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.world.state();
            state.activity += 1;
            state.calls.push(Call {
                from: self.owner,
                step,
                reply,
            });
        }
        Box::pin(async move {
            answer.await.unwrap_or_else(|_| {
                let error = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
                Err(error.into())
            })
        })
    }
}

impl Transport for WorldTransport {
    fn send(&self, packed: Vec<u8>) -> RedisFuture<'_, Value> {
        let sent = self.send_step(SentStep::command(packed));
        Box::pin(async move {
            let reply = sent.await?.pop();
            Ok(reply.expect("a command has one reply"))
        })
    }

    fn send_atomic(&self, packed: Vec<Vec<u8>>) -> RedisFuture<'_, Vec<Value>> {
        self.send_step(SentStep::transaction(packed))
    }

    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn subscribe(&self) -> mpsc::Receiver<Notice> {
        let (heard, notices) = mpsc::channel(UNREAD);
        let mut state = self.world.state();
        state.activity += 1;
        state.listeners.push(Listener {
            owner: self.owner,
            unheard: VecDeque::from([Notice::Connected]),
            heard,
        });
        notices
    }
}
