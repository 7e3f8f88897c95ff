//! Deleting a task: its runs, its keys, its files; each resource reported (S4).

use std::{
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use onceover_types::TaskId;
use onceover_wire::{DeleteReport, DeletedResource, DeletionStatus, ResourceOutcome, TaskResource};
use serde_json::json;

use super::{ServiceError, cancel::Cancellations, folders::task_folder, foreign::HeldStages};
use crate::objects::{ObjectStorage, Uploading};
use onceover_run::paths::{ClaimedFolder, FolderClaim, Roots};
use onceover_store::{Deletion, Removed, Store, StoreError};

/// How long a folder is waited for that a run still has, whose slot is free already.
const CLAIM_WAIT: Duration = Duration::from_secs(2);
const CLAIM_RETRY: Duration = Duration::from_millis(10);
/// How long a delete waits for an upload of the task to end.
const UPLOAD_LIMIT: Duration = Duration::from_secs(10);

fn resource(resource: TaskResource, status: ResourceOutcome, message: impl Into<String>) -> DeletedResource {
    DeletedResource {
        resource,
        status,
        message: message.into(),
        retriable: None,
        details: None,
    }
}

/// Deletes tasks. Cheap to clone.
#[derive(Clone)]
pub struct Deletions {
    store: Store,
    roots: Arc<Roots>,
    cancellations: Cancellations,
    /// The object store, where one is configured.
    objects: Option<Arc<ObjectStorage>>,
    /// Whose files are on their way to it.
    uploading: Uploading,
}

impl Deletions {
    pub fn new(
        store: Store,
        roots: Arc<Roots>,
        cancellations: Cancellations,
        objects: Option<Arc<ObjectStorage>>,
        uploading: Uploading,
    ) -> Self {
        Self {
            store,
            roots,
            cancellations,
            objects,
            uploading,
        }
    }

    /// Deletes a task. With stages in flight only when `force`; their processes are ended first.
    pub async fn delete_task(&self, task: &TaskId, force: bool) -> Result<DeleteReport, ServiceError> {
        let folder = task_folder(&self.roots, task);
        let records = self.store.read(task).await?;
        let seen = folder.clone();
        let has_folder = matches!(
            crate::blocking::run(move || std::fs::symlink_metadata(seen)).await,
            Ok(Ok(_))
        );
        if records.is_empty()
            && !has_folder
            && self.store.deliveries_of(task).await? == 0
            && !self.has_objects(task).await
        {
            return Err(ServiceError::UnknownTask(task.clone()));
        }
        let own = records.stages.iter().filter(|(_, record)| record.state.in_flight());
        let own: Vec<_> = own.map(|(name, _)| name.to_string()).collect();
        let held = HeldStages::now(&self.store, &records);
        // What another worker has in flight goes on; only what is kept of it can be removed.
        let others = held.in_flight().map(|name| format!("{name}, by another worker"));
        let flying: Vec<_> = own.iter().cloned().chain(others).collect();
        if !flying.is_empty() && !force {
            return Err(in_flight(task, flying.into_iter()));
        }
        if !own.is_empty() {
            self.store.cancel(task, None).await?;
        }
        self.cancellations.wait_for_processes(task).await?;
        let removed = match self.store.delete(task, force).await {
            Ok(Deletion::InFlight(names)) => return Err(in_flight(task, names.into_iter())),
            Ok(Deletion::Removed(removed)) => Ok(removed),
            Err(StoreError::Unavailable(error)) => Err(error),
            Err(error) => return Err(error.into()),
        };
        // Records first: from here on no run can own a stage. One that was taken just before has its folder already,
        // and ends as it sees that.
        self.cancellations.wait_for_processes(task).await?;
        let results = vec![
            self.delete_folder(task).await,
            redis_report(removed),
            self.delete_objects(task).await,
        ];
        let any = |status: ResourceOutcome| results.iter().any(|result| result.status == status);
        let status = match (any(ResourceOutcome::Failed), any(ResourceOutcome::Deleted)) {
            (true, true) => DeletionStatus::PartialFailed,
            (true, false) => DeletionStatus::Failed,
            _ => DeletionStatus::Success,
        };
        let warnings: Vec<_> = results
            .iter()
            .filter(|result| result.retriable == Some(true) || result.status == ResourceOutcome::Skipped)
            .map(|result| format!("{}: {}", result.resource, result.message))
            .collect();
        Ok(DeleteReport {
            status,
            results,
            warnings: (!warnings.is_empty()).then_some(warnings),
            timestamp: self.store.now(),
        })
    }

    /// Whether the store may have objects of the task: also when it cannot be asked.
    async fn has_objects(&self, task: &TaskId) -> bool {
        match &self.objects {
            Some(objects) => objects.has_any(task.as_str()).await.unwrap_or(true),
            None => false,
        }
    }

    async fn delete_objects(&self, task: &TaskId) -> DeletedResource {
        let name = TaskResource::Minio;
        let Some(objects) = &self.objects else {
            return resource(name, ResourceOutcome::Skipped, "no object storage is configured");
        };
        // What is on its way ends as it sees that the task was deleted, and removes what it has sent by then.
        let _ = tokio::time::timeout(UPLOAD_LIMIT, self.uploading.ended(task)).await;
        let cleared = objects.clear(task.as_str()).await;
        let place = format!("{task}/ in bucket {}", objects.bucket());
        let details = json!({"bucket": objects.bucket(), "prefix": format!("{task}/"), "deleted": cleared.deleted,
            "total": cleared.total, "bytes": cleared.bytes});
        match cleared.error {
            None if cleared.total == 0 => resource(
                name,
                ResourceOutcome::Skipped,
                format!("there are no objects below {place}"),
            ),
            None => DeletedResource {
                details: Some(details),
                ..resource(
                    name,
                    ResourceOutcome::Deleted,
                    format!(
                        "removed {} objects below {place}: {} bytes",
                        cleared.deleted, cleared.bytes
                    ),
                )
            },
            Some(error) => DeletedResource {
                retriable: Some(true),
                details: Some(details),
                ..resource(
                    name,
                    ResourceOutcome::Failed,
                    format!(
                        "removed {} of {} objects below {place}: {error}",
                        cleared.deleted, cleared.total
                    ),
                )
            },
        }
    }

    async fn delete_folder(&self, task: &TaskId) -> DeletedResource {
        let name = TaskResource::LocalDirectory;
        let (root, folder) = (self.roots.tasks_dir().to_owned(), task.to_string());
        let shown = task_folder(&self.roots, task).display().to_string();
        let removal = crate::blocking::run(move || remove_when_free(&root, &folder));
        match removal.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(None) => resource(name, ResourceOutcome::Skipped, format!("there is no folder {shown}")),
            Ok(Some((files, bytes))) => DeletedResource {
                details: Some(json!({"path": shown, "files": files, "bytes": bytes})),
                ..resource(
                    name,
                    ResourceOutcome::Deleted,
                    format!("removed {shown}: {files} files, logs included, {bytes} bytes"),
                )
            },
            Err(error) => DeletedResource {
                retriable: Some(!matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::CrossesDevices
                )),
                ..resource(
                    name,
                    ResourceOutcome::Failed,
                    format!("{shown} could not be removed: {error}"),
                )
            },
        }
    }
}

