//! The log of commands: what this session has asked the daemon to change, each as the `onceover` command and as the
//! line with curl that do the same. Neither the token nor a secret input is in them.

use onceover_types::{NodeName, TaskId};
use onceover_wire::ReuseMode;
use serde::Serialize;

use super::{
    messages::{Call, Effect},
    shell::{quote, quote_url},
};
use crate::model::{Model, commands::DoneCommand, secrets::hide_input};

/// The daemon that commands ask where none is named.
const DEFAULT_DAEMON: &str = "http://127.0.0.1:8788";

/// Keeps the actions among what is about to be sent.
pub fn note_actions(model: &mut Model, effects: &[Effect]) {
    for effect in effects {
        if let Effect::Call { id, call } = effect
            && call.changes()
        {
            let done = DoneCommand {
                id: *id,
                at: model.now,
                command: write_command(call, &model.daemon),
                curl: write_curl(call, &model.daemon),
            };
            model.commands.add(done);
        }
    }
}

/// Writes the `onceover` command that does the same; `None` where there is none.
fn write_command(call: &Call, daemon: &str) -> Option<String> {
    let mut words = vec!["onceover".to_owned()];
    if daemon != DEFAULT_DAEMON {
        words.extend(["--daemon".to_owned(), daemon.to_owned()]);
    }
    words.extend(list_words(call)?);
    let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
    Some(quoted.join(" "))
}

/// Lists the words of the command, from its name on.
fn list_words(call: &Call) -> Option<Vec<String>> {
    let (name, target) = match call {
        Call::Cancel { task, node } => ("cancel", name_target(task, node.as_ref())),
        Call::Delete { task, .. } => ("delete", task.to_string()),
        Call::Resubmit { task, node, .. } => ("resubmit", name_target(task, Some(node))),
        Call::Redeliver { id } => ("redeliver", id.clone()),
        Call::RunVideo { video, .. } => ("run", video.to_string()),
        Call::Submit { request, .. } => ("submit", request.task_name.clone()),
        Call::RegisterVideo { request } => ("register", request.path.clone().or_else(|| request.url.clone())?),
        _ => return None,
    };
    let mut words = vec![name.to_owned(), target];
    let mut add = |option: &str, value: Option<&str>| {
        if let Some(value) = value {
            words.extend([option.to_owned(), value.to_owned()]);
        }
    };
    let is_forced = match call {
        Call::Delete { force, .. } => *force,
        Call::RunVideo { pipeline, force, .. } => {
            add("--pipeline", pipeline.as_deref());
            *force
        }
        Call::Resubmit { reuse, .. } => {
            add("--reuse", Some(reuse.as_str()).filter(|_| *reuse != ReuseMode::Auto));
            false
        }
        Call::Submit { request, .. } => {
            let input = serde_json::to_string(&hide_input(&request.input_data)).ok()?;
            add("--task", request.task_id.as_deref());
            add("--input", Some(&input));
            add("--callback", request.callback.as_deref());
            add("--reuse", request.reuse.map(ReuseMode::as_str));
            false
        }
        Call::RegisterVideo { request } => {
            add("--id", request.video_id.as_deref());
            add("--title", request.title.as_deref());
            false
        }
        _ => false,
    };
    if is_forced {
        words.push("--force".to_owned());
    }
    Some(words)
}

/// Names a task, or a stage of it, as commands take it: `film/ffmpeg.extract_audio`.
fn name_target(task: &TaskId, node: Option<&NodeName>) -> String {
    match node {
        Some(node) => format!("{task}/{node}"),
        None => task.to_string(),
    }
}

