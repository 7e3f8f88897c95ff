//! Records the examples of the API's description, `assets/api/examples.json`: every operation answered by a real daemon,
//! once as it should and once with a problem.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use onceover_types::StageState;
use reqwest::header::{HOST, HeaderName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{redact::Redaction, repository, samples};
use crate::{Daemon, HttpAnswer, callbacks::Receiver, events::Sse, eventually};

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data";
const TASK: &str = "lecture-07";
const AUDIO: &str = "ffmpeg.extract_audio";
const KEYFRAMES: &str = "ffmpeg.extract_keyframes";

/// Holds the only slot that the shipped nodes below could use, until a file is there.
const HOLD: &str = r#"
[[nodes]]
name = "hold.cpu"
runner = { command = ["sh", "-c", "cat >/dev/null; until [ -e '@DIR@/go' ]; do sleep 0.02; done; echo '{\"type\": \"output\", \"output\": {\"value\": 1}}'"] }
"#;

/// A body with its media type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExampleBody {
    pub media_type: String,
    pub value: Value,
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApiExample {
    /// By which it is found among those of its operation.
    pub name: String,
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ExampleBody>,
    pub status: u16,
    pub answer: ExampleBody,
}

/// Examples by `operationId`.
pub type ApiExamples = BTreeMap<String, Vec<ApiExample>>;

fn stored() -> PathBuf {
    repository().join("assets/api/examples.json")
}

/// As they are in the repository.
pub fn load() -> ApiExamples {
    let text = fs::read_to_string(stored()).expect("examples are there: make reference");
    serde_json::from_str(&text).expect("examples can be read")
}

/// Puts them into the repository in place of what is there.
pub fn store(examples: &ApiExamples) {
    let text = serde_json::to_string_pretty(examples).expect("JSON can be written") + "\n";
    fs::write(stored(), text).expect("the examples are written");
}

struct Recorder {
    daemon: Daemon,
    receiver: Receiver,
    redaction: Redaction,
    examples: ApiExamples,
    media: tempfile::TempDir,
}

/// What is sent with a call beside its path.
#[derive(Default)]
struct Sent {
    body: Option<Value>,
    header: Option<(HeaderName, &'static str)>,
    /// Fields of a form, the last one a file.
    form: Option<Vec<(&'static str, String)>>,
}

impl Recorder {
    async fn start() -> Self {
        let media = tempfile::Builder::new().prefix("examples").tempdir().expect("a folder");
        samples::make(media.path());
        let receiver = Receiver::start().await;
        let daemon = Daemon::builder()
            .config("[callbacks]\nallow = ['127.0.0.1']\n[slots]\ncpu = 1")
            .env("NO_PROXY", "127.0.0.1")
            .media_root(media.path())
            .nodes(HOLD)
            .start()
            .await;
        let mut redaction = Redaction::default();
        redaction.replace(daemon.dir().display().to_string(), "/srv/media");
        redaction.replace(daemon.data.display().to_string(), "/srv/onceover");
        redaction.replace(media.path().display().to_string(), "/srv/videos");
        redaction.replace(receiver.url("/hook"), "https://n8n.example.org/webhook/lectures");
        redaction.replace(daemon.url(), "http://127.0.0.1:8788");
        Self {
            daemon,
            receiver,
            redaction,
            examples: ApiExamples::default(),
            media,
        }
    }

    /// Makes a call and keeps it as an example of this operation.
    async fn send(&mut self, operation: &str, name: &str, call: &str, sent: Sent) -> HttpAnswer {
        let (method, path) = call.split_once(' ').expect("a method and a path");
        let method = method.parse().expect("a method");
        let mut request = reqwest::Client::new().request(method, format!("{}{path}", self.daemon.url()));
        if let Some(body) = &sent.body {
            request = request.json(body);
        }
        if let Some((header, value)) = sent.header {
            request = request.header(header, value);
        }
        if let Some(fields) = &sent.form {
            request = request.multipart(form(fields));
        }
        let answer = HttpAnswer::of(request.send().await.expect("the daemon answers")).await;
        let body = sent.body.map(|value| (JSON, value));
        let form = sent
            .form
            .map(|fields| (FORM, Value::Object(fields.into_iter().map(shown).collect())));
        let request = body.or(form).map(|(media_type, value)| ExampleBody {
            media_type: media_type.to_owned(),
            value,
        });
        let media_type = answer.content_type.split(';').next().unwrap_or_default().to_owned();
        let value = serde_json::from_str(&answer.text).unwrap_or_else(|_| json!(answer.text));
        self.keep(
            operation,
            name,
            request,
            answer.status,
            ExampleBody { media_type, value },
        );
        answer
    }

    fn keep(
        &mut self,
        operation: &str,
        name: &str,
        mut request: Option<ExampleBody>,
        status: u16,
        mut answer: ExampleBody,
    ) {
        for body in request.iter_mut().chain([&mut answer]) {
            shorten(&mut body.value);
            self.redaction.value(&mut body.value);
        }
        let examples = self.examples.entry(operation.to_owned()).or_default();
        assert!(
            examples.iter().all(|example| example.name != name),
            "{operation}: {name} twice"
        );
        examples.push(ApiExample {
            name: name.to_owned(),
            summary: name.replace('_', " "),
            request,
            status,
            answer,
        });
    }

    async fn get(&mut self, operation: &str, name: &str, path: &str, status: u16) -> HttpAnswer {
        let answer = self
            .send(operation, name, &format!("GET {path}"), Sent::default())
            .await;
        assert_eq!(answer.status, status, "{operation}: {answer:?}");
        answer
    }

    async fn post(&mut self, operation: &str, name: &str, path: &str, body: Value, status: u16) -> HttpAnswer {
        let sent = Sent {
            body: Some(body).filter(|body| !body.is_null()),
            ..Sent::default()
        };
        let answer = self.send(operation, name, &format!("POST {path}"), sent).await;
        assert_eq!(answer.status, status, "{operation}: {answer:?}");
        answer
    }

    async fn delete(&mut self, operation: &str, name: &str, path: &str, status: u16) {
        let answer = self
            .send(operation, name, &format!("DELETE {path}"), Sent::default())
            .await;
        assert_eq!(answer.status, status, "{operation}: {answer:?}");
    }

    /// A read that nothing but its host makes wrong.
    async fn with_strange_host(&mut self, operation: &str, path: &str) {
        let sent = Sent {
            header: Some((HOST, "onceover.example.org")),
            ..Sent::default()
        };
        let answer = self.send(operation, "other_host", &format!("GET {path}"), sent).await;
        assert_eq!(answer.status, 403, "{operation}: {answer:?}");
    }
}

/// A file is given by its path, or as text.
fn form(fields: &[(&'static str, String)]) -> reqwest::multipart::Form {
    let file = |value: &String| {
        let (name, content) = match Path::new(value).file_name().filter(|_| value.starts_with('/')) {
            Some(name) => (name.to_string_lossy().into_owned(), fs::read(value).expect("a sample")),
            None => ("notes.txt".to_owned(), value.clone().into_bytes()),
        };
        reqwest::multipart::Part::bytes(content).file_name(name)
    };
    let form = reqwest::multipart::Form::new();
    fields.iter().fold(form, |form, (name, value)| match *name {
        "file" => form.part("file", file(value)),
        name => form.text(name, value.clone()),
    })
}

fn shown((name, value): (&'static str, String)) -> (String, Value) {
    let value = match value.rsplit_once('/') {
        Some((_, file)) if name == "file" => format!("(the bytes of {file})"),
        _ => value,
    };
    (name.to_owned(), value.into())
}

/// Two of many are an example.
fn shorten(value: &mut Value) {
    match value {
        Value::Array(items) => {
            if items.iter().all(Value::is_object) {
                items.truncate(2);
            }
            items.iter_mut().for_each(shorten);
        }
        Value::Object(fields) => {
            fields.retain(|name, _| !name.starts_with("hold"));
            fields.values_mut().for_each(shorten);
        }
        Value::String(text) if text.lines().count() > 12 => {
            let lines: Vec<_> = text.lines().take(9).collect();
            *text = format!("{}\n...\n", lines.join("\n"));
        }
        _ => {}
    }
}

/// Every operation, once as it should and once with a problem.
pub async fn record() -> ApiExamples {
    let mut recorder = Recorder::start().await;
    recorder.system().await;
    recorder.nodes().await;
    recorder.tasks().await;
    recorder.callbacks().await;
    recorder.events().await;
    recorder.files().await;
    recorder.videos().await;
    recorder.ends_of_tasks().await;
    recorder.examples
}

impl Recorder {
    async fn system(&mut self) {
        for (operation, path) in [
            ("get_root", "/"),
            ("list_problems", "/problems"),
            ("check_liveness", "/livez"),
            ("check_readiness", "/readyz"),
            ("check_health", "/v1/tasks/health"),
            ("get_metrics", "/metrics"),
            ("list_queues", "/v1/queues"),
            ("get_system", "/v1/system"),
            ("get_machine", "/v1/system/machine"),
            ("get_history", "/v1/system/history"),
            ("list_workers", "/v1/workers"),
        ] {
            self.get(operation, "answer", path, 200).await;
            self.with_strange_host(operation, path).await;
        }
        self.get("make_link", "answer", "/v1/links?path=/v1/events", 200).await;
        self.get("make_link", "nothing_there", "/v1/links?path=/nothing", 422)
            .await;
        self.get("explain_problem", "answer", "/problems/node-not-ready", 200)
            .await;
        self.get("explain_problem", "unknown", "/problems/nothing", 404).await;
    }

    async fn nodes(&mut self) {
        for (operation, path) in [
            ("list_nodes", "/v1/nodes"),
            ("list_supported_tasks", "/v1/tasks/supported-tasks"),
        ] {
            self.get(operation, "answer", path, 200).await;
            self.with_strange_host(operation, path).await;
        }
        for (operation, rest) in [("get_node", ""), ("get_node_schema", "/schema")] {
            self.get(operation, "answer", &format!("/v1/nodes/{AUDIO}{rest}"), 200)
                .await;
            self.get(operation, "unknown", &format!("/v1/nodes/ffmpeg.nothing{rest}"), 404)
                .await;
        }
    }

    async fn tasks(&mut self) {
        let video = self.media.path().join("lecture.mp4");
        let submit = json!({"task_name": AUDIO, "task_id": TASK, "input_data": {"video_path": video},
            "callback": self.receiver.url("/hook")});
        self.daemon.submit("hold", "hold.cpu", json!({})).await;
        self.daemon.until("hold", "hold.cpu", StageState::Running).await;
        self.post("submit_task", "miss", "/v1/tasks", submit.clone(), 200).await;
        self.post("submit_task", "in_flight", "/v1/tasks", submit.clone(), 200)
            .await;
        self.daemon.release("go");
        self.daemon.until(TASK, AUDIO, StageState::Success).await;
        self.post("submit_task", "hit", "/v1/tasks", submit.clone(), 200).await;
        let wrong = json!({"task_name": AUDIO, "task_id": TASK, "input_data": {"video_path": 7}});
        self.post("submit_task", "wrong_parameter", "/v1/tasks", wrong, 422)
            .await;
        let outside = json!({"task_name": AUDIO, "task_id": TASK, "input_data": {"video_path": "/etc/lecture.mp4"}});
        self.post(
            "submit_batch",
            "answer",
            "/v1/tasks/batch",
            json!({"tasks": [submit, outside]}),
            200,
        )
        .await;
        self.post("submit_batch", "empty", "/v1/tasks/batch", json!({"tasks": []}), 422)
            .await;
        self.get(
            "list_tasks",
            "answer",
            "/v1/tasks?status=completed&limit=1&search=lecture",
            200,
        )
        .await;
        self.get("list_tasks", "wrong_limit", "/v1/tasks?limit=0", 422).await;
        let stage = format!("/stages/{AUDIO}");
        for (operation, rest) in [
            ("get_task", ""),
            ("get_task_status", "/status"),
            ("get_task_result", "/result"),
            ("get_stage_log", &format!("{stage}/log")),
            ("list_stage_runs", &format!("{stage}/runs")),
        ] {
            self.get(operation, "answer", &format!("/v1/tasks/{TASK}{rest}"), 200)
                .await;
            self.get(operation, "unknown_task", &format!("/v1/tasks/lecture-99{rest}"), 404)
                .await;
        }
        let rows = "/v1/rows?limit=1";
        self.get("list_rows", "answer", rows, 200).await;
        self.get("list_rows", "wrong_limit", "/v1/rows?limit=0", 422).await;
        let statistics = "/v1/nodes/statistics";
        self.get("get_node_statistics", "answer", statistics, 200).await;
        self.with_strange_host("get_node_statistics", statistics).await;
        let explain = format!("/v1/tasks/{TASK}{stage}/reuse");
        self.get("explain_reuse", "answer", &explain, 200).await;
        self.get(
            "explain_reuse",
            "wrong_mode",
            &format!("{explain}?reuse=sometimes"),
            422,
        )
        .await;
        for (name, path, status) in [("answer", json!(video), 200), ("wrong_value", json!(7), 422)] {
            let body = json!({"input_data": {"video_path": path}, "reuse": "strict"});
            self.post("explain_input", name, &explain, body, status).await;
        }
        let tail = Sent {
            header: Some((reqwest::header::RANGE, "bytes=-200")),
            ..Sent::default()
        };
        let log = format!("GET /v1/tasks/{TASK}{stage}/log");
        assert_eq!(self.send("get_stage_log", "its_end", &log, tail).await.status, 206);
        let log = format!("/v1/tasks/{TASK}{stage}/log");
        self.get("get_stage_log", "its_last_line", &format!("{log}?lines=1"), 200)
            .await;
        self.get("get_stage_log", "a_search", &format!("{log}?search=SUCCEEDED"), 200)
            .await;
        for (operation, rest) in [
            ("resubmit_stage", &*format!("{stage}/resubmit")),
            ("retry_task", "/retry"),
        ] {
            let body = json!({"reuse": "auto"});
            self.post(
                operation,
                "answer",
                &format!("/v1/tasks/{TASK}{rest}"),
                body.clone(),
                200,
            )
            .await;
            self.post(
                operation,
                "unknown_task",
                &format!("/v1/tasks/lecture-99{rest}"),
                body,
                404,
            )
            .await;
        }
    }

    async fn callbacks(&mut self) {
        self.daemon.delivered().await;
        let list = self
            .get("list_callbacks", "answer", "/v1/callbacks?state=sent&limit=1", 200)
            .await
            .json();
        self.get("list_callbacks", "wrong_state", "/v1/callbacks?state=lost", 422)
            .await;
        let id = list["items"][0]["id"].as_str().expect("a callback was sent").to_owned();
        self.get("get_callback", "answer", &format!("/v1/callbacks/{id}"), 200)
            .await;
        self.get("get_callback", "unknown", "/v1/callbacks/nothing", 404).await;
        let again = format!("/v1/callbacks/{id}/redeliver");
        self.post("redeliver_callback", "answer", &again, Value::Null, 200)
            .await;
        self.post(
            "redeliver_callback",
            "unknown",
            "/v1/callbacks/nothing/redeliver",
            Value::Null,
            404,
        )
        .await;
        self.daemon.delivered().await;
    }

    async fn events(&mut self) {
        let mut stream = Sse::open(&self.daemon, Some(0)).await;
        let (message, data) = loop {
            let message = stream.next().await;
            let data: Value = serde_json::from_str(&message.data).expect("an event");
            if data["task_id"] == TASK {
                break (message, data);
            }
        };
        self.keep_message("follow_events", message.id.to_string(), &message.event, data);
        let wrong = Sent {
            header: Some((HeaderName::from_static("last-event-id"), "newest")),
            ..Sent::default()
        };
        let answer = self.send("follow_events", "wrong_id", "GET /v1/events", wrong).await;
        assert_eq!(answer.status, 422, "{answer:?}");
    }

    /// One message of a stream stands for it.
    fn keep_message(&mut self, operation: &str, id: String, event: &str, data: Value) {
        let answer = ExampleBody {
            media_type: "text/event-stream".into(),
            value: json!({"id": id, "event": event, "data": data}),
        };
        self.keep(operation, "message", None, 200, answer);
    }

    async fn files(&mut self) {
        let path = format!("{TASK}/in/notes.txt");
        let upload = async |recorder: &mut Self, name: &str, path: &str, status: u16| {
            let form = vec![
                ("file_path", path.to_owned()),
                ("file", "Words to listen for".to_owned()),
            ];
            let sent = Sent {
                form: Some(form),
                ..Sent::default()
            };
            let answer = recorder.send("upload_file", name, "POST /v1/files/upload", sent).await;
            assert_eq!(answer.status, status, "{answer:?}");
        };
        upload(self, "answer", &path, 200).await;
        upload(self, "outside", "../notes.txt", 422).await;
        self.get("list_files", "answer", &format!("/v1/files?prefix={TASK}/in"), 200)
            .await;
        self.get("list_files", "wrong_limit", "/v1/files?limit=0", 422).await;
        self.get("download_file", "answer", &format!("/v1/files/download/{path}"), 200)
            .await;
        self.get(
            "download_file",
            "unknown",
            &format!("/v1/files/download/{TASK}/none.txt"),
            404,
        )
        .await;
        self.delete("delete_file", "answer", &format!("/v1/files/{path}"), 200)
            .await;
        self.delete("delete_file", "hidden", "/v1/files/.hidden", 422).await;
        let folder = "/v1/files/directories?directory_path=share/workflows";
        self.delete("delete_folder", "answer", &format!("{folder}/{TASK}/in"), 200)
            .await;
        self.delete("delete_folder", "whole_task", &format!("{folder}/{TASK}"), 422)
            .await;
    }

    async fn videos(&mut self) {
        let (videos, unknown) = ("/api/v1/videos", "/api/v1/videos/lecture-99");
        let video = "/api/v1/videos/lecture-08";
        let path = self.media.path().join("lecture.mp4");
        self.get("list_pipelines", "answer", "/api/v1/pipelines", 200).await;
        self.with_strange_host("list_pipelines", "/api/v1/pipelines").await;
        let register = json!({"video_id": "lecture-08", "path": path, "title": "Lecture 8"});
        self.post("register_video", "answer", videos, register, 201).await;
        let form = vec![
            ("video_id", "notes".to_owned()),
            ("file", "Words to listen for".to_owned()),
        ];
        let sent = Sent {
            form: Some(form),
            ..Sent::default()
        };
        let answer = self
            .send("register_video", "no_video", &format!("POST {videos}"), sent)
            .await;
        assert_eq!(answer.status, 422, "{answer:?}");
        let form = vec![
            ("video_id", "lecture-09".to_owned()),
            ("title", "Lecture 9".to_owned()),
            ("file", path.display().to_string()),
        ];
        let sent = Sent {
            form: Some(form),
            ..Sent::default()
        };
        let answer = self
            .send("register_video", "uploaded", &format!("POST {videos}"), sent)
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
        self.get("list_videos", "answer", &format!("{videos}?limit=1"), 200)
            .await;
        self.get("list_videos", "wrong_limit", &format!("{videos}?limit=0"), 422)
            .await;
        let run = "/run_sync?pipeline=sample";
        self.post("run_video", "answer", &format!("{video}{run}"), Value::Null, 202)
            .await;
        self.post("run_video", "unknown", &format!("{unknown}{run}"), Value::Null, 404)
            .await;
        self.until_processed(video).await;
        for (operation, rest) in [
            ("get_video", ""),
            ("get_video_status", "/status"),
            ("get_reprocess_status", "/reprocess"),
        ] {
            self.get(operation, "answer", &format!("{video}{rest}"), 200).await;
            self.get(operation, "unknown", &format!("{unknown}{rest}"), 404).await;
        }
        let data = self.daemon.get(&format!("{video}/status")).await.json();
        let id = format!("{}:1", data["run_id"].as_str().unwrap_or_default());
        self.keep_message("follow_video", id, "progress", data);
        self.get("follow_video", "unknown", &format!("{unknown}/events"), 404)
            .await;
        let steps = json!({"steps": ["extract_audio"]});
        self.post(
            "reprocess_video",
            "answer",
            &format!("{video}/reprocess"),
            steps.clone(),
            202,
        )
        .await;
        self.post(
            "reprocess_video",
            "unknown",
            &format!("{unknown}/reprocess"),
            steps,
            404,
        )
        .await;
        self.until_processed(video).await;
        self.delete("delete_video", "answer", &format!("{video}?with_task=true"), 200)
            .await;
        self.delete("delete_video", "unknown", unknown, 404).await;
    }

    async fn until_processed(&self, video: &str) {
        eventually("the end of the pipeline", || async {
            let now = self.daemon.get(&format!("{video}/status")).await.json();
            (now["status"] == "completed").then_some(())
        })
        .await;
    }

    async fn ends_of_tasks(&mut self) {
        let _ = fs::remove_file(self.daemon.dir().join("go"));
        self.daemon.submit("held", "hold.cpu", json!({})).await;
        self.daemon.until("held", "hold.cpu", StageState::Running).await;
        let video = self.media.path().join("lecture.mp4");
        self.daemon.submit(TASK, KEYFRAMES, json!({"video_path": video})).await;
        let task = format!("/v1/tasks/{TASK}");
        self.delete("cancel_task", "answer", &task, 200).await;
        self.delete("cancel_task", "nothing_in_flight", &task, 400).await;
        self.daemon.release("go");
        self.daemon.idle().await;
        let delete = format!("{task}/delete");
        self.post("delete_task", "answer", &delete, json!({"force": false}), 200)
            .await;
        self.post("delete_task", "unknown_task", &delete, json!({"force": false}), 404)
            .await;
    }
}
