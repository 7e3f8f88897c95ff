//! The reference as Markdown.

use std::fmt::Write;

use onceover_catalog::{DeviceQueues, NodeSpec, ParameterSpec, Profile, ReusePolicy, RunnerSpec, ValueKind};
use serde_json::Value;

use super::{Exchange, NodeRecording, Recordings};

const HEAD: &str = include_str!("../../reference/head.md");

const STAND_IN: &str = "The answers below are of a stand-in with the documented outputs: the node's packages and models are not there where they are recorded.";

/// The whole document. A node without a recording has a section that says so; a test lets none pass.
pub fn render(catalog: &[NodeSpec], recordings: &Recordings) -> String {
    let mut text = general(recordings);
    text.push_str("\n## The nodes\n\n");
    text.push_str("| node | what it does | queue | runner |\n|---|---|---|---|\n");
    for spec in catalog {
        let _ = writeln!(
            text,
            "| [`{name}`](#{anchor}) | {title} | {queue} | {runner} |",
            name = spec.name,
            anchor = anchor(spec.name.as_str()),
            title = cell(&spec.title),
            queue = spec.queue,
            runner = spec.runner.kind(),
        );
    }
    for spec in catalog {
        section(&mut text, spec, recordings.nodes.get(spec.name.as_str()));
    }
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    text.trim_end().to_owned() + "\n"
}

/// The general part: `head.md` with the recorded calls in the place of `{{name}}`.
fn general(recordings: &Recordings) -> String {
    let mut text = HEAD.to_owned();
    for (name, exchange) in &recordings.general.exchanges {
        text = text.replace(&format!("{{{{{name}}}}}"), shown(exchange).trim_end());
    }
    for (name, delivered) in &recordings.general.callbacks {
        let headers: String = delivered
            .headers
            .iter()
            .map(|(header, value)| format!("{header}: {value}\n"))
            .collect();
        let block = format!("```http\n{headers}```\n\n{}", json(&delivered.body));
        text = text.replace(&format!("{{{{{name}}}}}"), block.trim_end());
    }
    text
}

/// As GitHub makes them of headings.
fn anchor(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
        .collect::<String>()
        .to_lowercase()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn code(value: &Value) -> String {
    format!("`{}`", cell(&value.to_string()))
}

fn kind(kind: ValueKind) -> String {
    serde_json::to_value(kind)
        .ok()
        .and_then(|value| Some(value.as_str()?.to_owned()))
        .unwrap_or_default()
}

fn section(text: &mut String, spec: &NodeSpec, recording: Option<&NodeRecording>) {
    let _ = write!(text, "\n## {}\n\n**{}.** {}\n\n", spec.name, spec.title, spec.purpose);
    let stands_in = recording.is_some_and(|recording| recording.stand_in);
    match (&spec.tested, stands_in) {
        (Some(tested), true) => {
            let _ = writeln!(text, "> **{}.** {STAND_IN}\n", capital(tested));
        }
        (Some(tested), false) => {
            let _ = writeln!(text, "> **{}.**\n", capital(tested));
        }
        (None, true) => {
            let _ = writeln!(text, "> {STAND_IN}\n");
        }
        (None, false) => {}
    }
    how_it_runs(text, spec);
    parameters(text, spec);
    outputs(text, spec);
    answers(text, recording);
}

/// Writes where a node runs, what it needs and when its results are reused.
fn how_it_runs(text: &mut String, spec: &NodeSpec) {
    let runner = match &spec.runner {
        RunnerSpec::Builtin(_) => "built into the daemon".to_owned(),
        RunnerSpec::Command(command) => format!("the program `{}`", command.join(" ")),
        RunnerSpec::Python(program) => {
            let service = spec.name.as_str().split('.').next().unwrap_or_default();
            format!("`{program}` in the environment of its service: `onceoverd nodes install {service}`")
        }
        RunnerSpec::Celery(task) => format!("the task `{task}` of Celery workers"),
    };
    let _ = writeln!(text, "| | |\n|---|---|");
    let _ = match spec.queue.by_device() {
        None => writeln!(text, "| queue | `{}` |", spec.queue),
        Some(DeviceQueues { by, gpu, otherwise }) => writeln!(
            text,
            "| queue | by `{by}`: `{gpu}` on a GPU (`auto` is one where the daemon's machine has one), else `{otherwise}` |"
        ),
    };
    let _ = writeln!(text, "| time limit | {} s |", spec.timeout_seconds);
    let _ = writeln!(text, "| runner | {runner} |");
    let _ = writeln!(text, "| reuse fields | {} |", reuse_fields(spec));
    let needs = needs(spec);
    if !needs.is_empty() {
        let _ = writeln!(text, "| needs | {needs} |");
    }
    let _ = writeln!(text, "\n{}\n", reuse_rule(spec));
}

/// Writes the parameters, and which of them earlier stages can give.
fn parameters(text: &mut String, spec: &NodeSpec) {
    text.push_str("### Parameters\n\n");
    if spec.parameters.is_empty() {
        text.push_str("None.\n");
    } else {
        text.push_str("| name | type | required | default | allowed | meaning |\n|---|---|---|---|---|---|\n");
        for parameter in &spec.parameters {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                names(parameter),
                kinds(parameter),
                if parameter.required { "yes" } else { "no" },
                defaults(parameter),
                allowed(parameter),
                cell(&parameter.meaning),
            );
        }
    }
    for group in &spec.one_of {
        let names: Vec<_> = group.iter().map(|name| format!("`{name}`")).collect();
        let of = if names.len() == 1 { "" } else { "One of " };
        let _ = writeln!(
            text,
            "\n{of}{} must be given or come from an earlier stage.",
            names.join(", ")
        );
    }
    fallbacks(text, spec);
}

