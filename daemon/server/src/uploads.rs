//! Files of finished stages on their way to the store, in the background: taken from the durable queue of this data
//! directory, sent, recorded object by object, tried again. A run's slot is free long before.
//!
//! Nothing is left behind: which keys will be written is recorded before the first one is. When the result does not stand any
//! more by then, because its task was deleted or it was replaced, what is at the store of it is removed, also by the next
//! start of a daemon that was killed in between.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::StreamExt;
use onceover_types::{TaskId, Timestamp, humane};
use serde_json::{Map, Value};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::{io::ReaderStream, sync::CancellationToken};

use crate::events::EventBus;
use crate::objects::{
    ObjectStorage, StorageError, Uploading,
    plan::{Item, Plan, Stored},
    zip::{self, CompressionInfo},
};
use onceover_limits::Limit;
use onceover_run::paths::{Opened, Roots};
use onceover_store::{DueUpload, LONGEST_UPLOAD_WAIT, Store, StoreError, UploadId, UploadNote};

/// Results on their way at a time.
const AT_A_TIME: usize = 2;
/// How long to wait when nothing is due and nothing wakes us.
const IDLE: Duration = Duration::from_secs(30);
/// Waits before each further try; the last one again and again.
const WAITS: [u64; 7] = [1, 2, 5, 15, 60, 120, 300];
const _: () = assert!(WAITS[WAITS.len() - 1] * 11 / 10 < LONGEST_UPLOAD_WAIT.as_secs());
/// How long what is under way may take to end once the daemon stops. It goes on with the next start.
const STOP_WAIT: Duration = Duration::from_secs(3);
/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// How uploads are made.
#[derive(Debug, Clone)]
pub struct UploadOptions {
    pub storage: Arc<ObjectStorage>,
    /// Id of the data directory.
    pub directory: String,
    /// How long an upload is tried before it is given up.
    pub retry_for: Duration,
}

/// Why a try ended early.
enum Ended {
    /// The result does not stand any more.
    Gone,
    /// It was asked to: the daemon stops, or the result does not stand any more.
    Halted,
    /// The object store failed; to be tried again.
    Storage(StorageError),
    Redis(StoreError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Redis(error)
    }
}

/// What uploads are made with.
pub struct UploadParts {
    pub store: Store,
    pub bus: EventBus,
    pub roots: Arc<Roots>,
    /// Where others see whose files are on their way.
    pub uploading: Uploading,
}

/// Uploads until `stop`.
pub async fn run(parts: UploadParts, options: UploadOptions, stop: CancellationToken) {
    let mut rechecks = parts.bus.rechecks();
    let mut uploader = Uploader {
        parts: Arc::new(parts),
        options,
        checks: Arc::new(StandingChecks::default()),
        tries: JoinSet::new(),
        busy: HashMap::new(),
        stop,
    };
    loop {
        let wait = uploader.begin_due().await;
        tokio::select! {
            () = uploader.stop.cancelled() => break,
            () = uploader.parts.bus.upload_wanted() => {}
            () = tokio::time::sleep(wait) => {}
            task = rechecks.recv() => uploader.checks.notify(task.ok().as_ref()),
            Some(ended) = uploader.tries.join_next_with_id() => uploader.forget(ended),
        }
    }
    let mut tries = uploader.tries;
    let _ = tokio::time::timeout(STOP_WAIT, async { while tries.join_next().await.is_some() {} }).await;
}

/// The uploads under way.
struct Uploader {
    parts: Arc<UploadParts>,
    options: UploadOptions,
    checks: Arc<StandingChecks>,
    tries: JoinSet<()>,
    /// Which upload each of them is.
    busy: HashMap<Id, UploadId>,
    stop: CancellationToken,
}

impl Uploader {
    /// Begins what is due, as far as there is room. Returns after which time there may be more.
    async fn begin_due(&mut self) -> Duration {
        let places = AT_A_TIME.saturating_sub(self.busy.len());
        if places == 0 {
            // A place that gets free wakes us.
            return IDLE;
        }
        let store = &self.parts.store;
        let (taken, next) = match store
            .upload_take(&self.options.directory, places, self.busy.values())
            .await
        {
            Ok(taken) => taken,
            Err(error) => {
                tracing::debug!(%error, "uploads not looked at");
                return Duration::from_secs(1);
            }
        };
        for upload in taken {
            self.begin(upload);
        }
        next.map_or(IDLE, |next| next.clamp(Duration::from_millis(5), IDLE))
    }

    fn begin(&mut self, upload: DueUpload) {
        let id = upload.id.clone();
        let on_its_way = self.parts.uploading.begin(&id.task);
        let (parts, options) = (Arc::clone(&self.parts), self.options.clone());
        let (checks, stop) = (Arc::clone(&self.checks), self.stop.clone());
        let task = self.tries.spawn(async move {
            attempt(&parts, &options, &checks, &upload, &stop).await;
            drop(on_its_way);
        });
        self.busy.insert(task.id(), id);
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "an upload panicked");
                error.id()
            }
        };
        self.busy.remove(&id);
    }
}

