//! Retention: what `onceoverd gc` and `retention.files = "with_record"` remove, and what they never do; disk use.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use onceover_tests::{Daemon, RedisServer, daemon::task_id, eventually, until_equal};
use onceover_types::StageState;
use onceover_wire::{ReuseMode, client::TaskQuery};
use redis::AsyncCommands;
use serde_json::{Value, json};

const FILE: &str = "test.file";
const WAIT: &str = "test.wait";
/// Nothing is too young.
const AT_ONCE: &str = "[retention]\ngrace = '0s'";

fn share(daemon: &Daemon) -> PathBuf {
    daemon.data.join("share/workflows")
}

/// What the command says, and whether it went well.
fn run(mut command: Command, arguments: &[&str]) -> (bool, String) {
    let output = command.arg("gc").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn gc(daemon: &Daemon, arguments: &[&str]) -> String {
    let (went_well, said) = run(daemon.command(), arguments);
    assert!(went_well, "{said}");
    said
}

/// As when its records have expired.
async fn forget(daemon: &Daemon, task: &str) {
    let mut redis = daemon.redis().await;
    for key in daemon.keys().await {
        if key.split(':').any(|part| part == task) {
            let _: () = redis.del(key).await.unwrap();
        }
    }
}

/// A folder that a run has left, with one file of four bytes.
fn left(daemon: &Daemon, task: &str) -> PathBuf {
    let run = share(daemon)
        .join(task)
        .join("runs/0193a5c4-7f6e-7d2a-9c1b-2f3e4d5c6b7a");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("old"), "four").unwrap();
    run
}

fn output_file(stage: &onceover_wire::StageView) -> PathBuf {
    let output: Value = serde_json::from_str(stage.output.get()).unwrap();
    output["file"].as_str().unwrap().into()
}

async fn again(daemon: &Daemon, task: &str, text: &str) -> PathBuf {
    let input = json!({"text": text});
    let answer = daemon
        .try_submit(task, FILE, input, None, ReuseMode::Never)
        .await
        .unwrap();
    let run = answer.reuse_info.run_id;
    let stage = eventually("the rerun", || async {
        let stage = daemon.stage(task, FILE).await?;
        (stage.status == StageState::Success && stage.run_id == run).then_some(stage)
    })
    .await;
    output_file(&stage)
}

/// Bytes of everything below a folder.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => bytes(&entry.path()),
            false => entry.metadata().unwrap().len(),
        })
        .sum()
}

async fn disk_bytes(daemon: &Daemon, task: &str) -> u64 {
    daemon.client.task(&task_id(task)).await.unwrap().disk_bytes
}

async fn metered(daemon: &Daemon) -> u64 {
    let text = daemon.get("/metrics").await.text;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("onceover_task_files_bytes "));
    line.expect("it is measured").parse().unwrap()
}

