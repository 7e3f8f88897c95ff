//! Videos and their pipelines: starting one (V1, V2), telling how far it is (V3), ending it. What a processing does next
//! is decided in `state`, done in `reconcile`.

mod beside;
mod catalog;
mod described;
mod follow;
pub mod reconcile;
mod register;
mod services;
pub mod state;

use std::{path::PathBuf, sync::Arc};

use onceover_catalog::pipeline::StepSpec;
use onceover_types::{FieldError, RunId, TaskId, VideoId};
use onceover_wire::{
    PipelineList, Processing, ProcessingKind, ProcessingStatus, ReprocessRequest, Video, VideoDeletion, VideoSource,
    VideoStarted,
};
use tokio_util::sync::CancellationToken;

pub use catalog::Pipelines;
pub use described::DescribedPipelines;
pub use follow::VideoFollower;
pub use register::{Incoming, Names, Registrations};
pub use services::{missing_of_pipeline, services_of_pipeline};

use crate::{
    events::EventBus,
    services::{
        Cancellations, Deletions, ServiceError,
        foreign::HeldStages,
        lists::{ListRange, Listed},
    },
};
use onceover_store::{Store, StoreError, VideoForgotten, VideoRecord, VideoStart};

/// Why something cannot be done with a video.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    #[error("there is no video '{0}'; register it with POST /api/v1/videos")]
    Unknown(VideoId),
    #[error("video '{0}' was never processed; start it with POST /api/v1/videos/{0}/run_sync")]
    NeverProcessed(VideoId),
    #[error("there is a video '{0}' already; delete it first, or take another id")]
    Taken(VideoId),
    #[error(
        "video '{video}' is being processed already (task '{task}', run {run}); wait for it, or ask with force to end it first",
        task = video.task()
    )]
    Busy { video: VideoId, run: RunId },
    /// The file that the request names is not registered: the field, and why.
    #[error("{}", .field.message)]
    File { fault: FileFault, field: FieldError },
    #[error("{0}")]
    Storage(String),
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// What is wrong with a file that is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFault {
    /// It lies where the daemon reads nothing.
    NotAllowed,
    /// It is not there, or cannot be opened.
    Unreadable,
    /// ffprobe cannot make sense of it.
    Damaged,
    /// ffprobe gave no answer in its time.
    TimedOut,
    /// It can be read and has no picture.
    NoVideo,
}

impl From<StoreError> for VideoError {
    fn from(error: StoreError) -> Self {
        Self::Service(error.into())
    }
}

impl VideoError {
    /// A request whose field is wrong.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::Service(ServiceError::Invalid(vec![FieldError::new(field, message.into())]))
    }

    fn file(fault: FileFault, field: &str, message: impl Into<String>) -> Self {
        let field = FieldError::new(field, message);
        Self::File { fault, field }
    }
}

/// Reads videos, and starts, ends and forgets them.
pub struct Videos {
    store: Store,
    bus: EventBus,
    pipelines: DescribedPipelines,
    cancellations: Cancellations,
    deletions: Deletions,
    /// Cancelled once the daemon takes no new work.
    draining: CancellationToken,
    /// Folder of the files that were uploaded or fetched.
    folder: Arc<PathBuf>,
}

impl Videos {
    pub fn new(
        store: Store,
        bus: EventBus,
        pipelines: DescribedPipelines,
        cancellations: Cancellations,
        deletions: Deletions,
        draining: CancellationToken,
        folder: Arc<PathBuf>,
    ) -> Self {
        Self {
            store,
            bus,
            pipelines,
            cancellations,
            deletions,
            draining,
            folder,
        }
    }

    /// Lists the pipelines, and what their steps lack on this machine.
    pub fn list_pipelines(&self) -> PipelineList {
        self.pipelines.list_pipelines()
    }

    /// Lists videos, newest first.
    pub async fn list_videos(&self, range: &ListRange<VideoId>) -> Result<Listed<Video, VideoId>, VideoError> {
        let found = self.store.list_videos(range.limit, range.after.as_ref()).await?;
        Ok(Listed {
            items: found.items,
            next: found.next,
        })
    }

    /// Reads a video, with its newest processing.
    pub async fn read_video(&self, id: &VideoId) -> Result<Video, VideoError> {
        Ok(self.read_record(id).await?.video)
    }

