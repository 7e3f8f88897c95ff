//! `assets/n8n`: the workflows as n8n would run them. Their HTTP requests are sent to a daemon as they stand in the files,
//! from the trigger along the connections to an end. What this does not know of n8n fails.

use std::{collections::HashMap, fs, path::Path, time::Duration};

use onceover_tests::{Daemon, HttpAnswer, callbacks::Receiver, hooks::daemon_that_calls, media};
use serde_json::{Map, Value, json};

const CALLBACK: &str = include_str!("../../assets/n8n/submit-and-wait-for-callback.json");
const POLL: &str = include_str!("../../assets/n8n/submit-and-poll.json");
/// Types of nodes with the version whose parameters are known here.
const NODES: [(&str, f64); 6] = [
    ("n8n-nodes-base.manualTrigger", 1.0),
    ("n8n-nodes-base.set", 3.4),
    ("n8n-nodes-base.httpRequest", 4.2),
    ("n8n-nodes-base.wait", 1.1),
    ("n8n-nodes-base.if", 2.2),
    ("n8n-nodes-base.stopAndError", 1.0),
];

/// Where a workflow ended.
#[derive(Debug)]
enum End {
    /// After this node, with this item.
    Item(String, Value),
    /// Stopped by a node that tells an error.
    Error(String, String),
}

/// One execution of a workflow.
struct Execution {
    nodes: HashMap<String, Value>,
    connections: Value,
    /// Items of nodes that have run, by name.
    items: HashMap<String, Value>,
    resume: Receiver,
    requests: usize,
}

impl Execution {
    async fn new(workflow: &Value) -> Self {
        let nodes = workflow["nodes"].as_array().unwrap();
        let named = |node: &Value| (node["name"].as_str().unwrap().to_owned(), node.clone());
        Self {
            nodes: nodes.iter().map(named).collect(),
            connections: workflow["connections"].clone(),
            items: HashMap::new(),
            resume: Receiver::start().await,
            requests: 0,
        }
    }

