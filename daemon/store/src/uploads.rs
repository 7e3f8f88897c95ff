//! Results whose files are to go to the object store, and how far that is. Each data directory has a queue of its own, since
//! its files are on its machine.

use std::{collections::HashMap, fmt, time::Duration};

use onceover_types::{NodeName, RunId, TaskId};

use super::{
    Args, Store, StoreError, list,
    record::{convert, parse, unexpected},
    scripts,
};

/// No upload is tried again later than that from now.
pub const LONGEST_UPLOAD_WAIT: Duration = Duration::from_secs(340);

/// Whose result it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadId {
    pub task: TaskId,
    pub node: NodeName,
    pub run: RunId,
    pub attempt: u32,
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}|{}|{}", self.task, self.node, self.run, self.attempt)
    }
}

impl UploadId {
    fn read(text: &str) -> Result<Self, StoreError> {
        let parts: Vec<_> = text.split('|').collect();
        let [task, node, run, attempt] = parts[..] else {
            return Err(unexpected(format!("'{text}' is no upload")));
        };
        Ok(Self {
            task: parse(task)?,
            node: parse(node)?,
            run: RunId::parse(run).map_err(|error| unexpected(format!("'{run}': {error}")))?,
            attempt: parse(attempt)?,
        })
    }
}

/// One that is due.
#[derive(Debug, Clone)]
pub struct DueUpload {
    pub id: UploadId,
    /// The result does not stand any more: what is at the store of it has to go.
    pub undo: bool,
    /// The result's output, as JSON.
    pub output: String,
    /// Keys that are or may be at the store.
    pub planned: Vec<String>,
    /// What is known of those that are, by key.
    pub done: HashMap<String, String>,
    /// Tries that failed, and when the first one did, in milliseconds since 1970.
    pub tries: u32,
    pub since: Option<i64>,
}

/// What is written down about an upload under way.
pub enum UploadNote<'a> {
    /// Nothing; only ask whether the result still stands.
    Nothing,
    /// The keys that will be written.
    Planned(&'a [String]),
    /// This key is at the store, with what is worth knowing of it.
    Done { key: &'a str, what: &'a str },
}

impl<'a> Args<'a> {
    fn upload(self, id: &'a UploadId) -> Self {
        self.with("task", id.task.as_str())
            .with("name", id.node.as_str())
            .with("run", id.run.as_str())
            .with("attempt", id.attempt.to_string())
    }
}

impl Store {
    /// Uploads of a data directory that are due, but those in `busy`; and the time until the next one is.
    pub async fn upload_take<'a>(
        &self,
        directory: &str,
        limit: usize,
        busy: impl Iterator<Item = &'a UploadId>,
    ) -> Result<(Vec<DueUpload>, Option<Duration>), StoreError> {
        let busy: Vec<_> = busy.map(UploadId::to_string).collect();
        let args = self
            .args()
            .with("directory", directory)
            .with("longest_ms", LONGEST_UPLOAD_WAIT.as_millis().to_string())
            .with("limit", limit.to_string())
            .with("busy", list(&busy));
        let (next, taken): (i64, Vec<redis::Value>) = self.run(&scripts::UPLOAD_TAKE, args).await?;
        let taken = taken.into_iter().map(due).collect::<Result<_, _>>()?;
        Ok((taken, u64::try_from(next).ok().map(Duration::from_millis)))
    }

    /// Writes down how far an upload is. False: the result does not stand any more (R7), nothing was written.
    pub async fn upload_note(&self, id: &UploadId, note: &UploadNote<'_>) -> Result<bool, StoreError> {
        let args = self.args().upload(id);
        let args = match note {
            UploadNote::Nothing => args,
            UploadNote::Planned(keys) => args
                .with("field", "planned")
                .with("value", serde_json::json!(keys).to_string()),
            UploadNote::Done { key, what } => args.with("field", format!("done:{key}")).with("value", *what),
        };
        self.run(&scripts::UPLOAD_NOTE, args).await
    }

    /// Tries an upload again after `wait`. True: callbacks that had waited for it leave now.
    pub async fn upload_later(
        &self,
        directory: &str,
        id: &UploadId,
        wait: Duration,
        error: &str,
    ) -> Result<bool, StoreError> {
        let args = self
            .args()
            .upload(id)
            .with("directory", directory)
            .with("wait_ms", wait.as_millis().to_string())
            .with("error", error);
        self.run(&scripts::UPLOAD_LATER, args).await
    }

    /// Ends an upload. `fields` go to the end of the output, `files` into `minio_files`: both JSON without the brackets
    /// around. False: the result does not stand any more (R7).
    pub async fn upload_done(
        &self,
        directory: &str,
        id: &UploadId,
        fields: &str,
        files: &str,
    ) -> Result<bool, StoreError> {
        let args = self
            .args()
            .upload(id)
            .with("directory", directory)
            .with("fields", fields)
            .with("files", files);
        self.run(&scripts::UPLOAD_DONE, args).await
    }

    /// Forgets an upload that was undone.
    pub async fn upload_forget(&self, directory: &str, id: &UploadId) -> Result<(), StoreError> {
        let args = self.args().with("directory", directory).with("member", id.to_string());
        self.run(&scripts::UPLOAD_FORGET, args).await
    }
}

fn due(entry: redis::Value) -> Result<DueUpload, StoreError> {
    let (member, what, output, fields): (String, String, String, HashMap<String, String>) = convert(entry)?;
    let mut upload = DueUpload {
        id: UploadId::read(&member)?,
        undo: what == "undo",
        output,
        planned: Vec::new(),
        done: HashMap::new(),
        tries: 0,
        since: None,
    };
    for (field, value) in fields {
        match (field.as_str(), field.strip_prefix("done:")) {
            (_, Some(key)) => drop(upload.done.insert(key.to_owned(), value)),
            ("planned", _) => upload.planned = serde_json::from_str(&value).unwrap_or_default(),
            ("tries", _) => upload.tries = value.parse().unwrap_or_default(),
            ("since", _) => upload.since = value.parse().ok(),
            _ => {}
        }
    }
    Ok(upload)
}
