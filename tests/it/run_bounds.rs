//! What a run may leave and read, and that what the machine lacks is waited for.

use std::{fs, path::Path};

use onceover_tests::{Daemon, eventually};
use onceover_types::StageState;
use serde_json::json;

/// Leaves `input.depth` folders one in another and `input.files` files.
const LEAVES: &str = r#"
[[nodes]]
name = "test.leaves"
queue = "cpu"
timeout_seconds = 60
runner = { command = ["python3", "-S", "-c", '''
import json, os, sys
request = json.load(sys.stdin)
os.chdir(request["output_dir"])
for number in range(request["input"].get("files", 0)):
    open(f"f{number}", "w").close()
for _ in range(request["input"].get("depth", 0)):
    os.mkdir("d")
    os.chdir("d")
print(json.dumps({"type": "output", "output": {"n": 1}}))
'''] }
"#;

async fn daemon(config: &str) -> Daemon {
    let runs = "[runs]\nlease = '1s'\nheartbeat = '200ms'\ngrace = '500ms'\n";
    let config = format!("{runs}{config}");
    Daemon::builder().nodes(LEAVES).config(&config).start().await
}

fn folder(daemon: &Daemon, task: &str) -> std::path::PathBuf {
    daemon.data.join("share/workflows").join(task)
}

#[tokio::test]
async fn a_run_that_leaves_folders_12000_deep_fails_by_name_and_is_deleted() {
    let daemon = daemon("").await;
    daemon.submit("t1", "test.leaves", json!({"depth": 12_000})).await;
    let stage = daemon.until("t1", "test.leaves", StageState::Failed).await;
    let error = stage.error.unwrap_or_default();
    assert!(
        error.contains("12000 deep") && error.contains("runs.max_depth"),
        "{error}"
    );
    let deleted = daemon.post("/v1/tasks/t1/delete", json!({"force": true})).await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert!(!folder(&daemon, "t1").exists());
    assert_eq!(daemon.times_reached("folder_depth").await, 1);
    // Another run is none the worse for it.
    daemon.done("t2", "test.leaves", json!({"depth": 3})).await;
}

/// As many descriptors as systems usually give.
#[tokio::test]
async fn folders_1500_deep_are_deleted_by_a_daemon_that_may_open_1024_files() {
    let daemon = daemon("max_depth = 2000\n").await;
    daemon.limit_descriptors(1024);
    daemon.done("t1", "test.leaves", json!({"depth": 1500})).await;
    assert_eq!(daemon.post("/v1/tasks/t1/delete", json!({})).await.status, 200);
    assert!(!folder(&daemon, "t1").exists());
}

#[tokio::test]
async fn one_level_and_one_file_more_than_a_run_may_leave_make_it_fail() {
    let daemon = daemon("max_depth = 4\nmax_files = 10\n").await;
    daemon.done("t1", "test.leaves", json!({"depth": 4, "files": 5})).await;
    for (task, input, setting) in [
        ("t2", json!({"depth": 5}), "runs.max_depth allows 4"),
        // Its log counts as well.
        ("t3", json!({"files": 10}), "runs.max_files allows 10"),
    ] {
        daemon.submit(task, "test.leaves", input).await;
        let stage = daemon.until(task, "test.leaves", StageState::Failed).await;
        let error = stage.error.unwrap_or_default();
        assert!(error.contains(setting), "{error}");
    }
    for limit in ["folder_depth", "files_of_run"] {
        assert_eq!(daemon.times_reached(limit).await, 1, "{limit}");
    }
}

#[tokio::test]
async fn a_run_waits_for_descriptors_and_does_not_fail_for_their_lack() {
    let daemon = daemon("").await;
    daemon.done("t0", "test.leaves", json!({})).await;
    daemon.limit_descriptors(daemon.lowest_free_descriptor());
    daemon.submit("t1", "test.leaves", json!({})).await;
    let message = eventually("a run that waits", || async {
        let stage = daemon.stage("t1", "test.leaves").await?;
        assert!(stage.status.in_flight(), "{:?}", stage.error);
        stage
            .message
            .filter(|text| text.contains("waiting for file descriptors"))
    })
    .await;
    assert!(message.contains("Too many open files"), "{message}");
    daemon.limit_descriptors(1000);
    let stage = daemon.until_ended("t1", "test.leaves").await;
    assert_eq!(
        (stage.status, stage.attempt),
        (StageState::Success, 1),
        "{:?}",
        stage.error
    );
    assert!(daemon.times_reached("machine_resources").await > 0);
}

fn sparse(path: &Path, bytes: u64) {
    fs::File::create(path).unwrap().set_len(bytes).unwrap();
}

#[tokio::test]
async fn a_film_named_as_a_transcript_fails_before_it_is_read() {
    let daemon = Daemon::builder()
        .config("[inputs]\nmax_document = 1048576\n")
        .start()
        .await;
    let node = "wservice.generate_subtitle_files";
    let film = daemon.dir().join("film.mkv");
    sparse(&film, 3 << 20);
    daemon.submit("t1", node, json!({"segments_file": film})).await;
    let error = daemon
        .until("t1", node, StageState::Failed)
        .await
        .error
        .unwrap_or_default();
    for part in ["film.mkv", "3 MiB", "1 MiB", "inputs.max_document"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // As large as it may be: it is read, and no JSON.
    sparse(&film, 1 << 20);
    daemon.submit("t2", node, json!({"segments_file": film})).await;
    let error = daemon
        .until("t2", node, StageState::Failed)
        .await
        .error
        .unwrap_or_default();
    assert!(!error.contains("max_document"), "{error}");
    assert_eq!(daemon.times_reached("document").await, 1);
}