    async fn read_record(&self, id: &VideoId) -> Result<VideoRecord, VideoError> {
        let found = self.store.video(id).await?;
        found.ok_or_else(|| VideoError::Unknown(id.clone()))
    }

    /// Reads how far the newest processing is.
    pub async fn read_processing(&self, id: &VideoId) -> Result<Processing, VideoError> {
        let processing = self.read_record(id).await?.video.processing;
        let processing = processing.ok_or_else(|| VideoError::NeverProcessed(id.clone()))?;
        Ok(*processing)
    }

    /// Starts the pipeline in the background (V1).
    pub async fn run_pipeline(
        &self,
        id: &VideoId,
        pipeline: Option<&str>,
        force: bool,
    ) -> Result<VideoStarted, VideoError> {
        let name = pipeline.unwrap_or_else(|| self.pipelines.default_name());
        let spec = self.pipelines.find_pipeline(name)?;
        let all: Vec<&str> = spec.steps.iter().map(|step| step.name()).collect();
        let fresh = if force { &all[..] } else { &[] };
        self.start(
            state::plan_processing(id, spec, ProcessingKind::First, fresh, force),
            force,
        )
        .await
    }

    /// Runs chosen steps and what depends on them again (V2).
    pub async fn reprocess_video(&self, id: &VideoId, request: &ReprocessRequest) -> Result<VideoStarted, VideoError> {
        let record = self.read_record(id).await?;
        let last = record.video.processing.map(|processing| processing.pipeline);
        let name = request.pipeline.as_ref().or(last.as_ref());
        let spec = self
            .pipelines
            .find_pipeline(name.map_or(self.pipelines.default_name(), String::as_str))?;
        let fresh = match request.steps.as_slice() {
            [] => spec.steps.iter().map(|step| step.name()).collect(),
            steps => spec.with_dependents(steps).map_err(|unknown| {
                let names: Vec<_> = spec.steps.iter().map(|step| step.name()).collect();
                let unknown: String = unknown.chars().take(128).collect();
                VideoError::field(
                    "steps",
                    format!(
                        "pipeline {} has no step '{unknown}'; it has {}",
                        spec.name,
                        names.join(", ")
                    ),
                )
            })?,
        };
        let processing = state::plan_processing(id, spec, ProcessingKind::Reprocess, &fresh, request.force);
        self.start(processing, request.force).await
    }

    async fn start(&self, processing: Processing, force: bool) -> Result<VideoStarted, VideoError> {
        if self.draining.is_cancelled() {
            return Err(ServiceError::Draining.into());
        }
        self.check_ready(&processing).await?;
        match self.store.start_video(&processing, force).await? {
            VideoStart::Started => {}
            VideoStart::Busy(run) => {
                return Err(VideoError::Busy {
                    video: processing.video_id,
                    run,
                });
            }
            VideoStart::Unknown => return Err(VideoError::Unknown(processing.video_id)),
        }
        self.bus.video_started(&processing.video_id);
        Ok(VideoStarted {
            message: format!("started: pipeline {} in the background", processing.pipeline),
            video_id: processing.video_id,
            task_id: processing.task_id,
            status: ProcessingStatus::Pending,
            pipeline: processing.pipeline,
            run_id: processing.run_id,
        })
    }

    /// A pipeline that would stop at a step which cannot run here is refused before it spends an hour on those before.
    async fn check_ready(&self, processing: &Processing) -> Result<(), VideoError> {
        let mut lacking = Vec::new();
        for step in processing.tasks.iter().filter(|step| !step.optional) {
            let Some(spec) = self.pipelines.find_step(&processing.pipeline, &step.name) else {
                continue;
            };
            let missing = self.pipelines.find_missing(&step.task_name, &spec.parameters);
            if missing.is_empty() {
                continue;
            }
            if spec.unless.is_some() && self.has_subtitles(&processing.video_id, spec).await? {
                continue;
            }
            lacking.push((step, missing));
        }
        if lacking.is_empty() {
            return Ok(());
        }
        self.read_record(&processing.video_id).await?;
        let records = self.store.read(&processing.task_id).await?;
        let held = HeldStages::now(&self.store, &records).stages;
        for (step, missing) in lacking {
            let stage = records.stage(&step.task_name);
            let is_done = !step.fresh && stage.is_some_and(|stage| stage.standing_output().is_some());
            let is_foreign = held.contains_key(&step.task_name);
            if !is_done && !is_foreign {
                return Err(ServiceError::NotReady {
                    node: step.task_name.clone(),
                    missing,
                }
                .into());
            }
        }
        Ok(())
    }

