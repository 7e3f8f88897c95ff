//! Callbacks as receivers see them: signatures, when they come again, and that none is lost (C4, 12, 13).

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    process::Command,
    time::{Duration, Instant},
};

use onceover_common::{
    CallbackStatus,
    client::CallbackQuery,
    wire::{CallbackDelivery, ReuseMode},
};
use onceover_tests::{
    Daemon,
    callbacks::Received,
    eventually,
    hooks::{Hook, Reply},
    program,
};
use serde_json::json;
use standardwebhooks::Webhook;

const ECHO: &str = "test.echo";
const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

async fn daemon(callbacks: &str) -> Daemon {
    Daemon::builder()
        .config(&format!("[callbacks]\nallow = ['127.0.0.0/8']\n{callbacks}"))
        .start()
        .await
}

async fn call(daemon: &Daemon, task: &str, url: String) {
    let answer = daemon
        .try_submit(task, ECHO, json!({}), Some(url), ReuseMode::Auto)
        .await;
    answer.expect("the submit is accepted");
}

/// The newest delivery of a task, once it is in this state.
async fn record(daemon: &Daemon, task: &str, state: CallbackStatus) -> CallbackDelivery {
    let query = CallbackQuery {
        task_id: Some(task.into()),
        ..CallbackQuery::default()
    };
    eventually(&format!("a callback of {task} that is {}", state.as_str()), || async {
        let newest = daemon.client.callbacks(&query).await.ok()?.items.into_iter().next()?;
        (newest.state == state && newest.attempts > 0).then_some(newest)
    })
    .await
}

/// The Python library's verdict; None where it is not installed.
fn verified_by_python(secret: &str, one: &Received) -> Option<bool> {
    let known = Command::new("python3")
        .args(["-c", "import standardwebhooks"])
        .output()
        .ok()?;
    if !known.status.success() {
        return None;
    }
    let headers: BTreeMap<&str, &str> = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        .map(|name| (name, one.header(name)))
        .into();
    let script = "import json, sys\nfrom standardwebhooks import Webhook\n\
        Webhook(sys.argv[1]).verify(sys.argv[3], json.loads(sys.argv[2]))";
    let verdict = Command::new("python3")
        .args(["-c", script, secret])
        .arg(serde_json::to_string(&headers).expect("JSON"))
        .arg(String::from_utf8_lossy(&one.raw).as_ref())
        .output()
        .ok()?;
    Some(verdict.status.success())
}

#[tokio::test]
async fn req13_signatures_verify_with_both_secrets_of_a_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secrets");
    fs::write(&file, format!("# new one first\n{NEW}\n{OLD}\n")).unwrap();
    let daemon = daemon(&format!(
        "secrets_file = '{}'\nschedule = ['0s', '100ms']",
        file.display()
    ))
    .await;
    let hook = Hook::start(|count, _| if count == 1 { 500.into() } else { 200.into() }).await;
    call(&daemon, "t1", hook.url("/")).await;
    let tries = hook.wait_for(2).await;
    for one in &tries {
        assert_eq!(one.header("webhook-signature").split(' ').count(), 2);
        for secret in [NEW, OLD] {
            let webhook = Webhook::new(secret).unwrap();
            webhook.verify(&one.raw, &one.headers).expect("it verifies");
            assert!(webhook.verify(b"{}", &one.headers).is_err(), "another body does not");
            assert_ne!(verified_by_python(secret, one), Some(false));
        }
        assert!(Webhook::new(OTHER).unwrap().verify(&one.raw, &one.headers).is_err());
        assert_ne!(verified_by_python(OTHER, one), Some(true));
    }
    assert_eq!(tries[0].header("webhook-id"), tries[1].header("webhook-id"));
    // Nowhere to be seen.
    let shown = [
        daemon.get("/v1/system").await.text,
        daemon.get("/v1/callbacks").await.text,
        daemon.logged(),
    ];
    let redis = format!("{:?}", daemon.content().await);
    for secret in [NEW, OLD].map(|secret| secret.trim_start_matches("whsec_")) {
        assert!(shown.iter().all(|text| !text.contains(secret)) && !redis.contains(secret));
    }
}

#[tokio::test]
async fn req13_without_a_secret_there_is_no_signature() {
    let daemon = daemon("").await;
    let hook = Hook::start(|_, _| 200.into()).await;
    call(&daemon, "t1", hook.url("/")).await;
    let one = hook.wait_for(1).await.remove(0);
    assert!(!one.headers.contains_key("webhook-signature"));
    let sent: i64 = one.header("webhook-timestamp").parse().unwrap();
    let now = onceover_common::Timestamp::now().as_millis() / 1000;
    assert!((now - 60..=now + 1).contains(&sent));
}

