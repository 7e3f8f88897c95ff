//! Stages that other workers write (S5): compared with what is known of them, taken over when they have ended, noted
//! while they are in flight; and found by name in the whole keyspace, for `onceoverd import` alone.

use std::time::Duration;

use onceover_types::{NodeName, StageState, TaskId};
use onceover_wire::WarningCount;

use super::{
    ForeignJson, MOST_FOREIGN_STAGES, SHORT_ERROR, StageKey, Store, StoreError, json_string, keyspace, list, record,
    scripts, short_json,
};
use onceover_limits::Limit;

/// Keys that one call looks at.
const CHUNK: usize = 1000;
/// Watched stages that one call gives.
const WATCHED_CHUNK: usize = 100;
/// Bytes of JSON after which [`Store::news`] answers with what it has.
const MOST_NEWS_BYTES: usize = 8 << 20;

/// A key that is named like a stage's JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FoundForeign {
    Stage(TaskId, NodeName),
    /// Named so, but the task id is none we could keep: why not.
    Unusable(String, String),
}

/// A stage of another worker that has no news.
pub struct LostStage<'a> {
    pub task: &'a TaskId,
    pub node: &'a NodeName,
    /// Its JSON is there and counts as lost; otherwise only waiting callbacks are sent.
    pub is_there: bool,
    /// As for [`Store::look`].
    pub ignore: Option<&'a str>,
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
    /// It is noted as it is, and was not written again for longer than a stage in flight may be silent.
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

/// What came of joining a stage that somebody else runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    Begun,
    /// It has changed meanwhile.
    Changed,
    /// As many callbacks wait for it as may.
    Full,
}

