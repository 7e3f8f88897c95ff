//! Control requests to workers and what they reply. A worker replies if it can: one whose only process runs a task, or
//! that takes no control requests, is mute and works all the same.

use std::{collections::BTreeMap, fmt, str::FromStr};

use onceover_types::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    CeleryError, MessageId,
    event::read_seconds,
    kombu::{KombuRoute, read_message, write_message},
    names::{CONTROL_EXCHANGE, REPLY_EXCHANGE},
};

/// The signal by which a running task is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermSignal {
    /// Ends the process; programs that the task waits for in the foreground end with it.
    Term,
    /// Ends a process that ignores the other ones, and leaves its programs behind.
    Kill,
    /// Raises the exception of a soft time limit inside the task, which may clean up. The state becomes FAILURE.
    Usr1,
    /// As from a keyboard.
    Int,
    /// As the quit key of a keyboard.
    Quit,
}

impl TermSignal {
    /// Every signal.
    pub const ALL: [Self; 5] = [Self::Term, Self::Kill, Self::Usr1, Self::Int, Self::Quit];

    /// Returns its name, as Celery and configurations have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Term => "SIGTERM",
            Self::Kill => "SIGKILL",
            Self::Usr1 => "SIGUSR1",
            Self::Int => "SIGINT",
            Self::Quit => "SIGQUIT",
        }
    }
}

impl fmt::Display for TermSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text names no signal by which a task is ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no signal that ends a task; use SIGTERM, SIGKILL, SIGUSR1, SIGINT or SIGQUIT")]
pub struct UnknownSignal(String);

impl FromStr for TermSignal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|signal| signal.as_str() == text);
        found.ok_or_else(|| UnknownSignal(onceover_types::shortened(text)))
    }
}

/// How a worker runs its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolKind {
    Prefork,
    /// One task at a time in the worker itself, which is mute meanwhile.
    Solo,
    Threads,
    Gevent,
    Eventlet,
    Other(String),
}

impl PoolKind {
    /// Reads the name of a class, `celery.concurrency.prefork:TaskPool`.
    fn parse(implementation: &str) -> Self {
        let module = implementation.split(':').next().unwrap_or_default();
        match module.rsplit('.').next().unwrap_or_default() {
            "prefork" => Self::Prefork,
            "solo" => Self::Solo,
            "thread" => Self::Threads,
            "gevent" => Self::Gevent,
            "eventlet" => Self::Eventlet,
            _ => Self::Other(onceover_types::shortened(implementation)),
        }
    }
}

impl fmt::Display for PoolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Prefork => "prefork",
            Self::Solo => "solo",
            Self::Threads => "threads",
            Self::Gevent => "gevent",
            Self::Eventlet => "eventlet",
            Self::Other(name) => name,
        })
    }
}

/// What one worker reports of itself. What it did not answer is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerReport {
    pub hostname: String,
    /// The queues it takes from. A worker that stopped taking from one is here without it.
    pub queues: Vec<String>,
    pub pool: Option<PoolKind>,
    /// Tasks that it runs at once.
    pub concurrency: Option<u64>,
    pub pid: Option<i64>,
    /// The names of the tasks it knows, where it was asked for them.
    pub registered: Vec<String>,
}

/// What workers answered to the question who there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerSurvey {
    /// Those that answered, by name.
    pub reports: Vec<WorkerReport>,
    /// How many heard the question. Another program that listens to all channels counts as one.
    pub connected: u64,
    /// How many named their queues. One that answered another part in time is among the reports without any.
    pub answered: u64,
}

impl WorkerSurvey {
    /// Returns how many heard the question and did not answer in time: a busy `solo` worker never does. As long as
    /// there are some, nobody knows that a queue has no worker.
    pub fn mute(&self) -> u64 {
        self.connected.saturating_sub(self.answered)
    }
}

/// What a worker does with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SightingState {
    /// It runs.
    Active,
    /// The worker has taken it and runs something else.
    Reserved,
    /// Another word of the worker's.
    Other(String),
}

/// A worker that has one of the messages that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSighting {
    pub id: MessageId,
    pub hostname: String,
    pub state: SightingState,
    /// Whether the message was acknowledged: it will not be delivered again.
    pub acknowledged: Option<bool>,
    /// The process that runs the task.
    pub pid: Option<i64>,
    pub started_at: Option<Timestamp>,
    /// Whether it was delivered before, to this worker or another one.
    pub redelivered: bool,
}

/// What a worker answered when it was asked to end a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminateOutcome {
    /// The worker has it: it runs and was sent the signal, or gets it as it begins.
    Signalled,
    /// The worker does not have it, and refuses it should it come later, for as long as the worker lives.
    NotRunning,
    /// The worker's pool cannot end a task; this one goes on.
    CannotTerminate(String),
    /// Something else, in the worker's words.
    Other(String),
}

