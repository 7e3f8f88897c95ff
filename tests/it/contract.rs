//! The contract of the older gateway, played by the program that anybody can play it with (`make contract`): it holds, it
//! can be played against a daemon that runs already, and it notices when an answer is not what it was.

use std::{
    process::{Output, Stdio},
    sync::Arc,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Request, StatusCode},
    response::Response,
};
use onceover_tests::{Daemon, program};
use serde_json::Value;

/// Plays it, and returns what it printed.
async fn play(options: &[&str], token: Option<&str>) -> Output {
    let mut command = tokio::process::Command::new(program("contract"));
    command
        .args(options)
        .env_remove("ONCEOVER_TOKEN")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(token) = token {
        command.env("ONCEOVER_TOKEN", token);
    }
    command.output().await.expect("the program runs")
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Names of the checks on lines that begin so.
fn names<'a>(report: &'a str, verdict: &str) -> Vec<&'a str> {
    let lines = report.lines().filter_map(|line| line.strip_prefix(verdict));
    lines
        .map(|line| line.trim().split("  (").next().expect("a name"))
        .collect()
}

#[tokio::test]
async fn the_contract_of_the_older_gateway_holds_but_for_the_differences_in_the_table() {
    let output = play(&[], None).await;
    let report = text(&output);
    assert!(output.status.success(), "{report}");
    assert!(
        names(&report, "ok ").len() > 60 && names(&report, "diff ").len() > 60,
        "{report}"
    );
}

#[tokio::test]
async fn the_contract_can_be_played_against_a_daemon_that_runs_already() {
    const TOKEN: &str = "a-token-of-the-contract-test";
    let daemon = Daemon::builder()
        .nodes("")
        .env("ONCEOVER_TOKENS", &format!("admin:{TOKEN}"))
        .token(TOKEN)
        .start()
        .await;
    let refused = play(&["--base", &daemon.url()], None).await;
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
    assert!(text(&refused).contains("TOKEN="), "{}", text(&refused));

    let output = play(&["--base", &daemon.url()], Some(TOKEN)).await;
    let report = text(&output);
    assert!(output.status.success(), "{report}");
    // It has no store, may not call this machine, and its Redis was not named. Everything else is played.
    let sections = |verdict| {
        names(&report, verdict)
            .into_iter()
            .map(|name| name.split('.').next().expect("a section"))
    };
    assert!(sections("skip ").any(|section| section.starts_with("11 ")), "{report}");
    assert!(sections("ok ").count() > 40, "{report}");
    assert!(!report.contains(TOKEN), "{report}");
    // Nothing stays behind.
    let left = daemon.get("/v1/tasks").await.json();
    assert_eq!(left["items"], Value::Array(Vec::new()), "{report}");
}

/// Changes an answer: its status, and its JSON.
type Change = fn(&mut StatusCode, &mut Value);

/// Stands before a daemon and changes what it answers.
struct Falsifier {
    url: String,
    server: tokio::task::JoinHandle<()>,
}

impl Falsifier {
    async fn start(daemon: &Daemon, change: Change) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new((daemon.url(), reqwest::Client::new(), change));
        let app = Router::new().fallback(pass).with_state(state);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { url, server }
    }
}

impl Drop for Falsifier {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass(State(state): State<Arc<(String, reqwest::Client, Change)>>, request: Request<Body>) -> Response {
    let (base, http, change) = &*state;
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a whole request");
    let mut headers = head.headers;
    headers.remove("host");
    let sent = http
        .request(head.method, format!("{base}{path}"))
        .headers(headers)
        .body(body)
        .send()
        .await;
    let answer = sent.expect("the daemon answers");
    let mut status = answer.status();
    let content_type = answer.headers().get("content-type").cloned();
    let body = answer.bytes().await.expect("a whole answer");
    let body = match serde_json::from_slice::<Value>(&body) {
        Ok(mut json) => {
            change(&mut status, &mut json);
            Bytes::from(json.to_string())
        }
        Err(_) => body,
    };
    let mut response = Response::builder().status(status);
    if let Some(content_type) = content_type {
        response = response.header("content-type", content_type);
    }
    response.body(Body::from(body)).expect("an answer")
}

/// Calls `change` with every object of a value.
fn each_object(value: &mut Value, change: fn(&mut serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            change(fields);
            fields.values_mut().for_each(|value| each_object(value, change));
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| each_object(element, change)),
        _ => {}
    }
}

/// What is changed, and the checks that have to notice.
const FALSE_ANSWERS: &[(Change, &[&str])] = &[
    (
        |_, json| {
            each_object(json, |fields| {
                if let Some(value) = fields.shift_remove("output") {
                    fields.insert("outputs".into(), value);
                }
            });
        },
        &[
            "2.1 a hit is answered completed",
            "2.2 the result is the node's",
            "2.2 a failed node tells its error",
        ],
    ),
    (
        |_, json| {
            each_object(json, |fields| {
                if fields.get("status").is_some_and(|status| status == "SUCCESS") {
                    fields.insert("status".into(), "COMPLETED".into());
                }
            });
        },
        &[
            "2.2 status has its fields",
            "2.2 every stage of the task is in the answer",
            "2.9 a task can be read by its id",
        ],
    ),
    (
        |status, _| {
            if *status == StatusCode::UNPROCESSABLE_ENTITY {
                *status = StatusCode::BAD_REQUEST;
            }
        },
        &[
            "2.1 a request without input is refused",
            "3 an id with a wildcard is refused",
            "5 an upload without a path is refused",
        ],
    ),
    (
        |_, json| {
            if let Some(results) = json.get_mut("results").and_then(Value::as_array_mut) {
                results.reverse();
            }
        },
        &["2.4 delete reports three resources"],
    ),
    (
        |_, json| {
            each_object(json, |fields| {
                fields.shift_remove("reuse_info");
                fields.shift_remove("create_at");
            });
        },
        &[
            "2.1 a hit is answered completed",
            "2.1 a miss says why it runs",
            "2.2 create_at stays that of the first request",
        ],
    ),
];

#[tokio::test]
async fn a_changed_answer_is_noticed_by_the_checks_that_are_about_it() {
    let daemon = Daemon::builder().nodes("").start().await;
    let honest = Falsifier::start(&daemon, |_, _| {}).await;
    for (change, noticing) in FALSE_ANSWERS {
        let falsifier = Falsifier::start(&daemon, *change).await;
        let output = play(&only(&falsifier.url, noticing), None).await;
        let report = text(&output);
        assert_eq!(output.status.code(), Some(1), "{report}");
        let failed = names(&report, "FAIL ");
        assert!(noticing.iter().all(|name| failed.contains(name)), "{report}");

        let output = play(&only(&honest.url, noticing), None).await;
        assert!(output.status.success(), "without a change: {}", text(&output));
    }
}

/// Options that play these checks alone.
fn only<'a>(base: &'a str, names: &[&'a str]) -> Vec<&'a str> {
    let names = names.iter().flat_map(|name| ["--only", name]);
    ["--base", base].into_iter().chain(names).collect()
}