    async fn run(mut self) -> (End, usize) {
        let is_trigger = |node: &&Value| node["type"] == "n8n-nodes-base.manualTrigger";
        let mut name = self.nodes.values().find(is_trigger).unwrap()["name"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut item = json!({});
        loop {
            let node = self.nodes[&name].clone();
            let parameters = node["parameters"].as_object().unwrap();
            let mut output = 0;
            match node["type"].as_str().unwrap() {
                "n8n-nodes-base.manualTrigger" => known(parameters, &[]),
                "n8n-nodes-base.set" => item = self.set(parameters, &item),
                "n8n-nodes-base.httpRequest" => item = self.request(parameters, &item).await,
                "n8n-nodes-base.wait" => item = self.wait(parameters, item).await,
                "n8n-nodes-base.if" => output = usize::from(!self.is_true(parameters, &item)),
                "n8n-nodes-base.stopAndError" => {
                    known(parameters, &["errorMessage"]);
                    return (
                        End::Error(name, self.text(&parameters["errorMessage"], &item)),
                        self.requests,
                    );
                }
                other => panic!("{name} is of a type that is not known: {other}"),
            }
            self.items.insert(name.clone(), item.clone());
            let next = &self.connections[&name]["main"][output];
            match next.as_array().map(Vec::as_slice) {
                None | Some([]) => return (End::Item(name, item), self.requests),
                Some([next]) => {
                    assert_eq!((&next["type"], &next["index"]), (&json!("main"), &json!(0)));
                    name = next["node"].as_str().unwrap().to_owned();
                }
                Some(_) => panic!("{name} leads to several nodes, which is not known here"),
            }
        }
    }

    fn set(&self, parameters: &Map<String, Value>, item: &Value) -> Value {
        known(parameters, &["assignments", "options"]);
        let assignments = parameters["assignments"]["assignments"].as_array().unwrap();
        let set = assignments.iter().map(|one| {
            assert_eq!(one["type"], "string");
            (
                one["name"].as_str().unwrap().to_owned(),
                self.value(&one["value"], item),
            )
        });
        Value::Object(set.collect())
    }

    /// Sends the request and answers the body; any answer but 2xx ends an execution of n8n.
    async fn request(&mut self, parameters: &Map<String, Value>, item: &Value) -> Value {
        let all = [
            "method",
            "url",
            "sendBody",
            "specifyBody",
            "jsonBody",
            "sendQuery",
            "queryParameters",
            "options",
        ];
        known(parameters, &all);
        let method = parameters
            .get("method")
            .map_or("GET", |method| method.as_str().unwrap());
        let mut request = reqwest::Client::new().request(method.parse().unwrap(), self.text(&parameters["url"], item));
        if parameters.get("sendQuery") == Some(&json!(true)) {
            for one in parameters["queryParameters"]["parameters"].as_array().unwrap() {
                request = request.query(&[(one["name"].as_str().unwrap(), self.text(&one["value"], item))]);
            }
        }
        if parameters.get("sendBody") == Some(&json!(true)) {
            assert_eq!(parameters["specifyBody"], "json");
            let body = self.text(&parameters["jsonBody"], item);
            let body: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
            request = request.json(&body);
        }
        self.requests += 1;
        let answer = HttpAnswer::of(request.send().await.unwrap()).await;
        assert!((200..300).contains(&answer.status), "{answer:?}");
        answer.json()
    }

    async fn wait(&self, parameters: &Map<String, Value>, item: Value) -> Value {
        match parameters["resume"].as_str().unwrap() {
            "webhook" => {
                known(
                    parameters,
                    &[
                        "resume",
                        "httpMethod",
                        "limitWaitTime",
                        "resumeAmount",
                        "resumeUnit",
                        "options",
                    ],
                );
                assert_eq!(parameters["httpMethod"], "POST");
                let received = self.resume.wait_for(1).await.remove(0);
                json!({"headers": {}, "params": {}, "query": {}, "body": received.body})
            }
            "timeInterval" => {
                known(parameters, &["resume", "amount", "unit"]);
                assert_eq!(
                    (&parameters["amount"], &parameters["unit"]),
                    (&json!(5), &json!("seconds"))
                );
                // Seconds pass faster here.
                tokio::time::sleep(Duration::from_millis(50)).await;
                item
            }
            other => panic!("a wait that is not known: {other}"),
        }
    }

    fn is_true(&self, parameters: &Map<String, Value>, item: &Value) -> bool {
        known(parameters, &["conditions", "looseTypeValidation", "options"]);
        let conditions = &parameters["conditions"];
        let mut met = conditions["conditions"].as_array().unwrap().iter().map(|condition| {
            let operator = &condition["operator"];
            assert_eq!(
                (&operator["type"], &operator["operation"]),
                (&json!("string"), &json!("equals"))
            );
            self.value(&condition["leftValue"], item) == condition["rightValue"]
        });
        match conditions["combinator"].as_str().unwrap() {
            "and" => met.all(|met| met),
            "or" => met.any(|met| met),
            other => panic!("a combinator that is not known: {other}"),
        }
    }

    fn text(&self, parameter: &Value, item: &Value) -> String {
        match self.value(parameter, item) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    /// A parameter: a text that begins with `=` has expressions in `{{ }}`; one that is an expression alone keeps its type.
    fn value(&self, parameter: &Value, item: &Value) -> Value {
        let Some(template) = parameter.as_str().and_then(|text| text.strip_prefix('=')) else {
            return parameter.clone();
        };
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, inner)) = rest.split_once("{{") {
            let (expression, after) = inner.split_once("}}").unwrap();
            let value = self.evaluate(expression.trim(), item);
            if before.is_empty() && after.is_empty() && text.is_empty() {
                return value;
            }
            text.push_str(before);
            match value {
                Value::String(value) => text.push_str(&value),
                value => text.push_str(&value.to_string()),
            }
            rest = after;
        }
        Value::String(text + rest)
    }

    /// The forms there are: `$execution.resumeUrl`, `$json.a.b`, `$('Node').first().json.a.b`, and `JSON.stringify()` of one.
    fn evaluate(&self, expression: &str, item: &Value) -> Value {
        if let Some(inner) = expression.strip_prefix("JSON.stringify(") {
            let inner = inner.strip_suffix(')').unwrap();
            return Value::String(self.evaluate(inner, item).to_string());
        }
        if expression == "$execution.resumeUrl" {
            return Value::String(self.resume.url("/webhook-waiting/231"));
        }
        let (of, path) = match expression.strip_prefix("$('") {
            Some(rest) => {
                let (name, path) = rest.split_once("').first().json").unwrap();
                (&self.items[name], path)
            }
            None => {
                let path = expression.strip_prefix("$json");
                (
                    item,
                    path.unwrap_or_else(|| panic!("an expression that is not known: {expression}")),
                )
            }
        };
        path.split('.').skip(1).fold(of.clone(), |value, field| {
            assert!(
                field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
                "{expression}"
            );
            value[field].clone()
        })
    }
}

