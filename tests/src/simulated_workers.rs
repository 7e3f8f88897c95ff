//! Celery workers that are simulated: hundreds in one process, each with separate connections and a pool of one
//! process. They take messages, hold them, acknowledge early or late, write results, send heartbeats, answer control
//! requests and refuse what was revoked, as real ones do. A test ends them as real ones end, and another one takes
//! their place.
//!
//! A message that would harm a real worker, or that is sent twice, is noted as a fault.

mod messages;
mod worker;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{AsyncCommands, aio::MultiplexedConnection};
use tokio::task::JoinSet;

use crate::{celery_workers::CeleryBroker, redis_server::connect};

use messages::{TakenMessage, mark_redelivered, queue_lists, restore_held, unix_seconds};
use worker::SimulatedWorker;

/// What a worker holds for longer is given out again: the visibility timeout of a deployment.
const VISIBILITY: Duration = Duration::from_secs(2);
/// For how long a worker that has died may be counted as one that listens, and what it held may come again.
const REMEMBERED: Duration = Duration::from_secs(15);

/// How a worker ends, or the process of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerDeath {
    /// It is killed and says nothing. A message that it had acknowledged is lost, another one is given out again.
    Killed {
        /// Whether the one that takes its place has its name.
        keeps_name: bool,
    },
    /// It stops at once: it puts its message back and says that it is offline.
    Stopped,
    /// The process that runs its task is killed, and it reports that.
    ProcessLost,
}

/// What the workers have done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FleetFigures {
    /// Tasks that were begun, those included that did not end.
    pub begun: u64,
    /// Of these, tasks of messages that another worker had before.
    pub redelivered: u64,
    /// Time in which tasks ran, of all workers together.
    pub busy: Duration,
}

/// How many messages there were at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueSample {
    /// In the lists of the queue.
    pub waiting: u64,
    /// With workers that live.
    pub in_hand: u64,
    /// How many there may be.
    pub most: u64,
}

/// What all workers share.
struct FleetState {
    queue: String,
    message_url: String,
    result_url: String,
    /// For events and replies. What a worker does with messages it does over its own connections.
    control: MultiplexedConnection,
    in_hand: AtomicU64,
    /// Changes whenever `in_hand` does.
    moves: AtomicU64,
    begun: AtomicU64,
    redelivered: AtomicU64,
    busy_micros: AtomicU64,
    next_pid: AtomicI64,
    seen: Mutex<HashSet<String>>,
    faults: Mutex<Vec<String>>,
}

impl FleetState {
    fn note_fault(&self, fault: String) {
        lock(&self.faults).push(fault);
    }

    /// Counts a task that begins, and checks that its message was sent once.
    fn note_begin(&self, message: &TakenMessage) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        if message.is_redelivered {
            self.redelivered.fetch_add(1, Ordering::Relaxed);
        }
        let is_new = lock(&self.seen).insert(message.id.clone());
        if !is_new && !message.is_redelivered {
            self.note_fault(format!("message {} was sent twice", message.id));
        }
    }

    fn take_pid(&self) -> i64 {
        self.next_pid.fetch_add(1, Ordering::Relaxed)
    }
}

/// No test goes on with what a panic has left.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics with what workers share")
}

/// A message in the hands of a worker, until dropped: before its result can be read.
struct HeldMessage(Arc<FleetState>);

impl HeldMessage {
    fn take(fleet: &Arc<FleetState>) -> Self {
        fleet.in_hand.fetch_add(1, Ordering::SeqCst);
        fleet.moves.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(fleet))
    }
}

impl Drop for HeldMessage {
    fn drop(&mut self) {
        self.0.in_hand.fetch_sub(1, Ordering::SeqCst);
        self.0.moves.fetch_add(1, Ordering::SeqCst);
    }
}

/// Workers of one queue. They end when dropped.
pub struct SimulatedWorkers {
    fleet: Arc<FleetState>,
    workers: Vec<SimulatedWorker>,
    /// Gives out again what workers that died have held.
    _restoring: JoinSet<()>,
    messages: MultiplexedConnection,
    deaths: Vec<Instant>,
    lives: usize,
}

impl SimulatedWorkers {
    /// Starts so many, each of which runs one task at a time; every second one acknowledges late.
    pub async fn start(broker: &CeleryBroker, queue: &str, count: usize) -> Self {
        let messages = connect(&broker.message_url()).await;
        let fleet = Arc::new(FleetState {
            queue: queue.to_owned(),
            message_url: broker.message_url(),
            result_url: broker.result_url(),
            control: connect(&broker.message_url()).await,
            in_hand: AtomicU64::new(0),
            moves: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            redelivered: AtomicU64::new(0),
            busy_micros: AtomicU64::new(0),
            next_pid: AtomicI64::new(100_000),
            seen: Mutex::default(),
            faults: Mutex::default(),
        });
        let mut workers = Vec::new();
        for number in 0..count {
            workers.push(SimulatedWorker::start(&fleet, format!("s{number}@sim"), number % 2 == 1).await);
        }
        let mut restoring = JoinSet::new();
        restoring.spawn(restore_forever(messages.clone(), queue.to_owned()));
        Self {
            fleet,
            workers,
            _restoring: restoring,
            messages,
            deaths: Vec::new(),
            lives: count,
        }
    }

