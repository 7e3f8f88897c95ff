//! What survives frozen, killed and cut off daemons, and a Redis that is unreachable: 3, 4, 5, 19.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use onceover_tests::{Daemon, Proxy, RedisServer, Tally, daemon::begun, eventually, proxy::Mode, until_equal};
use onceover_types::StageState;
use redis::AsyncCommands;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{LEASES, QUICK, TOLD, builder, ended, keep_longest, succeeded};

/// Two daemons on one Redis, the first through a proxy, with places for what each of them holds and takes over.
async fn cut_off() -> (RedisServer, Proxy, Daemon, Daemon) {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::unix(&server.url(0)).await;
    let places = "[slots]\ncpu = 60";
    let first = builder().config(places).redis(proxy.url()).start().await;
    let second = builder().config(places).redis(&server.url(0)).start().await;
    (server, proxy, first, second)
}

/// A task and its run.
struct Held {
    task: String,
    run: String,
}

/// So many runs that a daemon has begun. Those that the other was quicker to take end.
async fn held(daemon: &Daemon, other: &Daemon, prefix: &str, wanted: usize) -> Vec<Held> {
    let mut held = Vec::new();
    let mut number = 0;
    while held.len() < wanted {
        assert!(number < 100 * wanted, "the other takes them all");
        let missing = wanted - held.len();
        let begun = join_all((number..number + missing).map(async |n| {
            let task = format!("{prefix}-{n}");
            let run = begun(&[daemon, other], &task).await;
            Held { task, run }
        }));
        for one in begun.await {
            if daemon.traces(&one.run) == 1 {
                held.push(one);
            } else {
                other.tell(&one.run, &json!({"output": {"value": 1}}));
                ended(other, &one.task, TOLD).await;
            }
        }
        number += missing;
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req3_who_was_frozen_or_cut_off_past_its_lease_changes_nothing() {
    let (_server, proxy, first, second) = cut_off().await;
    let tally = Tally::new(
        3,
        "runs of a daemon frozen or cut off past their leases: it changes nothing",
        6,
        1000,
    );
    while let Some(rounds) = tally.next_rounds(if tally.is_soak() { 20 } else { 3 }) {
        let (lost, other) = if fastrand::bool() {
            (&first, &second)
        } else {
            (&second, &first)
        };
        let runs = held(lost, other, &format!("t{}", rounds.start), rounds.len()).await;
        if std::ptr::eq(lost, &first) && fastrand::bool() {
            proxy.mode(Mode::Stall);
        } else {
            lost.signal(Signal::STOP);
        }
        for Held { run, .. } in &runs {
            until_equal("taken over", 1, || async { other.traces(run) }).await;
            lost.tell(run, &json!({"output": {"by": "the lost one"}}));
        }
        if fastrand::bool() {
            // The lost one is back while the other still runs.
            proxy.mode(Mode::Pass);
            lost.signal(Signal::CONT);
            // However they end, its slots are empty then.
            until_equal("its processes", 0, || async { lost.children().len() }).await;
        }
        let mut won = Vec::new();
        for Held { run, .. } in &runs {
            other.tell(run, &json!({"output": {"by": "the other"}}));
        }
        for Held { task, .. } in &runs {
            won.push((ended(other, task, TOLD).await, other.projection(task, TOLD).await));
        }
        proxy.mode(Mode::Pass);
        lost.signal(Signal::CONT);
        eventually("it is back", || async {
            (lost.get("/readyz").await.status == 200 && lost.children().is_empty()).then_some(())
        })
        .await;
        lost.idle().await;
        for (Held { task, .. }, (won, public)) in runs.iter().zip(won) {
            let after = ended(lost, task, TOLD).await;
            tally.check(won.output.get() == r#"{"by":"the other"}"# && won.attempt == 2, || {
                format!("{won:?}")
            });
            tally.check(
                after.summary() == won.summary() && after.output.get() == won.output.get(),
                || format!("{won:?} became {after:?}"),
            );
            let now = other.projection(task, TOLD).await;
            tally.check(now == public, || format!("{public} became {now}"));
            let link = lost.data.join(format!("share/workflows/{task}/nodes/{TOLD}"));
            tally.check(!link.exists(), || "the lost one has published its files".into());
        }
    }
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req4_whenever_the_daemon_is_killed_every_stage_ends() {
    // Killed more often than a run may be lost.
    let config = format!("{LEASES}\nmax_lost = 1000\n[slots]\nio = 4");
    let tally = Tally::new(
        4,
        "stages of a daemon that is killed at random, once for each ten: each ends",
        30,
        500,
    );
    let slowest = Mutex::new(Duration::ZERO);
    join_all(tally.side_by_side(2).map(async |_| {
        let mut daemon = Daemon::builder().config(&config).start().await;
        while let Some(rounds) = tally.next_rounds(10) {
            let orphan = format!("orphan-{}", rounds.start);
            let tasks: Vec<_> = rounds.map(|round| format!("t{round}")).collect();
            let after = fastrand::usize(0..tasks.len());
            for (n, task) in tasks.iter().enumerate() {
                daemon.submit(task, QUICK, json!({"trace": task})).await;
                if n == after {
                    // And a run that certainly is orphaned.
                    begun(&[&daemon], &orphan).await;
                }
            }
            daemon.kill();
            daemon.launch().await;
            let back = Instant::now();
            let stage = eventually("the orphan's next attempt", || async {
                let stage = daemon.stage(&orphan, TOLD).await?;
                (stage.status == StageState::Running && stage.attempt >= 2).then_some(stage)
            })
            .await;
            let took = back.elapsed();
            keep_longest(&slowest, took);
            tally.check(took < Duration::from_secs(2), || format!("{took:?} after the restart"));
            daemon.tell(stage.run_id.expect("a run").as_str(), &json!({"output": {"value": 1}}));
            for task in &tasks {
                let stage = ended(&daemon, task, QUICK).await;
                tally.check(succeeded(&stage), || format!("{task}: {stage:?}"));
                let traces = u32::try_from(daemon.traces(task)).expect("few");
                tally.check((1..=stage.attempt).contains(&traces), || {
                    format!("{task}: {traces} executions")
                });
            }
            let stage = ended(&daemon, &orphan, TOLD).await;
            tally.check(succeeded(&stage), || format!("{orphan}: {stage:?}"));
        }
    }))
    .await;
    println!("the slowest orphan ran again {slowest:?} after the restart");
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req5_what_ends_while_redis_is_away_is_recorded_later_and_not_run_again() {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::tcp(&server.url(0)).await;
    let daemon = builder().config("[slots]\ncpu = 10").redis(proxy.url()).start().await;
    let mut direct = server.connect().await;
    let tally = Tally::new(
        5,
        "stages that ended in an outage of several leases: recorded once",
        4,
        100,
    );
    while let Some(rounds) = tally.next_rounds(if tally.is_soak() { 5 } else { 2 }) {
        let refuse = fastrand::bool();
        let tasks = rounds.map(|round| (round, format!("t{round}")));
        let runs = join_all(tasks.map(async |(round, task)| (round, begun(&[&daemon], &task).await, task))).await;
        proxy.mode(if refuse { Mode::Refuse } else { Mode::Stall });
        for (round, run, _) in &runs {
            daemon.tell(run, &json!({"output": {"value": round}}));
        }
        until_equal("their programs", 0, || async { daemon.children().len() }).await;
        eventually("three leases", || {
            let mut redis = direct.clone();
            async move {
                let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.ok()?;
                let held: Vec<(String, f64)> = redis.zrange_withscores("onceover:held:cpu", 0, -1).await.ok()?;
                (held.last()?.1 + 1000.0 < (seconds * 1000 + micros / 1000) as f64).then_some(())
            }
        })
        .await;
        proxy.mode(Mode::Pass);
        for (round, run, task) in runs {
            let stage = ended(&daemon, &task, TOLD).await;
            tally.check(
                succeeded(&stage) && stage.attempt == 1 && daemon.traces(&run) == 1,
                || format!("{} executions, {stage:?}", daemon.traces(&run)),
            );
            let public: String = direct.get(format!("{task}:node:{TOLD}")).await.expect("Redis answers");
            let public: Value = serde_json::from_str(&public).expect("JSON");
            tally.check(public["stages"][TOLD]["output"]["value"] == round, || {
                public.to_string()
            });
        }
    }
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req19_after_any_outage_of_redis_the_daemon_resumes_unaided() {
    let slowest = Mutex::new(Duration::ZERO);
    let tally = Tally::new(
        19,
        "restart, CLIENT KILL, blackhole, READONLY, refusal: work again within 5 s",
        5,
        100,
    );
    join_all(tally.side_by_side(2).map(async |_| {
        let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
        let proxy = Proxy::unix(&server.url(0)).await;
        let daemon = builder().redis(proxy.url()).start().await;
        while let Some(round) = tally.next_round() {
            let mut direct = server.connect().await;
            let task = format!("t{round}");
            let run = begun(&[&daemon], &task).await;
            let kind = ["restart", "CLIENT KILL", "blackhole", "READONLY", "refusal"][round % 5];
            let mut client = redis::cmd("CLIENT");
            let unready = || async { (daemon.get("/readyz").await.status == 503).then_some(()) };
            match kind {
                "restart" => server.restart().await,
                "CLIENT KILL" => {
                    for whom in ["normal", "pubsub"] {
                        // Its own connection is spared.
                        let _: i64 = client
                            .clone()
                            .arg("KILL")
                            .arg("TYPE")
                            .arg(whom)
                            .query_async(&mut direct)
                            .await
                            .expect("Redis answers");
                    }
                    client.arg("ID");
                }
                "blackhole" => {
                    proxy.mode(Mode::Stall);
                    eventually("unready", unready).await;
                    proxy.mode(Mode::Pass);
                }
                "READONLY" => {
                    let _: () = redis::cmd("REPLICAOF")
                        .arg("127.0.0.1")
                        .arg(1)
                        .query_async(&mut direct)
                        .await
                        .expect("Redis answers");
                    let refused = daemon
                        .post(
                            "/v1/tasks",
                            json!({"task_name": QUICK, "task_id": format!("r{round}"), "input_data": {"trace": "refused"}}),
                        )
                        .await;
                    tally.check(refused.status == 503, || format!("{kind}: {refused:?}"));
                    let _: () = redis::cmd("REPLICAOF")
                        .arg("NO")
                        .arg("ONE")
                        .query_async(&mut direct)
                        .await
                        .expect("Redis answers");
                }
                _ => {
                    proxy.mode(Mode::Refuse);
                    eventually("unready", unready).await;
                    proxy.mode(Mode::Pass);
                }
            }
            let back = Instant::now();
            let after = format!("after-{round}");
            let body = json!({"task_name": QUICK, "task_id": after, "input_data": {"trace": after}});
            eventually("a submit is accepted", || async {
                (daemon.post("/v1/tasks", body.clone()).await.status < 300).then_some(())
            })
            .await;
            let stage = ended(&daemon, &after, QUICK).await;
            keep_longest(&slowest, back.elapsed());
            tally.check(back.elapsed() < Duration::from_secs(5), || {
                format!("{kind}: {:?}", back.elapsed())
            });
            tally.check(succeeded(&stage) && daemon.traces(&after) == 1, || {
                format!("{kind}: {stage:?}")
            });
            daemon.tell(&run, &json!({"output": {"value": 1}}));
            let stage = ended(&daemon, &task, TOLD).await;
            tally.check(succeeded(&stage) && stage.attempt == 1, || {
                format!("{kind}: what ran throughout: {stage:?}")
            });
        }
    }))
    .await;
    println!("the slowest recovery took {slowest:?}");
    tally.finish();
}
