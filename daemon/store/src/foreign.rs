//! Stages that other workers write (S5): compared with what is known of them, adopted when they have ended, noted while they
//! are in flight; and found by name in the whole keyspace, for `onceoverd import` alone.

use std::time::Duration;

use onceover_types::{NodeName, StageState, TaskId};
use onceover_wire::WarningCount;

use super::{
    MOST_FOREIGN_STAGES, Store, StoreError,
    args::{IgnoredHashes, Json, JsonText, OneOrZero, Percent, SHORT_ERROR, ShortJson, script_call},
    keyspace::{StageKey, split_stage_key},
    record::ForeignJson,
    reply::{convert_value, parse_text, reply_struct, unexpected},
};
use onceover_limits::Limit;

/// Keys that one step of a scan reads.
const CHUNK: usize = 1000;
/// Stages with external subscribers that one call lists.
const WATCHED_CHUNK: usize = 100;
/// Bytes of JSON after which [`Store::news`] returns what it has.
const MOST_NEWS_BYTES: usize = 8 << 20;

script_call! {
    NewsCall<'a>: NEWS {
        /// Each as `task|name`.
        stages: Json<'a, [String]>,
        most_bytes: usize,
        lost_after_ms: Duration,
        ignore: IgnoredHashes<'a>,
    }
}

script_call! {
    NoteCall<'a>: NOTE {
        task: &'a TaskId,
        name: &'a NodeName,
        key: &'a str,
        sha: &'a str,
        state: StageState,
        written: i64,
        lost: i64,
        created: i64,
        progress: Option<Percent>,
        duration_ms: i64,
        queue: &'a str,
        most_stages: usize,
    }
}

script_call! {
    AdoptCall<'a>: ADOPT {
        task: &'a TaskId,
        name: &'a NodeName,
        key: &'a str,
        sha: &'a str,
        queue: &'a str,
        state: StageState,
        input: &'a str,
        input_pub: &'a str,
        output: &'a str,
        reusable: OneOrZero,
        warnings: Option<u64>,
        retryable: bool,
        error: Option<JsonText<'a>>,
        error_short: Option<ShortJson<'a>>,
        duration_ms: i64,
        ended: i64,
        created: i64,
        path: JsonText<'a>,
        most_stages: usize,
        keep_runs: u64,
    }
}

script_call! {
    AddExternalSubscriberCall<'a>: ADD_EXTERNAL_SUBSCRIBER {
        task: &'a TaskId,
        name: &'a NodeName,
        key: &'a str,
        sha: &'a str,
        url: Option<&'a str>,
        host: Option<&'a str>,
        most_callbacks: u64,
    }
}

script_call! {
    ListExternalSubscriptionsCall: LIST_EXTERNAL_SUBSCRIPTIONS {
        every_ms: Duration,
        count: usize,
    }
}

script_call! {
    GiveUpCall<'a>: GIVE_UP {
        task: &'a TaskId,
        name: &'a NodeName,
        ignore: IgnoredHashes<'a>,
        lost: bool,
        ended: i64,
        created: i64,
        queue: &'a str,
        path: JsonText<'a>,
        error: JsonText<'a>,
        error_short: ShortJson<'a>,
        most_stages: usize,
    }
}

script_call! {
    FindForeignCall<'a>: FIND_FOREIGN {
        task: &'a TaskId,
        name: &'a NodeName,
        ignore: IgnoredHashes<'a>,
    }
}

reply_struct! {
    NewsReply {
        /// How many stages were compared.
        count: usize,
        /// The fields of [`NewsEntry`], one entry after the other.
        found: Vec<redis::Value>,
    }
}

reply_struct! {
    NewsEntry {
        position: usize,
        key: String,
        sha: String,
        ttl_ms: i64,
        json: String,
        is_overdue: bool,
    }
}

reply_struct! {
    FoundReply {
        key: String,
        sha: String,
        ttl_ms: i64,
        json: String,
        is_noted: bool,
    }
}

/// A key that is named like the JSON of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FoundForeign {
    Stage(TaskId, NodeName),
    /// The key, and why its task id cannot be used.
    Unusable(String, String),
}

/// A stage of another worker without news.
pub struct LostStage<'a> {
    pub task: &'a TaskId,
    pub node: &'a NodeName,
    /// Its JSON exists and counts as lost; otherwise only the external subscribers are notified.
    pub is_there: bool,
    /// As for [`Store::look`].
    pub ignore: &'a [String],
    pub queue: &'a str,
    pub path: &'a str,
    pub error: &'a str,
    pub ended_ms: i64,
}

/// What another worker wrote for a stage, and is not known yet.
#[derive(Debug, Clone)]
pub struct ForeignNews {
    pub task: TaskId,
    pub node: NodeName,
    pub json: ForeignJson,
    /// It is noted as it is, and was not written again for longer than a stage in flight may be.
    pub is_overdue: bool,
}

