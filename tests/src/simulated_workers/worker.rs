//! One worker: it takes a message, runs it, and answers meanwhile.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use redis::{
    AsyncCommands, RedisResult,
    aio::{MultiplexedConnection, PubSub},
};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::redis_server::connect;

use super::{
    FleetState, HeldMessage, lock,
    messages::{
        CONTROL_CHANNEL, ControlQuestion, REPLY_BINDINGS, TakenMessage, queue_lists, unix_seconds, write_record,
        write_worker_event,
    },
};

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long results are kept, in seconds.
const RESULT_EXPIRES: u64 = 86_400;

/// Why a task ends before its time.
enum TaskStop {
    Revoked,
    ProcessLost,
}

/// The task that a worker runs.
struct RunningTask {
    message: TakenMessage,
    stop: oneshot::Sender<TaskStop>,
}

/// What the parts of a worker share.
struct WorkerParts {
    fleet: Arc<FleetState>,
    hostname: String,
    pid: i64,
    acks_late: bool,
    running: Mutex<Option<RunningTask>>,
    /// Kept in memory alone, as real workers do.
    revoked: Mutex<HashSet<String>>,
    processed: AtomicU64,
}

/// A worker that lives until it is ended or dropped.
pub(super) struct SimulatedWorker {
    parts: Arc<WorkerParts>,
    tasks: JoinSet<()>,
}

impl SimulatedWorker {
    /// Starts it. It listens before this returns.
    pub(super) async fn start(fleet: &Arc<FleetState>, hostname: String, acks_late: bool) -> Self {
        let parts = Arc::new(WorkerParts {
            fleet: Arc::clone(fleet),
            hostname,
            pid: fleet.take_pid(),
            acks_late,
            running: Mutex::default(),
            revoked: Mutex::default(),
            processed: AtomicU64::new(0),
        });
        let client = redis::Client::open(fleet.message_url.as_str()).expect("a Redis URL");
        let mut requests = client.get_async_pubsub().await.expect("the broker answers");
        requests.subscribe(CONTROL_CHANNEL).await.expect("it subscribes");
        let messages = connect(&fleet.message_url).await;
        let results = connect(&fleet.result_url).await;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&parts).answer(requests));
        tasks.spawn(Arc::clone(&parts).beat());
        tasks.spawn(Arc::clone(&parts).take_messages(messages, results));
        Self { parts, tasks }
    }

    pub(super) fn hostname(&self) -> &str {
        &self.parts.hostname
    }

    pub(super) fn acks_late(&self) -> bool {
        self.parts.acks_late
    }

    pub(super) fn is_busy(&self) -> bool {
        lock(&self.parts.running).is_some()
    }

    /// Kills the process that runs its task, if there is one.
    pub(super) fn lose_process(&self) {
        if let Some(task) = lock(&self.parts.running).take() {
            // One that has ended at this moment needs no process any more.
            let _ = task.stop.send(TaskStop::ProcessLost);
        }
    }

    /// Ends it where it stands. Returns the message that it had begun with.
    pub(super) async fn end(&mut self) -> Option<TakenMessage> {
        self.tasks.shutdown().await;
        lock(&self.parts.running).take().map(|task| task.message)
    }

    pub(super) async fn publish_event(&self, kind: &str) {
        self.parts.publish_event(kind).await;
    }
}

impl WorkerParts {
    async fn publish_event(&self, kind: &str) {
        let active = u64::from(lock(&self.running).is_some());
        let processed = self.processed.load(Ordering::Relaxed);
        let (channel, event) = write_worker_event(kind, &self.hostname, self.pid, active, processed);
        let published: RedisResult<u64> = self.fleet.control.clone().publish(channel, event).await;
        if let Err(error) = published {
            eprintln!("{} publishes no event: {error}", self.hostname);
        }
    }

    async fn beat(self: Arc<Self>) {
        self.publish_event("online").await;
        let mut beats = interval(HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            self.publish_event("heartbeat").await;
        }
    }

