//! Signed links: what a browser, which sends no token, can open, and that a link opens nothing else.

use onceover_tests::{Daemon, HttpAnswer, PATIENCE, RedisServer, eventually};
use onceover_wire::SignedLink;
use reqwest::{
    Client, Response,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

const READ: &str = "read-token-of-the-test";
const ADMIN: &str = "admin-token-of-the-test";

async fn guarded(config: &str) -> Daemon {
    Daemon::builder()
        .env("ONCEOVER_TOKENS", &format!("read:{READ} admin:{ADMIN}"))
        .token(ADMIN)
        .config(config)
        .start()
        .await
}

async fn ask(daemon: &Daemon, path: &str, token: Option<&str>) -> HttpAnswer {
    let mut request = Client::new()
        .get(format!("{}/v1/links", daemon.url()))
        .query(&[("path", path)]);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    HttpAnswer::of(request.send().await.unwrap()).await
}

/// A link that a reader has asked for.
async fn link(daemon: &Daemon, path: &str) -> SignedLink {
    let answer = ask(daemon, path, Some(READ)).await;
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, "no-store"),
        "{answer:?}"
    );
    serde_json::from_str(&answer.text).expect("a link")
}

/// Opens a URL as a browser does: as it is, and without a header.
async fn open(url: &str) -> Response {
    Client::new().get(url).send().await.unwrap()
}

async fn refusal(url: &str) -> (u16, String) {
    let answer = HttpAnswer::of(open(url).await).await;
    (answer.status, answer.problem())
}

/// Reads on until a text has come.
async fn until_told(stream: &mut Response, text: &str) {
    let mut told = String::new();
    while !told.contains(text) {
        let chunk = tokio::time::timeout(PATIENCE, stream.chunk())
            .await
            .expect("it comes in time");
        let chunk = chunk
            .unwrap()
            .unwrap_or_else(|| panic!("the stream ended before {text}: {told}"));
        told.push_str(&String::from_utf8_lossy(&chunk));
    }
}

fn signature_of(url: &str) -> &str {
    url.split_once("signature=")
        .unwrap_or_else(|| panic!("{url} is not signed"))
        .1
}

