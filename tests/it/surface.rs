//! What the API shows of itself: its root, its pages, the paths it forgives, and how answers travel.

use onceover_tests::{Daemon, HttpAnswer};
use onceover_types::{ProblemKind, problem::PROBLEMS};
use reqwest::{Client, redirect::Policy};
use serde_json::json;

const TOKEN: &str = "admin-token-of-the-test";

/// A daemon whose answers need a token, which this test does not send.
async fn closed() -> Daemon {
    Daemon::builder()
        .env("ONCEOVER_TOKENS", &format!("admin:{TOKEN}"))
        .token(TOKEN)
        .start()
        .await
}

/// One request that follows nothing.
async fn plain(daemon: &Daemon, method: &str, path: &str, headers: &[(&str, &str)]) -> HttpAnswer {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let mut request = client.request(method.parse().unwrap(), format!("{}{path}", daemon.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    HttpAnswer::of(request.send().await.expect("the daemon answers")).await
}

#[tokio::test]
async fn the_root_says_where_things_are_and_every_link_of_it_is_there() {
    let daemon = closed().await;
    let answer = plain(&daemon, "GET", "/", &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let root = answer.json();
    assert!(root["message"].as_str().unwrap().contains("Onceover"), "{root}");
    let version = daemon.client.system().await.unwrap().version;
    assert_eq!(root["version"], json!(version));
    let links = root["links"].as_object().unwrap();
    assert!(links.len() >= 5, "{root}");
    for (name, path) in links {
        let answer = daemon.get(path.as_str().unwrap()).await;
        assert_eq!(answer.status, 200, "{name}: {path}");
    }
}

#[tokio::test]
async fn the_description_and_its_page_load_without_a_token_and_other_hosts_stay_out() {
    let daemon = closed().await;
    let page = plain(&daemon, "GET", "/docs/", &[]).await;
    assert_eq!(page.status, 200, "{page:?}");
    let scripts: Vec<_> = page
        .text
        .split(['"', '\''])
        .filter(|text| text.ends_with(".js") || text.ends_with(".css"))
        .collect();
    assert!(scripts.len() >= 2, "{}", page.text);
    for script in scripts {
        let answer = plain(
            &daemon,
            "GET",
            &format!("/docs/{}", script.trim_start_matches("./")),
            &[],
        )
        .await;
        assert_eq!(answer.status, 200, "{script}");
    }
    let start = plain(&daemon, "GET", "/docs/swagger-initializer.js", &[]).await;
    assert!(start.text.contains("\"persistAuthorization\": true"), "{}", start.text);
    let description = plain(&daemon, "GET", "/openapi.json", &[]).await;
    assert_eq!(description.status, 200);
    let scheme = &description.json()["components"]["securitySchemes"]["bearer"];
    assert_eq!(scheme["scheme"], "bearer", "what the page's Authorize needs");
    for path in ["/docs/", "/openapi.json", "/", "/problems"] {
        let answer = plain(&daemon, "GET", path, &[("host", "evil.example")]).await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "host"), "{path}");
    }
    assert_eq!(plain(&daemon, "GET", "/v1/tasks", &[]).await.status, 401);
}

#[tokio::test]
async fn a_slash_too_many_leads_to_the_right_path_and_never_to_another_host() {
    let daemon = closed().await;
    let token = format!("Bearer {TOKEN}");
    let ask = async |method, path| plain(&daemon, method, path, &[("authorization", &token)]).await;
    for (method, path, right) in [
        (
            "GET",
            "/v1/tasks/?limit=5&search=a%2Fb",
            "/v1/tasks?limit=5&search=a%2Fb",
        ),
        ("POST", "/v1/tasks/", "/v1/tasks"),
        ("GET", "/v1/tasks/none/status/", "/v1/tasks/none/status"),
        ("DELETE", "/v1/tasks/none/", "/v1/tasks/none"),
        ("HEAD", "/v1/nodes/", "/v1/nodes"),
        ("GET", "/v1/tasks//", "/v1/tasks"),
        ("GET", "/openapi.json/", "/openapi.json"),
        ("GET", "/redoc", "/docs"),
        ("GET", "/redoc/", "/redoc"),
    ] {
        let answer = ask(method, path).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (308, right),
            "{method} {path}"
        );
    }
    for path in [
        "/v1/nothing/",
        "/v1/",
        "//",
        "//evil.example/",
        "//evil.example/v1/tasks/",
        "/%2Fevil.example/",
        "/v1/tasks/none/nothing/",
    ] {
        let answer = ask("GET", path).await;
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"), "{path}");
        assert_eq!(answer.header("location"), "", "{path}");
    }
    let without = plain(&daemon, "GET", "/v1/tasks/", &[]).await;
    assert_eq!((without.status, without.header("location")), (401, ""));
    // As an older client does it, the body included.
    let body = json!({"task_name": "test.echo", "task_id": "t1", "input_data": {}});
    let answer = daemon.post("/v1/tasks/", body).await;
    assert_eq!((answer.status, &answer.json()["task_id"]), (200, &json!("t1")));
}

