//! Processes and slots: 15, 16, 17.

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use onceover_tests::{Daemon, Tally, daemon::task_id, eventually, until_equal};
use onceover_types::{StageState, Timestamp};
use onceover_wire::ReuseMode;
use serde_json::json;

use super::{LANES, LEASES, QUICK, builder, ended, keep_longest, succeeded};

/// Those of the tree's processes that live; a zombie does not.
fn alive(daemon: &Daemon, trace: &str) -> Vec<String> {
    let pids = fs::read_to_string(daemon.dir().join(format!("trace.{trace}"))).unwrap_or_default();
    let lives = |pid: &&str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // A number used again belongs to another process.
        let ours = fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains("tree.py"));
        ours && !stat.is_empty() && !stat.contains(") Z ")
    };
    pids.lines().filter(lives).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req15_no_process_of_a_tree_survives_cancel_or_the_time_limit() {
    let daemon = builder().config("[slots]\ncpu = 4").start().await;
    let tally = Tally::new(
        15,
        "random trees up to five deep, cancelled or timed out: no survivor",
        10,
        500,
    );
    let processes = AtomicUsize::new(0);
    join_all((0..LANES).map(async |_| {
        while let Some(round) = tally.next_round() {
            let task = format!("t{round}");
            let node = if round % 5 == 4 { "test.mayfly" } else { "test.tree" };
            daemon
                .submit(&task, node, json!({"seed": fastrand::u32(..), "trace": task}))
                .await;
            if node == "test.tree" {
                // Now and then in the middle of its growth.
                if fastrand::u8(..4) == 0 {
                    eventually("a process", || async { (daemon.traces(&task) > 0).then_some(()) }).await;
                } else {
                    eventually("a tree", || async {
                        daemon
                            .stage(&task, node)
                            .await?
                            .progress
                            .filter(|percent| *percent > 0.0)
                    })
                    .await;
                }
                daemon.client.cancel(&task_id(&task)).await.expect("it runs");
            }
            let told = Instant::now();
            let stage = ended(&daemon, &task, node).await;
            let expected = if node == "test.tree" {
                StageState::Cancelled
            } else {
                StageState::Failed
            };
            tally.check(stage.status == expected && stage.attempt == 1, || format!("{stage:?}"));
            until_equal("processes of a tree that was ended", Vec::new(), || async {
                alive(&daemon, &task)
            })
            .await;
            // From the signal to end: by the cancel, or by the time limit of 1 s.
            let took = match (node, stage.started_at) {
                ("test.mayfly", Some(started)) => {
                    let since_start = Duration::from_secs_f64(Timestamp::now().seconds_since(started));
                    since_start.saturating_sub(Duration::from_secs(1))
                }
                _ => told.elapsed(),
            };
            // Grace of 200 ms, and a second; where other tests run beside this one, that they end is what counts.
            let limit = Duration::from_millis(if tally.is_soak() { 1200 } else { 10_000 });
            tally.check(took < limit, || {
                format!(
                    "{} processes of a {node} had ended after {took:?}",
                    daemon.traces(&task)
                )
            });
            processes.fetch_add(daemon.traces(&task), Ordering::Relaxed);
        }
    }))
    .await;
    daemon.idle().await;
    tally.check(daemon.children().is_empty(), || "processes are left".into());
    let processes = processes.into_inner();
    println!("{processes} processes");
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req16_a_killed_daemon_leaves_no_process_and_nothing_runs_twice_at_once() {
    let tally = Tally::new(16, "daemon killed: no process after 5 s, no double run", 2, 100);
    let slowest = Mutex::new(Duration::ZERO);
    join_all(tally.side_by_side(2).map(async |_| {
        let mut daemon = Daemon::builder()
            .config(&format!("{LEASES}\nmax_lost = 1000"))
            .start()
            .await;
        while let Some(round) = tally.next_round() {
            let task = format!("t{round}");
            daemon
                .submit(&task, "test.tree", json!({"seed": fastrand::u32(..), "trace": task}))
                .await;
            eventually("a tree", || async {
                daemon
                    .stage(&task, "test.tree")
                    .await?
                    .progress
                    .filter(|percent| *percent > 0.0)
            })
            .await;
            daemon.kill();
            let killed = Instant::now();
            // Restarted at once, or when everything has ended.
            let at_once = fastrand::bool();
            if !at_once {
                until_equal("processes", 0, || async { alive(&daemon, &task).len() }).await;
                keep_longest(&slowest, killed.elapsed());
                tally.check(killed.elapsed() < Duration::from_secs(5), || {
                    format!("the last ended after {:?}", killed.elapsed())
                });
            }
            daemon.launch().await;
            let both = std::cell::Cell::new(false);
            eventually("the next attempt", || async {
                let of = |attempt: &str, marks: &[(i32, String)]| marks.iter().any(|(_, mark)| mark.ends_with(attempt));
                let marks = daemon.marked();
                let (first, second) = (of("/1", &marks), of("/2", &marks));
                both.set(both.get() || first && second);
                (second && !first).then_some(())
            })
            .await;
            tally.check(!both.get(), || "both attempts at once".into());
            daemon.client.cancel(&task_id(&task)).await.expect("it runs");
            daemon.idle().await;
        }
    }))
    .await;
    println!("the slowest end was {slowest:?} after the kill");
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req17_a_slot_is_never_used_twice_and_never_lost() {
    let tally = Tally::new(
        17,
        "random submits, cancels and kills: one slot, never two, never none",
        60,
        10_000,
    );
    let slowest = Mutex::new(Duration::ZERO);
    join_all(tally.side_by_side(LANES).map(async |_| {
        let mut daemon = Daemon::builder()
            .config(&format!("{LEASES}\nmax_lost = 1000"))
            .start()
            .await;
        let mut tasks: Vec<String> = Vec::new();
        let mut step = 0;
        while let Some(round) = tally.next_round() {
            step += 1;
            match fastrand::u32(..100) {
                0..55 => {
                    let task = format!("t{round}");
                    let seconds = f64::from(fastrand::u32(..50)) / 1000.0;
                    let answer = daemon
                        .try_submit(
                            &task,
                            "test.single",
                            json!({"trace": "slot", "seconds": seconds}),
                            None,
                            ReuseMode::Auto,
                        )
                        .await;
                    answer.expect("accepted");
                    tasks.push(task);
                }
                55..97 if !tasks.is_empty() => {
                    let task = tasks.swap_remove(fastrand::usize(..tasks.len()));
                    match daemon.client.cancel(&task_id(&task)).await {
                        Ok(_) => {}
                        Err(error) if error.status() == Some(400) => {}
                        Err(error) => tally.check(false, || format!("cancel: {error}")),
                    }
                }
                97..100 => {
                    daemon.kill();
                    daemon.launch().await;
                }
                _ => {}
            }
            // Not always, so that queues grow.
            if step % 20 == 0 {
                daemon.idle().await;
                let task = format!("free-{round}");
                let asked = Instant::now();
                daemon
                    .submit(&task, "test.single", json!({"trace": "slot", "seconds": 0}))
                    .await;
                let stage = ended(&daemon, &task, "test.single").await;
                // By the clock of Redis, from the submit into an empty queue until the slot was taken for it.
                let (queued, started) = (stage.queued_at.expect("a run"), stage.started_at.expect("it ran"));
                let free = Duration::from_millis((started.as_millis() - queued.as_millis()).unsigned_abs());
                keep_longest(&slowest, free);
                // Two leases, where no other test takes the time; and the run itself has not to wait for anything either.
                let limit = Duration::from_secs(if tally.is_soak() { 1 } else { 10 });
                let whole = asked.elapsed();
                tally.check(
                    succeeded(&stage) && free < limit && whole < Duration::from_secs(10),
                    || format!("the free slot was used after {free:?}, and the run had ended after {whole:?}"),
                );
                tasks.clear();
            }
        }
        daemon.idle().await;
        let breaches = daemon.traces("slot");
        tally.check(breaches == 0, || format!("{breaches} runs found the slot in use"));
        daemon.submit("last", QUICK, json!({"trace": "last"})).await;
        ended(&daemon, "last", QUICK).await;
    }))
    .await;
    println!("a free slot was used within {slowest:?}");
    tally.finish();
}
