//! What workers publish about themselves and their tasks. Results are the authority; events come without being asked for
//! and are lost while the connection is.

use onceover_types::Timestamp;
use serde_json::Value;

use super::{CeleryError, MessageId, kombu::read_message};

/// The most events that one message is read to hold; Celery sends some hundred at most.
const MOST_EVENTS: usize = 10_000;

/// An event. A worker is killed without one, and tasks have them only where the worker was started with `-E` or was
/// asked for them.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkerEvent {
    Online {
        hostname: String,
        pid: Option<i64>,
        version: Option<String>,
        at: Option<Timestamp>,
    },
    Heartbeat {
        hostname: String,
        pid: Option<i64>,
        version: Option<String>,
        at: Option<Timestamp>,
        /// Tasks that run.
        active: Option<u64>,
        /// Tasks that have ended since it started.
        processed: Option<u64>,
        /// Seconds from one heartbeat to the next.
        interval: Option<f64>,
    },
    Offline {
        hostname: String,
        at: Option<Timestamp>,
    },
    TaskReceived {
        id: MessageId,
        hostname: String,
        /// The name of the task; no other event has it.
        name: Option<String>,
        at: Option<Timestamp>,
    },
    TaskStarted {
        id: MessageId,
        hostname: String,
        /// The worker's own process, not the one that runs the task.
        pid: Option<i64>,
        at: Option<Timestamp>,
    },
    /// The result is not part of it: what the event carries is cut, and no JSON.
    TaskSucceeded {
        id: MessageId,
        hostname: String,
        /// Seconds.
        runtime: Option<f64>,
        at: Option<Timestamp>,
    },
    TaskFailed {
        id: MessageId,
        hostname: String,
        /// As Python shows it, `ValueError('no such codec')`.
        exception: Option<String>,
        traceback: Option<String>,
        at: Option<Timestamp>,
    },
    TaskRetried {
        id: MessageId,
        hostname: String,
        exception: Option<String>,
        traceback: Option<String>,
        at: Option<Timestamp>,
    },
    TaskRevoked {
        id: MessageId,
        hostname: String,
        terminated: bool,
        expired: bool,
        signal: Option<i64>,
        at: Option<Timestamp>,
    },
    /// A worker gave a message back, or refused it.
    TaskRejected {
        id: MessageId,
        hostname: String,
        requeue: bool,
        at: Option<Timestamp>,
    },
    /// A worker of a newer version that stops or lost its broker ended a task, whose message is delivered again.
    TaskCancelled {
        id: MessageId,
        hostname: String,
        at: Option<Timestamp>,
    },
}

impl WorkerEvent {
    /// Returns the worker that published it.
    pub fn hostname(&self) -> &str {
        match self {
            Self::Online { hostname, .. }
            | Self::Heartbeat { hostname, .. }
            | Self::Offline { hostname, .. }
            | Self::TaskReceived { hostname, .. }
            | Self::TaskStarted { hostname, .. }
            | Self::TaskSucceeded { hostname, .. }
            | Self::TaskFailed { hostname, .. }
            | Self::TaskRetried { hostname, .. }
            | Self::TaskRevoked { hostname, .. }
            | Self::TaskRejected { hostname, .. }
            | Self::TaskCancelled { hostname, .. } => hostname,
        }
    }

    /// Returns the message that it is about; none if it is about the worker.
    pub fn message(&self) -> Option<MessageId> {
        match self {
            Self::Online { .. } | Self::Heartbeat { .. } | Self::Offline { .. } => None,
            Self::TaskReceived { id, .. }
            | Self::TaskStarted { id, .. }
            | Self::TaskSucceeded { id, .. }
            | Self::TaskFailed { id, .. }
            | Self::TaskRetried { id, .. }
            | Self::TaskRevoked { id, .. }
            | Self::TaskRejected { id, .. }
            | Self::TaskCancelled { id, .. } => Some(*id),
        }
    }
}

/// Reads what was published on a channel of events: one event, or a list of them. Kinds that are not known here and
/// messages whose ids other clients chose are left out.
pub(crate) fn read_events(payload: &[u8]) -> Result<Vec<WorkerEvent>, CeleryError> {
    let what = "an event of a worker";
    let body = read_message(what, payload)?.body;
    match &body {
        Value::Array(events) if events.len() > MOST_EVENTS => Err(CeleryError::Malformed {
            what: what.to_owned(),
            reason: format!("it is a list of {}, and at most {MOST_EVENTS} are read", events.len()),
        }),
        Value::Array(events) => Ok(events.iter().filter_map(read_event).collect()),
        event => Ok(read_event(event).into_iter().collect()),
    }
}

