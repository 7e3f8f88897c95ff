//! What is known of callbacks: the list, one record, sending one again, and what is left when all is over (C4, S4).

use onceover_tests::{
    Daemon,
    daemon::task_id,
    eventually,
    hooks::{Hook, call, daemon_that_calls},
    until_equal,
};
use onceover_types::{CallbackStatus, Timestamp};
use onceover_wire::{CallbackDelivery, ReuseMode, TaskResource, client::CallbackQuery};
use serde_json::json;

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

/// Every callback that a query finds, page by page.
async fn all(daemon: &Daemon, mut query: CallbackQuery) -> Vec<CallbackDelivery> {
    let mut found = Vec::new();
    loop {
        let page = daemon.client.callbacks(&query).await.expect("a page");
        assert!(page.items.len() <= query.limit.unwrap_or(50) as usize);
        found.extend(page.items);
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return found,
        }
    }
}

fn of(task: &str) -> CallbackQuery {
    CallbackQuery {
        task_id: Some(task.into()),
        ..CallbackQuery::default()
    }
}

fn in_state(state: &str, limit: u32) -> CallbackQuery {
    CallbackQuery {
        state: Some(state.into()),
        limit: Some(limit),
        ..CallbackQuery::default()
    }
}

/// Keys that have to do with callbacks.
async fn traces(daemon: &Daemon) -> Vec<String> {
    let mut keys = daemon.keys().await;
    keys.retain(|key| key.contains("deliver") || key.contains("outbox"));
    keys
}

#[tokio::test]
async fn c4_callbacks_are_listed_newest_first_by_pages_state_and_task() {
    let daemon = daemon_that_calls("schedule = ['0s']").await;
    let hook = Hook::start(|_, one| {
        if one.path.starts_with("/no") {
            410.into()
        } else {
            200.into()
        }
    })
    .await;
    daemon.done("t1", ECHO, json!({})).await;
    daemon.done("t2", ECHO, json!({})).await;
    for number in 0..11 {
        call(&daemon, "t1", hook.url(&format!("/yes/{number}"))).await;
        call(&daemon, "t2", hook.url(&format!("/no/{number}"))).await;
    }
    daemon.delivered().await;
    let everything = all(
        &daemon,
        CallbackQuery {
            limit: Some(5),
            ..CallbackQuery::default()
        },
    )
    .await;
    assert_eq!(everything.len(), 22);
    assert!(everything.is_sorted_by(|a, b| a.created_at >= b.created_at));
    let ids = |found: &[CallbackDelivery]| found.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    let expected = |wanted: &dyn Fn(&CallbackDelivery) -> bool| {
        ids(&everything.iter().filter(|one| wanted(one)).cloned().collect::<Vec<_>>())
    };
    assert_eq!(
        ids(&all(&daemon, in_state("sent", 4)).await),
        expected(&|one| one.url.contains("/yes/"))
    );
    assert_eq!(
        ids(&all(&daemon, in_state("failed", 500)).await),
        expected(&|one| one.url.contains("/no/"))
    );
    assert!(all(&daemon, in_state("pending", 3)).await.is_empty());
    assert_eq!(
        ids(&all(&daemon, of("t1")).await),
        expected(&|one| one.task_id.as_str() == "t1")
    );
    let both = CallbackQuery {
        state: Some("sent".into()),
        ..of("t2")
    };
    assert!(all(&daemon, both).await.is_empty());

    let one = &everything[0];
    assert_eq!(daemon.client.callback(&one.id).await.unwrap(), *one);
    assert_eq!((one.task_name.as_str(), one.attempts), (ECHO, 1));
    assert_eq!((one.state, one.http_status), (CallbackStatus::Failed, Some(410)));
    assert!(one.run_id.is_some() && one.next_try_at.is_none() && one.last_tried_at >= Some(one.created_at));
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("state=gone", "state"),
        ("task_id=a%20b", "task_id"),
        ("cursor=%00", "cursor"),
        ("cursor=AAAA", "cursor"),
    ] {
        let answer = daemon.get(&format!("/v1/callbacks?{query}")).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec![field.to_owned()]),
            "{query}"
        );
    }
}

