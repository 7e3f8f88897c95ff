//! The guard against the spellings people use to get past one.

use tokio::{io::AsyncReadExt, net::TcpListener};

use super::*;

fn guard(allow: &[&str]) -> SsrfGuard {
    SsrfGuard::new(
        Purpose::Callback,
        &allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
    )
    .unwrap()
}

/// Hosts that may not be called without the operator's word.
fn forbidden() -> impl Iterator<Item = &'static str> {
    include_str!("forbidden.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

const FINE: &[&str] = &[
    "8.8.8.8",
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "192.169.0.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "134744072",
    "[2606:4700:4700::1111]",
    "[2a00:1450:4001::1]",
    "[::ffff:8.8.8.8]",
    "example.com",
    "hooks.example.com.",
    "localhost.example.com",
    "notlocalhost",
    "bücher.example",
];

#[test]
fn c5_forbidden_addresses_are_refused_in_every_spelling() {
    let guard = guard(&[]);
    let mut wrong = Vec::new();
    assert!(forbidden().count() >= 80);
    for host in forbidden() {
        for url in [format!("http://{host}/"), format!("https://{host}:8443/hook?x=1")] {
            match guard.check_url(&url) {
                Ok(_) => wrong.push(format!("{url} passed")),
                Err(why) if !why.contains("callbacks.allow = [") => wrong.push(format!("{url}: {why}")),
                Err(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn c5_public_addresses_and_names_pass() {
    for host in FINE {
        let checked = guard(&[]).check_url(&format!("http://{host}/"));
        assert!(checked.is_ok(), "{host}: {checked:?}");
    }
}

#[test]
fn c5_only_web_addresses_without_secrets_and_of_bounded_length_pass() {
    let guard = guard(&[]);
    for (url, word) in [
        ("ftp://example.com/", "http"),
        ("file:///etc/passwd", "http"),
        ("gopher://example.com/", "http"),
        ("javascript:alert(1)", "http"),
        ("unix:///run/docker.sock", "http"),
        ("example.com/hook", "not a URL"),
        ("//example.com/hook", "not a URL"),
        ("", "not a URL"),
        ("http://", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://[fe80::1%25eth0]/", "not a URL"),
        ("http://exa mple.com/", "not a URL"),
        ("http://256.0.0.1/", "not a URL"),
        ("http://./", "host"),
        ("http://user@example.com/", "user name"),
        ("http://user:secret@example.com/", "user name"),
        ("http://:secret@example.com/", "user name"),
        ("http://example.com@127.0.0.1/", "user name"),
    ] {
        let why = guard.check_url(url).expect_err(url);
        assert!(why.contains(word), "{url}: {why}");
        assert!(!why.contains("secret"), "{why}");
    }
    let long = |length: usize| format!("http://example.com/{}", "x".repeat(length - 19));
    assert!(guard.check_url(&long(2048)).is_ok());
    assert!(guard.check_url(&long(2049)).unwrap_err().contains("2048"));
}

#[test]
fn c5_what_the_operator_allows_passes_and_nothing_beside_it() {
    let guard = guard(&[
        "192.168.0.0/16",
        "127.0.0.1",
        "fd00::/8",
        "localhost",
        "Bücher.Example.",
        "10.1.2.3/24",
        "n8n_1.lan",
    ]);
    for url in [
        "http://192.168.7.7/",
        "http://2130706433/",
        "http://[::ffff:192.168.1.1]/",
        "http://[fd12::1]/",
        "http://localhost./",
        "http://10.1.2.200/",
    ] {
        assert!(guard.check_url(url).is_ok(), "{url}");
    }
    for url in [
        "http://127.0.0.2/",
        "http://10.1.3.1/",
        "http://[fc00::1]/",
        "http://[64:ff9b::192.168.0.1]/",
    ] {
        assert!(guard.check_url(url).is_err(), "{url}");
    }
    let inside = vec![SocketAddr::from(([10, 9, 9, 9], 0))];
    assert_eq!(guard.filter("xn--bcher-kva.example", inside.clone()).unwrap(), inside);
    assert!(guard.filter("other.example", inside).is_err());
}

#[test]
fn c5_localhost_passes_by_its_name_or_its_number() {
    let by_name = guard(&["localhost"]);
    assert!(by_name.check_url("http://localhost:8080/").is_ok());
    assert!(by_name.check_url("http://sub.localhost/").is_err());
    assert!(by_name.check_url("http://127.0.0.1/").is_err());
    assert!(guard(&["127.0.0.0/8"]).check_url("http://localhost:8080/").is_ok());
}

#[test]
fn a_bad_entry_is_named() {
    for entry in [
        "",
        "192.168.0.0/33",
        "192.168.0.300",
        "192.168",
        "http://n8n.lan",
        "n8n.lan:5678",
        "*.lan",
        "a b",
        "[::1",
        "n8n..lan",
    ] {
        let error = SsrfGuard::new(Purpose::Callback, &[entry.to_string()]).expect_err(entry);
        assert!(error.to_string().contains(&format!("{entry:?}")), "{error}");
    }
}

#[test]
fn the_error_names_the_line_to_add() {
    for (url, line) in [
        ("http://192.168.1.20/", r#"callbacks.allow = ["192.168.0.0/16"]"#),
        ("http://169.254.169.254/", r#"callbacks.allow = ["169.254.169.254"]"#),
        ("http://[::ffff:10.0.0.9]/", r#"callbacks.allow = ["10.0.0.0/8"]"#),
        ("http://[fe80::1]/", r#"callbacks.allow = ["fe80::1"]"#),
        ("http://A.localhost/", r#"callbacks.allow = ["a.localhost"]"#),
    ] {
        let why = guard(&[]).check_url(url).unwrap_err();
        assert!(why.contains(line), "{why}");
        // A client that follows the advice gets through.
        let entry = line.split('"').nth(1).unwrap();
        assert!(guard(&[entry]).check_url(url).is_ok(), "{url} with {entry}");
    }
}

#[test]
fn c5_of_a_name_with_both_kinds_of_addresses_only_the_public_ones_are_called() {
    let public = SocketAddr::from(([8, 8, 8, 8], 0));
    let found = vec![SocketAddr::from(([127, 0, 0, 1], 0)), public];
    assert_eq!(guard(&[]).filter("rebind.example", found).unwrap(), [public]);
}

#[tokio::test]
async fn c5_a_name_that_leads_inside_is_refused_when_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());

    let error = guard(&[]).client().unwrap().post(&url).send().await.unwrap_err();
    let refused = refusal(&error).unwrap_or_else(|| panic!("not refused by the guard: {error:?}"));
    assert_eq!(refused.name, "localhost");
    assert!(
        refused.to_string().contains(r#"callbacks.allow = ["localhost"]"#),
        "{refused}"
    );

    // The same call, allowed, arrives: it was the guard that stopped it.
    let caller = tokio::spawn(async move { guard(&["localhost"]).client().unwrap().post(&url).send().await });
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut head = vec![0; 4096];
    let read = socket.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
    assert!(head.contains("user-agent: onceover/"), "{head}");
    caller.abort();
}

#[tokio::test]
async fn c5_redirects_are_not_followed() {
    use tokio::io::AsyncWriteExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
    let caller = tokio::spawn(async move { guard(&["localhost"]).client().unwrap().post(&url).send().await });
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut head = [0; 4096];
    assert!(socket.read(&mut head).await.unwrap() > 0);
    socket
        .write_all(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(caller.await.unwrap().unwrap().status(), 302);
}
