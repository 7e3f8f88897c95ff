//! Results that existing Python workers wrote themselves, under today's key or the older spelling (S5): how
//! their JSON is read.

use onceover_common::{NodeName, StageState, Timestamp};
use serde_json::{Map, Value};

use crate::store::ForeignJson;

/// A foreign record in flight has no lease; after this long it counts as lost.
pub const LOST_AFTER_SECONDS: f64 = 2.0 * 3600.0;

/// One foreign stage, as far as its JSON says.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignStage {
    pub state: StageState,
    pub input: Map<String, Value>,
    pub output: Map<String, Value>,
    pub error: Option<String>,
    pub duration: f64,
    /// When it was last written, by what its expiry has used up.
    pub written: Timestamp,
    /// When the task was begun, when it says so.
    pub created: Timestamp,
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
        let age = if foreign.ttl >= 0 {
            (ttl_seconds as i64 - foreign.ttl).max(0)
        } else {
            0
        };
        let written = Timestamp::from_millis(now.as_millis() - age * 1000);
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
            written,
            created: created.unwrap_or(written),
        })
    }

    /// In flight, but too long without a sign of life.
    pub fn is_lost(&self, now: Timestamp) -> bool {
        self.state.in_flight() && now.seconds_since(self.written) >= LOST_AFTER_SECONDS
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
        let foreign = |ttl| ForeignJson {
            key: String::new(),
            sha: String::new(),
            ttl,
            json: CONTEXT.into(),
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
