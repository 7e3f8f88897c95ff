//! Records and writes the reference of videos, `docs/technical/reference/VIDEO_API_REFERENCE.md`: a daemon whose models are
//! stand-ins goes through everything a video can go through.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Exchange, document, redact::Redaction, render::shown, repository, schema};
use crate::{Daemon, eventually, media};

const TEMPLATE: &str = include_str!("../../reference/videos.md");

/// The pipeline's nodes with stand-ins: transcribing waits for a file and has said 42 % by then; translating fails while
/// another file is there.
const NODES: &str = r#"
[[nodes]]
name = "ffmpeg.extract_audio"
runner = { command = ["sh", "-c", "cat >/dev/null; echo '{\"type\":\"output\",\"output\":{\"audio_path\":\"lecture.wav\"}}'"] }
[[nodes]]
name = "faster_whisper.transcribe_audio"
queue = "gpu"
runner = { command = ["sh", "-c", "cat >/dev/null; echo '{\"type\":\"progress\",\"percent\":42}'; until [ -e '@DIR@/go' ]; do sleep 0.02; done; echo '{\"type\":\"output\",\"output\":{\"segments_file\":\"lecture.json\"}}'"] }
[[nodes]]
name = "wservice.generate_subtitle_files"
runner = { command = ["sh", "-c", "cat >/dev/null; if [ -e '@DIR@/full' ]; then echo '{\"type\":\"error\",\"message\":\"cannot write lecture.srt: the disk is full\"}'; exit 1; fi; echo '{\"type\":\"output\",\"output\":{\"subtitle_files\":{\"basic\":\"lecture.srt\"}}}'"] }
[[nodes]]
name = "wservice.translate_subtitles"
queue = "llm"
runner = { command = ["sh", "-c", "cat >/dev/null; echo '{\"type\":\"output\",\"output\":{\"translated_segments_file\":\"lecture.en.json\"}}'"] }
"#;

const VIDEO: &str = "/api/v1/videos/lecture-07";
const ROUTE: &str = "/api/v1/videos/{video_id}";

/// Every call with its answer, by its place in the template, and what the event stream sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VideoRecording {
    pub exchanges: BTreeMap<String, Exchange>,
    pub events: String,
}

/// The page.
pub fn page() -> PathBuf {
    document().with_file_name("VIDEO_API_REFERENCE.md")
}

fn stored() -> PathBuf {
    repository().join("tests/reference/videos.json")
}

impl VideoRecording {
    pub fn load() -> Self {
        let text = fs::read_to_string(stored()).expect("recorded answers are there: make reference");
        serde_json::from_str(&text).expect("recorded answers can be read")
    }

    /// Puts answers and page into the repository.
    pub fn store(&self) {
        let text = serde_json::to_string_pretty(self).expect("JSON can be written") + "\n";
        fs::write(stored(), text).expect("a recording is written");
        fs::write(page(), self.render()).expect("the page is written");
    }

    /// The template with the recorded calls in their places.
    pub fn render(&self) -> String {
        let mut text = TEMPLATE.replace("{{events}}", &format!("```\n{}\n```", self.events.trim_end()));
        for (name, exchange) in &self.exchanges {
            text = text.replace(&format!("{{{{{name}}}}}"), shown(exchange).trim_end());
        }
        text
    }
}

struct Bed {
    daemon: Daemon,
    openapi: Value,
    redaction: Redaction,
    recording: VideoRecording,
}

impl Bed {
    async fn call(&mut self, name: &str, method: &str, path: &str, route: &str, body: Value) {
        let body = Some(&body).filter(|body| !body.is_null());
        let answer = self.daemon.call(method, path, body).await;
        let mut exchange = Exchange {
            call: format!("{method} {path}"),
            route: route.to_owned(),
            request: body.cloned().unwrap_or_default(),
            status: answer.status,
            answer: answer.json(),
        };
        let faults = schema::faults(&self.openapi, &exchange);
        assert!(faults.is_empty(), "{} is not as described: {faults:#?}", exchange.call);
        self.redaction.value(&mut exchange.request);
        self.redaction.value(&mut exchange.answer);
        self.recording.exchanges.insert(name.to_owned(), exchange);
    }

    /// A call about the video.
    async fn of_video(&mut self, name: &str, method: &str, rest: &str, body: Value) {
        let route = format!("{ROUTE}{}", rest.split('?').next().unwrap_or_default());
        self.call(name, method, &format!("{VIDEO}{rest}"), &route, body).await;
    }

    async fn until(&self, what: &str, is: impl Fn(&Value) -> bool) {
        eventually(what, || async {
            let now = self.daemon.get(&format!("{VIDEO}/status")).await.json();
            is(&now).then_some(())
        })
        .await;
    }

    async fn until_status(&self, status: &str) {
        self.until(status, |now| now["status"] == status).await;
    }
}

