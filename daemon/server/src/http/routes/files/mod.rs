//! `/v1/files`: files of the object store where one is configured, else of the share.

pub(crate) mod cues;
mod download;
pub(crate) mod upload;

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::HeaderMap,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use onceover_types::{Problem, ProblemKind, TaskId, Timestamp, url_path::encode_path};
use onceover_wire::{FileDeleted, FileItem, FileList};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::links::absolute;
use crate::http::{ApiError, AppState, query::Params};
use crate::{
    access::links::Links,
    config::is_bucket,
    objects::{
        ObjectStorage, PRESIGNED, StorageError,
        location::{Location, check_key},
    },
};
use onceover_run::paths::{Roots, share};

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_files))
        .routes(routes!(delete_folder))
        .routes(routes!(delete_file))
        .merge(upload::routes())
        .merge(download::routes())
}

/// Where files are, and how large one may be.
pub struct Files {
    pub roots: Arc<Roots>,
    /// The object store, where one is configured.
    pub objects: Option<Arc<ObjectStorage>>,
    /// What the bucket is called that files are in, also where there is no object store.
    pub bucket: Arc<str>,
    /// Largest file that can be uploaded, in bytes.
    pub largest_file: u64,
    /// What makes URLs of files that need no token.
    pub links: Arc<Links>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BucketParams {
    /// Bucket of the object store: `storage.bucket`, which it is if left out, or one of `storage.buckets`.
    #[param(nullable = false, pattern = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    bucket: Option<String>,
}

impl Files {
    /// Returns the object store that a request is about: none where it asks for the disk.
    fn store(&self, wants_disk: bool) -> Option<&Arc<ObjectStorage>> {
        self.objects.as_ref().filter(|_| !wants_disk)
    }
}

/// The bucket a request means.
fn bucket_of(files: &Files, given: Option<&str>) -> Result<String, ApiError> {
    let Some(given) = given else {
        return Ok(files.bucket.to_string());
    };
    if !is_bucket(given) {
        let why = "a bucket's name is 3 to 63 of a-z 0-9 . -, with a letter or digit at both ends";
        return Err(Problem::invalid_field("bucket", why).into());
    }
    let allowed = match &files.objects {
        Some(objects) => objects.check_bucket(given),
        None if given == &*files.bucket => Ok(()),
        None => Err(format!(
            "there is no object store here, so files are in '{}' only; leave bucket out, or name that",
            files.bucket
        )),
    };
    allowed.map_err(|why| Problem::invalid_field("bucket", why))?;
    Ok(given.to_owned())
}

/// Checks the path of a file in the share, or at a store.
fn key_of(field: &str, key: &str, store: Option<&Arc<ObjectStorage>>) -> Result<String, ApiError> {
    let refuse = |why: String| ApiError(Problem::invalid_field(field, why));
    check_key(key).map_err(refuse)?;
    // In the share that is where files are until they are whole.
    if store.is_none() && key.starts_with('.') {
        return Err(refuse("it begins with '.'; no task's folder does".into()));
    }
    Ok(key.to_owned())
}

/// Reads the path of a file that is the rest of the request's path.
fn rest_of(path: Result<Path<String>, PathRejection>, store: Option<&Arc<ObjectStorage>>) -> Result<String, ApiError> {
    let Path(path) = path.map_err(|error| Problem::invalid_field("file_path", error.body_text()))?;
    key_of("file_path", &path, store)
}

/// Where this daemon gives the file out, by the address it was asked at. Where a token is needed it opens the file without
/// one for [`PRESIGNED`], as the store's own URLs do.
async fn daemon_url(files: &Files, headers: &HeaderMap, bucket: &str, key: &str, wants_disk: bool) -> String {
    let mut target = format!("/v1/files/download/{}", encode_path(key));
    if wants_disk {
        target.push_str("?disk=true");
    } else if bucket != &*files.bucket {
        target.push_str("?bucket=");
        target.push_str(bucket);
    }
    match files.links.make(&target, PRESIGNED).await {
        Ok((link, _)) => absolute(headers, &link),
        // With a token it opens the file all the same.
        Err(error) => {
            tracing::warn!(%error, "a download URL is not signed");
            absolute(headers, &target)
        }
    }
}

fn kind_of(key: &str) -> String {
    mime_guess::from_path(key).first_or_octet_stream().to_string()
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        let detail = error.to_string();
        Self(match error {
            StorageError::Missing(_) => Problem::new(ProblemKind::NoFile, detail),
            StorageError::Unusable(_) => Problem::invalid_field("file_path", detail),
            StorageError::Content(_) => Problem::new(ProblemKind::BadBody, detail),
            StorageError::Unavailable { .. } => {
                tracing::warn!(detail, "object store");
                Problem::new(ProblemKind::StorageUnavailable, detail)
            }
        })
    }
}

