//! The GPU lock that workers share with this machine, where it is the worker that uses the GPU.

use onceover_tests::{Daemon, celery_workers::CeleryBroker, redis_server::connect};
use onceover_types::StageState;
use redis::AsyncCommands;
use serde_json::json;

use super::{NODES, NOOP, single};

#[tokio::test]
async fn celery_a_run_that_goes_to_a_worker_takes_no_gpu_lock_since_the_worker_does() {
    let broker = CeleryBroker::start().await;
    let _worker = single("w1").start(&broker).await;
    let locks = broker.url(2);
    // As the worker takes it, while the task runs. A run that waited for it would wait for ever.
    let mut connection = connect(&locks).await;
    let _: () = connection
        .set("gpu_lock:0", "locked_by_noop")
        .await
        .expect("Redis answers");
    let nodes = NODES.replace("name = \"probe.noop\"", "name = \"probe.noop\"\nqueue = \"gpu\"");
    let daemon = Daemon::builder()
        .config(&broker.service("probe", ""))
        .config(&format!("[gpu_lock]\nredis = '{locks}'"))
        .nodes(&nodes)
        .start()
        .await;
    daemon.submit("film", NOOP, json!({})).await;
    let stage = daemon.until("film", NOOP, StageState::Success).await;
    assert_eq!(stage.runner.as_deref(), Some("celery"));
    let holder: String = connection.get("gpu_lock:0").await.expect("Redis answers");
    assert_eq!(holder, "locked_by_noop");
}