/// A stage that another worker has in flight.
pub struct ForeignNote<'a> {
    pub task: &'a TaskId,
    pub node: &'a NodeName,
    pub foreign: &'a ForeignJson,
    /// Empty for a node that is not in the catalog.
    pub queue: &'a str,
    pub state: StageState,
    pub written_ms: i64,
    /// When it counts as lost.
    pub lost_ms: i64,
    pub created_ms: i64,
    pub progress: Option<f64>,
    pub duration_ms: i64,
}

/// How a request to join a stage of another worker was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    Begun,
    /// The stage has changed meanwhile.
    Changed,
    /// As many callbacks wait for the stage as may.
    Full,
}

/// A finished result of another worker, to be adopted.
pub struct Adoption<'a> {
    pub task: &'a TaskId,
    pub node: &'a NodeName,
    pub foreign: &'a ForeignJson,
    pub queue: &'a str,
    pub state: StageState,
    pub input: &'a str,
    pub input_public: &'a str,
    pub output: &'a str,
    pub reusable: bool,
    pub warned: WarningCount,
    pub error: Option<&'a str>,
    pub duration_ms: i64,
    pub ended_ms: i64,
    pub created_ms: i64,
    pub path: &'a str,
}

impl Store {
    /// Compares stages with what is under their keys, and deletes what other workers have removed. Returns the news, and how
    /// many stages were compared: fewer than given if the news are large. `ignore` are hashes of JSONs that count for
    /// nothing, `lost_after` is how long a stage in flight may go without being written again.
    pub async fn news(
        &self,
        stages: &[StageKey],
        lost_after: Duration,
        ignore: &[String],
    ) -> Result<(Vec<ForeignNews>, usize), StoreError> {
        let members: Vec<_> = stages.iter().map(|(task, node)| format!("{task}|{node}")).collect();
        let call = NewsCall {
            stages: Json(members.as_slice()),
            most_bytes: MOST_NEWS_BYTES,
            lost_after_ms: lost_after,
            ignore: IgnoredHashes(ignore),
        };
        let reply: NewsReply = self.call(call.prepare(self)).await?;
        let news = reply.found.chunks_exact(6).map(|values| {
            let entry: NewsEntry = convert_value(redis::Value::Array(values.to_vec()))?;
            let stage = stages.get(entry.position);
            let (task, node) = stage.ok_or_else(|| unexpected("the news script answered something else"))?;
            Ok(ForeignNews {
                task: task.clone(),
                node: node.clone(),
                json: ForeignJson {
                    key: entry.key,
                    sha: entry.sha,
                    ttl_ms: entry.ttl_ms,
                    json: entry.json,
                    noted: None,
                },
                is_overdue: entry.is_overdue,
            })
        });
        Ok((news.collect::<Result<_, StoreError>>()?, reply.count))
    }

    /// The number of stages that a task may have before a new one outside the catalog is refused.
    fn most_stages(&self) -> usize {
        self.names.count() + MOST_FOREIGN_STAGES
    }

    /// Notes what another worker has in flight. Returns `false` if that is no news, or it has changed meanwhile.
    pub async fn note(&self, note: &ForeignNote<'_>) -> Result<bool, StoreError> {
        let call = NoteCall {
            task: note.task,
            name: note.node,
            key: &note.foreign.key,
            sha: &note.foreign.sha,
            state: note.state,
            written: note.written_ms,
            lost: note.lost_ms,
            created: note.created_ms,
            progress: note.progress.map(Percent),
            duration_ms: note.duration_ms,
            queue: note.queue,
            most_stages: self.most_stages(),
        };
        let noted = self.call(call.prepare(self)).await?;
        Ok(is_accepted(noted))
    }

    /// Adopts a finished result of another worker. Returns `false` if it has changed meanwhile, or a run of ours is in
    /// flight.
    pub async fn adopt(&self, adoption: &Adoption<'_>) -> Result<bool, StoreError> {
        let count = adoption.warned;
        let call = AdoptCall {
            task: adoption.task,
            name: adoption.node,
            key: &adoption.foreign.key,
            sha: &adoption.foreign.sha,
            queue: adoption.queue,
            state: adoption.state,
            input: adoption.input,
            input_pub: adoption.input_public,
            output: adoption.output,
            reusable: OneOrZero(adoption.reusable),
            warnings: (count.warnings > 0).then_some(count.warnings),
            retryable: count.retryable,
            error: adoption.error.map(|error| JsonText(Some(error))),
            error_short: adoption.error.map(|error| ShortJson(error, SHORT_ERROR)),
            duration_ms: adoption.duration_ms,
            ended: adoption.ended_ms,
            created: adoption.created_ms,
            path: JsonText(Some(adoption.path)),
            most_stages: self.most_stages(),
            keep_runs: self.options.keep_runs,
        };
        let adopted = self.call(call.prepare(self)).await?;
        Ok(is_accepted(adopted))
    }

