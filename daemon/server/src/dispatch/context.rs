//! What a worker gets: the context of the task, as the older gateway sends it, with the paths of the workers.

use indexmap::IndexMap;
use onceover_run::RunContext;
use onceover_types::{NodeName, StageState, Timestamp};
use onceover_wire::StageView;
use serde_json::{Map, Value, json, value::RawValue};

use super::paths::PathMap;

/// The task of a run, as it was when the run began.
#[derive(Debug, Default)]
pub struct TaskSoFar {
    /// When it was first asked for.
    pub created: Option<Timestamp>,
    /// Its stages beside that of the run.
    pub stages: IndexMap<NodeName, StageView>,
}

/// Builds the arguments of the Celery task. The context names no callback, since those workers would send it themselves
/// (C3), and as storage the folder of this attempt alone, so that two attempts do not write into each other's files.
pub(super) fn build_arguments(context: &RunContext, task: &TaskSoFar, paths: &PathMap, now: Timestamp) -> Value {
    let node = context.node.name.as_str();
    let earlier = task.stages.iter();
    let mut stages: Map<String, Value> = earlier
        .map(|(name, stage)| (name.to_string(), describe_earlier(stage)))
        .collect();
    let pending = json!({"status": "pending", "input_params": {}, "output": {}, "error": null, "duration": 0.0});
    stages.insert(node.to_owned(), pending);
    let mut built = json!({
        "workflow_id": context.task_id,
        "create_at": task.created.unwrap_or(now),
        "input_params": {"task_name": node, "input_data": context.input, "callback_url": null},
        "stages": stages,
        "error": null,
        "status": "pending",
    });
    paths.value_to_workers(&mut built);
    // By this path a worker's write of its stage is known to be of a run of ours.
    built["shared_storage_path"] = Value::String(paths.to_workers(&context.dir.to_string_lossy()));
    json!({ "context": built })
}

/// Describes a stage in the words that workers know. One whose result stands is a success to them, also while it runs
/// again.
fn describe_earlier(stage: &StageView) -> Value {
    let output = read_object(&stage.output);
    let has_result = output.as_object().is_some_and(|output| !output.is_empty());
    let (status, error) = match stage.status {
        StageState::Success => ("SUCCESS", None),
        _ if has_result => ("SUCCESS", None),
        StageState::Failed => ("FAILED", stage.error.clone()),
        StageState::Cancelled => ("FAILED", Some("it was cancelled".to_owned())),
        StageState::Running => ("IN_PROGRESS", None),
        StageState::Pending => ("pending", None),
    };
    json!({
        "status": status,
        "input_params": read_object(&stage.input_params),
        "output": output,
        "error": error,
        "duration": stage.duration,
    })
}

