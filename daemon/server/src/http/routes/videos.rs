//! Videos: register them, run their pipelines in the background, ask how far they are (V1-V3).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State, multipart::MultipartError},
    http::StatusCode,
    response::{
        IntoResponse, Response,
        sse::{Event as Sse, KeepAlive},
    },
};
use futures_util::TryStreamExt;
use onceover_types::{Problem, ProblemKind, VideoId};
use onceover_wire::{
    PipelineList, Processing, ReprocessRequest, Video, VideoDeletion, VideoPage, VideoRegistered, VideoRequest,
    VideoStarted,
};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    ApiError, AppState,
    awaited::late_body,
    body::{Body, OptionalBody, declared_type, is_json_type},
    extract::VideoPath,
    paced::paced,
    page,
    query::Params,
};
use crate::{
    pipelines::{Registrations, VideoError, VideoFollower, Videos},
    services::unread::WarningLog,
};

pub fn routes() -> OpenApiRouter<AppState> {
    let register = OpenApiRouter::new()
        .routes(routes!(register_video))
        // Its own limit is inputs.max_bytes; JSON is limited where it is read.
        .layer(DefaultBodyLimit::disable());
    OpenApiRouter::new()
        .routes(routes!(list_videos))
        .merge(register)
        .routes(routes!(get_video, delete_video))
        .routes(routes!(run_video))
        .routes(routes!(get_reprocess_status, reprocess_video))
        .routes(routes!(get_video_status))
        .routes(routes!(follow_video))
        .routes(routes!(list_pipelines))
}

/// Bytes of a registration as JSON.
const JSON_LIMIT: usize = 64 * 1024;

/// A registration with its file.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form in the API document")]
struct VideoUpload {
    /// The video itself. Fields that come after it are not read.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    #[schema(value_type = Option<VideoId>)]
    video_id: Option<String>,
    #[schema(max_length = 500)]
    title: Option<String>,
}

/// Register a video
///
/// As JSON: a file below an allowed root, or a URL that it is fetched from before the answer. As a form: the file itself,
/// after the other fields. What ffprobe does not take for a video is refused with 422, and nothing is kept.
#[utoipa::path(post, path = "/api/v1/videos", tag = "videos",
    request_body(content((VideoRequest = "application/json"), (VideoUpload = "multipart/form-data"))),
    responses((status = 201, description = "The video as it is registered", body = VideoRegistered), (status = 400),
        (status = 409, description = "The id is taken by another video"), (status = 413), (status = 415), (status = 422),
        (status = 503), (status = 507)))]
async fn register_video(
    State(registrations): State<Arc<Registrations>>,
    State(warning_log): State<Arc<WarningLog>>,
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, ApiError> {
    let kind = declared_type(request.headers());
    let mut warnings = Vec::new();
    let video = if kind == "multipart/form-data" {
        let form = Multipart::from_request(paced(request), &())
            .await
            .map_err(|rejection| bad_form(rejection.body_text()))?;
        upload(&registrations, form).await?
    } else {
        let body = read_registration(&kind, request, &state).await?;
        let video = registrations.register_video(&body.value).await?;
        warning_log.write(video.task_id.as_str(), "", &body.warnings);
        warnings = body.warnings;
        video
    };
    Ok((StatusCode::CREATED, Json(VideoRegistered { video, warnings })).into_response())
}

/// Reads a registration as JSON, whatever it is sent as.
async fn read_registration(kind: &str, request: Request, state: &AppState) -> Result<Body<VideoRequest>, ApiError> {
    let (parts, body) = request.into_parts();
    // Something larger that is not called JSON is the video itself, sent in the wrong way.
    let bytes = axum::body::to_bytes(body, JSON_LIMIT).await.map_err(|error| {
        if let Some(late) = late_body(&error) {
            late
        } else if is_json_type(kind) {
            let detail = format!("a registration is at most {JSON_LIMIT} bytes of JSON");
            Problem::new(ProblemKind::TooLarge, detail)
        } else {
            neither_json_nor_form()
        }
    })?;
    let request = Request::from_parts(parts, bytes.into());
    let read = Body::<VideoRequest>::from_request(request, state).await;
    read.map_err(|error| match error.0.status {
        415 => ApiError(neither_json_nor_form()),
        _ => error,
    })
}

fn neither_json_nor_form() -> Problem {
    let detail = "send application/json with path or url, or multipart/form-data with the file";
    Problem::new(ProblemKind::MediaType, detail)
}

fn bad_form(why: impl std::fmt::Display) -> Problem {
    Problem::new(
        ProblemKind::BadForm,
        format!("the body is no multipart/form-data: {why}"),
    )
}

async fn upload(registrations: &Registrations, mut form: Multipart) -> Result<Video, ApiError> {
    let (mut id, mut title) = (None, None);
    let unreadable = |error: MultipartError| late_body(&error).unwrap_or_else(|| bad_form(error));
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        match field.name().unwrap_or_default() {
            "file" => {
                let names = registrations.check_names(id.as_deref(), title.as_deref())?;
                let file_name = field.file_name().unwrap_or_default().to_owned();
                let mut late = None;
                let content = field.inspect_err(|error| late = late_body(error));
                let registered = registrations.register_upload(names, &file_name, content).await;
                return match late {
                    Some(late) => Err(late.into()),
                    None => Ok(registered?),
                };
            }
            name @ ("video_id" | "title") => {
                let name = name.to_owned();
                let text = field.text().await.map_err(unreadable)?;
                *(if name == "title" { &mut title } else { &mut id }) = Some(text);
            }
            _ => {}
        }
    }
    Err(VideoError::field("file", "the form has no file").into())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListParams {
    /// Videos on a page, 1 to 500.
    #[param(minimum = 1, maximum = 500, default = 50, nullable = false)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(nullable = false)]
    cursor: Option<String>,
}

/// List videos, newest first
#[utoipa::path(get, path = "/api/v1/videos", tag = "videos", params(ListParams),
    responses((status = 200, description = "One page", body = VideoPage), (status = 422)))]
