//! How a processing goes on: what its steps' stages tell, which steps may begin, how far the whole is, when it has
//! ended. Decides from data alone; `drive` reads and writes.

use std::time::Duration;

use onceover_catalog::pipeline::{PipelineSpec, StepSpec};
use onceover_types::{RunId, StageState, TaskStatus, Timestamp, VideoId};
use onceover_wire::{
    Processing, ProcessingKind, ProcessingStatus, ProcessingStep, StepStatus, SubmitResponse, WarningCount,
};

use onceover_store::{StageRecord, TaskRecords};

/// Between two looks at a step whose stage a worker of another system runs: its end is told to nobody.
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

/// A processing that has not begun. `fresh`: names of steps that run anew, whatever is stored.
pub fn planned(
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

/// The run a step asks for. The same for the same try of the same processing, whoever asks: asking twice starts one run.
pub fn run_of(processing: &Processing, step: &ProcessingStep) -> RunId {
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
    /// The stage is gone: it was deleted, or has expired.
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
    // Another run in its place, somebody else's: its end is as good.
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
    // Up to 99: the end of a stage is told by its state.
    percent.clamp(0.0, 99.0) as u8
}

/// Takes what the stages tell into the steps. `retry` is asked for steps that failed.
pub fn observe(processing: &mut Processing, records: &TaskRecords, retry: impl Fn(&str) -> Retry, now: Timestamp) {
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
                    StageState::Cancelled => {
                        step.status = StepStatus::Cancelled;
                        step.error = error;
                    }
                    _ => complete(step, warned),
                }
            }
            Seen::Gone => {
                step.status = StepStatus::Cancelled;
                step.ended_at = Some(now);
                step.error = Some("its stage was deleted while it was waited for".into());
            }
        }
    }
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
pub fn ready(processing: &Processing, now: Timestamp) -> Vec<usize> {
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

/// When a step is to be looked at again although nothing is told of it.
pub fn next_look(processing: &Processing) -> Option<Timestamp> {
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
pub fn submitted(step: &mut ProcessingStep, answer: Submitted, now: Timestamp) {
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
pub fn settle(processing: &mut Processing, now: Timestamp) {
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

/// Ends a processing by somebody's wish.
pub fn cancel(processing: &mut Processing, now: Timestamp) {
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
mod tests {
    use onceover_catalog::pipeline::parse_pipeline;
    use proptest::prelude::*;

    use super::*;

    const STEPS: &str = "name = 'p'\n\
        [[steps]]\nname = 'a'\nnode = 't.a'\nweight = 1\n\
        [[steps]]\nname = 'b'\nnode = 't.b'\nweight = 7\nneeds = ['a']\n\
        [[steps]]\nname = 'c'\nnode = 't.c'\nneeds = ['a']\noptional = true\n\
        [[steps]]\nname = 'd'\nnode = 't.d'\nweight = 100\nneeds = ['b', 'c']\n";

    fn fresh() -> Processing {
        let pipeline = parse_pipeline(STEPS).unwrap();
        let video = VideoId::parse("film").unwrap();
        planned(&video, &pipeline, ProcessingKind::First, &[], false)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    /// What may happen to a step.
    #[derive(Debug, Clone)]
    enum Told {
        Hit,
        Joined,
        Started,
        Refused,
        Progress(u8),
        Done,
        Fails,
        Cancelled,
        Time,
    }

    fn told() -> impl Strategy<Value = Told> {
        prop_oneof![
            1 => Just(Told::Hit),
            1 => Just(Told::Joined),
            4 => Just(Told::Started),
            1 => Just(Told::Refused),
            4 => (0..=100u8).prop_map(Told::Progress),
            4 => Just(Told::Done),
            2 => Just(Told::Fails),
            1 => Just(Told::Cancelled),
            1 => Just(Told::Time),
        ]
    }

    fn answer(reuse_hit: bool, status: TaskStatus) -> Submitted {
        Submitted::Answered(Box::new(SubmitResponse {
            task_id: VideoId::parse("film").unwrap().task(),
            status,
            message: String::new(),
            reuse_info: onceover_wire::ReuseInfo {
                reuse_hit,
                run_id: Some(RunId::generate()),
                ..Default::default()
            },
            result: None,
            warnings: Vec::new(),
        }))
    }

    /// Does to one step what is told of it, as `observe` and `submitted` would.
    fn apply(processing: &mut Processing, position: usize, told: &Told, now: Timestamp) {
        let may_begin = ready(processing, now).contains(&position);
        let step = &mut processing.tasks[position];
        let retry = Retry {
            retries: 2,
            backoff: Duration::from_secs(5),
        };
        match told {
            Told::Hit if may_begin => submitted(step, answer(true, TaskStatus::Completed), now),
            Told::Joined if may_begin => submitted(step, answer(true, TaskStatus::Pending), now),
            Told::Started if may_begin => submitted(step, answer(false, TaskStatus::Pending), now),
            Told::Refused if may_begin => submitted(step, Submitted::Refused("no model".into()), now),
            Told::Progress(percent) if is_under_way(step) => {
                step.status = StepStatus::Processing;
                step.started_at = step.started_at.or(Some(now));
                step.progress = step.progress.max(whole(f64::from(*percent)));
            }
            Told::Done if is_under_way(step) => {
                step.ended_at = Some(now);
                complete(step, WarningCount::default());
            }
            Told::Fails if is_under_way(step) => fail(step, Some("why".into()), retry, now),
            Told::Cancelled if is_under_way(step) => {
                step.status = StepStatus::Cancelled;
                step.ended_at = Some(now);
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn v3_whatever_happens_progress_never_goes_back_and_the_end_is_final(
            story in prop::collection::vec((0..4usize, told()), 0..120)
        ) {
            let mut processing = fresh();
            let mut second = 0;
            for (position, told) in story {
                second += 3;
                let before = processing.clone();
                apply(&mut processing, position, &told, at(second));
                settle(&mut processing, at(second));
                prop_assert!(processing.progress >= before.progress);
                prop_assert_eq!(processing.progress == 100, processing.status == ProcessingStatus::Completed);
                for (a, b) in before.tasks.iter().zip(&processing.tasks) {
                    prop_assert!(a.progress <= b.progress);
                    prop_assert!(!a.status.has_ended() || a.status == b.status);
                    // Nothing begins before what it needs has ended, or after a required step failed.
                    if a.reuse_hit.is_none() && b.reuse_hit.is_some() {
                        prop_assert!(before.blocked_by(a).is_empty());
                        prop_assert!(!is_halted(&before));
                    }
                }
                if !before.status.in_flight() {
                    prop_assert_eq!(&before.status, &processing.status);
                }
                let ended = processing.tasks.iter().all(|step| step.status.has_ended());
                prop_assert_eq!(ended, !processing.status.in_flight());
                prop_assert_eq!(processing.ended_at.is_some(), ended);
            }
        }

        #[test]
        fn o2_every_processing_can_come_to_its_end(story in prop::collection::vec((0..4usize, told()), 0..60)) {
            let mut processing = fresh();
            let mut second = 0;
            for (position, told) in story {
                second += 3;
                apply(&mut processing, position, &told, at(second));
                settle(&mut processing, at(second));
            }
            // From any state: what may begin begins, what runs ends.
            for _ in 0..20 {
                second += 100;
                for position in 0..4 {
                    apply(&mut processing, position, &Told::Started, at(second));
                    apply(&mut processing, position, &Told::Done, at(second));
                }
                settle(&mut processing, at(second));
            }
            prop_assert!(!processing.status.in_flight(), "{:#?}", processing);
        }
    }

    #[test]
    fn a_run_is_named_the_same_by_whoever_asks_and_otherwise_for_each_try() {
        let processing = fresh();
        let step = processing.tasks[0].clone();
        let named = run_of(&processing, &step);
        assert_eq!(named, run_of(&processing.clone(), &step));
        let again = ProcessingStep {
            failures: 1,
            ..step.clone()
        };
        assert_ne!(named, run_of(&processing, &again));
        assert_ne!(named, run_of(&processing, &processing.tasks[1]));
        assert_ne!(named, run_of(&fresh(), &step));
        // Ids still sort by time.
        assert_eq!(named.as_str()[..13], processing.run_id.as_str()[..13]);
    }

    #[test]
    fn waits_before_retries_double() {
        let retry = Retry {
            retries: 9,
            backoff: Duration::from_secs(5),
        };
        assert_eq!([1, 2, 3].map(|failures| retry.wait(failures).as_secs()), [5, 10, 20]);
        assert_eq!(retry.wait(u32::MAX).as_secs(), 86_400);
    }
}