/// Writes the line with curl that does the same.
fn write_curl(call: &Call, daemon: &str) -> String {
    let post = |path: String| write_request(daemon, "POST", &path, None);
    match call {
        Call::Cancel { task, node: None } => write_request(daemon, "DELETE", &format!("/v1/tasks/{task}"), None),
        Call::Cancel { task, node: Some(node) } => {
            write_request(daemon, "DELETE", &format!("/v1/tasks/{task}?task_name={node}"), None)
        }
        Call::Delete { task, force } => {
            let body = serde_json::json!({ "force": force }).to_string();
            write_request(daemon, "POST", &format!("/v1/tasks/{task}/delete"), Some(&body))
        }
        Call::Resubmit { task, node, reuse } => {
            let body = serde_json::json!({ "reuse": reuse.as_str() }).to_string();
            let path = format!("/v1/tasks/{task}/stages/{node}/resubmit");
            write_request(daemon, "POST", &path, Some(&body))
        }
        Call::Redeliver { id } => post(format!("/v1/callbacks/{id}/redeliver")),
        Call::Submit { request, .. } => {
            let mut request = request.clone();
            request.input_data = hide_input(&request.input_data);
            write_with(daemon, "/v1/tasks", &request)
        }
        Call::RunVideo { video, pipeline, force } => {
            let named = pipeline
                .as_ref()
                .map(|name| format!("&pipeline={name}"))
                .unwrap_or_default();
            post(format!("/api/v1/videos/{video}/run_sync?force={force}{named}"))
        }
        Call::Reprocess { video, request } => write_with(daemon, &format!("/api/v1/videos/{video}/reprocess"), request),
        Call::RegisterVideo { request } => write_with(daemon, "/api/v1/videos", request),
        Call::DeleteVideo {
            video,
            with_task,
            force,
        } => {
            let path = format!("/api/v1/videos/{video}?with_task={with_task}&force={force}");
            write_request(daemon, "DELETE", &path, None)
        }
        // Reads are no actions.
        _ => String::new(),
    }
}

/// Writes a request with a body.
fn write_with(daemon: &str, path: &str, body: &impl Serialize) -> String {
    let body = serde_json::to_string(body).unwrap_or_default();
    write_request(daemon, "POST", path, Some(&body))
}

fn write_request(daemon: &str, method: &str, path: &str, body: Option<&str>) -> String {
    let url = quote_url(daemon, path);
    match body {
        // It sets the type of the content, and asks with POST.
        Some(body) => format!("curl --json {} {url}", quote(body)),
        None => format!("curl -X {method} {url}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_does_what_the_action_did_and_a_shell_reads_it_as_it_is_meant() {
        let node = || "ffmpeg.extract_audio".parse().unwrap();
        let call = Call::Resubmit {
            task: "lecture-07".parse().unwrap(),
            node: node(),
            reuse: ReuseMode::Never,
        };
        assert_eq!(
            write_command(&call, DEFAULT_DAEMON).as_deref(),
            Some("onceover resubmit lecture-07/ffmpeg.extract_audio --reuse never")
        );
        assert_eq!(
            write_curl(&call, DEFAULT_DAEMON),
            r#"curl --json '{"reuse":"never"}' http://127.0.0.1:8788/v1/tasks/lecture-07/stages/ffmpeg.extract_audio/resubmit"#
        );
        let call = Call::Cancel {
            task: "t1".parse().unwrap(),
            node: Some(node()),
        };
        assert_eq!(
            write_command(&call, "http://gpu-box:8788").as_deref(),
            Some("onceover --daemon http://gpu-box:8788 cancel t1/ffmpeg.extract_audio")
        );
        assert_eq!(
            write_curl(&call, "http://gpu-box:8788"),
            "curl -X DELETE 'http://gpu-box:8788/v1/tasks/t1?task_name=ffmpeg.extract_audio'"
        );
        let request = onceover_wire::SubmitRequest {
            task_name: "translate.ask".into(),
            task_id: None,
            callback: None,
            input_data: serde_json::Map::from_iter([("api_key".to_owned(), "sk-1".into())]),
            reuse: None,
        };
        let call = Call::Submit {
            request: Box::new(request),
            form: 1,
        };
        assert_eq!(
            write_command(&call, DEFAULT_DAEMON).as_deref(),
            Some(r#"onceover submit translate.ask --input '{"api_key":"****"}'"#)
        );
        assert!(!write_curl(&call, DEFAULT_DAEMON).contains("sk-1"));
        assert_eq!([quote("it's"), quote(""), quote("a b")], [r"'it'\''s'", "''", "'a b'"]);
    }
}