fn no_file(key: &str) -> ApiError {
    let detail = format!("there is no file '{}'", key.chars().take(200).collect::<String>());
    Problem::new(ProblemKind::NoFile, detail).into()
}

/// An error of the share's file system.
fn file_error(error: &std::io::Error, field: &str, key: &str) -> ApiError {
    use std::io::ErrorKind;
    let shown: String = key.chars().take(200).collect();
    ApiError(match error.kind() {
        ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidFilename
        | ErrorKind::DirectoryNotEmpty => Problem::invalid_field(field, format!("'{shown}' cannot be used: {error}")),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Problem::new(
            ProblemKind::StorageFull,
            format!("there is no room for '{shown}' in the data folder: {error}; nothing of it was kept"),
        ),
        ErrorKind::PermissionDenied => Problem::new(
            ProblemKind::FilePermission,
            format!("the daemon's user may not do that with '{shown}': {error}"),
        ),
        _ => {
            tracing::error!(%error, key, "a file of the share");
            Problem::new(ProblemKind::Internal, format!("'{shown}': {error}"))
        }
    })
}

/// Runs what blocks on the file system.
async fn blocking<T: Send + 'static>(
    field: &'static str,
    key: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    done.map_err(|error| file_error(&error, field, key))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Only files below this folder, such as `lecture-07` or `lecture-07/runs`.
    #[param(nullable = false)]
    prefix: Option<String>,
    /// Files on a page, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(nullable = false)]
    cursor: Option<String>,
    /// Bucket of the object store: `storage.bucket`, which it is if left out, or one of `storage.buckets`.
    #[param(nullable = false, pattern = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    bucket: Option<String>,
    /// List the files on the daemon's disk, also where an object store is configured.
    #[serde(default)]
    disk: bool,
}

/// List files, in the order of their paths
///
/// Of the object store where one is configured, else of `share/workflows`; with `disk=true` of that in any case. Links
/// are not listed.
#[utoipa::path(get, path = "/v1/files", tag = "files", params(ListParams),
    responses((status = 200, description = "One page", body = FileList), (status = 422)))]
async fn list_files(
    State(files): State<Arc<Files>>,
    Params(params): Params<ListParams>,
    headers: HeaderMap,
) -> Result<Json<FileList>, ApiError> {
    let bucket = bucket_of(&files, params.bucket.as_deref())?;
    let folder = params.prefix.unwrap_or_default();
    let folder = folder.trim_end_matches('/').to_owned();
    let store = files.store(params.disk);
    if !folder.is_empty() {
        key_of("prefix", &folder, store)?;
    }
    let limit = params.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::invalid_field("limit", "it must be from 1 to 1000").into());
    }
    let after = params.cursor.as_deref().map(read_cursor).transpose()?;
    // One more, to know whether there is a next page.
    let wanted = limit as usize + 1;
    let mut found: Vec<(String, u64, i64)> = match store {
        Some(objects) => {
            let objects = objects.list(&bucket, &folder, after.as_deref(), wanted).await?;
            objects
                .into_iter()
                .map(|object| (object.key, object.size, object.changed))
                .collect()
        }
        None => {
            let root = files.roots.tasks_dir().to_owned();
            let key = folder.clone();
            let entries = blocking("prefix", &key, move || {
                share::list(&root, &folder, after.as_deref(), wanted)
            })
            .await?;
            entries
                .into_iter()
                .map(|entry| (entry.key, entry.size, entry.changed))
                .collect()
        }
    };
    let more = found.len() == wanted;
    found.truncate(limit as usize);
    let last = found.last().map(|(key, _, _)| BASE64_URL_SAFE_NO_PAD.encode(key));
    let mut items = Vec::with_capacity(found.len());
    for (key, size, changed) in found {
        items.push(FileItem {
            size,
            modified_at: Timestamp::from_millis(changed),
            content_type: kind_of(&key),
            download_url: daemon_url(&files, &headers, &bucket, &key, params.disk).await,
            file_path: key,
        });
    }
    Ok(Json(FileList {
        bucket,
        files: items,
        next_cursor: last.filter(|_| more),
    }))
}

