//! Connections that keep the daemon waiting, and more of them than it can have.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use onceover_tests::{Daemon, eventually};
use serde_json::json;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn send(daemon: &Daemon, text: &str) -> TcpStream {
    let mut stream = connect(daemon);
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// All that the daemon sends until it closes the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it is not closed: {error}"),
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn heads_bodies_and_next_requests_have_their_time_and_streams_have_none() {
    let daemon = Daemon::builder()
        .config("[access]\nheader_timeout = '500ms'\nbody_timeout = '500ms'\nidle_timeout = '800ms'\n")
        .start()
        .await;
    let mut stream = send(&daemon, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut silent = connect(&daemon);
    let mut part = send(&daemon, "GET /livez HTTP/1.1\r\nHos");
    let mut body = send(
        &daemon,
        "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    );
    let mut kept = send(&daemon, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((rest(&mut silent), rest(&mut part)), (String::new(), String::new()));
    let refused = rest(&mut body);
    assert!(
        refused.starts_with("HTTP/1.1 408 ") && refused.contains("access.body_timeout"),
        "{refused}"
    );
    assert!(rest(&mut kept).starts_with("HTTP/1.1 200 "));
    for limit in ["header_time", "body_time", "idle_time"] {
        assert!(daemon.times_reached(limit).await > 0, "{limit}");
    }
    // The stream has been open for longer than all of these.
    daemon.done("t1", "test.echo", json!({})).await;
    let mut seen = String::new();
    while !seen.contains("event: change") {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the stream was closed: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_takes_no_place_from_others() {
    let daemon = Daemon::builder().config("[access]\nmax_requests = 2\n").start().await;
    let head =
        "POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let _waiting: Vec<_> = (0..8).map(|_| send(&daemon, head)).collect();
    eventually("an answer beside eight bodies that do not come", || async {
        (daemon.get("/v1/tasks").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn idle_strangers_give_way_and_a_run_needs_none_of_their_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, format!("admin {TOKEN}\n")).unwrap();
    let config = format!("[access]\ntokens_file = '{}'\nmax_connections = 40\n", tokens.display());
    let daemon = Daemon::builder().config(&config).token(TOKEN).start().await;
    let mut known = send(
        &daemon,
        &format!("GET /v1/tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"),
    );
    assert!(known.read(&mut [0; 4096]).unwrap() > 0);
    let mut strangers: Vec<_> = (0..80).map(|_| connect(&daemon)).collect();
    daemon.done("t1", "test.echo", json!({})).await;
    assert!(rest(&mut strangers[0]).is_empty(), "the oldest is closed");
    known
        .write_all(
            format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n").as_bytes(),
        )
        .unwrap();
    let mut answer = [0; 12];
    known.read_exact(&mut answer).unwrap();
    assert_eq!(
        &answer, b"HTTP/1.1 200",
        "a client that has shown its token keeps its connection"
    );
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    assert!(open < 40 + 60, "{open}");
    assert!(daemon.times_reached("connections").await > 0);
}

#[tokio::test]
async fn connections_wait_while_there_are_no_descriptors_and_are_served_later() {
    let daemon = Daemon::start().await;
    let mut waiting = Vec::new();
    // Until one has come while no number is free: what the harness had open goes meanwhile.
    while !daemon.logged().contains("connections wait to be accepted") {
        daemon.limit_descriptors(daemon.lowest_free_descriptor());
        waiting.push(send(&daemon, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(waiting.len() < 500, "the log does not tell of it");
    }
    // One of those may have been accepted and closed again, to make room for the next. Nothing is closed for this one: the
    // daemon rests after a refusal, and there is room before it tries again.
    let mut last = send(&daemon, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    daemon.limit_descriptors(1000);
    let mut answer = [0; 12];
    last.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    daemon.done("t1", "test.echo", json!({})).await;
}

#[tokio::test]
async fn two_hosts_none_or_another_than_the_urls_are_400() {
    let daemon = Daemon::start().await;
    for head in [
        "GET /v1/tasks HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
        "GET /v1/tasks HTTP/1.1\r\n",
        "GET http://localhost/v1/tasks HTTP/1.1\r\nHost: evil.example\r\n",
    ] {
        let answer = rest(&mut send(&daemon, &format!("{head}Connection: close\r\n\r\n")));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
        assert!(answer.contains("/problems/bad-request"), "{head}: {answer}");
    }
    for head in [
        "GET /v1/tasks HTTP/1.0\r\n",
        "GET http://localhost/v1/tasks HTTP/1.1\r\nHost: localhost\r\n",
    ] {
        let answer = rest(&mut send(&daemon, &format!("{head}Connection: close\r\n\r\n")));
        assert!(answer.contains(" 200 OK\r\n"), "{head}: {answer}");
    }
}