async fn list_videos(
    State(videos): State<Arc<Videos>>,
    Params(params): Params<ListParams>,
) -> Result<Json<VideoPage>, ApiError> {
    let limit = page::limit(params.limit)?;
    let range = page::range(limit, params.cursor.as_deref())?;
    let found = videos.list_videos(&range).await?;
    Ok(Json(VideoPage {
        items: found.items,
        next_cursor: found.next.as_ref().map(page::write_cursor),
    }))
}

/// Read a video, with its newest processing
#[utoipa::path(get, path = "/api/v1/videos/{video_id}", tag = "videos", params(("video_id" = VideoId, Path)),
    responses((status = 200, description = "The video", body = Video), (status = 404), (status = 422)))]
async fn get_video(State(videos): State<Arc<Videos>>, VideoPath(video): VideoPath) -> Result<Json<Video>, ApiError> {
    Ok(Json(videos.read_video(&video).await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeleteParams {
    /// Also delete the task `video-<video_id>` with its records and files.
    #[serde(default)]
    #[param(required = false, nullable = false)]
    with_task: bool,
    /// End a processing that is under way, instead of 409.
    #[serde(default)]
    #[param(required = false, nullable = false)]
    force: bool,
}

/// Forget a video
///
/// A file that was uploaded or fetched goes with it; one that was registered by its path stays.
#[utoipa::path(delete, path = "/api/v1/videos/{video_id}", tag = "videos", params(("video_id" = VideoId, Path), DeleteParams),
    responses((status = 200, description = "What was removed", body = VideoDeletion), (status = 400), (status = 404),
        (status = 409, description = "The video is being processed already, under the task in `task_id`"), (status = 422)))]
async fn delete_video(
    State(videos): State<Arc<Videos>>,
    VideoPath(video): VideoPath,
    Params(params): Params<DeleteParams>,
) -> Result<Json<VideoDeletion>, ApiError> {
    let deletion = videos.delete_video(&video, params.with_task, params.force).await?;
    Ok(Json(deletion))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RunParams {
    /// End what is under way first, and run every step again.
    #[serde(default)]
    #[param(required = false, nullable = false)]
    force: bool,
    /// Left out: the default pipeline, see `GET /api/v1/pipelines`.
    #[param(nullable = false)]
    pipeline: Option<String>,
}

/// Start the video's pipeline in the background
///
/// Answers at once. A step that has been done already is not done again. 409, with the task that is under way, where the
/// video is being processed already, unless `force` is asked.
#[utoipa::path(post, path = "/api/v1/videos/{video_id}/run_sync", tag = "videos",
    params(("video_id" = VideoId, Path), RunParams),
    responses((status = 202, description = "The processing has begun", body = VideoStarted), (status = 404),
        (status = 409, description = "The video is being processed already, under the task in `task_id`"), (status = 422)))]