#[tokio::test]
async fn retention_gc_removes_the_files_of_forgotten_tasks_and_nothing_else() {
    let config = format!("{AT_ONCE}\n[runs]\nlease = '1s'\nheartbeat = '200ms'\ngrace = '60s'");
    let daemon = Daemon::builder().config(&config).start().await;
    for task in ["forgotten", "known"] {
        daemon.done(task, FILE, json!({})).await;
    }
    // Its record is lost while it runs, and it does not end when asked to.
    daemon
        .submit(
            "running",
            WAIT,
            json!({"until": "go", "deaf": true, "trace": "running"}),
        )
        .await;
    until_equal("begun", 1, || async { daemon.traces("running") }).await;
    for task in ["forgotten", "running"] {
        forget(&daemon, task).await;
    }
    let mut redis = daemon.redis().await;
    let python =
        json!({"workflow_id": "python", "stages": {"test.echo": {"status": "SUCCESS", "output": {"value": 7}}}});
    let _: () = redis
        .set_ex("python:node:test.echo", python.to_string(), 86_400)
        .await
        .unwrap();
    onceover_tests::eventually("taken over", || async {
        let is_known: bool = daemon.redis().await.exists("onceover:task:python").await.unwrap();
        is_known.then_some(())
    })
    .await;
    let _: () = redis.hset("onceover:video:v1", "title", "a video").await.unwrap();
    for task in ["video-v1", "video-v2"] {
        left(&daemon, task);
    }
    for task in ["python", "older"] {
        fs::create_dir_all(share(&daemon).join(task).join("nodes/ffmpeg.extract_audio")).unwrap();
    }
    // Nobody's: uploads, names that are no ids, links out, sources of videos.
    let outside = daemon.dir().join("outside/runs");
    let source = daemon.data.join("share/videos/v2");
    let kept = [
        "uploads",
        "a b",
        ".hidden/runs",
        "known",
        "running",
        "python",
        "video-v1",
    ];
    for folder in [&outside, &source]
        .into_iter()
        .cloned()
        .chain(kept.map(|name| share(&daemon).join(name)))
    {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("file"), "kept").unwrap();
    }
    symlink(outside.parent().unwrap(), share(&daemon).join("link")).unwrap();
    symlink(&outside, share(&daemon).join("forgotten/runs/link")).unwrap();

    let content = async || {
        let mut content = daemon.content().await;
        // What a run that goes on renews.
        content.retain(|(key, _)| !key.starts_with("onceover:held:"));
        content
    };
    let before = content().await;
    let said = gc(&daemon, &["--dry-run"]);
    assert!(said.contains("would remove 3 tasks"), "{said}");
    assert!(share(&daemon).join("forgotten").exists() && content().await == before);
    let said = gc(&daemon, &[]);
    for line in [
        "removed 3 tasks and 0 lost attempts",
        "video-v2: 1 files, 4 B",
        "kept 2 folders of tasks that Redis knows",
        "kept 1 folders of registered videos",
        "kept 1 folders that runs have",
        "kept 1 folders that no run",
    ] {
        assert!(said.contains(line), "{line} is not in: {said}");
    }
    for gone in ["forgotten", "video-v2", "older"] {
        assert!(!share(&daemon).join(gone).exists(), "{gone}");
    }
    for folder in [outside, source]
        .into_iter()
        .chain(kept.map(|name| share(&daemon).join(name)))
    {
        assert!(folder.join("file").exists(), "{}", folder.display());
    }
    assert!(share(&daemon).join("link").exists());
    daemon.release("go");
    daemon.idle().await;
    assert!(gc(&daemon, &[]).contains("removed 1 tasks"));
    assert!(!share(&daemon).join("running").exists());
    assert!(gc(&daemon, &[]).contains("removed 0 tasks"));
}

#[tokio::test]
async fn retention_gc_removes_attempts_that_lost_and_keeps_what_is_pointed_to() {
    let daemon = Daemon::builder().config(AT_ONCE).start().await;
    let mut lost = Vec::new();
    for task in ["t1", "t2", "t3"] {
        let first = output_file(&daemon.done(task, FILE, json!({"text": "first"})).await);
        let second = again(&daemon, task, "second").await;
        lost.push((first, second));
    }
    // Of the second task a request names the first file; of the third something is in flight.
    daemon.done("t2", "test.request", json!({"path": lost[1].0})).await;
    daemon.submit("t3", WAIT, json!({"until": "go"})).await;
    daemon.until("t3", WAIT, StageState::Running).await;
    let counted = disk_bytes(&daemon, "t1").await;
    assert_eq!(counted, bytes(&share(&daemon).join("t1/runs")));
    let said = gc(&daemon, &["--dry-run"]);
    assert!(
        said.contains("would remove 0 tasks and 1 lost attempts") && lost[0].0.exists(),
        "{said}"
    );
    let said = gc(&daemon, &[]);
    assert!(said.contains("removed 0 tasks and 1 lost attempts"), "{said}");
    let here: Vec<_> = lost
        .iter()
        .map(|(first, second)| (first.exists(), second.exists()))
        .collect();
    assert_eq!(here, [(false, true), (true, true), (true, true)]);
    assert_eq!(disk_bytes(&daemon, "t1").await, bytes(&share(&daemon).join("t1/runs")));
    assert!(disk_bytes(&daemon, "t1").await < counted);
    assert!(
        daemon
            .submit("t1", FILE, json!({"text": "second"}))
            .await
            .reuse_info
            .reuse_hit
    );
    daemon.release("go");
    daemon.idle().await;
    assert!(gc(&daemon, &[]).contains("1 lost attempts") && !lost[2].0.exists());
}

