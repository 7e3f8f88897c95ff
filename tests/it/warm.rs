//! Processes that keep their model between runs: the next run begins at once, and whatever goes wrong with a process is
//! seen by the run that it happens in, if by any.

use std::{fs, path::Path};

use futures_util::future::join_all;
use onceover_tests::{
    Daemon, DaemonBuilder, RedisServer, daemon::task_id, eventually, redis_server::connect, until_equal,
};
use onceover_types::StageState;
use onceover_wire::StageView;
use redis::AsyncCommands;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const NODE: &str = "test.warm";
const PROGRAM: &str = include_str!("warm.py");

const NODES: &str = r#"
[[nodes]]
name = "test.warm"
queue = { by = "device", gpu = "gpu", otherwise = "cpu" }
timeout_seconds = 60
runner = { command = ["python3", "@DIR@/warm.py"], warm = true }
[[nodes.parameters]]
name = "device"
type = "string"
default = "cpu"

[[nodes]]
name = "test.brief"
queue = "cpu"
timeout_seconds = 2
runner = { command = ["python3", "@DIR@/warm.py"], warm = true }

[[nodes]]
name = "test.cold"
queue = "gpu"
timeout_seconds = 60
runner = { command = ["python3", "@DIR@/warm.py"] }

[[nodes]]
name = "test.mute"
queue = "cpu"
timeout_seconds = 60
runner = { command = ["sh", "-c", "echo no such protocol >&2; exit 3"], warm = true }
"#;

