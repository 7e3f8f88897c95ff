//! What one transaction reads of a task, and what its replies say: the records of its stages, the notes of what other
//! workers have in flight, and the JSONs under the keys that were asked for. Whether that is enough for a view is
//! decided in `task_read`.

use std::hash::{DefaultHasher, Hash, Hasher};

use indexmap::IndexMap;
use onceover_types::{NodeName, StageState, TaskId, Timestamp};
use onceover_wire::StageSummary;
use redis::{FromRedisValue, Pipeline, RedisResult, Value};

use super::{
    StoreError,
    record::{Fields, ForeignJson, Noted, StageRecord},
    reply::{convert_value, unexpected},
    task_memory::StageMark,
};

/// Keys that one command takes.
pub(super) const KEYS_PER_COMMAND: usize = 1000;
/// Bytes that the head of a public JSON takes beside the names of task and node.
const HEAD_BYTES: usize = 128;

/// How a key with the JSON of a stage is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum KeySpelling {
    /// `{task}:node:{service}.{method}`, which our public JSON has as well.
    Today,
    /// `{task}:{service}:{method}`.
    Older,
}

impl KeySpelling {
    pub(super) const ALL: [Self; 2] = [Self::Today, Self::Older];

    pub(super) fn key(self, task: &TaskId, node: &NodeName) -> String {
        match self {
            Self::Today => format!("{task}:node:{node}"),
            Self::Older => format!("{task}:{}", node.as_str().replacen('.', ":", 1)),
        }
    }

    /// The field of a record with the hash of what lay there when it was last adopted or run.
    fn seen_field(self) -> &'static str {
        match self {
            Self::Today => "seen",
            Self::Older => "seen_older",
        }
    }
}

/// A key with the JSON of a stage.
pub(super) type JsonKey = (NodeName, KeySpelling);

/// How much of a JSON is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum JsonPart {
    /// So many bytes, which show whether it is our own.
    Start(usize),
    Whole,
    WholeWithExpiry,
}

/// What was read of a JSON; nothing where there is none.
#[derive(Debug)]
pub(super) struct JsonAnswer {
    pub(super) part: JsonPart,
    bytes: Option<Vec<u8>>,
    ttl_ms: i64,
}

/// What one transaction reads of a task, beside what every one does.
#[derive(Debug, Default)]
pub(super) struct ReadPlan {
    pub(super) stages: Vec<NodeName>,
    parts: IndexMap<JsonKey, JsonPart>,
}

impl ReadPlan {
    /// Adds the commands. The list of stages comes first: where they are not one transaction, a stage that it names is
    /// read after that.
    pub(super) fn add_commands(&self, pipe: &mut Pipeline, task: &TaskId) {
        pipe.cmd("ZRANGE")
            .arg(format!("onceover:task:{task}:stages"))
            .arg(0)
            .arg(-1);
        pipe.cmd("HGETALL").arg(format!("onceover:task:{task}"));
        pipe.cmd("HGET").arg("onceover:disk").arg(task.as_str());
        pipe.cmd("HGETALL").arg(format!("onceover:foreign:{task}"));
        for node in &self.stages {
            pipe.cmd("HGETALL").arg(format!("onceover:stage:{task}:{node}"));
        }
        for keys in self.whole_keys().chunks(KEYS_PER_COMMAND) {
            pipe.cmd("MGET");
            for (node, spelling) in keys {
                pipe.arg(spelling.key(task, node));
            }
        }
        for ((node, spelling), part) in &self.parts {
            let key = spelling.key(task, node);
            match part {
                JsonPart::Start(bytes) => {
                    pipe.cmd("GETRANGE").arg(key).arg(0).arg(bytes.saturating_sub(1));
                }
                JsonPart::Whole => {}
                JsonPart::WholeWithExpiry => {
                    pipe.cmd("GET").arg(&key).cmd("PTTL").arg(&key);
                }
            }
        }
    }

    /// The keys that are read whole and together.
    fn whole_keys(&self) -> Vec<&JsonKey> {
        let whole = self.parts.iter().filter(|(_, part)| **part == JsonPart::Whole);
        whole.map(|(key, _)| key).collect()
    }

