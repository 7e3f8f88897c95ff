//! What Redis holds, parsed: stage records and whole tasks.

use std::str::FromStr;

use onceover_types::{CallbackStatus, NodeName, RunId, StageState, Timestamp};
use onceover_wire::{LastAttempt, StageSummary, WarningCount};
use redis::{FromRedisValue, Value};
use serde_json::value::RawValue;

use super::{
    StoreError,
    reply::{convert_value, parse_text, unexpected},
};

/// The fields of a hash. There are a few dozen at most and each is read once or twice, so they are not hashed again.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The fields of what cannot be read as a hash.
    pub(super) fn damaged(what: &str) -> Self {
        Self(vec![("damage".to_owned(), what.to_owned())])
    }

    pub(super) fn get(&self, field: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == field);
        found.map(|(_, value)| value.as_str())
    }

    /// Adds a field. One of that name that is there already counts.
    pub(super) fn push(&mut self, field: &str, value: String) {
        self.0.push((field.to_owned(), value));
    }

    /// The fields with their values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(field, value)| (field.as_str(), value.as_str()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromRedisValue for Fields {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        let mut fields: Vec<(String, String)>;
        match value {
            Value::Map(pairs) => {
                fields = Vec::with_capacity(pairs.len());
                for (name, value) in pairs {
                    fields.push((String::from_redis_value(name)?, String::from_redis_value(value)?));
                }
            }
            Value::Array(items) => {
                fields = Vec::with_capacity(items.len() / 2);
                let mut items = items.into_iter();
                while let (Some(name), Some(value)) = (items.next(), items.next()) {
                    fields.push((String::from_redis_value(name)?, String::from_redis_value(value)?));
                }
            }
            other => fields = Vec::from_redis_value(other)?,
        }
        Ok(Self(fields))
    }
}

/// The record of one stage (`onceover:stage:<task>:<node>`).
#[derive(Debug, Clone)]
pub struct StageRecord {
    fields: Fields,
    pub state: StageState,
    /// What of it cannot be right.
    pub damage: Option<String>,
}

/// Fields that hold numbers or times.
const NUMBERS: [&str; 8] = [
    "attempt",
    "rev",
    "hits",
    "joins",
    "queued",
    "started",
    "ended",
    "duration_ms",
];

/// Everything known of one task.
#[derive(Debug, Clone, Default)]
pub struct TaskRecords {
    pub(super) task: Fields,
    /// In the order of the first requests.
    pub stages: Vec<(NodeName, StageRecord)>,
    /// What other workers wrote and is not adopted. There may be two of a stage, one under each spelling of its key: then the
    /// first that can be read counts.
    pub foreign: Vec<(NodeName, ForeignJson)>,
    /// Every stage that is known, in the order of the first requests; empty where no stage of another worker was noted.
    pub order: Vec<NodeName>,
    /// Stages of other workers that were noted as in flight and have changed since.
    pub stale: Vec<NodeName>,
}

/// The JSON of a stage that another worker wrote.
#[derive(Debug, Clone)]
pub struct ForeignJson {
    /// Key and hash of the JSON; empty where it is only read, not decided on.
    pub key: String,
    pub sha: String,
    /// Milliseconds the key has left; negative without an expiry.
    pub ttl_ms: i64,
    pub json: String,
    /// What was noted of the very same JSON.
    pub noted: Option<Noted>,
}

/// What is kept of a stage that another worker has in flight, beside its JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    pub revision: u64,
    /// When it was first seen to run.
    pub started: Option<Timestamp>,
}

/// JSON that must be whole, since it goes out as it is.
fn raw(json: &str) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(json.to_owned()).map_err(|error| unexpected(format!("a stored JSON is broken: {error}")))
}

/// Names the folder of an attempt below its task's: `runs/<run_id>`, and after the first `runs/<run_id>.<n>`. The folders are
/// beside each other, so that a program of a lost attempt that empties its folder does not touch its successor's files.
pub fn run_folder(run: &str, attempt: u32) -> String {
    match attempt {
        0 | 1 => format!("runs/{run}"),
        later => format!("runs/{run}.{later}"),
    }
}

impl StageRecord {
    /// Reads a record. One that cannot be read counts as failed.
    pub(super) fn from_fields(fields: Fields) -> Self {
        let state = fields.get("state").and_then(|state| state.parse().ok());
        let is_no_number = |field: &&&str| fields.get(field).is_some_and(|text| text.parse::<f64>().is_err());
        let damage = match (fields.get("damage"), state) {
            (Some(damage), _) => Some(damage.to_owned()),
            (None, None) => Some("state".to_owned()),
            (None, Some(_)) => NUMBERS.iter().find(is_no_number).map(|field| (*field).to_owned()),
        };
        Self {
            state: state.unwrap_or(StageState::Failed),
            damage,
            fields,
        }
    }