/// Everything a video can go through.
pub async fn record() -> VideoRecording {
    let folder = tempfile::Builder::new().prefix("videos").tempdir().expect("a folder");
    let clip = folder.path().join("lecture.mp4");
    media::clip(&clip, 2);
    fs::write(folder.path().join("notes.txt"), "words").expect("a file is written");
    let daemon = Daemon::builder().nodes(NODES).media_root(folder.path()).start().await;
    let mut redaction = Redaction::default();
    redaction.replace(
        daemon.dir().join("data/share").display().to_string(),
        "/srv/onceover/share",
    );
    redaction.replace(folder.path().display().to_string(), "/srv/videos");
    let openapi = daemon.get("/openapi.json").await.json();
    let mut bed = Bed {
        daemon,
        openapi,
        redaction,
        recording: VideoRecording::default(),
    };
    walk(&mut bed, &clip).await;
    bed.recording
}

async fn walk(bed: &mut Bed, clip: &Path) {
    let (videos, pipelines) = ("/api/v1/videos", "/api/v1/pipelines");
    bed.call("pipelines", "GET", pipelines, pipelines, Value::Null).await;
    if let Some(list) = bed.recording.exchanges.get_mut("pipelines")
        && let Some(Value::Array(pipelines)) = list.answer.get_mut("pipelines")
    {
        // One says it; what the others lack depends on the machine.
        pipelines.retain(|pipeline| pipeline["name"] == "subtitles");
    }
    let register = json!({"video_id": "lecture-07", "path": clip, "title": "Lecture 7"});
    bed.call("register", "POST", videos, videos, register).await;
    let notes = json!({"video_id": "notes", "path": clip.with_file_name("notes.txt")});
    bed.call("no_video", "POST", videos, videos, notes).await;
    bed.of_video("never", "GET", "/status", Value::Null).await;

    bed.of_video("run_sync", "POST", "/run_sync", Value::Null).await;
    bed.until("the second step", |now| now["tasks"][1]["progress"] == 42)
        .await;
    bed.of_video("run_sync_busy", "POST", "/run_sync", Value::Null).await;
    let unknown = "/api/v1/videos/lecture-99/run_sync";
    bed.call(
        "run_sync_unknown",
        "POST",
        unknown,
        "/api/v1/videos/{video_id}/run_sync",
        Value::Null,
    )
    .await;
    bed.of_video("run_sync_pipeline", "POST", "/run_sync?pipeline=opera", Value::Null)
        .await;
    bed.of_video("status_processing", "GET", "/status", Value::Null).await;
    bed.recording.events = first_message(bed).await;
    bed.daemon.release("go");
    bed.until_status("completed").await;
    bed.of_video("status_completed", "GET", "/status", Value::Null).await;

    bed.of_video("run_again", "POST", "/run_sync", Value::Null).await;
    bed.until_status("completed").await;
    bed.of_video("status_reused", "GET", "/status", Value::Null).await;

    let steps = json!({"steps": ["generate_subtitle_files"]});
    bed.of_video("reprocess", "POST", "/reprocess", steps).await;
    bed.until_status("completed").await;
    bed.of_video("status_reprocess", "GET", "/reprocess", Value::Null).await;
    bed.of_video("reprocess_unknown", "POST", "/reprocess", json!({"steps": ["dub"]}))
        .await;

    bed.daemon.release("full");
    let steps = json!({"steps": ["generate_subtitle_files"]});
    assert_eq!(bed.daemon.post(&format!("{VIDEO}/reprocess"), steps).await.status, 202);
    bed.until_status("failed").await;
    bed.of_video("status_failed", "GET", "/status", Value::Null).await;
    bed.call("list", "GET", "/api/v1/videos?limit=1", videos, Value::Null)
        .await;
    bed.of_video("delete", "DELETE", "?with_task=true", Value::Null).await;
}

/// What the event stream begins with, as it is sent.
async fn first_message(bed: &mut Bed) -> String {
    let url = format!("{}{VIDEO}/events", bed.daemon.url());
    let mut response = reqwest::get(url).await.expect("the daemon answers");
    let mut text = String::new();
    while !text.contains("\n\n") {
        let chunk = response.chunk().await.expect("the stream goes on");
        text.push_str(&String::from_utf8_lossy(&chunk.expect("the stream goes on")));
    }
    let message = text.split("\n\n").next().unwrap_or_default();
    let lines = message.lines().map(|line| match line.split_once(": ") {
        Some(("data", data)) => {
            let mut data: Value = serde_json::from_str(data).expect("the data is JSON");
            bed.redaction.value(&mut data);
            format!("data: {data}")
        }
        Some(("id", id)) => {
            let run = id.split(':').next().unwrap_or_default();
            format!("id: {}:6", bed.redaction.text("", run))
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
