//! What Redis holds, parsed: stage records, whole tasks, and the answers of the scripts.

use std::str::FromStr;

use onceover_types::{CallbackStatus, NodeName, RunId, StageState, Timestamp};
use onceover_wire::{LastAttempt, StageSummary, WarningCount};
use redis::{FromRedisValue, Value};
use serde_json::value::RawValue;

use super::{
    Decision, Deletion, Explained, Removed, StoreError, SubmitRefusal, TaskListPage, VerificationRequest, run_folder,
    tasks::DeletionStep,
};

/// The fields of a hash. There are a few dozen at most and each is looked up once or twice, so they are not hashed again.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    fn get(&self, field: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == field);
        found.map(|(_, value)| value.as_str())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromRedisValue for Fields {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        let Value::Array(items) = value else {
            return Ok(Self(Vec::from_redis_value(value)?));
        };
        let mut fields = Vec::with_capacity(items.len() / 2);
        let mut items = items.into_iter();
        while let (Some(name), Some(value)) = (items.next(), items.next()) {
            fields.push((String::from_redis_value(name)?, String::from_redis_value(value)?));
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
    task: Fields,
    /// In the order first asked for.
    pub stages: Vec<(NodeName, StageRecord)>,
    /// What other workers wrote and is not taken over. There may be two of a stage, one under each spelling of its key:
    /// then the first that can be read counts.
    pub foreign: Vec<(NodeName, ForeignJson)>,
    /// Every stage that is known, in the order first asked for; empty where nothing of other workers' was noted.
    pub order: Vec<NodeName>,
    /// Stages that were noted as in flight with another worker, and are not there any more as they were.
    pub stale: Vec<NodeName>,
}

/// A stage's JSON that somebody else wrote.
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

pub(super) fn unexpected(what: impl Into<String>) -> StoreError {
    StoreError::Unexpected(what.into())
}

pub(super) fn parse<T: FromStr>(text: &str) -> Result<T, StoreError>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| unexpected(format!("'{text}': {error}")))
}

pub(super) fn convert<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    T::from_redis_value(value).map_err(|error| unexpected(error.to_string()))
}

/// JSON that must be whole, since it goes out as it is.
fn raw(json: &str) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(json.to_owned()).map_err(|error| unexpected(format!("a stored JSON is broken: {error}")))
}

impl StageRecord {
    /// One that cannot be read counts as failed.
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

    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)
    }

    fn number<T: FromStr + Default>(&self, field: &str) -> T {
        self.text(field).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    fn time(&self, field: &str) -> Option<Timestamp> {
        self.text(field)?.parse().ok().map(Timestamp::from_millis)
    }

    fn json_text(&self, field: &str) -> Option<String> {
        serde_json::from_str(self.text(field)?).ok()
    }

    pub fn run(&self) -> Option<RunId> {
        RunId::parse(self.text("run")?).ok()
    }

    pub fn attempt(&self) -> u32 {
        self.number("attempt")
    }

    pub fn queue(&self) -> &str {
        self.text("queue").unwrap_or_default()
    }

    /// The request's `input_data` as it was sent.
    pub fn input(&self) -> &str {
        self.text("input").or(self.text("input_pub")).unwrap_or("{}")
    }

    /// Whether the request that started the newest run said `reuse: never`.
    pub fn reuses_nothing(&self) -> bool {
        self.text("fresh") == Some("1")
    }

    /// Callback of the request that started the newest run.
    pub fn callback(&self) -> Option<String> {
        self.json_text("callback")
    }

    pub fn input_public(&self) -> Result<Box<RawValue>, StoreError> {
        raw(self.text("input_pub").or(self.text("input")).unwrap_or("{}"))
    }

    /// The output a reader may use: of the success that stands, also while a forced rerun is under way (R8).
    pub fn output(&self) -> Result<Box<RawValue>, StoreError> {
        raw(self.standing_output().unwrap_or("{}"))
    }

    pub fn standing_output(&self) -> Option<&str> {
        (self.state == StageState::Success || self.text("restore") == Some("1")).then(|| self.text("res_output"))?
    }

    /// What of that is at the object store, as `minio_files` shows it.
    pub fn standing_files(&self) -> Vec<serde_json::Value> {
        let files = self.standing_output().and_then(|_| self.text("res_files"));
        files
            .and_then(|files| serde_json::from_str(&format!("[{files}]")).ok())
            .unwrap_or_default()
    }

    pub fn error(&self) -> Option<String> {
        self.json_text("error")
    }

    pub fn started(&self) -> Option<Timestamp> {
        self.time("started")
    }

    pub fn ended(&self) -> Option<Timestamp> {
        self.time("ended")
    }

    pub fn created(&self) -> Option<Timestamp> {
        self.time("created")
    }

    pub fn duration(&self) -> f64 {
        self.number::<f64>("duration_ms") / 1000.0
    }

    pub fn progress(&self) -> Option<f64> {
        self.text("progress")?.parse().ok()
    }

    /// The run whose result stands.
    pub fn result_run(&self) -> Option<RunId> {
        RunId::parse(self.text("res_run")?).ok()
    }

    /// When the result that stands was made, and how long that took.
    pub fn result_ended(&self) -> Option<Timestamp> {
        self.time("res_ended")
    }

    pub fn result_duration(&self) -> f64 {
        self.number::<f64>("res_duration_ms") / 1000.0
    }

    /// Names the result that stands, so that it can be told from the next; empty where there is none. Lua's `result_token`
    /// says the same.
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

    pub fn last_attempt(&self) -> Option<LastAttempt> {
        serde_json::from_str(self.text("last_attempt")?).ok()
    }

    /// The warnings of the output that a reader may use. Lua's `warned` says the same.
    pub fn warned(&self) -> WarningCount {
        if self.standing_output().is_none() {
            return WarningCount::default();
        }
        WarningCount {
            warnings: self.number("res_warnings"),
            retryable: self.text("res_retryable") == Some("1"),
        }
    }

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
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty() && self.foreign.is_empty()
    }

    pub fn stage(&self, node: &NodeName) -> Option<&StageRecord> {
        self.stages
            .iter()
            .find(|(name, _)| name == node)
            .map(|(_, record)| record)
    }

    pub fn text(&self, field: &str) -> Option<&str> {
        self.task.get(field)
    }

    pub fn time(&self, field: &str) -> Option<Timestamp> {
        self.text(field)?.parse().ok().map(Timestamp::from_millis)
    }

    /// Bytes of the files that the task's runs left.
    pub fn disk_bytes(&self) -> u64 {
        self.text("disk_bytes")
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    }

    pub fn newest(&self) -> Option<NodeName> {
        NodeName::parse(self.text("newest")?).ok()
    }
}