    /// Ends one of them, one with a task if there is any, and starts another one in its place.
    pub async fn end_one(&mut self, death: WorkerDeath) {
        let index = self.choose();
        if death == WorkerDeath::ProcessLost {
            self.workers[index].lose_process();
            return;
        }
        self.deaths.push(Instant::now());
        let worker = &self.workers[index];
        let (mut next, acks_late) = (worker.hostname().to_owned(), worker.acks_late());
        let left = self.workers[index].end().await;
        match death {
            WorkerDeath::Stopped => {
                if let Some(message) = left {
                    self.put_back(&message).await;
                }
                self.workers[index].publish_event("offline").await;
            }
            WorkerDeath::Killed { keeps_name: false } => next = format!("s{}@sim", self.lives),
            WorkerDeath::Killed { keeps_name: true } | WorkerDeath::ProcessLost => {}
        }
        self.lives += 1;
        self.workers[index] = SimulatedWorker::start(&self.fleet, next, acks_late).await;
    }

    /// Chooses a worker by chance, of those with a task where there are some.
    fn choose(&self) -> usize {
        let busy: Vec<usize> = (0..self.workers.len())
            .filter(|index| self.workers[*index].is_busy())
            .collect();
        match busy.as_slice() {
            [] => fastrand::usize(..self.workers.len()),
            busy => busy[fastrand::usize(..busy.len())],
        }
    }

    /// Puts a message back as a worker does that stops.
    async fn put_back(&self, message: &TakenMessage) {
        let Some(text) = mark_redelivered(&message.text) else {
            return;
        };
        let mut give = redis::pipe();
        give.atomic()
            .hdel("unacked", &message.tag)
            .ignore()
            .zrem("unacked_index", &message.tag)
            .ignore()
            .rpush(&self.fleet.queue, text)
            .ignore();
        let () = give
            .query_async(&mut self.messages.clone())
            .await
            .expect("the broker answers");
    }

    /// Counts the messages of the queue. Returns nothing where one was taken or ended meanwhile, so that it could have
    /// been counted twice.
    pub async fn sample_queue(&self) -> Option<QueueSample> {
        let moves = self.fleet.moves.load(Ordering::SeqCst);
        let in_hand = self.fleet.in_hand.load(Ordering::SeqCst);
        let waiting = self.count_waiting().await;
        let is_still = self.fleet.moves.load(Ordering::SeqCst) == moves;
        is_still.then(|| QueueSample {
            waiting,
            in_hand,
            most: self.most_in_flight(),
        })
    }

    async fn count_waiting(&self) -> u64 {
        let mut lengths = redis::pipe();
        lengths.atomic();
        for list in queue_lists(&self.fleet.queue) {
            lengths.llen(list);
        }
        let lengths: Vec<u64> = lengths
            .query_async(&mut self.messages.clone())
            .await
            .expect("the broker answers");
        lengths.iter().sum()
    }

    /// How many messages there may be: what the workers can take, and one more. For one that died there may be two more
    /// for a while: nobody knows at once that it did, and a message is given out again whose result it had written.
    pub fn most_in_flight(&self) -> u64 {
        let remembered = self.deaths.iter().filter(|death| death.elapsed() < REMEMBERED);
        (self.workers.len() + 2 * remembered.count() + 1) as u64
    }

    /// Returns what they have done so far.
    pub fn figures(&self) -> FleetFigures {
        FleetFigures {
            begun: self.fleet.begun.load(Ordering::Relaxed),
            redelivered: self.fleet.redelivered.load(Ordering::Relaxed),
            busy: Duration::from_micros(self.fleet.busy_micros.load(Ordering::Relaxed)),
        }
    }

    /// Lists what was wrong with messages.
    pub fn faults(&self) -> Vec<String> {
        lock(&self.fleet.faults).clone()
    }
}

/// Gives out again what was held for too long, until the task is aborted.
async fn restore_forever(mut messages: MultiplexedConnection, queue: String) {
    loop {
        tokio::time::sleep(VISIBILITY / 4).await;
        let before = unix_seconds() - VISIBILITY.as_secs_f64();
        let tags: Result<Vec<String>, _> = messages.zrangebyscore("unacked_index", 0, before).await;
        for tag in tags.unwrap_or_default() {
            if let Err(error) = restore(&mut messages, &queue, &tag).await {
                eprintln!("the message held as {tag} is not given out again: {error}");
            }
        }
    }
}

async fn restore(messages: &mut MultiplexedConnection, queue: &str, tag: &str) -> redis::RedisResult<()> {
    let held: Option<String> = messages.hget("unacked", tag).await?;
    let removed: u64 = messages.zrem("unacked_index", tag).await?;
    if let Some(text) = held.as_deref().and_then(restore_held)
        && removed > 0
    {
        let mut give = redis::pipe();
        give.atomic().hdel("unacked", tag).ignore().rpush(queue, text).ignore();
        let () = give.query_async(messages).await?;
    }
    Ok(())
}
