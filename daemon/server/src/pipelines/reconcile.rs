//! The reconciler of processings under way: woken by changes of their stages, it looks, submits what may begin and writes
//! how far it is. Every daemon reconciles all of them: a step's run is named beforehand and a write names the revision it
//! follows, so two that do the same do it once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use onceover_catalog::pipeline::{Reference, Referent, StepSpec, VideoField};
use onceover_types::VideoId;
use onceover_wire::{Processing, ReuseMode, StepStatus, SubmitRequest, Video};
use serde_json::{Map, Value};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    Pipelines, beside,
    state::{self, Submitted},
};
use crate::{
    config::UnknownFields,
    events::{EventBus, Recheck},
    services::{Cancellations, ServiceError, Submissions},
};
use onceover_store::{ActiveVideo, PipelineRun, Store};

/// Between two checks of everything under way, for changes of which no event came.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Before the next check while Redis is unreachable.
const AWAY_INTERVAL: Duration = Duration::from_secs(1);

/// What a look at one processing says.
enum Next {
    /// Nothing until an event is about it.
    Wait,
    Again,
    After(Duration),
    Away(String),
}

/// What processings are reconciled with.
pub struct Reconciler {
    pub store: Store,
    pub bus: EventBus,
    pub submissions: Arc<Submissions>,
    pub cancellations: Cancellations,
    pub pipelines: Arc<Pipelines>,
    /// Cancelled once the daemon takes no new work.
    pub draining: CancellationToken,
}

/// Reconciles until the daemon stops.
pub async fn run(reconciler: Reconciler, stop: CancellationToken) {
    let mut told = reconciler.bus.videos();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    let mut looking: FuturesUnordered<BoxFuture<'_, (VideoId, Next)>> = FuturesUnordered::new();
    let mut schedule = Schedule::default();
    loop {
        let wanted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            look = told.recv() => match look {
                Ok(Recheck::One(video)) => Wanted::These(vec![video]),
                Ok(Recheck::All) | Err(RecvError::Lagged(_)) => Wanted::All,
                Err(RecvError::Closed) => return,
            },
            _ = sweep.tick() => Wanted::All,
            () = wait_until(schedule.first_due()) => Wanted::These(schedule.list_due()),
            Some((video, next)) = looking.next() => Wanted::These(schedule.end(video, next)),
        };
        let wanted = match wanted {
            Wanted::These(videos) => videos,
            Wanted::All => tokio::select! {
                biased;
                () = stop.cancelled() => return,
                active = reconciler.list_active() => active,
            },
        };
        for video in wanted {
            if schedule.begin(&video) {
                let reconciler = &reconciler;
                looking.push(Box::pin(async move {
                    let next = reconciler.reconcile(&video).await;
                    let next = next.unwrap_or_else(|error| Next::Away(error.to_string()));
                    (video, next)
                }));
            }
        }
    }
}

/// Which processings are to be checked.
enum Wanted {
    All,
    These(Vec<VideoId>),
}

/// Which processings are checked now, and when others will be.
#[derive(Default)]
struct Schedule {
    busy: HashSet<VideoId>,
    /// An event was about them while they were checked.
    again: HashSet<VideoId>,
    due: HashMap<VideoId, Instant>,
}

impl Schedule {
    fn first_due(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }

    fn list_due(&self) -> Vec<VideoId> {
        let now = Instant::now();
        let due = self.due.iter().filter(|(_, time)| **time <= now);
        due.map(|(video, _)| video.clone()).collect()
    }

    /// Begins a check. Returns `false` if one is under way: another follows it.
    fn begin(&mut self, video: &VideoId) -> bool {
        self.due.remove(video);
        let is_free = self.busy.insert(video.clone());
        if !is_free {
            self.again.insert(video.clone());
        }
        is_free
    }

    /// Ends a check. Returns what is to be checked again at once.
    fn end(&mut self, video: VideoId, next: Next) -> Vec<VideoId> {
        self.busy.remove(&video);
        let told_meanwhile = self.again.remove(&video);
        match next {
            Next::Again => return vec![video],
            _ if told_meanwhile => return vec![video],
            Next::Wait => {}
            Next::After(wait) => {
                self.due.insert(video, Instant::now() + wait);
            }
            Next::Away(why) => {
                tracing::warn!(%video, why, "a pipeline waits");
                self.due.insert(video, Instant::now() + AWAY_INTERVAL);
            }
        }
        Vec::new()
    }
}

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

impl Reconciler {
    async fn list_active(&self) -> Vec<VideoId> {
        match self.store.active_videos().await {
            Ok(active) => active,
            Err(error) => {
                tracing::warn!(%error, "which videos are being processed is not known now");
                Vec::new()
            }
        }
    }

