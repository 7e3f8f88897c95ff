//! What workers write about a message: its state, its result, or why there is none.

use std::fmt;

use onceover_limits::Limit;
use onceover_types::Timestamp;
use serde_json::Value;

use super::{
    CeleryError, MessageId,
    kombu::{LARGEST_MESSAGE, check_size},
    names::RESULT,
};

/// The largest result that is read.
pub const LARGEST_RESULT: usize = LARGEST_MESSAGE;

/// The state that a worker last wrote. It is advice: a SUCCESS may follow on REVOKED, and STARTED may stand for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResultState {
    Pending,
    Received,
    Started,
    Retry,
    Success,
    Failure,
    Revoked,
    /// A name that the task chose, mostly for its progress.
    Custom(String),
    /// The record is there and cannot be read; the text says why.
    Unreadable(String),
}

impl ResultState {
    fn parse(text: &str) -> Self {
        match text {
            "PENDING" => Self::Pending,
            "RECEIVED" => Self::Received,
            "STARTED" => Self::Started,
            "RETRY" => Self::Retry,
            "SUCCESS" => Self::Success,
            "FAILURE" => Self::Failure,
            "REVOKED" => Self::Revoked,
            other => Self::Custom(onceover_types::shortened(other)),
        }
    }

    /// Says whether Celery means it as an end. A record that cannot be read is none: it may be read later, or replaced.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Revoked)
    }
}

impl fmt::Display for ResultState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "PENDING",
            Self::Received => "RECEIVED",
            Self::Started => "STARTED",
            Self::Retry => "RETRY",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Revoked => "REVOKED",
            Self::Custom(name) => name,
            Self::Unreadable(_) => "unreadable",
        })
    }
}

/// A record of a message in the result database, `celery-task-meta-<id>`.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskResult {
    pub id: MessageId,
    pub state: ResultState,
    /// What the task returned; of a custom state what the task wrote; of FAILURE, RETRY and REVOKED the exception.
    pub result: Value,
    pub traceback: Option<String>,
    /// The worker, where the record names it: with STARTED, and always with `result_extended`.
    pub hostname: Option<String>,
    /// The process that runs the task, which is not the worker's own; with STARTED alone.
    pub pid: Option<i64>,
    pub date_done: Option<Timestamp>,
}

impl TaskResult {
    /// Reads the record that is stored for an id, or published for it.
    pub fn read(id: &MessageId, json: &[u8]) -> Self {
        match read_record(id, json) {
            Ok(result) => result,
            Err(error) => Self::unreadable(id, &error),
        }
    }

    /// Makes what stands for a record that is there and cannot be read.
    pub(crate) fn unreadable(id: &MessageId, error: &CeleryError) -> Self {
        if matches!(error, CeleryError::TooLarge { .. }) {
            Limit::WorkerResult.reached();
        }
        Self {
            id: *id,
            state: ResultState::Unreadable(error.to_string()),
            result: Value::Null,
            traceback: None,
            hostname: None,
            pid: None,
            date_done: None,
        }
    }

    /// Reads what is published on a channel of results. None: the id is none of ours, other clients choose theirs.
    pub(crate) fn published(channel: &str, json: &[u8]) -> Option<Self> {
        let (_, id) = channel.rsplit_once(RESULT)?;
        Some(Self::read(&MessageId::parse(id).ok()?, json))
    }

    /// Returns the exception of FAILURE, RETRY and REVOKED as people read it: `ValueError: no such codec`.
    pub fn exception(&self) -> Option<String> {
        let kind = self.exception_kind()?;
        let text = self.exception_text();
        if text.is_empty() {
            Some(kind.to_owned())
        } else {
            Some(format!("{kind}: {text}"))
        }
    }

    /// Returns what that exception says, `no such codec`; an empty text where it says nothing.
    pub fn exception_text(&self) -> String {
        match &self.result["exc_message"] {
            Value::Array(parts) => parts.iter().map(plain_text).collect::<Vec<_>>().join(", "),
            Value::Null => String::new(),
            other => plain_text(other),
        }
    }

    /// Returns the name of that exception, `ValueError`.
    pub fn exception_kind(&self) -> Option<&str> {
        match self.state {
            ResultState::Failure | ResultState::Retry | ResultState::Revoked => self.result["exc_type"].as_str(),
            _ => None,
        }
    }

    /// Says whether the process that ran the task was killed, by lack of memory for example. The worker itself lives.
    pub fn is_process_lost(&self) -> bool {
        self.state == ResultState::Failure && self.exception_kind() == Some("WorkerLostError")
    }
}

fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn read_record(id: &MessageId, json: &[u8]) -> Result<TaskResult, CeleryError> {
    let what = || format!("the result of message {id}");
    check_size(&what(), json.len())?;
    let malformed = |reason: String| CeleryError::Malformed { what: what(), reason };
    let mut record: Value = serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
    let Some(status) = record["status"].as_str() else {
        return Err(malformed("it has no `status`".into()));
    };
    let state = ResultState::parse(status);
    let text = |field: &Value| field.as_str().map(str::to_owned);
    let traceback = text(&record["traceback"]);
    let date_done = record["date_done"].as_str().and_then(read_date);
    let started = (state == ResultState::Started).then_some(&record["result"]);
    let hostname = started
        .and_then(|started| text(&started["hostname"]))
        .or_else(|| text(&record["worker"]));
    let pid = started.and_then(|started| started["pid"].as_i64());
    Ok(TaskResult {
        id: *id,
        state,
        traceback,
        hostname,
        pid,
        date_done,
        result: record.get_mut("result").map(Value::take).unwrap_or_default(),
    })
}

/// Reads a time of Celery: with an offset of newer versions, in UTC and without one of older ones.
fn read_date(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>()
        .or_else(|_| format!("{text}Z").parse::<Timestamp>())
        .ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(record: &Value) -> TaskResult {
        TaskResult::read(&MessageId::generate(), record.to_string().as_bytes())
    }

    #[test]
    fn dates_with_and_without_an_offset_are_one_time() {
        let date = |text: &str| read(&json!({"status": "SUCCESS", "date_done": text})).date_done;
        let time = date("2026-11-22T01:26:40.447475+00:00");
        assert!(time.is_some());
        assert_eq!(date("2026-11-22T01:26:40.447475"), time);
        assert_eq!(date("2026-11-22T02:26:40.447475+01:00"), time);
        assert_eq!(date("yesterday"), None);
    }

    #[test]
    fn nothing_but_a_status_is_needed() {
        let result = read(&json!({"status": "PENDING", "children": null, "result": null}));
        assert_eq!(result.state, ResultState::Pending);
        assert_eq!(result.result, Value::Null);
        let alone = read(&json!({"status": "SUCCESS"}));
        assert!(alone.state.is_terminal());
        assert_eq!(alone.result, Value::Null);
    }

    #[test]
    fn states_that_a_task_chose_are_no_end() {
        let result = read(&json!({"status": "PROGRESS", "result": {"current": 1}}));
        assert_eq!(result.state, ResultState::Custom("PROGRESS".into()));
        assert!(!result.state.is_terminal());
        assert_eq!(result.result["current"], 1);
        assert_eq!((result.hostname, result.pid), (None, None));
    }

    #[test]
    fn what_cannot_be_read_is_there_and_no_end() {
        let id = MessageId::generate();
        let before = Limit::WorkerResult.times_reached();
        for (record, reason) in [
            (b"{".to_vec(), "EOF"),
            (b"[]".to_vec(), "`status`"),
            (br#"{"status": 1}"#.to_vec(), "`status`"),
            (vec![b' '; LARGEST_RESULT + 1], "16 MiB"),
        ] {
            let result = TaskResult::read(&id, &record);
            let ResultState::Unreadable(text) = &result.state else {
                panic!("{result:?}");
            };
            assert!(text.contains(reason) && text.contains(&id.to_string()), "{text}");
            assert!(!result.state.is_terminal());
        }
        assert!(Limit::WorkerResult.times_reached() > before);
    }

    #[test]
    fn an_exception_is_read_in_every_form() {
        let failure = |message: Value| {
            let record = json!({"status": "FAILURE", "result": {"exc_type": "E", "exc_message": message}});
            read(&record).exception().expect("a failure has an exception")
        };
        assert_eq!(failure(json!(["a", 1])), "E: a, 1");
        assert_eq!(failure(json!("a")), "E: a");
        assert_eq!(failure(json!([])), "E");
        assert_eq!(failure(Value::Null), "E");
        assert_eq!(failure(json!({"a": 1})), "E: {\"a\":1}");
        let success = json!({"status": "SUCCESS", "result": {"exc_type": "E"}});
        assert_eq!(read(&success).exception(), None, "a result may look like an exception");
    }

    #[test]
    fn results_of_other_clients_whose_ids_are_no_uuid_are_passed_over() {
        let id = MessageId::generate();
        let json = br#"{"status": "SUCCESS"}"#;
        assert!(TaskResult::published(&format!("celery-task-meta-{id}"), json).is_some());
        assert!(TaskResult::published(&format!("a:celery-task-meta-{id}"), json).is_some());
        assert!(TaskResult::published("celery-task-meta-my-own", json).is_none());
        assert!(TaskResult::published("other", json).is_none());
    }

    #[test]
    fn an_extended_record_names_the_worker_at_its_end() {
        let result = read(&json!({"status": "SUCCESS", "result": 1, "worker": "w1@h", "name": "probe.noop"}));
        assert_eq!(result.hostname.as_deref(), Some("w1@h"));
    }
}