/// The default, and those in its place with a profile.
fn defaults(parameter: &ParameterSpec) -> String {
    let usual = parameter.default.as_ref().map(code);
    let by_profile = Profile::ALL.into_iter().filter_map(|profile| {
        let default = parameter.default_by_profile.get(profile)?;
        Some(format!("{} with the profile `{profile}`", code(default)))
    });
    let all: Vec<_> = usual.into_iter().chain(by_profile).collect();
    all.join("; ")
}

/// Writes the outputs that the node declares.
fn outputs(text: &mut String, spec: &NodeSpec) {
    text.push_str("\n### Outputs\n\n");
    if spec.outputs.is_empty() {
        text.push_str("None declared.\n");
    } else {
        text.push_str("| name | type | meaning |\n|---|---|---|\n");
        for output in &spec.outputs {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} |",
                output.name,
                kind(output.kind),
                cell(&output.meaning)
            );
        }
    }
}

/// Writes the answers that were recorded.
fn answers(text: &mut String, recording: Option<&NodeRecording>) {
    match recording {
        None => text.push_str("\nNothing was recorded of this node yet: `make reference`.\n"),
        Some(recording) => {
            let _ = write!(
                text,
                "\n### Miss: the stage is not there yet, a run is queued\n\n{}",
                shown(&recording.miss)
            );
            let _ = write!(
                text,
                "\n### In flight: the same request while that run waits or runs\n\n{}",
                answer(&recording.in_flight)
            );
            let _ = write!(
                text,
                "\n### Hit: the same request after it has succeeded\n\n{}",
                answer(&recording.hit)
            );
        }
    }
}

fn reuse_fields(spec: &NodeSpec) -> String {
    if spec.reuse_fields.is_empty() {
        return "none declared".into();
    }
    let fields: Vec<_> = spec.reuse_fields.iter().map(|field| format!("`{field}`")).collect();
    fields.join(", ")
}

fn reuse_rule(spec: &NodeSpec) -> String {
    let counts = match spec.reuse_fields.as_slice() {
        [] => "its output is not empty".to_owned(),
        [one] => format!("`{one}` of its output is there and not empty"),
        fields => {
            let fields: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
            format!("{} of its output are there and not empty", fields.join(" and "))
        }
    };
    let files = if spec.outputs.iter().any(|output| output.kind == ValueKind::Path) {
        ", and the files it names are as the run wrote them"
    } else {
        ""
    };
    let policy = match spec.reuse {
        ReusePolicy::Auto => {
            "Other input is still a hit and said with `input_changed`; `\"reuse\": \"strict\"` makes it a miss."
        }
        ReusePolicy::Strict => "Other input is a miss, unless the request says `\"reuse\": \"auto\"`.",
        ReusePolicy::Refuse => "Other input under the same task is refused with 409.",
        ReusePolicy::Off => "But a request that says nothing about reuse always runs it again.",
    };
    format!("**Reuse:** a hit when the stage under this `task_id` is SUCCESS, {counts}{files}. {policy}")
}

