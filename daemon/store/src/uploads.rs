//! Results whose files are to go to the object store, and the progress of that. Each data directory has its own queue, since
//! its files are on its machine.

use std::{collections::HashMap, fmt, time::Duration};

use onceover_types::{NodeName, RunId, TaskId};

use super::{
    Store, StoreError,
    args::{Json, json_list, script_call},
    reply::{convert_value, parse_text, reply_struct, unexpected},
};

/// The longest time after which an upload is tried again.
pub const LONGEST_UPLOAD_WAIT: Duration = Duration::from_secs(340);

/// The result whose files an upload takes to the object store.
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
    fn parse(text: &str) -> Result<Self, StoreError> {
        let parts: Vec<_> = text.split('|').collect();
        let [task, node, run, attempt] = parts[..] else {
            return Err(unexpected(format!("'{text}' is no upload")));
        };
        Ok(Self {
            task: parse_text(task)?,
            node: parse_text(node)?,
            run: RunId::parse(run).map_err(|error| unexpected(format!("'{run}': {error}")))?,
            attempt: parse_text(attempt)?,
        })
    }
}

script_call! {
    TakeCall<'a>: UPLOAD_TAKE {
        directory: &'a str,
        longest_ms: Duration,
        limit: usize,
        /// Uploads under way.
        busy: Json<'a, [String]>,
    }
}

script_call! {
    NoteCall<'a>: UPLOAD_NOTE {
        task: &'a TaskId,
        name: &'a NodeName,
        run: &'a RunId,
        attempt: u32,
        field: Option<String>,
        value: Option<String>,
    }
}

script_call! {
    LaterCall<'a>: UPLOAD_LATER {
        task: &'a TaskId,
        name: &'a NodeName,
        run: &'a RunId,
        attempt: u32,
        directory: &'a str,
        wait_ms: Duration,
        error: &'a str,
    }
}

script_call! {
    DoneCall<'a>: UPLOAD_DONE {
        task: &'a TaskId,
        name: &'a NodeName,
        run: &'a RunId,
        attempt: u32,
        directory: &'a str,
        fields: &'a str,
        files: &'a str,
    }
}

script_call! {
    ForgetCall<'a>: UPLOAD_FORGET {
        directory: &'a str,
        member: String,
    }
}

reply_struct! {
    TakeReply {
        next_ms: i64,
        taken: Vec<redis::Value>,
    }
}

reply_struct! {
    UploadEntry {
        member: String,
        what: String,
        output: String,
        fields: HashMap<String, String>,
    }
}

/// An upload that is due.
#[derive(Debug, Clone)]
pub struct DueUpload {
    pub id: UploadId,
    /// The result does not stand any more: what is at the store of it has to be removed.
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

/// What is recorded of an upload under way.
pub enum UploadNote<'a> {
    /// Nothing; the call only asks whether the result still stands.
    Nothing,
    /// The keys that will be written.
    Planned(&'a [String]),
    /// This key is at the store, with what is worth knowing of it.
    Done { key: &'a str, what: &'a str },
}

impl Store {
    /// Reads the uploads of a data directory that are due, without those in `busy`, and the time until the next one is due.
    pub async fn upload_take<'a>(
        &self,
        directory: &str,
        limit: usize,
        busy: impl Iterator<Item = &'a UploadId>,
    ) -> Result<(Vec<DueUpload>, Option<Duration>), StoreError> {
        let busy: Vec<_> = busy.map(UploadId::to_string).collect();
        let call = TakeCall {
            directory,
            longest_ms: LONGEST_UPLOAD_WAIT,
            limit,
            busy: Json(busy.as_slice()),
        };
        let reply: TakeReply = self.call(call.prepare(self)).await?;
        let taken = reply.taken.into_iter().map(parse_due_upload);
        let next = u64::try_from(reply.next_ms).ok().map(Duration::from_millis);
        Ok((taken.collect::<Result<_, _>>()?, next))
    }

    /// Records the progress of an upload. Returns `false` if the result does not stand any more (R7); then nothing is written.
    pub async fn upload_note(&self, id: &UploadId, note: &UploadNote<'_>) -> Result<bool, StoreError> {
        let (field, value) = match note {
            UploadNote::Nothing => (None, None),
            UploadNote::Planned(keys) => (Some("planned".to_owned()), Some(json_list(*keys))),
            UploadNote::Done { key, what } => (Some(format!("done:{key}")), Some((*what).to_owned())),
        };
        let call = NoteCall {
            task: &id.task,
            name: &id.node,
            run: &id.run,
            attempt: id.attempt,
            field,
            value,
        };
        self.call(call.prepare(self)).await
    }

    /// Schedules the next try of an upload after `wait`. Returns `true` if callbacks that waited for it are delivered now.
    pub async fn upload_later(
        &self,
        directory: &str,
        id: &UploadId,
        wait: Duration,
        error: &str,
    ) -> Result<bool, StoreError> {
        let call = LaterCall {
            task: &id.task,
            name: &id.node,
            run: &id.run,
            attempt: id.attempt,
            directory,
            wait_ms: wait,
            error,
        };
        self.call(call.prepare(self)).await
    }

    /// Ends an upload. `fields` are appended to the output, `files` go into `minio_files`: both are JSON without the brackets
    /// around. Returns `false` if the result does not stand any more (R7).
    pub async fn upload_done(
        &self,
        directory: &str,
        id: &UploadId,
        fields: &str,
        files: &str,
    ) -> Result<bool, StoreError> {
        let call = DoneCall {
            task: &id.task,
            name: &id.node,
            run: &id.run,
            attempt: id.attempt,
            directory,
            fields,
            files,
        };
        self.call(call.prepare(self)).await
    }

    /// Deletes an upload that was undone.
    pub async fn upload_forget(&self, directory: &str, id: &UploadId) -> Result<(), StoreError> {
        let member = id.to_string();
        self.call(ForgetCall { directory, member }.prepare(self)).await
    }
}

fn parse_due_upload(entry: redis::Value) -> Result<DueUpload, StoreError> {
    let entry: UploadEntry = convert_value(entry)?;
    let mut upload = DueUpload {
        id: UploadId::parse(&entry.member)?,
        undo: entry.what == "undo",
        output: entry.output,
        planned: Vec::new(),
        done: HashMap::new(),
        tries: 0,
        since: None,
    };
    for (field, value) in entry.fields {
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