#[tokio::test]
async fn every_kind_of_problem_has_a_page_without_a_token() {
    let daemon = closed().await;
    let html = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
    for kind in ProblemKind::ALL {
        let path = format!("{PROBLEMS}/{}", kind.page().slug);
        let answer = plain(&daemon, "GET", &path, &[]).await;
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (200, "application/json"),
            "{path}"
        );
        let explained = answer.json();
        assert_eq!(
            (&explained["type"], &explained["status"]),
            (&json!(path), &json!(kind.page().status))
        );
        assert_eq!(explained["title"], kind.page().title);
        let page = plain(&daemon, "GET", &path, &html).await;
        assert!(
            page.content_type.starts_with("text/html") && page.text.contains("What to do"),
            "{page:?}"
        );
        assert_eq!(page.header("vary"), "accept");
    }
    let list = plain(&daemon, "GET", PROBLEMS, &[]).await.json();
    assert_eq!(list["problems"].as_array().unwrap().len(), ProblemKind::ALL.len());
    let page = plain(&daemon, "GET", PROBLEMS, &html).await;
    for kind in ProblemKind::ALL {
        assert!(
            page.text.contains(&format!("{PROBLEMS}/{}\"", kind.page().slug)),
            "{kind:?}"
        );
    }
    let unknown = plain(&daemon, "GET", "/problems/none", &[]).await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (404, "not-found"));
    // What an answer names is there.
    let refused = plain(&daemon, "GET", "/v1/tasks", &[]).await.json();
    let page = plain(&daemon, "GET", refused["type"].as_str().unwrap(), &[]).await;
    assert_eq!((page.status, &page.json()["status"]), (200, &json!(401)));
}

/// The size that gzip made of it; None where it came as it is.
async fn zipped(daemon: &Daemon, path: &str, headers: &[(&str, &str)]) -> Option<usize> {
    let headers: Vec<_> = [("accept-encoding", "gzip, deflate")]
        .iter()
        .chain(headers)
        .copied()
        .collect();
    let mut request = Client::new().get(format!("{}{path}", daemon.url()));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    let zipped = answer
        .headers()
        .get("content-encoding")
        .is_some_and(|coding| coding == "gzip");
    let bytes = answer.bytes().await.unwrap();
    let begins = bytes.starts_with(&[0x1f, 0x8b]);
    assert_eq!(zipped, begins, "{path}");
    zipped.then_some(bytes.len())
}