fn allowed(parameter: &ParameterSpec) -> String {
    let mut parts = Vec::new();
    if !parameter.allowed.is_empty() {
        parts.push(parameter.allowed.iter().map(code).collect::<Vec<_>>().join(", "));
    }
    match (parameter.min, parameter.max) {
        (Some(min), Some(max)) => parts.push(format!("{min} to {max}")),
        (Some(min), None) => parts.push(format!("{min} and more")),
        (None, Some(max)) => parts.push(format!("up to {max}")),
        (None, None) => {}
    }
    let unit = match parameter.kind {
        ValueKind::Array => "elements",
        _ => "characters",
    };
    match (parameter.min_length, parameter.max_length) {
        (Some(min), Some(max)) if min == max => parts.push(format!("{min} {unit}")),
        (Some(min), Some(max)) => parts.push(format!("{min} to {max} {unit}")),
        (Some(min), None) => parts.push(format!("{min} {unit} and more")),
        (None, Some(max)) => parts.push(format!("up to {max} {unit}")),
        (None, None) => {}
    }
    parts.join("; ")
}

/// Its name, and those it may have as well.
fn names(parameter: &ParameterSpec) -> String {
    let others = parameter.aliases.iter().map(|name| format!(", also `{name}`"));
    format!("`{}`{}", parameter.name, others.collect::<String>())
}

fn kinds(parameter: &ParameterSpec) -> String {
    let first = match parameter.items {
        Some(items) => format!("{} of {}", kind(parameter.kind), kind(items)),
        None => kind(parameter.kind),
    };
    let others = parameter.also.iter().map(|other| format!(" or {}", kind(*other)));
    first + &others.collect::<String>()
}

/// What must be on the machine, read loosely: further kinds of needs come without a change here.
fn needs(spec: &NodeSpec) -> String {
    let needs = serde_json::to_value(&spec.needs).unwrap_or_default();
    let listed = |key: &str, inside: &str, words: &str| -> Vec<String> {
        let items = needs[key].as_array().into_iter().flatten();
        items
            .filter_map(|item| item.as_str().or_else(|| item[inside].as_str()))
            .map(|name| words.replace('@', &format!("`{name}`")))
            .collect()
    };
    let mut parts = listed("programs", "name", "@");
    parts.extend(listed("environment", "variable", "the variable @"));
    parts.extend(listed("keys", "variable", "the variable @ for paid services"));
    parts.extend(listed("models", "parameter", "the model that @ names"));
    if let Some(parameter) = needs["gpu"].as_str() {
        parts.push(format!("a GPU where `{parameter}` asks for one"));
    }
    if spec.queue.names().any(|name| name == "llm") {
        let settings = "../../configuration.md#language-models";
        parts.push(format!(
            "a [language model]({settings}): its key in the daemon's environment (`DEEPSEEK_API_KEY` of the default one), or one of your own without a key"
        ));
    }
    parts.join(", ")
}

fn capital(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn fallbacks(text: &mut String, spec: &NodeSpec) {
    let with: Vec<_> = spec
        .parameters
        .iter()
        .filter(|parameter| !parameter.fallbacks.is_empty())
        .collect();
    if with.is_empty() {
        return;
    }
    text.push_str("\nLeft out, a parameter comes from the first of these outputs of the same task that is there and not empty:\n\n");
    for parameter in with {
        let sources: Vec<_> = parameter
            .fallbacks
            .iter()
            .map(|fallback| format!("`{}`.`{}`", fallback.node, fallback.field))
            .collect();
        let _ = writeln!(text, "- `{}`: {}", parameter.name, sources.join(", then "));
    }
}

fn json(value: &Value) -> String {
    format!(
        "```json\n{}\n```\n",
        serde_json::to_string_pretty(value).unwrap_or_default()
    )
}

/// A call with its request and its answer.
pub(super) fn shown(exchange: &Exchange) -> String {
    let mut text = format!("`{}`\n\n", exchange.call);
    if !exchange.request.is_null() {
        text.push_str(&json(&exchange.request));
        text.push('\n');
    }
    text + &answer(exchange)
}

fn answer(exchange: &Exchange) -> String {
    format!("Answer, {}:\n\n{}", exchange.status, json(&exchange.answer))
}
