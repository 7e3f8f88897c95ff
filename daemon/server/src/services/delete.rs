//! Deleting a task: its runs, its keys, its files; each resource reported (S4).

use std::{
    io::{self, ErrorKind},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use onceover_types::{TaskId, Timestamp};
use onceover_wire::{DeleteReport, DeletedResource};
use serde_json::json;

use super::{Engine, EngineError};
use onceover_run::paths::{ClaimedFolder, FolderClaim};
use onceover_store::{Deletion, Removed, StoreError};

/// How long a folder is waited for that a run still has, whose slot is free already.
const CLAIM_WAIT: Duration = Duration::from_secs(2);
const CLAIM_RETRY: Duration = Duration::from_millis(10);
/// How long a delete waits for an upload of the task to end.
const UPLOAD_LIMIT: Duration = Duration::from_secs(10);

fn resource(resource: &str, status: &str, message: impl Into<String>) -> DeletedResource {
    DeletedResource {
        resource: resource.into(),
        status: status.into(),
        message: message.into(),
        retriable: None,
        details: None,
    }
}

impl Engine {
    /// Deletes a task. With stages in flight only when `force`; their processes are ended first.
    pub async fn delete(&self, task: &TaskId, force: bool) -> Result<DeleteReport, EngineError> {
        let folder = self.task_folder(task);
        let (records, _) = self.store.read(task).await?;
        let has_folder = tokio::fs::symlink_metadata(&folder).await.is_ok();
        if records.is_empty()
            && !has_folder
            && self.store.deliveries_of(task).await? == 0
            && !self.has_objects(task).await
        {
            return Err(EngineError::UnknownTask(task.clone()));
        }
        let own = records.stages.iter().filter(|(_, record)| record.state.in_flight());
        let own: Vec<_> = own.map(|(name, _)| name.to_string()).collect();
        let held = self.held(&records);
        // What another worker has in flight goes on; only what is kept of it can be removed.
        let others = held.in_flight().map(|name| format!("{name}, by another worker"));
        let flying: Vec<_> = own.iter().cloned().chain(others).collect();
        if !flying.is_empty() && !force {
            return Err(in_flight(task, flying.into_iter()));
        }
        if !own.is_empty() {
            self.store.cancel(task, None).await?;
        }
        self.hub.nudge(task);
        self.wait_for_processes(task).await?;
        let removed = match self.store.delete(task, force).await {
            Ok(Deletion::InFlight(names)) => return Err(in_flight(task, names.into_iter())),
            Ok(Deletion::Removed(removed)) => Ok(removed),
            Err(StoreError::Unavailable(error)) => Err(error),
            Err(error) => return Err(error.into()),
        };
        // Records first: from here on no run can own a stage. One that was taken just before has its folder already,
        // and ends as it sees that.
        self.hub.nudge(task);
        self.wait_for_processes(task).await?;
        let results = vec![
            self.delete_folder(task).await,
            redis_report(removed),
            self.delete_objects(task).await,
        ];
        let any = |status: &str| results.iter().any(|result| result.status == status);
        let status = match (any("failed"), any("deleted")) {
            (true, true) => "partial_failed",
            (true, false) => "failed",
            _ => "success",
        };
        let warnings: Vec<_> = results
            .iter()
            .filter(|result| result.retriable == Some(true) || result.status == "skipped")
            .map(|result| format!("{}: {}", result.resource, result.message))
            .collect();
        Ok(DeleteReport {
            status: status.into(),
            results,
            warnings: (!warnings.is_empty()).then_some(warnings),
            timestamp: Timestamp::now(),
        })
    }

    /// Waits until the task's cancelled runs have ended their processes, or their owner is lost.
    pub async fn wait_for_processes(&self, task: &TaskId) -> Result<(), EngineError> {
        let limit = self.grace + self.store.options().lease + Duration::from_secs(2);
        let mut released = self.hub.released();
        let waiting = async {
            loop {
                if self.store.holding(task, &self.queues).await? == 0 {
                    return Ok(());
                }
                // Woken by our own executor; a run of another daemon is looked for again shortly.
                let _ = tokio::time::timeout(Duration::from_millis(200), released.changed()).await;
            }
        };
        match tokio::time::timeout(limit, waiting).await {
            Ok(done) => done,
            Err(_) => Err(EngineError::Store(StoreError::Unavailable(format!(
                "a run of '{task}' was cancelled but its processes have not ended after {} s; try again",
                limit.as_secs()
            )))),
        }
    }

    /// Whether the store may have objects of the task: also when it cannot be asked.
    async fn has_objects(&self, task: &TaskId) -> bool {
        match &self.objects {
            Some(objects) => objects.has_any(task.as_str()).await.unwrap_or(true),
            None => false,
        }
    }

    async fn delete_objects(&self, task: &TaskId) -> DeletedResource {
        let name = "minio";
        let Some(objects) = &self.objects else {
            return resource(name, "skipped", "no object storage is configured");
        };
        // What is on its way ends as it sees that the task is gone, and removes what it has sent by then.
        let _ = tokio::time::timeout(UPLOAD_LIMIT, self.uploading.ended(task)).await;
        let cleared = objects.clear(task.as_str()).await;
        let place = format!("{task}/ in bucket {}", objects.bucket());
        let details = json!({"bucket": objects.bucket(), "prefix": format!("{task}/"), "deleted": cleared.deleted,
            "total": cleared.total, "bytes": cleared.bytes});
        match cleared.error {
            None if cleared.total == 0 => resource(name, "skipped", format!("there are no objects below {place}")),
            None => DeletedResource {
                details: Some(details),
                ..resource(
                    name,
                    "deleted",
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
                    "failed",
                    format!(
                        "removed {} of {} objects below {place}: {error}",
                        cleared.deleted, cleared.total
                    ),
                )
            },
        }
    }

    async fn delete_folder(&self, task: &TaskId) -> DeletedResource {
        let name = "local_directory";
        let (root, folder) = (self.roots.share().to_owned(), task.to_string());
        let shown = self.task_folder(task).display().to_string();
        let removal = tokio::task::spawn_blocking(move || remove_when_free(&root, &folder));
        match removal.await.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok(None) => resource(name, "skipped", format!("there is no folder {shown}")),
            Ok(Some((files, bytes))) => DeletedResource {
                details: Some(json!({"path": shown, "files": files, "bytes": bytes})),
                ..resource(
                    name,
                    "deleted",
                    format!("removed {shown}: {files} files, logs included, {bytes} bytes"),
                )
            },
            Err(error) => DeletedResource {
                retriable: Some(!matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::CrossesDevices
                )),
                ..resource(name, "failed", format!("{shown} could not be removed: {error}"))
            },
        }
    }
}