fn read_cursor(cursor: &str) -> Result<String, ApiError> {
    let read = || String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok();
    let key = read().filter(|key| check_key(key).is_ok());
    key.ok_or_else(|| Problem::invalid_field("cursor", "it is not a next_cursor of an earlier page").into())
}

/// Delete a file
///
/// That there is none is a success, too. A stage whose file is deleted runs again at its next submit.
#[utoipa::path(delete, path = "/v1/files/{*file_path}", tag = "files", params(("file_path" = String, Path), BucketParams),
    responses((status = 200, description = "The file is not there", body = FileDeleted), (status = 403),
        (status = 422)))]
async fn delete_file(
    State(files): State<Arc<Files>>,
    path: Result<Path<String>, PathRejection>,
    Params(params): Params<BucketParams>,
) -> Result<Json<FileDeleted>, ApiError> {
    let bucket = bucket_of(&files, params.bucket.as_deref())?;
    let key = rest_of(path, files.objects.as_ref())?;
    let (file_size, message) = match &files.objects {
        Some(objects) => {
            let location = Location {
                bucket: bucket.clone(),
                key: key.clone(),
            };
            objects.remove(&location).await?;
            (None, format!("there is no object {location} any more"))
        }
        None => {
            let (root, path) = (files.roots.tasks_dir().to_owned(), key.clone());
            let removed = blocking("file_path", &key, move || share::remove_file(&root, &path)).await?;
            let message = match removed {
                Some(bytes) => format!("removed {bytes} bytes"),
                None => "there was no such file".into(),
            };
            (removed, message)
        }
    };
    Ok(Json(FileDeleted {
        success: true,
        message,
        file_path: key,
        file_size,
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FolderParams {
    /// A folder below a task's: `share/workflows/lecture-07/cropped`, or the same with a slash before it.
    directory_path: String,
}

/// Delete a folder of a task, with all that is in it
///
/// On the daemon's disk, strictly below the task's own folder; a whole task is deleted with
/// `POST /v1/tasks/{task_id}/delete`. That there is none is a success, too.
#[utoipa::path(delete, path = "/v1/files/directories", tag = "files", params(FolderParams),
    responses((status = 200, description = "The folder is not there", body = FileDeleted), (status = 403),
        (status = 422)))]
async fn delete_folder(
    State(files): State<Arc<Files>>,
    Params(params): Params<FolderParams>,
) -> Result<Json<FileDeleted>, ApiError> {
    let field = "directory_path";
    let key = folder_key(&params.directory_path, &files).map_err(|why| Problem::invalid_field(field, why))?;
    let (root, path) = (files.roots.tasks_dir().to_owned(), key.clone());
    let removed = blocking(field, &key, move || share::remove_folder(&root, &path)).await?;
    Ok(Json(FileDeleted {
        success: true,
        message: match removed {
            Some((files, bytes)) => format!("removed {files} files, {bytes} bytes"),
            None => "there was no such folder".into(),
        },
        file_path: params.directory_path,
        file_size: removed.map(|(_, bytes)| bytes),
    }))
}

/// The folder's path below the share; the error says why it may not be deleted (D30).
fn folder_key(given: &str, files: &Files) -> Result<String, String> {
    let root = files.roots.tasks_dir().display().to_string();
    let below = [
        format!("{root}/"),
        "/share/workflows/".into(),
        "share/workflows/".into(),
    ];
    let Some(key) = below.iter().find_map(|start| given.strip_prefix(start.as_str())) else {
        return Err("it must be a folder below a task's: share/workflows/<task_id>/<folder>".into());
    };
    let key = key.trim_end_matches('/');
    check_key(key)?;
    match key.split_once('/') {
        Some((task, _)) => {
            TaskId::parse(task).map_err(|error| format!("'{task}' is no task: {error}"))?;
            Ok(key.to_owned())
        }
        None => Err(format!(
            "'{key}' is a whole task's folder; POST /v1/tasks/{key}/delete deletes a task with its records"
        )),
    }
}
