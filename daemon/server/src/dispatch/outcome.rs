//! What a worker's answer says of a run. Those workers report a failure that they handled as a Celery SUCCESS: the stage in
//! the context that they return decides.

use onceover_celery::{ResultState, TaskResult};
use onceover_run::Object;
use serde_json::Value;

use super::paths::PathMap;

/// Characters of a progress message.
const LONGEST_MESSAGE: usize = 200;

/// How a message has ended.
#[derive(Debug, PartialEq)]
pub(super) enum MessageEnd {
    /// The stage's output, with paths of this machine.
    Output(Object),
    /// For people: why there is none.
    Failed(String),
    /// The process that ran it was lost: it may be run again.
    WorkerLost(String),
}

/// Reads how a message has ended; `None` while it goes on.
pub(super) fn read_end(result: &TaskResult, node: &str, paths: &PathMap) -> Option<MessageEnd> {
    match &result.state {
        ResultState::Success => Some(read_success(&result.result, node, paths)),
        ResultState::Failure => Some(read_failure(result)),
        ResultState::Revoked => Some(MessageEnd::Failed(format!(
            "another client revoked its message, or the worker refused it ({}); submit the stage again",
            result.exception_text()
        ))),
        ResultState::Unreadable(why) => Some(MessageEnd::Failed(format!("the worker's result cannot be used: {why}"))),
        _ => None,
    }
}

/// Reads the context that a worker returned.
fn read_success(returned: &Value, node: &str, paths: &PathMap) -> MessageEnd {
    let parsed;
    let context = match returned {
        // Some tasks return it as a text.
        Value::String(text) => {
            parsed = serde_json::from_str(text).unwrap_or(Value::Null);
            &parsed
        }
        context => context,
    };
    let Some(stage) = context.get("stages").and_then(|stages| stages.get(node)) else {
        return MessageEnd::Failed(format!(
            "the worker returned no context with the stage {node}, so its result cannot be read; it must return the context \
             that it gets"
        ));
    };
    let status = stage.get("status").and_then(Value::as_str).unwrap_or_default();
    match status.to_ascii_uppercase().as_str() {
        "SUCCESS" | "COMPLETED" => match stage.get("output") {
            Some(Value::Object(output)) => {
                let mut output = output.clone();
                output.values_mut().for_each(|value| paths.value_from_workers(value));
                MessageEnd::Output(output)
            }
            None | Some(Value::Null) => MessageEnd::Output(Object::new()),
            Some(_) => MessageEnd::Failed(format!("the worker returned an output of {node} that is no object")),
        },
        "FAILED" | "FAILURE" => {
            let errors = [stage.get("error"), context.get("error")];
            let error = errors.into_iter().flatten().find_map(|error| match error {
                Value::Null => None,
                Value::String(text) if text.is_empty() => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            });
            MessageEnd::Failed(error.unwrap_or_else(|| format!("the worker says that {node} failed, and not why")))
        }
        _ => MessageEnd::Failed(format!(
            "the worker returned the stage {node} as '{status}', which is no end; it must be SUCCESS or FAILED"
        )),
    }
}

fn read_failure(result: &TaskResult) -> MessageEnd {
    let text = result.exception_text();
    match result.exception_kind().unwrap_or_default() {
        _ if result.is_process_lost() => MessageEnd::WorkerLost(format!("the worker's process was lost: {text}")),
        "NotRegistered" => MessageEnd::Failed(format!(
            "the worker knows no task {text}; start one that has it on that queue, or set `task` of its service"
        )),
        "" => {
            let said = &result.result;
            let said = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
            MessageEnd::Failed(format!("the worker failed: {said}"))
        }
        kind => MessageEnd::Failed(result.exception().unwrap_or_else(|| kind.to_owned())),
    }
}

/// What a worker says while its task goes on.
#[derive(Debug, PartialEq)]
pub(super) struct WorkerProgress {
    /// 0 where it names none.
    pub(super) percent: f64,
    pub(super) message: String,
}

/// Reads a state of a task that goes on; `None` where it says nothing.
pub(super) fn read_progress(result: &TaskResult) -> Option<WorkerProgress> {
    let message = match &result.state {
        ResultState::Started => match &result.hostname {
            Some(hostname) => format!("running on {hostname}"),
            None => "running on a worker".to_owned(),
        },
        ResultState::Retry => format!("the worker tries again: {}", result.exception_text()),
        ResultState::Custom(state) => {
            let said = ["message", "phase", "step", "status"];
            let said = said.iter().find_map(|field| result.result.get(*field)?.as_str());
            match said {
                Some(said) => said.to_owned(),
                None => state.to_lowercase(),
            }
        }
        _ => return None,
    };
    let percent = match &result.state {
        ResultState::Custom(_) => read_percent(&result.result).unwrap_or_default(),
        _ => 0.0,
    };
    Some(WorkerProgress {
        percent,
        message: message.chars().take(LONGEST_MESSAGE).collect(),
    })
}

