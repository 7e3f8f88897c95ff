//! Says why a stage was run: the reuse decision in words.

use onceover_wire::StageSummary;

/// Says why a run was started (R4); `None` if the reason is not known here.
pub fn describe_reason(reason: Option<&str>) -> Option<&'static str> {
    Some(match reason? {
        "absent" => "there was no earlier result under this task",
        "failed" => "the earlier run failed",
        "cancelled" => "the earlier run was cancelled",
        "empty_output" => "the earlier result was empty",
        "forced" => "a run was forced, whatever is stored",
        "input_changed" => "the stored result came from other input, and the request was strict",
        "input_unknown" => {
            "whether the stored result came from the same input is not known, and the request was strict"
        }
        "retryable_warnings" => {
            "a warning of the stored result says that running again could give a better one, and the request was strict"
        }
        "artifact_missing" => "files of the stored result were no longer on disk",
        "artifact_changed" => "files of the stored result had changed on disk",
        "lost" => "the worker that ran it before had stopped sending heartbeats",
        "policy_off" => "results of this node are not reused, by its configuration",
        _ => return None,
    })
}

/// Describes the reuse decision that led to the run.
pub fn describe_decision(stage: &StageSummary) -> String {
    match (stage.reason.as_deref(), describe_reason(stage.reason.as_deref())) {
        (Some(reason), Some(why)) => format!("miss · {reason}: {why}."),
        (Some(reason), None) => format!("miss · {reason}."),
        (None, _) if stage.run_id.is_none() => "It was written by another worker; there is no record of why.".into(),
        (None, _) => "The reason was not recorded.".into(),
    }
}
