//! O2: whatever is killed, nothing accepted is lost, nothing runs twice at once, every stage ends.

use std::{
    fs,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use onceover_tests::{
    Daemon, RedisServer,
    daemon::{begun, begun_by_one, request, task_id},
    eventually, until_equal,
};
use onceover_types::StageState;
use onceover_wire::ReuseMode;
use redis::AsyncCommands;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";
const TOLD: &str = "test.told";

/// Process ids of the daemon of this directory, its Redis, its reaper: all that have the directory in the command line.
fn around(daemon: &Daemon) -> Vec<i32> {
    let mark = daemon.data.display().to_string();
    let pids = fs::read_dir("/proc").expect("it is there").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&mark)
    })
    .collect()
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).expect("a pid"), signal).expect("it can be signalled");
}

async fn until_attempt(daemon: &Daemon, task: &str, node: &str, attempt: u32) {
    until_equal("running attempt", Some((StageState::Running, attempt)), || async {
        let stage = daemon.stage(task, node).await?;
        Some((stage.status, stage.attempt))
    })
    .await;
}

#[tokio::test]
async fn o2_a_killed_daemons_run_goes_on_as_the_next_attempt_and_what_waited_runs() {
    let mut daemon = Daemon::start().await;
    daemon.done("t0", ECHO, json!({"value": 1})).await;
    let first = daemon.submit("t1", WAIT, json!({"until": "go", "trace": "t1"})).await;
    until_equal("begun", 1, || async { daemon.traces("t1") }).await;
    for n in 2..6 {
        daemon
            .submit(&format!("t{n}"), WAIT, json!({"until": "go", "trace": format!("t{n}")}))
            .await;
    }
    daemon.kill();
    // Without a restart, too, nothing of the run is left shortly after.
    let killed = Instant::now();
    until_equal("processes", Vec::<i32>::new(), || async { daemon.children() }).await;
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    daemon.launch().await;
    until_attempt(&daemon, "t1", WAIT, 2).await;
    until_equal("begun again", 2, || async { daemon.traces("t1") }).await;
    // It goes on as the same run, which a submit joins.
    let joined = daemon.submit("t1", WAIT, json!({})).await;
    assert_eq!(joined.reuse_info.run_id, first.reuse_info.run_id);
    daemon.release("go");
    let stage = daemon.until("t1", WAIT, StageState::Success).await;
    assert_eq!((stage.attempt, stage.run_id), (2, first.reuse_info.run_id));
    for n in 2..6 {
        let stage = daemon.until(&format!("t{n}"), WAIT, StageState::Success).await;
        assert_eq!(stage.attempt, 1);
    }
    daemon.idle().await;
    for n in 2..6 {
        assert_eq!(daemon.traces(&format!("t{n}")), 1);
    }
    assert!(
        daemon
            .submit("t0", ECHO, json!({"value": 1}))
            .await
            .reuse_info
            .reuse_hit
    );
}

#[tokio::test]
async fn o2_a_daemon_killed_for_good_leaves_no_process_behind() {
    let mut daemon = Daemon::start().await;
    daemon.submit("t1", "test.forks", json!({"trace": "t1"})).await;
    until_equal("processes", 3, || async { daemon.children().len() }).await;
    assert!(around(&daemon).len() >= 2, "the daemon and its Redis");
    daemon.kill();
    until_equal("processes of runs", Vec::<i32>::new(), || async { daemon.children() }).await;
    until_equal("Redis and reaper", Vec::<i32>::new(), || async { around(&daemon) }).await;
    daemon.launch().await;
    // Redis has kept it.
    until_attempt(&daemon, "t1", "test.forks", 2).await;
}

