//! Taking in one file, as it comes: to the store, or to a draft in the share that is put in its place once it is whole.

use std::sync::Arc;

use axum::{
    Json,
    extract::{
        DefaultBodyLimit, FromRequest, Multipart, Request, State,
        multipart::{Field, MultipartError},
    },
    http::HeaderMap,
};
use onceover_types::{FieldError, Problem, ProblemKind, Timestamp, humane};
use onceover_wire::FileUploaded;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Files, blocking, bucket_of, daemon_url, file_error, key_of, kind_of};
use crate::{
    http::{ApiError, AppState, awaited::late_body, paced::paced, query::Params},
    objects::{Sink, location::Location},
};
use onceover_limits::Limit;
use onceover_run::paths::share::Draft;

pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(upload_file))
        // There is a separate limit, `files.max_bytes`.
        .layer(DefaultBodyLimit::disable())
}

/// Bytes of a form field that is no file.
pub(crate) const LONGEST_TEXT: usize = 8 * 1024;
/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UploadParams {
    /// Path below `share/workflows`, or key in the bucket. It can be a field of the form instead.
    #[param(nullable = false)]
    file_path: Option<String>,
    /// Bucket of the object store: `storage.bucket`, which it is if left out, or one of `storage.buckets`.
    #[param(nullable = false, pattern = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    bucket: Option<String>,
}

/// The form of an upload.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only for the description")]
struct UploadForm {
    /// Where it goes, unless the query says so.
    #[schema(nullable = false)]
    file_path: Option<String>,
    /// Unless the query says so.
    #[schema(nullable = false)]
    bucket: Option<String>,
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
}

/// Upload a file
///
/// A `multipart/form-data` form with the file as `file`, at most `files.max_bytes`. It is there whole or not at all, and takes
/// the place of what was there.
#[utoipa::path(post, path = "/v1/files/upload", tag = "files", params(UploadParams),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "The file is stored", body = FileUploaded), (status = 400),
        (status = 403), (status = 413), (status = 422), (status = 507)))]
