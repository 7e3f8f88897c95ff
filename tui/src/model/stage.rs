//! A stage as the dashboard keeps it, in about a hundred bytes: names that many stages have are kept once, and what few
//! stages have is apart. A hundred thousand tasks of eight stages fit into memory with it.

use std::{collections::HashSet, num::NonZeroU128, sync::Arc};

use onceover_types::{CallbackStatus, NodeName, RunId, StageState, Timestamp};
use onceover_wire::StageSummary;

/// Names and origins that are kept once, at most; more are kept with each stage.
const MOST_NAMES: usize = 4_096;
/// Stands for a time that is not known.
const NO_TIME: i64 = i64::MIN;
/// Stands for a progress that is not known.
const NO_PROGRESS: f64 = -1.0;

/// One stage of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptStage {
    pub status: StageState,
    pub callback_status: Option<CallbackStatus>,
    /// Whether it is a forced rerun while a former result stands.
    pub forced: bool,
    pub attempt: u32,
    pub revision: u64,
    /// Seconds from start to end; 0 until it ended.
    pub duration: f64,
    node: Arc<NodeName>,
    origin: Arc<StageOrigin>,
    run: Option<NonZeroU128>,
    progress: f64,
    queued: i64,
    started: i64,
    ended: i64,
    details: Option<Box<StageDetails>>,
}

/// Where a stage runs and why: few combinations for many stages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct StageOrigin {
    queue: String,
    runner: Option<String>,
    reason: Option<String>,
}

/// What few stages have.
#[derive(Debug, Clone, Default, PartialEq)]
struct StageDetails {
    message: Option<Box<str>>,
    error: Option<Box<str>>,
    damaged: Option<Box<str>>,
    reuse_hits: u64,
    joins: u64,
    saved_seconds: f64,
    warnings: u64,
    warnings_retryable: bool,
}

impl KeptStage {
    pub fn node(&self) -> &Arc<NodeName> {
        &self.node
    }

    pub fn queue(&self) -> &str {
        &self.origin.queue
    }

    /// Returns 0 to 100, where there is a figure.
    pub fn progress(&self) -> Option<f64> {
        (self.progress >= 0.0).then_some(self.progress)
    }

    /// Sets the progress to the greater one of the two: it never moves back within an attempt.
    pub fn raise_progress(&mut self, former: Option<f64>) {
        self.progress = self.progress.max(former.unwrap_or(NO_PROGRESS));
    }

    pub fn queued_at(&self) -> Option<Timestamp> {
        read_time(self.queued)
    }

    pub fn started_at(&self) -> Option<Timestamp> {
        read_time(self.started)
    }

    pub fn ended_at(&self) -> Option<Timestamp> {
        read_time(self.ended)
    }

    pub fn run_id(&self) -> Option<RunId> {
        let digits = format!("{:032x}", self.run?);
        RunId::parse(&digits).ok()
    }

    /// Whether both are of one run, which is known.
    pub fn is_same_run(&self, other: &Self) -> bool {
        self.run.is_some() && self.run == other.run
    }

    /// Whether it is the stage of this run; two runs that are not known are the same.
    pub fn is_run(&self, run: Option<&RunId>) -> bool {
        self.run == run.and_then(read_run)
    }

    /// Returns the beginning of the error.
    pub fn error(&self) -> Option<&str> {
        self.details.as_ref()?.error.as_deref()
    }

    /// Counts the submits that it answered without a run.
    pub fn reuses(&self) -> u64 {
        self.details
            .as_ref()
            .map_or(0, |details| details.reuse_hits.saturating_add(details.joins))
    }

    /// Returns the run time that hits did not spend again, in seconds.
    pub fn saved_seconds(&self) -> f64 {
        self.details.as_ref().map_or(0.0, |details| details.saved_seconds)
    }

    /// Counts the warnings of its result.
    pub fn warnings(&self) -> u64 {
        self.details.as_ref().map_or(0, |details| details.warnings)
    }

    /// Whether one of these says that running again could give a better result.
    pub fn has_retryable_warnings(&self) -> bool {
        self.details.as_ref().is_some_and(|details| details.warnings_retryable)
    }

