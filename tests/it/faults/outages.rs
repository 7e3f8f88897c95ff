//! What survives frozen, killed and cut off daemons, and a Redis that is away: 3, 4, 5, 19.

use std::time::{Duration, Instant};

use onceover_common::StageState;
use onceover_tests::{Daemon, Proxy, RedisServer, Tally, eventually, proxy::Mode, until_equal};
use redis::AsyncCommands;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{LEASES, QUICK, TOLD, begun, builder, ended, succeeded};

/// Two daemons on one Redis, the first through a proxy.
async fn cut_off() -> (RedisServer, Proxy, Daemon, Daemon) {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::unix(&server.url(0)).await;
    let first = builder().redis(proxy.url()).start().await;
    // It has no place for the run before the first has begun it.
    let second = builder().redis(&server.url(0)).start().await;
    (server, proxy, first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req3_who_was_frozen_or_cut_off_past_its_lease_changes_nothing() {
    let (_server, proxy, first, second) = cut_off().await;
    let mut tally = Tally::new(3, "frozen or cut off past the lease: changes nothing", 2, 1000);
    while let Some(round) = tally.next_round() {
        let task = format!("t{round}");
        let answer = second.submit(&task, TOLD, json!({})).await;
        let run = answer.reuse_info.run_id.expect("a run").to_string();
        until_equal("begun", 1, || async { first.traces(&run) + second.traces(&run) }).await;
        let (lost, other) = if first.traces(&run) == 1 {
            (&first, &second)
        } else {
            (&second, &first)
        };
        let cut = std::ptr::eq(lost, &first) && round % 2 == 0;
        if cut {
            proxy.mode(Mode::Stall);
        } else {
            lost.signal(Signal::STOP);
        }
        until_equal("taken over", 1, || async { other.traces(&run) }).await;
        lost.tell(&run, &json!({"output": {"by": "the lost one"}}));
        let early = fastrand::bool();
        if early {
            // The lost one is back while the other still runs.
            proxy.mode(Mode::Pass);
            lost.signal(Signal::CONT);
            // However it ends, its slot is empty then.
            until_equal("its processes", 0, || async { lost.children().len() }).await;
        }
        other.tell(&run, &json!({"output": {"by": "the other"}}));
        let won = ended(other, &task, TOLD).await;
        let public = other.projection(&task, TOLD).await;
        proxy.mode(Mode::Pass);
        lost.signal(Signal::CONT);
        eventually("it is back", || async {
            (lost.get("/readyz").await.status == 200 && lost.children().is_empty()).then_some(())
        })
        .await;
        lost.idle().await;
        let after = ended(lost, &task, TOLD).await;
        tally.check(won.output.get() == r#"{"by":"the other"}"# && won.attempt == 2, || {
            format!("{won:?}")
        });
        tally.check(
            after.summary() == won.summary() && after.output.get() == won.output.get(),
            || format!("{won:?} became {after:?}"),
        );
        let now = other.projection(&task, TOLD).await;
        tally.check(now == public, || format!("{public} became {now}"));
        let link = lost.data.join(format!("share/workflows/{task}/nodes/{TOLD}"));
        tally.check(!link.exists(), || "the lost one has published its files".into());
    }
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req4_whenever_the_daemon_is_killed_every_stage_ends() {
    // Killed more often than a run may be lost.
    let config = format!("{LEASES}\nmax_lost = 1000\n[slots]\nio = 4");
    let mut daemon = Daemon::builder().config(&config).start().await;
    let mut tally = Tally::new(4, "daemon killed at random, ten tasks a kill: every stage ends", 3, 50);
    let mut slowest = Duration::ZERO;
    while let Some(round) = tally.next_round() {
        let tasks: Vec<_> = (0..10).map(|n| format!("t{round}-{n}")).collect();
        let after = fastrand::usize(0..10);
        for (n, task) in tasks.iter().enumerate() {
            daemon.submit(task, QUICK, json!({"trace": task})).await;
            if n == after {
                // And a run that certainly is orphaned.
                begun(&daemon, &format!("orphan-{round}")).await;
            }
        }
        daemon.kill();
        daemon.launch().await;
        let back = Instant::now();
        let orphan = format!("orphan-{round}");
        let stage = eventually("the orphan's next attempt", || async {
            let stage = daemon.stage(&orphan, TOLD).await?;
            (stage.status == StageState::Running && stage.attempt >= 2).then_some(stage)
        })
        .await;
        slowest = slowest.max(back.elapsed());
        tally.check(back.elapsed() < Duration::from_secs(2), || {
            format!("{:?} after the restart", back.elapsed())
        });
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
    println!("the slowest orphan ran again {slowest:?} after the restart");
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req5_what_ends_while_redis_is_away_is_recorded_later_and_not_run_again() {
    let server = RedisServer::start(&[]).await;
    let proxy = Proxy::tcp(&server.url(0)).await;
    let daemon = builder().redis(proxy.url()).start().await;
    let mut direct = redis::Client::open(server.url(0))
        .expect("a Redis URL")
        .get_multiplexed_async_connection()
        .await
        .expect("Redis answers");
    let mut tally = Tally::new(5, "ended in an outage of several leases: recorded once", 2, 100);
    while let Some(round) = tally.next_round() {
        let task = format!("t{round}");
        let run = begun(&daemon, &task).await;
        proxy.mode(if round % 2 == 0 { Mode::Refuse } else { Mode::Stall });
        daemon.tell(&run, &json!({"output": {"value": round}}));
        until_equal("its program", 0, || async { daemon.children().len() }).await;
        eventually("three leases", || {
            let mut redis = direct.clone();
            async move {
                let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.ok()?;
                let held: Vec<(String, f64)> = redis.zrange_withscores("onceover:held:cpu", 0, -1).await.ok()?;
                (held.first()?.1 + 1000.0 < (seconds * 1000 + micros / 1000) as f64).then_some(())
            }
        })
        .await;
        proxy.mode(Mode::Pass);
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
    tally.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req19_after_any_outage_of_redis_the_daemon_resumes_unaided() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let proxy = Proxy::unix(&server.url(0)).await;
    let daemon = builder().redis(proxy.url()).start().await;
    let mut slowest = Duration::ZERO;
    let mut tally = Tally::new(
        19,
        "restart, CLIENT KILL, blackhole, READONLY, refusal: work again within 5 s",
        5,
        100,
    );
    while let Some(round) = tally.next_round() {
        let direct = redis::Client::open(server.url(0)).expect("a Redis URL");
        let mut direct = direct.get_multiplexed_async_connection().await.expect("Redis answers");
        let task = format!("t{round}");
        let run = begun(&daemon, &task).await;
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
        slowest = slowest.max(back.elapsed());
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
    println!("the slowest recovery took {slowest:?}");
    tally.finish();
}
