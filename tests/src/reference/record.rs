//! Records the examples: every node of the catalog is asked three times of a real daemon (a miss, in flight, a hit), and
//! the general part once through.

use std::{collections::BTreeSet, fs, path::PathBuf};

use onceover_catalog::{NodeSpec, ProcessLife, RunnerSpec, is_empty_value};
use onceover_types::StageState;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Delivered, Exchange, GeneralRecording, NodeRecording, Recordings, redact::Redaction, samples, scenario::Scenario,
    schema,
};
use crate::{
    Daemon,
    callbacks::Receiver,
    chat::{ChatReply, ChatServer},
};

/// What examples call the task and the places.
const TASK: &str = "lecture-07";
const MEDIA: &str = "/srv/videos";
const SHARE: &str = "/srv/onceover/share";
const CALLBACK: &str = "https://n8n.example.org/webhook/lectures";

/// Waits until the file is there that frees the queues.
const HOLD: &str = r#"
[[nodes]]
name = "hold.@QUEUE@"
queue = "@QUEUE@"
timeout_seconds = 600
runner = { command = ["sh", "-c", "cat >/dev/null; until [ -e '@DIR@/go.@QUEUE@' ]; do sleep 0.02; done; echo '{\"type\": \"output\", \"output\": {\"value\": 1}}'"] }
"#;

/// A node file with another runner, as the configuration takes it.
#[derive(Serialize)]
struct Nodes {
    nodes: Vec<Value>,
}

struct Bed {
    daemon: Daemon,
    receiver: Receiver,
    openapi: Value,
    queues: BTreeSet<String>,
    _models: ChatServer,
    _samples: tempfile::TempDir,
    redaction: Redaction,
}

/// Records everything and checks what every node promises: asked the second time while the first is in flight it joins, and
/// asked again it is a hit by its declared reuse fields.
pub async fn record(catalog: &[NodeSpec]) -> Recordings {
    let samples = tempfile::Builder::new().prefix("samples").tempdir().expect("a folder");
    let media = samples.path().join("media");
    samples::make(&media);
    let scenarios: Vec<_> = catalog.iter().map(|spec| (spec, Scenario::of(spec, &media))).collect();
    let mut bed = Bed::start(&scenarios, samples, media).await;

    let mut nodes = Vec::new();
    bed.hold().await;
    for (spec, scenario) in &scenarios {
        let body = json!({"task_name": spec.name, "task_id": task_of(spec), "input_data": scenario.input});
        let miss = bed.call("POST", "/v1/tasks", "/v1/tasks", body.clone()).await;
        assert_eq!(miss.answer["reuse_info"]["reason"], "absent", "{miss:?}");
        let in_flight = bed.call("POST", "/v1/tasks", "/v1/tasks", body.clone()).await;
        assert_eq!(in_flight.answer["reuse_info"]["state"], "pending", "{in_flight:?}");
        assert_eq!(
            in_flight.answer["reuse_info"]["run_id"], miss.answer["reuse_info"]["run_id"],
            "{}: the same run",
            spec.name
        );
        nodes.push((*spec, scenario.stand_in.is_some(), body, miss, in_flight));
    }
    bed.free();
    let mut recordings = Recordings::default();
    for (spec, stand_in, body, miss, in_flight) in nodes {
        let stage = bed.daemon.until_ended(&task_of(spec), spec.name.as_str()).await;
        assert_eq!(
            stage.status,
            StageState::Success,
            "{} did not succeed with its scenario in tests/reference/scenarios.toml: {:?}\n{}",
            spec.name,
            stage.error,
            serde_json::to_string_pretty(&body).unwrap_or_default()
        );
        let hit = bed.call("POST", "/v1/tasks", "/v1/tasks", body).await;
        assert_eq!(hit.answer["reuse_info"]["reuse_hit"], true, "{}: {hit:?}", spec.name);
        assert_eq!(hit.answer["status"], "completed", "{}", spec.name);
        let output = &hit.answer["result"]["stages"][spec.name.as_str()]["output"];
        for field in &spec.reuse_fields {
            assert!(!is_empty_value(&output[field]), "{}: {field} is empty", spec.name);
        }
        let mut recording = NodeRecording {
            stand_in,
            miss,
            in_flight,
            hit,
        };
        let mut redaction = bed.redaction.clone();
        redaction.replace(task_of(spec), TASK);
        for exchange in [&mut recording.miss, &mut recording.in_flight, &mut recording.hit] {
            redact(&mut redaction, exchange);
        }
        recordings.nodes.insert(spec.name.to_string(), recording);
    }
    recordings.general = bed.general().await;
    recordings
}

fn task_of(spec: &NodeSpec) -> String {
    format!("ref.{}", spec.name)
}

