//! Stages that somebody else wrote: found by name in the whole keyspace, for `onceoverd import` alone, and looked at
//! one by one (S5).

use std::time::Duration;

use onceover_common::{NodeName, StageState, TaskId};

use super::{ForeignJson, SHORT_ERROR, Store, StoreError, json_string, limited, record, scripts, short_json};

/// Keys that one call looks at.
const CHUNK: usize = 1000;
/// Watched stages that one call gives.
const WATCHED_CHUNK: usize = 100;

/// A key that is named like a stage's JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Found {
    Stage(TaskId, NodeName),
    /// Named so, but the task id is none we could keep: why not.
    Unusable(String, String),
}

/// A stage of somebody else that has no news.
pub struct LostStage<'a> {
    pub task: &'a TaskId,
    pub node: &'a NodeName,
    /// As for [`Store::look`].
    pub ignore: Option<&'a str>,
    pub queue: &'a str,
    pub path: &'a str,
    pub error: &'a str,
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
    pub error: Option<&'a str>,
    pub duration_ms: i64,
    pub ended_ms: i64,
    pub path: &'a str,
}

impl Store {
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
            .with_some("error", adoption.error.map(json_string))
            .with_some(
                "error_short",
                adoption.error.map(|error| short_json(error, SHORT_ERROR)),
            )
            .with("duration_ms", adoption.duration_ms.to_string())
            .with("ended", adoption.ended_ms.to_string())
            .with("path", json_string(adoption.path));
        self.run(&scripts::ADOPT, args).await
    }

    /// One step of a walk over every key that begins with `prefix`: the stages named
    /// there, and where to go on. The only call whose cost grows with the keyspace.
    pub async fn scan(&self, prefix: &str, from: u64) -> Result<(Vec<Found>, Option<u64>), StoreError> {
        let mut redis = self.redis.clone();
        let mut scan = redis::cmd("SCAN");
        scan.arg(from)
            .arg("MATCH")
            .arg(format!("{}*", escaped(prefix)))
            .arg("COUNT")
            .arg(CHUNK)
            .arg("TYPE")
            .arg("string");
        let (next, keys): (u64, Vec<Vec<u8>>) = limited(scan.query_async(&mut redis)).await?;
        let found = keys
            .iter()
            .filter_map(|key| self.stage_of(std::str::from_utf8(key).ok()?))
            .collect();
        Ok((found, (next != 0).then_some(next)))
    }

    /// The stage a key is named after, in either spelling.
    fn stage_of(&self, key: &str) -> Option<Found> {
        if key.starts_with(onceover_common::keys::PREFIX) {
            return None;
        }
        self.names.split(' ').find_map(|name| {
            let node = NodeName::parse(name).ok()?;
            let older = format!(":{}:{}", node.service(), node.method());
            let task = key
                .strip_suffix(&format!(":node:{name}"))
                .or_else(|| key.strip_suffix(&older))?;
            Some(match TaskId::parse(task) {
                Ok(task) => Found::Stage(task, node),
                Err(error) => Found::Unusable(key.to_owned(), error.to_string()),
            })
        })
    }

    /// Joins a stage that somebody else runs: keeps the callback until its end is seen. False: it has changed meanwhile.
    pub async fn watch(
        &self,
        task: &TaskId,
        node: &NodeName,
        json: &ForeignJson,
        callback: Option<(&str, &str)>,
    ) -> Result<bool, StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with("name", node.as_str())
            .with("key", json.key.as_str())
            .with("sha", json.sha.as_str())
            .with_some("url", callback.map(|(url, _)| url))
            .with_some("host", callback.map(|(_, host)| host));
        self.run(&scripts::WATCH, args).await
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

    /// Tells those who wait for it that the stage is lost, unless there is news of it.
    pub async fn unwatch(&self, lost: &LostStage<'_>) -> Result<u64, StoreError> {
        let error = lost.error;
        let args = self
            .args()
            .with("task", lost.task.as_str())
            .with("name", lost.node.as_str())
            .with_some("ignore", lost.ignore)
            .with("queue", lost.queue)
            .with("path", json_string(lost.path))
            .with("error", json_string(error))
            .with("error_short", short_json(error, SHORT_ERROR));
        self.run(&scripts::UNWATCH, args).await
    }

    /// What somebody else wrote for this stage and we do not know yet. `ignore` are hashes of what was found useless.
    pub async fn look(
        &self,
        task: &TaskId,
        node: &NodeName,
        ignore: Option<&str>,
    ) -> Result<Option<ForeignJson>, StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with("name", node.as_str())
            .with_some("ignore", ignore);
        let found: Option<(String, String, i64, String)> = self.run(&scripts::LOOK, args).await?;
        Ok(found.map(|(key, sha, ttl, json)| ForeignJson { key, sha, ttl, json }))
    }
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
