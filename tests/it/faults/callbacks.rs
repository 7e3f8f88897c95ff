//! Callbacks whose receiver is unreachable or hangs: 12.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use onceover_tests::{
    Daemon, Tally, eventually,
    hooks::{Hook, HookReply, call, daemon_that_calls},
    until_equal,
};
use onceover_wire::{ReuseMode, client::CallbackQuery};
use redis::AsyncCommands;
use serde_json::json;

use super::{ECHO, QUICK};

/// The shipped schedule and an outage of ten minutes, both fifty times faster: as many tries meet the outage.
const FASTER: u32 = 50;
const SHIPPED: [u32; 5] = [0, 5, 60, 300, 1800];
const OUTAGE: Duration = Duration::from_secs(600);

/// Each wait in milliseconds; the last is that of an open breaker.
fn schedule(waits: impl IntoIterator<Item = u32>, breaker: u32) -> String {
    let waits: Vec<_> = waits.into_iter().map(|wait| format!("'{wait}ms'")).collect();
    format!(
        "schedule = [{}]\ntimeout = '1s'\nbreaker_wait = '{breaker}ms'",
        waits.join(", ")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req12_every_callback_arrives_though_the_receiver_is_down_and_the_daemon_is_killed() {
    let tally = Tally::new(
        12,
        "callbacks over an outage of the receiver and five kills: each arrives, with its id",
        60,
        1000,
    );
    let (waits, outage) = if tally.is_soak() {
        (
            schedule(SHIPPED.map(|seconds| seconds * 1000 / FASTER), 30_000 / FASTER),
            OUTAGE / FASTER,
        )
    } else {
        (schedule([0].into_iter().chain([300; 60]), 100), Duration::ZERO)
    };
    let mut daemon = daemon_that_calls(&waits).await;
    let closed = Hook::start(|_, _| 200.into()).await;
    let address = closed.address().to_string();
    drop(closed);
    daemon.done("hits", ECHO, json!({})).await;
    let began = Instant::now();
    let rounds = tally.next_rounds(usize::MAX).expect("the first are given out");
    let count = rounds.len();
    let numbers: Vec<_> = rounds.collect();
    for part in numbers.chunks(count.div_ceil(5)) {
        for number in part {
            let url = format!("http://{address}/{number}");
            // Of a run that ends, and of a hit.
            let (task, node) = match number % 5 {
                0 => (format!("run-{number}"), QUICK),
                _ => ("hits".to_owned(), ECHO),
            };
            let input = json!({"trace": "callbacks"});
            let answer = daemon.try_submit(&task, node, input, Some(url), ReuseMode::Auto).await;
            answer.expect("the submit is accepted");
        }
        // Some tries have been made, and some are under way.
        eventually("a refused try", || async {
            let metrics = daemon.get("/metrics").await.text;
            let retried = "onceover_callbacks_total{outcome=\"retried\"} ";
            metrics.contains(retried).then_some(())
        })
        .await;
        daemon.kill();
        daemon.launch().await;
    }
    daemon.idle().await;
    let ids: HashMap<String, String> = eventually("all callbacks, waiting", || async {
        let mut ids = HashMap::new();
        let mut query = CallbackQuery {
            state: Some("pending".into()),
            limit: Some(500),
            ..CallbackQuery::default()
        };
        loop {
            let page = daemon.client.callbacks(&query).await.ok()?;
            ids.extend(page.items.into_iter().map(|one| (one.url, one.id)));
            match page.next_cursor {
                Some(cursor) => query.cursor = Some(cursor),
                None => break,
            }
        }
        (ids.len() == count).then_some(ids)
    })
    .await;
    tokio::time::sleep(outage.saturating_sub(began.elapsed())).await;
    let hook = Hook::start_at(&address, |_, _| 200.into()).await;
    let back = Instant::now();
    // The last try of the schedule comes 36 s after the one before.
    let mut redis = daemon.redis().await;
    while redis.zcard::<_, u64>("onceover:outbox").await.expect("Redis answers") > 0 {
        assert!(back.elapsed() < Duration::from_secs(90), "not all are delivered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut received = HashMap::<String, Vec<String>>::new();
    for one in hook.received() {
        tally.check(one.body["status"] == "completed", || format!("{one:?}"));
        received
            .entry(hook.url(&one.path))
            .or_default()
            .push(one.header("webhook-id").to_owned());
    }
    tally.check(received.len() == count, || {
        format!("{} of {count} arrived", received.len())
    });
    for (url, id) in &ids {
        let came = received.get(url).map_or(&[][..], Vec::as_slice);
        tally.check(came == [id.clone()], || format!("{url}, {id}: came as {came:?}"));
    }
    println!("the receiver was unreachable for {:?}", back - began);
    tally.finish();
}

/// Submits in one turn, and how many of them at a time.
const TURN: usize = 400;
const AT_A_TIME: usize = 8;

/// How long a turn of hits takes.
async fn turn(daemon: &Daemon) -> f64 {
    let start = Instant::now();
    join_all((0..AT_A_TIME).map(async |_| {
        for _ in 0..TURN / AT_A_TIME {
            daemon.submit("t", ECHO, json!({})).await;
        }
    }))
    .await;
    start.elapsed().as_secs_f64()
}

/// A soak also measures, in turns; `make test` looks at no clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn req12_a_receiver_that_hangs_does_not_slow_submits() {
    // The shipped time limit of 30 s, so that the four stay under way.
    let hung = daemon_that_calls("").await;
    let hook = Hook::start(|_, _| HookReply::Never).await;
    hung.done("t", ECHO, json!({})).await;
    let tally = Tally::new(
        12,
        "turns of submits beside a receiver that hangs: less than 5 % slower (median)",
        1,
        60,
    );
    let callbacks = if tally.is_soak() { 1000 } else { 40 };
    for number in 0..callbacks {
        call(&hung, "t", hook.url(&format!("/{number}"))).await;
    }
    until_equal("tries that hang", 4, || async { hook.received().len() }).await;
    if !tally.is_soak() {
        tally.next_round();
        turn(&hung).await;
        tally.check(hook.most_at_a_time() == 4, || {
            format!("{} at a time", hook.most_at_a_time())
        });
        return tally.finish();
    }
    // The same callbacks, asked of a receiver that answers.
    let free = daemon_that_calls("").await;
    let answers = Hook::start(|_, _| 200.into()).await;
    free.done("t", ECHO, json!({})).await;
    for number in 0..callbacks {
        call(&free, "t", answers.url(&format!("/{number}"))).await;
    }
    free.delivered().await;
    let mut ratios = Vec::new();
    while let Some(round) = tally.next_round() {
        let mut took = [0.0; 2];
        for at in [round % 2, 1 - round % 2] {
            let (daemon, other) = if at == 0 { (&free, &hung) } else { (&hung, &free) };
            // What is not measured takes nothing.
            other.signal(rustix::process::Signal::STOP);
            daemon.signal(rustix::process::Signal::CONT);
            took[at] = turn(daemon).await;
        }
        ratios.push(took[1] / took[0]);
    }
    for daemon in [&free, &hung] {
        daemon.signal(rustix::process::Signal::CONT);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!(
        "beside a receiver that hangs a turn takes {:.3} / {median:.3} / {:.3} of the time (min, median, max)",
        ratios[0],
        ratios[ratios.len() - 1]
    );
    tally.check(median < 1.05, || format!("{median:.3}"));
    tally.finish();
}
