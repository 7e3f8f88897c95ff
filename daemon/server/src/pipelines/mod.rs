//! Videos and their pipelines: starting one (V1, V2), telling how far it is (V3), ending it. What a processing does next
//! is decided in `plan`, done in `drive`.

mod beside;
mod catalog;
pub mod drive;
pub mod plan;
mod register;

use std::{path::PathBuf, sync::Arc};

use onceover_types::{FieldError, RunId, TaskId, Timestamp, VideoId};
use onceover_wire::{
    PipelineInfo, PipelineList, PipelineStepInfo, Processing, ProcessingKind, ProcessingStatus, ReprocessRequest,
    Video, VideoDeletion, VideoSource, VideoStarted,
};

pub use catalog::Pipelines;
pub use register::{Incoming, Names};

use crate::services::{Engine, EngineError};
use onceover_store::{StoreError, VideoForgotten, VideoRecord, VideoStart};

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
    Engine(#[from] EngineError),
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
        Self::Engine(error.into())
    }
}

impl VideoError {
    /// A request whose field is wrong.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::Engine(EngineError::Invalid(vec![FieldError::new(field, message.into())]))
    }

    fn file(fault: FileFault, field: &str, message: impl Into<String>) -> Self {
        let field = FieldError::new(field, message);
        Self::File { fault, field }
    }
}

/// What can be done with videos. Cheap to clone.
#[derive(Clone)]
pub struct Videos {
    pub engine: Engine,
    pub pipelines: Arc<Pipelines>,
    /// Folder of the files that were uploaded or fetched.
    pub folder: Arc<PathBuf>,
    /// What the processes that look at files are marked with, beside their own number.
    pub mark: Arc<str>,
    /// Largest upload, bytes.
    pub max_bytes: u64,
}

impl Videos {
    /// What pipelines there are, and what their steps lack on this machine.
    pub fn list_pipelines(&self) -> PipelineList {
        let catalog = &self.engine.catalog;
        let step = |step: &onceover_catalog::pipeline::StepSpec, retries: u32| PipelineStepInfo {
            name: step.name().to_owned(),
            task_name: step.node.clone(),
            weight: step.weight,
            optional: step.optional,
            needs: step.needs.clone(),
            retries,
            missing: catalog.get(step.node.as_str()).map_or_else(Vec::new, |node| {
                let missing = self.engine.readiness.missing(node, &step.parameters);
                missing.iter().map(ToString::to_string).collect()
            }),
        };
        let pipelines = self.pipelines.iter().map(|pipeline| PipelineInfo {
            name: pipeline.name.clone(),
            title: pipeline.title.clone(),
            purpose: pipeline.purpose.clone(),
            steps: pipeline
                .steps
                .iter()
                .map(|spec| step(spec, self.pipelines.retry(&pipeline.name, spec.name()).retries))
                .collect(),
        });
        PipelineList {
            default: self.pipelines.default_name().to_owned(),
            pipelines: pipelines.collect(),
        }
    }

    /// One video, with its newest processing.
    pub async fn get(&self, id: &VideoId) -> Result<VideoRecord, VideoError> {
        let found = self.engine.store.video(id).await?;
        found.ok_or_else(|| VideoError::Unknown(id.clone()))
    }

    /// How far the newest processing is.
    pub async fn processing(&self, id: &VideoId) -> Result<Processing, VideoError> {
        let processing = self.get(id).await?.video.processing;
        let processing = processing.ok_or_else(|| VideoError::NeverProcessed(id.clone()))?;
        Ok(*processing)
    }

    /// Starts the pipeline in the background (V1).
    pub async fn run(&self, id: &VideoId, pipeline: Option<&str>, force: bool) -> Result<VideoStarted, VideoError> {
        let name = pipeline.unwrap_or_else(|| self.pipelines.default_name());
        let spec = self.pipeline(name)?;
        let all: Vec<&str> = spec.steps.iter().map(|step| step.name()).collect();
        let fresh = if force { &all[..] } else { &[] };
        self.start(plan::planned(id, spec, ProcessingKind::First, fresh, force), force)
            .await
    }

    /// Runs chosen steps and what depends on them anew (V2).
    pub async fn reprocess(&self, id: &VideoId, request: &ReprocessRequest) -> Result<VideoStarted, VideoError> {
        let record = self.get(id).await?;
        let last = record.video.processing.map(|processing| processing.pipeline);
        let name = request.pipeline.as_ref().or(last.as_ref());
        let spec = self.pipeline(name.map_or(self.pipelines.default_name(), String::as_str))?;
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
        let plan = plan::planned(id, spec, ProcessingKind::Reprocess, &fresh, request.force);
        self.start(plan, request.force).await
    }

