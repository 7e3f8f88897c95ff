//! What a worker gets: the context of the task, as the older gateway sends it, with the paths of the workers.

use onceover_run::RunContext;
use onceover_types::Timestamp;
use serde_json::{Map, Value, json};

use super::paths::PathMap;

/// Builds the arguments of the Celery task. The context names no callback, since those workers would send it themselves
/// (C3), and as storage the folder of this attempt alone, so that two attempts do not write into each other's files.
pub(super) fn build_arguments(context: &RunContext, paths: &PathMap, now: Timestamp) -> Value {
    let node = context.node.name.as_str();
    let mut stages = Map::new();
    for (name, output) in &context.stages {
        stages.insert(name.to_string(), stage("SUCCESS", &Value::Object(output.clone())));
    }
    stages.insert(node.to_owned(), stage("pending", &json!({})));
    let mut built = json!({
        "workflow_id": context.task_id,
        "create_at": now,
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

fn stage(status: &str, output: &Value) -> Value {
    json!({"status": status, "input_params": {}, "output": output, "error": null, "duration": 0.0})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, object};

    #[test]
    fn c3_a_worker_gets_the_whole_task_and_its_attempts_folder_and_no_callback() {
        let mut fixture = Fixture::command(&["true"]);
        fixture.context.input = object(json!({"video_path": "/data/films/a.mp4", "n": 1}));
        fixture.stage("ffmpeg.extract_audio", json!({"audio_path": "/data/tasks/t1/a.wav"}));
        let dir = fixture.context.dir.to_string_lossy().into_owned();
        let folders = [
            ("/data".to_owned(), "/share".to_owned()),
            (dir, "/share/workflows/t1/runs/r1".to_owned()),
        ];
        let paths = PathMap::new(&folders.into_iter().collect());
        let now = Timestamp::from_millis(0);
        let arguments = build_arguments(&fixture.context, &paths, now);
        assert_eq!(
            arguments,
            json!({"context": {
                "workflow_id": "t1",
                "create_at": now,
                "input_params": {
                    "task_name": "demo.node",
                    "input_data": {"video_path": "/share/films/a.mp4", "n": 1},
                    "callback_url": null,
                },
                "stages": {
                    "ffmpeg.extract_audio": {
                        "status": "SUCCESS", "input_params": {}, "output": {"audio_path": "/share/tasks/t1/a.wav"},
                        "error": null, "duration": 0.0,
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
}
