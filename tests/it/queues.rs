//! Queues: a run holds slots of what it uses, and what waits there costs others nothing.

use std::fs;

use onceover_tests::Daemon;
use onceover_types::StageState;
use serde_json::json;

/// A node that may compute on a GPU, and waits for the file `go` below the folder.
fn node(folder: &std::path::Path) -> String {
    format!(
        r#"name = "fixture.model"
queue = {{ by = "device", gpu = "gpu", otherwise = "cpu" }}
runner = {{ command = ["sh", "-c", '''
cat >/dev/null
while [ ! -e {go} ]; do sleep 0.02; done
echo "{{\"type\": \"output\", \"output\": {{\"cuda\": \"${{CUDA_VISIBLE_DEVICES-unset}}\"}}}}"
'''] }}
[[parameters]]
name = "device"
type = "string"
default = "auto"
allowed = ["auto", "cuda", "cpu"]
meaning = "Where."
"#,
        go = folder.join("go").display()
    )
}

#[tokio::test]
async fn what_computes_on_the_processor_holds_no_slot_of_the_gpu_and_sees_none() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = folder.path().join("nodes");
    fs::create_dir(&nodes).unwrap();
    fs::write(nodes.join("model.toml"), node(folder.path())).unwrap();
    let daemon = Daemon::builder()
        .config(&format!(
            "node_dirs = ['{}']\n[slots]\ngpu = 1\ncpu = 4\n",
            nodes.display()
        ))
        // As on a machine without one, whatever the machine of the tests has.
        .env("CUDA_VISIBLE_DEVICES", "")
        .start()
        .await;
    for (task, device, queue) in [("a", "cpu", "cpu"), ("b", "auto", "cpu"), ("c", "cuda", "gpu")] {
        daemon.submit(task, "fixture.model", json!({"device": device})).await;
        let stage = daemon.until(task, "fixture.model", StageState::Running).await;
        assert_eq!(stage.queue, queue, "{device}");
    }
    fs::write(folder.path().join("go"), "").unwrap();
    // The last one is given what the daemon has.
    for (task, sees) in [("a", "-1"), ("b", "-1"), ("c", "")] {
        let stage = daemon.until(task, "fixture.model", StageState::Success).await;
        assert_eq!(stage.output.get(), json!({"cuda": sees}).to_string(), "{task}");
    }

    let shown = daemon.get("/v1/nodes/fixture.model").await.json();
    assert_eq!(shown["queue"], "cpu");
    assert_eq!(
        shown["queue_by"],
        json!({"by": "device", "gpu": "gpu", "otherwise": "cpu"})
    );
    let card = onceover_tests::onceover_at(&daemon)
        .args(["nodes", "fixture.model"])
        .output()
        .await
        .unwrap();
    let card = String::from_utf8_lossy(&card.stdout).into_owned();
    assert!(
        card.contains("queue cpu here (by device: gpu on a GPU, else cpu)"),
        "{card}"
    );
    // Every shipped node that may use a GPU decides so.
    let nodes = daemon.client.nodes().await.unwrap().nodes;
    for node in nodes.iter().filter(|node| node.needs.gpu.is_some()) {
        let by = node.queue_by.as_ref().map(|queues| queues.by.clone());
        assert_eq!(by, node.needs.gpu, "{}", node.name);
    }
}

#[tokio::test]
async fn req21_a_submit_and_a_list_take_as_many_calls_however_much_is_queued() {
    const WAIT: &str = "test.wait";
    let daemon = Daemon::start().await;
    let input = || json!({"until": "never"});
    // It holds the only slot of the GPU, so that all others wait.
    daemon.submit("first", WAIT, input()).await;
    daemon.until("first", WAIT, StageState::Running).await;
    let submit = async |name: &str| {
        let submit = async |round| drop(daemon.submit(&format!("{name}-{round}"), WAIT, input()).await);
        daemon.fewest_calls("", submit).await
    };
    let list = async || {
        let list = async |_| assert_eq!(daemon.get("/v1/tasks?limit=10").await.status, 200);
        daemon.fewest_calls("", list).await
    };
    let few = (submit("few").await, list().await);
    let tasks: Vec<_> = (0..300)
        .map(|n| json!({"task_id": format!("queued-{n}"), "task_name": WAIT, "input_data": input()}))
        .collect();
    let answer = daemon.post("/v1/tasks/batch", json!({"tasks": tasks})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let many = (submit("many").await, list().await);
    // One call for each that waits would be 300 more; a busy daemon's own are a few.
    assert!(
        many.0 < few.0 + 30 && many.1 < few.1 + 30,
        "{many:?}, and {few:?} before"
    );
}