fn known(parameters: &Map<String, Value>, all: &[&str]) {
    let odd: Vec<_> = parameters.keys().filter(|key| !all.contains(&key.as_str())).collect();
    assert!(odd.is_empty(), "parameters that are not known: {odd:?}");
}

/// The workflow with the settings that a user fills in.
fn with_settings(workflow: &str, daemon: &Daemon, task: &str, video: &Path) -> Value {
    let mut workflow: Value = serde_json::from_str(workflow).unwrap();
    let nodes = workflow["nodes"].as_array_mut().unwrap();
    let settings = nodes.iter_mut().find(|node| node["name"] == "Settings").unwrap();
    let assignments = settings["parameters"]["assignments"]["assignments"]
        .as_array_mut()
        .unwrap();
    let values = HashMap::from([
        ("onceover", daemon.url()),
        ("task_id", task.to_owned()),
        ("video_path", video.display().to_string()),
    ]);
    assert_eq!(assignments.len(), values.len());
    for one in assignments {
        one["value"] = values[one["name"].as_str().unwrap()].clone().into();
    }
    workflow
}

async fn play(workflow: &str, daemon: &Daemon, task: &str, video: &Path) -> (End, usize) {
    let workflow = with_settings(workflow, daemon, task, video);
    Execution::new(&workflow).await.run().await
}

fn audio(end: &End) -> &str {
    match end {
        End::Item(node, item) if node == "Result" => item["audio_path"].as_str().unwrap(),
        other => panic!("not the result: {other:?}"),
    }
}

#[test]
fn n8n_workflows_have_what_an_import_needs() {
    for text in [CALLBACK, POLL] {
        let workflow: Value = serde_json::from_str(text).unwrap();
        assert!(workflow["name"].is_string() && workflow["settings"].is_object() && workflow["pinData"] == json!({}));
        let nodes = workflow["nodes"].as_array().unwrap();
        let mut names: Vec<_> = nodes.iter().map(|node| node["name"].as_str().unwrap()).collect();
        let mut ids: Vec<_> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
        for node in nodes {
            let version = (node["type"].as_str().unwrap(), node["typeVersion"].as_f64().unwrap());
            assert!(NODES.contains(&version), "{version:?}");
            assert_eq!(node["position"].as_array().map(Vec::len), Some(2));
            // A key has no business in a file that is passed on.
            assert!(node.get("credentials").is_none());
        }
        for (from, outputs) in workflow["connections"].as_object().unwrap() {
            assert!(names.contains(&from.as_str()), "{from}");
            for next in outputs["main"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|next| next.as_array().unwrap())
            {
                assert!(names.contains(&next["node"].as_str().unwrap()), "{next}");
            }
        }
        for unique in [&mut names, &mut ids] {
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), nodes.len());
        }
    }
}

#[tokio::test]
async fn n8n_both_workflows_end_with_the_result_and_the_second_time_with_the_same() {
    let daemon = daemon_that_calls("").await;
    let video = daemon.dir().join("lecture \"07\".mp4");
    media::clip(&video, 2);
    let mut paths = Vec::new();
    for (workflow, task) in [(CALLBACK, "callback"), (POLL, "poll")] {
        let (end, _) = play(workflow, &daemon, task, &video).await;
        let path = audio(&end).to_owned();
        assert!(Path::new(&path).is_file(), "{path}");
        let (again, requests) = play(workflow, &daemon, task, &video).await;
        assert_eq!(audio(&again), path, "the stored result");
        assert!(requests <= 2, "a hit is not polled for: {requests}");
        paths.push(path);
    }
    assert_ne!(paths[0], paths[1]);
}

#[tokio::test]
async fn n8n_both_workflows_tell_why_it_failed() {
    let daemon = daemon_that_calls("").await;
    let video = daemon.dir().join("notes.mp4");
    fs::write(&video, "no video").unwrap();
    for (workflow, task) in [(CALLBACK, "callback"), (POLL, "poll")] {
        // A sibling that succeeded has no say in it.
        daemon.done(task, "test.echo", json!({})).await;
        match play(workflow, &daemon, task, &video).await.0 {
            End::Error(node, message) => {
                assert_eq!(node, "Failed");
                assert!(message.starts_with("failed: ") && message.len() > 20, "{message}");
            }
            other => panic!("{task}: {other:?}"),
        }
    }
}