/// The task's runs have ended, so that only one begun since can hold the folder: then its files are not removed.
fn remove_when_free(share: &Path, folder: &str) -> io::Result<Option<(u64, u64)>> {
    let deadline = Instant::now() + CLAIM_WAIT;
    loop {
        match FolderClaim::take(share, folder)? {
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

fn in_flight(task: &TaskId, names: impl Iterator<Item = String>) -> EngineError {
    let names: Vec<_> = names.collect();
    EngineError::Refused(format!(
        "task '{task}' has stages in flight ({}); cancel it first, or delete with {{\"force\": true}} to end them",
        names.join(", ")
    ))
}

fn redis_report(removed: Result<Removed, String>) -> DeletedResource {
    match removed {
        Ok(removed) if removed == Removed::default() => resource("redis", "skipped", "no records of this task"),
        Ok(removed) => DeletedResource {
            details: Some(json!({
                "records": removed.records, "projections": removed.projections, "index": removed.known,
                "queue": removed.queued, "outbox": removed.deliveries,
            })),
            ..resource(
                "redis",
                "deleted",
                format!("removed {} stage records", removed.records.max(removed.projections)),
            )
        },
        Err(error) => DeletedResource {
            retriable: Some(true),
            ..resource("redis", "failed", error)
        },
    }
}