#[tokio::test]
async fn long_json_is_compressed_for_who_asks_and_streams_ranges_and_files_never() {
    let daemon = Daemon::start().await;
    daemon.done("t1", "test.echo", json!({"value": "x".repeat(3000)})).await;
    for path in ["/v1/tasks/t1", "/v1/nodes", "/openapi.json", "/docs/swagger-ui.css"] {
        let whole = daemon.get(path).await;
        assert!(whole.header("content-encoding").is_empty(), "{path}: nobody asked");
        let zipped = zipped(&daemon, path, &[])
            .await
            .unwrap_or_else(|| panic!("{path} came as it is"));
        assert!(
            zipped < whole.text.len() / 2,
            "{path}: {zipped} of {} bytes",
            whole.text.len()
        );
    }
    let problem = format!("/{}", "x".repeat(2000));
    assert!(
        zipped(&daemon, &problem, &[]).await.is_some(),
        "a long problem document"
    );
    // A node's log and a file with JSON in it.
    let body = json!({"task_name": "test.file", "task_id": "t1", "input_data": {}});
    daemon.post("/v1/tasks", body).await;
    daemon.idle().await;
    let file = daemon.data.join("share/workflows/t1/in.json");
    std::fs::write(file, json!({"value": "x".repeat(3000)}).to_string()).unwrap();
    for path in [
        "/livez",
        "/v1/tasks/t1/stages/test.echo/log",
        "/v1/tasks/t1/stages/test.echo/log?follow=true",
        "/v1/files/download/t1/in.json",
    ] {
        assert_eq!(daemon.get(path).await.status, 200, "{path}");
        assert_eq!(zipped(&daemon, path, &[]).await, None, "{path}");
    }
    assert_eq!(
        zipped(&daemon, "/v1/files/download/t1/in.json", &[("range", "bytes=0-2000")]).await,
        None
    );
    let request = Client::new().get(format!("{}/v1/events", daemon.url()));
    let events = request.header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(
        (events.status().as_u16(), events.headers().get("content-encoding")),
        (200, None)
    );
    // Nothing that was asked for is answered 406.
    let impossible = plain(
        &daemon,
        "GET",
        "/v1/tasks/t1",
        &[("accept-encoding", "br, identity;q=0")],
    )
    .await;
    assert_eq!((impossible.status, &impossible.json()["task_id"]), (200, &json!("t1")));
}

