//! How a processing goes on: what its steps' stages tell, which steps may begin, how far the whole is, when it has
//! ended. Decides from data alone; `reconcile` reads and writes.

use std::time::Duration;

use onceover_catalog::pipeline::{PipelineSpec, StepSpec};
use onceover_types::{RunId, StageState, TaskStatus, Timestamp, VideoId};
use onceover_wire::{
    Processing, ProcessingKind, ProcessingStatus, ProcessingStep, StepStatus, SubmitResponse, WarningCount,
};

use onceover_store::{StageRecord, TaskRecords};

/// Between two checks of a step whose stage a worker of another system runs: nothing reports its end.
const FOREIGN_INTERVAL: Duration = Duration::from_secs(2);

/// How a failed step is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    pub retries: u32,
    /// Before the first retry; doubled before each later one.
    pub backoff: Duration,
}

impl Retry {
    fn wait(&self, failures: u32) -> Duration {
        let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
        self.backoff.saturating_mul(doubled).min(Duration::from_secs(86_400))
    }
}

/// A processing that has not begun. `fresh`: names of steps that run again, whatever is stored.
pub fn plan_processing(
    video: &VideoId,
    pipeline: &PipelineSpec,
    kind: ProcessingKind,
    fresh: &[&str],
    clearing: bool,
) -> Processing {
    let step = |step: &StepSpec| ProcessingStep {
        name: step.name().to_owned(),
        task_name: step.node.clone(),
        status: StepStatus::Pending,
        progress: 0,
        weight: step.weight,
        optional: step.optional,
        needs: step.needs.clone(),
        started_at: None,
        ended_at: None,
        error: None,
        reuse_hit: None,
        fresh: fresh.contains(&step.name()),
        run_id: None,
        failures: 0,
        retry_at: None,
        warnings: 0,
        warnings_retryable: false,
    };
    Processing {
        video_id: video.clone(),
        task_id: video.task(),
        pipeline: pipeline.name.clone(),
        kind,
        run_id: RunId::generate(),
        revision: 1,
        status: ProcessingStatus::Pending,
        progress: 0,
        tasks: pipeline.steps.iter().map(step).collect(),
        started_at: None,
        updated_at: Timestamp::now(),
        ended_at: None,
        error: None,
        clearing,
    }
}

/// The run a step asks for. The same for the same try of the same processing, whichever daemon asks: asking twice starts one run.
pub fn name_run(processing: &Processing, step: &ProcessingStep) -> RunId {
    let seed = format!("{}/{}/{}", processing.run_id, step.name, step.failures);
    let hash = blake3::hash(seed.as_bytes());
    let mut random = [0; 10];
    random.copy_from_slice(&hash.as_bytes()[..10]);
    let id = uuid::Builder::from_unix_timestamp_millis(begun_at(&processing.run_id), &random).into_uuid();
    RunId::parse(&id.to_string()).expect("a UUID is a run id")
}

/// Milliseconds since the epoch that a run id (UUID version 7) holds.
fn begun_at(run: &RunId) -> u64 {
    let time = uuid::Uuid::parse_str(run.as_str())
        .ok()
        .and_then(|id| id.get_timestamp());
    time.map_or(0, |time| {
        let (seconds, nanos) = time.to_unix();
        seconds * 1000 + u64::from(nanos / 1_000_000)
    })
}

/// What became of the run a step waits for.
enum Seen {
    InFlight {
        state: StageState,
        run: Option<RunId>,
        progress: Option<f64>,
        started: Option<Timestamp>,
    },
    Ended {
        state: StageState,
        error: Option<String>,
        started: Option<Timestamp>,
        ended: Option<Timestamp>,
        warned: WarningCount,
    },
    /// There is no stage: it was deleted, or has expired.
    Gone,
}

fn see(run: &RunId, record: Option<&StageRecord>) -> Seen {
    let Some(record) = record else { return Seen::Gone };
    let is_newest = record.run().as_ref() == Some(run);
    if !is_newest {
        // A forced run that did not succeed has left the former result, and a note.
        if let Some(last) = record.last_attempt().filter(|last| last.run_id.as_ref() == Some(run)) {
            return Seen::Ended {
                state: last.status,
                error: last.error,
                started: None,
                ended: last.ended_at,
                warned: WarningCount::default(),
            };
        }
        if record.result_run().as_ref() == Some(run) {
            return Seen::Ended {
                state: StageState::Success,
                error: None,
                started: None,
                ended: record.result_ended(),
                warned: record.warned(),
            };
        }
    }
    // Another client's run in its place: its end is as good.
    if record.state.in_flight() {
        return Seen::InFlight {
            state: record.state,
            run: record.run(),
            progress: record.progress(),
            started: record.started(),
        };
    }
    Seen::Ended {
        state: record.state,
        error: record.error(),
        started: record.started(),
        ended: record.ended(),
        warned: record.warned(),
    }
}