    /// Whether subtitles lie beside the video.
    async fn has_subtitles(&self, id: &VideoId, spec: &StepSpec) -> Result<bool, VideoError> {
        let record = self.read_record(id).await?;
        Ok(beside::subtitles_for(spec, &record.video).await.is_some())
    }

    /// Ends the processing under way, if there is one; its stages are cancelled by the caller.
    async fn cancel(&self, id: &VideoId) -> Result<bool, VideoError> {
        loop {
            let Some(active) = self.store.active_video(id).await? else {
                return Ok(false);
            };
            let mut processing = active.processing;
            state::cancel_processing(&mut processing, self.store.now());
            if self.store.save_video(&mut processing, true).await? {
                return Ok(true);
            }
        }
    }

    /// Ends the pipeline under way that a task belongs to, if there is one: nothing is submitted for it any more.
    pub async fn cancel_pipeline(&self, task: &TaskId) -> Result<bool, VideoError> {
        match VideoId::of_task(task) {
            Some(id) => self.cancel(&id).await,
            None => Ok(false),
        }
    }

    /// Whether a pipeline is under way under the task.
    pub async fn is_active(&self, task: &TaskId) -> Result<bool, VideoError> {
        match VideoId::of_task(task) {
            Some(id) => Ok(self.store.active_video(&id).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Forgets a video; its file goes with it unless it was registered by path, its task's data when that is asked.
    pub async fn delete_video(&self, id: &VideoId, with_task: bool, force: bool) -> Result<VideoDeletion, VideoError> {
        let record = self.read_record(id).await?;
        if let Some(run) = record.active {
            if !force {
                return Err(VideoError::Busy { video: id.clone(), run });
            }
            self.cancel(id).await?;
            match self.cancellations.cancel_task(&id.task(), None).await {
                Ok(_) | Err(ServiceError::UnknownTask(_) | ServiceError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let task = match with_task {
            true => match self.deletions.delete_task(&id.task(), force).await {
                Ok(report) => Some(report),
                Err(ServiceError::UnknownTask(_)) => None,
                Err(error) => return Err(error.into()),
            },
            false => None,
        };
        match self.store.forget_video(id).await? {
            VideoForgotten::Forgotten => {}
            VideoForgotten::Busy(run) => return Err(VideoError::Busy { video: id.clone(), run }),
            VideoForgotten::Unknown => return Err(VideoError::Unknown(id.clone())),
        }
        let file_removed = match record.video.source {
            VideoSource::Path => false,
            VideoSource::Url | VideoSource::Upload => self.remove_file(&record.video).await,
        };
        let file = match file_removed {
            true => ", its file is removed",
            false => ", its file stays",
        };
        let data = match (&task, with_task) {
            (Some(_), _) => ", its task is deleted",
            (None, true) => ", it had no task",
            (None, false) => ", its task stays",
        };
        Ok(VideoDeletion {
            video_id: id.clone(),
            message: format!("video '{id}' is forgotten{file}{data}"),
            file_removed,
            task,
        })
    }

    async fn remove_file(&self, video: &Video) -> bool {
        // Only the folder that was made for it, which is named by nothing but our own record.
        let path = std::path::Path::new(&video.path);
        let name = path
            .parent()
            .filter(|parent| parent.parent() == Some(&self.folder))
            .and_then(|parent| parent.file_name())
            .and_then(|name| name.to_str());
        let Some(name) = name.map(str::to_owned) else {
            return false;
        };
        let folder = Arc::clone(&self.folder);
        let removed = tokio::task::spawn_blocking(move || onceover_run::paths::remove_folder(&folder, &name)).await;
        match removed {
            Ok(Ok(removed)) => removed.is_some(),
            Ok(Err(error)) => {
                tracing::warn!(%error, path = %video.path, "the file of a video was not removed");
                false
            }
            Err(_) => false,
        }
    }
}
