//! `onceoverd import`: S5.

use onceover_tests::{Daemon, RedisServer, daemon::task_id, until_equal};
use onceover_wire::client::TaskQuery;
use redis::AsyncCommands;
use serde_json::json;

const ECHO: &str = "test.echo";

fn python(task: &str, node: &str, status: &str) -> String {
    let stage = json!({"status": status, "input_params": {}, "output": {"value": 7}, "error": null, "duration": 2.0});
    json!({"workflow_id": task, "input_params": {"task_name": node, "input_data": {}, "callback_url": null},
        "stages": {node: stage}})
    .to_string()
}

#[tokio::test]
async fn s5_import_enters_tasks_known_only_from_foreign_keys() {
    let server = RedisServer::start(&[]).await;
    let daemon = Daemon::builder().redis(&server.url(0)).start().await;
    daemon.done("own", ECHO, json!({})).await;
    let mut redis = daemon.redis().await;
    for (key, json) in [
        ("p1:node:test.echo", python("p1", ECHO, "SUCCESS")),
        ("p1:test:file", python("p1", "test.file", "SUCCESS")),
        ("p2:test:echo", python("p2", ECHO, "FAILED")),
        ("p3:node:test.echo", python("p3", ECHO, "IN_PROGRESS")),
        ("p4:node:test.echo", "not JSON".to_owned()),
        ("p*5:node:test.echo", python("p*5", ECHO, "SUCCESS")),
        ("q6:node:test.echo", python("q6", ECHO, "SUCCESS")),
        ("p7:node:no.such", python("p7", "no.such", "SUCCESS")),
    ] {
        let _: () = redis.set_ex(key, json, 86_400).await.unwrap();
    }
    let listed = async || {
        let page = daemon.client.tasks(&TaskQuery::default()).await.unwrap();
        let mut ids: Vec<_> = page.items.iter().map(|item| item.task_id.to_string()).collect();
        ids.sort();
        ids
    };
    let import = |arguments: &[&str]| {
        let output = daemon.command().arg("import").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let before = daemon.content().await;
    let said = import(&["--dry-run"]);
    assert!(said.contains("would enter 6 stages of 5 tasks"), "{said}");
    assert_eq!(daemon.content().await, before);
    let said = import(&["--match", "p"]);
    assert!(said.contains("entered 5 stages of 4 tasks"), "{said}");
    for line in ["test.echo of p3 (RUNNING)", "test.echo of p4", "p*5:node:test.echo"] {
        assert!(said.contains(line), "{line} is not in: {said}");
    }
    assert_eq!(listed().await, ["own", "p1", "p2", "p3", "p7"]);
    let said = import(&[]);
    assert!(
        said.contains("entered 1 stages of 1 tasks") && said.contains("known already: 6"),
        "{said}"
    );
    assert_eq!(listed().await, ["own", "p1", "p2", "p3", "p7", "q6"]);
    let page = daemon.client.tasks(&TaskQuery::default()).await.unwrap();
    for (task, node, state) in [("p3", ECHO, "RUNNING"), ("p7", "no.such", "SUCCESS")] {
        let item = page.items.iter().find(|item| item.task_id.as_str() == task).unwrap();
        assert_eq!(item.stages[node].status.as_str(), state, "{task}");
        assert_eq!(daemon.stage(task, node).await.unwrap().status.as_str(), state, "{task}");
    }
    assert!(daemon.submit("p1", ECHO, json!({})).await.reuse_info.reuse_hit);
    let untouched: String = redis.get("p1:test:file").await.unwrap();
    assert_eq!(untouched, python("p1", "test.file", "SUCCESS"));
    until_equal("p2", "failed".to_owned(), || async {
        daemon.client.task(&task_id("p2")).await.unwrap().status.to_string()
    })
    .await;
}
