//! Addressed answers: an answer about one node never says what happened to another.

use onceover_tests::{Daemon, callbacks::Receiver};
use onceover_types::StageState;
use serde_json::{Value, json};

const ECHO: &str = "test.echo";
const FAIL: &str = "test.fail";
const WAIT: &str = "test.wait";

async fn start() -> Daemon {
    Daemon::builder()
        .config("[callbacks]\nallow = ['127.0.0.1']")
        .start()
        .await
}

async fn hit(daemon: &Daemon, callback: Option<String>) -> Value {
    let body = json!({"task_name": ECHO, "task_id": "t1", "input_data": {}, "callback": callback});
    let answer = daemon.post("/v1/tasks", body).await;
    assert_eq!(answer.status, 200);
    answer.json()
}

async fn status(daemon: &Daemon, node: &str) -> Value {
    let answer = daemon.get(&format!("/v1/tasks/t1/status?task_name={node}")).await;
    assert_eq!(answer.status, 200);
    answer.json()
}

#[tokio::test]
async fn r2_a_hit_beside_a_failed_sibling_is_the_success_it_is() {
    let daemon = start().await;
    daemon.done("t1", ECHO, json!({"value": 7})).await;
    daemon.submit("t1", FAIL, json!({"message": "no luck"})).await;
    daemon.until("t1", FAIL, StageState::Failed).await;

    let answer = hit(&daemon, None).await;
    assert_eq!(answer["status"], "completed");
    let result = &answer["result"];
    assert_eq!(
        (&result["task_name"], &result["status"], &result["error"]),
        (&json!(ECHO), &json!("SUCCESS"), &Value::Null)
    );
    assert_eq!(
        (&result["input_params"], &result["output"]),
        (&json!({"value": 7}), &json!({"value": 7}))
    );
    assert_eq!(result["task_status"], "failed", "the whole task has a separate field");
    assert_eq!(result["stages"][FAIL]["error"], "no luck", "every stage is there");
}

#[tokio::test]
async fn c1_a_callback_beside_a_failed_sibling_is_about_its_own_node() {
    let daemon = start().await;
    let receiver = Receiver::start().await;
    daemon.done("t1", ECHO, json!({"value": 7})).await;
    daemon.submit("t1", FAIL, json!({"message": "no luck"})).await;
    daemon.until("t1", FAIL, StageState::Failed).await;

    hit(&daemon, Some(receiver.url("/hit"))).await;
    let body = receiver.wait_for(1).await.remove(0).body;
    assert_eq!(body["status"], "completed");
    let result = &body["result"];
    assert_eq!(
        (&result["task_name"], &result["status"], &result["error"]),
        (&json!(ECHO), &json!("SUCCESS"), &Value::Null)
    );
    assert_eq!(result["stages"].as_object().unwrap().len(), 2);
}

#[tokio::test]
async fn s2_the_status_of_a_finished_node_is_its_own_beside_siblings_that_fail_or_run() {
    let daemon = start().await;
    let done = daemon.done("t1", ECHO, json!({"value": 7})).await;
    daemon.submit("t1", FAIL, json!({"message": "no luck"})).await;
    daemon.until("t1", FAIL, StageState::Failed).await;

    let own = status(&daemon, ECHO).await;
    assert_eq!(
        (&own["status"], &own["task_status"]),
        (&json!("completed"), &json!("failed"))
    );
    assert_eq!((&own["error"], &own["result"]["error"]), (&Value::Null, &Value::Null));
    assert_eq!(own["result"]["status"], "SUCCESS");
    assert_eq!(own["input_params"]["task_name"], ECHO);
    assert_eq!(
        (&own["output"], &own["duration"]),
        (&json!({"value": 7}), &json!(done.duration))
    );
    assert!(own["message"].as_str().unwrap().starts_with(ECHO), "{}", own["message"]);
    let sibling = status(&daemon, FAIL).await;
    assert_eq!(
        (&sibling["status"], &sibling["error"]),
        (&json!("failed"), &json!("no luck"))
    );

    daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    daemon.until("t1", WAIT, StageState::Running).await;
    let own = status(&daemon, ECHO).await;
    assert_eq!(
        (&own["status"], &own["task_status"]),
        (&json!("completed"), &json!("running"))
    );
    // Without a node it speaks of that of the newest request.
    for path in ["/v1/tasks/t1/status", "/v1/tasks/t1/result"] {
        let newest = daemon.get(path).await.json();
        assert_eq!(
            (&newest["task_name"], &newest["status"]),
            (&json!(WAIT), &json!("running"))
        );
        assert_eq!(newest["result"]["status"], "RUNNING");
        assert_eq!(newest["stages"].as_object().unwrap().len(), 3);
    }
    // The whole task is what the task itself says.
    let task = daemon.get("/v1/tasks/t1").await.json();
    assert_eq!(task["status"], "running");
    daemon.release("go");
    daemon.until("t1", WAIT, StageState::Success).await;
}

#[tokio::test]
async fn c4_the_callback_status_of_a_node_is_not_that_of_its_sibling() {
    let daemon = start().await;
    let receiver = Receiver::start().await;
    daemon.done("t1", ECHO, json!({})).await;
    let body = json!({"task_name": "test.fields", "task_id": "t1", "input_data": {}, "callback": receiver.url("/a")});
    daemon.post("/v1/tasks", body).await;
    receiver.wait_for(1).await;
    daemon.delivered().await;
    assert_eq!(status(&daemon, "test.fields").await["callback_status"], "sent");
    assert_eq!(status(&daemon, ECHO).await["callback_status"], Value::Null);
}

#[tokio::test]
async fn r3_a_request_that_joins_says_where_the_answer_comes_from_also_in_its_callback() {
    let daemon = start().await;
    let receiver = Receiver::start().await;
    let first = daemon.submit("t1", WAIT, json!({"until": "go"})).await;
    let run = json!(first.reuse_info.run_id);
    daemon.until("t1", WAIT, StageState::Running).await;
    let body =
        json!({"task_name": WAIT, "task_id": "t1", "input_data": {"until": "go"}, "callback": receiver.url("/j")});
    let answer = daemon.post("/v1/tasks", body).await.json();
    assert_eq!(
        answer["reuse_info"],
        json!({"reuse_hit": true, "task_name": WAIT, "source": "redis", "cached_at": null, "state": "pending",
            "stage_status": "RUNNING", "run_id": run})
    );
    assert!(answer["reuse_info"].as_object().unwrap().contains_key("cached_at"));
    daemon.release("go");
    let body = receiver.wait_for(1).await.remove(0).body;
    assert_eq!(
        body["reuse_info"],
        json!({"reuse_hit": true, "task_name": WAIT, "source": "redis", "cached_at": null, "state": "pending", "run_id": run})
    );
}