    /// One look at a processing, and what follows from it.
    async fn reconcile(&self, id: &VideoId) -> Result<Next, ServiceError> {
        let Some(ActiveVideo { video, mut processing }) = self.store.active_video(id).await? else {
            return Ok(Next::Wait);
        };
        if processing.clearing {
            self.cancellations.clear_task(&processing.task_id).await?;
            processing.clearing = false;
            processing.updated_at = self.store.now();
            self.store.save_video(&mut processing, true).await?;
            return Ok(Next::Again);
        }
        let records = self.store.read(&processing.task_id).await?;
        let before = processing.clone();
        let now = self.store.now();
        let pipeline = processing.pipeline.clone();
        let retry = |step: &str| self.pipelines.retry(&pipeline, step);
        state::observe_stages(&mut processing, &records, retry, now);
        let mut away = None;
        for position in state::list_ready(&processing, now) {
            match self.submit_step(&video, &processing, position).await {
                Ok(answer) => state::note_submit(&mut processing.tasks[position], answer, self.store.now()),
                Err(ServiceError::Superseded) => return Ok(Next::Again),
                // Another daemon goes on, or this one at its next start.
                Err(ServiceError::Draining) => break,
                Err(error) => {
                    away = Some(error.to_string());
                    break;
                }
            }
        }
        state::update_progress(&mut processing, self.store.now());
        if !self.save_changes(&mut processing, &before).await? {
            return Ok(Next::Again);
        }
        if let Some(why) = away {
            return Ok(Next::Away(why));
        }
        if !processing.status.in_flight() || self.draining.is_cancelled() {
            return Ok(Next::Wait);
        }
        if !state::list_ready(&processing, self.store.now()).is_empty() {
            return Ok(Next::Again);
        }
        let next = state::find_next_check(&processing);
        Ok(next.map_or(Next::Wait, |time| {
            Next::After(Duration::from_secs_f64(time.seconds_since(self.store.now())))
        }))
    }

    /// Writes how far a processing is, if that has changed. Returns `false` if another daemon has written it meanwhile.
    async fn save_changes(&self, processing: &mut Processing, before: &Processing) -> Result<bool, ServiceError> {
        if processing == before {
            return Ok(true);
        }
        let steps = |of: &Processing| -> Vec<_> {
            let told = |step: &onceover_wire::ProcessingStep| {
                (
                    step.status,
                    step.run_id.clone(),
                    step.failures,
                    step.error.clone(),
                    step.retry_at,
                )
            };
            of.tasks.iter().map(told).collect()
        };
        let steps_changed = processing.status != before.status || steps(processing) != steps(before);
        processing.updated_at = self.store.now();
        Ok(self.store.save_video(processing, steps_changed).await?)
    }

    /// Submits a step. Errors are those after which it can be asked again.
    async fn submit_step(
        &self,
        video: &Video,
        processing: &Processing,
        position: usize,
    ) -> Result<Submitted, ServiceError> {
        let step = &processing.tasks[position];
        let spec = self
            .pipelines
            .get(&processing.pipeline)
            .and_then(|pipeline| pipeline.step(&step.name))
            .filter(|spec| spec.node == step.task_name);
        let Some(spec) = spec else {
            return Ok(Submitted::Refused(format!(
                "pipeline {} has no such step any more; start the video again",
                processing.pipeline
            )));
        };
        let subtitles = beside::subtitles_for(spec, video).await;
        if spec.unless.is_some() && subtitles.is_some() {
            let file = subtitles.unwrap_or_default();
            return Ok(Submitted::NotNeeded(format!("not needed: there is {file}")));
        }
        let asked = SubmitRequest {
            task_name: step.task_name.to_string(),
            task_id: Some(processing.task_id.to_string()),
            callback: None,
            input_data: parameters(spec, video, subtitles.as_deref(), processing),
            reuse: step.fresh.then_some(ReuseMode::Never),
        };
        // The pipeline was judged when it was loaded.
        let mut request = match self.submissions.check_request(asked, UnknownFields::Warn) {
            Ok(request) => request,
            Err(error) => return Ok(Submitted::Refused(error.to_string())),
        };
        let run = state::name_run(processing, step);
        request.pipeline = Some(PipelineRun {
            video: processing.video_id.clone(),
            processing: processing.run_id.clone(),
            run: run.clone(),
            needs: processing
                .tasks
                .iter()
                .filter(|other| step.needs.contains(&other.name))
                .map(|other| other.task_name.clone())
                .collect(),
        });
        match self.submissions.submit_request(&request).await {
            Ok(response) => Ok(Submitted::Answered(Box::new(response))),
            Err(ServiceError::AlreadyAsked) => Ok(Submitted::Known(run)),
            Err(error @ (ServiceError::Superseded | ServiceError::Draining | ServiceError::Unavailable(_))) => {
                Err(error)
            }
            Err(error) => Ok(Submitted::Refused(error.to_string())),
        }
    }
}

/// A step's parameters, with what they refer to in their places. `subtitles`: the file beside the video.
fn parameters(spec: &StepSpec, video: &Video, subtitles: Option<&str>, processing: &Processing) -> Map<String, Value> {
    let is_done = |node: &str| {
        let mut steps = processing.tasks.iter();
        steps.any(|step| step.task_name.as_str() == node && step.status == StepStatus::Completed)
    };
    let value_of = |referent: Referent<'_>| match referent {
        Referent::Video(VideoField::Path) => Some(Value::from(video.path.as_str())),
        Referent::Video(VideoField::Id) => Some(Value::from(video.video_id.as_str())),
        Referent::Video(VideoField::Title) => Some(Value::from(video.title.as_str())),
        Referent::Video(VideoField::Subtitles) => subtitles.map(Value::from),
        // Its value is read when the run starts.
        Referent::Output { node, .. } => is_done(node).then(|| Value::from(referent.as_reference())),
        Referent::Unknown(_) => None,
    };
    let given = |value: &Value| {
        let Some(reference) = Reference::parse_value(value) else {
            return value.clone();
        };
        match reference.single() {
            // It alone is asked for, so that it is missing is for the run to say.
            Some(Referent::Output { .. }) => value.clone(),
            _ => reference.alternatives().find_map(value_of).unwrap_or_default(),
        }
    };
    let parameters = spec.parameters.iter();
    parameters.map(|(name, value)| (name.clone(), given(value))).collect()
}