/// The answer of one worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminateReply {
    pub hostname: String,
    pub outcome: TerminateOutcome,
}

/// A request to all workers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ControlRequest {
    pub(crate) method: &'static str,
    pub(crate) arguments: Value,
}

/// Where replies go: the one who asks, and what its question is known by.
#[derive(Debug, Clone)]
pub(crate) struct ReplyAddress {
    pub(crate) asker: String,
    pub(crate) ticket: String,
}

impl ControlRequest {
    pub(crate) fn new(method: &'static str, arguments: Value) -> Self {
        Self { method, arguments }
    }

    /// Ends a task, or keeps it from starting where no signal is named.
    pub(crate) fn revoke(id: &MessageId, signal: Option<TermSignal>) -> Self {
        let mut arguments = json!({"task_id": [id.to_string()]});
        if let Some(signal) = signal {
            arguments["terminate"] = json!(true);
            arguments["signal"] = json!(signal.as_str());
        }
        Self::new("revoke", arguments)
    }

    pub(crate) fn query_tasks(ids: &[MessageId]) -> Self {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        Self::new("query_task", json!({"ids": ids}))
    }

    /// Writes the request; without an address workers do not reply.
    pub(crate) fn to_message(&self, reply: Option<&ReplyAddress>) -> String {
        let mut body = json!({
            "method": self.method, "arguments": self.arguments, "destination": null, "pattern": null, "matcher": null,
        });
        if let Some(reply) = reply {
            body["ticket"] = json!(reply.ticket);
            body["reply_to"] = json!({"exchange": REPLY_EXCHANGE, "routing_key": reply.asker});
        }
        let route = KombuRoute {
            exchange: CONTROL_EXCHANGE,
            routing_key: "",
        };
        write_message(&json!({"clock": 1, "expires": 0}), &body, &route, "")
    }
}

/// What one worker replied.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ControlReply {
    pub(crate) hostname: String,
    pub(crate) answer: Value,
}

impl ControlReply {
    /// Reads an item of the list of replies. None: it answers another question.
    pub(crate) fn read(item: &[u8], ticket: &str) -> Result<Option<Self>, CeleryError> {
        let message = read_message("the reply of a worker", item)?;
        let is_ours = message.headers.get("ticket").and_then(Value::as_str) == Some(ticket);
        let answers = match message.body {
            Value::Object(answers) if is_ours => answers,
            _ => Map::new(),
        };
        Ok(answers
            .into_iter()
            .next()
            .map(|(hostname, answer)| Self { hostname, answer }))
    }
}

/// Puts together what workers said of their queues, of themselves, and of the tasks they know.
pub(crate) fn collect_reports(
    queues: &[ControlReply],
    stats: &[ControlReply],
    registered: &[ControlReply],
) -> Vec<WorkerReport> {
    let mut reports: BTreeMap<&str, WorkerReport> = BTreeMap::new();
    for reply in queues {
        let queues = reply.answer.as_array().into_iter().flatten();
        let names = queues.filter_map(|queue| queue["name"].as_str().map(str::to_owned));
        report_of(&mut reports, reply).queues = names.collect();
    }
    for reply in stats {
        let report = report_of(&mut reports, reply);
        let pool = &reply.answer["pool"];
        report.pool = pool["implementation"].as_str().map(PoolKind::parse);
        report.concurrency = pool["max-concurrency"].as_u64();
        report.pid = reply.answer["pid"].as_i64();
    }
    for reply in registered {
        let tasks = reply.answer.as_array().into_iter().flatten();
        // A task is its name, or its name and options: `probe.noop [rate_limit=1/s]`.
        let names = tasks.filter_map(|task| task.as_str()?.split(' ').next().map(str::to_owned));
        report_of(&mut reports, reply).registered = names.collect();
    }
    reports.into_values().collect()
}

fn report_of<'a, 'b>(
    reports: &'b mut BTreeMap<&'a str, WorkerReport>,
    reply: &'a ControlReply,
) -> &'b mut WorkerReport {
    reports.entry(&reply.hostname).or_insert_with(|| WorkerReport {
        hostname: reply.hostname.clone(),
        ..WorkerReport::default()
    })
}

/// Reads what workers replied to `query_task`: `{id: [state, {...}]}`.
pub(crate) fn read_sightings(replies: &[ControlReply]) -> Vec<TaskSighting> {
    let of_worker = |reply: &ControlReply| {
        let tasks = reply.answer.as_object().into_iter().flatten();
        let sightings = tasks.filter_map(|(id, task)| read_sighting(&reply.hostname, id, task));
        sightings.collect::<Vec<_>>()
    };
    replies.iter().flat_map(of_worker).collect()
}