#[tokio::test]
async fn a_read_that_names_its_tag_is_answered_304_until_anything_changes() {
    let daemon = Daemon::start().await;
    daemon.done("t1", "test.echo", json!({"value": "x".repeat(3000)})).await;
    daemon.idle().await;
    let paths = [
        "/v1/tasks/t1",
        "/v1/tasks/t1/status",
        "/v1/tasks/t1/result",
        "/v1/tasks",
        "/v1/callbacks",
    ];
    let mut tags = Vec::new();
    for path in paths {
        let answer = daemon.get(path).await;
        let tag = answer.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{path}: {answer:?}");
        assert_eq!(answer.header("cache-control"), "private, no-cache");
        let head = plain(&daemon, "HEAD", path, &[]).await;
        assert_eq!(
            (head.status, head.header("etag"), head.text.as_str()),
            (200, tag.as_str(), ""),
            "{path}"
        );
        // With gzip it is the same tag, since it is weak.
        let zipped = plain(&daemon, "HEAD", path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(zipped.header("etag"), tag);
        let several = format!("\"other\", {tag}");
        for known in [tag.as_str(), "*", &several] {
            for method in ["GET", "HEAD"] {
                let same = plain(
                    &daemon,
                    method,
                    path,
                    &[("if-none-match", known), ("accept-encoding", "gzip")],
                )
                .await;
                assert_eq!(
                    (same.status, same.header("etag"), same.text.as_str()),
                    (304, tag.as_str(), ""),
                    "{path}"
                );
                assert_eq!(
                    (same.content_type.as_str(), same.header("content-encoding")),
                    ("", ""),
                    "{path}"
                );
            }
        }
        let other = plain(&daemon, "GET", path, &[("if-none-match", "W/\"other\"")]).await;
        assert_eq!(other.status, 200);
        tags.push(tag);
    }
    // A reuse hit changes nothing but a counter.
    let hit = daemon
        .submit("t1", "test.echo", json!({"value": "x".repeat(3000)}))
        .await;
    assert!(hit.reuse_info.reuse_hit);
    for (path, tag) in paths[..4].iter().zip(&tags) {
        let answer = plain(&daemon, "GET", path, &[("if-none-match", tag)]).await;
        assert_eq!(answer.status, 200, "{path} has changed");
        assert_ne!(answer.header("etag"), tag, "{path}");
    }
    let missing = plain(&daemon, "GET", "/v1/tasks/none", &[("if-none-match", "*")]).await;
    assert_eq!((missing.status, missing.header("etag")), (404, ""));
    // A submit is never answered so.
    let body = json!({"task_name": "test.echo", "task_id": "t1", "input_data": {}}).to_string();
    let request = Client::new()
        .post(format!("{}/v1/tasks", daemon.url()))
        .header("if-none-match", "*");
    let answer = HttpAnswer::of(request.body(body).send().await.unwrap()).await;
    assert_eq!((answer.status, answer.header("etag")), (200, ""));
}

/// A POST with this content type, if any.
async fn post(daemon: &Daemon, path: &str, kind: Option<&str>, body: impl Into<reqwest::Body>) -> HttpAnswer {
    let mut request = Client::new().post(format!("{}{path}", daemon.url())).body(body);
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    HttpAnswer::of(request.send().await.unwrap()).await
}

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn a_body_is_read_by_what_it_is_and_one_that_is_no_json_is_refused_by_its_type() {
    let daemon = Daemon::start().await;
    let clip = daemon.dir().join("clip.mp4");
    onceover_tests::media::clip(&clip, 1);
    let kinds = [
        None,
        Some(FORM),
        Some("text/plain"),
        Some("Application/JSON; charset=utf-8"),
    ];
    for (index, kind) in kinds.into_iter().enumerate() {
        let video = json!({"path": clip, "video_id": format!("v{index}")}).to_string();
        let answer = post(&daemon, "/api/v1/videos", kind, video).await;
        assert_eq!(answer.status, 201, "{kind:?}: {answer:?}");
        let submit = json!({"task_name": "test.echo", "task_id": format!("t{index}"), "input_data": {}});
        assert_eq!(
            post(&daemon, "/v1/tasks", kind, submit.to_string()).await.status,
            200,
            "{kind:?}"
        );
        let batch = json!({"tasks": [submit]}).to_string();
        assert_eq!(
            post(&daemon, "/v1/tasks/batch", kind, batch).await.status,
            200,
            "{kind:?}"
        );
        daemon.idle().await;
        let retry = post(&daemon, &format!("/v1/tasks/t{index}/retry"), kind, "{}").await;
        assert_eq!(retry.status, 200, "{kind:?}");
    }
    daemon.idle().await;
    let before = daemon.content().await;
    for path in [
        "/api/v1/videos",
        "/v1/tasks",
        "/v1/tasks/batch",
        "/v1/tasks/t1/retry",
        "/v1/tasks/t1/delete",
    ] {
        for (kind, status, problem) in [
            (None, 400, "not-json"),
            (Some("application/json"), 400, "not-json"),
            (Some("application/merge-patch+json"), 400, "not-json"),
            (Some(FORM), 415, "media-type"),
            (Some("text/plain"), 415, "media-type"),
            (Some("video/mp4"), 415, "media-type"),
        ] {
            let answer = post(&daemon, path, kind, "path=%2Fclip.mp4").await;
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (status, problem),
                "{path} {kind:?}"
            );
            assert!(
                answer.text.contains("JSON") || answer.text.contains("application/json"),
                "{}",
                answer.text
            );
        }
    }
    // The video itself, sent as it is.
    let large = vec![b'x'; 100_000];
    let sent = post(&daemon, "/api/v1/videos", Some("video/mp4"), large.clone()).await;
    assert!(
        sent.status == 415 && sent.text.contains("multipart/form-data"),
        "{sent:?}"
    );
    assert_eq!(post(&daemon, "/api/v1/videos", None, large).await.status, 413);
    assert_eq!(daemon.content().await, before);
}