    /// Answers control requests.
    async fn answer(self: Arc<Self>, requests: PubSub) {
        let mut requests = requests.into_on_message();
        while let Some(request) = requests.next().await {
            let Some(question) = ControlQuestion::read(request.get_payload_bytes(), &self.hostname) else {
                continue;
            };
            let answer = self.decide(&question);
            let Some(reply) = question.write_reply(&self.hostname, &answer) else {
                continue;
            };
            let mut control = self.fleet.control.clone();
            let bindings: RedisResult<Vec<String>> = control.smembers(REPLY_BINDINGS).await;
            // Who does not wait any more has removed its entry.
            if bindings.is_ok_and(|bindings| bindings.contains(&reply.binding)) {
                let _: RedisResult<u64> = control.lpush(reply.list, reply.text).await;
            }
        }
    }

    fn decide(&self, question: &ControlQuestion) -> Value {
        match question.method.as_str() {
            "ping" => json!({"ok": "pong"}),
            "active_queues" => {
                let queue = &self.fleet.queue;
                json!([{"name": queue, "exchange": {"name": queue, "type": "direct"}, "routing_key": queue}])
            }
            "stats" => json!({
                "pid": self.pid,
                "pool": {"implementation": "celery.concurrency.prefork:TaskPool", "max-concurrency": 1},
            }),
            "registered" => json!(["probe.noop", "probe.sleep", "probe.write"]),
            "query_task" => self.find_tasks(&question.arguments),
            "revoke" => self.revoke(&question.arguments),
            _ => json!({"ok": "done"}),
        }
    }

    fn find_tasks(&self, arguments: &Value) -> Value {
        let running = lock(&self.running);
        let wanted = arguments["ids"].as_array().into_iter().flatten();
        let mut wanted = wanted.filter_map(Value::as_str);
        let found = running.as_ref().filter(|task| wanted.any(|id| id == task.message.id));
        found.map_or_else(
            || json!({}),
            |task| {
                json!({task.message.id.as_str(): ["active", {
                    "id": task.message.id, "hostname": self.hostname, "acknowledged": !self.acks_late,
                    "worker_pid": self.pid, "delivery_info": {"redelivered": task.message.is_redelivered},
                }]})
            },
        )
    }

    fn revoke(&self, arguments: &Value) -> Value {
        let ids: Vec<String> = match &arguments["task_id"] {
            Value::String(id) => vec![id.clone()],
            ids => {
                let ids = ids.as_array().into_iter().flatten();
                ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
            }
        };
        lock(&self.revoked).extend(ids.iter().cloned());
        if arguments["terminate"] != true {
            return json!({"ok": format!("tasks {} flagged as revoked", ids.join(", "))});
        }
        let mut running = lock(&self.running);
        let Some(task) = running.take_if(|task| ids.contains(&task.message.id)) else {
            return json!({"ok": "terminate: tasks unknown"});
        };
        let answer = json!({"ok": format!("terminate: {}", task.message.id)});
        // One that has ended at this moment is not there to be ended.
        let _ = task.stop.send(TaskStop::Revoked);
        answer
    }

    /// Takes one message after another.
    async fn take_messages(self: Arc<Self>, mut messages: MultiplexedConnection, mut results: MultiplexedConnection) {
        let mut pop = redis::cmd("BRPOP");
        for list in queue_lists(&self.fleet.queue) {
            pop.arg(list);
        }
        pop.arg(1);
        loop {
            if let Err(error) = self.take_message(&pop, &mut messages, &mut results).await {
                self.fleet
                    .note_fault(format!("{} lost its broker: {error}", self.hostname));
                return;
            }
        }
    }