/// Who has to look whether the result still stands.
#[derive(Default)]
struct StandingChecks(Mutex<HashMap<UploadId, Arc<tokio::sync::Notify>>>);

impl StandingChecks {
    fn notify(&self, task: Option<&TaskId>) {
        let checks = self.0.lock().expect("no thread panics with the list of uploads");
        for (id, notify) in checks.iter() {
            if task.is_none_or(|task| *task == id.task) {
                notify.notify_one();
            }
        }
    }

    fn begin(&self, id: &UploadId) -> Arc<tokio::sync::Notify> {
        let mut checks = self.0.lock().expect("no thread panics with the list of uploads");
        Arc::clone(checks.entry(id.clone()).or_default())
    }

    fn end(&self, id: &UploadId) {
        self.0
            .lock()
            .expect("no thread panics with the list of uploads")
            .remove(id);
    }
}

async fn attempt(
    parts: &UploadParts,
    options: &UploadOptions,
    checks: &StandingChecks,
    upload: &DueUpload,
    stop: &CancellationToken,
) {
    let id = &upload.id;
    let check = checks.begin(id);
    // Not dropped in the middle: what was begun at the store is ended there.
    let halt = stop.child_token();
    let watch = async {
        loop {
            check.notified().await;
            if matches!(parts.store.upload_note(id, &UploadNote::Nothing).await, Ok(false)) {
                halt.cancel();
            }
        }
    };
    let work = async {
        match upload.undo {
            true => undo(parts, options, &upload.id, &upload.planned).await,
            false => send(parts, options, upload, &halt).await,
        }
    };
    let ended = tokio::select! {
        ended = work => ended,
        never = watch => never,
    };
    checks.end(id);
    let error = match ended {
        Ok(()) | Err(Ended::Gone | Ended::Halted) => return,
        Err(Ended::Storage(error)) => error.to_string(),
        Err(Ended::Redis(StoreError::Unavailable(error))) => {
            tracing::debug!(error, "an upload waits for Redis");
            return tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Err(Ended::Redis(error)) => error.to_string(),
    };
    let wait = WAITS[(upload.tries as usize).min(WAITS.len() - 1)];
    let wait = Duration::from_secs(wait).mul_f64(0.9 + fastrand::f64() * 0.2);
    tracing::warn!(error, task_id = %id.task, task_name = %id.node, run_id = %id.run, wait = humane::duration(wait), "files are not at the store yet");
    match parts.store.upload_later(&options.directory, id, wait, &error).await {
        Ok(true) => parts.bus.outbox_grew(),
        Ok(false) => {}
        Err(error) => {
            tracing::debug!(%error, "an upload waits for Redis");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Sends what is not at the store yet, and records the result.
async fn send(
    parts: &UploadParts,
    options: &UploadOptions,
    upload: &DueUpload,
    halt: &CancellationToken,
) -> Result<(), Ended> {
    let id = &upload.id;
    let share = parts.roots.tasks_dir().to_owned();
    let output: Map<String, Value> = serde_json::from_str(&upload.output)
        .map_err(|error| StoreError::Unexpected(format!("the output of {} is broken: {error}", id.node)))?;
    let (task, looked) = (id.task.clone(), output.clone());
    let plan = blocking(move || Plan::of(&looked, &share, &task)).await?;
    let items: Vec<Item> = plan.items().into_iter().cloned().collect();
    let note = async |note: &UploadNote<'_>| match parts.store.upload_note(id, note).await? {
        true => Ok(()),
        false => Err(Ended::Gone),
    };
    // What undoes this has to know of every key before it is written.
    let mut planned: Vec<String> = items.iter().map(|item| item.key.clone()).collect();
    let known: HashSet<&String> = planned.iter().collect();
    let more: Vec<String> = upload
        .planned
        .iter()
        .filter(|key| !known.contains(key))
        .cloned()
        .collect();
    planned.extend(more);
    note(&UploadNote::Planned(&planned)).await?;

    let given_up = upload.since.is_some_and(|since| {
        let tried = Timestamp::now().as_millis().saturating_sub(since);
        u128::try_from(tried).unwrap_or_default() >= options.retry_for.as_millis()
    });
    let mut stored = HashMap::new();
    for item in &items {
        let before = upload
            .done
            .get(&item.key)
            .and_then(|text| serde_json::from_str(text).ok());
        let result = match before {
            Some(done) => Ok(done),
            None => match place(parts, options, item, halt).await {
                Ok(done) => {
                    let what = serde_json::to_string(&done).expect("sizes can be written as JSON");
                    note(&UploadNote::Done {
                        key: &item.key,
                        what: &what,
                    })
                    .await?;
                    Ok(done)
                }
                Err(Ended::Storage(StorageError::Content(why) | StorageError::Unusable(why))) => Err(why),
                // This was the last try.
                Err(Ended::Storage(error)) if given_up => {
                    Limit::UploadTime.reached();
                    Err(error.to_string())
                }
                Err(error) => return Err(error),
            },
        };
        stored.insert(item.key.clone(), result);
    }
    let storage = &options.storage;
    let said = plan.said(&output, &stored, |key| storage.url_of(&storage.place(key)));
    let done = parts
        .store
        .upload_done(&options.directory, id, &said.fields, &said.files)
        .await?;
    if !done {
        return Err(Ended::Gone);
    }
    let failed = stored.values().filter(|result| result.is_err()).count();
    tracing::info!(task_id = %id.task, task_name = %id.node, run_id = %id.run, objects = stored.len() - failed, failed, "files are at the store");
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Ended> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        Ended::Storage(StorageError::Content(format!(
            "the files could not be looked at: {error}"
        )))
    })
}

fn unreadable(path: &std::path::Path, error: &std::io::Error) -> Ended {
    Ended::Storage(StorageError::Content(format!(
        "{} cannot be read: {error}",
        path.display()
    )))
}

/// Makes sure that one file or folder is at the store. Keys are of one run alone, and objects are there whole or not at all:
/// what an earlier try has sent without being able to say so is not sent again (D49).
async fn place(
    parts: &UploadParts,
    options: &UploadOptions,
    item: &Item,
    halt: &CancellationToken,
) -> Result<Stored, Ended> {
    let storage = &options.storage;
    let location = storage.place(&item.key);
    let share = parts.roots.tasks_dir().to_owned();
    let there = tokio::select! {
        there = storage.find(&location) => there.map_err(Ended::Storage)?,
        () = halt.cancelled() => return Err(Ended::Halted),
    };
    if item.is_folder {
        let (root, folder) = (share.clone(), item.path.clone());
        let files = blocking(move || zip::content(&root, &folder)).await?;
        let files = files.map_err(|error| unreadable(&item.path, &error))?;
        let (count, size) = (files.len() as u64, files.iter().map(|(_, size)| size).sum());
        let sent = match there {
            Some(object) => object.size,
            None => {
                let archive = zip::stream(share, item.path.clone(), files);
                let chunks = tokio_stream::wrappers::ReceiverStream::new(archive);
                write(storage, item, size, chunks, halt).await?
            }
        };
        return Ok(Stored {
            size: sent,
            archive: Some(CompressionInfo::new(count, size, sent)),
        });
    }
    let path: PathBuf = item.path.clone();
    let open = move || -> std::io::Result<_> {
        let file = Opened::in_root(&share, &path)?.reader()?;
        Ok((file.metadata()?.len(), file))
    };
    let (size, file) = blocking(open).await?.map_err(|error| unreadable(&item.path, &error))?;
    let size = match there {
        Some(object) if object.size == size => size,
        _ => {
            let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK);
            write(storage, item, size, chunks, halt).await?
        }
    };
    Ok(Stored { size, archive: None })
}

