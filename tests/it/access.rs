//! Who may call the daemon, and what its Redis user may be denied: requirements 20 and 27.

use std::{fs, process::Command};

use onceover_tests::{
    Daemon, HttpAnswer, RedisServer,
    callbacks::Receiver,
    daemon::task_id,
    events::{Channel, Sse},
    program,
    redis_server::connect,
};
use onceover_types::StageState;
use onceover_wire::{
    ReuseMode,
    client::{Client, ClientError},
};
use reqwest::Method;
use serde_json::{Value, json};

const READ: &str = "read-token-of-the-test";
const ADMIN: &str = "admin-token-of-the-test";

async fn guarded() -> Daemon {
    let hash = "blake3:0c7f2ccd2c2b4b5ac4b5f4a5d3e2c4f0a6b9b2d1e0f3c4d5a6b7c8d9e0f1a2b3";
    Daemon::builder()
        .env("ONCEOVER_TOKENS", &format!("read:{READ} admin:{ADMIN} admin:{hash}"))
        .token(ADMIN)
        .start()
        .await
}

/// One request with these headers, as it is answered.
async fn send(daemon: &Daemon, method: &str, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let method: Method = method.parse().unwrap();
    let mut request = reqwest::Client::new().request(method, format!("{}{path}", daemon.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Whether a path holds no data, so that it needs no token.
fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/livez" | "/readyz" | "/docs/" | "/openapi.json") || path.starts_with("/problems")
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Every operation of the API's description, with something in place of its parameters, and what else is served.
async fn operations(daemon: &Daemon) -> Vec<(String, String)> {
    let document = daemon.get("/openapi.json").await.json();
    let mut operations = vec![
        ("GET".to_owned(), "/docs/".to_owned()),
        ("GET".to_owned(), "/openapi.json".to_owned()),
        ("GET".to_owned(), "/nothing/here".to_owned()),
        ("POST".to_owned(), "/nothing/here".to_owned()),
        ("PUT".to_owned(), "/v1/tasks".to_owned()),
    ];
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{task_id}", "none")
            .replace("{video_id}", "none")
            .replace("{file_path}", "none")
            .replace("{task_name}", "test.echo")
            .replace("{slug}", "busy")
            .replace("{id}", "none");
        assert!(!path.contains('{'), "a parameter that this test does not know: {path}");
        for method in item.as_object().unwrap().keys() {
            operations.push((method.to_uppercase(), path.clone()));
        }
    }
    operations
}

#[tokio::test]
async fn req27_every_route_enforces_its_scope() {
    let daemon = guarded().await;
    let operations = operations(&daemon).await;
    assert!(operations.len() > 15, "{operations:?}");
    let (read, admin) = (bearer(READ), bearer(ADMIN));
    for (method, path) in &operations {
        let status = async |headers: &[(&str, &str)]| send(&daemon, method, path, headers).await.status().as_u16();
        let found = (
            status(&[]).await,
            status(&[("authorization", &read)]).await,
            status(&[("authorization", &admin)]).await,
        );
        let refused = |status| matches!(status, 401 | 403);
        let right = match (path.as_str(), method.as_str()) {
            (path, "GET") if is_open(path) => found == (200, 200, 200),
            (_, "GET") => found.0 == 401 && !refused(found.1) && !refused(found.2),
            _ => found.0 == 401 && found.1 == 403 && !refused(found.2),
        };
        assert!(right, "{method} {path}: without, read, admin answered {found:?}");
    }
}

#[tokio::test]
async fn req27_the_description_tells_the_scope_of_every_route() {
    let daemon = guarded().await;
    let document = daemon.get("/openapi.json").await.json();
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let expected = match (path.as_str(), method.as_str()) {
                (path, _) if is_open(path) => json!([]),
                (_, "get") => json!([{"bearer": ["read"]}]),
                _ => json!([{"bearer": ["admin"]}]),
            };
            assert_eq!(operation["security"], expected, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn req27_a_refusal_says_what_is_needed() {
    let daemon = guarded().await;
    let answer = HttpAnswer::of(send(&daemon, "GET", "/v1/tasks", &[]).await).await;
    assert_eq!((answer.status, answer.problem().as_str()), (401, "unauthorized"));
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
    for wrong in ["Basic YTpi", "Bearer", "Bearer nonsense", &bearer(&ADMIN[1..]), ADMIN] {
        let answer = HttpAnswer::of(send(&daemon, "GET", "/v1/tasks", &[("authorization", wrong)]).await).await;
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(!answer.text.contains(ADMIN), "{answer:?}");
    }
    let answer = HttpAnswer::of(send(&daemon, "POST", "/v1/tasks", &[("authorization", &bearer(READ))]).await).await;
    assert_eq!((answer.status, answer.problem().as_str()), (403, "scope"));
    assert!(answer.text.contains("admin"), "{answer:?}");
    // Nowhere but in that header.
    let query = format!("/v1/tasks?token={ADMIN}&access_token={ADMIN}");
    assert_eq!(send(&daemon, "GET", &query, &[("cookie", ADMIN)]).await.status(), 401);
    // The client of both programs.
    let client = Client::with_token(&daemon.url(), Some(READ)).unwrap();
    assert!(client.system().await.is_ok());
    let refused = client.cancel(&task_id("none")).await.unwrap_err();
    assert!(
        matches!(&refused, ClientError::Refused(problem) if problem.status == 403),
        "{refused}"
    );
    let refused = Client::new(&daemon.url()).system().await.unwrap_err();
    assert_eq!(refused.status(), Some(401));
    assert!(!format!("{client:?}").contains(READ), "a token is not shown");
    assert!(!daemon.logged().contains("token-of-the-test"));
}

#[tokio::test]
async fn req27_tokens_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    fs::write(&file, format!("# for the dashboard\nadmin {ADMIN}\n\nread {READ}\n")).unwrap();
    let access = format!("[access]\ntokens_file = '{}'\n", file.display());
    let daemon = Daemon::builder().config(&access).token(READ).start().await;
    assert_eq!(daemon.get("/v1/tasks").await.status, 200);
    assert_eq!(daemon.post("/v1/tasks", json!({})).await.status, 403);
    assert_eq!(send(&daemon, "GET", "/v1/tasks", &[]).await.status(), 401);
}

#[tokio::test]
async fn req27_off_loopback_it_refuses_to_start_without_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], tokens: Option<&str>| {
        let mut command = Command::new(program("onceoverd"));
        command
            .args(arguments)
            .args(["--listen", "0.0.0.0:0", "--data"])
            .arg(dir.path().join("data"))
            .env_remove("ONCEOVER_TOKENS");
        if let Some(tokens) = tokens {
            command.env("ONCEOVER_TOKENS", tokens);
        }
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (started, said) = run(&[], None);
    assert!(!started);
    for needed in [
        "0.0.0.0:0",
        "token",
        "access.tokens_file",
        "ONCEOVER_TOKENS",
        "127.0.0.1",
    ] {
        assert!(said.contains(needed), "{needed} is not in: {said}");
    }
    assert!(!dir.path().join("data").exists(), "nothing was made");
    let (fine, said) = run(&["check"], None);
    assert!(!fine && said.contains("access.tokens_file"), "{said}");
    let (fine, said) = run(&["check"], Some(&format!("admin:{ADMIN}")));
    assert!(fine && said.contains("one of 1 tokens"), "{said}");
    let (started, said) = run(&[], Some("hush-hush"));
    assert!(
        !started && said.contains("ONCEOVER_TOKENS, entry 1") && !said.contains("hush"),
        "{said}"
    );
}

#[tokio::test]
async fn req27_pages_of_other_hosts_are_refused() {
    let daemon = Daemon::builder()
        .config("[access]\nhosts = ['box.lan']\n")
        .start()
        .await;
    let port = daemon.url().rsplit_once(':').unwrap().1.to_owned();
    let own = format!("127.0.0.1:{port}");
    for (host, expected) in [
        (own.as_str(), 200),
        ("localhost", 200),
        ("localhost:1", 200),
        ("[::1]:80", 200),
        ("127.3.2.1", 200),
        ("box.lan:8788", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ] {
        let answer = HttpAnswer::of(send(&daemon, "GET", "/v1/tasks", &[("host", host)]).await).await;
        assert_eq!(answer.status, expected, "Host: {host}");
        if expected == 403 {
            assert_eq!(answer.problem(), "host");
        }
    }
    let body = json!({"task_name": "test.echo", "task_id": "t1", "input_data": {}});
    for (origin, expected) in [
        (format!("http://{own}"), 200),
        ("https://box.lan".into(), 200),
        ("http://127.0.0.1:1".into(), 403),
        ("https://evil.example".into(), 403),
        ("null".into(), 403),
    ] {
        let request = reqwest::Client::new().post(format!("{}/v1/tasks", daemon.url()));
        let answer = HttpAnswer::of(request.header("origin", &origin).json(&body).send().await.unwrap()).await;
        assert_eq!(answer.status, expected, "Origin: {origin}: {answer:?}");
        // Reading changes nothing, and no answer may be read by such a page.
        let answer = HttpAnswer::of(send(&daemon, "GET", "/v1/tasks", &[("origin", &origin)]).await).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, ""));
    }
}

#[tokio::test]
async fn req27_too_much_at_a_time_is_answered_503_and_probes_and_streams_are_not_counted() {
    let daemon = Daemon::builder().config("[access]\nmax_requests = 2\n").start().await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(Sse::open(&daemon, None).await);
    }
    assert_eq!(daemon.get("/v1/tasks").await.status, 200, "open streams hold no place");
    // A Redis that stands still holds requests up.
    let redis = rustix::process::Pid::from_raw(daemon.redis_pid().await).unwrap();
    rustix::process::kill_process(redis, rustix::process::Signal::STOP).unwrap();
    let many = futures_util::future::join_all((0..8).map(|_| daemon.get("/v1/tasks"))).await;
    assert_eq!(daemon.get("/livez").await.status, 200);
    rustix::process::kill_process(redis, rustix::process::Signal::CONT).unwrap();
    let busy: Vec<_> = many.iter().filter(|answer| answer.problem() == "busy").collect();
    assert_eq!(busy.len(), 6, "{many:?}");
    assert!(
        busy.iter()
            .all(|answer| answer.status == 503 && answer.header("retry-after") == "1")
    );
    assert_eq!(daemon.get("/v1/tasks").await.status, 200);
    let big = "x".repeat(9 * 1024 * 1024);
    let answer = daemon
        .post("/v1/tasks", json!({"task_name": "test.echo", "input_data": {"x": big}}))
        .await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "too-large"));
    assert_eq!(daemon.times_reached("requests").await, 6);
}

