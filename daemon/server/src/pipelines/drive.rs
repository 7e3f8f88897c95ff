//! Drives the processings under way: woken by changes of their stages, it looks, submits what may begin and writes how
//! far it is. Every daemon drives all of them: a step's run is named beforehand and a write names the revision it
//! follows, so two that do the same do it once.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use onceover_catalog::pipeline::{Reference, Referent, StepSpec, VideoField};
use onceover_types::{Timestamp, VideoId};
use onceover_wire::{Processing, ReuseMode, StepStatus, SubmitRequest, Video};
use serde_json::{Map, Value};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{
    Videos, beside,
    plan::{self, Submitted},
};
use crate::{config::UnknownFields, events::Recheck, services::EngineError};
use onceover_store::{ActiveVideo, PipelineRun, StoreError};

/// Between two looks at everything under way, for what nobody told.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Before the next look while Redis is away.
const AWAY_INTERVAL: Duration = Duration::from_secs(1);

/// What a look at one processing says.
enum Next {
    /// Nothing until something is told of it.
    Wait,
    Again,
    At(Timestamp),
    Away(String),
}

/// Drives until the daemon stops.
pub async fn run(videos: Videos, stop: CancellationToken) {
    let mut told = videos.engine.hub.videos();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    let mut looking: FuturesUnordered<BoxFuture<'_, (VideoId, Next)>> = FuturesUnordered::new();
    let mut busy: HashSet<VideoId> = HashSet::new();
    // Told of while they were looked at.
    let mut again: HashSet<VideoId> = HashSet::new();
    let mut due: HashMap<VideoId, Instant> = HashMap::new();
    loop {
        let first_due = due.values().min().copied();
        // None: all of them.
        let wanted: Option<Vec<VideoId>> = tokio::select! {
            () = stop.cancelled() => return,
            look = told.recv() => match look {
                Ok(Recheck::One(video)) => Some(vec![video]),
                Ok(Recheck::All) | Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => return,
            },
            _ = sweep.tick() => None,
            () = at(first_due) => {
                let now = Instant::now();
                let due_now = due.iter().filter(|(_, time)| **time <= now);
                Some(due_now.map(|(video, _)| video.clone()).collect())
            }
            Some((video, next)) = looking.next() => {
                busy.remove(&video);
                let told_meanwhile = again.remove(&video);
                Some(match next {
                    Next::Again => vec![video],
                    _ if told_meanwhile => vec![video],
                    Next::Wait => Vec::new(),
                    Next::At(time) => {
                        let wait = time.seconds_since(Timestamp::now());
                        due.insert(video, Instant::now() + Duration::from_secs_f64(wait));
                        Vec::new()
                    }
                    Next::Away(why) => {
                        tracing::warn!(%video, why, "a pipeline waits");
                        due.insert(video, Instant::now() + AWAY_INTERVAL);
                        Vec::new()
                    }
                })
            }
        };
        let wanted = match wanted {
            Some(wanted) => wanted,
            None => tokio::select! {
                () = stop.cancelled() => return,
                all = all(&videos) => all,
            },
        };
        for video in wanted {
            due.remove(&video);
            if busy.insert(video.clone()) {
                let videos = &videos;
                looking.push(Box::pin(async move {
                    let next = look(videos, &video).await;
                    let next = next.unwrap_or_else(|error| Next::Away(error.to_string()));
                    (video, next)
                }));
            } else {
                again.insert(video);
            }
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn all(videos: &Videos) -> Vec<VideoId> {
    match videos.engine.store.active_videos().await {
        Ok(active) => active,
        Err(error) => {
            tracing::warn!(%error, "which videos are being processed is not known now");
            Vec::new()
        }
    }
}

/// One look at a processing, and what follows from it.
async fn look(videos: &Videos, id: &VideoId) -> Result<Next, EngineError> {
    let engine = &videos.engine;
    let Some(ActiveVideo { video, mut processing }) = engine.store.active_video(id).await? else {
        return Ok(Next::Wait);
    };
    if processing.clearing {
        engine.store.cancel(&processing.task_id, None).await?;
        engine.hub.nudge(&processing.task_id);
        engine.wait_for_processes(&processing.task_id).await?;
        processing.clearing = false;
        processing.updated_at = Timestamp::now();
        engine.store.save_video(&mut processing, true).await?;
        return Ok(Next::Again);
    }
    let (records, _) = engine.store.read(&processing.task_id).await?;
    let before = processing.clone();
    let now = Timestamp::now();
    let pipeline = processing.pipeline.clone();
    let retry = |step: &str| videos.pipelines.retry(&pipeline, step);
    plan::observe(&mut processing, &records, retry, now);
    let mut away = None;
    for position in plan::ready(&processing, now) {
        match submit(videos, &video, &processing, position).await {
            Ok(answer) => plan::submitted(&mut processing.tasks[position], answer, Timestamp::now()),
            Err(EngineError::Superseded) => return Ok(Next::Again),
            // Another daemon goes on, or this one at its next start.
            Err(EngineError::Draining) => break,
            Err(error) => {
                away = Some(error.to_string());
                break;
            }
        }
    }
    plan::settle(&mut processing, Timestamp::now());
    if processing != before {
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
        let steps_changed = processing.status != before.status || steps(&processing) != steps(&before);
        processing.updated_at = Timestamp::now();
        if !engine.store.save_video(&mut processing, steps_changed).await? {
            return Ok(Next::Again);
        }
    }
    if let Some(why) = away {
        return Ok(Next::Away(why));
    }
    if !processing.status.in_flight() || engine.draining.is_cancelled() {
        return Ok(Next::Wait);
    }
    if !plan::ready(&processing, Timestamp::now()).is_empty() {
        return Ok(Next::Again);
    }
    Ok(plan::next_look(&processing).map_or(Next::Wait, Next::At))
}

/// Submits a step. Errors are those after which it can be asked again.
async fn submit(
    videos: &Videos,
    video: &Video,
    processing: &Processing,
    position: usize,
) -> Result<Submitted, EngineError> {
    let step = &processing.tasks[position];
    let spec = videos
        .pipelines
        .get(&processing.pipeline)
        .and_then(|pipeline| pipeline.step(&step.name))
        .filter(|spec| spec.node == step.task_name);
    let Some(spec) = spec else {
        return Ok(Submitted::Refused(format!(
            "pipeline {} has no such step any more; start the video anew",
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
    let mut request = match videos.engine.check(asked, UnknownFields::Warn) {
        Ok(request) => request,
        Err(error) => return Ok(Submitted::Refused(error.to_string())),
    };
    let run = plan::run_of(processing, step);
    request.pipeline = Some(PipelineRun {
        video: processing.video_id.clone(),
        processing: processing.run_id.clone(),
        run: run.clone(),
    });
    match videos.engine.submit(&request).await {
        Ok(response) => Ok(Submitted::Answered(Box::new(response))),
        Err(EngineError::AlreadyAsked) => Ok(Submitted::Known(run)),
        Err(
            error @ (EngineError::Superseded | EngineError::Draining | EngineError::Store(StoreError::Unavailable(_))),
        ) => Err(error),
        Err(error) => Ok(Submitted::Refused(error.to_string())),
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