async fn run_video(
    State(videos): State<Arc<Videos>>,
    VideoPath(video): VideoPath,
    Params(params): Params<RunParams>,
) -> Result<(StatusCode, Json<VideoStarted>), ApiError> {
    let started = videos
        .run_pipeline(&video, params.pipeline.as_deref(), params.force)
        .await?;
    Ok((StatusCode::ACCEPTED, Json(started)))
}

/// Run chosen steps and what depends on them again
///
/// What is before them is kept. Without `steps`: all of them.
#[utoipa::path(post, path = "/api/v1/videos/{video_id}/reprocess", tag = "videos", params(("video_id" = VideoId, Path)),
    request_body(content = Option<ReprocessRequest>),
    responses((status = 202, description = "The processing has begun", body = VideoStarted), (status = 400),
        (status = 404), (status = 409, description = "The video is being processed already, under the task in `task_id`"),
        (status = 413), (status = 422)))]
async fn reprocess_video(
    State(videos): State<Arc<Videos>>,
    VideoPath(video): VideoPath,
    OptionalBody(body): OptionalBody<ReprocessRequest>,
) -> Result<(StatusCode, Json<VideoStarted>), ApiError> {
    let started = videos.reprocess_video(&video, &body.value).await?;
    Ok((StatusCode::ACCEPTED, Json(started)))
}

/// Ask how far the newest processing is
#[utoipa::path(get, path = "/api/v1/videos/{video_id}/status", tag = "videos", params(("video_id" = VideoId, Path)),
    responses((status = 200, description = "The newest processing", body = Processing),
        (status = 404, description = "There is no such video, or it was never processed"),
        (status = 422)))]
async fn get_video_status(
    State(videos): State<Arc<Videos>>,
    VideoPath(video): VideoPath,
) -> Result<Json<Processing>, ApiError> {
    Ok(Json(videos.read_processing(&video).await?))
}

/// The same as `status`
#[utoipa::path(get, path = "/api/v1/videos/{video_id}/reprocess", tag = "videos", params(("video_id" = VideoId, Path)),
    responses((status = 200, description = "The newest processing", body = Processing),
        (status = 404, description = "There is no such video, or it was never processed"),
        (status = 422)))]
async fn get_reprocess_status(videos: State<Arc<Videos>>, video: VideoPath) -> Result<Json<Processing>, ApiError> {
    get_video_status(videos, video).await
}

/// List pipelines, and what their steps lack on this machine
#[utoipa::path(get, path = "/api/v1/pipelines", tag = "videos",
    responses((status = 200, description = "Every pipeline of the daemon", body = PipelineList)))]
async fn list_pipelines(State(videos): State<Arc<Videos>>) -> Json<PipelineList> {
    Json(videos.list_pipelines())
}

/// One message of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the stream in the API document")]
struct VideoMessage {
    /// `<run_id>:<revision>`.
    id: String,
    /// `progress`.
    event: String,
    /// As `GET .../status` answers, as JSON.
    data: Processing,
}

/// Follow how far the video is
///
/// Begins with how far it is now and goes on with each change, also those of later processings, until the client leaves.
#[utoipa::path(get, path = "/api/v1/videos/{video_id}/events", tag = "videos", params(("video_id" = VideoId, Path)),
    responses((status = 200, description = "The stream; it ends when the client leaves or the daemon stops",
        body = VideoMessage, content_type = "text/event-stream"),
        (status = 404), (status = 422)))]
async fn follow_video(
    State(videos): State<Arc<Videos>>,
    State(stop): State<CancellationToken>,
    VideoPath(video): VideoPath,
) -> Result<Response, ApiError> {
    let follower = VideoFollower::begin(videos, video, stop).await?;
    let messages = futures_util::stream::unfold(follower, |mut follower| async move {
        let (id, processing) = follower.next_progress().await?;
        let data = serde_json::to_string(&processing).expect("JSON can be written");
        let message = Sse::default().id(id).event("progress").data(data);
        Some((Ok::<_, Infallible>(message), follower))
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(10));
    Ok(axum::response::Sse::new(messages)
        .keep_alive(keep_alive)
        .into_response())
}