fn read_sighting(hostname: &str, id: &str, task: &Value) -> Option<TaskSighting> {
    let details = &task[1];
    Some(TaskSighting {
        id: MessageId::parse(id).ok()?,
        hostname: hostname.to_owned(),
        state: match task[0].as_str()? {
            "active" => SightingState::Active,
            "reserved" => SightingState::Reserved,
            other => SightingState::Other(onceover_types::shortened(other)),
        },
        acknowledged: details["acknowledged"].as_bool(),
        pid: details["worker_pid"].as_i64(),
        started_at: details["time_start"].as_f64().map(read_seconds),
        redelivered: details["delivery_info"]["redelivered"].as_bool().unwrap_or_default(),
    })
}

/// Reads what workers replied to a request to end a task.
pub(crate) fn read_terminations(id: &MessageId, replies: &[ControlReply]) -> Vec<TerminateReply> {
    let of_worker = |reply: &ControlReply| TerminateReply {
        hostname: reply.hostname.clone(),
        outcome: termination(id, &reply.answer),
    };
    replies.iter().map(of_worker).collect()
}

fn termination(id: &MessageId, answer: &Value) -> TerminateOutcome {
    if let Some(error) = answer["error"].as_str() {
        let error = onceover_types::shortened(error);
        return if error.starts_with("NotImplementedError") {
            TerminateOutcome::CannotTerminate(error)
        } else {
            TerminateOutcome::Other(error)
        };
    }
    match answer["ok"].as_str() {
        Some(ok) if ok.contains(&id.to_string()) && ok.starts_with("terminate: ") => TerminateOutcome::Signalled,
        Some(ok) if ok.ends_with("tasks unknown") => TerminateOutcome::NotRunning,
        _ => TerminateOutcome::Other(onceover_types::shortened(&answer.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(hostname: &str, answer: Value) -> ControlReply {
        ControlReply {
            hostname: hostname.into(),
            answer,
        }
    }

    #[test]
    fn a_request_asks_for_a_reply_only_where_there_is_an_address() {
        let id = MessageId::generate();
        let request = ControlRequest::revoke(&id, Some(TermSignal::Kill));
        let quiet = read_message("it", request.to_message(None).as_bytes()).expect("a message");
        assert_eq!(quiet.body["method"], "revoke");
        assert_eq!(
            quiet.body["arguments"],
            json!({"task_id": [id.to_string()], "terminate": true, "signal": "SIGKILL"})
        );
        assert_eq!(quiet.body["destination"], Value::Null);
        assert!(quiet.body.get("ticket").is_none() && quiet.body.get("reply_to").is_none());
        let address = ReplyAddress {
            asker: "me".into(),
            ticket: "t".into(),
        };
        let asking = request.to_message(Some(&address));
        let asking = read_message("it", asking.as_bytes()).expect("a message");
        assert_eq!(
            asking.body["reply_to"],
            json!({"exchange": "reply.celery.pidbox", "routing_key": "me"})
        );
        assert_eq!(asking.body["ticket"], "t");
    }

    #[test]
    fn a_revoke_without_a_signal_ends_nothing_that_runs() {
        let request = ControlRequest::revoke(&MessageId::generate(), None);
        assert!(request.arguments.get("terminate").is_none());
    }

    #[test]
    fn a_reply_to_another_question_is_passed_over() {
        let body = json!({"w@h": {"ok": "pong"}}).to_string();
        let item = json!({"body": body, "headers": {"ticket": "t"}}).to_string();
        let read = |ticket: &str| ControlReply::read(item.as_bytes(), ticket).expect("a reply");
        assert_eq!(read("t"), Some(reply("w@h", json!({"ok": "pong"}))));
        assert_eq!(read("other"), None);
    }

    #[test]
    fn a_worker_that_answers_in_part_is_reported_with_that() {
        let reports = collect_reports(
            &[reply("a@h", json!([{"name": "q"}]))],
            &[reply("b@h", json!({"pid": 7, "pool": {"implementation": "my.pool:P"}}))],
            &[reply("a@h", json!(["x.y [rate_limit=1/s]", "x.z"]))],
        );
        assert_eq!(reports.len(), 2);
        assert_eq!(reports[0].queues, ["q"]);
        assert_eq!(reports[0].registered, ["x.y", "x.z"]);
        assert_eq!(reports[1].pool, Some(PoolKind::Other("my.pool:P".into())));
        assert_eq!(reports[1].queues, Vec::<String>::new());
        let survey = WorkerSurvey {
            reports,
            connected: 3,
            answered: 1,
        };
        assert_eq!(survey.mute(), 2, "b@h did not name its queues");
    }

    #[test]
    fn signals_are_named_as_celery_names_them() {
        for signal in TermSignal::ALL {
            assert_eq!(signal.as_str().parse(), Ok(signal));
        }
        assert!("TERM".parse::<TermSignal>().is_err());
        assert!("SIGSTOP".parse::<TermSignal>().is_err());
    }
}