fn read_event(event: &Value) -> Option<WorkerEvent> {
    let text = |field: &str| event[field].as_str().map(str::to_owned);
    let is_set = |field: &str| event[field].as_bool().unwrap_or_default();
    let hostname = text("hostname")?;
    let pid = event["pid"].as_i64();
    let version = text("sw_ver");
    let at = event["timestamp"].as_f64().map(read_seconds);
    let kind = event["type"].as_str()?;
    match kind {
        "worker-online" => {
            return Some(WorkerEvent::Online {
                hostname,
                pid,
                version,
                at,
            });
        }
        "worker-heartbeat" => {
            return Some(WorkerEvent::Heartbeat {
                hostname,
                pid,
                version,
                at,
                active: event["active"].as_u64(),
                processed: event["processed"].as_u64(),
                interval: event["freq"].as_f64(),
            });
        }
        "worker-offline" => return Some(WorkerEvent::Offline { hostname, at }),
        _ => {}
    }
    let id = MessageId::parse(event["uuid"].as_str()?).ok()?;
    let exception = text("exception");
    let traceback = text("traceback");
    Some(match kind {
        "task-received" => WorkerEvent::TaskReceived {
            id,
            hostname,
            name: text("name"),
            at,
        },
        "task-started" => WorkerEvent::TaskStarted { id, hostname, pid, at },
        "task-succeeded" => WorkerEvent::TaskSucceeded {
            id,
            hostname,
            runtime: event["runtime"].as_f64(),
            at,
        },
        "task-failed" => WorkerEvent::TaskFailed {
            id,
            hostname,
            exception,
            traceback,
            at,
        },
        "task-retried" => WorkerEvent::TaskRetried {
            id,
            hostname,
            exception,
            traceback,
            at,
        },
        "task-revoked" => WorkerEvent::TaskRevoked {
            id,
            hostname,
            terminated: is_set("terminated"),
            expired: is_set("expired"),
            signal: event["signum"].as_i64(),
            at,
        },
        "task-rejected" => WorkerEvent::TaskRejected {
            id,
            hostname,
            requeue: is_set("requeue"),
            at,
        },
        "task-cancelled" => WorkerEvent::TaskCancelled { id, hostname, at },
        _ => return None,
    })
}

/// A time of Python: seconds since the epoch, with a fraction.
pub(crate) fn read_seconds(seconds: f64) -> Timestamp {
    Timestamp::from_millis((seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Vec<WorkerEvent> {
        let message = json!({"body": body.to_string(), "content-type": "application/json", "headers": {}});
        read_events(message.to_string().as_bytes()).expect("events")
    }

    #[test]
    fn a_message_holds_one_event_or_many() {
        let id = MessageId::generate();
        let heartbeat = json!({"type": "worker-heartbeat", "hostname": "w@h", "active": 1, "freq": 2.0});
        let started = json!({"type": "task-started", "uuid": id.to_string(), "hostname": "w@h", "pid": 7});
        let alone = read(&heartbeat);
        assert!(matches!(&alone[..], [WorkerEvent::Heartbeat { active: Some(1), .. }]));
        let many = read(&json!([heartbeat, started]));
        assert_eq!(many.len(), 2);
        assert_eq!(many[1].message(), Some(id));
        assert_eq!((many[0].message(), many[1].hostname()), (None, "w@h"));
    }

    #[test]
    fn unknown_kinds_and_ids_of_other_clients_are_left_out_and_the_rest_is_read() {
        let id = MessageId::generate().to_string();
        let events = read(&json!([
            {"type": "task-started", "uuid": "my-own", "hostname": "w@h"},
            {"type": "task-sent", "uuid": id, "hostname": "w@h"},
            {"type": "task-started", "uuid": id},
            {"uuid": id, "hostname": "w@h"},
            7,
            {"type": "task-started", "uuid": id, "hostname": "w@h"},
        ]));
        assert_eq!(events.len(), 1, "{events:?}");
    }

    #[test]
    fn a_list_that_is_too_long_is_refused() {
        let body = Value::Array(vec![json!(1); MOST_EVENTS + 1]);
        let message = json!({"body": body.to_string(), "headers": {}});
        let error = read_events(message.to_string().as_bytes()).expect_err("too many");
        assert!(error.to_string().contains("at most 10000"), "{error}");
    }

    #[test]
    fn times_keep_their_milliseconds() {
        let events = read(&json!({"type": "worker-offline", "hostname": "w@h", "timestamp": 1_795_310_968.997_5}));
        let at = Timestamp::from_millis(1_795_310_968_997);
        assert_eq!(
            events,
            [WorkerEvent::Offline {
                hostname: "w@h".into(),
                at: Some(at),
            }]
        );
    }
}