#[tokio::test]
async fn c4_a_callback_is_redelivered_with_the_same_id_and_body_whatever_became_of_it() {
    let daemon = daemon_that_calls("schedule = ['0s', '50ms']").await;
    // Down for the first two tries, then up, then gone.
    let hook = Hook::start(|count, _| [500u16, 500, 200, 410, 200][(count - 1).min(4)].into()).await;
    call(&daemon, "t1", hook.url("/a")).await;
    let status = async |state: CallbackStatus| {
        until_equal("task and stage", (Some(state), Some(state), json!(state)), || async {
            let view = daemon.client.task(&task_id("t1")).await.unwrap();
            let projection = daemon.projection("t1", ECHO).await;
            let stage = view.stages.values().next().and_then(|stage| stage.callback_status);
            (view.callback_status, stage, projection["callback_status"].clone())
        })
        .await;
    };
    status(CallbackStatus::Failed).await;
    let record = all(&daemon, in_state("failed", 50)).await.remove(0);
    assert_eq!(record.attempts, 2);
    for (tries, state) in [
        (3, CallbackStatus::Sent),
        (4, CallbackStatus::Failed),
        (5, CallbackStatus::Sent),
    ] {
        let again = daemon.client.redeliver(&record.id).await.unwrap();
        assert_eq!(
            (&again.id, again.state, again.attempts),
            (&record.id, CallbackStatus::Pending, 0)
        );
        assert!(again.next_try_at.is_some());
        hook.wait_for(tries).await;
        status(state).await;
        let after = daemon.client.callback(&record.id).await.unwrap();
        assert_eq!((after.state, after.attempts), (state, 1));
    }
    // What has happened to the task meanwhile is not reported under this id.
    daemon.done("t1", "test.file", json!({})).await;
    daemon.client.redeliver(&record.id).await.unwrap();
    let tries = hook.wait_for(6).await;
    assert!(
        tries
            .iter()
            .all(|one| one.header("webhook-id") == record.id && one.raw == tries[0].raw)
    );
    for path in [
        "/v1/callbacks/nothing",
        "/v1/callbacks/a%2Fb%00%F0%9F%98%80",
        "/v1/callbacks/*",
    ] {
        assert_eq!(daemon.get(path).await.status, 404, "{path}");
        let answer = daemon.post(&format!("{path}/redeliver"), json!({})).await;
        assert_eq!((answer.status, answer.fields()), (404, vec![]), "{path}");
    }
}

#[tokio::test]
async fn c4_task_and_stage_show_the_callback_of_the_newest_request_in_whatever_order_they_end() {
    let daemon = daemon_that_calls("schedule = ['0s', '600ms']").await;
    let hook = Hook::start(|_, one| match one.path.as_str() {
        "/never" => 410.into(),
        _ => 200.into(),
    })
    .await;
    let late = Hook::start(|count, _| if count == 1 { 500.into() } else { 200.into() }).await;
    let nobody = "http://127.0.0.1:9/".to_owned();
    let shown = async |task: &str| {
        daemon.delivered().await;
        let view = daemon.client.task(&task_id(task)).await.unwrap();
        (
            view.callback_status,
            view.stages.values().next().unwrap().callback_status,
        )
    };
    let (sent, failed) = (Some(CallbackStatus::Sent), Some(CallbackStatus::Failed));
    // The older one fails after the newer one was sent, and the other way round.
    daemon.done("a", ECHO, json!({})).await;
    call(&daemon, "a", nobody).await;
    call(&daemon, "a", hook.url("/yes")).await;
    assert_eq!(shown("a").await, (sent, sent));
    daemon.done("b", ECHO, json!({})).await;
    call(&daemon, "b", late.url("/")).await;
    call(&daemon, "b", hook.url("/never")).await;
    assert_eq!(shown("b").await, (failed, failed));
    // Of those who joined one run, the last counts, also when it asked for a URL that was known.
    for path in ["/yes", "/never", "/yes"] {
        let answer = daemon
            .try_submit("c", WAIT, json!({"until": "go"}), Some(hook.url(path)), ReuseMode::Auto)
            .await;
        answer.unwrap();
    }
    daemon.release("go");
    daemon.idle().await;
    assert_eq!(shown("c").await, (sent, sent));
    assert_eq!(daemon.projection("c", WAIT).await["callback_status"], "sent");
    assert_eq!(all(&daemon, of("c")).await.len(), 2, "one for each distinct URL (C3)");
}

