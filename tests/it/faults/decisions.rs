//! What is decided, also while requests and replies are lost: 1, 2, 6, 8 to 11.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use onceover_tests::{
    Daemon, Proxy, RedisServer, Tally,
    callbacks::Receiver,
    daemon::{begun, node_name, request, task_id},
    eventually,
    proxy::Fault,
    until_equal,
};
use onceover_types::StageState;
use onceover_wire::{ReuseDecision, ReuseMode, SubmitRequest, SubmitResponse};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{CHEAP, ECHO, LANES, QUICK, TOLD, builder, ended, succeeded};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req1_identical_submits_through_two_daemons_run_once() {
    let server = RedisServer::start(&[]).await;
    let daemons = [
        builder().redis(&server.url(0)).start().await,
        builder().redis(&server.url(0)).start().await,
    ];
    let tally = Tally::new(1, "identical submits through two daemons: one run", 5, 10_000);
    join_all((0..LANES).map(async |_| {
        while let Some(round) = tally.next_round() {
            // Now and then a crowd.
            let crowd = if round % 500 == 100 { 1000 } else { 20 };
            let task = format!("t{round}");
            let body = request(&task, QUICK, json!({"trace": task}), None, ReuseMode::Auto);
            let answers = join_all((0..crowd).map(|n| daemons[n % 2].client.submit(&body))).await;
            let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
            tally.check(refused.is_empty(), || format!("refused: {refused:?}"));
            let stage = ended(&daemons[0], &task, QUICK).await;
            let answers: Vec<_> = answers.into_iter().flatten().map(|answer| answer.reuse_info).collect();
            let started = answers.iter().filter(|answer| !answer.reuse_hit).count();
            tally.check(started == 1, || format!("{started} started a run"));
            // Who came after its end is answered from the result.
            let other = answers
                .iter()
                .find(|answer| answer.source.is_none() && answer.run_id != stage.run_id);
            tally.check(other.is_none(), || {
                format!("another run: {other:?}, not {:?}", stage.run_id)
            });
            let traces = daemons[0].traces(&task) + daemons[1].traces(&task);
            tally.check(traces == 1 && succeeded(&stage), || {
                format!("{traces} executions, {stage:?}")
            });
        }
    }))
    .await;
    tally.finish();
}

const FILE: &str = "test.file";

const FAULTS: [Fault; 5] = [
    Fault::Error("LOADING Redis is loading the dataset in memory"),
    Fault::Error("READONLY You can't write against a read only replica."),
    Fault::Error("ERR max number of clients reached"),
    Fault::LoseRequest,
    Fault::LoseReply,
];

/// Repeats a request until it is answered with something else than 503; answers the statuses.
async fn repeated(daemon: &Daemon, method: &str, path: &str, body: Option<&Value>) -> Vec<u16> {
    let mut statuses = Vec::new();
    loop {
        let answer = daemon.call(method, path, body).await;
        statuses.push(answer.status);
        if answer.status != 503 || statuses.len() == 100 {
            return statuses;
        }
    }
}