fn whole(percent: f64) -> u8 {
    // Up to 99: the state of a stage says that it has ended.
    percent.clamp(0.0, 99.0) as u8
}

/// Takes what the stages tell into the steps. `retry` is asked for steps that failed.
pub fn observe_stages(
    processing: &mut Processing,
    records: &TaskRecords,
    retry: impl Fn(&str) -> Retry,
    now: Timestamp,
) {
    for step in &mut processing.tasks {
        let Some(run) = step.run_id.clone().filter(|_| is_under_way(step)) else {
            continue;
        };
        match see(&run, records.stage(&step.task_name)) {
            Seen::InFlight {
                state,
                run,
                progress,
                started,
            } => {
                if run.is_some() {
                    step.run_id = run;
                }
                if state == StageState::Running {
                    step.status = StepStatus::Processing;
                    step.started_at = step.started_at.or(started).or(Some(now));
                }
                step.progress = step.progress.max(whole(progress.unwrap_or_default()));
            }
            Seen::Ended {
                state,
                error,
                started,
                ended,
                warned,
            } => {
                step.started_at = step.started_at.or(started);
                step.ended_at = Some(ended.unwrap_or(now));
                match state {
                    StageState::Failed => fail(step, error, retry(&step.name), now),
                    StageState::Cancelled => end_cancelled(step, error),
                    _ => complete(step, warned),
                }
            }
            Seen::Gone => {
                step.ended_at = Some(now);
                end_cancelled(step, Some("its stage was deleted while it was waited for".into()));
            }
        }
    }
}

fn end_cancelled(step: &mut ProcessingStep, error: Option<String>) {
    step.status = StepStatus::Cancelled;
    step.error = error;
}

fn complete(step: &mut ProcessingStep, warned: WarningCount) {
    step.warnings = warned.warnings;
    step.warnings_retryable = warned.retryable;
    step.status = StepStatus::Completed;
    step.progress = 100;
    step.error = None;
    step.retry_at = None;
}

fn fail(step: &mut ProcessingStep, error: Option<String>, retry: Retry, now: Timestamp) {
    step.failures += 1;
    step.error = error.or_else(|| Some("it failed without saying why".into()));
    if step.failures > retry.retries {
        step.status = StepStatus::Failed;
        return;
    }
    step.status = StepStatus::Pending;
    step.run_id = None;
    step.reuse_hit = None;
    step.ended_at = None;
    step.retry_at = Some(now.plus(retry.wait(step.failures)));
}

/// Submitted, and not known to have ended.
fn is_under_way(step: &ProcessingStep) -> bool {
    !step.status.has_ended() && step.reuse_hit.is_some()
}

/// A required step that failed, or any that was cancelled: nothing more begins.
fn is_halted(processing: &Processing) -> bool {
    processing.tasks.iter().any(halts)
}

fn halts(step: &ProcessingStep) -> bool {
    match step.status {
        StepStatus::Failed => !step.optional,
        StepStatus::Cancelled => true,
        _ => false,
    }
}

/// Positions of the steps to be submitted now.
pub fn list_ready(processing: &Processing, now: Timestamp) -> Vec<usize> {
    if !processing.status.in_flight() || processing.clearing || is_halted(processing) {
        return Vec::new();
    }
    let may_begin = |step: &ProcessingStep| {
        !step.status.has_ended()
            && step.reuse_hit.is_none()
            && step.retry_at.is_none_or(|at| at <= now)
            && processing.blocked_by(step).is_empty()
    };
    let steps = processing.tasks.iter().enumerate();
    steps
        .filter(|(_, step)| may_begin(step))
        .map(|(position, _)| position)
        .collect()
}

/// Finds when a step is to be checked again although no event is about it.
pub fn find_next_check(processing: &Processing) -> Option<Timestamp> {
    if is_halted(processing) {
        return None;
    }
    let waiting = processing.tasks.iter().filter(|step| !step.status.has_ended());
    waiting.filter_map(|step| step.retry_at).min()
}

/// What came of submitting a step.
pub enum Submitted {
    Answered(Box<SubmitResponse>),
    /// It had been submitted before.
    Known(RunId),
    /// It cannot run: on this machine, or at all.
    Refused(String),
    /// What it makes is there; the text says where.
    NotNeeded(String),
}