    /// Takes a message and runs it, if one comes within a second.
    async fn take_message(
        &self,
        pop: &redis::Cmd,
        messages: &mut MultiplexedConnection,
        results: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let taken: Option<(String, String)> = pop.query_async(messages).await?;
        let Some((_, text)) = taken else { return Ok(()) };
        let hand = HeldMessage::take(&self.fleet);
        match TakenMessage::read(text, &self.fleet.queue) {
            Ok(message) => self.run(message, hand, messages, results).await,
            Err(fault) => {
                self.fleet.note_fault(fault);
                Ok(())
            }
        }
    }

    /// Runs a message from its delivery to its end.
    async fn run(
        &self,
        message: TakenMessage,
        hand: HeldMessage,
        messages: &mut MultiplexedConnection,
        results: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let (id, tag) = (message.id.clone(), message.tag.clone());
        self.hold(&message, messages).await?;
        if lock(&self.revoked).contains(&id) {
            drop(hand);
            write_state(results, &id, "REVOKED", &describe_revoked("revoked")).await?;
            return acknowledge(&tag, messages).await;
        }
        self.fleet.note_begin(&message);
        if !self.acks_late {
            acknowledge(&tag, messages).await?;
        }
        let (duration, returned) = (message.duration(), message.returned());
        let (stop, stopped) = oneshot::channel();
        *lock(&self.running) = Some(RunningTask { message, stop });
        // The process of the pool; one that is killed is followed by another one.
        let started = json!({"pid": self.pid + 1_000_000, "hostname": self.hostname});
        write_state(results, &id, "STARTED", &started).await?;
        let begun = Instant::now();
        let stop = tokio::select! {
            biased;
            stop = stopped => stop.ok(),
            () = sleep(duration) => None,
        };
        lock(&self.running).take();
        let busy = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.fleet.busy_micros.fetch_add(busy, Ordering::Relaxed);
        self.processed.fetch_add(1, Ordering::Relaxed);
        // Once the result can be read, the daemon may send another message.
        drop(hand);
        match stop {
            None => write_state(results, &id, "SUCCESS", &returned).await?,
            Some(TaskStop::Revoked) => write_state(results, &id, "REVOKED", &describe_revoked("terminated")).await?,
            Some(TaskStop::ProcessLost) => {
                let lost = json!({
                    "exc_type": "WorkerLostError",
                    "exc_message": ["Worker exited prematurely: signal 9 (SIGKILL) Job: 0."],
                    "exc_module": "billiard.exceptions",
                });
                write_state(results, &id, "FAILURE", &lost).await?;
            }
        }
        if self.acks_late {
            acknowledge(&tag, messages).await?;
        }
        Ok(())
    }

    /// Notes that the message is taken and not acknowledged.
    async fn hold(&self, message: &TakenMessage, messages: &mut MultiplexedConnection) -> RedisResult<()> {
        let mut hold = redis::pipe();
        hold.atomic()
            .hset("unacked", &message.tag, message.held(&self.fleet.queue))
            .ignore()
            .zadd("unacked_index", &message.tag, unix_seconds())
            .ignore();
        hold.query_async(messages).await
    }
}

async fn acknowledge(tag: &str, messages: &mut MultiplexedConnection) -> RedisResult<()> {
    let mut release = redis::pipe();
    release
        .atomic()
        .zrem("unacked_index", tag)
        .ignore()
        .hdel("unacked", tag)
        .ignore();
    release.query_async(messages).await
}

/// Writes a state of a message, and publishes it.
async fn write_state(results: &mut MultiplexedConnection, id: &str, state: &str, result: &Value) -> RedisResult<()> {
    let key = format!("celery-task-meta-{id}");
    let record = write_record(id, state, result);
    let mut write = redis::pipe();
    write
        .atomic()
        .set_ex(&key, &record, RESULT_EXPIRES)
        .ignore()
        .publish(&key, &record)
        .ignore();
    write.query_async(results).await
}

fn describe_revoked(why: &str) -> Value {
    json!({"exc_type": "TaskRevokedError", "exc_message": [why], "exc_module": "celery.exceptions"})
}
