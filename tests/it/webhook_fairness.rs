//! Callbacks when receivers do not answer (C4): who hangs costs the others nothing, and is left alone for a while.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use onceover_tests::{
    Daemon, eventually,
    hooks::{Hook, HookReply, call, daemon_that_calls},
};
use onceover_types::CallbackStatus;
use onceover_wire::{CallbackDelivery, ReuseMode, client::CallbackQuery};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const ECHO: &str = "test.echo";

async fn callbacks(daemon: &Daemon) -> Vec<CallbackDelivery> {
    let query = CallbackQuery {
        limit: Some(200),
        ..CallbackQuery::default()
    };
    daemon.client.callbacks(&query).await.unwrap().items
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c4_eight_receivers_that_hang_delay_a_ninth_by_nothing() {
    // A try that hangs holds its place longer than this test may take.
    let daemon = daemon_that_calls("schedule = ['0s']\ntimeout = '40s'").await;
    daemon.done("t1", ECHO, json!({})).await;
    let dead = join_all((2..10).map(|n| Hook::start_at_own(n, |_, _| HookReply::Never))).await;
    for hook in &dead {
        for path in 0..8 {
            call(&daemon, "t1", hook.url(&format!("/{path}"))).await;
        }
    }
    for hook in &dead {
        hook.wait_for(1).await;
    }
    let alive = Hook::start_at_own(10, |_, _| 200.into()).await;
    let start = Instant::now();
    for path in 0..10 {
        call(&daemon, "t1", alive.url(&format!("/{path}"))).await;
    }
    alive.wait_for(10).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let held: usize = dead.iter().map(|hook| hook.received().len()).sum();
    // Second places of a host are of the first half, so that a place is left for each of 16 others.
    assert!((8..=24).contains(&held), "{held}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c4_more_tries_than_may_be_under_way_wait_for_a_place() {
    let daemon = daemon_that_calls("schedule = ['0s']\ntimeout = '500ms'\nmax_at_once = 2").await;
    daemon.done("t1", ECHO, json!({})).await;
    let dead = join_all((2..5).map(|n| Hook::start_at_own(n, |_, _| HookReply::Never))).await;
    for hook in &dead {
        call(&daemon, "t1", hook.url("/")).await;
    }
    for hook in &dead {
        hook.wait_for(1).await;
    }
    assert!(daemon.times_reached("callbacks").await > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c4_a_silent_receiver_is_left_alone_which_uses_no_try_and_is_shown() {
    let settings = "schedule = ['0s', '100ms']\ntimeout = '300ms'\nbreaker_after = 3\nbreaker_wait = '1s'";
    let daemon = daemon_that_calls(settings).await;
    daemon.done("t1", ECHO, json!({})).await;
    let answers = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&answers);
    let hook = Hook::start(move |_, _| match told.load(Ordering::SeqCst) {
        true => 200.into(),
        false => HookReply::Never,
    })
    .await;
    for path in 0..6 {
        call(&daemon, "t1", hook.url(&format!("/{path}"))).await;
    }
    let shown = eventually("an open breaker", || async {
        let all = callbacks(&daemon).await;
        all.iter().any(|one| one.breaker_open_until.is_some()).then_some(all)
    })
    .await;
    let waits = |one: &CallbackDelivery| one.state == CallbackStatus::Pending && one.breaker_open_until.is_some();
    assert!(shown.iter().all(waits), "{shown:?}");
    // Four places until the first silence, one after that: then the host is left alone.
    let tries = hook.received().len();
    assert!((3..=5).contains(&tries), "{tries}");
    assert_eq!(daemon.times_reached("callback_breaker").await, 1);
    assert!(daemon.times_reached("callback_time").await >= 3);
    answers.store(true, Ordering::SeqCst);
    let sent = eventually("every callback sent", || async {
        let all = callbacks(&daemon).await;
        all.iter().all(|one| one.state == CallbackStatus::Sent).then_some(all)
    })
    .await;
    // Nobody was given up earlier than C4 says.
    assert_eq!(sent.len(), 6);
    assert!(
        sent.iter()
            .all(|one| one.attempts <= 2 && one.breaker_open_until.is_none()),
        "{sent:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c4_tries_that_were_under_way_when_a_breaker_opened_make_its_wait_no_longer() {
    let settings = "schedule = ['0s', '1m']\ntimeout = '300ms'\nbreaker_after = 1\nbreaker_wait = '20s'";
    let daemon = daemon_that_calls(settings).await;
    daemon.done("t1", ECHO, json!({})).await;
    let hook = Hook::start(|_, _| HookReply::Never).await;
    for path in 0..8 {
        call(&daemon, "t1", hook.url(&format!("/{path}"))).await;
    }
    // Four have been under way together.
    let shown = eventually("four silences", || async {
        let all = callbacks(&daemon).await;
        (all.iter().filter(|one| one.attempts == 1).count() == 4).then_some(all)
    })
    .await;
    let until = shown[0].breaker_open_until.expect("the breaker is open");
    let wait = until.seconds_since(shown[0].created_at);
    assert!(wait < 30.0, "{wait}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c4_a_receiver_that_closes_idle_connections_costs_no_try() {
    let daemon = daemon_that_calls("schedule = ['0s']").await;
    daemon.done("t1", ECHO, json!({})).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.windows(12).any(|part| part == b"\"timestamp\":") {
                    if stream.read_buf(&mut request).await.unwrap_or_default() == 0 {
                        return;
                    }
                }
                // A promise that is not kept: the connection is closed as the next request may come.
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n";
                let _ = stream.write_all(answer).await;
            });
        }
    });
    for path in 0..40 {
        call(&daemon, "t1", format!("{url}{path}")).await;
    }
    daemon.delivered().await;
    for one in callbacks(&daemon).await {
        assert_eq!((one.state, one.attempts), (CallbackStatus::Sent, 1), "{one:?}");
    }
}

#[tokio::test]
async fn c5_what_is_no_host_name_is_refused_as_the_host_of_a_callback() {
    let daemon = daemon_that_calls("").await;
    let long = format!("http://{}com/", "a23456789.".repeat(26));
    for url in [
        "http://a=1/",
        "http://x=2%20y=3/",
        "http://a..b/",
        "http://.a/",
        "http://a,b/",
        "http://a$b.com/",
        &long,
    ] {
        let answer = daemon
            .try_submit("t", ECHO, json!({}), Some(url.to_owned()), ReuseMode::Auto)
            .await;
        assert!(answer.is_err(), "{url} was taken");
    }
}
