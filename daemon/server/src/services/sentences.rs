//! What answers say of a decision: a reason code, or the warnings of a result, as a part of a sentence.

use onceover_wire::WarningCount;

/// A reason code as the rest of a sentence.
pub fn in_words(reason: &str) -> &str {
    match reason {
        "hit" => "the stage has succeeded and its output counts",
        "in_flight" => "a run of it is under way",
        "absent" => "no earlier run of this node under this task",
        "failed" => "the last run failed",
        "cancelled" => "the last run was cancelled",
        "empty_output" => "the last run succeeded without the output that counts",
        "forced" => "asked to run whatever is stored",
        "input_changed" => {
            "the stored result came from other input: other parameters, other files under the same names, or a stage that has run again since"
        }
        "input_unknown" => "whether the stored result came from the same files and stages is not known",
        "retryable_warnings" => "a warning of the stored result says that running again could give a better one",
        "artifact_missing" => "files of the stored result are missing",
        "artifact_changed" => "files of the stored result have changed since",
        "lost" => "the last run was lost: its worker was not heard of any more",
        "not_ready" => "this machine lacks what the node needs",
        "unknown_node" => "no node of this name is in the catalog; another worker wrote the stage",
        "input_missing" => "nothing gives a parameter that was left to earlier stages",
        "policy_off" => "the results of this node are not reused, by its configuration",
        other => other,
    }
}

/// What a sentence about a reused result says of its warnings.
pub fn with_warnings(warned: WarningCount) -> String {
    let count = match warned.warnings {
        0 => return String::new(),
        1 => ", with a warning".to_owned(),
        count => format!(", with {count} warnings"),
    };
    match warned.retryable {
        true => count + " that another run could do without",
        false => count,
    }
}
