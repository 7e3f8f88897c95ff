//! Callbacks: C1 to C5.

use std::{collections::BTreeSet, net::ToSocketAddrs};

use onceover_tests::{
    Daemon, DaemonBuilder,
    callbacks::{ReceivedCallback, Receiver},
    daemon::task_id,
    eventually, until_equal,
};
use onceover_types::{CallbackStatus, StageState};
use onceover_wire::ReuseMode;
use redis::AsyncCommands;
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const WAIT: &str = "test.wait";

fn builder() -> DaemonBuilder {
    Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.0/8']\nschedule = ['0s', '100ms', '100ms']\ntimeout = '2s'")
}

async fn submit(daemon: &Daemon, task: &str, node: &str, input: Value, url: &str) -> onceover_wire::ReuseInfo {
    let answer = daemon
        .try_submit(task, node, input, Some(url.to_owned()), ReuseMode::Auto)
        .await;
    answer.expect("the submit is accepted").reuse_info
}

fn paths(received: &[ReceivedCallback]) -> Vec<&str> {
    let mut paths: Vec<_> = received.iter().map(|one| one.path.as_str()).collect();
    paths.sort_unstable();
    paths
}

#[tokio::test]
async fn c1_a_callback_is_about_the_requested_node() {
    let daemon = builder().start().await;
    let receiver = Receiver::start().await;
    daemon.done("t1", "test.file", json!({})).await;
    daemon.done("t1", ECHO, json!({"value": "first"})).await;
    let info = submit(
        &daemon,
        "t1",
        "test.fields",
        json!({"output": {"value": "asked"}}),
        &receiver.url("/a"),
    )
    .await;
    let got = receiver.wait_for(1).await.remove(0);
    assert_eq!(got.path, "/a");
    assert_eq!(got.header("content-type"), "application/json");
    assert!(!got.header("webhook-id").is_empty() && !got.header("webhook-timestamp").is_empty());
    let body = &got.body;
    assert_eq!((&body["task_id"], &body["status"]), (&json!("t1"), &json!("completed")));
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        body["reuse_info"],
        json!({"reuse_hit": false, "task_name": "test.fields", "reason": "absent", "run_id": info.run_id})
    );
    let result = &body["result"];
    assert_eq!(result["task_name"], "test.fields");
    assert_eq!(result["output"], json!({"value": "asked"}));
    assert_eq!(result["stages"].as_object().unwrap().len(), 3, "the full view");
    assert_eq!(result["stages"]["test.fields"]["status"], "SUCCESS");
    assert_eq!((&result["status"], &result["error"]), (&json!("SUCCESS"), &json!(null)));
    assert_eq!(result["input_params"], json!({"output": {"value": "asked"}}), "flat");
    for field in [
        "duration",
        "workflow_id",
        "create_at",
        "shared_storage_path",
        "minio_files",
        "task_status",
    ] {
        assert!(result.get(field).is_some(), "{field} is missing: {result}");
    }
    daemon.delivered().await;
    let view = daemon.client.task(&task_id("t1")).await.unwrap();
    assert_eq!(view.callback_status, Some(CallbackStatus::Sent));
    // A hit on a stage that is not the newest is about that one.
    submit(&daemon, "t1", ECHO, json!({}), &receiver.url("/b")).await;
    let got = receiver.wait_for(2).await.remove(1);
    assert_eq!(got.body["result"]["task_name"], ECHO);
    assert_eq!(got.body["result"]["output"], json!({"value": "first"}));
    assert_eq!(got.body["reuse_info"]["task_name"], ECHO);
}