fn redact(redaction: &mut Redaction, exchange: &mut Exchange) {
    exchange.call = redaction.text("", &exchange.call);
    redaction.value(&mut exchange.request);
    redaction.value(&mut exchange.answer);
}

/// The node with a program in its place that gives the documented output.
fn replaced(spec: &NodeSpec, output: &Map<String, Value>, folder: &std::path::Path) -> Value {
    let file = folder.join(format!("{}.output.json", spec.name));
    fs::write(&file, Value::Object(output.clone()).to_string()).expect("the output is written");
    let program = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("reference/stand_in.py");
    let mut spec = spec.clone();
    spec.runner = RunnerSpec::Command(
        [
            "python3".into(),
            "-S".into(),
            program.display().to_string(),
            file.display().to_string(),
        ]
        .into(),
        ProcessLife::OneRun,
    );
    let mut value = serde_json::to_value(spec).expect("a node can be written");
    if let Value::Object(fields) = &mut value {
        // It needs neither the model nor the key.
        fields.shift_remove("needs");
        fields.retain(|_, field| !field.is_null());
    }
    value
}

/// Answers as a good model would, whatever is asked.
fn reply(user: &str) -> String {
    if user.contains("-->") {
        return user.replace("Good morning all.", "Good morning, all.");
    }
    let lines: Vec<_> = user.lines().filter(|line| line.matches(" | ").count() >= 3).collect();
    if lines.is_empty() {
        return user.replace("Good morning all.", "Good morning, all.");
    }
    let french = ["Bonjour à tous.", "Ann, prête ?"];
    let translated = (1..).zip(lines.iter().zip(french.iter().cycle()));
    translated.map(|(key, (_, text))| format!("{key} | {text}\n")).collect()
}

impl Bed {
    async fn start(scenarios: &[(&NodeSpec, Scenario)], samples: tempfile::TempDir, media: PathBuf) -> Self {
        let models = ChatServer::start().await;
        models.always(ChatReply::Made(reply));
        let receiver = Receiver::start().await;
        let queues: BTreeSet<String> = scenarios
            .iter()
            .flat_map(|(spec, _)| spec.queue.names().map(str::to_owned))
            .collect();
        let slots: String = queues.iter().map(|queue| format!("{queue} = 1\n")).collect();
        let stand_ins = scenarios
            .iter()
            .filter_map(|(spec, scenario)| Some(replaced(spec, scenario.stand_in.as_ref()?, samples.path())));
        let mut nodes = toml::to_string(&Nodes {
            nodes: stand_ins.collect(),
        })
        .expect("nodes can be written as TOML");
        if nodes.trim() == "nodes = []" {
            nodes.clear();
        }
        nodes.extend(queues.iter().map(|queue| HOLD.replace("@QUEUE@", queue)));
        let daemon = Daemon::builder()
            .config(&format!(
                "[callbacks]\nallow = ['127.0.0.1']\n[slots]\n{slots}[llm]\nprovider = 'deepseek'\n\
                 [llm.providers.deepseek]\nurl = '{}'\nkey_env = 'REFERENCE_LLM_KEY'",
                models.url()
            ))
            .env("REFERENCE_LLM_KEY", "sk-reference")
            .env("NO_PROXY", "127.0.0.1")
            .media_root(&media)
            .nodes(&nodes)
            .start()
            .await;
        let openapi = daemon.get("/openapi.json").await.json();
        let mut redaction = Redaction::default();
        let share = daemon.data.join("share");
        redaction.replace(
            share
                .canonicalize()
                .unwrap_or_else(|_| share.clone())
                .display()
                .to_string(),
            SHARE,
        );
        redaction.replace(share.display().to_string(), SHARE);
        redaction.replace(media.display().to_string(), MEDIA);
        redaction.replace(receiver.url("/hook"), CALLBACK);
        Self {
            daemon,
            receiver,
            openapi,
            queues,
            _models: models,
            _samples: samples,
            redaction,
        }
    }

    /// Fills the only slot of each queue, so that what is asked now stays in flight.
    async fn hold(&self) {
        for queue in &self.queues {
            self.daemon.submit("hold", &format!("hold.{queue}"), json!({})).await;
            self.daemon
                .until("hold", &format!("hold.{queue}"), StageState::Running)
                .await;
        }
    }

    fn free(&self) {
        for queue in &self.queues {
            self.daemon.release(&format!("go.{queue}"));
        }
    }