    pub(super) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)
    }

    pub(super) fn number<T: FromStr + Default>(&self, field: &str) -> T {
        self.text(field).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    pub(super) fn time(&self, field: &str) -> Option<Timestamp> {
        self.text(field)?.parse().ok().map(Timestamp::from_millis)
    }

    fn json_text(&self, field: &str) -> Option<String> {
        serde_json::from_str(self.text(field)?).ok()
    }

    /// The newest run; none of a stage that another worker ran.
    pub fn run(&self) -> Option<RunId> {
        RunId::parse(self.text("run")?).ok()
    }

    /// The newest attempt of that run.
    pub fn attempt(&self) -> u32 {
        self.number("attempt")
    }

    /// The queue of that run; empty for a node outside the catalog.
    pub fn queue(&self) -> &str {
        self.text("queue").unwrap_or_default()
    }

    /// Returns the request's `input_data` as it was sent.
    pub fn input(&self) -> &str {
        self.text("input").or(self.text("input_pub")).unwrap_or("{}")
    }

    /// The message by which the attempt in flight was sent to Celery workers.
    pub fn dispatch(&self) -> Option<&str> {
        self.text("dispatch")
    }

    /// Whether the request that started the newest run said `reuse: never`.
    pub fn reuses_nothing(&self) -> bool {
        self.text("fresh") == Some("1")
    }

    /// Callback of the request that started the newest run.
    pub fn callback(&self) -> Option<String> {
        self.json_text("callback")
    }

    /// The request's `input_data` as views show it, with secrets hidden.
    pub fn input_public(&self) -> Result<Box<RawValue>, StoreError> {
        raw(self.text("input_pub").or(self.text("input")).unwrap_or("{}"))
    }

    /// The output a reader may use: of the success that stands, also while a forced rerun is under way (R8).
    pub fn output(&self) -> Result<Box<RawValue>, StoreError> {
        raw(self.standing_output().unwrap_or("{}"))
    }

    /// The output of the success that stands, as JSON; None where none stands.
    pub fn standing_output(&self) -> Option<&str> {
        self.has_standing_success().then(|| self.text("res_output"))?
    }

    /// Whether a success stands, whose output a reader may use. Its output may not have been read.
    fn has_standing_success(&self) -> bool {
        self.state == StageState::Success || self.text("restore") == Some("1")
    }

    /// What of that is at the object store, as `minio_files` shows it.
    pub fn standing_files(&self) -> Vec<serde_json::Value> {
        let files = self.standing_output().and_then(|_| self.text("res_files"));
        files
            .and_then(|files| serde_json::from_str(&format!("[{files}]")).ok())
            .unwrap_or_default()
    }

    /// Why the newest run failed.
    pub fn error(&self) -> Option<String> {
        self.json_text("error")
    }

    /// When the newest attempt started.
    pub fn started(&self) -> Option<Timestamp> {
        self.time("started")
    }

    /// When the newest run ended.
    pub fn ended(&self) -> Option<Timestamp> {
        self.time("ended")
    }

    /// When the stage was first asked for.
    pub fn created(&self) -> Option<Timestamp> {
        self.time("created")
    }

    /// How many seconds the newest run took.
    pub fn duration(&self) -> f64 {
        self.number::<f64>("duration_ms") / 1000.0
    }

    /// The progress of the newest run in percent.
    pub fn progress(&self) -> Option<f64> {
        self.text("progress")?.parse().ok()
    }

    /// The run whose result stands.
    pub fn result_run(&self) -> Option<RunId> {
        RunId::parse(self.text("res_run")?).ok()
    }

    /// When the result that stands was made.
    pub fn result_ended(&self) -> Option<Timestamp> {
        self.time("res_ended")
    }

    /// How many seconds the run of the result that stands took.
    pub fn result_duration(&self) -> f64 {
        self.number::<f64>("res_duration_ms") / 1000.0
    }

    /// Names the result that stands, differently from the next one; empty where there is none. Lua's
    /// `build_result_token` says the same.
    pub fn result_token(&self) -> String {
        let field = |name| self.text(name).unwrap_or_default();
        match field("res_ended") {
            "" => String::new(),
            ended => format!("{}/{}/{ended}", field("res_run"), field("res_attempt")),
        }
    }

    /// Folder of the attempt below the task's, as [`run_folder`] names it. Of the newest run, also one in flight.
    pub fn run_folder(&self) -> Option<String> {
        Some(run_folder(self.text("run")?, self.attempt()))
    }

    /// Folder of the attempt whose result stands, below the task's.
    pub fn result_folder(&self) -> Option<String> {
        Some(run_folder(self.text("res_run")?, self.number("res_attempt")))
    }

    /// Whether any of what is kept of the stage has this text in it, as its inputs and outputs may name paths.
    pub fn names(&self, found: impl Fn(&str) -> bool) -> bool {
        ["res_output", "input", "res_input"]
            .iter()
            .any(|field| self.text(field).is_some_and(&found))
    }

    /// The forced rerun that did not replace the result that stands.
    pub fn last_attempt(&self) -> Option<LastAttempt> {
        serde_json::from_str(self.text("last_attempt")?).ok()
    }

    /// The warnings of the output that a reader may use. Lua's `build_warnings_json` says the same.
    pub fn warned(&self) -> WarningCount {
        if !self.has_standing_success() {
            return WarningCount::default();
        }
        WarningCount {
            warnings: self.number("res_warnings"),
            retryable: self.text("res_retryable") == Some("1"),
        }
    }

    /// The stage as lists and events show it.
    pub fn summary(&self) -> StageSummary {
        let warned = self.warned();
        StageSummary {
            status: self.state,
            run_id: self.run(),
            attempt: self.attempt(),
            revision: self.number("rev"),
            queue: self.queue().to_owned(),
            runner: self.text("runner").map(str::to_owned),
            progress: self.progress(),
            message: self.json_text("message"),
            reason: self.text("reason").map(str::to_owned),
            forced: self.state.in_flight() && self.text("restore") == Some("1"),
            reuse_hits: self.number("hits"),
            joins: self.number("joins"),
            saved_seconds: self.number::<f64>("saved_ms") / 1000.0,
            queued_at: self.time("queued"),
            started_at: self.started(),
            ended_at: self.ended(),
            duration: self.duration(),
            error: self.json_text("error_short"),
            callback_status: self
                .text("callback_status")
                .and_then(|text| text.parse::<CallbackStatus>().ok()),
            warnings: warned.warnings,
            warnings_retryable: warned.retryable,
            damaged: self.damage.clone(),
        }
    }
}