/// Takes what came of submitting a step.
pub fn note_submit(step: &mut ProcessingStep, answer: Submitted, now: Timestamp) {
    step.retry_at = None;
    match answer {
        Submitted::Answered(response) if response.status == TaskStatus::Completed => {
            step.reuse_hit = Some(true);
            step.started_at = step.started_at.or(Some(now));
            step.ended_at = Some(now);
            let info = &response.reuse_info;
            complete(
                step,
                WarningCount {
                    warnings: info.warnings,
                    retryable: info.warnings_retryable,
                },
            );
        }
        Submitted::Answered(response) => match response.reuse_info.run_id {
            Some(run) => {
                step.reuse_hit = Some(response.reuse_info.reuse_hit);
                step.run_id = Some(run);
                step.status = StepStatus::Pending;
            }
            None => {
                step.status = StepStatus::Processing;
                step.started_at = step.started_at.or(Some(now));
                step.retry_at = Some(now.plus(FOREIGN_INTERVAL));
            }
        },
        Submitted::Known(run) => {
            step.reuse_hit = Some(false);
            step.run_id = Some(run);
        }
        Submitted::NotNeeded(why) => {
            step.status = StepStatus::Skipped;
            step.ended_at = Some(now);
            step.error = Some(why);
        }
        Submitted::Refused(why) if step.optional => {
            step.status = StepStatus::Skipped;
            step.ended_at = Some(now);
            step.error = Some(why);
        }
        Submitted::Refused(why) => {
            step.status = StepStatus::Failed;
            step.ended_at = Some(now);
            step.error = Some(why);
        }
    }
}

/// Derives the whole from its steps.
pub fn update_progress(processing: &mut Processing, now: Timestamp) {
    let started = processing.tasks.iter().filter_map(|step| step.started_at).min();
    processing.started_at = processing.started_at.or(started);
    let halted = processing.tasks.iter().find(|step| halts(step));
    let failed = processing
        .tasks
        .iter()
        .find(|step| step.status == StepStatus::Failed && !step.optional);
    let under_way = processing.tasks.iter().any(is_under_way);
    let begun = processing
        .tasks
        .iter()
        .any(|step| step.reuse_hit.is_some() || step.status != StepStatus::Pending || step.failures > 0);
    let mut ended = false;
    if let Some(halted) = halted {
        let step = failed.unwrap_or(halted);
        let what = match step.status {
            StepStatus::Failed => "failed",
            _ => "was cancelled",
        };
        let why = step.error.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        let error = format!("step {} ({}) {what}{why}", step.name, step.task_name);
        let status = match failed {
            Some(_) => ProcessingStatus::Failed,
            None => ProcessingStatus::Cancelled,
        };
        processing.error = Some(error);
        processing.status = if under_way {
            ProcessingStatus::Processing
        } else {
            status
        };
        ended = !under_way;
    } else if processing.tasks.iter().all(|step| step.status.has_ended()) {
        processing.status = ProcessingStatus::Completed;
        processing.progress = 100;
        ended = true;
    } else if begun {
        processing.status = ProcessingStatus::Processing;
    }
    if ended {
        processing.ended_at = Some(now);
        for step in processing.tasks.iter_mut().filter(|step| !step.status.has_ended()) {
            step.status = StepStatus::Skipped;
            step.retry_at = None;
        }
    }
    if processing.status != ProcessingStatus::Completed {
        processing.progress = processing.progress.max(share(processing)).min(99);
    }
}

/// Percent done, by weight. A step that ended counts whole, however it ended.
fn share(processing: &Processing) -> u8 {
    let (mut done, mut all) = (0, 0);
    for step in &processing.tasks {
        let percent = match step.status {
            StepStatus::Completed => 100,
            StepStatus::Skipped | StepStatus::Failed if step.optional => 100,
            _ => u64::from(step.progress),
        };
        done += percent * u64::from(step.weight);
        all += 100 * u64::from(step.weight);
    }
    u8::try_from(done * 100 / all.max(1)).unwrap_or(100)
}

/// Ends a processing that is cancelled.
pub fn cancel_processing(processing: &mut Processing, now: Timestamp) {
    for step in processing.tasks.iter_mut().filter(|step| !step.status.has_ended()) {
        step.status = StepStatus::Cancelled;
        step.ended_at = step.started_at.and(Some(now));
        step.retry_at = None;
    }
    processing.status = ProcessingStatus::Cancelled;
    processing.error = Some("it was cancelled".into());
    processing.ended_at = Some(now);
    processing.updated_at = now;
    processing.clearing = false;
}

#[cfg(test)]
mod tests;