    fn pipeline(&self, name: &str) -> Result<&onceover_catalog::pipeline::PipelineSpec, VideoError> {
        self.pipelines.get(name).ok_or_else(|| {
            let names: Vec<_> = self.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
            let name: String = name.chars().take(128).collect();
            VideoError::field(
                "pipeline",
                format!("there is no pipeline '{name}'; there are {}", names.join(", ")),
            )
        })
    }

    async fn start(&self, processing: Processing, force: bool) -> Result<VideoStarted, VideoError> {
        if self.engine.draining.is_cancelled() {
            return Err(EngineError::Draining.into());
        }
        self.check_ready(&processing).await?;
        match self.engine.store.start_video(&processing, force).await? {
            VideoStart::Started => {}
            VideoStart::Busy(run) => {
                return Err(VideoError::Busy {
                    video: processing.video_id,
                    run,
                });
            }
            VideoStart::Unknown => return Err(VideoError::Unknown(processing.video_id)),
        }
        self.engine.hub.video_started(&processing.video_id);
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
            let spec = self.pipelines.get(&processing.pipeline);
            let spec = spec.and_then(|pipeline| pipeline.step(&step.name));
            let node = self.engine.catalog.get(step.task_name.as_str());
            if let (Some(spec), Some(node)) = (spec, node) {
                let missing = self.engine.readiness.missing(node, &spec.parameters);
                if missing.is_empty() {
                    continue;
                }
                if spec.unless.is_some() && self.has_subtitles(&processing.video_id, spec).await? {
                    continue;
                }
                lacking.push((step, missing));
            }
        }
        if lacking.is_empty() {
            return Ok(());
        }
        self.get(&processing.video_id).await?;
        let (records, _) = self.engine.store.read(&processing.task_id).await?;
        let held = self.engine.held(&records).stages;
        for (step, missing) in lacking {
            let stage = records.stage(&step.task_name);
            let is_done = !step.fresh && stage.is_some_and(|stage| stage.standing_output().is_some());
            let is_foreign = held.contains_key(&step.task_name);
            if !is_done && !is_foreign {
                return Err(EngineError::NotReady {
                    node: step.task_name.clone(),
                    missing,
                }
                .into());
            }
        }
        Ok(())
    }

    /// Whether subtitles lie beside the video.
    async fn has_subtitles(
        &self,
        id: &VideoId,
        spec: &onceover_catalog::pipeline::StepSpec,
    ) -> Result<bool, VideoError> {
        let record = self.get(id).await?;
        Ok(beside::subtitles_for(spec, &record.video).await.is_some())
    }

    /// Ends the processing under way, if there is one; its stages are cancelled by the caller.
    pub async fn cancel(&self, id: &VideoId) -> Result<bool, VideoError> {
        loop {
            let Some(active) = self.engine.store.active_video(id).await? else {
                return Ok(false);
            };
            let mut processing = active.processing;
            plan::cancel(&mut processing, Timestamp::now());
            if self.engine.store.save_video(&mut processing, true).await? {
                return Ok(true);
            }
        }
    }

    /// Ends the pipeline under way that a task belongs to, if there is one: nothing is submitted for it any more.
    pub async fn cancel_of(&self, task: &TaskId) -> Result<bool, VideoError> {
        match VideoId::of_task(task) {
            Some(id) => self.cancel(&id).await,
            None => Ok(false),
        }
    }

    /// Whether a pipeline is under way under the task.
    pub async fn is_active(&self, task: &TaskId) -> Result<bool, VideoError> {
        match VideoId::of_task(task) {
            Some(id) => Ok(self.engine.store.active_video(&id).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Forgets a video; its file goes with it unless it was registered by path, its task's data when that is asked.
    pub async fn delete(&self, id: &VideoId, with_task: bool, force: bool) -> Result<VideoDeletion, VideoError> {
        let record = self.get(id).await?;
        if let Some(run) = record.active {
            if !force {
                return Err(VideoError::Busy { video: id.clone(), run });
            }
            self.cancel(id).await?;
            match self.engine.cancel(&id.task(), None).await {
                Ok(_) | Err(EngineError::UnknownTask(_) | EngineError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let task = match with_task {
            true => match self.engine.delete(&id.task(), force).await {
                Ok(report) => Some(report),
                Err(EngineError::UnknownTask(_)) => None,
                Err(error) => return Err(error.into()),
            },
            false => None,
        };
        match self.engine.store.forget_video(id).await? {
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
