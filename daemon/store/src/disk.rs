//! What files tasks have: counted as runs end, and whether they may be collected. The files themselves are not looked at
//! here.

use onceover_types::TaskId;

use super::{
    Store, StoreError, TaskRecords, list,
    record::{convert, task_records, unexpected},
    scripts,
};

/// Files of attempts, as their owner has found them: folder below the task's and bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskUsage(Vec<(String, u64)>);

impl DiskUsage {
    pub fn add(&mut self, folder: String, bytes: u64) {
        self.0.push((folder, bytes));
    }

    pub(super) fn as_text(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| list(&self.0))
    }
}

/// Whose the files of a task are.
#[derive(Debug)]
pub enum Collectable {
    /// Nobody knows the task.
    Free,
    /// It has stages, of ours or of another worker.
    Known(TaskRecords),
    /// A slot of it is held: its processes are not known to be gone.
    Held,
    /// A callback that tells of its files is still to be sent.
    Callbacks,
    /// It is the task of a registered video.
    Video,
}

impl Store {
    /// Whose the files of a task are, now.
    pub async fn collectable(&self, task: &TaskId, queues: &[String]) -> Result<Collectable, StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with("names", self.names.as_str())
            .with("queues", list(queues));
        let answer: Vec<redis::Value> = self.run(&scripts::COLLECTABLE, args).await?;
        let mut answer = answer.into_iter();
        let kind: String = convert(answer.next().unwrap_or(redis::Value::Nil))?;
        Ok(match kind.as_str() {
            "free" => Collectable::Free,
            "known" => Collectable::Known(task_records(answer.next().unwrap_or(redis::Value::Nil))?),
            "held" => Collectable::Held,
            "callbacks" => Collectable::Callbacks,
            "video" => Collectable::Video,
            other => return Err(unexpected(format!("the collectable script answered '{other}'"))),
        })
    }

    /// Files were removed: of one attempt (its folder below the task's, and the bytes), or all of the task.
    pub async fn collected(&self, task: &TaskId, attempt: Option<(&str, u64)>) -> Result<(), StoreError> {
        let args = self
            .args()
            .with("task", task.as_str())
            .with_some("folder", attempt.map(|(folder, _)| folder))
            .with_some("bytes", attempt.map(|(_, bytes)| bytes.to_string()));
        self.run(&scripts::COLLECTED, args).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_told_as_pairs() {
        let mut measured = DiskUsage::default();
        assert_eq!(measured.as_text(), None);
        measured.add("runs/a".into(), 3);
        measured.add("runs/a.2".into(), 0);
        assert_eq!(measured.as_text().as_deref(), Some(r#"[["runs/a",3],["runs/a.2",0]]"#));
    }
}