/// The percentage that a custom state names: `percent`, `progress`, or `current` of `total`.
fn read_percent(result: &Value) -> Option<f64> {
    let number = |field: &str| result.get(field).and_then(Value::as_f64);
    if let Some(percent) = number("percent").or_else(|| number("progress")) {
        return Some(percent);
    }
    let (current, total) = (number("current")?, number("total")?);
    (total > 0.0).then(|| current / total * 100.0)
}

#[cfg(test)]
mod tests {
    use onceover_celery::MessageId;
    use serde_json::json;

    use super::*;

    const NODE: &str = "demo.node";

    fn success(returned: &Value) -> MessageEnd {
        read_success(returned, NODE, &PathMap::default())
    }

    fn failure(result: Value) -> TaskResult {
        TaskResult {
            id: MessageId::generate(),
            state: ResultState::Failure,
            result,
            traceback: None,
            hostname: None,
            pid: None,
            date_done: None,
        }
    }

    fn context(stage: &Value) -> Value {
        json!({"workflow_id": "t1", "stages": {"other.node": {"status": "FAILED"}, NODE: stage}, "error": null})
    }

    #[test]
    fn the_returned_stage_decides_and_its_paths_are_of_this_machine() {
        let folders = [("/data".to_owned(), "/share".to_owned())];
        let paths = PathMap::new(&folders.into_iter().collect());
        let returned = context(&json!({"status": "success", "output": {"file": "/share/a", "n": 1}}));
        let MessageEnd::Output(output) = read_success(&returned, NODE, &paths) else {
            panic!("a success");
        };
        assert_eq!(Value::Object(output), json!({"file": "/data/a", "n": 1}));
        let text = Value::String(context(&json!({"status": "SUCCESS", "output": {}})).to_string());
        assert_eq!(success(&text), MessageEnd::Output(Object::new()));
    }

    #[test]
    fn a_handled_failure_has_the_stages_error() {
        let failed = |stage: Value| match success(&context(&stage)) {
            MessageEnd::Failed(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            failed(json!({"status": "FAILED", "error": "no such codec"})),
            "no such codec"
        );
        assert!(failed(json!({"status": "FAILED"})).contains("not why"));
        assert!(failed(json!({"status": "IN_PROGRESS"})).contains("'IN_PROGRESS'"));
        assert!(failed(json!({"status": "SUCCESS", "output": 5})).contains("no object"));
        for other in [json!({"n": 1}), json!(null), json!("words"), json!({"stages": {}})] {
            assert!(
                matches!(success(&other), MessageEnd::Failed(why) if why.contains("no context")),
                "{other}"
            );
        }
    }

    #[test]
    fn an_exception_is_named_and_a_lost_process_is_none() {
        for (result, expected) in [
            (
                json!({"exc_type": "ValueError", "exc_message": ["no such codec"], "exc_module": "builtins"}),
                "ValueError: no such codec",
            ),
            (
                json!({"exc_type": "KeyError", "exc_message": ["a", 5]}),
                "KeyError: a, 5",
            ),
            (json!({"exc_type": "Oops", "exc_message": []}), "Oops"),
            (json!("plain words"), "the worker failed: plain words"),
        ] {
            assert_eq!(read_failure(&failure(result)), MessageEnd::Failed(expected.to_owned()));
        }
        let lost = json!({"exc_type": "WorkerLostError", "exc_message": ["Worker exited prematurely: signal 9"]});
        assert!(matches!(read_failure(&failure(lost)), MessageEnd::WorkerLost(why) if why.contains("signal 9")));
        let unknown = json!({"exc_type": "NotRegistered", "exc_message": ["svc.nope"]});
        assert!(matches!(read_failure(&failure(unknown)), MessageEnd::Failed(why) if why.contains("svc.nope")));
    }

    #[test]
    fn progress_is_read_in_the_ways_that_tasks_write_it() {
        for (result, expected) in [
            (json!({"current": 1, "total": 4}), Some(25.0)),
            (json!({"percent": 12.5}), Some(12.5)),
            (json!({"progress": 40, "current": 1, "total": 2}), Some(40.0)),
            (json!({"current": 1, "total": 0}), None),
            (json!({"phase": "encode"}), None),
            (json!("words"), None),
        ] {
            assert_eq!(read_percent(&result), expected, "{result}");
        }
    }
}
