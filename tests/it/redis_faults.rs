//! Every fault of Redis is reported by its cause, in the server's or the system's own words, with what to do: by
//! `check`, in the log, by `/readyz`, in answers and on the screen.

use std::{fs, path::Path, process::Stdio};

use futures_util::future::join_all;
use onceover_tests::{
    CERTIFICATE, Daemon, PATIENCE, RedisServer, daemon::request, eventually, free_port, program, redis_server::connect,
    screen::Dashboard,
};
use onceover_types::StageState;
use redis::AsyncCommands;
use serde_json::json;

const PASSWORD: &str = "good";

/// A server with a password, on a socket and on two ports: a plain one and one with TLS.
struct Guarded {
    server: RedisServer,
    plain: u16,
    tls: u16,
}

impl Guarded {
    async fn start() -> Self {
        let (plain, tls) = (free_port(), free_port());
        let certificate = tempfile::NamedTempFile::new().unwrap();
        fs::write(&certificate, CERTIFICATE).unwrap();
        let file = certificate.path().to_str().unwrap();
        let (plain_port, tls_port) = (plain.to_string(), tls.to_string());
        let server = RedisServer::start(&[
            "--port",
            &plain_port,
            "--tls-port",
            &tls_port,
            "--tls-cert-file",
            file,
            "--tls-key-file",
            file,
            "--tls-auth-clients",
            "no",
            // Needed, but nobody is asked for a certificate.
            "--tls-ca-cert-file",
            file,
        ])
        .await;
        let mut admin = server.connect().await;
        let _: () = config_set(&mut admin, "requirepass", PASSWORD).await;
        Self { server, plain, tls }
    }

    fn url(&self, user: &str) -> String {
        format!("redis://{user}127.0.0.1:{}/0", self.plain)
    }
}

async fn config_set(redis: &mut redis::aio::MultiplexedConnection, name: &str, value: &str) {
    let mut set = redis::cmd("CONFIG");
    let set = set.arg("SET").arg(name).arg(value);
    set.query_async::<()>(redis).await.expect("Redis takes it");
}