#[tokio::test]
async fn c2_a_hit_goes_to_the_url_of_this_request_and_the_stored_stage_is_not_rewritten() {
    let daemon = builder().start().await;
    let receiver = Receiver::start().await;
    submit(&daemon, "t1", ECHO, json!({"value": 1}), &receiver.url("/first")).await;
    let stage = daemon.until("t1", ECHO, StageState::Success).await;
    receiver.wait_for(1).await;
    daemon.delivered().await;
    let mut redis = daemon.redis().await;
    let before: String = redis.get("t1:node:test.echo").await.unwrap();
    let expires: i64 = redis.expire_time("t1:node:test.echo").await.unwrap();
    let info = submit(&daemon, "t1", ECHO, json!({"value": 2}), &receiver.url("/second")).await;
    assert!(info.reuse_hit);
    receiver.wait_for(2).await;
    daemon.delivered().await;
    let got = receiver.received();
    assert_eq!(paths(&got), ["/first", "/second"]);
    let body = &got[1].body;
    assert_eq!(body["status"], "completed");
    assert_eq!(
        body["reuse_info"],
        json!({"reuse_hit": true, "task_name": ECHO, "source": "redis", "cached_at": stage.ended_at,
            "input_changed": true, "saved_seconds": stage.duration})
    );
    assert_eq!(body["result"]["stages"][ECHO]["output"], json!({"value": 1}));
    let after: String = redis.get("t1:node:test.echo").await.unwrap();
    assert_eq!(after, before);
    let still: i64 = redis.expire_time("t1:node:test.echo").await.unwrap();
    assert_eq!(still, expires);
    let stage = daemon.stage("t1", ECHO).await.unwrap();
    assert_eq!(stage.input_params.get(), r#"{"value":1}"#);
    // A hit without a callback calls nobody.
    daemon.submit("t1", ECHO, json!({})).await;
    daemon.delivered().await;
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn c3_in_flight_each_distinct_url_is_told_once_and_each_hit_by_itself() {
    let daemon = builder().start().await;
    let receiver = Receiver::start().await;
    let input = json!({"until": "go"});
    for path in ["/a", "/b", "/a", "/c", "/b"] {
        submit(&daemon, "t1", WAIT, input.clone(), &receiver.url(path)).await;
    }
    daemon.submit("t1", WAIT, input.clone()).await;
    let view = daemon.client.task(&task_id("t1")).await.unwrap();
    assert_eq!(view.callback_status, Some(CallbackStatus::Pending));
    daemon.release("go");
    receiver.wait_for(3).await;
    daemon.delivered().await;
    let got = receiver.received();
    assert_eq!(paths(&got), ["/a", "/b", "/c"], "the newest included");
    for one in &got {
        assert_eq!(
            one.body["reuse_info"]["reuse_hit"],
            json!(one.path != "/a"),
            "{}",
            one.path
        );
        assert_eq!(one.body["result"]["stages"][WAIT]["status"], "SUCCESS");
    }
    for path in ["/a", "/a", "/d"] {
        submit(&daemon, "t1", WAIT, input.clone(), &receiver.url(path)).await;
    }
    receiver.wait_for(6).await;
    daemon.delivered().await;
    let got = receiver.received();
    assert_eq!(paths(&got), ["/a", "/a", "/a", "/b", "/c", "/d"]);
    let ids: BTreeSet<_> = got.iter().map(|one| one.header("webhook-id")).collect();
    assert_eq!(ids.len(), 6, "each delivery has its own id");
}

#[tokio::test]
async fn c4_only_2xx_counts_redirects_are_not_followed_and_each_try_is_the_same() {
    let daemon = builder().start().await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    receiver.answer(&[500]);
    receiver.redirect(307, &elsewhere.url("/elsewhere"));
    receiver.answer(&[204]);
    submit(&daemon, "t1", ECHO, json!({}), &receiver.url("/a")).await;
    let got = receiver.wait_for(3).await;
    daemon.delivered().await;
    assert_eq!(receiver.received().len(), 3);
    assert!(elsewhere.received().is_empty());
    for one in &got[1..] {
        assert_eq!(one.header("webhook-id"), got[0].header("webhook-id"));
        assert_eq!(one.raw, got[0].raw);
    }
    let view = daemon.client.task(&task_id("t1")).await.unwrap();
    assert_eq!(view.callback_status, Some(CallbackStatus::Sent));
}

#[tokio::test]
async fn c4_a_delivery_is_given_up_after_the_schedule() {
    let daemon = builder().start().await;
    let receiver = Receiver::start().await;
    receiver.answer(&[404, 302, 503]);
    submit(&daemon, "t1", ECHO, json!({}), &receiver.url("/a")).await;
    until_equal("callback status", Some(CallbackStatus::Failed), || async {
        daemon.client.task(&task_id("t1")).await.ok()?.callback_status
    })
    .await;
    daemon.delivered().await;
    assert_eq!(receiver.received().len(), 3);
    let stage = daemon.stage("t1", ECHO).await.unwrap();
    assert_eq!(stage.callback_status, Some(CallbackStatus::Failed));
    assert_eq!(stage.status, StageState::Success, "the stage has nothing to do with it");
    // Nobody listens there at all.
    submit(&daemon, "t2", ECHO, json!({}), "http://127.0.0.1:9/").await;
    until_equal("callback status", Some(CallbackStatus::Failed), || async {
        daemon.client.task(&task_id("t2")).await.ok()?.callback_status
    })
    .await;
}

#[tokio::test]
async fn c4_a_pending_delivery_survives_a_killed_daemon() {
    let mut daemon = Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.0/8']\nschedule = ['0s', '3s']\ntimeout = '2s'")
        .start()
        .await;
    let receiver = Receiver::start().await;
    receiver.answer(&[500]);
    submit(&daemon, "t1", ECHO, json!({}), &receiver.url("/a")).await;
    let first = receiver.wait_for(1).await.remove(0);
    // Its outcome is recorded; the next try waits.
    let delivery = format!("onceover:delivery:{}", first.header("webhook-id"));
    eventually("the outcome", || async {
        let detail: Option<String> = daemon.redis().await.hget(&delivery, "detail").await.unwrap();
        detail
    })
    .await;
    daemon.kill();
    daemon.launch().await;
    let second = receiver.wait_for(2).await.remove(1);
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(second.raw, first.raw);
    daemon.delivered().await;
    let view = daemon.client.task(&task_id("t1")).await.unwrap();
    assert_eq!(view.callback_status, Some(CallbackStatus::Sent));
}

#[tokio::test]
async fn c4_a_callback_asked_for_before_the_daemon_is_killed_is_made_after_it() {
    let mut daemon = builder().start().await;
    let receiver = Receiver::start().await;
    submit(&daemon, "t1", WAIT, json!({"until": "go"}), &receiver.url("/a")).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    daemon.kill();
    daemon.release("go");
    daemon.launch().await;
    let got = receiver.wait_for(1).await.remove(0);
    assert_eq!(got.body["status"], "completed");
    assert_eq!(got.body["result"]["stages"][WAIT]["attempt"], 2);
}

#[tokio::test]
async fn c4_a_slow_receiver_holds_up_no_other() {
    let daemon = builder().start().await;
    let receiver = Receiver::start().await;
    // Takes the connection and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/", silent.local_addr().unwrap());
    submit(&daemon, "t1", ECHO, json!({}), &silent).await;
    daemon.until("t1", ECHO, StageState::Success).await;
    submit(&daemon, "t2", ECHO, json!({}), &receiver.url("/a")).await;
    receiver.wait_for(1).await;
    let view = daemon.client.task(&task_id("t1")).await.unwrap();
    assert_eq!(view.callback_status, Some(CallbackStatus::Pending));
}

#[tokio::test]
async fn c1_failed_and_cancelled_runs_are_told_as_such() {
    let daemon = builder().start().await;
    let receiver = Receiver::start().await;
    submit(
        &daemon,
        "t1",
        "test.fail",
        json!({"message": "no luck"}),
        &receiver.url("/failed"),
    )
    .await;
    let got = receiver.wait_for(1).await.remove(0);
    assert_eq!((&got.body["status"], got.path.as_str()), (&json!("failed"), "/failed"));
    assert_eq!(
        (&got.body["result"]["status"], &got.body["result"]["error"]),
        (&json!("FAILED"), &json!("no luck"))
    );
    assert_eq!(got.body["result"]["stages"]["test.fail"]["error"], "no luck");
    for state in [StageState::Running, StageState::Pending] {
        // The second one waits for the gpu of the first.
        let task = format!("{state}");
        if state == StageState::Pending {
            daemon.submit("other", WAIT, json!({"until": "never"})).await;
            daemon.until("other", WAIT, StageState::Running).await;
        }
        submit(
            &daemon,
            &task,
            WAIT,
            json!({"until": "never"}),
            &receiver.url("/cancelled"),
        )
        .await;
        daemon.until(&task, WAIT, state).await;
        let before = receiver.received().len();
        daemon.client.cancel(&task_id(&task)).await.unwrap();
        let got = receiver.wait_for(before + 1).await.remove(before);
        assert_eq!(
            (&got.body["status"], got.path.as_str()),
            (&json!("cancelled"), "/cancelled")
        );
        assert_eq!(got.body["task_id"], task);
        assert_eq!(got.body["result"]["stages"][WAIT]["status"], "CANCELLED");
        assert_eq!(got.body["result"]["status"], "CANCELLED");
        daemon.delivered().await;
        assert_eq!(receiver.received().len(), before + 1);
    }
}

#[tokio::test]
async fn c1_a_forced_rerun_that_fails_tells_its_own_end_while_the_former_result_stands() {
    let daemon = builder().start().await;
    let receiver = Receiver::start().await;
    daemon.release("go");
    daemon.done("t1", WAIT, json!({"until": "go", "value": 1})).await;
    let url = Some(receiver.url("/a"));
    let input = json!({"until": "go", "fail": "no luck"});
    let answer = daemon
        .try_submit("t1", WAIT, input, url, ReuseMode::Never)
        .await
        .unwrap();
    let got = receiver.wait_for(1).await.remove(0);
    assert_eq!(got.body["status"], "failed");
    assert_eq!(got.body["reuse_info"]["reason"], "forced");
    assert_eq!(got.body["reuse_info"]["run_id"], json!(answer.reuse_info.run_id));
    assert_eq!(got.body["result"]["stages"][WAIT]["error"], "no luck");
    assert_eq!(
        (&got.body["result"]["status"], &got.body["result"]["error"]),
        (&json!("FAILED"), &json!("no luck"))
    );
    assert_eq!(daemon.stage("t1", WAIT).await.unwrap().status, StageState::Success);
    daemon.delivered().await;
    let view = daemon.client.task(&task_id("t1")).await.unwrap();
    assert_eq!(view.callback_status, Some(CallbackStatus::Sent));
}

#[tokio::test]
async fn c5_urls_that_may_not_be_called_are_refused_at_submit_and_nothing_is_stored() {
    let daemon = Daemon::start().await;
    let before = daemon.content().await;
    let long = format!("http://example.org/{}", "x".repeat(2048));
    for url in [
        "",
        "nonsense",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://",
        "http://user:word@example.org/",
        "http://127.0.0.1/",
        "http://127.1.2.3:8080/x",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://0.0.0.0/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::]/",
        "http://[fe80::1]/",
        "http://[fd00::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://localhost/",
        "http://LOCALHOST:5678/x",
        "http://localhost./",
        "http://a.localhost/",
        long.as_str(),
    ] {
        let body = json!({"task_name": ECHO, "task_id": "t1", "input_data": {}, "callback": url});
        let answer = daemon.post("/v1/tasks", body).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["callback".to_owned()]),
            "{url}"
        );
    }
    assert_eq!(daemon.content().await, before);
}