/// What docs/configuration.md tells operators to set.
const ACL: &str = "+@all -@dangerous -scan +info";

#[tokio::test]
async fn req20_the_redis_user_needs_no_keys_no_scan_and_nothing_dangerous_but_info() {
    let server = RedisServer::start(&[]).await;
    let mut admin = server.connect().await;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER")
        .arg("onceover")
        .arg("reset")
        .arg("on")
        .arg(">pw")
        .arg("~*")
        .arg("&onceover:*")
        .arg("&__keyevent@*");
    user.arg(ACL.split(' ').collect::<Vec<_>>());
    let _: () = user.query_async(&mut admin).await.unwrap();
    let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md")).unwrap();
    assert!(documented.contains(&format!(
        "ACL SETUSER onceover reset on >PASSWORD ~* &onceover:* &__keyevent@* {ACL}"
    )));
    let url = format!("{}&user=onceover&pass=pw", server.url(0));
    let mut limited = connect(&url).await;
    for denied in ["KEYS *", "SCAN 0", "FLUSHALL", "CONFIG GET *", "SAVE"] {
        let mut words = denied.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        let answer: redis::RedisResult<redis::Value> = command.query_async(&mut limited).await;
        assert_eq!(answer.unwrap_err().code(), Some("NOPERM"), "{denied}");
    }
    let _: () = redis::cmd("ACL")
        .arg("LOG")
        .arg("RESET")
        .query_async(&mut admin)
        .await
        .unwrap();

    // The main round: miss, hit, join, forced rerun, callbacks, failure, cancel, list, events, delete, a restart.
    let receiver = Receiver::start().await;
    let mut daemon = Daemon::builder()
        .redis(&url)
        .config("[callbacks]\nallow = ['127.0.0.1']\n")
        .start()
        .await;
    let mut channel = Channel::open(&url, 0).await;
    let mut stream = Sse::open(&daemon, None).await;
    let submit = async |node, input: Value, mode| {
        let callback = Some(receiver.url("/cb"));
        daemon.try_submit("t1", node, input, callback, mode).await.unwrap()
    };
    assert!(
        !submit("test.echo", json!({}), ReuseMode::Auto)
            .await
            .reuse_info
            .reuse_hit
    );
    daemon.until("t1", "test.echo", StageState::Success).await;
    assert!(
        submit("test.echo", json!({}), ReuseMode::Auto)
            .await
            .reuse_info
            .reuse_hit
    );
    submit("test.echo", json!({}), ReuseMode::Never).await;
    daemon.until("t1", "test.echo", StageState::Success).await;
    submit("test.file", json!({}), ReuseMode::Strict).await;
    daemon.until("t1", "test.file", StageState::Success).await;
    submit("test.file", json!({}), ReuseMode::Strict).await;
    submit("test.fail", json!({}), ReuseMode::Auto).await;
    daemon.until("t1", "test.fail", StageState::Failed).await;
    submit("test.wait", json!({"until": "go"}), ReuseMode::Auto).await;
    daemon.until("t1", "test.wait", StageState::Running).await;
    assert!(
        submit("test.wait", json!({"until": "go"}), ReuseMode::Auto)
            .await
            .reuse_info
            .reuse_hit
    );
    daemon.client.cancel(&task_id("t1")).await.unwrap();
    assert!(!channel.next().await.is_empty());
    assert_eq!(stream.next().await.event, "change");
    receiver.wait_for(5).await;
    for path in [
        "/v1/tasks?search=t1",
        "/v1/tasks/t1/status",
        "/v1/queues",
        "/v1/system",
        "/v1/system/history",
        "/metrics",
        "/readyz",
    ] {
        assert_eq!(daemon.get(path).await.status, 200, "{path}");
    }
    daemon.stop().await;
    daemon.launch().await;
    assert_eq!(daemon.get("/v1/tasks/t1").await.status, 200);
    assert_eq!(
        daemon.post("/v1/tasks/t1/delete", json!({"force": true})).await.status,
        200
    );
    let log: Vec<redis::Value> = redis::cmd("ACL").arg("LOG").query_async(&mut admin).await.unwrap();
    assert!(log.is_empty(), "denied: {log:?}");
}