/// The task's runs have ended, so that only one begun since can hold the folder: then its files are not removed.
fn remove_when_free(share: &Path, folder: &str) -> io::Result<Option<(u64, u64)>> {
    let deadline = Instant::now() + CLAIM_WAIT;
    loop {
        match FolderClaim::acquire(share, folder)? {
            ClaimedFolder::Mine(claim) => return claim.remove(),
            ClaimedFolder::Absent => return Ok(None),
            ClaimedFolder::Busy if Instant::now() < deadline => thread::sleep(CLAIM_RETRY),
            ClaimedFolder::Busy => {
                let text = "a run has begun in it since; delete the task again";
                return Err(io::Error::new(ErrorKind::ResourceBusy, text));
            }
        }
    }
}

fn in_flight(task: &TaskId, names: impl Iterator<Item = String>) -> ServiceError {
    let names: Vec<_> = names.collect();
    ServiceError::Refused(format!(
        "task '{task}' has stages in flight ({}); cancel it first, or delete with {{\"force\": true}} to end them",
        names.join(", ")
    ))
}

fn redis_report(removed: Result<Removed, String>) -> DeletedResource {
    match removed {
        Ok(removed) if removed == Removed::default() => {
            resource(TaskResource::Redis, ResourceOutcome::Skipped, "no records of this task")
        }
        Ok(removed) => DeletedResource {
            details: Some(json!({
                "records": removed.records, "projections": removed.projections, "index": removed.known,
                "queue": removed.queued, "outbox": removed.deliveries,
            })),
            ..resource(
                TaskResource::Redis,
                ResourceOutcome::Deleted,
                format!("removed {} stage records", removed.records.max(removed.projections)),
            )
        },
        Err(error) => DeletedResource {
            retriable: Some(true),
            ..resource(TaskResource::Redis, ResourceOutcome::Failed, error)
        },
    }
}