fn read_object(json: &RawValue) -> Value {
    serde_json::from_str(json.get()).unwrap_or_else(|_| json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, object};

    /// What a worker got and returned, as it was recorded.
    const RECORDED: &str = include_str!("../../../celery/tests/captures/celery-5.7.json");

    fn stage(status: StageState, input: &Value, output: &Value, error: Option<&str>) -> StageView {
        let json = json!({
            "status": status, "input_params": input, "output": output, "error": error, "duration": 2.5,
            "attempt": 1, "revision": 3, "queue": "cpu", "reuse_hits": 0, "joins": 0, "saved_seconds": 0.0,
        });
        // What is kept as it was written is read from a text alone.
        serde_json::from_str(&json.to_string()).unwrap()
    }

    fn task(stages: Vec<(&str, StageView)>) -> TaskSoFar {
        let stages = stages.into_iter();
        TaskSoFar {
            created: Some(Timestamp::from_millis(5)),
            stages: stages
                .map(|(name, stage)| (NodeName::parse(name).unwrap(), stage))
                .collect(),
        }
    }

    #[test]
    fn c3_a_worker_gets_the_whole_task_and_its_attempts_folder_and_no_callback() {
        let mut fixture = Fixture::command(&["true"]);
        fixture.context.input = object(json!({"video_path": "/data/films/a.mp4", "n": 1}));
        let earlier = task(vec![(
            "ffmpeg.extract_audio",
            stage(
                StageState::Success,
                &json!({"video_path": "/data/films/a.mp4"}),
                &json!({"audio_path": "/data/tasks/t1/a.wav"}),
                None,
            ),
        )]);
        let dir = fixture.context.dir.to_string_lossy().into_owned();
        let folders = [
            ("/data".to_owned(), "/share".to_owned()),
            (dir, "/share/workflows/t1/runs/r1".to_owned()),
        ];
        let paths = PathMap::new(&folders.into_iter().collect());
        let arguments = build_arguments(&fixture.context, &earlier, &paths, Timestamp::from_millis(9));
        assert_eq!(
            arguments,
            json!({"context": {
                "workflow_id": "t1",
                "create_at": Timestamp::from_millis(5),
                "input_params": {
                    "task_name": "demo.node",
                    "input_data": {"video_path": "/share/films/a.mp4", "n": 1},
                    "callback_url": null,
                },
                "stages": {
                    "ffmpeg.extract_audio": {
                        "status": "SUCCESS", "input_params": {"video_path": "/share/films/a.mp4"},
                        "output": {"audio_path": "/share/tasks/t1/a.wav"}, "error": null, "duration": 2.5,
                    },
                    "demo.node": {
                        "status": "pending", "input_params": {}, "output": {}, "error": null, "duration": 0.0,
                    },
                },
                "error": null,
                "status": "pending",
                "shared_storage_path": "/share/workflows/t1/runs/r1",
            }})
        );
    }

    #[test]
    fn stages_have_the_words_of_the_older_workers() {
        let nothing = json!({});
        for (status, output, error, expected, said) in [
            (
                StageState::Failed,
                &nothing,
                Some("no such codec"),
                "FAILED",
                json!("no such codec"),
            ),
            (
                StageState::Cancelled,
                &nothing,
                None,
                "FAILED",
                json!("it was cancelled"),
            ),
            (StageState::Running, &nothing, None, "IN_PROGRESS", Value::Null),
            (StageState::Pending, &nothing, None, "pending", Value::Null),
            // It runs again, and its former result stands.
            (StageState::Running, &json!({"n": 1}), None, "SUCCESS", Value::Null),
        ] {
            let described = describe_earlier(&stage(status, &nothing, output, error));
            assert_eq!((&described["status"], &described["error"]), (&json!(expected), &said));
        }
    }

    #[test]
    fn a_context_has_the_fields_and_types_of_one_that_was_recorded() {
        let recorded: Value = serde_json::from_str(RECORDED).unwrap();
        // The capture holds what Redis held, as a text.
        let result = &recorded["results"]["success_context"];
        let result: Value = result
            .as_str()
            .map_or_else(|| result.clone(), |text| serde_json::from_str(text).unwrap());
        let recorded = &result["result"];
        let fixture = Fixture::command(&["true"]);
        let earlier = task(vec![(
            "a.one",
            stage(StageState::Success, &json!({}), &json!({"n": 1}), None),
        )]);
        let built = build_arguments(
            &fixture.context,
            &earlier,
            &PathMap::default(),
            Timestamp::from_millis(9),
        );
        let context = &built["context"];
        let assert_alike = |ours: &Value, theirs: &Value, added: &[&str]| {
            let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
            for (field, value) in theirs {
                let kind = |value: &Value| (value.is_object(), value.is_string(), value.is_number(), value.is_null());
                assert_eq!(ours.get(field).map(kind), Some(kind(value)), "{field}");
            }
            for field in ours.keys() {
                assert!(theirs.contains_key(field) || added.contains(&field.as_str()), "{field}");
            }
        };
        // The gateway adds the status of the task.
        assert_alike(context, recorded, &["status"]);
        assert_alike(&context["input_params"], &recorded["input_params"], &[]);
        let stage = &recorded["stages"]["probe.noop"];
        assert_alike(&context["stages"]["a.one"], stage, &[]);
        assert_alike(&context["stages"]["demo.node"], stage, &[]);
    }
}