    /// Reads a part of the keys that begin with `prefix`. Returns the stages that they name, and where to go on. This is the
    /// only call whose cost grows with the keyspace.
    pub async fn scan(&self, prefix: &str, from: u64) -> Result<(Vec<FoundForeign>, Option<u64>), StoreError> {
        let (keys, next) = self.scan_keys(prefix, Some("string"), from).await?;
        Ok((keys.iter().filter_map(|key| self.find_stage(key)).collect(), next))
    }

    /// Does the same for keys of any name. Returns those that are text, of one type or of all, and where to go on.
    pub(super) async fn scan_keys(
        &self,
        prefix: &str,
        kind: Option<&str>,
        from: u64,
    ) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let mut redis = self.redis.clone();
        let mut scan = redis::cmd("SCAN");
        scan.arg(from)
            .arg("MATCH")
            .arg(format!("{}*", escape_pattern(prefix)))
            .arg("COUNT")
            .arg(CHUNK);
        if let Some(kind) = kind {
            scan.arg("TYPE").arg(kind);
        }
        let (next, keys): (u64, Vec<Vec<u8>>) = self.limited(scan.query_async(&mut redis)).await?;
        let keys = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
        Ok((keys.collect(), (next != 0).then_some(next)))
    }

    /// Finds the stage that a key is named after, in either spelling. Names outside the catalog count only with an id that a
    /// task can have.
    fn find_stage(&self, key: &str) -> Option<FoundForeign> {
        let (task, node) = split_stage_key(key)?;
        match TaskId::parse(task) {
            Ok(task) => Some(FoundForeign::Stage(task, node)),
            Err(error) if self.names.contains(&node) => Some(FoundForeign::Unusable(key.to_owned(), error.to_string())),
            Err(_) => None,
        }
    }

    /// Joins a stage that another worker runs: keeps the callback until the end of that stage is seen.
    pub async fn watch(
        &self,
        task: &TaskId,
        node: &NodeName,
        json: &ForeignJson,
        callback: Option<(&str, &str)>,
    ) -> Result<Watching, StoreError> {
        let call = AddExternalSubscriberCall {
            task,
            name: node,
            key: &json.key,
            sha: &json.sha,
            url: callback.map(|(url, _)| url),
            host: callback.map(|(_, host)| host),
            most_callbacks: self.options.bounds.callbacks,
        };
        Ok(match self.call::<i64>(call.prepare(self)).await? {
            1 => Watching::Begun,
            0 => Watching::Changed,
            _ => Watching::Full,
        })
    }

    /// Lists stages of other workers that callbacks wait for, each one once in `every`.
    pub async fn watched(&self, every: Duration) -> Result<Vec<(TaskId, NodeName)>, StoreError> {
        let call = ListExternalSubscriptionsCall {
            every_ms: every,
            count: WATCHED_CHUNK,
        };
        let due: Vec<String> = self.call(call.prepare(self)).await?;
        due.chunks_exact(2)
            .map(|pair| Ok((parse_text(&pair[0])?, parse_text(&pair[1])?)))
            .collect()
    }

    /// Gives up a stage that is lost, unless there is news of it, and notifies its external subscribers. Returns their number.
    pub async fn unwatch(&self, lost: &LostStage<'_>) -> Result<u64, StoreError> {
        let call = GiveUpCall {
            task: lost.task,
            name: lost.node,
            ignore: IgnoredHashes(lost.ignore),
            lost: lost.is_there,
            ended: lost.ended_ms,
            created: lost.ended_ms,
            queue: lost.queue,
            path: JsonText(Some(lost.path)),
            error: JsonText(Some(lost.error)),
            error_short: ShortJson(lost.error, SHORT_ERROR),
            most_stages: self.most_stages(),
        };
        self.call(call.prepare(self)).await
    }

    /// Finds what another worker wrote for this stage and is not adopted. Returns it, and whether it is noted already.
    /// `ignore` are hashes of JSONs that count for nothing.
    pub async fn look(
        &self,
        task: &TaskId,
        node: &NodeName,
        ignore: &[String],
    ) -> Result<Option<(ForeignJson, bool)>, StoreError> {
        let call = FindForeignCall {
            task,
            name: node,
            ignore: IgnoredHashes(ignore),
        };
        let found: Option<FoundReply> = self.call(call.prepare(self)).await?;
        Ok(found.map(|found| {
            let json = ForeignJson {
                key: found.key,
                sha: found.sha,
                ttl_ms: found.ttl_ms,
                json: found.json,
                noted: None,
            };
            (json, found.is_noted)
        }))
    }
}

/// Whether a script has added a stage of another worker; counts it where the limit forbids that.
fn is_accepted(reply: i64) -> bool {
    if reply < 0 {
        Limit::ForeignStages.reached();
    }
    reply == 1
}

/// Writes a text so that a pattern of Redis matches it as it is.
fn escape_pattern(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