#[test]
fn req13_secrets_are_checked_at_start_and_never_shown() {
    let check = |secrets: &str| {
        let output = Command::new(program("onceoverd"))
            .arg("check")
            .env("ONCEOVER_CALLBACK_SECRETS", secrets)
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let said = check(&format!("{NEW}  {OLD}"));
    assert!(said.contains("signed with 2 secrets"), "{said}");
    for bad in ["whsec_dG9vIHNob3J0", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_???"] {
        let said = check(&format!("{NEW} {bad}"));
        assert!(said.contains("ONCEOVER_CALLBACK_SECRETS, secret 2"), "{said}");
        assert!(
            !said.contains(bad) && !said.contains(NEW) && !said.contains("signed"),
            "{said}"
        );
    }
    let said = check(&format!("{NEW} {OLD} {OTHER}"));
    assert!(said.contains("at most 2"), "{said}");
}

#[tokio::test]
async fn c4_retry_after_is_honoured_in_seconds_and_as_a_date() {
    let daemon = daemon("schedule = ['0s', '50ms', '50ms']").await;
    let hook = Hook::start(|count, _| match count {
        1 => Reply::Status(429, vec![("retry-after", "2".into())]),
        2 => {
            let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(3));
            Reply::Status(503, vec![("retry-after", date)])
        }
        _ => 204.into(),
    })
    .await;
    call(&daemon, "t1", hook.url("/")).await;
    let waiting = record(&daemon, "t1", CallbackStatus::Pending).await;
    assert_eq!((waiting.attempts, waiting.http_status), (1, Some(429)));
    let wait = waiting
        .next_try_at
        .unwrap()
        .seconds_since(waiting.last_tried_at.unwrap());
    assert!((1.9..=2.1).contains(&wait), "{wait}");
    hook.wait_for(3).await;
    let times: Vec<Instant> = hook.timed().into_iter().map(|(at, _)| at).collect();
    assert!(times[1] - times[0] >= Duration::from_millis(1900));
    // A date has whole seconds.
    assert!(times[2] - times[1] >= Duration::from_millis(1900));
    let sent = record(&daemon, "t1", CallbackStatus::Sent).await;
    assert_eq!(
        (sent.attempts, sent.http_status, sent.next_try_at),
        (3, Some(204), None)
    );
}

#[tokio::test]
async fn c4_a_receiver_that_is_gone_is_given_up_at_once() {
    let daemon = daemon("schedule = ['0s', '50ms', '50ms']").await;
    let hook = Hook::start(|_, one| if one.path == "/gone" { 410.into() } else { 404.into() }).await;
    call(&daemon, "gone", hook.url("/gone")).await;
    call(&daemon, "missing", hook.url("/missing")).await;
    let gone = record(&daemon, "gone", CallbackStatus::Failed).await;
    assert_eq!((gone.attempts, gone.http_status), (1, Some(410)));
    assert!(gone.detail.unwrap().contains("410 Gone"));
    let missing = record(&daemon, "missing", CallbackStatus::Failed).await;
    assert_eq!((missing.attempts, missing.http_status), (3, Some(404)));
    assert_eq!(hook.received().len(), 4);
}

#[tokio::test]
async fn c4_a_receiver_that_hangs_takes_four_places_and_delays_no_other_host() {
    let daemon = daemon("schedule = ['0s']\ntimeout = '20s'").await;
    let dead = Hook::start(|_, _| Reply::Never).await;
    let alive = Hook::start_at("127.0.0.2:0", |_, _| 200.into()).await;
    daemon.done("t1", ECHO, json!({})).await;
    // More than there are places, and all of them before the others.
    for path in 0..40 {
        call(&daemon, "t1", dead.url(&format!("/{path}"))).await;
    }
    dead.wait_for(4).await;
    let start = Instant::now();
    for path in 0..20 {
        call(&daemon, "t1", alive.url(&format!("/{path}"))).await;
    }
    alive.wait_for(20).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!((dead.received().len(), dead.most_at_a_time()), (4, 4));
    assert!(alive.most_at_a_time() <= 4);
}

#[tokio::test]
async fn c4_what_a_killed_daemon_had_under_way_is_tried_again_at_its_next_start() {
    // Held for 70 s by the daemon that took it.
    let mut daemon = daemon("").await;
    let hook = Hook::start(|count, _| if count == 1 { Reply::Never } else { 200.into() }).await;
    call(&daemon, "t1", hook.url("/")).await;
    hook.wait_for(1).await;
    daemon.kill();
    daemon.launch().await;
    let tries = hook.wait_for(2).await;
    assert_eq!(tries[0].header("webhook-id"), tries[1].header("webhook-id"));
    assert_eq!(tries[0].raw, tries[1].raw);
    // The daemon that died burned no try.
    assert_eq!(record(&daemon, "t1", CallbackStatus::Sent).await.attempts, 1);
}

#[tokio::test]
async fn req12_every_callback_arrives_though_the_receiver_is_down_and_the_daemon_is_killed() {
    let schedule = vec!["'300ms'"; 60].join(", ");
    let mut daemon = daemon(&format!("schedule = ['0s', {schedule}]\ntimeout = '1s'")).await;
    let refused = Hook::start(|_, _| 200.into()).await;
    let address = refused.address().to_string();
    drop(refused);
    daemon.done("hits", ECHO, json!({})).await;
    for number in 0..12 {
        let task = format!("run-{number}");
        call(&daemon, &task, format!("http://{address}/run/{number}")).await;
    }
    for number in 0..48 {
        call(&daemon, "hits", format!("http://{address}/hit/{number}")).await;
    }
    for _ in 0..3 {
        // Some tries have been made, and some are under way.
        eventually("a refused try", || async {
            let tried = daemon.client.callbacks(&CallbackQuery::default()).await.ok()?.items;
            tried.iter().any(|one| one.last_tried_at.is_some()).then_some(())
        })
        .await;
        daemon.kill();
        daemon.launch().await;
    }
    daemon.idle().await;
    let query = CallbackQuery {
        state: Some("pending".into()),
        limit: Some(500),
        ..CallbackQuery::default()
    };
    let ids: HashMap<String, String> = eventually("60 callbacks that wait", || async {
        let page = daemon.client.callbacks(&query).await.ok()?;
        let ids: HashMap<_, _> = page.items.into_iter().map(|one| (one.url, one.id)).collect();
        (ids.len() == 60).then_some(ids)
    })
    .await;
    let hook = Hook::start_at(&address, |_, _| 200.into()).await;
    daemon.delivered().await;
    let received = hook.received();
    assert_eq!(received.len(), 60, "each of them once");
    for one in received {
        assert_eq!(ids[&hook.url(&one.path)], one.header("webhook-id"));
        assert_eq!(one.body["status"], "completed");
    }
}
