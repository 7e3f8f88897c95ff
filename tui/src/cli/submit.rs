//! `onceover submit`: sends one request, and with `--wait` waits for its end.

use std::io;

use onceover_types::{Problem, StageState};
use onceover_wire::{
    StageView, SubmitRequest, SubmitResponse,
    client::{Client, ClientError},
};
use serde_json::{Map, Value};

use super::{
    args::SubmitArgs,
    failure::{CommandResult, Failure},
    follow::WaitStyle,
    out::{print, print_json, print_warning},
    watch,
};
use crate::{
    figures,
    theme::{glyph, word},
    view::{text, warned},
};

/// Runs the command.
pub async fn run(client: &Client, args: SubmitArgs) -> CommandResult {
    let request = SubmitRequest {
        task_name: args.node.to_string(),
        task_id: args.task.as_ref().map(ToString::to_string),
        callback: args.callback.clone(),
        input_data: read_input(&args)?,
        reuse: args.reuse.map(Into::into),
    };
    let mut response = match client.submit(&request).await {
        Err(ClientError::Refused(problem)) if !problem.errors.is_empty() => {
            let text = describe_refusal(&args, &request, &problem);
            return Err(Failure::refused(problem, text));
        }
        other => other?,
    };
    for warning in &response.warnings {
        print_warning(&warning.to_string());
    }
    if !args.json {
        print(&describe_answer(&response))?;
        print(&format!("reuse_info  {}", serde_json::to_string(&response.reuse_info)?))?;
    }
    if !args.wait {
        if args.json {
            print_json(&response)?;
        }
        return Ok(true);
    }
    let state = if response.status.in_flight() {
        watch::wait_for_end(client, &response.task_id, Some(&args.node), WaitStyle::Bar, |_| Ok(())).await?
    } else {
        StageState::Success
    };
    let status = client.status(&response.task_id, Some(&args.node)).await?;
    if args.json {
        // The answer as it would be now that the run has ended.
        response.status = state.into();
        response.result = Some(Box::new(status.result));
        print_json(&response)?;
    } else {
        let error = status
            .error
            .as_ref()
            .map_or(String::new(), |error| format!(": {error}"));
        let line = format!(
            "{} {} after {}{error}",
            glyph(state),
            word(state),
            figures::format_long(status.duration)
        );
        // A hit has ended before: there is nothing new to print.
        if response.status.in_flight() {
            print(&text::harmless(&line))?;
        }
        if state == StageState::Success {
            print(&format!("output      {}", status.output.get()))?;
        }
        let own = status.stages.get(&args.node);
        for warning in own.map(StageView::result_warnings).unwrap_or_default() {
            print(&text::harmless(&format!("⚠ {}", warned::describe_warning(&warning))))?;
        }
        let stages: Vec<_> = status
            .stages
            .iter()
            .map(|(node, stage)| warned::join_mark(&format!("{} {node}", glyph(stage.status)), stage.warnings))
            .collect();
        print(&format!("stages      {}", stages.join("   ")))?;
    }
    Ok(state == StageState::Success)
}

/// Joins the decision and the daemon's sentence.
pub(super) fn describe_answer(response: &SubmitResponse) -> String {
    let info = &response.reuse_info;
    let decision = if info.reuse_hit && info.state.is_none() {
        let saved = info.saved_seconds.map_or(String::new(), |saved| {
            format!(", {} saved", figures::format_long(saved))
        });
        let changed = match info.input_changed {
            Some(Some(true)) => ", though its input differs",
            Some(None) => ", whether its input is the same is not known",
            _ => "",
        };
        format!("↺ reused{saved}{changed}")
    } else if info.reuse_hit {
        "↺ joined the run in flight".into()
    } else {
        format!("◌ miss · {}", info.reason.as_deref().unwrap_or("it has to run"))
    };
    text::harmless(&format!(
        "{}  {}  {decision}  {}",
        response.task_id, info.task_name, response.message
    ))
}

/// Lists the fields that were refused, a line each, and says where to read what the node takes.
fn describe_refusal(args: &SubmitArgs, request: &SubmitRequest, problem: &Problem) -> String {
    let name = |field: &str| field.strip_prefix("input_data.").unwrap_or(field).to_owned();
    let names = problem.errors.iter().map(|error| text::width(&name(&error.field)));
    let column = usize::from(names.max().unwrap_or(0));
    let mut lines = vec![format!(
        "{} was not submitted: {} cannot be accepted",
        args.node,
        figures::count_noun(problem.errors.len(), "field")
    )];
    for error in &problem.errors {
        let name = name(&error.field);
        let pad = " ".repeat(column - usize::from(text::width(&name)));
        lines.push(format!("  {name}{pad}  {}", error.message));
        // `--set x=1` passes a number: say how to pass it as a text where one is needed.
        let value = request.input_data.get(&name);
        if args.input.is_none()
            && error.message.contains("a string")
            && let Some(value @ (Value::Number(_) | Value::Bool(_))) = value
        {
            lines.push(format!(
                "  {}  as a text: --set '{name}=\"{value}\"'",
                " ".repeat(column)
            ));
        }
    }
    let has_no_node = problem.errors.iter().any(|error| error.field == "task_name");
    lines.push(if has_no_node {
        "list the nodes: onceover nodes".to_owned()
    } else {
        format!("see what it takes: onceover nodes {}", args.node)
    });
    lines.join("\n")
}

/// Reads all of standard input.
fn read_stdin() -> Result<String, Failure> {
    io::read_to_string(io::stdin()).map_err(|error| Failure::new(format!("cannot read standard input: {error}")))
}

fn read_input(args: &SubmitArgs) -> Result<Map<String, Value>, Failure> {
    if let Some(json) = &args.input {
        let read;
        let json = match json.as_str() {
            "-" => {
                read = read_stdin()?;
                read.as_str()
            }
            json => json,
        };
        return match serde_json::from_str(json) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Failure::new(
                "--input: a JSON object is needed, such as '{\"video_path\": \"/videos/a.mp4\"}'",
            )),
            Err(error) => Err(Failure::new(format!("--input is not JSON: {error}"))),
        };
    }
    let mut object = Map::new();
    for field in &args.set {
        let (key, value) = field
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Failure::new(format!("--set {field}: KEY=VALUE is needed")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        object.insert(key.to_owned(), value);
    }
    Ok(object)
}
