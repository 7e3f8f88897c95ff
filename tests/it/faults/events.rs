//! What readers see and what is left behind: 18, 28.

use std::{collections::BTreeSet, fs, sync::Arc, time::Duration};

use futures_util::future::join_all;
use onceover_tests::{Daemon, Proxy, RedisServer, Tally, events::Sse};
use onceover_wire::{Event, ReuseMode};
use serde_json::json;

use super::{CHEAP, ECHO, LEASES, TOLD, builder, ended};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req18_a_reader_that_drops_sees_each_event_once_in_order() {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::unix(&server.url(0)).await;
    let daemon = Arc::new(builder().redis(proxy.url()).start().await);
    daemon.done("t", ECHO, json!({})).await;
    let tally = Tally::new(
        18,
        "events to a reader that drops after at most 200: each once, in order",
        2000,
        100_000,
    );
    let start = daemon.client.system().await.expect("the daemon answers").seq;
    let (mut last, mut resets, mut drops, mut accepted) = (start, 0, 0, 0);
    while let Some(rounds) = tally.next_rounds(200) {
        let newest = daemon.client.system().await.map_or(last, |system| system.seq);
        let source = Arc::clone(&daemon);
        let asked = rounds.len();
        let submits = tokio::spawn(async move {
            join_all((0..asked).map(|_| source.try_submit("t", ECHO, json!({}), None, ReuseMode::Auto)))
                .await
                .into_iter()
                .filter(Result::is_ok)
                .count()
        });
        // The daemon, too, loses its connection now and then.
        if drops % 5 == 2 {
            proxy.cut();
        }
        let mut reader = Sse::open(&daemon, Some(last)).await;
        // What it missed, and a part of what comes now, as far as it is accepted.
        let end = newest + fastrand::u64(1..=asked as u64);
        while last < end {
            let Ok(message) = tokio::time::timeout(Duration::from_secs(1), reader.next()).await else {
                break;
            };
            match message.event.as_str() {
                "reset" => {
                    resets += 1;
                    tally.check(message.id >= last, || format!("reset to {} after {last}", message.id));
                }
                _ => {
                    let event: Event = serde_json::from_str(&message.data).expect("an event");
                    tally.check(message.id == last + 1 && event.seq == message.id, || {
                        format!("{} after {last}", message.id)
                    });
                }
            }
            last = message.id;
        }
        drop(reader);
        drops += 1;
        accepted += submits.await.expect("no panic");
    }
    // What is left comes as well, and then nothing is missing.
    let newest = daemon.client.system().await.expect("the daemon answers").seq;
    let mut reader = Sse::open(&daemon, Some(last)).await;
    while last < newest {
        let message = reader.next().await;
        tally.check(message.event == "reset" || message.id == last + 1, || {
            format!("{} after {last}", message.id)
        });
        last = message.id;
    }
    println!("{} events, {drops} drops, {resets} resets", last - start);
    // One cut can refuse a whole round; most must have been events all the same.
    tally.check(accepted > drops * 100 && last - start >= accepted as u64, || {
        format!("{accepted} accepted, {} events", last - start)
    });
    tally.finish();
}

/// Keys that belong to no task.
const COMMON: [&str; 7] = [
    "onceover:seq",
    "onceover:directories",
    "onceover:events",
    "onceover:order",
    "onceover:stats",
    "onceover:schema",
    "onceover:reaper",
];

async fn make(daemon: &Daemon, task: &str, url: &str) {
    let callback = fastrand::bool().then(|| url.to_owned());
    let submit = async |node: &str, input, mode| {
        let answer = daemon.try_submit(task, node, input, callback.clone(), mode).await;
        answer.expect("accepted")
    };
    for _ in 0..fastrand::u32(1..4) {
        match fastrand::u32(..7) {
            0 => drop(submit(CHEAP, json!({"end": "file"}), ReuseMode::Auto).await),
            1 => drop(submit(CHEAP, json!({"end": "fail"}), ReuseMode::Never).await),
            2 => drop(submit("test.forks", json!({"trace": task}), ReuseMode::Auto).await),
            3 => drop(submit(TOLD, json!({}), ReuseMode::Auto).await),
            4 => drop(submit(ECHO, json!({}), ReuseMode::Never).await),
            5 => {
                submit(ECHO, json!({}), ReuseMode::Auto).await;
                ended(daemon, task, ECHO).await;
            }
            _ => {
                submit("test.file", json!({}), ReuseMode::Never).await;
                ended(daemon, task, "test.file").await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req28_random_deletes_leave_no_key_and_no_file() {
    let callbacks = "[callbacks]\nallow = ['127.0.0.0/8']\nschedule = ['0s', '5m']\ntimeout = '1s'";
    let daemon = Daemon::builder()
        .config(&format!("{LEASES}\n{callbacks}\n[slots]\nio = 40\ncpu = 2"))
        .start()
        .await;
    let tally = Tally::new(28, "random deletes of tasks: no key, no file, no process", 20, 1000);
    while let Some(rounds) = tally.next_rounds(if tally.is_soak() { 25 } else { 10 }) {
        let tasks: Vec<_> = rounds.map(|round| format!("t{round}")).collect();
        // Nobody listens there: deliveries stay pending.
        join_all(tasks.iter().map(|task| make(&daemon, task, "http://127.0.0.1:9/never"))).await;
        let answers = join_all(tasks.iter().map(async |task| {
            daemon
                .post(&format!("/v1/tasks/{task}/delete"), json!({"force": true}))
                .await
        }))
        .await;
        for answer in &answers {
            tally.check(answer.status == 200 && answer.json()["status"] == "success", || {
                format!("{answer:?}")
            });
        }
        let again = join_all(tasks.iter().map(async |task| {
            daemon
                .post(&format!("/v1/tasks/{task}/delete"), json!({"force": true}))
                .await
                .status
        }))
        .await;
        tally.check(again.iter().all(|status| *status == 404), || {
            format!("again: {again:?}")
        });
        daemon.idle().await;
        let left: BTreeSet<_> = daemon
            .keys()
            .await
            .into_iter()
            .filter(|key| !COMMON.contains(&key.as_str()))
            // What is known of a host that does not answer, which is no task's and expires.
            .filter(|key| !key.starts_with("onceover:outbox:breaker:"))
            // Figures of the nodes, which are of no task.
            .filter(|key| !key.starts_with("onceover:durations:"))
            .collect();
        tally.check(left.is_empty(), || format!("{left:?}"));
        let files: Vec<_> = fs::read_dir(daemon.data.join("share/workflows"))
            .expect("the folder is there")
            .flatten()
            .map(|entry| entry.path())
            .collect();
        tally.check(files.is_empty(), || format!("{files:?}"));
        tally.check(daemon.children().is_empty(), || "processes are left".into());
    }
    tally.finish();
}