    /// Returns the seconds that it has run by `clock`, never negative; 0 while it waits.
    pub fn elapsed(&self, clock: Timestamp) -> f64 {
        count_elapsed(self.status, self.started_at(), self.duration, clock)
    }

    /// Returns the stage as events and lists carry it.
    pub fn summary(&self) -> StageSummary {
        let details = self.details.as_deref().cloned().unwrap_or_default();
        StageSummary {
            status: self.status,
            run_id: self.run_id(),
            attempt: self.attempt,
            revision: self.revision,
            queue: self.origin.queue.clone(),
            runner: self.origin.runner.clone(),
            progress: self.progress(),
            message: details.message.map(String::from),
            reason: self.origin.reason.clone(),
            forced: self.forced,
            reuse_hits: details.reuse_hits,
            joins: details.joins,
            saved_seconds: details.saved_seconds,
            queued_at: self.queued_at(),
            started_at: self.started_at(),
            ended_at: self.ended_at(),
            duration: self.duration,
            error: details.error.map(String::from),
            callback_status: self.callback_status,
            warnings: details.warnings,
            warnings_retryable: details.warnings_retryable,
            damaged: details.damaged.map(String::from),
        }
    }

    /// Counts the bytes that it takes beside its own size.
    pub fn count_bytes_apart(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        self.details.as_ref().map_or(0, |details| {
            size_of::<StageDetails>() + text(&details.message) + text(&details.error) + text(&details.damaged)
        })
    }
}

/// Returns the seconds that a stage in this state has run by `clock`.
pub fn count_elapsed(status: StageState, started: Option<Timestamp>, duration: f64, clock: Timestamp) -> f64 {
    match (status, started) {
        (StageState::Pending, _) => 0.0,
        (StageState::Running, Some(started)) => clock.seconds_since(started),
        _ => duration,
    }
}

fn read_time(millis: i64) -> Option<Timestamp> {
    (millis != NO_TIME).then(|| Timestamp::from_millis(millis))
}

fn pack_time(time: Option<Timestamp>) -> i64 {
    time.map_or(NO_TIME, Timestamp::as_millis)
}

/// Reads the number of a run, which is a UUID.
fn read_run(run: &RunId) -> Option<NonZeroU128> {
    let digits: String = run.as_str().chars().filter(|c| *c != '-').collect();
    NonZeroU128::new(u128::from_str_radix(&digits, 16).ok()?)
}

/// The stages of a task, in the order in which they were first asked for. They are few: finding one goes through them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StageList(Vec<KeptStage>);

impl StageList {
    pub fn get(&self, node: &NodeName) -> Option<&KeptStage> {
        self.0.iter().find(|stage| *stage.node == *node)
    }

    pub fn contains_key(&self, node: &NodeName) -> bool {
        self.get(node).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<NodeName>, &KeptStage)> {
        self.0.iter().map(|stage| (&stage.node, stage))
    }

    pub fn keys(&self) -> impl Iterator<Item = &Arc<NodeName>> {
        self.0.iter().map(|stage| &stage.node)
    }

    pub fn values(&self) -> impl Iterator<Item = &KeptStage> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces the stage of its node, or adds it at the end.
    pub fn put(&mut self, stage: KeptStage) {
        match self.0.iter_mut().find(|known| known.node == stage.node) {
            Some(known) => *known = stage,
            None => {
                self.0.reserve_exact(1);
                self.0.push(stage);
            }
        }
    }

    /// Removes the stage of the node. Returns `false` if there is none.
    pub fn remove(&mut self, node: &NodeName) -> bool {
        let before = self.0.len();
        self.0.retain(|stage| *stage.node != *node);
        self.0.len() < before
    }

    /// Counts the bytes that the stages take.
    pub fn count_bytes(&self) -> usize {
        let apart: usize = self.0.iter().map(KeptStage::count_bytes_apart).sum();
        self.0.capacity() * size_of::<KeptStage>() + apart
    }
}

impl FromIterator<KeptStage> for StageList {
    fn from_iter<T: IntoIterator<Item = KeptStage>>(stages: T) -> Self {
        let mut list = Self(Vec::from_iter(stages));
        list.0.shrink_to_fit();
        list
    }
}