#[tokio::test]
async fn retention_what_is_young_or_was_never_this_redis_to_know_stays() {
    let (first, second) = (RedisServer::start(&[]).await, RedisServer::start(&[]).await);
    let mut daemon = Daemon::builder().redis(&first.url(0)).start().await;
    daemon.done("t1", FILE, json!({})).await;
    forget(&daemon, "t1").await;
    let said = gc(&daemon, &[]);
    assert!(
        said.contains("removed 0 tasks") && said.contains("changed a short time ago"),
        "{said}"
    );
    daemon.stop().await;
    // A Redis that knows nothing of the data folder.
    let mut command = Command::new(onceover_tests::program("onceoverd"));
    let config = daemon.dir().join("second.toml");
    fs::write(&config, AT_ONCE).unwrap();
    command
        .arg("--data")
        .arg(&daemon.data)
        .arg("--config")
        .arg(&config)
        .arg("--redis")
        .arg(second.url(0));
    let (went_well, said) = run(command, &["--all"]);
    assert!(
        !went_well && said.contains("never been used with the data folder"),
        "{said}"
    );
    assert!(share(&daemon).join("t1").exists());
}

#[tokio::test]
async fn retention_files_of_before_this_redis_are_taken_only_when_asked_for() {
    let daemon = Daemon::builder()
        .config(&format!("{AT_ONCE}\nfiles = 'with_record'"))
        .start()
        .await;
    left(&daemon, "t1");
    let mut redis = daemon.redis().await;
    let later = onceover_types::Timestamp::now().as_millis() + 1;
    let directories: Vec<String> = redis.hkeys("onceover:directories").await.unwrap();
    assert_eq!(directories.len(), 1);
    let _: () = redis
        .hset("onceover:directories", &directories[0], later)
        .await
        .unwrap();
    let said = gc(&daemon, &[]);
    assert!(
        said.contains("removed 0 tasks") && said.contains("--all takes them too"),
        "{said}"
    );
    assert!(gc(&daemon, &["--all"]).contains("removed 1 tasks"));
}

#[tokio::test]
async fn retention_gc_starts_the_private_redis_when_no_daemon_runs() {
    let mut daemon = Daemon::builder().config(AT_ONCE).start().await;
    daemon.done("known", FILE, json!({})).await;
    daemon.done("forgotten", FILE, json!({})).await;
    forget(&daemon, "forgotten").await;
    daemon.stop().await;
    let said = gc(&daemon, &[]);
    assert!(said.contains("removed 1 tasks"), "{said}");
    daemon.launch().await;
    assert!(daemon.submit("known", FILE, json!({})).await.reuse_info.reuse_hit);
    assert!(!share(&daemon).join("forgotten").exists());
}

#[tokio::test]
async fn retention_gc_never_takes_the_folder_of_a_task_that_is_being_submitted() {
    let daemon = Daemon::builder().config(AT_ONCE).start().await;
    let collecting = {
        let commands: Vec<_> = (0..6).map(|_| daemon.command()).collect();
        tokio::task::spawn_blocking(move || {
            let said: Vec<_> = commands.into_iter().map(|command| run(command, &[])).collect();
            said
        })
    };
    let mut tasks = Vec::new();
    while tasks.len() < 10 || (!collecting.is_finished() && tasks.len() < 200) {
        let task = format!("t{}", tasks.len());
        // What an earlier life of the task has left; it may be taken while it is put there.
        let run = share(&daemon)
            .join(&task)
            .join("runs/0193a5c4-7f6e-7d2a-9c1b-2f3e4d5c6b7a");
        let _ = fs::create_dir_all(&run);
        let _ = fs::write(run.join("old"), "four");
        daemon.submit(&task, FILE, json!({"text": task})).await;
        tasks.push(task);
    }
    for (went_well, said) in collecting.await.unwrap() {
        assert!(went_well, "{said}");
    }
    for task in &tasks {
        let stage = daemon.until(task, FILE, StageState::Success).await;
        assert_eq!(&fs::read_to_string(output_file(&stage)).unwrap(), task);
    }
}