/// Writes one object from chunks; it is there whole or not at all.
async fn write(
    storage: &ObjectStorage,
    item: &Item,
    size: u64,
    chunks: impl futures_util::Stream<Item = std::io::Result<bytes::Bytes>>,
    halt: &CancellationToken,
) -> Result<u64, Ended> {
    let mut sink = storage
        .write(&storage.place(&item.key), size)
        .await
        .map_err(Ended::Storage)?;
    let mut chunks = std::pin::pin!(chunks);
    let sent = async {
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| unreadable(&item.path, &error))?;
            sink.put(&chunk).await.map_err(Ended::Storage)?;
        }
        Ok(())
    };
    let sent = tokio::select! {
        sent = sent => sent,
        () = halt.cancelled() => Err(Ended::Halted),
    };
    match sent {
        Ok(()) => sink.finish().await.map_err(Ended::Storage),
        Err(error) => {
            sink.abandon().await;
            Err(error)
        }
    }
}

/// Removes what may be at the store of a result that does not stand any more.
async fn undo(parts: &UploadParts, options: &UploadOptions, id: &UploadId, planned: &[String]) -> Result<(), Ended> {
    let storage = &options.storage;
    for key in planned {
        storage.remove(&storage.place(key)).await.map_err(Ended::Storage)?;
    }
    parts.store.upload_forget(&options.directory, id).await?;
    tracing::info!(task_id = %id.task, task_name = %id.node, run_id = %id.run, "files of a result that was replaced or deleted were removed from the store");
    Ok(())
}