fn builder(settings: &str) -> DaemonBuilder {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/nodes");
    Daemon::builder()
        .config(&format!("[slots]\ncpu = 2\n[warm]\n{settings}"))
        .nodes(NODES)
        .env("PYTHONPATH", &programs.display().to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
}

async fn start(settings: &str) -> Daemon {
    start_with_program(builder(settings)).await
}

async fn start_with_program(builder: DaemonBuilder) -> Daemon {
    let daemon = builder.start().await;
    fs::write(daemon.dir().join("warm.py"), PROGRAM).expect("the program is written");
    daemon
}

/// What a run of the node gave.
async fn run(daemon: &Daemon, task: &str, input: Value) -> Value {
    output(&daemon.done(task, NODE, input).await)
}

fn output(stage: &StageView) -> Value {
    serde_json::from_str(stage.output.get()).expect("an output")
}

fn pid(output: &Value) -> i32 {
    let pid = output["pid"].as_i64().expect("the process says its number");
    i32::try_from(pid).expect("a process number")
}

/// The processes that the daemon keeps.
async fn kept(daemon: &Daemon) -> Vec<Value> {
    let workers = daemon.get("/v1/workers").await.json();
    workers["warm"].as_array().expect("a list").clone()
}

/// How they are, the oldest first.
async fn states(daemon: &Daemon) -> Vec<String> {
    let kept = kept(daemon).await;
    let states = kept.iter().filter_map(|process| process["state"].as_str());
    states.map(str::to_owned).collect()
}

async fn until_idle(daemon: &Daemon) {
    until_equal("the process waits for a run", vec!["idle".to_owned()], || {
        states(daemon)
    })
    .await;
}

/// Waits until the stage reports progress, and returns the process that does its run.
async fn at_work(daemon: &Daemon, task: &str, node: &str) -> i32 {
    eventually(&format!("{task} is at work"), || async {
        let progress = daemon.stage(task, node).await?.progress?;
        (progress > 0.0).then_some(())
    })
    .await;
    let kept = kept(daemon).await;
    let busy = kept
        .iter()
        .find(|process| process["state"] == "busy")
        .expect("one is at work");
    pid(busy)
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn gone(pid: i32) {
    until_equal("the process has ended", false, || async { is_alive(pid) }).await;
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("it can be killed");
}

async fn log(daemon: &Daemon, task: &str) -> String {
    daemon.get(&format!("/v1/tasks/{task}/stages/{NODE}/log")).await.text
}

/// How many processes were ended for this reason.
async fn ends(daemon: &Daemon, reason: &str) -> u64 {
    let metrics = daemon.get("/metrics").await.text;
    let start = format!("onceover_warm_ends_total{{reason=\"{reason}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&start));
    count.map_or(0, |count| count.parse().expect("a count"))
}

#[tokio::test]
async fn warm_the_next_run_begins_within_200_ms_of_its_claim_in_the_same_process() {
    let daemon = start("").await;
    let first = run(&daemon, "first", json!({})).await;
    let mut waits = Vec::new();
    for uses in 2..7 {
        until_idle(&daemon).await;
        let stage = daemon.done(&format!("next-{uses}"), NODE, json!({})).await;
        let output = output(&stage);
        assert_eq!((pid(&output), &output["uses"]), (pid(&first), &json!(uses)));
        let claimed = stage.started_at.expect("it was claimed").as_millis() as f64 / 1000.0;
        waits.push(output["began"].as_f64().expect("a time") - claimed);
    }
    // One of them may meet a machine that does other things.
    assert!(waits.iter().any(|wait| *wait < 0.2), "{waits:?}");
    assert!(log(&daemon, "next-2").await.contains("warm: run 2 of process"));
    let metrics = daemon.get("/metrics").await.text;
    for line in [
        "onceover_warm_starts_total{node=\"test.warm\"} 1",
        "onceover_warm_reuses_total{node=\"test.warm\"} 5",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    until_idle(&daemon).await;
    let process = kept(&daemon).await.remove(0);
    assert_eq!(
        (&process["task_name"], &process["device"], &process["runs"]),
        (&json!(NODE), &json!("cpu"), &json!(6))
    );
    assert!(process["memory"].as_u64().expect("its memory") > 1 << 20);
}

#[tokio::test]
async fn warm_a_process_that_is_killed_between_runs_is_seen_by_nobody() {
    let daemon = start("").await;
    let first = run(&daemon, "first", json!({})).await;
    until_idle(&daemon).await;
    kill(pid(&first));
    until_equal("no process", Vec::<String>::new(), || states(&daemon)).await;
    let next = run(&daemon, "next", json!({})).await;
    assert_ne!(pid(&next), pid(&first));
    assert_eq!(next["uses"], 1);
    assert_eq!(ends(&daemon, "died").await, 1);
}

#[tokio::test]
async fn warm_a_process_that_is_killed_in_a_run_fails_it_with_the_cause_and_the_next_has_another() {
    let daemon = start("").await;
    run(&daemon, "first", json!({})).await;
    daemon
        .submit("killed", NODE, json!({"does": "waits", "until": "never"}))
        .await;
    let process = at_work(&daemon, "killed", NODE).await;
    kill(process);
    let stage = daemon.until_ended("killed", NODE).await;
    assert_eq!(stage.status, StageState::Failed);
    let error = stage.error.expect("why");
    assert!(
        error.contains("signal 9 (SIGKILL; the machine may be out of memory)"),
        "{error}"
    );
    assert!(
        error.contains("complained in killed") && !error.contains("in first"),
        "{error}"
    );
    assert_ne!(pid(&run(&daemon, "next", json!({})).await), process);
}

#[tokio::test]
async fn warm_a_cancel_ends_the_run_alone_where_the_program_reports() {
    let daemon = start("").await;
    daemon
        .submit("cancelled", NODE, json!({"does": "waits", "until": "never"}))
        .await;
    let process = at_work(&daemon, "cancelled", NODE).await;
    daemon
        .client
        .cancel(&task_id("cancelled"))
        .await
        .expect("it is cancelled");
    until_idle(&daemon).await;
    let next = run(&daemon, "next", json!({})).await;
    assert_eq!((pid(&next), &next["uses"]), (process, &json!(2)));
}

#[tokio::test]
async fn warm_a_cancel_ends_the_process_where_the_program_does_not_report() {
    let daemon = start("").await;
    daemon.submit("cancelled", NODE, json!({"does": "hangs"})).await;
    let process = at_work(&daemon, "cancelled", NODE).await;
    daemon
        .client
        .cancel(&task_id("cancelled"))
        .await
        .expect("it is cancelled");
    gone(process).await;
    daemon.idle().await;
    let next = run(&daemon, "next", json!({})).await;
    assert_eq!(next["uses"], 1);
    assert_eq!(ends(&daemon, "cancelled").await, 1);
}

#[tokio::test]
async fn warm_the_time_limit_ends_a_run_as_it_ends_one_of_its_own_process() {
    let daemon = start("").await;
    daemon.submit("late", "test.brief", json!({"does": "hangs"})).await;
    let process = at_work(&daemon, "late", "test.brief").await;
    let stage = daemon.until_ended("late", "test.brief").await;
    assert_eq!(stage.status, StageState::Failed);
    assert!(stage.error.expect("why").contains("time limit of 2 seconds"));
    gone(process).await;
    daemon.done("next", "test.brief", json!({})).await;
}

#[tokio::test]
async fn warm_a_process_that_has_grown_is_replaced() {
    let daemon = start("max_growth = 33554432").await;
    let first = run(&daemon, "first", json!({})).await;
    let grown = run(&daemon, "grows", json!({"does": "grows"})).await;
    assert_eq!(pid(&grown), pid(&first), "its first run says what it has");
    gone(pid(&first)).await;
    assert_eq!(run(&daemon, "next", json!({})).await["uses"], 1);
    assert_eq!(ends(&daemon, "growth").await, 1);
    assert_eq!(daemon.times_reached("warm_growth").await, 1);
}

#[tokio::test]
async fn warm_a_process_that_has_had_its_runs_is_replaced() {
    let daemon = start("max_runs = 2").await;
    let first = run(&daemon, "first", json!({})).await;
    until_idle(&daemon).await;
    assert_eq!(pid(&run(&daemon, "second", json!({})).await), pid(&first));
    gone(pid(&first)).await;
    assert_eq!(run(&daemon, "third", json!({})).await["uses"], 1);
    assert_eq!(ends(&daemon, "max_runs").await, 1);
    assert_eq!(daemon.times_reached("warm_runs").await, 1);
}

#[tokio::test]
async fn warm_processes_that_have_more_memory_than_they_may_together_are_ended() {
    let daemon = start("max_memory = 1048576").await;
    let first = run(&daemon, "first", json!({})).await;
    gone(pid(&first)).await;
    assert_eq!(ends(&daemon, "memory").await, 1);
    assert_eq!(daemon.times_reached("warm_memory").await, 1);
}

#[tokio::test]
async fn warm_a_process_that_does_nothing_for_long_is_ended() {
    let daemon = start("idle = '300ms'").await;
    let first = run(&daemon, "first", json!({})).await;
    gone(pid(&first)).await;
    until_equal("no process", Vec::<String>::new(), || states(&daemon)).await;
    assert_eq!(ends(&daemon, "idle").await, 1);
}

#[tokio::test]
async fn warm_processes_end_with_their_daemon_however_it_ends() {
    let mut daemon = start("").await;
    let first = run(&daemon, "first", json!({})).await;
    until_idle(&daemon).await;
    daemon.kill();
    daemon.launch().await;
    gone(pid(&first)).await;
    let next = run(&daemon, "next", json!({})).await;
    until_idle(&daemon).await;
    assert!(daemon.stop().await.success());
    assert!(!is_alive(pid(&next)), "nothing is left when the daemon has ended");
}

#[tokio::test]
async fn warm_a_daemon_that_stops_hands_its_run_back_and_leaves_no_process() {
    let mut daemon = start("").await;
    daemon.submit("film", NODE, json!({"does": "hangs"})).await;
    let process = at_work(&daemon, "film", NODE).await;
    assert!(daemon.stop().await.success());
    assert!(!is_alive(process));
    daemon.launch().await;
    let stage = daemon.until("film", NODE, StageState::Running).await;
    assert_eq!(stage.attempt, 2);
}

#[tokio::test]
async fn warm_idle_processes_leave_the_gpu_to_the_holder_of_its_lock() {
    let redis = RedisServer::start(&[]).await;
    let url = redis.url(2);
    let daemon = start_with_program(builder("").config(&format!("[gpu_lock]\nredis = '{url}'"))).await;
    let on_gpu = run(&daemon, "gpu", json!({"device": "cuda"})).await;
    let mut connection = connect(&url).await;
    connection
        .set_ex::<_, _, ()>("gpu_lock:0", "locked_by_whisper", 3600)
        .await
        .expect("Redis answers");
    daemon.submit("waits", NODE, json!({"device": "cuda"})).await;
    gone(pid(&on_gpu)).await;
    assert_eq!(ends(&daemon, "gpu_lock").await, 1);
    connection.del::<_, ()>("gpu_lock:0").await.expect("Redis answers");
    daemon.until("waits", NODE, StageState::Success).await;
}

#[tokio::test]
async fn warm_another_device_is_another_process_with_another_environment() {
    let daemon = start("gpu_memory = 1073741824").await;
    let on_cpu = run(&daemon, "cpu", json!({})).await;
    let on_gpu = run(&daemon, "gpu", json!({"device": "cuda"})).await;
    assert_ne!(pid(&on_cpu), pid(&on_gpu));
    assert_eq!(on_cpu["gpus"], "-1", "it sees no GPU");
    assert_ne!(on_gpu["gpus"], "-1");
    let idle = vec!["idle".to_owned(), "idle".to_owned()];
    until_equal("both wait for a run", idle, || states(&daemon)).await;
    assert_eq!(pid(&run(&daemon, "cpu-2", json!({})).await), pid(&on_cpu));
    assert_eq!(
        pid(&run(&daemon, "gpu-2", json!({"device": "cuda"})).await),
        pid(&on_gpu)
    );
}

#[tokio::test]
async fn warm_a_run_that_may_need_all_of_the_gpu_has_idle_processes_ended_before_it_begins() {
    let daemon = start("").await;
    let on_gpu = run(&daemon, "gpu", json!({"device": "cuda"})).await;
    let on_cpu = run(&daemon, "cpu", json!({})).await;
    daemon.done("cold", "test.cold", json!({})).await;
    assert!(!is_alive(pid(&on_gpu)), "it held memory of the GPU");
    assert!(is_alive(pid(&on_cpu)));
    assert_eq!(ends(&daemon, "gpu_memory").await, 1);
    assert_eq!(daemon.times_reached("warm_gpu_memory").await, 1);
}

#[tokio::test]
async fn warm_a_late_line_of_a_run_is_neither_in_the_next_result_nor_in_its_log() {
    let daemon = start("").await;
    run(&daemon, "first", json!({"does": "is late", "until": "over"})).await;
    until_idle(&daemon).await;
    daemon
        .submit("next", NODE, json!({"does": "waits", "until": "go"}))
        .await;
    at_work(&daemon, "next", NODE).await;
    daemon.release("over");
    eventually("late lines are counted", || async {
        let metrics = daemon.get("/metrics").await.text;
        metrics.contains("onceover_warm_late_lines_total 2").then_some(())
    })
    .await;
    daemon.release("go");
    let stage = daemon.until("next", NODE, StageState::Success).await;
    assert_eq!(
        (&output(&stage)["uses"], &output(&stage)["late"]),
        (&json!(2), &Value::Null)
    );
    assert!(!log(&daemon, "next").await.contains("late line"));
}

#[tokio::test]
async fn warm_the_log_of_each_run_has_its_lines_alone() {
    let daemon = start("").await;
    for task in ["one", "two", "three"] {
        run(&daemon, task, json!({})).await;
        until_idle(&daemon).await;
    }
    for task in ["one", "two", "three"] {
        let log = log(&daemon, task).await;
        for what in ["printed", "complained", "logged"] {
            let lines = log.lines().filter(|line| line.contains(&format!("{what} in ")));
            let lines: Vec<_> = lines.collect();
            assert!(
                lines.len() == 1 && lines[0].ends_with(&format!("{what} in {task}")),
                "{log}"
            );
        }
        assert!(!log.contains("\"ended\""), "{log}");
    }
}

#[tokio::test]
async fn warm_what_a_run_leaves_is_ended_with_it_and_its_process_stays() {
    let daemon = start("").await;
    let output = run(&daemon, "leaves", json!({"does": "leaves"})).await;
    let left = output["left"]
        .as_i64()
        .and_then(|pid| i32::try_from(pid).ok())
        .expect("a pid");
    gone(left).await;
    assert!(is_alive(pid(&output)));
    assert_eq!(pid(&run(&daemon, "next", json!({})).await), pid(&output));
}

#[tokio::test]
async fn warm_a_second_run_at_a_time_has_a_second_process_or_one_of_its_own_where_there_may_be_no_more() {
    for (most, kept_after) in [(2, 2), (1, 1)] {
        let daemon = start(&format!("max_processes = {most}")).await;
        let tasks = ["one", "two"];
        for task in tasks {
            daemon.submit(task, NODE, json!({"does": "waits", "until": "go"})).await;
        }
        join_all(tasks.map(|task| daemon.until(task, NODE, StageState::Running))).await;
        until_equal("two programs", 2, || async { daemon.children().len() }).await;
        daemon.release("go");
        for task in tasks {
            daemon.until(task, NODE, StageState::Success).await;
        }
        until_equal("processes that are kept", kept_after, || async {
            daemon.children().len()
        })
        .await;
        assert_eq!(daemon.times_reached("warm_processes").await, 2 - most);
    }
}

#[tokio::test]
async fn warm_a_program_that_does_not_take_runs_fails_and_the_error_says_what_to_do() {
    let daemon = start("").await;
    daemon.submit("mute", "test.mute", json!({})).await;
    let stage = daemon.until_ended("mute", "test.mute").await;
    assert_eq!(stage.status, StageState::Failed);
    let error = stage.error.expect("why");
    for words in ["exit code 3", "no such protocol", "runner.warm", "\"ready\""] {
        assert!(error.contains(words), "{words} is not in {error}");
    }
}

#[tokio::test]
async fn warm_nothing_is_kept_where_that_is_switched_off() {
    let daemon = start("enabled = false").await;
    let first = run(&daemon, "first", json!({})).await;
    gone(pid(&first)).await;
    assert_eq!(run(&daemon, "next", json!({})).await["uses"], 1);
    assert_eq!(kept(&daemon).await, Vec::<Value>::new());
}