    /// Calls, and holds the answer against the description.
    async fn call(&self, method: &str, path: &str, route: &str, body: Value) -> Exchange {
        let body = Some(&body).filter(|body| !body.is_null());
        let answer = self.daemon.call(method, path, body).await;
        let exchange = Exchange {
            call: format!("{method} {path}"),
            route: route.to_owned(),
            request: body.cloned().unwrap_or_default(),
            status: answer.status,
            answer: answer.json(),
        };
        let faults = schema::faults(&self.openapi, &exchange);
        assert!(faults.is_empty(), "{} is not as described: {faults:#?}", exchange.call);
        exchange
    }

    /// One task from its first request to its end.
    async fn general(&mut self) -> GeneralRecording {
        const NODE: &str = "ffmpeg.extract_audio";
        let mut said: Vec<(&str, Exchange)> = Vec::new();
        let media = self._samples.path().join("media");
        let hook = self.receiver.url("/hook");
        let input = |file: &str| json!({"video_path": media.join(file)});
        let body = |input: Value| json!({"task_name": NODE, "task_id": TASK, "input_data": input, "callback": hook});
        let tasks = "/v1/tasks";
        let task = format!("/v1/tasks/{TASK}");

        // Held again, so that the second request finds the first in flight.
        for queue in &self.queues {
            let _ = fs::remove_file(self.daemon.dir().join(format!("go.{queue}")));
            let hold = format!("hold.{queue}");
            self.daemon.submit("again", &hold, json!({})).await;
            self.daemon.until("again", &hold, StageState::Running).await;
        }
        said.push((
            "miss",
            self.call("POST", tasks, tasks, body(input("lecture.mp4"))).await,
        ));
        said.push((
            "in_flight",
            self.call("POST", tasks, tasks, body(input("lecture.mp4"))).await,
        ));
        self.free();
        self.daemon.until(TASK, NODE, StageState::Success).await;
        self.daemon.delivered().await;
        said.push(("hit", self.call("POST", tasks, tasks, body(input("lecture.mp4"))).await));
        self.daemon.delivered().await;
        let status = (format!("{task}/status"), "/v1/tasks/{task_id}/status");
        said.push(("status", self.call("GET", &status.0, status.1, Value::Null).await));
        let mut other = json!({"task_name": NODE, "task_id": TASK, "input_data": input("lecture.wav")});
        said.push(("other_input", self.call("POST", tasks, tasks, other.clone()).await));
        let explain = (
            format!("{task}/stages/{NODE}/reuse"),
            "/v1/tasks/{task_id}/stages/{task_name}/reuse",
        );
        said.push(("explain", self.call("GET", &explain.0, explain.1, Value::Null).await));
        other["reuse"] = "strict".into();
        said.push(("strict", self.call("POST", tasks, tasks, other.clone()).await));
        self.daemon.until(TASK, NODE, StageState::Success).await;
        other["reuse"] = "never".into();
        said.push(("never", self.call("POST", tasks, tasks, other).await));
        self.daemon.idle().await;
        let retry = (format!("{task}/retry"), "/v1/tasks/{task_id}/retry");
        said.push((
            "retry",
            self.call("POST", &retry.0, retry.1, json!({"reuse": "auto"})).await,
        ));
        let wrong = json!({"task_name": NODE, "task_id": TASK, "input_data": {"video_path": 7}});
        said.push(("refused", self.call("POST", tasks, tasks, wrong).await));
        let delete = (format!("{task}/delete"), "/v1/tasks/{task_id}/delete");
        said.push((
            "delete",
            self.call("POST", &delete.0, delete.1, json!({"force": false})).await,
        ));
        said.push(("gone", self.call("GET", &status.0, status.1, Value::Null).await));

        let mut recording = GeneralRecording::default();
        let mut redaction = self.redaction.clone();
        for (name, mut exchange) in said {
            redact(&mut redaction, &mut exchange);
            recording.exchanges.insert(name.to_owned(), exchange);
        }
        for (name, received) in ["callback_of_run", "callback_of_hit"]
            .iter()
            .zip(self.receiver.received())
        {
            let mut body = received.body.clone();
            redaction.value(&mut body);
            let headers = ["content-type", "webhook-id", "webhook-timestamp"];
            let headers = headers
                .iter()
                .map(|header| {
                    let text = redaction.text("", received.header(header));
                    let shown = match *header {
                        "webhook-timestamp" => "1768469401".to_owned(),
                        // The end of a run's is made of the URL.
                        "webhook-id" => match text.rsplit_once('-') {
                            Some((run, _)) if !text.starts_with("hit-") => format!("{run}-ac18c644789f88b2"),
                            _ => text,
                        },
                        _ => text,
                    };
                    ((*header).to_owned(), shown)
                })
                .collect();
            recording
                .callbacks
                .insert((*name).to_owned(), Delivered { headers, body });
        }
        assert_eq!(recording.callbacks.len(), 2, "the run's callback and the hit's");
        recording
    }
}