#[tokio::test]
async fn o2_a_daemon_that_is_told_to_stop_hands_its_runs_back_and_leaves_nothing() {
    let mut daemon = Daemon::start().await;
    daemon.submit("t1", "test.forks", json!({"trace": "t1"})).await;
    until_equal("processes", 3, || async { daemon.children().len() }).await;
    daemon.submit("t2", WAIT, json!({"until": "go", "trace": "t2"})).await;
    until_equal("begun", 1, || async { daemon.traces("t2") }).await;
    for attempt in 2..8 {
        let ended = daemon.stop().await;
        assert!(ended.success(), "{ended:?}");
        assert!(daemon.children().is_empty());
        until_equal("processes", Vec::<i32>::new(), || async { around(&daemon) }).await;
        daemon.launch().await;
        // More often than a run may be lost: what is handed back is not lost.
        let stage = daemon.until("t2", WAIT, StageState::Running).await;
        assert_eq!(stage.attempt, attempt);
        until_equal("begun", attempt as usize, || async { daemon.traces("t2") }).await;
    }
    daemon.release("go");
    daemon.until("t2", WAIT, StageState::Success).await;
    assert_eq!(
        daemon.stage("t1", "test.forks").await.unwrap().status,
        StageState::Running
    );
}

#[tokio::test]
async fn o2_a_run_that_is_lost_again_and_again_fails_in_the_end() {
    let mut daemon = Daemon::builder()
        .config("[runs]\nlease = '1s'\nheartbeat = '200ms'\ngrace = '500ms'\nmax_lost = 2")
        .start()
        .await;
    daemon
        .submit("t1", WAIT, json!({"until": "never", "trace": "t1"}))
        .await;
    for attempt in 1..=2 {
        until_equal("begun", attempt, || async { daemon.traces("t1") }).await;
        daemon.kill();
        daemon.launch().await;
    }
    let stage = daemon.until("t1", WAIT, StageState::Failed).await;
    assert!(stage.error.as_deref().unwrap().contains("lost 2 times"), "{stage:?}");
    assert_eq!(daemon.times_reached("lost_runs").await, 1);
    daemon.idle().await;
    assert_eq!(daemon.traces("t1"), 2);
    let answer = daemon.submit("t1", WAIT, json!({"until": "never"})).await;
    assert_eq!(answer.reuse_info.reason.as_deref(), Some("lost"));
}