/// A finished result of an existing Python worker, taken over.
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
    /// Compares stages with what lies under their keys, and forgets what other workers have removed. Answers what is
    /// news, and how many stages were looked at: fewer than given when the news are large. `ignore` are hashes of JSONs
    /// that count for nothing, `lost_after` is how long a stage in flight may be silent.
    pub async fn news(
        &self,
        stages: &[StageKey],
        lost_after: Duration,
        ignore: Option<&str>,
    ) -> Result<(Vec<ForeignNews>, usize), StoreError> {
        let members: Vec<_> = stages.iter().map(|(task, node)| format!("{task}|{node}")).collect();
        let args = self
            .args()
            .with("stages", list(&members))
            .with("most_bytes", MOST_NEWS_BYTES.to_string())
            .with("lost_after_ms", lost_after.as_millis().to_string())
            .with_some("ignore", ignore);
        type FoundForeign = (usize, String, String, i64, String, bool);
        let (count, found): (usize, Vec<redis::Value>) = self.run(&scripts::NEWS, args).await?;
        let news = found.chunks_exact(6).map(|one| {
            let (at, key, sha, ttl_ms, json, is_overdue): FoundForeign =
                record::convert(redis::Value::Array(one.to_vec()))?;
            let stage = stages.get(at);
            let (task, node) = stage.ok_or_else(|| record::unexpected("the news script answered something else"))?;
            Ok(ForeignNews {
                task: task.clone(),
                node: node.clone(),
                json: ForeignJson {
                    key,
                    sha,
                    ttl_ms,
                    json,
                    noted: None,
                },
                is_overdue,
            })
        });
        Ok((news.collect::<Result<_, StoreError>>()?, count))
    }

    /// How many stages a task may have before one outside the catalog is one too many.
    fn most_stages(&self) -> String {
        (self.names.split(' ').count() + MOST_FOREIGN_STAGES).to_string()
    }

    /// Notes what another worker has in flight. False: that is no news, or it has changed meanwhile.
    pub async fn note(&self, note: &ForeignNote<'_>) -> Result<bool, StoreError> {
        let args = self
            .args()
            .with("task", note.task.as_str())
            .with("name", note.node.as_str())
            .with("key", note.foreign.key.as_str())
            .with("sha", note.foreign.sha.as_str())
            .with("state", note.state.as_str())
            .with("written", note.written_ms.to_string())
            .with("lost", note.lost_ms.to_string())
            .with("created", note.created_ms.to_string())
            .with_some("progress", note.progress.map(|percent| format!("{percent:.1}")))
            .with("duration_ms", note.duration_ms.to_string())
            .with("queue", note.queue);
        let noted = self
            .run(&scripts::NOTE, args.with("most_stages", self.most_stages()))
            .await?;
        Ok(counted(noted))
    }

    /// Takes over a finished foreign result. False: it has changed meanwhile, or a run of ours is in flight.
    pub async fn adopt(&self, adoption: &Adoption<'_>) -> Result<bool, StoreError> {
        let args = self
            .args()
            .with("task", adoption.task.as_str())
            .with("name", adoption.node.as_str())
            .with("key", adoption.foreign.key.as_str())
            .with("sha", adoption.foreign.sha.as_str())
            .with("queue", adoption.queue)
            .with("state", adoption.state.as_str())
            .with("input", adoption.input)
            .with("input_pub", adoption.input_public)
            .with("output", adoption.output)
            .with("reusable", if adoption.reusable { "1" } else { "0" })
            .warned(adoption.warned)
            .with_some("error", adoption.error.map(json_string))
            .with_some(
                "error_short",
                adoption.error.map(|error| short_json(error, SHORT_ERROR)),
            )
            .with("duration_ms", adoption.duration_ms.to_string())
            .with("ended", adoption.ended_ms.to_string())
            .with("created", adoption.created_ms.to_string())
            .with("path", json_string(adoption.path));
        let adopted = self
            .run(&scripts::ADOPT, args.with("most_stages", self.most_stages()))
            .await?;
        Ok(counted(adopted))
    }

    /// One step of a walk over every key that begins with `prefix`: the stages named
    /// there, and where to go on. The only call whose cost grows with the keyspace.
    pub async fn scan(&self, prefix: &str, from: u64) -> Result<(Vec<FoundForeign>, Option<u64>), StoreError> {
        let (keys, next) = self.scan_keys(prefix, Some("string"), from).await?;
        Ok((keys.iter().filter_map(|key| self.found_at(key)).collect(), next))
    }

    /// The same step for keys of any name: those that are text, of one type or of all, and where to go on.
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
            .arg(format!("{}*", escaped(prefix)))
            .arg("COUNT")
            .arg(CHUNK);
        if let Some(kind) = kind {
            scan.arg("TYPE").arg(kind);
        }
        let (next, keys): (u64, Vec<Vec<u8>>) = self.limited(scan.query_async(&mut redis)).await?;
        let keys = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
        Ok((keys.collect(), (next != 0).then_some(next)))
    }

    /// The stage a key is named after, in either spelling. Names outside the catalog count where they can be a task's.
    fn found_at(&self, key: &str) -> Option<FoundForeign> {
        let (task, node) = keyspace::stage_parts(key)?;
        match TaskId::parse(task) {
            Ok(task) => Some(FoundForeign::Stage(task, node)),
            Err(error) if self.names.split(' ').any(|name| name == node.as_str()) => {
                Some(FoundForeign::Unusable(key.to_owned(), error.to_string()))
            }
            Err(_) => None,
        }
    }

    /// Joins a stage that somebody else runs: keeps the callback until its end is seen.
    pub async fn watch(
        &self,
        task: &TaskId,
        node: &NodeName,
        json: &ForeignJson,
        callback: Option<(&str, &str)>,
    ) -> Result<Watching, StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with("name", node.as_str())
            .with("key", json.key.as_str())
            .with("sha", json.sha.as_str())
            .with_some("url", callback.map(|(url, _)| url))
            .with_some("host", callback.map(|(_, host)| host))
            .with("most_callbacks", self.options.bounds.callbacks.to_string());
        Ok(match self.run::<i64>(&scripts::WATCH, args).await? {
            1 => Watching::Begun,
            0 => Watching::Changed,
            _ => Watching::Full,
        })
    }

    /// Stages of somebody else that callbacks wait for, each given once in `every`.
    pub async fn watched(&self, every: Duration) -> Result<Vec<(TaskId, NodeName)>, StoreError> {
        let args = self
            .args()
            .with("every_ms", every.as_millis().to_string())
            .with("count", WATCHED_CHUNK.to_string());
        let due: Vec<String> = self.run(&scripts::WATCHES, args).await?;
        due.chunks_exact(2)
            .map(|pair| Ok((record::parse(&pair[0])?, record::parse(&pair[1])?)))
            .collect()
    }

    /// Ends a stage that is lost, unless there is news of it, and tells those who wait for it. Answers their number.
    pub async fn unwatch(&self, lost: &LostStage<'_>) -> Result<u64, StoreError> {
        let error = lost.error;
        let args = self
            .args()
            .with("task", lost.task.as_str())
            .with("name", lost.node.as_str())
            .with_some("ignore", lost.ignore)
            .with_some("lost", lost.is_there.then_some("1"))
            .with("ended", lost.ended_ms.to_string())
            .with("created", lost.ended_ms.to_string())
            .with("queue", lost.queue)
            .with("path", json_string(lost.path))
            .with("error", json_string(error))
            .with("error_short", short_json(error, SHORT_ERROR));
        self.run(&scripts::UNWATCH, args.with("most_stages", self.most_stages()))
            .await
    }

    /// What another worker wrote for this stage and is not taken over, and whether it is noted already. `ignore` are
    /// hashes of what was found useless.
    pub async fn look(
        &self,
        task: &TaskId,
        node: &NodeName,
        ignore: Option<&str>,
    ) -> Result<Option<(ForeignJson, bool)>, StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with("name", node.as_str())
            .with_some("ignore", ignore);
        let found: Option<(String, String, i64, String, bool)> = self.run(&scripts::LOOK, args).await?;
        Ok(found.map(|(key, sha, ttl_ms, json, is_noted)| {
            let json = ForeignJson {
                key,
                sha,
                ttl_ms,
                json,
                noted: None,
            };
            (json, is_noted)
        }))
    }
}

/// What a script that adds a stage of another worker answered; whether it did.
fn counted(answer: i64) -> bool {
    if answer < 0 {
        Limit::ForeignStages.reached();
    }
    answer == 1
}

/// Text that a pattern of Redis takes as it is.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
