//! Tasks that come and go: what they leave behind does not grow with their number.

use std::{fs, time::Duration};

use futures_util::{StreamExt, stream};
use onceover_tests::{Daemon, Tally, eventually, hooks::Hook};
use redis::AsyncCommands;
use serde_json::{Value, json};

use super::{CHEAP, LEASES};

/// Goes on for longer than the test.
const WAIT: &str = "test.hold";

const HOLD: &str =
    "[[nodes]]\nname = 'test.hold'\nqueue = 'hold'\ntimeout_seconds = 7200\nrunner = { command = ['sleep', '7200'] }";

/// Requests side by side.
const AT_A_TIME: usize = 32;
/// Keys that there may be more at the end, figures of the nodes included.
const MORE_KEYS: usize = 16;
/// Bytes that Redis may take more at the end.
const MORE_MEMORY: u64 = 8 << 20;

fn folders(daemon: &Daemon) -> usize {
    fs::read_dir(daemon.data.join("share/workflows")).map_or(0, Iterator::count)
}

/// Whether a task is cancelled while it waits; the others run.
fn is_cancelled(at: usize) -> bool {
    at % 50 == 7
}

/// Makes tasks that end at once, and waits until they have; every tenth has a callback.
async fn make(daemon: &Daemon, hook: &Hook, rounds: std::ops::Range<usize>) {
    let tasks: Vec<Value> = rounds
        .clone()
        .map(|at| {
            let node = if is_cancelled(at) { WAIT } else { CHEAP };
            let mut task = json!({"task_name": node, "task_id": format!("x{at}"), "input_data": {}});
            if at % 10 == 0 {
                task["callback"] = hook.url(&format!("/{at}")).into();
            }
            task
        })
        .collect();
    let answer = daemon.post("/v1/tasks/batch", json!({ "tasks": tasks })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let cancels = rounds.filter(|at| is_cancelled(*at)).map(|at| async move {
        let answer = daemon.call("DELETE", &format!("/v1/tasks/x{at}"), None).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    });
    stream::iter(cancels)
        .buffer_unordered(AT_A_TIME)
        .collect::<Vec<()>>()
        .await;
    eventually("runs to be taken", || async {
        let waiting: u64 = daemon.redis().await.zcard("onceover:queue:io").await.ok()?;
        (waiting == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req40_short_lived_tasks_leave_nothing() {
    let retention = "[retention]\nttl = '1s'\nevents = 500\nfiles = 'with_record'\ngrace = '0s'";
    let callbacks = "[callbacks]\nallow = ['127.0.0.0/8']\nkeep = 100\nschedule = ['0s']";
    let daemon = Daemon::builder()
        .config(&format!(
            "{LEASES}\n{retention}\n{callbacks}\n[slots]\nhold = 1\nio = 8\n{HOLD}"
        ))
        .start()
        .await;
    let hook = Hook::start(|_, _| 200.into()).await;
    let (keys, memory) = (daemon.keys().await.len(), daemon.redis_memory().await);
    // Takes the only slot of its queue, so that the others wait.
    daemon.submit("first", WAIT, json!({})).await;
    let tally = Tally::new(
        40,
        "short-lived tasks: keys, memory and files come back",
        5_000,
        200_000,
    );
    while let Some(rounds) = tally.next_rounds(500) {
        let newest = rounds.end;
        make(&daemon, &hook, rounds).await;
        // However many have come and gone since, the page is not empty while there is one.
        let page = daemon.get("/v1/tasks?search=first&limit=1").await.json();
        tally.check(page["items"][0]["task_id"] == "first", || {
            format!("after {newest}: {page}")
        });
    }
    let ended = daemon.call("DELETE", "/v1/tasks/first", None).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let what = "everything to be gone";
    let seen = tokio::time::timeout(
        Duration::from_secs(60),
        eventually(what, || async {
            let left = (daemon.keys().await.len(), daemon.redis_memory().await, folders(&daemon));
            (left.0 <= keys + MORE_KEYS && left.1 <= memory + MORE_MEMORY && left.2 == 0).then_some(left)
        }),
    )
    .await;
    tally.check(seen.is_ok(), || "too much is left".into());
    let totals = daemon.client.system().await.expect("the daemon answers").tasks;
    tally.check(totals.completed + totals.cancelled + totals.failed == 0, || {
        format!("{totals:?}")
    });
    let outbox: u64 = daemon
        .redis()
        .await
        .zcard("onceover:outbox")
        .await
        .expect("Redis answers");
    tally.check(outbox == 0, || format!("{outbox} callbacks wait"));
    tally.finish();
}