#[tokio::test]
async fn s4_a_deleted_task_leaves_no_callback_behind() {
    let daemon = daemon_that_calls("schedule = ['0s', '1h']").await;
    let hook = Hook::start(|_, one| match one.path.as_str() {
        "/sent" => 200.into(),
        "/failed" => 410.into(),
        _ => 500.into(),
    })
    .await;
    daemon.done("t1", ECHO, json!({})).await;
    for path in ["/sent", "/failed", "/pending"] {
        call(&daemon, "t1", hook.url(path)).await;
    }
    let records = eventually("a try of each", || async {
        let records = all(&daemon, of("t1")).await;
        (records.iter().filter(|one| one.attempts == 1).count() == 3).then_some(records)
    })
    .await;
    assert!(!traces(&daemon).await.is_empty());
    let report = daemon.client.delete(&task_id("t1"), false).await.unwrap();
    let redis = report
        .results
        .iter()
        .find(|one| one.resource == TaskResource::Redis)
        .unwrap();
    assert_eq!(redis.details.as_ref().unwrap()["outbox"], 3);
    assert_eq!(traces(&daemon).await, Vec::<String>::new());
    assert!(all(&daemon, CallbackQuery::default()).await.is_empty());
    for one in records {
        assert_eq!(daemon.client.callback(&one.id).await.unwrap_err().status(), Some(404));
        assert_eq!(daemon.client.redeliver(&one.id).await.unwrap_err().status(), Some(404));
    }
}

#[tokio::test]
async fn c4_given_up_callbacks_are_listed_until_they_expire_and_then_leave_nothing() {
    let mut daemon = daemon_that_calls("schedule = ['0s']\n[retention]\nttl = '3s'").await;
    let hook = Hook::start(|_, _| 410.into()).await;
    call(&daemon, "t1", hook.url("/")).await;
    let record = eventually("a callback that is given up", || async {
        all(&daemon, in_state("failed", 50)).await.into_iter().next()
    })
    .await;
    eventually("the end of its time", || async {
        all(&daemon, of("t1")).await.is_empty().then_some(())
    })
    .await;
    assert!(all(&daemon, CallbackQuery::default()).await.is_empty());
    // The repair at the start removes what no list has come upon, a second after its time.
    daemon.stop().await;
    eventually("a second more", || async {
        (Timestamp::now().seconds_since(record.last_tried_at?) > 4.1).then_some(())
    })
    .await;
    daemon.launch().await;
    until_equal("traces", Vec::<String>::new(), || traces(&daemon)).await;
}

#[tokio::test]
async fn c4_of_sent_callbacks_the_newest_are_kept_and_of_given_up_ones_all() {
    let daemon = daemon_that_calls("schedule = ['0s']\nkeep = 3").await;
    let hook = Hook::start(|_, one| if one.path == "/no" { 410.into() } else { 200.into() }).await;
    daemon.done("t1", ECHO, json!({})).await;
    for number in 0..6 {
        call(&daemon, "t1", hook.url("/no")).await;
        call(&daemon, "t1", hook.url(&format!("/{number}"))).await;
        daemon.delivered().await;
    }
    let sent: Vec<_> = all(&daemon, in_state("sent", 50))
        .await
        .into_iter()
        .map(|one| one.url)
        .collect();
    assert_eq!(sent, [hook.url("/5"), hook.url("/4"), hook.url("/3")]);
    assert_eq!(daemon.times_reached("kept_callbacks").await, 3);
    assert_eq!(daemon.times_reached("callback_tries").await, 6);
    assert_eq!(all(&daemon, in_state("failed", 50)).await.len(), 6);
    assert_eq!(all(&daemon, of("t1")).await.len(), 9);
}