#[tokio::test]
async fn c5_a_name_that_leads_to_this_machine_is_refused_when_connecting() {
    let daemon = Daemon::builder().config("[callbacks]\nschedule = ['0s']").start().await;
    let receiver = Receiver::start().await;
    let host = own_name();
    let url = receiver.url("/a").replace("127.0.0.1", &host);
    // Its own name is one that resolves here without a name server, to an address that is not public.
    let answer = daemon
        .try_submit("t1", ECHO, json!({}), Some(url), ReuseMode::Auto)
        .await;
    assert!(answer.is_ok(), "a name is judged when it is resolved: {answer:?}");
    until_equal("callback status", Some(CallbackStatus::Failed), || async {
        daemon.client.task(&task_id("t1")).await.ok()?.callback_status
    })
    .await;
    assert!(receiver.received().is_empty());
    if (host.as_str(), 80).to_socket_addrs().is_ok() {
        // It is logged after it is recorded.
        eventually("a log line that says how to allow it", || async {
            daemon.logged().contains("callbacks.allow").then_some(())
        })
        .await;
    }
}

fn own_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .expect("it is there")
        .trim()
        .to_owned()
}

#[tokio::test]
async fn req6_who_joins_a_python_workers_stage_is_told_its_end_and_as_failed_when_it_is_lost() {
    let daemon = builder().start().await;
    let receiver = Receiver::start().await;
    let mut redis = daemon.redis().await;
    let json = |task: &str, status: &str, output: Value| {
        let stage = json!({"status": status, "input_params": {}, "output": output, "error": null, "duration": 1.0});
        json!({"workflow_id": task, "stages": {ECHO: stage}}).to_string()
    };
    for task in ["ends", "fails", "vanishes", "deleted", "replaced"] {
        let key = format!("{task}:node:{ECHO}");
        let _: () = redis
            .set_ex(&key, json(task, "IN_PROGRESS", json!({})), 86_400)
            .await
            .unwrap();
        for path in ["a", "b", "a"] {
            let info = submit(
                &daemon,
                task,
                ECHO,
                json!({}),
                &receiver.url(&format!("/{task}/{path}")),
            )
            .await;
            assert_eq!((info.reuse_hit, info.state.as_deref()), (true, Some("pending")));
        }
    }
    assert_eq!(daemon.client.system().await.unwrap().reuse.joins, 15);
    daemon.client.delete(&task_id("deleted"), true).await.unwrap();
    let success = json("ends", "SUCCESS", json!({"value": 7}));
    let _: () = redis
        .set_ex(format!("ends:node:{ECHO}"), &success, 86_400)
        .await
        .unwrap();
    let failure = json("fails", "FAILED", json!({}));
    let _: () = redis
        .set_ex(format!("fails:node:{ECHO}"), failure, 86_400)
        .await
        .unwrap();
    let _: () = redis.del(format!("vanishes:node:{ECHO}")).await.unwrap();
    // It has sent nothing for two hours, so a run of ours replaces it, if that is requested before it is reported as
    // lost.
    let _: bool = redis
        .expire(format!("replaced:node:{ECHO}"), 86_400 - 7201)
        .await
        .unwrap();
    daemon.submit("replaced", ECHO, json!({})).await;
    let received = receiver.wait_for(8).await;
    daemon.delivered().await;
    let mut told: Vec<_> = received
        .iter()
        .map(|one| (one.path.as_str(), one.body["status"].as_str().unwrap()))
        .collect();
    told.sort_unstable();
    told.retain(|(path, _)| !path.starts_with("/replaced"));
    let both = |task: &'static str, status: &'static str| ["a", "b"].map(|path| (format!("/{task}/{path}"), status));
    let expected: Vec<_> = [
        both("ends", "completed"),
        both("fails", "failed"),
        both("vanishes", "failed"),
    ]
    .concat();
    assert_eq!(
        told,
        expected
            .iter()
            .map(|(path, status)| (path.as_str(), *status))
            .collect::<Vec<_>>()
    );
    assert_eq!(receiver.received().len(), 8, "and nobody twice");
    let stored: String = redis.get(format!("ends:node:{ECHO}")).await.unwrap();
    assert_eq!(stored, success, "what the worker wrote stays as it is");
    assert!(daemon.keys().await.iter().all(|key| !key.contains("watch")));
}