pub(super) fn task_records(value: Value) -> Result<TaskRecords, StoreError> {
    type View = (Fields, Vec<Value>, Vec<String>, Vec<String>, Vec<String>);
    let (task, stages, foreign, order, stale): View = convert(value)?;
    let names = |names: &[String]| names.iter().filter_map(|name| parse(name).ok()).collect();
    let mut records = TaskRecords {
        task,
        order: names(&order),
        stale: names(&stale),
        ..TaskRecords::default()
    };
    let mut stages = stages.into_iter();
    while let (Some(name), Some(fields)) = (stages.next(), stages.next()) {
        let name: String = convert(name)?;
        // A name that is none was not written by us, and is removed by `onceoverd check --repair`.
        if let Ok(name) = parse(&name) {
            records.stages.push((name, StageRecord::from_fields(convert(fields)?)));
        }
    }
    for entry in foreign.chunks_exact(5) {
        let [name, ttl, json, revision, started] = entry else {
            unreachable!("a chunk of five has five");
        };
        let noted = match revision.as_str() {
            "" => None,
            revision => Some(Noted {
                revision: parse(revision)?,
                started: started.parse().ok().map(Timestamp::from_millis),
            }),
        };
        let json = ForeignJson {
            key: String::new(),
            sha: String::new(),
            ttl_ms: parse(ttl)?,
            json: json.clone(),
            noted,
        };
        records.foreign.push((parse(name)?, json));
    }
    Ok(records)
}

