//! Stages that existing Python workers wrote themselves, under today's key or the older spelling (S5): how their JSON is
//! read, and which of them a task holds beside our own.

use std::time::Duration;

use indexmap::IndexMap;
use onceover_types::{NodeName, StageState, Timestamp};
use onceover_wire::{ResultWarning, WARNINGS_FIELD, WarningCount};
use serde_json::{Map, Value};

use onceover_store::{ForeignJson, Noted, Store, TaskRecords};

/// A foreign record in flight has no lease; after this long it counts as lost.
pub const LOST_AFTER: Duration = Duration::from_secs(2 * 3600);
/// What is shown of one that is lost.
pub const LOST_ERROR: &str = "the worker that had taken it was not heard of again";

/// One foreign stage, as far as its JSON says.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignStage {
    pub state: StageState,
    pub input: Map<String, Value>,
    pub output: Map<String, Value>,
    pub error: Option<String>,
    pub duration: f64,
    /// Percent, where the worker tells.
    pub progress: Option<f64>,
    /// When it was last written, by what its expiry has used up.
    pub written: Timestamp,
    /// When it ended; None while it is in flight.
    pub ended: Option<Timestamp>,
    /// When the task was begun, when it says so.
    pub created: Timestamp,
    pub noted: Option<Noted>,
}

impl ForeignStage {
    /// Reads the JSON; None when it holds no stage of this node.
    pub fn read(node: &NodeName, foreign: &ForeignJson, ttl_seconds: u64, now: Timestamp) -> Option<Self> {
        let context: Map<String, Value> = serde_json::from_str(&foreign.json).ok()?;
        let stage = context.get("stages")?.get(node.as_str())?.as_object()?;
        let state = StageState::parse_foreign(stage.get("status")?.as_str()?)?;
        let object = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
        let request = context.get("input_params").and_then(Value::as_object);
        let asked_for_this = request.and_then(|request| request.get("task_name")?.as_str()) == Some(node.as_str());
        let input = match request
            .filter(|_| asked_for_this)
            .and_then(|request| request.get("input_data"))
        {
            Some(input) if input.is_object() => object(Some(input)),
            _ => object(stage.get("input_params")),
        };
        let age = match foreign.ttl_ms {
            ..0 => 0,
            left => (ttl_seconds as i64 * 1000 - left).max(0),
        };
        let written = Timestamp::from_millis(now.as_millis() - age);
        // The older system wrote local times without a zone; those say nothing here.
        let created = context
            .get("create_at")
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok());
        Some(Self {
            state,
            input,
            output: object(stage.get("output")),
            error: stage
                .get("error")
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            duration: stage
                .get("duration")
                .and_then(Value::as_f64)
                .unwrap_or_default()
                .max(0.0),
            progress: match stage.get("progress").and_then(Value::as_f64) {
                _ if state == StageState::Success => Some(100.0),
                Some(percent) if (0.0..=100.0).contains(&percent) => Some(percent),
                _ => None,
            },
            written,
            ended: (!state.in_flight()).then_some(written),
            created: created.map_or(written, |created: Timestamp| created.min(now)),
            noted: foreign.noted,
        })
    }

    /// What its output says makes it partial or doubtful. The older system's workers say nothing of that; what a newer
    /// one left there counts.
    pub fn warned(&self) -> WarningCount {
        let field = self
            .output
            .get(WARNINGS_FIELD)
            .filter(|_| self.state == StageState::Success);
        let warnings = field.map_or_else(Vec::new, ResultWarning::all_in);
        WarningCount::count(&warnings)
    }

    /// In flight, but too long without a sign of life.
    pub fn is_lost(&self, now: Timestamp) -> bool {
        self.state.in_flight() && now >= self.lost_at()
    }

    /// When it counts as lost if it is not written again.
    pub fn lost_at(&self) -> Timestamp {
        Timestamp::from_millis(self.written.as_millis() + LOST_AFTER.as_millis() as i64)
    }

    /// The stage as it is shown once it is lost.
    fn given_up(self) -> Self {
        Self {
            state: StageState::Failed,
            error: Some(LOST_ERROR.to_owned()),
            ended: Some(self.lost_at()),
            progress: None,
            output: Map::new(),
            ..self
        }
    }
}

/// What a task holds of other workers, as it was read.
#[derive(Debug, Default)]
pub struct HeldStages {
    /// The stages that stand in the place of ours, if there are any of ours.
    pub stages: IndexMap<NodeName, ForeignStage>,
    /// Those of which the lists do not know it yet.
    pub unnoted: Vec<NodeName>,
}

impl HeldStages {
    /// Judges what was read just now.
    pub fn now(store: &Store, records: &TaskRecords) -> Self {
        Self::of(records, store.options().ttl.as_secs(), store.now())
    }

    /// Judges everything that other workers wrote under a task. Every view of a task goes by this; what lists and events
    /// show was judged the same way as it was noted.
    pub fn of(records: &TaskRecords, ttl_seconds: u64, now: Timestamp) -> Self {
        let mut held = Self {
            unnoted: records.stale.clone(),
            ..Self::default()
        };
        for (node, json) in &records.foreign {
            if held.stages.contains_key(node) {
                continue;
            }
            let Some(stage) = ForeignStage::read(node, json, ttl_seconds, now) else {
                continue;
            };
            let is_lost = stage.is_lost(now);
            if is_lost || stage.noted.is_none() {
                held.unnoted.push(node.clone());
            }
            match (is_lost, records.stage(node)) {
                (true, Some(_)) => {}
                (true, None) => drop(held.stages.insert(node.clone(), stage.given_up())),
                (false, _) => drop(held.stages.insert(node.clone(), stage)),
            }
        }
        held
    }

    /// Those in flight.
    pub fn in_flight(&self) -> impl Iterator<Item = &NodeName> {
        let flying = self.stages.iter().filter(|(_, stage)| stage.state.in_flight());
        flying.map(|(node, _)| node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &str = r#"{"workflow_id":"u1","create_at":"2026-11-22T01:22:46.600303","input_params":{"task_name":"ffmpeg.extract_audio","input_data":{"video_path":"a.mp4"},"callback_url":null},"stages":{"ffmpeg.extract_audio":{"status":"IN_PROGRESS","input_params":{},"output":{},"error":null,"duration":0.0}}}"#;

    #[test]
    fn s5_a_python_workers_record_is_read_and_lost_after_two_hours() {
        let node = NodeName::parse("ffmpeg.extract_audio").unwrap();
        let now = Timestamp::from_millis(1_000_000_000);
        let foreign = |ttl: i64| ForeignJson {
            key: String::new(),
            sha: String::new(),
            ttl_ms: ttl * 1000,
            json: CONTEXT.into(),
            noted: None,
        };
        let stage = ForeignStage::read(&node, &foreign(86_400 - 7_199), 86_400, now).unwrap();
        assert_eq!(stage.state, StageState::Running);
        assert_eq!(stage.input["video_path"], "a.mp4");
        assert!(!stage.is_lost(now));
        assert!(
            ForeignStage::read(&node, &foreign(86_400 - 7_200), 86_400, now)
                .unwrap()
                .is_lost(now)
        );
        let other = NodeName::parse("ffmpeg.other").unwrap();
        assert_eq!(ForeignStage::read(&other, &foreign(1), 86_400, now), None);
    }
}