#[tokio::test]
async fn retention_with_record_files_go_as_records_expire() {
    let config = "[retention]\nttl = '2s'\ngrace = '0s'\nfiles = 'with_record'";
    let server = RedisServer::start(&[]).await;
    let mut daemon = Daemon::builder().redis(&server.url(0)).config(config).start().await;
    daemon.done("t1", FILE, json!({})).await;
    daemon.submit("t2", WAIT, json!({"until": "go"})).await;
    daemon.until("t2", WAIT, StageState::Running).await;
    let gone = |task: &'static str| {
        let folder = share(&daemon).join(task);
        async move { eventually("files collected", || async { (!folder.exists()).then_some(()) }).await }
    };
    gone("t1").await;
    assert!(share(&daemon).join("t2").exists(), "it is in flight");
    until_equal("bytes", 0, || metered(&daemon)).await;
    daemon.release("go");
    daemon.until("t2", WAIT, StageState::Success).await;
    // What expires while no daemon runs is found at the next start.
    daemon.stop().await;
    let folder = share(&daemon).join("t2");
    assert!(folder.exists());
    let mut redis = daemon.redis().await;
    until_equal("expired", 0u64, || {
        let mut redis = redis.clone();
        async move { redis.exists("onceover:stage:t2:test.wait").await.unwrap() }
    })
    .await;
    let _: () = redis.del("onceover:expiry").await.unwrap();
    daemon.launch().await;
    eventually("files collected", || async { (!folder.exists()).then_some(()) }).await;
}

#[tokio::test]
async fn disk_use_is_told_by_task_and_in_all() {
    let daemon = Daemon::builder().config(AT_ONCE).start().await;
    daemon.done("t1", FILE, json!({"text": "x".repeat(1000)})).await;
    daemon.submit("t2", "test.fail", json!({})).await;
    daemon.until("t2", "test.fail", StageState::Failed).await;
    let on_disk = |task: &str| bytes(&share(&daemon).join(task).join("runs"));
    for task in ["t1", "t2"] {
        assert_eq!(disk_bytes(&daemon, task).await, on_disk(task), "{task}");
    }
    assert!(on_disk("t1") > 1000 && on_disk("t2") > 0);
    let page = daemon.client.tasks(&TaskQuery::default()).await.unwrap();
    for item in &page.items {
        assert_eq!(item.disk_bytes, on_disk(item.task_id.as_str()));
    }
    assert_eq!(metered(&daemon).await, on_disk("t1") + on_disk("t2"));
    // What an expired task left is on disk until it is collected.
    forget(&daemon, "t2").await;
    assert_eq!(metered(&daemon).await, on_disk("t1") + on_disk("t2"));
    gc(&daemon, &[]);
    assert_eq!(metered(&daemon).await, on_disk("t1"));
    daemon.client.delete(&task_id("t1"), false).await.unwrap();
    assert_eq!(metered(&daemon).await, 0);
}

#[tokio::test]
async fn disk_use_of_a_cancelled_and_of_a_lost_attempt_counts() {
    let mut daemon = Daemon::start().await;
    let on_disk = |daemon: &Daemon, task: &str| bytes(&share(daemon).join(task).join("runs"));
    daemon
        .submit("t1", WAIT, json!({"until": "never", "trace": "t1"}))
        .await;
    until_equal("begun", 1, || async { daemon.traces("t1") }).await;
    daemon.client.cancel(&task_id("t1")).await.unwrap();
    daemon.idle().await;
    until_equal("bytes", on_disk(&daemon, "t1"), || disk_bytes(&daemon, "t1")).await;
    daemon.submit("t2", WAIT, json!({"until": "go", "trace": "t2"})).await;
    until_equal("begun", 1, || async { daemon.traces("t2") }).await;
    daemon.kill();
    daemon.launch().await;
    until_equal("begun again", 2, || async { daemon.traces("t2") }).await;
    daemon.release("go");
    let stage = daemon.until("t2", WAIT, StageState::Success).await;
    assert_eq!(stage.attempt, 2);
    assert_eq!(fs::read_dir(share(&daemon).join("t2/runs")).unwrap().count(), 2);
    assert_eq!(disk_bytes(&daemon, "t2").await, on_disk(&daemon, "t2"));
}
