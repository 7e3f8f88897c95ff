//! Brokers that people have: with a password, with users, in any database, with TLS, behind Sentinel. The daemon and the
//! workers use them by the same URLs.

use std::path::Path;

use onceover_tests::{
    Daemon, RedisServer,
    celery_sentinel::{MASTER, ReplicatedBroker},
    celery_workers::{WorkerStart, service_at},
    daemon::task_id,
    free_port, program,
};
use onceover_types::StageState;
use serde_json::json;

use super::{NODES, NOOP, SLEEP, WRITE, begun, single};

/// Certificates: `ca.pem` has signed that of `server.pem`, for `localhost` and 127.0.0.1.
const TLS_FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/celery/tls");

async fn start_daemon(broker: &str, results: &str) -> Daemon {
    let service = service_at("probe", broker, results, "");
    Daemon::builder().config(&service).nodes(NODES).start().await
}

/// Runs a stage to its end, with progress, and ends one that runs, on a worker that runs one at a time.
async fn use_broker(daemon: &Daemon, worker: WorkerStart, (broker, results): (&str, &str)) {
    let _worker = worker.start_at(broker, results).await;
    daemon.submit("film", SLEEP, json!({"seconds": 1, "steps": 2})).await;
    begun(daemon, "film", SLEEP).await;
    daemon.until("film", SLEEP, StageState::Success).await;
    // Only a worker that hears the daemon ends this in time.
    daemon.submit("film", WRITE, json!({"seconds": 600})).await;
    begun(daemon, "film", WRITE).await;
    daemon.client.cancel(&task_id("film")).await.expect("it is cancelled");
    daemon.until("film", WRITE, StageState::Cancelled).await;
    daemon.submit("film", NOOP, json!({})).await;
    daemon.until("film", NOOP, StageState::Success).await;
    // No answer and no log shows how to log in.
    let shown = daemon.get("/v1/workers").await.text;
    for text in [shown, daemon.said(), daemon.logged()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn celery_a_broker_with_a_password_is_used() {
    let port = free_port().to_string();
    let redis = RedisServer::start(&["--port", &port]).await;
    let mut connection = redis.connect().await;
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("requirepass").arg("p#s3cret");
    set.query_async::<()>(&mut connection).await.expect("Redis takes it");
    let url = |database: u8| format!("redis://:p%23s3cret@127.0.0.1:{port}/{database}");
    let (broker, results) = (url(4), url(5));
    let daemon = start_daemon(&broker, &results).await;
    use_broker(&daemon, single("w1"), (&broker, &results)).await;
}

#[tokio::test]
async fn celery_a_broker_with_users_is_used_in_one_database_for_all() {
    let port = free_port().to_string();
    let user = ["--user", "worker", "on", ">s3cret@", "~*", "&*", "+@all", "-@dangerous"];
    let _redis = RedisServer::start(&[&["--port", port.as_str()][..], &user].concat()).await;
    let url = format!("redis://worker:s3cret%40@127.0.0.1:{port}/6");
    let daemon = start_daemon(&url, &url).await;
    use_broker(&daemon, single("w1"), (&url, &url)).await;
}

#[tokio::test]
async fn celery_a_broker_with_tls_is_used_by_the_url_that_celery_takes() {
    let port = free_port().to_string();
    let file = |name: &str| Path::new(TLS_FOLDER).join(name).display().to_string();
    let (server, authority) = (file("server.pem"), file("ca.pem"));
    let tls = [
        "--tls-port",
        port.as_str(),
        "--tls-cert-file",
        server.as_str(),
        "--tls-key-file",
        server.as_str(),
        "--tls-ca-cert-file",
        authority.as_str(),
        "--tls-auth-clients",
        "no",
    ];
    let _redis = RedisServer::start(&tls).await;
    let url =
        |database: u8| format!("rediss://127.0.0.1:{port}/{database}?ssl_cert_reqs=required&ssl_ca_certs={authority}");
    let (broker, results) = (url(0), url(1));
    let daemon = start_daemon(&broker, &results).await;
    use_broker(&daemon, single("w1"), (&broker, &results)).await;
}

#[tokio::test]
async fn celery_a_broker_behind_sentinel_is_used() {
    let broker = ReplicatedBroker::start().await;
    let daemon = start_daemon(&broker.url(0), &broker.url(1)).await;
    let worker = single("w1").env("WORKER_MASTER", MASTER);
    use_broker(&daemon, worker, (&broker.worker_url(0), &broker.worker_url(1))).await;
}

#[tokio::test]
async fn celery_when_the_master_is_lost_what_runs_ends_once_and_what_comes_later_runs_on_the_replica() {
    let mut broker = ReplicatedBroker::start().await;
    let daemon = start_daemon(&broker.url(0), &broker.url(1)).await;
    let worker = single("w1").env("WORKER_MASTER", MASTER);
    let _worker = worker.start_at(&broker.worker_url(0), &broker.worker_url(1)).await;
    daemon.submit("runs", WRITE, json!({"seconds": 5})).await;
    begun(&daemon, "runs", WRITE).await;
    broker.lose_master().await;
    broker.until_failed_over().await;
    let stage = daemon.until("runs", WRITE, StageState::Success).await;
    assert_eq!(stage.attempt, 1, "nothing was lost");
    daemon.submit("later", NOOP, json!({})).await;
    daemon.until("later", NOOP, StageState::Success).await;
    daemon.idle().await;
}

#[test]
fn celery_rabbitmq_is_refused_at_start_with_its_reason() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("onceover.toml");
    for (key, url) in [
        ("broker", "amqp://guest:s3cret@127.0.0.1:5672//"),
        ("results", "rpc://"),
    ] {
        let other = if key == "broker" {
            ""
        } else {
            "broker = 'redis://127.0.0.1/0'\n"
        };
        let service = format!("[services.probe]\nrunner = 'celery'\n{other}{key} = '{url}'\n");
        std::fs::write(&file, service).expect("the configuration is written");
        let output = std::process::Command::new(program("onceoverd"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .arg("--config")
            .arg(&file)
            .output()
            .expect("it starts");
        assert!(!output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(
            text.contains(&format!("services.probe: `{key}` cannot be used")),
            "{text}"
        );
        let reason = if key == "broker" {
            "RabbitMQ (AMQP) is not supported"
        } else {
            "rpc:// keeps no result"
        };
        assert!(text.contains(reason), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
}