#[tokio::test]
async fn a_link_opens_streams_logs_and_files_without_a_token_and_its_signature_is_not_logged() {
    let daemon = guarded("").await;
    daemon.done("t1", "test.echo", json!({})).await;
    let form = Form::new()
        .text("file_path", "t1/in/my clip.txt")
        .part("file", Part::bytes(b"hello".to_vec()).file_name("f"));
    let upload = Client::new()
        .post(format!("{}/v1/files/upload", daemon.url()))
        .bearer_auth(ADMIN);
    let uploaded = HttpAnswer::of(upload.multipart(form).send().await.unwrap())
        .await
        .json();

    let events = link(&daemon, "/v1/events").await;
    let left = events
        .expires_at
        .expect("an end")
        .seconds_since(onceover_types::Timestamp::now());
    assert!((800.0..=900.0).contains(&left), "a quarter of an hour: {left} s");
    let mut stream = open(&events.url).await;
    assert_eq!(
        (stream.status().as_u16(), &stream.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    daemon.submit("t2", "test.echo", json!({})).await;
    until_told(&mut stream, "\"t2\"").await;
    // A reader that was cut off goes on where it was.
    let mut again = open(&format!("{}&last_event_id=0", events.url)).await;
    until_told(&mut again, "\"t1\"").await;

    let log = "/v1/tasks/t1/stages/test.echo/log";
    for path in [
        log,
        &format!("{log}?follow=true"),
        "/v1/tasks/t1",
        "/v1/tasks?limit=5",
        "/metrics",
    ] {
        let link = link(&daemon, path).await;
        assert_eq!(open(&link.url).await.status(), 200, "{path}");
        let head = Client::new().head(&link.url).send().await.unwrap();
        assert_eq!(head.status(), 200, "{path}");
    }
    let video = link(&daemon, "/api/v1/videos/none/events").await;
    assert_eq!(
        refusal(&video.url).await,
        (404, "unknown-video".into()),
        "it may be asked for"
    );

    // Answers that tell where a file is give a link.
    let listed = daemon.get("/v1/files?prefix=t1/in").await.json();
    let file = &listed["files"][0]["download_url"];
    for url in [&uploaded["download_url"], file].map(|url| url.as_str().unwrap()) {
        let answer = open(url).await;
        assert_eq!(answer.status(), 200, "{url}");
        assert_eq!(answer.text().await.unwrap(), "hello", "{url}");
        assert!(!daemon.logged().contains(signature_of(url)));
    }
    assert!(!daemon.logged().contains(signature_of(&events.url)));
    let plain = Daemon::start().await;
    let answer = ask(&plain, "/v1/events", None).await.json();
    assert_eq!(
        answer,
        json!({"url": format!("{}/v1/events", plain.url()), "expires_at": null})
    );
}

#[tokio::test]
async fn a_link_opens_nothing_but_its_path_and_changes_nothing() {
    let daemon = guarded("").await;
    daemon.done("t1", "test.echo", json!({})).await;
    let url = link(&daemon, "/v1/tasks?limit=5").await.url;
    assert_eq!(open(&url).await.status(), 200);
    let signature = signature_of(&url);
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let later = |url: &str| {
        let (start, rest) = url.split_once("expires=").unwrap();
        let (end, rest) = rest.split_once('&').unwrap();
        format!("{start}expires={}&{rest}", end.parse::<u64>().unwrap() + 1)
    };
    for wrong in [
        url.replace("/v1/tasks?", "/v1/tasks/t1?"),
        url.replace("/v1/tasks?", "/v1/queues?"),
        url.replace("/v1/tasks?", "/v1/tasks/?"),
        url.replace("limit=5", "limit=6"),
        format!("{url}&search=x"),
        later(&url),
        url.replace(signature, &format!("{flipped}{}", &signature[1..])),
        url.replace(signature, ""),
        url.replace("expires=", "other="),
    ] {
        assert_eq!(refusal(&wrong).await, (401, "unauthorized".into()), "{wrong}");
    }
    // Reading alone, and not more links.
    let task = link(&daemon, "/v1/tasks/t1").await.url;
    for method in ["DELETE", "POST", "PUT"] {
        let request = Client::new().request(method.parse().unwrap(), &task);
        assert_eq!(request.send().await.unwrap().status(), 401, "{method}");
    }
    assert_eq!(ask(&daemon, "/v1/events", None).await.status, 401);
    assert_eq!(ask(&daemon, "/v1/events", Some(ADMIN)).await.status, 200);
    for path in [
        "",
        "v1/events",
        "//evil.example/v1/events",
        "https://evil.example/v1/events",
        "/\\evil.example",
        "/v1/events#x",
        "/v1/nothing",
        "/v1/tasks/t1/delete",
        "/v1/links?path=/v1/events",
        "/v1/tasks?limit=5&expires=1",
        "/v1/tasks?signature=x",
        "/v1/files/download/my clip",
    ] {
        let answer = ask(&daemon, path, Some(READ)).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["path".to_owned()]),
            "{path}: {answer:?}"
        );
    }
    // A wrong token is not made good by a link, nor a link's parameters by a token.
    let request = Client::new().get(&url).bearer_auth("nonsense");
    assert_eq!(request.send().await.unwrap().status(), 401);
    let both = format!("{}/v1/tasks?limit=1&expires=1&signature=x", daemon.url());
    assert_eq!(
        Client::new().get(both).bearer_auth(READ).send().await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn an_expired_link_says_so_and_a_stream_that_it_opened_goes_on() {
    let daemon = guarded("[access]\nlink_lifetime = '2s'\n").await;
    let link = link(&daemon, "/v1/events").await;
    let mut stream = open(&link.url).await;
    assert_eq!(stream.status(), 200);
    let refused = eventually("the end of the link", async || {
        let answer = open(&link.url).await;
        if answer.status() == 200 {
            None
        } else {
            Some(HttpAnswer::of(answer).await)
        }
    })
    .await;
    assert_eq!((refused.status, refused.problem().as_str()), (401, "link-expired"));
    let end = link.expires_at.unwrap().to_string();
    assert!(
        refused.text.contains(&end) && refused.text.contains("/v1/links"),
        "{}",
        refused.text
    );
    daemon.submit("t1", "test.echo", json!({})).await;
    until_told(&mut stream, "\"t1\"").await;
}

#[tokio::test]
async fn daemons_of_one_redis_take_each_others_links_and_no_others() {
    let redis = RedisServer::start(&[]).await;
    let beside = async |tokens: &str| {
        let builder = Daemon::builder().redis(&redis.url(0)).env("ONCEOVER_TOKENS", tokens);
        builder.token(tokens.split(':').next_back().unwrap()).start().await
    };
    let first = beside(&format!("read:{READ}")).await;
    let second = beside(&format!("read:{ADMIN}")).await;
    let url = link(&first, "/v1/tasks").await.url;
    let at_second = url.replace(&first.url(), &second.url());
    assert_eq!(open(&at_second).await.status(), 200);
    let third = guarded("").await;
    let at_third = url.replace(&first.url(), &third.url());
    assert_eq!(refusal(&at_third).await, (401, "unauthorized".into()));
    let _: Value = second.get("/v1/tasks").await.json();
}