/// As `input_changed` of decide.lua answers.
fn is_changed(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

pub(super) fn decision(answer: Vec<Value>) -> Result<Decision, StoreError> {
    let mut answer = answer.into_iter();
    let mut next = || answer.next().unwrap_or(Value::Nil);
    let kind: String = convert(next())?;
    Ok(match kind.as_str() {
        "hit" => {
            next();
            let changed: String = convert(next())?;
            Decision::Hit {
                input_changed: is_changed(&changed),
                records: task_records(next())?,
            }
        }
        "join" => {
            let (state, run): (String, String) = (convert(next())?, convert(next())?);
            Decision::Joined {
                state: parse(&state)?,
                run: parse(&run)?,
            }
        }
        "run" => {
            let (reason, run): (String, String) = (convert(next())?, convert(next())?);
            Decision::Started {
                reason,
                run: parse(&run)?,
            }
        }
        "inputs" => Decision::LookAtInputs,
        "keyed" => {
            let task: String = convert(next())?;
            Decision::Keyed(parse(&task)?)
        }
        "verify" | "foreign" => Decision::Ask(ask(&kind, next)?),
        other => Decision::Refused(refusal(other, next)?),
    })
}

fn refusal(kind: &str, mut next: impl FnMut() -> Value) -> Result<SubmitRefusal, StoreError> {
    Ok(match kind {
        "refuse" => SubmitRefusal::OtherInput,
        "no_source" => SubmitRefusal::NoSource(convert(next())?),
        "inputs_missing" => SubmitRefusal::InputsMissing,
        "unable" => SubmitRefusal::NotReady,
        "damaged" => SubmitRefusal::Damaged(convert(next())?),
        "full" => SubmitRefusal::Full,
        "callbacks" => SubmitRefusal::TooManyCallbacks,
        "task_full" => SubmitRefusal::TaskFull,
        "key_reused" => SubmitRefusal::KeyReused,
        "superseded" => SubmitRefusal::Superseded,
        "known" => SubmitRefusal::DuplicateRun,
        other => return Err(unexpected(format!("the submit script answered '{other}'"))),
    })
}

fn ask(kind: &str, mut next: impl FnMut() -> Value) -> Result<VerificationRequest, StoreError> {
    Ok(match kind {
        "verify" => VerificationRequest::Verify {
            token: convert(next())?,
            artifacts: convert(next())?,
        },
        _ => VerificationRequest::Foreign(ForeignJson {
            key: convert(next())?,
            sha: convert(next())?,
            ttl_ms: convert(next())?,
            json: convert(next())?,
            noted: None,
        }),
    })
}

pub(super) fn explained(answer: Vec<Value>) -> Result<Explained, StoreError> {
    let mut answer = answer.into_iter();
    let mut next = || answer.next().unwrap_or(Value::Nil);
    let kind: String = convert(next())?;
    let record = |fields: Value| Ok::<_, StoreError>(StageRecord::from_fields(convert(fields)?));
    Ok(match kind.as_str() {
        "hit" => {
            let changed: String = convert(next())?;
            Explained::Hit {
                input_changed: is_changed(&changed),
                record: record(next())?,
            }
        }
        "join" => {
            let record = record(next())?;
            let position: i64 = convert(next())?;
            Explained::InFlight {
                record,
                position: u64::try_from(position).ok(),
            }
        }
        "run" => {
            let reason = convert(next())?;
            let fields: Fields = convert(next())?;
            let record = (!fields.is_empty()).then(|| StageRecord::from_fields(fields));
            Explained::Run { reason, record }
        }
        "refuse" => {
            let changed: String = convert(next())?;
            Explained::Refused {
                input_changed: is_changed(&changed),
            }
        }
        "damaged" => Explained::Damaged(convert(next())?),
        "verify" | "foreign" => Explained::Ask(ask(&kind, next)?),
        other => return Err(unexpected(format!("the explain script answered '{other}'"))),
    })
}

pub(super) fn deletion(answer: Vec<Value>) -> Result<DeletionStep, StoreError> {
    let mut answer = answer.into_iter();
    let kind: String = convert(answer.next().unwrap_or(Value::Nil))?;
    if kind == "in_flight" {
        let names = answer.map(convert).collect::<Result<_, _>>()?;
        return Ok(DeletionStep::Ended(Deletion::InFlight(names)));
    }
    if kind == "more" {
        return Ok(DeletionStep::More(convert(answer.next().unwrap_or(Value::Nil))?));
    }
    let counts: Vec<u64> = answer.map(convert).collect::<Result<_, _>>()?;
    match counts[..] {
        [records, projections, queued, deliveries, known] => Ok(DeletionStep::Ended(Deletion::Removed(Removed {
            records,
            projections,
            queued,
            deliveries,
            known: known > 0,
        }))),
        _ => Err(unexpected("the delete script answered something else")),
    }
}

pub(super) fn page(answer: Vec<Value>) -> Result<TaskListPage, StoreError> {
    let mut answer = answer.into_iter();
    let cursor: String = convert(answer.next().unwrap_or(Value::Nil))?;
    let seq = convert(answer.next().unwrap_or(Value::Nil))?;
    let next = match cursor.split_once(':') {
        Some((score, task)) => Some((parse(score)?, parse(task)?)),
        None => None,
    };
    Ok(TaskListPage {
        next,
        seq,
        items: answer.map(convert).collect::<Result<_, _>>()?,
    })
}
