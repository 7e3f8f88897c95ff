//! Which files tasks have: counted as runs end, and whether they may be collected. The files themselves are not read here.

use std::borrow::Cow;

use onceover_types::TaskId;

use super::{
    Store, StoreError,
    args::{Argument, CatalogNames, Json, json_list, script_call},
    record::{TaskRecords, parse_task_records},
    reply::TaggedReply,
};

/// Files of attempts, as their owner has measured them: folder below the task's and bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage(Vec<(String, u64)>);

impl DiskUsage {
    /// Adds the files of an attempt.
    pub fn add(&mut self, folder: String, bytes: u64) {
        self.0.push((folder, bytes));
    }

    fn as_json(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| json_list(&self.0))
    }
}

/// Pairs of folder and bytes; absent where nothing was measured.
impl<'a> Argument<'a> for &'a DiskUsage {
    fn into_text(self) -> Option<Cow<'a, str>> {
        self.as_json().map(Cow::Owned)
    }
}

script_call! {
    CollectableCall<'a>: COLLECTABLE {
        task: &'a TaskId,
        names: &'a CatalogNames,
        queues: Json<'a, [String]>,
    }
}

script_call! {
    CollectedCall<'a>: COLLECTED {
        task: &'a TaskId,
        folder: Option<&'a str>,
        bytes: Option<u64>,
    }
}

/// Whether the files of a task are still needed.
#[derive(Debug)]
pub enum Collectable {
    /// Nothing knows the task.
    Free,
    /// It has stages, of ours or of another worker.
    Known(TaskRecords),
    /// A slot of it is held: its processes may not have ended.
    Held,
    /// A callback that reports its files is still to be sent.
    Callbacks,
    /// It is the task of a registered video.
    Video,
}

impl Store {
    /// Decides whether the files of a task are still needed.
    pub async fn collectable(&self, task: &TaskId, queues: &[String]) -> Result<Collectable, StoreError> {
        let call = CollectableCall {
            task,
            names: &self.names,
            queues: Json(queues),
        };
        let reply: Vec<redis::Value> = self.call(call.prepare(self)).await?;
        let mut reply = TaggedReply::new("collectable", reply)?;
        Ok(match reply.kind.as_str() {
            "free" => Collectable::Free,
            "known" => Collectable::Known(parse_task_records(reply.next_value()?)?),
            "held" => Collectable::Held,
            "callbacks" => Collectable::Callbacks,
            "video" => Collectable::Video,
            _ => return Err(reply.unknown_kind()),
        })
    }

    /// Stops counting files that were removed: of one attempt (its folder below the task's, and the bytes), or of the whole
    /// task.
    pub async fn collected(&self, task: &TaskId, attempt: Option<(&str, u64)>) -> Result<(), StoreError> {
        let call = CollectedCall {
            task,
            folder: attempt.map(|(folder, _)| folder),
            bytes: attempt.map(|(_, bytes)| bytes),
        };
        self.call(call.prepare(self)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_sent_as_pairs() {
        let mut measured = DiskUsage::default();
        assert_eq!(measured.as_json(), None);
        measured.add("runs/a".into(), 3);
        measured.add("runs/a.2".into(), 0);
        assert_eq!(measured.as_json().as_deref(), Some(r#"[["runs/a",3],["runs/a.2",0]]"#));
    }
}