    /// Asks for what shows whether the JSON of a stage is our own.
    pub(super) fn want_start(&mut self, task: &TaskId, node: &NodeName) {
        let bytes = HEAD_BYTES + task.as_str().len() + node.as_str().len();
        self.want(node, KeySpelling::Today, JsonPart::Start(bytes));
    }

    /// Asks for a part of a JSON, unless more of it is asked for already.
    pub(super) fn want(&mut self, node: &NodeName, spelling: KeySpelling, part: JsonPart) {
        let wanted = self.parts.entry((node.clone(), spelling)).or_insert(part);
        *wanted = part.max(*wanted);
    }
}

/// The replies of one transaction, in the order of [`ReadPlan::add_commands`].
pub(super) struct ReadReplies(std::vec::IntoIter<RedisResult<Value>>);

impl From<Vec<RedisResult<Value>>> for ReadReplies {
    fn from(replies: Vec<RedisResult<Value>>) -> Self {
        Self(replies.into_iter())
    }
}

impl ReadReplies {
    pub(super) fn next_value(&mut self) -> Result<Value, StoreError> {
        let reply = self.0.next();
        Ok(reply.ok_or_else(|| unexpected("Redis answered fewer commands than it was sent"))??)
    }

    /// The next reply; nothing where the key holds another kind of value.
    pub(super) fn next_of_kind(&mut self) -> Result<Option<Value>, StoreError> {
        let reply = self.0.next();
        match reply.ok_or_else(|| unexpected("Redis answered fewer commands than it was sent"))? {
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
            reply => Ok(Some(reply?)),
        }
    }

    /// The next reply; nothing where the key holds another kind of value, or one that cannot be read.
    pub(super) fn next_readable<T: FromRedisValue>(&mut self) -> Result<Option<T>, StoreError> {
        Ok(self.next_of_kind()?.and_then(|value| convert_value(value).ok()))
    }

    /// The next reply, a hash. One that is none is named as damage.
    fn next_hash(&mut self) -> Result<Fields, StoreError> {
        match self.next_of_kind()? {
            Some(value) => convert_value(value),
            None => Ok(Fields::damaged("it is no hash")),
        }
    }
}

/// What another worker has in flight, as it is noted.
pub(super) struct NotedStage {
    text: String,
    state: StageState,
    sha: String,
    noted: Noted,
    progress: Option<f64>,
    duration_ms: f64,
}

impl NotedStage {
    /// Reads a note, as `parse_note` of notes.lua does; none of what is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('|').collect();
        let &[state, revision, sha, started, progress, duration] = parts.as_slice() else {
            return None;
        };
        let is_note = is_made_of(state, 1, |byte| byte.is_ascii_uppercase())
            && is_made_of(revision, 1, |byte| byte.is_ascii_digit())
            && is_made_of(sha, 1, |byte| byte.is_ascii_hexdigit())
            && is_made_of(started, 0, |byte| byte.is_ascii_digit())
            && is_made_of(progress, 0, |byte| byte.is_ascii_digit() || byte == b'.')
            && is_made_of(duration, 1, |byte| byte.is_ascii_digit());
        if !is_note {
            return None;
        }
        Some(Self {
            text: text.to_owned(),
            state: state.parse().unwrap_or(StageState::Failed),
            sha: sha.to_owned(),
            noted: Noted {
                revision: revision.parse().ok()?,
                started: started.parse().ok().map(Timestamp::from_millis),
            },
            progress: progress.parse().ok(),
            duration_ms: duration.parse().unwrap_or_default(),
        })
    }

    /// Returns what lists show of the stage, as `choose_shown_record` of notes.lua does: ours while it is in flight,
    /// else what was noted.
    pub(super) fn show_over(&self, ours: Option<StageSummary>) -> StageSummary {
        let ours = match ours {
            Some(ours) if ours.status.in_flight() => return ours,
            ours => ours,
        };
        let ours = ours.as_ref();
        StageSummary {
            status: self.state,
            run_id: None,
            attempt: 1,
            revision: ours.map_or(0, |ours| ours.revision).max(self.noted.revision),
            queue: ours.map_or_else(String::new, |ours| ours.queue.clone()),
            runner: Some("foreign".to_owned()),
            progress: self.progress,
            message: Some("written by another worker".to_owned()),
            reason: None,
            forced: false,
            reuse_hits: ours.map_or(0, |ours| ours.reuse_hits),
            joins: ours.map_or(0, |ours| ours.joins),
            saved_seconds: ours.map_or(0.0, |ours| ours.saved_seconds),
            queued_at: None,
            started_at: self.noted.started,
            ended_at: None,
            duration: self.duration_ms / 1000.0,
            error: None,
            callback_status: None,
            warnings: 0,
            warnings_retryable: false,
            damaged: None,
        }
    }
}

