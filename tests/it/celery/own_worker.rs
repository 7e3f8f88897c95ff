//! `assets/celery/onceover_worker.py`: a machine without the daemon runs nodes that are programs, with a folder that both
//! machines see, or with an object store and no folder in common.

use std::{fs, path::Path};

use onceover_tests::{
    Daemon, S3Server,
    celery_workers::{CeleryBroker, CeleryWorker, WorkerStart},
    daemon::task_id,
    eventually, until_equal,
};
use onceover_types::StageState;
use onceover_wire::StageView;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::begun;

const TWICE: &str = "mine.twice";
const SLEEP: &str = "mine.sleep";
const WORKER: &str = "worker = 'onceover'";

/// Two nodes with their programs, as someone would write them. The first one imports what lies beside it.
const FILES: [(&str, &str); 5] = [
    (
        "mine.twice.toml",
        r#"
name = "mine.twice"
timeout_seconds = 60
runner = { command = ["python3", "./twice.py"] }
reuse_fields = ["twice_path"]

[[parameters]]
name = "text_path"
type = "path"
required = true
meaning = "A text."

[[parameters]]
name = "seconds"
type = "number"
default = 0
meaning = "How long it takes."

[[outputs]]
name = "twice_path"
type = "path"
meaning = "The text, twice."
"#,
    ),
    (
        "twice.py",
        r#"
import json, os, pathlib, sys, time
import helper
request = json.load(sys.stdin)
text = pathlib.Path(request["input"]["text_path"])
print(json.dumps({"type": "progress", "percent": 50, "message": "half of it"}), flush=True)
time.sleep(request["input"]["seconds"])
path = pathlib.Path(request["output_dir"]) / "out" / "twice.txt"
path.parent.mkdir()
path.write_text(text.read_text() * helper.TIMES)
print("a line of the program")
output = {"twice_path": str(path), "program": __file__, "read": f"read {text}", "run": os.environ["ONCEOVER_RUN"]}
print(json.dumps({"type": "output", "output": output}))
"#,
    ),
    ("helper.py", "TIMES = 2\n"),
    (
        "mine.sleep.toml",
        r#"
name = "mine.sleep"
timeout_seconds = 60
runner = { command = ["sh", "./sleep.sh"] }
"#,
    ),
    (
        "sleep.sh",
        r#"
setsid sleep 60 &
echo "$$ $!" > "$(sed 's/.*"pids":"//; s/".*//')"
sleep 60
"#,
    ),
];

/// Folders of a test: the node files, and what the daemon may read.
struct Setting {
    nodes: TempDir,
    media: TempDir,
    broker: CeleryBroker,
}

impl Setting {
    async fn new() -> Self {
        let folder = || tempfile::Builder::new().prefix("oon").tempdir().unwrap();
        let (nodes, media) = (folder(), folder());
        for (name, text) in FILES {
            fs::write(nodes.path().join(name), text).unwrap();
        }
        fs::write(media.path().join("notes.txt"), "one\n").unwrap();
        let broker = CeleryBroker::start().await;
        Self { nodes, media, broker }
    }

    fn text(&self) -> String {
        self.media.path().join("notes.txt").display().to_string()
    }

    /// A daemon whose service `mine` is run by workers, with more lines of that service and of the rest.
    async fn daemon(&self, service: &str, more: &str, keys: &[(&str, &str)]) -> Daemon {
        let mut builder = Daemon::builder()
            .config(&format!("node_dirs = ['{}']", self.nodes.path().display()))
            .config(&self.broker.service("mine", service))
            .config(more)
            .env("NO_PROXY", "127.0.0.1")
            .media_root(self.media.path())
            .nodes("");
        for (name, value) in keys {
            builder = builder.env(name, value);
        }
        builder.start().await
    }

    async fn worker(&self) -> CeleryWorker {
        WorkerStart::named("w1")
            .of_onceover("mine_queue")
            .start(&self.broker)
            .await
    }
}

fn output(stage: &StageView) -> Value {
    serde_json::from_str(stage.output.get()).unwrap()
}