/// What `onceoverd check` says of Redis, and whether it finds everything in order.
async fn check(data: &Path, url: &str) -> (bool, String) {
    let output = tokio::process::Command::new(program("onceoverd"))
        .args(["--listen", "127.0.0.1:0", "--redis", url, "--data"])
        .arg(data)
        .arg("check")
        .output()
        .await
        .expect("onceoverd starts");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains("edis")).collect();
    (output.status.success(), lines[1..].join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_redis_is_said_in_its_own_words_with_what_to_do() {
    let guarded = Guarded::start().await;
    let nobody = free_port();
    let table = [
        (guarded.url(":hush@"), "WRONGPASS", "percent-encoded"),
        (guarded.url("hush:hush@"), "WRONGPASS", "redis.url"),
        (guarded.url(""), "NOAUTH", "percent-encoded"),
        (
            format!("redis://:good@127.0.0.1:{}/99", guarded.plain),
            "DB index is out of range",
            "no database 99",
        ),
        (
            format!("redis://:hush@nohost.invalid:{}/0", guarded.plain),
            "failed to lookup",
            "redis.url names a host",
        ),
        (
            format!("redis://127.0.0.1:{nobody}/0"),
            "Connection refused",
            "redis.url",
        ),
        (
            "redis+unix:///nowhere/redis.sock".to_owned(),
            "No such file",
            "redis.url",
        ),
        (
            format!("rediss://:hush@127.0.0.1:{}/0", guarded.plain),
            "does not speak TLS",
            "redis://",
        ),
        (format!("redis://:hush@127.0.0.1:{}/0", guarded.tls), "", "rediss://"),
        (
            format!("rediss://:hush@localhost:{}/0", guarded.tls),
            "UnknownIssuer",
            "SSL_CERT_FILE",
        ),
        ("redis://:hush#1@localhost/0".to_owned(), "holds a '#'", "%23"),
        ("redis://:hush/1@localhost/0".to_owned(), "URL cannot be used", "%2F"),
        (
            "redis+sentinel://hush@localhost/0".to_owned(),
            "Sentinel is not supported yet",
            "primary",
        ),
    ];
    let data = tempfile::tempdir().unwrap();
    join_all(table.iter().map(async |(url, cause, advice)| {
        let (fine, said) = check(data.path(), url).await;
        assert!(!fine, "{url}: {said}");
        assert!(said.contains(cause) && said.contains(advice), "{url}: {said}");
        assert!(!said.contains("hush"), "{url}: {said}");
        // A cause is named once.
        assert!(cause.is_empty() || said.matches(cause).count() == 1, "{url}: {said}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_waits_for_redis_says_why_and_goes_on_when_that_is_mended() {
    let guarded = Guarded::start().await;
    let data = tempfile::tempdir().unwrap();
    let said = data.path().join("said");
    let mut daemon = tokio::process::Command::new(program("onceoverd"))
        .args(["--listen", "127.0.0.1:0", "--redis", &guarded.url(":other@"), "--data"])
        .arg(data.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&said).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let text = || fs::read_to_string(&said).unwrap_or_default();
    let address = eventually("its address", || async {
        let text = text();
        let (_, rest) = text.split_once("listens on ")?;
        Some(rest.split_once(';')?.0.to_owned())
    })
    .await;
    eventually("the cause", || async { text().contains("WRONGPASS").then_some(()) }).await;
    let answer = reqwest::get(format!("{address}/readyz")).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("WRONGPASS"));
    let mut admin = guarded.admin().await;
    config_set(&mut admin, "requirepass", "other").await;
    eventually("ready", || async {
        let answer = reqwest::get(format!("{address}/readyz")).await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    // Not again and again.
    assert_eq!(text().matches("WRONGPASS").count(), 1, "{}", text());
    daemon.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_changed_under_a_daemon_is_named_in_answers_and_on_screen() {
    let guarded = Guarded::start().await;
    let daemon = Daemon::builder().redis(&guarded.url(":good@")).start().await;
    let mut dashboard = Dashboard::open(&daemon, 160, 36);
    dashboard.shows("live");
    let mut admin = guarded.admin().await;
    config_set(&mut admin, "requirepass", "changed").await;
    let mut kill = redis::cmd("CLIENT");
    let kill = kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    kill.query_async::<()>(&mut admin).await.unwrap();
    let body = serde_json::to_value(request("t", "test.echo", json!({}), None, Default::default())).unwrap();
    let refused = eventually("a submit that is refused for it", || async {
        let answer = daemon.post("/v1/tasks", body.clone()).await;
        answer.text.contains("WRONGPASS").then_some(answer)
    })
    .await;
    assert_eq!(
        (refused.status, refused.problem()),
        (503, "redis-unavailable".to_owned())
    );
    let system = daemon.get("/v1/system").await.json();
    assert_eq!(system["redis"]["up"], false);
    assert!(
        system["redis"]["error"].as_str().unwrap().contains("WRONGPASS"),
        "{system}"
    );
    let causes = daemon.get("/readyz").await.json()["causes"].to_string();
    assert!(causes.contains("WRONGPASS") && causes.contains("redis.url"), "{causes}");
    dashboard.shows("WRONGPASS");
    config_set(&mut admin, "requirepass", "good").await;
    eventually("a submit that is taken", || async {
        let answer = daemon.post("/v1/tasks", body.clone()).await;
        (answer.status == 200).then_some(())
    })
    .await;
    daemon.until("t", "test.echo", StageState::Success).await;
    dashboard.shows("live");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_in_cluster_mode_and_a_sentinel_are_refused_with_the_reason() {
    let cluster = RedisServer::start(&["--cluster-enabled", "yes"]).await;
    let mut admin = cluster.connect().await;
    let mut slots = redis::cmd("CLUSTER");
    let slots = slots.arg("ADDSLOTSRANGE").arg(0).arg(16383);
    slots.query_async::<()>(&mut admin).await.unwrap();
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sentinel.conf");
    fs::write(&config, "sentinel monitor main 127.0.0.1 1 1\n").unwrap();
    let _sentinel = tokio::process::Command::new("redis-server")
        .arg(&config)
        .args(["--sentinel", "--port", &port.to_string()])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let sentinel = format!("redis://127.0.0.1:{port}/0");
    eventually("the Sentinel", || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    for (url, why) in [
        (cluster.url(0), "it runs in cluster mode"),
        (sentinel, "it is a Sentinel"),
    ] {
        let (fine, said) = check(folder.path(), &url).await;
        assert!(!fine && said.contains(why), "{said}");
        let started = tokio::process::Command::new(program("onceoverd"))
            .args(["--listen", "127.0.0.1:0", "--redis", &url, "--data"])
            .arg(folder.path().join("data"))
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(PATIENCE, started).await.expect("it ends").unwrap();
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && text.contains(why), "{text}");
    }
    // Nothing of ours was written there.
    let keys: Vec<String> = admin.keys("*").await.unwrap();
    assert_eq!(keys, Vec::<String>::new());
}

impl Guarded {
    /// A connection that may do everything.
    async fn admin(&self) -> redis::aio::MultiplexedConnection {
        let url = format!(
            "redis+unix://{}?pass={PASSWORD}",
            self.server.dir().join("redis.sock").display()
        );
        connect(&url).await
    }
}