impl TaskRecords {
    /// Whether nothing is known of the task.
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty() && self.foreign.is_empty()
    }

    /// Finds the record of a stage.
    pub fn stage(&self, node: &NodeName) -> Option<&StageRecord> {
        self.stages
            .iter()
            .find(|(name, _)| name == node)
            .map(|(_, record)| record)
    }

    /// A field of the task itself.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.task.get(field)
    }

    /// A field of the task itself that holds a time.
    pub fn time(&self, field: &str) -> Option<Timestamp> {
        self.text(field)?.parse().ok().map(Timestamp::from_millis)
    }

    /// Bytes of the files that the task's runs left.
    pub fn disk_bytes(&self) -> u64 {
        self.text("disk_bytes")
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    }

    /// The node of the newest request.
    pub fn newest(&self) -> Option<NodeName> {
        NodeName::parse(self.text("newest")?).ok()
    }
}

/// Reads the view of a task, as `read_task_view` of task_view.lua answers it.
pub(super) fn parse_task_records(value: Value) -> Result<TaskRecords, StoreError> {
    type View = (Fields, Vec<Value>, Vec<String>, Vec<String>, Vec<String>);
    let (task, stages, foreign, order, stale): View = convert_value(value)?;
    let names = |names: &[String]| names.iter().filter_map(|name| parse_text(name).ok()).collect();
    let mut records = TaskRecords {
        task,
        order: names(&order),
        stale: names(&stale),
        ..TaskRecords::default()
    };
    let mut stages = stages.into_iter();
    while let (Some(name), Some(fields)) = (stages.next(), stages.next()) {
        let name: String = convert_value(name)?;
        // A name that is none was not written by us, and is removed by `onceoverd check --repair`.
        if let Ok(name) = parse_text(&name) {
            records
                .stages
                .push((name, StageRecord::from_fields(convert_value(fields)?)));
        }
    }
    for entry in foreign.chunks_exact(5) {
        let [name, ttl, json, revision, started] = entry else {
            unreachable!("a chunk of five has five");
        };
        let noted = match revision.as_str() {
            "" => None,
            revision => Some(Noted {
                revision: parse_text(revision)?,
                started: started.parse().ok().map(Timestamp::from_millis),
            }),
        };
        let json = ForeignJson {
            key: String::new(),
            sha: String::new(),
            ttl_ms: parse_text(ttl)?,
            json: json.clone(),
            noted,
        };
        records.foreign.push((parse_text(name)?, json));
    }
    Ok(records)
}