#[tokio::test]
async fn celery_a_program_of_a_node_file_runs_on_a_machine_that_has_neither_the_file_nor_the_daemon() {
    let setting = Setting::new().await;
    let _worker = setting.worker().await;
    let daemon = setting.daemon(WORKER, "", &[]).await;
    let input = json!({"text_path": setting.text(), "seconds": 1});
    daemon.submit("film", TWICE, input.clone()).await;
    let message = eventually("progress of the program", || async {
        let stage = daemon.stage("film", TWICE).await?;
        (stage.status == StageState::Running && stage.progress == Some(50.0)).then_some(stage.message)
    })
    .await;
    assert_eq!(message.as_deref(), Some("half of it"));
    let stage = daemon.until("film", TWICE, StageState::Success).await;
    assert_eq!(stage.runner.as_deref(), Some("celery"));
    let output = output(&stage);
    let path = output["twice_path"].as_str().unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "one\none\n");
    // It ran from what the message brought.
    let program = Path::new(output["program"].as_str().unwrap());
    assert!(!program.starts_with(setting.nodes.path()), "{program:?}");
    assert!(output["run"].as_str().unwrap().ends_with("/1"), "{output}");
    let log = daemon.get("/v1/tasks/film/stages/mine.twice/log").await.text;
    assert!(log.contains("a line of the program"), "{log}");
    let again = daemon.submit("film", TWICE, input).await;
    assert!(again.reuse_info.reuse_hit);
    assert_eq!(setting.broker.message_ids("mine_queue").await.len(), 1);
}

#[tokio::test]
async fn celery_a_worker_without_any_folder_in_common_gets_and_leaves_files_in_the_object_store() {
    let (setting, s3) = (Setting::new().await, S3Server::start().await);
    let _worker = setting.worker().await;
    let service = format!("{WORKER}\nsees_files = false");
    let daemon = setting.daemon(&service, &s3.config(), &s3.keys()).await;
    let stage = daemon.done("film", TWICE, json!({"text_path": setting.text()})).await;
    assert_eq!(stage.runner.as_deref(), Some("celery"));
    let output = output(&stage);
    let path = output["twice_path"].as_str().unwrap();
    assert!(Path::new(path).starts_with(&daemon.data), "{path}");
    assert_eq!(fs::read_to_string(path).unwrap(), "one\none\n");
    // It has read another file than the daemon's.
    let read = output["read"].as_str().unwrap();
    assert!(
        read.ends_with("/notes.txt") && !read.contains(&setting.text()),
        "{read}"
    );
    assert!(!stage.output.get().contains("onceover_files"), "{}", stage.output.get());
    let left = s3.objects("film");
    assert!(!left.iter().any(|key| key.contains("/worker-")), "{left:?}");
    // What was fetched is an artifact like all others.
    let again = daemon.submit("film", TWICE, json!({"text_path": setting.text()})).await;
    assert!(again.reuse_info.reuse_hit);
}

#[tokio::test]
async fn r8_a_result_whose_files_a_worker_does_not_list_does_not_count() {
    let (setting, s3) = (Setting::new().await, S3Server::start().await);
    // A task that knows nothing of the object store.
    let _worker = WorkerStart::named("w1")
        .queue("mine_queue")
        .start(&setting.broker)
        .await;
    let service = format!("{WORKER}\nsees_files = false\ntask = 'probe.noop'");
    let daemon = setting.daemon(&service, &s3.config(), &s3.keys()).await;
    daemon.submit("film", TWICE, json!({"text_path": setting.text()})).await;
    let stage = daemon.until("film", TWICE, StageState::Failed).await;
    let error = stage.error.unwrap_or_default();
    assert!(error.contains("which files it left"), "{error}");
}

/// Submits a program that sleeps, and answers its processes once it is on the worker.
async fn begin_sleep(setting: &Setting, daemon: &Daemon) -> Vec<String> {
    let pids = setting.media.path().join("pids");
    daemon
        .submit("film", SLEEP, json!({"pids": pids.display().to_string()}))
        .await;
    begun(daemon, "film", SLEEP).await;
    eventually("the processes of the program", || async {
        let text = fs::read_to_string(&pids).ok()?;
        let found: Vec<_> = text.split_whitespace().map(|pid| format!("/proc/{pid}")).collect();
        (found.len() == 2 && text.ends_with('\n')).then_some(found)
    })
    .await
}

async fn until_ended(processes: Vec<String>) {
    for process in processes {
        until_equal("a process of the program", false, || async {
            Path::new(&process).exists()
        })
        .await;
    }
}

#[tokio::test]
async fn celery_a_program_is_ended_with_all_its_processes_when_its_stage_is_cancelled() {
    let setting = Setting::new().await;
    let _worker = setting.worker().await;
    let daemon = setting.daemon(WORKER, "", &[]).await;
    let processes = begin_sleep(&setting, &daemon).await;
    daemon.client.cancel(&task_id("film")).await.unwrap();
    daemon.until("film", SLEEP, StageState::Cancelled).await;
    until_ended(processes).await;
}

#[tokio::test]
async fn celery_no_process_of_a_program_outlives_a_worker_that_is_killed() {
    let setting = Setting::new().await;
    let mut worker = setting.worker().await;
    let daemon = setting.daemon(WORKER, "", &[]).await;
    let processes = begin_sleep(&setting, &daemon).await;
    worker.kill();
    until_ended(processes).await;
}