/// A task as one transaction has found it.
pub(super) struct TaskSnapshot {
    pub(super) task: Fields,
    /// Every name in the list of stages.
    pub(super) listed: Vec<NodeName>,
    pub(super) has_notes: bool,
    pub(super) notes: IndexMap<NodeName, NotedStage>,
    /// The stages that were asked for and exist.
    pub(super) records: IndexMap<NodeName, StageRecord>,
    pub(super) answers: IndexMap<JsonKey, JsonAnswer>,
}

impl TaskSnapshot {
    pub(super) fn parse(plan: &ReadPlan, replies: &mut ReadReplies) -> Result<Self, StoreError> {
        let list = replies.next_of_kind()?;
        let is_list_damaged = list.is_none();
        let list: Vec<String> = list.map_or_else(|| Ok(Vec::new()), convert_value)?;
        let mut task = replies.next_hash()?;
        if is_list_damaged {
            task.push("damage", "its list of stages is none".to_owned());
        }
        let disk: Option<String> = convert_value(replies.next_value()?)?;
        task.push("disk_bytes", disk.unwrap_or_else(|| "0".to_owned()));
        let notes: Fields = convert_value(replies.next_value()?)?;
        let mut snapshot = Self {
            task,
            // A name that is none was not written by us, and is removed by `onceoverd check --repair`.
            listed: list.iter().filter_map(|name| NodeName::parse(name).ok()).collect(),
            has_notes: !notes.is_empty(),
            notes: parse_notes(&notes),
            records: IndexMap::with_capacity(plan.stages.len()),
            answers: IndexMap::with_capacity(plan.parts.len()),
        };
        for node in &plan.stages {
            let fields = replies.next_hash()?;
            if !fields.is_empty() {
                snapshot.records.insert(node.clone(), StageRecord::from_fields(fields));
            }
        }
        snapshot.parse_answers(plan, replies)?;
        Ok(snapshot)
    }

    fn parse_answers(&mut self, plan: &ReadPlan, replies: &mut ReadReplies) -> Result<(), StoreError> {
        for keys in plan.whole_keys().chunks(KEYS_PER_COMMAND) {
            let values: Vec<Option<Vec<u8>>> = convert_value(replies.next_value()?)?;
            for (key, bytes) in keys.iter().zip(values) {
                let answer = JsonAnswer {
                    part: JsonPart::Whole,
                    bytes,
                    ttl_ms: 0,
                };
                self.answers.insert((*key).clone(), answer);
            }
        }
        for (key, part) in plan.parts.iter().filter(|(_, part)| **part != JsonPart::Whole) {
            // What is no text is no JSON.
            let bytes: Option<Vec<u8>> = convert_value(replies.next_of_kind()?.unwrap_or(Value::Nil))?;
            let ttl_ms = match part {
                JsonPart::WholeWithExpiry => convert_value(replies.next_value()?)?,
                _ => 0,
            };
            let part = *part;
            self.answers.insert(key.clone(), JsonAnswer { part, bytes, ttl_ms });
        }
        Ok(())
    }

    /// What the comparison of a stage's keys depends on; none where it has neither record nor note.
    pub(super) fn mark(&self, node: &NodeName) -> Option<StageMark> {
        let (record, note) = (self.records.get(node), self.notes.get(node));
        if record.is_none() && note.is_none() {
            return None;
        }
        if record.is_some_and(|record| !is_settled(record)) {
            return Some(StageMark::Unsettled);
        }
        let mut hasher = DefaultHasher::new();
        for field in ["state", "run", "runner", "projected", "seen", "seen_older"] {
            record.and_then(|record| record.text(field)).hash(&mut hasher);
        }
        note.map(|note| note.text.as_str()).hash(&mut hasher);
        Some(StageMark::Settled(hasher.finish()))
    }

    /// The stages with a record or a note, each once.
    pub(super) fn held(&self) -> impl Iterator<Item = &NodeName> {
        let noted = self.notes.keys().filter(move |node| !self.records.contains_key(*node));
        self.records.keys().chain(noted)
    }