/// Keeps once what many stages have.
#[derive(Debug, Default)]
pub struct StageNames {
    nodes: HashSet<Arc<NodeName>>,
    origins: HashSet<Arc<StageOrigin>>,
}

impl StageNames {
    /// Returns the name as it is kept.
    pub fn keep_node(&mut self, node: &NodeName) -> Arc<NodeName> {
        if let Some(known) = self.nodes.get(node) {
            return known.clone();
        }
        let node = Arc::new(node.clone());
        if self.nodes.len() < MOST_NAMES {
            self.nodes.insert(node.clone());
        }
        node
    }

    fn keep_origin(&mut self, origin: StageOrigin) -> Arc<StageOrigin> {
        if let Some(known) = self.origins.get(&origin) {
            return known.clone();
        }
        let origin = Arc::new(origin);
        if self.origins.len() < MOST_NAMES {
            self.origins.insert(origin.clone());
        }
        origin
    }

    /// Makes a stage of what an event or a list says.
    pub fn keep(&mut self, node: &NodeName, summary: StageSummary) -> KeptStage {
        let text = |text: Option<String>| text.map(String::into_boxed_str);
        let details = StageDetails {
            message: text(summary.message),
            error: text(summary.error),
            damaged: text(summary.damaged),
            reuse_hits: summary.reuse_hits,
            joins: summary.joins,
            saved_seconds: summary.saved_seconds,
            warnings: summary.warnings,
            warnings_retryable: summary.warnings_retryable,
        };
        KeptStage {
            status: summary.status,
            callback_status: summary.callback_status,
            forced: summary.forced,
            attempt: summary.attempt,
            revision: summary.revision,
            duration: summary.duration,
            node: self.keep_node(node),
            origin: self.keep_origin(StageOrigin {
                queue: summary.queue,
                runner: summary.runner,
                reason: summary.reason,
            }),
            run: summary.run_id.as_ref().and_then(read_run),
            progress: summary.progress.unwrap_or(NO_PROGRESS),
            queued: pack_time(summary.queued_at),
            started: pack_time(summary.started_at),
            ended: pack_time(summary.ended_at),
            details: (details != StageDetails::default()).then(|| Box::new(details)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> StageSummary {
        StageSummary {
            status: StageState::Failed,
            run_id: Some(RunId::generate()),
            attempt: 2,
            revision: 7,
            queue: "gpu".into(),
            runner: Some("command".into()),
            progress: Some(41.7),
            message: Some("segment 42".into()),
            reason: Some("absent".into()),
            forced: true,
            reuse_hits: 3,
            joins: 1,
            saved_seconds: 2.5,
            queued_at: Some(Timestamp::from_millis(1)),
            started_at: Some(Timestamp::from_millis(2)),
            ended_at: None,
            duration: 0.25,
            error: Some("no text".into()),
            callback_status: Some(CallbackStatus::Failed),
            warnings: 2,
            warnings_retryable: true,
            damaged: None,
        }
    }

    #[test]
    fn a_kept_stage_says_what_its_summary_said() {
        let node = NodeName::parse("a.b").unwrap();
        let mut names = StageNames::default();
        let kept = names.keep(&node, summary());
        assert_eq!(
            kept.summary(),
            StageSummary {
                run_id: kept.run_id(),
                ..summary()
            }
        );
        let run = kept.run_id().expect("the run is known");
        assert!(kept.is_run(Some(&run)) && !kept.is_run(None));
        assert!(Arc::ptr_eq(&kept.origin, &names.keep(&node, summary()).origin));
    }

    #[test]
    fn tui05_a_stage_takes_about_a_hundred_bytes() {
        assert!(size_of::<KeptStage>() <= 96, "{}", size_of::<KeptStage>());
        let plain = StageSummary {
            message: None,
            error: None,
            reuse_hits: 0,
            joins: 0,
            saved_seconds: 0.0,
            warnings: 0,
            warnings_retryable: false,
            ..summary()
        };
        let kept = StageNames::default().keep(&NodeName::parse("a.b").unwrap(), plain);
        assert_eq!(kept.count_bytes_apart(), 0);
    }
}