async fn upload_file(
    State(files): State<Arc<Files>>,
    Params(params): Params<UploadParams>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<FileUploaded>, ApiError> {
    let form = Multipart::from_request(paced(request), &())
        .await
        .map_err(|rejection| {
            let detail = format!(
                "{}; send a multipart/form-data form with the file as 'file'",
                rejection.body_text()
            );
            ApiError(Problem::new(ProblemKind::BadBody, detail))
        })?;
    // On a separate task, so that what was begun at the store is ended there when the client goes away.
    let taken = tokio::spawn(take(files, params, headers, form)).await;
    taken.unwrap_or_else(|error| {
        tracing::error!(%error, "an upload panicked");
        Err(Problem::new(ProblemKind::Internal, "a defect of onceoverd; its log tells more").into())
    })
}

/// What has come in and is not in its place yet.
enum Incoming {
    Store(Sink),
    Share(Draft, tokio::fs::File),
}

struct Received {
    incoming: Incoming,
    /// Where it is on its way to, if that was known before it came.
    place: Option<Location>,
    size: u64,
    content_type: Option<String>,
}

impl Received {
    /// Refuses a place that differs from the one it has gone to.
    fn agrees(&self, place: Location) -> Result<Location, ApiError> {
        match &self.place {
            Some(gone) if *gone != place => {
                let why = format!(
                    "it names '{}' after the file, which was on its way to '{}'; put it before the file, or into the query",
                    place.bucket, gone.bucket
                );
                Err(Problem::invalid_field("bucket", why).into())
            }
            _ => Ok(place),
        }
    }

    async fn abandon(self) {
        // A draft goes by itself.
        if let Incoming::Store(sink) = self.incoming {
            sink.abandon().await;
        }
    }
}

async fn take(
    files: Arc<Files>,
    params: UploadParams,
    headers: HeaderMap,
    mut form: Multipart,
) -> Result<Json<FileUploaded>, ApiError> {
    let mut given = Given {
        path: params.file_path,
        bucket: params.bucket,
    };
    let mut received = None;
    let read = given.read(&files, &mut form, &mut received).await;
    let placed = match (read, received) {
        (Ok(()), Some(received)) => match given.place(&files).and_then(|place| received.agrees(place)) {
            Ok(place) => place_it(&files, place, received).await,
            Err(error) => {
                received.abandon().await;
                Err(error)
            }
        },
        (Ok(()), None) => {
            let mut errors = vec![FieldError::new(
                "file",
                "it is missing: send the file as the form's field 'file'",
            )];
            if given.path.is_none() {
                errors.insert(
                    0,
                    FieldError::new("file_path", "it is missing, in the query and in the form"),
                );
            }
            Err(Problem::invalid_fields(errors).into())
        }
        (Err(error), received) => {
            if let Some(received) = received {
                received.abandon().await;
            }
            Err(error)
        }
    };
    let (place, size, content_type) = placed?;
    let download_url = match &files.objects {
        Some(objects) => objects.presigned(&place).await?,
        None => daemon_url(&files, &headers, &place.bucket, &place.key, false).await,
    };
    Ok(Json(FileUploaded {
        content_type: content_type.unwrap_or_else(|| kind_of(&place.key)),
        file_path: place.key,
        bucket: place.bucket,
        download_url,
        size,
        uploaded_at: Timestamp::now(),
    }))
}

/// What the query and the form say so far.
struct Given {
    path: Option<String>,
    bucket: Option<String>,
}

impl Given {
    async fn read(
        &mut self,
        files: &Files,
        form: &mut Multipart,
        received: &mut Option<Received>,
    ) -> Result<(), ApiError> {
        // Before anything is taken in.
        if self.path.is_some() {
            self.place(files)?;
        }
        while let Some(mut field) = form.next_field().await.map_err(|error| unreadable(&error))? {
            match field.name().unwrap_or_default() {
                "file" if received.is_some() => {
                    return Err(Problem::invalid_field("file", "there are two; upload one after the other").into());
                }
                "file" => *received = Some(self.receive(files, &mut field).await?),
                "file_path" => same("file_path", &mut self.path, text("file_path", &mut field).await?)?,
                "bucket" => same("bucket", &mut self.bucket, text("bucket", &mut field).await?)?,
                _ => while field.chunk().await.map_err(|error| unreadable(&error))?.is_some() {},
            }
        }
        Ok(())
    }

    fn place(&self, files: &Files) -> Result<Location, ApiError> {
        let Some(path) = &self.path else {
            let why = "it is missing, in the query and in the form";
            return Err(Problem::invalid_field("file_path", why).into());
        };
        Ok(Location {
            key: key_of("file_path", path, files.objects.as_ref())?,
            bucket: bucket_of(files, self.bucket.as_deref())?,
        })
    }

    /// Takes the file in: straight to the store when its place is known.
    async fn receive(&self, files: &Files, field: &mut Field<'_>) -> Result<Received, ApiError> {
        let limit = files.largest_file;
        let content_type = field.content_type().filter(|kind| kind.len() <= 200).map(str::to_owned);
        let (incoming, place) = match &files.objects {
            Some(objects) if self.path.is_some() => {
                let place = self.place(files)?;
                (Incoming::Store(objects.write(&place, limit).await?), Some(place))
            }
            _ => {
                let root = files.roots.tasks_dir().to_owned();
                let (draft, file) = blocking("file", "the upload", move || Draft::new(&root)).await?;
                (Incoming::Share(draft, tokio::fs::File::from_std(file)), None)
            }
        };
        let mut received = Received {
            incoming,
            place,
            size: 0,
            content_type,
        };
        match received.fill(field, limit).await {
            Ok(()) => Ok(received),
            Err(error) => {
                received.abandon().await;
                Err(error)
            }
        }
    }
}

impl Received {
    async fn fill(&mut self, field: &mut Field<'_>, limit: u64) -> Result<(), ApiError> {
        let full = |error: std::io::Error| file_error(&error, "file", "the upload");
        while let Some(chunk) = field.chunk().await.map_err(|error| unreadable(&error))? {
            self.size += chunk.len() as u64;
            if self.size > limit {
                Limit::UploadedFile.reached();
                let detail = format!("the file is larger than {} (files.max_bytes)", humane::bytes(limit));
                return Err(Problem::new(ProblemKind::TooLarge, detail).into());
            }
            match &mut self.incoming {
                Incoming::Store(sink) => sink.put(&chunk).await?,
                Incoming::Share(_, file) => file.write_all(&chunk).await.map_err(full)?,
            }
        }
        if self.size == 0 {
            return Err(Problem::invalid_field("file", "it is empty").into());
        }
        if let Incoming::Share(_, file) = &mut self.incoming {
            file.flush().await.map_err(full)?;
        }
        Ok(())
    }
}

/// Puts what came in into its place.
async fn place_it(
    files: &Files,
    place: Location,
    received: Received,
) -> Result<(Location, u64, Option<String>), ApiError> {
    let Received {
        incoming,
        size,
        content_type,
        place: _,
    } = received;
    match (incoming, &files.objects) {
        (Incoming::Store(sink), _) => drop(sink.finish().await?),
        (Incoming::Share(draft, file), Some(objects)) => {
            // The place came after the file.
            let mut file = tokio::io::BufReader::with_capacity(CHUNK, file);
            let rewound = tokio::io::AsyncSeekExt::rewind(&mut file).await;
            rewound.map_err(|error| file_error(&error, "file", "the upload"))?;
            let mut sink = objects.write(&place, size).await?;
            let mut chunks = tokio_util::io::ReaderStream::with_capacity(file, CHUNK);
            while let Some(chunk) = futures_util::StreamExt::next(&mut chunks).await {
                let put = match chunk {
                    Ok(chunk) => sink.put(&chunk).await.map_err(ApiError::from),
                    Err(error) => Err(file_error(&error, "file", "the upload")),
                };
                if let Err(error) = put {
                    sink.abandon().await;
                    return Err(error);
                }
            }
            sink.finish().await?;
            drop(draft);
        }
        (Incoming::Share(draft, file), None) => {
            drop(file);
            let (root, key) = (files.roots.tasks_dir().to_owned(), place.key.clone());
            blocking("file_path", &place.key, move || draft.place(&root, &key)).await?;
        }
    }
    Ok((place, size, content_type))
}

/// The text of a form's field.
async fn text(name: &str, field: &mut Field<'_>) -> Result<String, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| unreadable(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LONGEST_TEXT {
            Limit::FormText.reached();
            return Err(Problem::invalid_field(name, format!("it is longer than {LONGEST_TEXT} bytes")).into());
        }
    }
    String::from_utf8(bytes).map_err(|_| Problem::invalid_field(name, "it is not UTF-8").into())
}

/// Query and form may both say it, but not two things (D21).
fn same(name: &str, known: &mut Option<String>, text: String) -> Result<(), ApiError> {
    match known {
        Some(known) if *known != text => {
            let why = "it is given twice, in the query or in the form, and differs";
            Err(Problem::invalid_field(name, why).into())
        }
        _ => {
            *known = Some(text);
            Ok(())
        }
    }
}

fn unreadable(error: &MultipartError) -> ApiError {
    if let Some(late) = late_body(error) {
        return late.into();
    }
    let detail = format!("the form cannot be read: {}", error.body_text());
    Problem::new(ProblemKind::BadBody, detail).into()
}