#[tokio::test]
async fn o2_a_killed_private_redis_comes_back_with_what_it_had() {
    let daemon = Daemon::start().await;
    let done = daemon.done("t1", ECHO, json!({"value": 1})).await;
    let run = begun(&[&daemon], "t2").await;
    daemon.submit("t3", WAIT, json!({"until": "go"})).await;
    daemon.until("t3", WAIT, StageState::Running).await;
    let pid = daemon.redis_pid().await;
    kill(pid, Signal::KILL);
    // Ends while Redis is unreachable: its result waits.
    daemon.tell(&run, &json!({"output": {"value": 2}}));
    let hit = eventually("a submit that is accepted", || async {
        daemon
            .try_submit("t1", ECHO, json!({}), None, ReuseMode::Auto)
            .await
            .ok()
    })
    .await;
    assert!(hit.reuse_info.reuse_hit);
    assert_eq!(hit.reuse_info.cached_at, Some(done.ended_at));
    assert_ne!(daemon.redis_pid().await, pid);
    let stage = daemon.until("t2", TOLD, StageState::Success).await;
    assert_eq!((stage.attempt, stage.output.get()), (1, r#"{"value":2}"#));
    assert_eq!(daemon.traces(&run), 1);
    daemon.release("go");
    let stage = daemon.until("t3", WAIT, StageState::Success).await;
    assert_eq!(stage.attempt, 1);
    let answer = daemon.submit("t4", ECHO, json!({})).await;
    assert_eq!(answer.reuse_info.reason.as_deref(), Some("absent"));
    daemon.until("t4", ECHO, StageState::Success).await;
}

#[tokio::test]
async fn o2_a_second_daemon_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let daemon = Daemon::start().await;
    daemon.submit("t1", WAIT, json!({"until": "go", "trace": "t1"})).await;
    until_equal("begun", 1, || async { daemon.traces("t1") }).await;
    let mut second = daemon.command_on("127.0.0.1:0");
    let said = tokio::task::spawn_blocking(move || second.output().expect("it starts"))
        .await
        .unwrap();
    assert!(!said.status.success());
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    for part in [&daemon.data.display().to_string(), &daemon.pid().to_string(), "--data"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(daemon.children().len(), 1, "the run of the first goes on");
    daemon.release("go");
    let stage = daemon.until("t1", WAIT, StageState::Success).await;
    assert_eq!((stage.attempt, daemon.traces("t1")), (1, 1));
}

#[tokio::test]
async fn o2_a_redis_that_would_forget_or_is_of_a_newer_layout_is_refused() {
    for (arguments, version, why) in [
        (&["--maxmemory-policy", "allkeys-lru"][..], None, "allkeys-lru"),
        (&[][..], Some("99"), "onceover:schema"),
    ] {
        let server = RedisServer::start(arguments).await;
        let mut redis = server.connect().await;
        if let Some(version) = version {
            let _: () = redis.set("onceover:schema", version).await.unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let mut command = tokio::process::Command::new(onceover_tests::program("onceoverd"));
        command
            .args(["--listen", "127.0.0.1:0", "--redis", &server.url(0), "--data"])
            .arg(dir.path());
        let said = tokio::time::timeout(onceover_tests::PATIENCE, command.kill_on_drop(true).output()).await;
        let said = said.expect("it ends").expect("it starts");
        assert!(!said.status.success());
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(text.contains(why), "{text}");
    }
}

async fn two(config: &str) -> (RedisServer, Daemon, Daemon) {
    let server = RedisServer::start(&[]).await;
    let first = Daemon::builder().redis(&server.url(3)).start().await;
    let second = Daemon::builder().redis(&server.url(3)).config(config).start().await;
    (server, first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_200_identical_submits_across_two_daemons_start_one_run() {
    let (_server, first, second) = two("").await;
    let body = request(
        "t1",
        WAIT,
        json!({"until": "go", "trace": "one"}),
        None,
        ReuseMode::Auto,
    );
    let both = [&first, &second];
    let answers = join_all((0..200).map(|n| both[n % 2].client.submit(&body))).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.expect("accepted").reuse_info)
        .collect();
    assert_eq!(answers.iter().filter(|answer| !answer.reuse_hit).count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.run_id == answers[0].run_id && answer.run_id.is_some())
    );
    first.release("go");
    second.release("go");
    first.until("t1", WAIT, StageState::Success).await;
    let hit = second.submit("t1", WAIT, json!({})).await;
    assert!(hit.reuse_info.reuse_hit && hit.result.is_some());
    second.idle().await;
    assert_eq!(first.traces("one") + second.traces("one"), 1);
}

#[tokio::test]
async fn r7_a_frozen_daemon_is_taken_over_from_and_changes_nothing_when_it_thaws() {
    let (_server, first, second) = two("").await;
    let (run, frozen, other) = begun_by_one(first, second, "t1").await;
    frozen.signal(Signal::STOP);
    until_equal("taken over", 1, || async { other.traces(&run) }).await;
    until_attempt(&other, "t1", TOLD, 2).await;
    // The frozen daemon's own program ends well meanwhile; nobody hears it yet.
    frozen.tell(&run, &json!({"output": {"by": "the frozen one"}}));
    until_equal("its program", 0, || async { frozen.children().len() }).await;
    other.tell(&run, &json!({"output": {"by": "the other"}}));
    let won = other.until("t1", TOLD, StageState::Success).await;
    assert_eq!(won.output.get(), r#"{"by":"the other"}"#);
    let stored = other.projection("t1", TOLD).await;

    frozen.signal(Signal::CONT);
    eventually("the late result", || async {
        let log = frozen.logged();
        (log.contains("a late result was dropped") || log.contains("run no longer owns its stage")).then_some(())
    })
    .await;
    frozen.idle().await;
    let after = frozen.stage("t1", TOLD).await.unwrap();
    assert_eq!(after.output.get(), won.output.get());
    assert_eq!(after.summary(), won.summary());
    assert_eq!(other.projection("t1", TOLD).await, stored);
    // The thawed one works on.
    frozen.done("t2", ECHO, json!({})).await;
}

#[tokio::test]
async fn o2_a_run_is_cancelled_through_any_daemon() {
    let (_server, first, second) = two("[slots]\nio = 0").await;
    second.submit("t1", "test.forks", json!({"trace": "t1"})).await;
    until_equal("processes", 3, || async { first.children().len() }).await;
    second.client.cancel(&task_id("t1")).await.unwrap();
    until_equal("processes", Vec::<i32>::new(), || async { first.children() }).await;
    second.idle().await;
    assert_eq!(
        first.stage("t1", "test.forks").await.unwrap().status,
        StageState::Cancelled
    );
}

#[tokio::test]
async fn o2_another_daemon_takes_over_from_one_that_was_killed() {
    let (_server, first, second) = two("").await;
    let (run, mut killed, other) = begun_by_one(first, second, "t1").await;
    killed.kill();
    until_equal("taken over", 1, || async { other.traces(&run) }).await;
    other.tell(&run, &json!({"output": {"value": 1}}));
    let stage = other.until("t1", TOLD, StageState::Success).await;
    assert_eq!(stage.attempt, 2);
    until_equal("processes", Vec::<i32>::new(), || async { killed.children() }).await;
}

#[tokio::test]
async fn o2_a_redis_that_was_frozen_past_every_lease_does_not_make_a_run_twice() {
    let daemon = Daemon::builder().config("[slots]\ncpu = 4").start().await;
    let runs = join_all((0..3).map(async |n| begun(&[&daemon], &format!("t{n}")).await)).await;
    let redis = daemon.redis_pid().await;
    kill(redis, Signal::STOP);
    let frozen = Instant::now();
    // Longer than the lease of 1 s, and until the daemon has noticed.
    eventually("an outage", || async {
        (daemon.get("/readyz").await.status == 503 && frozen.elapsed() > Duration::from_secs(3)).then_some(())
    })
    .await;
    kill(redis, Signal::CONT);
    stays_single(&daemon, &runs).await;
}

#[tokio::test]
async fn o2_a_lone_daemon_that_was_frozen_past_its_leases_goes_on_with_its_runs() {
    let daemon = Daemon::start().await;
    let run = begun(&[&daemon], "t0").await;
    let mut redis = daemon.redis().await;
    daemon.signal(Signal::STOP);
    eventually("the lease runs out", || {
        let mut redis = redis.clone();
        async move {
            let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.unwrap();
            let held: Vec<(String, f64)> = redis.zrange_withscores("onceover:held:cpu", 0, -1).await.unwrap();
            (held[0].1 + 500.0 < (seconds * 1000 + micros / 1000) as f64).then_some(())
        }
    })
    .await;
    daemon.signal(Signal::CONT);
    let _: String = redis.ping().await.unwrap();
    stays_single(&daemon, &[run]).await;
}

/// The runs of t0, t1, ... are still their first attempts after more than a lease, and end as such.
async fn stays_single(daemon: &Daemon, runs: &[String]) {
    eventually("the daemon", || async {
        (daemon.get("/readyz").await.status == 200).then_some(())
    })
    .await;
    // Each lease has been renewed.
    for n in 0..runs.len() {
        let before = daemon.stage(&format!("t{n}"), TOLD).await.unwrap().summary();
        eventually("beats", || async {
            let now = daemon.stage(&format!("t{n}"), TOLD).await?.summary();
            (now.attempt > before.attempt || now.revision > before.revision + 2).then_some(())
        })
        .await;
    }
    for (n, run) in runs.iter().enumerate() {
        daemon.tell(run, &json!({"output": {"value": n}}));
        let stage = daemon.until(&format!("t{n}"), TOLD, StageState::Success).await;
        assert_eq!((stage.attempt, daemon.traces(run)), (1, 1), "{run}");
    }
}