/// Repeats a submit until it is decided; what was refused with something else than 503 beside it.
async fn accepted(daemon: &Daemon, body: &SubmitRequest) -> (SubmitResponse, Vec<String>) {
    let mut wrong = Vec::new();
    for _ in 0..100 {
        match daemon.client.submit(body).await {
            Ok(answer) => return (answer, wrong),
            Err(error) if error.status() == Some(503) => {}
            Err(error) => wrong.push(error.to_string()),
        }
    }
    panic!("never decided: {wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req2_every_command_meets_every_fault_and_nothing_runs_twice() {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::unix(&server.url(0)).await;
    let daemon = builder().redis(proxy.url()).config("[slots]\nio = 4").start().await;
    let tally = Tally::new(2, "grid of six commands and five faults: no second run", 1, 40);
    while let Some(round) = tally.next_round() {
        for (at, fault) in FAULTS.into_iter().enumerate() {
            for command in ["submit", "claim", "heartbeat", "finish", "cancel", "delete"] {
                let task = format!("{command}-{at}-{round}");
                let before = proxy.struck();
                let struck = || async { (proxy.struck() > before).then_some(()) };
                let arm = || proxy.fail_next(command, fault);
                match command {
                    "submit" | "claim" => {
                        arm();
                        let body = request(&task, QUICK, json!({"trace": task}), None, ReuseMode::Auto);
                        let (first, wrong) = accepted(&daemon, &body).await;
                        tally.check(wrong.is_empty(), || format!("{task}, {fault:?}: {wrong:?}"));
                        eventually("the fault", struck).await;
                        let (second, _) = accepted(&daemon, &body).await;
                        let stage = ended(&daemon, &task, QUICK).await;
                        let runs = |answer: &SubmitResponse| {
                            answer.reuse_info.source.is_some() || answer.reuse_info.run_id == stage.run_id
                        };
                        tally.check(runs(&first) && runs(&second), || {
                            format!("{task}, {fault:?}: {first:?}, {second:?}, {stage:?}")
                        });
                        let traces = daemon.traces(&task);
                        tally.check(traces == 1 && succeeded(&stage), || {
                            format!("{task}, {fault:?}: {traces} executions")
                        });
                    }
                    "heartbeat" | "finish" => {
                        let run = begun(&[&daemon], &task).await;
                        arm();
                        if command == "heartbeat" {
                            eventually("the fault", struck).await;
                        }
                        daemon.tell(&run, &json!({"output": {"value": 1}}));
                        let stage = ended(&daemon, &task, TOLD).await;
                        eventually("the fault", struck).await;
                        let (traces, link) = (
                            daemon.traces(&run),
                            daemon.data.join(format!("share/workflows/{task}/nodes/{TOLD}")),
                        );
                        tally.check(
                            succeeded(&stage)
                                && stage.attempt == 1
                                && traces == 1
                                && stage.run_id.is_some_and(|id| id.as_str() == run),
                            || {
                                format!(
                                    "{task}, {fault:?}: {traces} executions, attempt {}, {}",
                                    stage.attempt, stage.status
                                )
                            },
                        );
                        let linked = tokio::time::timeout(
                            Duration::from_secs(3),
                            eventually("the link", || async { link.exists().then_some(()) }),
                        )
                        .await;
                        tally.check(linked.is_ok(), || format!("{task}, {fault:?}: no link to the result"));
                    }
                    "cancel" => {
                        let run = begun(&[&daemon], &task).await;
                        arm();
                        let statuses = repeated(&daemon, "DELETE", &format!("/v1/tasks/{task}"), None).await;
                        eventually("the fault", struck).await;
                        tally.check(matches!(statuses.last(), Some(200 | 400)), || {
                            format!("{task}, {fault:?}: {statuses:?}")
                        });
                        let stage = ended(&daemon, &task, TOLD).await;
                        tally.check(stage.status == StageState::Cancelled, || {
                            format!("{task}, {fault:?}: {}", stage.status)
                        });
                        until_equal("processes", false, || async {
                            daemon.marked().iter().any(|(_, mark)| mark.starts_with(&run))
                        })
                        .await;
                    }
                    _ => {
                        daemon.done(&task, "test.file", json!({"trace": task})).await;
                        arm();
                        let body = json!({});
                        let statuses =
                            repeated(&daemon, "POST", &format!("/v1/tasks/{task}/delete"), Some(&body)).await;
                        tally.check(matches!(statuses.last(), Some(200 | 404)), || {
                            format!("{task}, {fault:?}: {statuses:?}")
                        });
                        // As its user would, who does not know what became of the first.
                        let again = repeated(&daemon, "POST", &format!("/v1/tasks/{task}/delete"), Some(&body)).await;
                        tally.check(matches!(again.last(), Some(200 | 404)), || {
                            format!("{task}, {fault:?}: {again:?}")
                        });
                        let mut redis = daemon.redis().await;
                        let left: Vec<String> = redis.keys(format!("*{task}*")).await.expect("Redis answers");
                        let folder = daemon.data.join("share/workflows").join(&task);
                        tally.check(left.is_empty() && !folder.exists(), || {
                            format!("{task}, {fault:?}: {left:?} left, folder: {}", folder.exists())
                        });
                    }
                }
                proxy.fail_no_more();
            }
        }
        daemon.idle().await;
    }
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req6_whoever_asks_last_gets_the_result() {
    let server = RedisServer::start(&[]).await;
    let allow = "[callbacks]\nallow = ['127.0.0.0/8']\nschedule = ['0s', '100ms', '100ms']\ntimeout = '2s'";
    let daemons = [
        builder().redis(&server.url(0)).config(allow).start().await,
        builder().redis(&server.url(0)).config(allow).start().await,
    ];
    let receiver = Receiver::start().await;
    let tally = Tally::new(
        6,
        "random interleavings of requests and the end: all get a callback",
        8,
        1000,
    );
    join_all((0..LANES).map(async |_| {
        while let Some(round) = tally.next_round() {
            let task = format!("t{round}");
            let asked = fastrand::usize(2..6);
            let input = json!({"trace": task});
            let daemon = |n: usize| &daemons[(n + round) % 2];
            let ask = async |n: usize| {
                for _ in 0..fastrand::usize(0..20) {
                    tokio::task::yield_now().await;
                }
                let url = Some(receiver.url(&format!("/{round}/{n}")));
                daemon(n)
                    .try_submit(&task, QUICK, input.clone(), url, ReuseMode::Auto)
                    .await
            };
            // Some while it begins, some while it runs, some around its end.
            let first = ask(0).await;
            let answers = join_all((1..asked).map(ask)).await;
            let refused: Vec<_> = [first].into_iter().chain(answers).filter_map(Result::err).collect();
            tally.check(refused.is_empty(), || format!("{refused:?}"));
            let stage = ended(daemon(0), &task, QUICK).await;
            let about = |n: usize| format!("/{round}/{n}");
            let start = std::time::Instant::now();
            let missing = loop {
                let told = |n: &usize| {
                    let about = about(*n);
                    receiver.any(|one| {
                        one.path == about
                            && (one.body["result"]["status"] == stage.status.as_str()
                                || one.body["status"] == "completed")
                    })
                };
                let missing: Vec<_> = (0..asked).filter(|n| !told(n)).collect();
                if missing.is_empty() || start.elapsed() > Duration::from_secs(10) {
                    break missing;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            tally.check(missing.is_empty(), || format!("no callback: {missing:?} of {asked}"));
        }
    }))
    .await;
    tally.finish();
}

#[tokio::test]
async fn req10_other_input_is_treated_as_the_policy_says() {
    let daemon = builder().config("[slots]\nio = 4").start().await;
    let input = json!({"a": 1, "b": {"c": ["x", "y"]}, "d": "text"});
    // What is sent next, and whether that is other input.
    let kinds = [
        (input.clone(), false),
        (json!({"d": "text", "b": {"c": ["x", "y"]}, "a": 1.0}), false),
        (json!({"a": 1, "b": {"c": ["x", "y"]}, "d": "text", "e": null}), false),
        (json!({"a": 2, "b": {"c": ["x", "y"]}, "d": "text"}), true),
        (json!({"a": "1", "b": {"c": ["x", "y"]}, "d": "text"}), true),
        (json!({"a": 1, "b": {"c": ["y", "x"]}, "d": "text"}), true),
        (json!({"a": 1, "b": {"c": ["x"]}, "d": "text"}), true),
        (json!({"a": 1, "b": {"c": ["x", "y"]}}), true),
        (json!({"a": 1, "b": {"c": ["x", "y"]}, "d": "text", "e": 1}), true),
        (json!({"a": 1, "b": {"c": ["x", "y"], "f": null}, "d": "text"}), true),
        (json!({"a": 1, "b": {"c": ["x", "y"]}, "d": "Text"}), true),
    ];
    let tally = Tally::new(10, "three policies and eleven kinds of change", 1, 60);
    while let Some(round) = tally.next_round() {
        for (node, policy) in [(ECHO, "auto"), ("test.strict", "strict"), ("test.refuse", "refuse")] {
            for (kind, (next, other)) in kinds.iter().enumerate() {
                let task = format!("{policy}-{kind}-{round}");
                let body = json!({"task_name": node, "task_id": task, "input_data": input});
                assert!(daemon.post("/v1/tasks", body).await.status < 300);
                ended(&daemon, &task, node).await;
                let body = json!({"task_name": node, "task_id": task, "input_data": next});
                let answer = daemon.post("/v1/tasks", body).await;
                let info = answer.json()["reuse_info"].clone();
                let holds = match (policy, other) {
                    ("auto", _) => info["reuse_hit"] == true && info["input_changed"] == *other,
                    (_, false) => info["reuse_hit"] == true && info["input_changed"] == false,
                    ("strict", _) => info["reuse_hit"] == false && info["reason"] == "input_changed",
                    _ => answer.status == 409,
                };
                tally.check(holds, || format!("{policy}: {next}: {answer:?}"));
            }
        }
    }
    daemon.idle().await;
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req11_a_forced_rerun_leaves_no_moment_without_an_output() {
    let daemon = builder().config("[slots]\nio = 4").start().await;
    let tally = Tally::new(11, "forced reruns, polled: an output is readable throughout", 6, 1000);
    join_all((0..LANES).map(async |lane| {
        let task = format!("t{lane}");
        let mut redis = daemon.redis().await;
        let mut stands = 0;
        daemon.done(&task, CHEAP, json!({"value": stands})).await;
        while let Some(round) = tally.next_round() {
            let fails = round % 3 == 1;
            let value = round + 1;
            let input = if fails {
                json!({"end": "fail"})
            } else {
                json!({"value": value})
            };
            let answer = daemon
                .try_submit(&task, CHEAP, input, None, ReuseMode::Never)
                .await
                .expect("accepted");
            let run = answer.reuse_info.run_id.expect("a run");
            let mut polls = 0;
            loop {
                let stage = daemon.stage(&task, CHEAP).await.expect("the stage is there");
                let output: Value = serde_json::from_str(stage.output.get()).expect("JSON");
                let public: Option<String> = redis.get(format!("{task}:node:{CHEAP}")).await.expect("Redis answers");
                let public: Value = serde_json::from_str(&public.unwrap_or_default()).unwrap_or_default();
                for shown in [&output, &public["stages"][CHEAP]["output"]] {
                    let good = shown["value"] == stands || (!fails && shown["value"] == value);
                    tally.check(good, || format!("poll {polls}: {shown}, {stage:?}"));
                }
                polls += 1;
                let over = stage.run_id.as_ref() == Some(&run) && !stage.status.in_flight();
                if over
                    || stage
                        .last_attempt
                        .as_ref()
                        .is_some_and(|last| last.run_id.as_ref() == Some(&run))
                {
                    break;
                }
                assert!(polls < 10_000, "{stage:?}");
            }
            if !fails {
                stands = value;
            }
            let stage = daemon.stage(&task, CHEAP).await.expect("the stage is there");
            let output: Value = serde_json::from_str(stage.output.get()).expect("JSON");
            tally.check(succeeded(&stage) && output["value"] == stands, || {
                format!("after: {stage:?}")
            });
        }
    }))
    .await;
    tally.finish();
}

/// What a Python worker would have written.
async fn foreign(daemon: &Daemon, task: &str, status: &str, seconds_ago: u64) {
    let stage =
        json!({"status": status, "input_params": {"value": 1}, "output": {"value": 1}, "error": null, "duration": 1.0});
    let json = json!({"workflow_id": task, "stages": {ECHO: stage}}).to_string();
    let mut redis = daemon.redis().await;
    let key = format!("{task}:node:{ECHO}");
    let _: () = redis
        .set_ex(key, json, 86_400 - seconds_ago)
        .await
        .expect("Redis answers");
    onceover_tests::eventually("noted", || async {
        let mut redis = daemon.redis().await;
        let is_noted: bool = redis
            .exists(format!("onceover:task:{task}"))
            .await
            .expect("Redis answers");
        is_noted.then_some(())
    })
    .await;
}

/// The file of a result.
async fn file_of(daemon: &Daemon, task: &str, node: &str) -> PathBuf {
    let stage = daemon.stage(task, node).await.expect("the stage is there");
    let output: Value = serde_json::from_str(stage.output.get()).expect("JSON");
    output["file"].as_str().expect("a path").into()
}

/// A task in one of twelve states, and what is asked of it.
struct Standing {
    task: String,
    state: usize,
    node: &'static str,
    input: Value,
    mode: ReuseMode,
}

/// In flight, which its keys tell again and again.
const FLYING: usize = 7;

impl Standing {
    fn of(round: usize) -> Self {
        let state = round % 12;
        let (node, input) = match state {
            2 => (CHEAP, json!({"end": "fail"})),
            3 | FLYING => (TOLD, json!({})),
            4 => (CHEAP, json!({"end": "empty"})),
            5 | 6 => (CHEAP, json!({"end": "file"})),
            8..=10 => (ECHO, json!({"value": 1})),
            11 => ("test.refuse", json!({"value": 1})),
            _ => (CHEAP, json!({"value": 1})),
        };
        Self {
            task: format!("t{round}"),
            state,
            node,
            input,
            mode: [ReuseMode::Auto, ReuseMode::Strict, ReuseMode::Never][fastrand::usize(..3)],
        }
    }

    async fn make(&self, daemon: &Daemon) {
        let task = &self.task;
        match self.state {
            0 => return,
            8 => return foreign(daemon, task, "SUCCESS", 10).await,
            9 => return foreign(daemon, task, "IN_PROGRESS", 10).await,
            10 => return foreign(daemon, task, "IN_PROGRESS", 7300).await,
            _ => {}
        }
        daemon.submit(task, self.node, self.input.clone()).await;
        match self.state {
            FLYING => return,
            3 => drop(daemon.client.cancel(&task_id(task)).await.expect("it is in flight")),
            _ => {}
        }
        ended(daemon, task, self.node).await;
        match self.state {
            5 => fs::remove_file(file_of(daemon, task, self.node).await).expect("it is there"),
            6 => fs::write(file_of(daemon, task, self.node).await, "other words").expect("it is there"),
            _ => {}
        }
    }

    /// What the daemon says that a submit would be answered.
    async fn explained(&self, daemon: &Daemon) -> (ReuseDecision, String) {
        let explained = daemon
            .client
            .explain(&task_id(&self.task), &node_name(self.node), Some(self.mode))
            .await;
        let explained = explained.expect("an explanation");
        (explained.decision, explained.reason)
    }

    /// What it is answered.
    async fn decided(&self, daemon: &Daemon) -> (ReuseDecision, String) {
        let answer = daemon
            .try_submit(&self.task, self.node, self.input.clone(), None, self.mode)
            .await;
        let info = answer.expect("decided").reuse_info;
        match (info.reason, info.state) {
            (Some(reason), _) => (ReuseDecision::Run, reason),
            (None, Some(_)) => (ReuseDecision::Join, "in_flight".into()),
            (None, None) => (ReuseDecision::Hit, "hit".into()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req8_the_explanation_is_the_decision_and_changes_nothing() {
    let daemon = builder().config("[slots]\nio = 4\ncpu = 4").start().await;
    let tally = Tally::new(
        8,
        "random states: the explanation is the decision and changes nothing",
        24,
        10_000,
    );
    while let Some(rounds) = tally.next_rounds(48) {
        let (flying, still): (Vec<_>, Vec<_>) = rounds.map(Standing::of).partition(|one| one.state == FLYING);
        join_all(still.iter().map(|one| one.make(&daemon))).await;
        daemon.idle().await;
        let before = daemon.content().await;
        let mut explained = join_all(still.iter().map(|one| one.explained(&daemon))).await;
        let after = daemon.content().await;
        tally.check(after == before, || {
            let changed = after.iter().filter(|entry| !before.contains(entry));
            format!("changed: {:?}", changed.map(|(key, _)| key).collect::<Vec<_>>())
        });
        join_all(flying.iter().map(|one| one.make(&daemon))).await;
        explained.extend(join_all(flying.iter().map(|one| one.explained(&daemon))).await);
        let all: Vec<_> = still.into_iter().chain(flying).collect();
        let decided = join_all(all.iter().map(|one| one.decided(&daemon))).await;
        for ((one, explained), decided) in all.iter().zip(explained).zip(decided) {
            tally.check(explained == decided, || {
                format!(
                    "state {}, {:?}: {explained:?}, and was decided {decided:?}",
                    one.state, one.mode
                )
            });
        }
        join_all(all.iter().map(async |one| {
            let deleted = daemon.client.delete(&task_id(&one.task), true).await;
            deleted.expect("deleted");
        }))
        .await;
    }
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req9_a_result_whose_files_are_not_what_they_were_is_no_hit() {
    let daemon = builder().config("[slots]\nio = 2").start().await;
    let tally = Tally::new(9, "nine ways to lose a file of a result: none is a hit", 9, 900);
    join_all((0..LANES).map(async |_| {
        while let Some(round) = tally.next_round() {
            let task = format!("t{round}");
            if round % 9 == 8 {
                daemon
                    .submit(&task, "test.fields", json!({"output": {"other": 1}}))
                    .await;
                let stage = ended(&daemon, &task, "test.fields").await;
                tally.check(stage.status == StageState::Failed, || {
                    format!("without its output: {stage:?}")
                });
                continue;
            }
            daemon.done(&task, FILE, json!({"text": "some words"})).await;
            let file = file_of(&daemon, &task, FILE).await;
            let hit = daemon
                .submit(&task, FILE, json!({"text": "some words"}))
                .await
                .reuse_info;
            tally.check(hit.reuse_hit, || format!("untouched: {hit:?}"));
            let folder = file.parent().expect("a folder");
            let later = SystemTime::now() + Duration::from_secs(1 + round as u64);
            match round % 9 {
                0 => fs::remove_file(&file),
                1 => fs::write(&file, ""),
                2 => fs::write(&file, "some words and more"),
                3 => fs::remove_file(&file).and_then(|()| fs::write(&file, "same words")),
                4 => fs::File::options()
                    .append(true)
                    .open(&file)
                    .and_then(|file| file.set_modified(later)),
                5 => fs::remove_file(&file).and_then(|()| fs::create_dir(&file)),
                6 => fs::remove_file(&file).and_then(|()| std::os::unix::fs::symlink("/nowhere/at/all", &file)),
                _ => fs::remove_dir_all(folder),
            }
            .expect("the file can be changed");
            let answer = daemon
                .submit(&task, FILE, json!({"text": "some words"}))
                .await
                .reuse_info;
            let known = matches!(answer.reason.as_deref(), Some("artifact_missing" | "artifact_changed"));
            tally.check(!answer.reuse_hit && known, || format!("way {}: {answer:?}", round % 9));
        }
    }))
    .await;
    daemon.idle().await;
    tally.finish();
}