    /// Decides whether what lies under a key of a stage is a result of another worker that is not known yet, as
    /// `read_foreign_jsons` of task_view.lua does. An error is what has to be read for that.
    pub(super) fn judge(&self, task: &TaskId, key: &JsonKey) -> Result<Option<ForeignJson>, JsonPart> {
        let (node, spelling) = key;
        let (record, note) = (self.records.get(node), self.notes.get(node));
        let head = record.filter(|_| *spelling == KeySpelling::Today);
        let head = head.map(|record| build_public_json_head(task, node, record));
        let Some(answer) = self.answers.get(key) else {
            return Err(head.map_or(JsonPart::Whole, |head| JsonPart::Start(head.len())));
        };
        let bytes = answer.bytes.as_deref().unwrap_or_default();
        match (&head, answer.part) {
            (Some(head), JsonPart::Start(asked)) if asked < head.len() => return Err(JsonPart::Start(head.len())),
            (Some(head), _) if bytes.is_empty() || bytes.starts_with(head.as_bytes()) => return Ok(None),
            (None, JsonPart::Start(_)) => return Err(JsonPart::Whole),
            _ => {}
        }
        if answer.bytes.is_none() {
            return Ok(None);
        }
        if matches!(answer.part, JsonPart::Start(_)) {
            return Err(JsonPart::WholeWithExpiry);
        }
        let sha = (record.is_some() || note.is_some()).then(|| sha1_smol::Sha1::from(bytes).digest().to_string());
        if record.is_some_and(|record| record.text(spelling.seen_field()) == sha.as_deref()) {
            return Ok(None);
        }
        if answer.part != JsonPart::WholeWithExpiry {
            return Err(JsonPart::WholeWithExpiry);
        }
        let json = String::from_utf8_lossy(bytes).into_owned();
        if is_of_sent_run(task, &json) {
            return Ok(None);
        }
        let noted = note.filter(|note| Some(note.sha.as_str()) == sha.as_deref());
        Ok(Some(ForeignJson {
            key: String::new(),
            sha: String::new(),
            ttl_ms: answer.ttl_ms,
            json,
            noted: noted.map(|note| note.noted),
        }))
    }
}

/// Whether a worker wrote the JSON for a run that we sent to it, as Lua's `is_of_sent_run` finds it: its storage is the
/// folder of that run.
fn is_of_sent_run(task: &TaskId, json: &str) -> bool {
    const FIELD: &str = "\"shared_storage_path\"";
    let storage = json.match_indices(FIELD).find_map(|(at, _)| {
        let value = json[at + FIELD.len()..].trim_start().strip_prefix(':')?;
        let text = value.trim_start().strip_prefix('"')?;
        text.split_once('"').map(|(path, _)| path)
    });
    storage.is_some_and(|path| path.contains(&format!("/{task}/runs/")))
}

/// Whether a text has so many bytes at least, all of them allowed ones.
fn is_made_of(text: &str, least: usize, is_allowed: fn(u8) -> bool) -> bool {
    text.len() >= least && text.bytes().all(is_allowed)
}

fn parse_notes(fields: &Fields) -> IndexMap<NodeName, NotedStage> {
    let notes = fields.iter().filter_map(|(node, text)| {
        let node = NodeName::parse(node).ok()?;
        Some((node, NotedStage::parse(text)?))
    });
    notes.collect()
}

/// Whether no run of ours is in flight, and the record is one.
pub(super) fn is_settled(record: &StageRecord) -> bool {
    let state = record.text("state").and_then(|state| state.parse::<StageState>().ok());
    state.is_some_and(|state| !state.in_flight())
}

/// Builds the beginning of the stage's public JSON, as Lua's `build_public_json_head` does. A JSON that begins
/// otherwise was written by another worker.
fn build_public_json_head(task: &TaskId, node: &NodeName, record: &StageRecord) -> String {
    let revision = record.text("projected").unwrap_or("0");
    let run = record.text("run").map(|run| format!("\"{run}\""));
    let run = run.as_deref().unwrap_or("null");
    format!(r#"{{"workflow_id":"{task}","stages":{{"{node}":{{"revision":{revision},"run_id":{run},"#)
}
